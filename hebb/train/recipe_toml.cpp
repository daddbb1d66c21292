// Reading recipes: TOML text and --set both end in the same assignments, key by key.
#include <toml++/toml.h>

#include <filesystem>
#include <sstream>

#include "hebb/core/check.h"
#include "hebb/data/sources.h"
#include "hebb/train/recipe_fields.h"

namespace hebb::train {
namespace {

namespace fs = std::filesystem;
using namespace detail;

constexpr const char* kSections[] = {"name", "model", "loss", "optimizer", "schedule", "data", "train"};
const std::vector<std::string> kLayerKeys{"type", "name", "from"};

std::string text_of(const toml::node& node) {
  std::ostringstream out;
  node.visit([&](const auto& n) {
    if constexpr (toml::is_table<decltype(n)>) out << "a table";
    else if constexpr (toml::is_array<decltype(n)>) out << n;
    else if constexpr (toml::is_string<decltype(n)>) out << toml_text(n.get());
    else out << n;
  });
  return out.str();
}

// Puts values into a recipe, and says where one is wrong.
class Reader {
 public:
  // `file` is what messages call the source; relative paths start from `base`. --set has no lines.
  Reader(Recipe& recipe, std::string file, fs::path base, bool has_lines)
      : r_(recipe), file_(std::move(file)), base_(std::move(base)), has_lines_(has_lines) {}

  void document(const toml::table& root) {
    for (const auto& [k, node] : root) {
      const std::string key(k.str());
      if (key == "model") model(table(node, key));
      else if (key == "name") r_.name = text(node, key);
      else section(key, node, line_of(k));
    }
  }

  // One key of a section other than [model]; "name" has none.
  void assign(const std::string& section_name, const std::string& key, const toml::node& node) {
    const std::string path = section_name + "." + key;
    if (section_name == "data") field(fields_of(r_.data), path, key, node);
    else if (section_name == "train") field(fields_of(r_.train), path, key, node);
    else if (section_name == "loss") typed_key(r_.loss, section_name, key, node);
    else if (section_name == "optimizer") typed_key(r_.optimizer, section_name, key, node);
    else if (section_name == "schedule") typed_key(r_.schedule, section_name, key, node);
    else fail(0, section_name, "unknown section" + expected_one_of(section_name, sections()));
    note(path, node);
  }

  void assign_input(const toml::node& node) {
    const toml::array* list = node.as_array();
    Shape shape;
    const char* expected = "a list of 1 to 7 extents of at least 1, such as [1, 28, 28] without the batch";
    if (!list || list->empty() || list->size() > 7) wrong(node, "model.input", expected);
    for (const toml::node& e : *list) {
      if (!e.is_integer() || *e.value<int64_t>() < 1) wrong(node, "model.input", expected);
      shape.push_back(*e.value<int64_t>());
    }
    r_.input = shape;
    note("model.input", node);
  }

  void assign_layer(size_t index, const std::string& key, const toml::node& node) {
    LayerSpec& l = r_.layers[index];
    const std::string path = layer_key(index) + "." + key;
    if (key == "type") {
      const std::string type = text(node, path);
      located([&] { check_type(r_, "layer", type, path); }, path, node);
      if (type != l.type) l.args.clear();
      l.type = type;
    } else if (key == "name") {
      l.name = text(node, path);
      if (l.name.empty() || l.name.find('.') != std::string::npos)
        wrong(node, path, "a name without dots, which separate the names in a state dict");
    } else if (key == "from") {
      l.from.clear();
      const toml::array* list = node.as_array();
      if (node.is_string()) l.from.push_back(text(node, path));
      else if (!list || list->empty()) wrong(node, path, "a list of layers' names");
      else
        for (const toml::node& e : *list) {
          if (!e.is_string()) wrong(node, path, "a list of layers' names");
          l.from.push_back(*e.value<std::string>());
        }
    } else {
      l.args.insert_or_assign(key, layer_argument(node, path));
      located([&] { check_layer_key(r_, index, key); }, path, node);
    }
    note(path, node);
  }

  [[noreturn]] void fail(int line, const std::string& key, const std::string& message) const {
    throw RecipeError(file_, line, key, message);
  }
  static std::vector<std::string> sections() { return {std::begin(kSections), std::end(kSections)}; }

 private:
  template <class Node>
  int line_of(const Node& node) const {
    return has_lines_ ? static_cast<int>(node.source().begin.line) : 0;
  }
  void note(const std::string& path, const toml::node& node) {
    if (has_lines_) r_.lines[path] = line_of(node);
    else r_.lines.erase(path);
  }
  [[noreturn]] void wrong(const toml::node& node, const std::string& key, const std::string& expected) const {
    fail(line_of(node), key, fmt::format("expected {}, found {}", expected, text_of(node)));
  }
  const toml::table& table(const toml::node& node, const std::string& key) const {
    if (!node.is_table()) wrong(node, key, fmt::format("a table [{}]", key));
    return *node.as_table();
  }
  std::string text(const toml::node& node, const std::string& key) const {
    if (!node.is_string()) wrong(node, key, "a text");
    return *node.value<std::string>();
  }
  static bool is_typed(const std::string& section_name) {
    return section_name == "loss" || section_name == "optimizer" || section_name == "schedule";
  }
  // Runs a check, and lets through what it says of this key, with the place of this value.
  template <class Check>
  void located(Check&& check, const std::string& key, const toml::node& node) const {
    try {
      check();
    } catch (const RecipeError& e) {
      if (e.key == key) throw RecipeError(file_, line_of(node), key, e.message);
    }
  }

  void section(const std::string& name, const toml::node& node, int line) {
    const auto known = sections();
    if (std::find(known.begin(), known.end(), name) == known.end())
      fail(line, name, "unknown section" + expected_one_of(name, known));
    const toml::table& t = table(node, name);
    r_.lines[name] = line_of(node);
    // The type comes first: it decides what the other keys may be.
    if (const toml::node* type = t.get("type"); type && is_typed(name)) assign(name, "type", *type);
    for (const auto& [k, value] : t) {
      if (k.str() != "type" || !is_typed(name)) assign(name, std::string(k.str()), value);
    }
  }

  template <class Arguments>
  void typed_key(Section<Arguments>& s, const std::string& name, const std::string& key,
                 const toml::node& node) {
    const std::string path = name + "." + key;
    if (key == "type") {
      const std::string type = text(node, path);
      located([&] { check_type(r_, name, type, path); }, path, node);
      if (type == s.type && !has_lines_) return;
      s.type = type;
      s.args.clear();
      if (name == "schedule") r_.schedule.interval.clear();
    } else if (name == "schedule" && key == "interval") {
      r_.schedule.interval = text(node, path);
      if (r_.schedule.interval != "epoch" && r_.schedule.interval != "step")
        wrong(node, path, "\"epoch\" or \"step\"");
    } else {
      if constexpr (std::is_same_v<Arguments, nn::LayerArgs>)
        s.args.insert_or_assign(key, layer_argument(node, path));
      else s.args.insert_or_assign(key, option(node, path));
      // A file is checked when it is read; here the value may still wait for others that belong to it.
      if (!has_lines_) located([&] { check_section(r_, name); }, path, node);
    }
  }

  void model(const toml::table& t) {
    r_.lines["model"] = line_of(t);
    for (const auto& [k, node] : t) {
      const std::string key(k.str());
      if (key == "input") {
        assign_input(node);
      } else if (key == "layer") {
        const toml::array* list = node.as_array();
        if (!list) wrong(node, "model.layer", "tables [[model.layer]]");
        for (const toml::node& e : *list) layer(e);
      } else {
        fail(line_of(k), "model." + key, "unknown key" + expected_one_of(key, {"input", "layer"}));
      }
    }
  }

  void layer(const toml::node& node) {
    const size_t index = r_.layers.size();
    if (!node.is_table()) wrong(node, layer_key(index), "a table [[model.layer]]");
    const toml::table& t = *node.as_table();
    r_.layers.emplace_back().line = line_of(node);
    if (const toml::node* type = t.get("type")) assign_layer(index, "type", *type);
    else
      fail(line_of(node), layer_key(index) + ".type",
           "expected a layer's type, such as \"Linear\", found nothing");
    for (const auto& [k, value] : t)
      if (k.str() != "type") assign_layer(index, std::string(k.str()), value);
  }

  void field(const std::vector<Field>& fields, const std::string& path, const std::string& key,
             const toml::node& node) {
    const auto f = std::find_if(fields.begin(), fields.end(), [&](const Field& x) { return key == x.key; });
    if (f == fields.end()) {
      std::vector<std::string> names;
      for (const Field& x : fields) names.emplace_back(x.key);
      fail(line_of(node), path, "unknown key" + expected_one_of(key, names));
    }
    const bool ok = std::visit([&](auto* target) { return store(*target, node, *f); }, f->value);
    if (!ok) wrong(node, path, f->expected);
    if (path.starts_with("data.")) resolve(key);
  }
  static bool store(bool& to, const toml::node& node, const Field&) {
    if (!node.is_boolean()) return false;
    to = *node.value<bool>();
    return true;
  }
  static bool store(std::string& to, const toml::node& node, const Field&) {
    if (!node.is_string()) return false;
    to = *node.value<std::string>();
    return true;
  }
  static bool store(double& to, const toml::node& node, const Field& f) {
    if (!node.is_number()) return false;
    to = *node.value<double>();
    return std::isfinite(to) && (!f.is_valid || f.is_valid(to));
  }
  template <std::integral T>
  static bool store(T& to, const toml::node& node, const Field& f) {
    if (!node.is_integer() || (f.is_valid && !f.is_valid(*node.value<double>()))) return false;
    to = static_cast<T>(*node.value<int64_t>());
    return true;
  }
  static bool store(std::vector<double>& to, const toml::node& node, const Field& f) {
    to.clear();
    if (node.is_number()) to.push_back(*node.value<double>());
    else if (!node.is_array()) return false;
    else
      for (const toml::node& e : *node.as_array()) {
        if (!e.is_number()) return false;
        to.push_back(*e.value<double>());
      }
    return std::all_of(to.begin(), to.end(), [&](double v) { return !f.is_valid || f.is_valid(v); });
  }

  // Paths become absolute. On the command line, one kind of data replaces the other.
  void resolve(const std::string& key) {
    Recipe::Data& d = r_.data;
    auto absolute = [this](std::string& p) {
      if (!p.empty()) p = fs::absolute(base_ / p).lexically_normal().string();
    };
    if (key == "x" || key == "y") {
      absolute(key == "x" ? d.x : d.y);
      if (!has_lines_) d.name.clear();
    } else if (key == "name") {
      const auto named = data::list_sources();
      const bool is_name = std::any_of(named.begin(), named.end(), [&](auto& s) { return s.name == d.name; });
      std::error_code ignored;
      if (!is_name && (d.name.find('/') != std::string::npos || fs::exists(base_ / d.name, ignored)))
        absolute(d.name);
      if (!has_lines_) d.x.clear(), d.y.clear();
    }
  }

  nn::LayerArg layer_argument(const toml::node& node, const std::string& path) const {
    if (node.is_boolean()) return *node.value<bool>();
    if (node.is_integer()) return *node.value<int64_t>();
    if (node.is_floating_point()) return *node.value<double>();
    if (node.is_string()) return *node.value<std::string>();
    if (const toml::array* list = node.as_array()) {
      std::vector<int64_t> numbers;
      for (const toml::node& e : *list)
        if (e.is_integer()) numbers.push_back(*e.value<int64_t>());
      if (numbers.size() == list->size()) return numbers;
    }
    wrong(node, path, "a number, a text, true, false or a list of whole numbers");
  }
  optim::OptionValue option(const toml::node& node, const std::string& path) const {
    if (node.is_boolean()) return *node.value<bool>();
    if (node.is_number()) return *node.value<double>();
    if (node.is_string()) return *node.value<std::string>();
    if (const toml::array* list = node.as_array()) {
      std::vector<double> numbers;
      for (const toml::node& e : *list)
        if (e.is_number()) numbers.push_back(*e.value<double>());
      if (numbers.size() == list->size()) return numbers;
    }
    wrong(node, path, "a number, a text, true, false or a list of numbers");
  }

  Recipe& r_;
  std::string file_;
  fs::path base_;
  bool has_lines_;
};

// "model.layer[3].kernel_size" and "model.layer.3.kernel_size" as parts.
std::vector<std::string> split_key(const std::string& dotted) {
  std::vector<std::string> parts(1);
  for (const char c : dotted) {
    if (c == '.' || c == '[') parts.emplace_back();
    else if (c != ']') parts.back() += c;
  }
  return parts;
}

toml::table parse_value(const std::string& key, const std::string& value) {
  std::string problem;
  try {
    return toml::parse("value = " + value);
  } catch (const toml::parse_error& e) {
    problem = e.description();
  }
  // Shells take quotes away: a value that TOML cannot read is a text if it looks like a name or a path.
  const bool is_word = !value.empty() && value.find_first_of("\"'[]{}=#\n,") == std::string::npos &&
                       std::string("+-.0123456789").find(value[0]) == std::string::npos;
  if (is_word || value.starts_with("./") || value.starts_with("../")) return toml::table{{"value", value}};
  throw RecipeError("--set", 0, key, fmt::format("expected a TOML value, found {} ({})", value, problem));
}

size_t find_layer(const Recipe& r, const std::string& which, const std::string& key) {
  std::vector<std::string> names;
  for (size_t i = 0; i < r.layers.size(); ++i) {
    const std::string number = std::to_string(i);
    if (which == number || which == r.layers[i].name) return i;
    names.push_back(r.layers[i].name.empty() ? number : r.layers[i].name);
  }
  throw RecipeError("--set", 0, key, "unknown layer" + expected_one_of(which, names));
}

}  // namespace

Recipe Recipe::parse(const std::string& text, const std::string& path) {
  Recipe r;
  r.path = path;
  const fs::path file(path);
  const std::string called = file.filename().string();
  r.name = file.stem().string();
  toml::table root;
  try {
    root = toml::parse(text);
  } catch (const toml::parse_error& e) {
    throw RecipeError(called, static_cast<int>(e.source().begin.line), "", std::string(e.description()));
  }
  Reader(r, called, file.parent_path(), true).document(root);
  if (r.data.name.empty() && r.data.x.empty() && r.data.y.empty()) r.data.name = "mnist";
  r.check();
  return r;
}

void Recipe::set(const std::string& dotted_key, const std::string& toml_value) {
  const toml::table parsed = parse_value(dotted_key, toml_value);
  const toml::node* value = parsed.get("value");
  Recipe changed = *this;  // nothing changes when an error is thrown
  Reader reader(changed, "--set", fs::path(), false);
  if (!value || parsed.size() != 1)
    reader.fail(0, dotted_key, fmt::format("expected one TOML value, found {}", toml_value));
  const std::vector<std::string> parts = split_key(dotted_key);
  if (parts == std::vector<std::string>{"model", "input"}) {
    reader.assign_input(*value);
  } else if (parts.size() == 4 && parts[0] == "model" && parts[1] == "layer") {
    reader.assign_layer(find_layer(changed, parts[2], dotted_key), parts[3], *value);
  } else if (parts.size() == 2 && parts[0] != "model") {
    reader.assign(parts[0], parts[1], *value);
  } else {
    const auto known = Reader::sections();
    if (std::find(known.begin(), known.end(), parts[0]) == known.end())
      reader.fail(0, dotted_key, "unknown section" + expected_one_of(parts[0], known));
    reader.fail(
        0, dotted_key,
        "expected a key such as optimizer.lr, train.epochs, model.input or model.layer.0.out_channels");
  }
  *this = std::move(changed);
}

}  // namespace hebb::train
