// What recipes may hold: the keys of [data] and [train], and checks of the other sections by making what
// they describe.
#include <algorithm>
#include <cmath>

#include "hebb/core/check.h"
#include "hebb/ops/creation.h"
#include "hebb/optim/make.h"
#include "hebb/train/losses.h"
#include "hebb/train/recipe_fields.h"

namespace hebb::train {
namespace detail {

std::vector<Field> fields_of(Recipe::Data& d) {
  return {
      {"name", &d.name, "a data set's name, a folder or a CSV file"},
      {"x", &d.x, "the path of an .npy file"},
      {"y", &d.y, "the path of an .npy file"},
      {"target", &d.target, "a column's name"},
      {"val_fraction", &d.val_fraction, "a number from 0 to below 1, or -1 for the data's own share",
       [](double v) { return v == -1 || (v >= 0 && v < 1); }},
      {"mean", &d.mean, "a number or a list of numbers, one a channel"},
      {"std", &d.std, "a number above 0 or a list of such, one a channel", [](double v) { return v > 0; }},
      {"regression", &d.regression, "true or false"},
      {"workers", &d.workers, "a whole number from 0 to 256", [](double v) { return v >= 0 && v <= 256; }}};
}

std::vector<Field> fields_of(Recipe::Train& t) {
  const auto positive = [](double v) { return v >= 1; };
  const auto not_negative = [](double v) { return v >= 0; };
  return {{"epochs", &t.epochs, "a whole number of at least 1", positive},
          {"batch_size", &t.batch_size, "a whole number of at least 1", positive},
          {"seed", &t.seed, "a whole number of at least 0", not_negative},
          {"shuffle", &t.shuffle, "true or false"},
          {"clip_norm", &t.clip_norm, "a number of at least 0", not_negative},
          {"early_stopping", &t.early_stopping, "a whole number of epochs, 0 for never", not_negative},
          {"checkpoint_seconds", &t.checkpoint_seconds, "a number of at least 0", not_negative},
          {"compile", &t.compile, "true or false"},
          {"precision", &t.precision, "\"f32\" or \"bf16\""}};
}

std::string layer_key(size_t index) { return fmt::format("model.layer[{}]", index); }

std::string file_of(const Recipe& r) {
  const size_t slash = r.path.rfind('/');
  return r.path.empty() ? r.name + ".toml" : slash == std::string::npos ? r.path : r.path.substr(slash + 1);
}

std::string expected_one_of(const std::string& found, const std::vector<std::string>& candidates) {
  const std::string* near = optim::detail::nearest(found, candidates);
  return fmt::format("{} expected one of: {}", near ? fmt::format(", did you mean '{}'?", *near) : ";",
                     fmt::join(candidates, ", "));
}

void fail_at(const Recipe& r, const std::string& key, const std::string& message) {
  std::string place = key;
  int line = 0;
  while (line == 0 && !place.empty()) {
    if (const auto it = r.lines.find(place); it != r.lines.end()) line = it->second;
    for (size_t i = 0; line == 0 && i < r.layers.size(); ++i)
      if (place == layer_key(i)) line = r.layers[i].line;
    place = place.substr(0, place.rfind('.') == std::string::npos ? 0 : place.rfind('.'));
  }
  throw RecipeError(file_of(r), line, key, message);
}

std::string toml_text(const std::string& v) {
  std::string out = "\"";
  for (const char c : v) {
    if (c == '"' || c == '\\') out += '\\';
    if (c == '\n') out += "\\n";
    else if (c == '\t') out += "\\t";
    else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) out += fmt::format("\\u{:04x}", int{c});
    else out += c;
  }
  return out + "\"";
}
std::string toml_text(bool v) { return v ? "true" : "false"; }
std::string toml_text(int64_t v) { return fmt::format("{}", v); }
std::string toml_text(uint64_t v) { return fmt::format("{}", v); }
std::string toml_text(double v) {
  std::string text = fmt::format("{}", v);
  if (text.find_first_not_of("-0123456789") == std::string::npos) text += ".0";
  return text;
}
std::string toml_text(const nn::LayerArg& v) {
  return std::visit([](const auto& x) { return toml_text(x); }, v);
}
std::string toml_text(const optim::OptionValue& v) {
  // Options do not tell whole numbers from others: 10 reads better than 10.0.
  auto number = [](double x) {
    return std::floor(x) == x && std::abs(x) < 1e15 ? toml_text(static_cast<int64_t>(x)) : toml_text(x);
  };
  if (const bool* b = v.get<bool>()) return toml_text(*b);
  if (const double* x = v.get<double>()) return number(*x);
  if (const std::string* s = v.get<std::string>()) return toml_text(*s);
  std::string out = "[";
  for (const double x : *v.get<std::vector<double>>()) out += (out.size() > 1 ? ", " : "") + number(x);
  return out + "]";
}
std::string toml_key(const std::string& key) {
  const bool bare = !key.empty() && std::all_of(key.begin(), key.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '_' || c == '-';
  });
  return bare ? key : toml_text(key);
}

namespace {

std::string plain(const std::string& type) {
  std::string out;
  for (const char c : type)
    if (c != '_') out += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out.ends_with("lr") ? out.substr(0, out.size() - 2) : out;
}

// "[SGD] lr: expected at least 0, got -1" becomes an error at optimizer.lr.
[[noreturn]] void fail_by(const Recipe& r, const std::string& section, std::string message) {
  if (message.starts_with('[')) message.erase(0, std::min(message.size(), message.find("] ") + 2));
  std::string key;
  constexpr std::string_view unknown = "unknown option '";
  if (message.starts_with(unknown)) {
    key = message.substr(unknown.size(), message.find('\'', unknown.size()) - unknown.size());
  } else if (const size_t colon = message.find(": "); colon != std::string::npos) {
    const std::string head = message.substr(0, colon);
    if (head.find(' ') == std::string::npos) {
      key = head;
      message.erase(0, colon + 2);
    }
  }
  if (const size_t got = message.rfind(", got "); got != std::string::npos)
    message.replace(got, 6, ", found ");
  fail_at(r, key.empty() ? section : section + "." + key, message);
}

std::unique_ptr<optim::Optimizer> trial_optimizer(const Recipe& r) {
  return optim::make_optimizer(r.optimizer.type, std::vector{zeros({1}).requires_grad_()}, r.optimizer.args);
}

void check_data(const Recipe& r) {
  const Recipe::Data& d = r.data;
  if (!d.x.empty() || !d.y.empty()) {
    if (d.x.empty()) fail_at(r, "data.x", "expected an .npy file of inputs beside data.y, found nothing");
    if (d.y.empty()) fail_at(r, "data.y", "expected an .npy file of targets beside data.x, found nothing");
    if (!d.name.empty())
      fail_at(r, "data.name",
              fmt::format("expected either a name or x and y, found \"{}\" and both", d.name));
  }
  if (d.mean.size() != d.std.size())
    fail_at(r, d.mean.empty() ? "data.std" : "data.mean",
            fmt::format("expected as many values of mean as of std, found {} and {}", d.mean.size(),
                        d.std.size()));
}

}  // namespace

bool is_schedule(const Recipe& r, const std::string& type) { return plain(r.schedule.type) == plain(type); }

optim::OptionMap schedule_options(const Recipe& r, int64_t steps_per_epoch) {
  optim::OptionMap options = r.schedule.args;
  const int64_t all = r.train.epochs * (r.schedule_each_step() ? steps_per_epoch : 1);
  if (is_schedule(r, "CosineAnnealingLR")) options.try_emplace("T_max", all);
  if (is_schedule(r, "OneCycleLR") && !options.contains("epochs")) options.try_emplace("total_steps", all);
  return options;
}

void check_type(const Recipe& r, const std::string& section, const std::string& type,
                const std::string& at_key) {
  auto unknown = [&](const char* what, const std::vector<std::string>& known) {
    fail_at(r, at_key, fmt::format("unknown {} \"{}\"{}", what, type, expected_one_of(type, known)));
  };
  auto knows = [&](const std::vector<std::string>& names) {
    return std::any_of(names.begin(), names.end(), [&](auto& n) { return plain(n) == plain(type); });
  };
  if (section == "layer") {
    std::vector<std::string> names;
    for (const nn::LayerType& t : nn::layer_types()) names.emplace_back(t.name);
    if (!nn::find_layer_type(type)) unknown("layer type", names);
  } else if (section == "loss") {
    std::vector<std::string> names;
    for (const LossType& t : loss_types()) names.emplace_back(t.name);
    if (std::find(names.begin(), names.end(), type) == names.end()) unknown("loss", names);
  } else if (section == "optimizer") {
    if (!knows(optim::optimizer_names())) unknown("optimizer", optim::optimizer_names());
  } else if (!knows(optim::scheduler_names())) {
    unknown("schedule", optim::scheduler_names());
  }
}

void check_layer_key(const Recipe& r, size_t layer, const std::string& argument) {
  const LayerSpec& l = r.layers[layer];
  const nn::LayerType* type = nn::find_layer_type(l.type);
  std::vector<std::string> names;
  for (const nn::LayerArgSpec& a : type->args) names.emplace_back(a.name);
  if (std::find(names.begin(), names.end(), argument) != names.end()) return;
  for (const char* own : {"type", "name", "from"}) names.emplace_back(own);
  fail_at(r, layer_key(layer) + "." + argument,
          fmt::format("unknown key of {}{}", l.type, expected_one_of(argument, names)));
}

void check_section(const Recipe& r, const std::string& section) {
  try {
    if (section == "loss") make_loss(r.loss.type, r.loss.args);
    const auto opt = section == "loss" ? nullptr : trial_optimizer(r);
    if (section == "schedule" && !r.schedule.type.empty())
      optim::make_scheduler(r.schedule.type, *opt, schedule_options(r, 1));
  } catch (const nn::LayerArgError& e) {
    fail_at(r, section + "." + e.key, fmt::format("expected {}, found {}", e.expected, e.found));
  } catch (const Error& e) {
    fail_by(r, section, e.what());
  }
}

}  // namespace detail

void Recipe::check() const {
  using namespace detail;
  if (input.empty())
    fail_at(*this, "model.input", "expected the shape of one sample, such as [1, 28, 28], found nothing");
  if (layers.empty()) fail_at(*this, "model.layer", "expected at least one [[model.layer]], found none");
  std::map<std::string, size_t> names;
  for (size_t i = 0; i < layers.size(); ++i) {
    const LayerSpec& l = layers[i];
    check_type(*this, "layer", l.type, layer_key(i) + ".type");
    for (const auto& [key, value] : l.args) check_layer_key(*this, i, key);
    const std::string own = l.name.empty() ? std::to_string(i) : l.name;
    if (own == nn::Graph::kInput)
      fail_at(*this, layer_key(i) + ".name",
              "expected another name than \"input\", which is the network's input");
    if (const auto [it, is_new] = names.emplace(own, i); !is_new)
      fail_at(
          *this, layer_key(i) + ".name",
          fmt::format("expected each name once, found \"{}\" again (first {})", own, layer_key(it->second)));
  }
  check_type(*this, "loss", loss.type, "loss.type");
  check_type(*this, "optimizer", optimizer.type, "optimizer.type");
  if (!schedule.type.empty()) check_type(*this, "schedule", schedule.type, "schedule.type");
  else if (!schedule.args.empty() || !schedule.interval.empty())
    fail_at(*this, "schedule.type", "expected a type" + expected_one_of("", optim::scheduler_names()));
  for (const char* section : {"loss", "optimizer", "schedule"}) check_section(*this, section);
  check_data(*this);
  if (train.precision != "f32" && train.precision != "bf16")
    fail_at(*this, "train.precision",
            fmt::format("expected \"f32\" or \"bf16\", found \"{}\"", train.precision));
  Recipe copy = *this;
  for (const auto& [section, fields] :
       {std::pair("data", fields_of(copy.data)), std::pair("train", fields_of(copy.train))})
    for (const Field& f : fields)
      std::visit(
          [&, section = section](const auto* v) {
            if constexpr (std::is_arithmetic_v<std::remove_cvref_t<decltype(*v)>>) {
              if (f.is_valid && !f.is_valid(static_cast<double>(*v)))
                fail_at(*this, fmt::format("{}.{}", section, f.key),
                        fmt::format("expected {}, found {}", f.expected, toml_text(*v)));
            }
          },
          f.value);
}

}  // namespace hebb::train
