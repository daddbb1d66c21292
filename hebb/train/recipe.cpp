#include "hebb/train/recipe.h"

#include <algorithm>
#include <filesystem>

#include "hebb/autograd/grad.h"
#include "hebb/core/check.h"
#include "hebb/io/file.h"
#include "hebb/op/dispatch.h"
#include "hebb/optim/make.h"
#include "hebb/train/recipe_fields.h"

namespace hebb::detail {

// Generated when hebb is built, from hebb/train/recipes.
struct EmbeddedRecipe {
  const char* name;
  const char* text;
};
extern const EmbeddedRecipe embedded_recipes[];
extern const int embedded_recipe_count;

}  // namespace hebb::detail

namespace hebb::train {
namespace {

using namespace detail;
namespace fs = std::filesystem;

std::span<const hebb::detail::EmbeddedRecipe> embedded() {
  return {hebb::detail::embedded_recipes, static_cast<size_t>(hebb::detail::embedded_recipe_count)};
}

// The first line of a recipe without its "# ".
std::string headline(std::string_view text) {
  if (!text.starts_with('#')) return "";
  text = text.substr(0, text.find('\n'));
  return std::string(text.substr(std::min(text.size(), text.find_first_not_of("# "))));
}

std::string location(const std::string& file, int line, const std::string& key) {
  std::string out = file;
  if (line > 0) out += fmt::format(":{}", line);
  return key.empty() ? out : out + ": " + key;
}

}  // namespace

RecipeError::RecipeError(std::string in_file, int at_line, std::string of_key, std::string says)
    : Error(location(in_file, at_line, of_key) + ": " + says),
      file(std::move(in_file)),
      line(at_line),
      key(std::move(of_key)),
      message(std::move(says)) {}

std::vector<std::pair<std::string, std::string>> builtin_recipes() {
  std::vector<std::pair<std::string, std::string>> out;
  for (const auto& e : embedded()) out.emplace_back(e.name, headline(e.text));
  return out;
}

Recipe Recipe::load(const std::string& name_or_path) {
  for (const auto& e : embedded()) {
    if (name_or_path != e.name) continue;
    Recipe r = parse(e.text, std::string(e.name) + ".toml");
    r.path.clear();
    return r;
  }
  std::error_code ignored;
  if (name_or_path.ends_with(".toml") || fs::is_regular_file(name_or_path, ignored))
    return parse(io::read_file(name_or_path, "recipe"), name_or_path);
  std::vector<std::string> names;
  for (const auto& e : embedded()) names.emplace_back(e.name);
  hebb::detail::fail("unknown recipe '{}'{}, or a TOML file", name_or_path,
                     expected_one_of(name_or_path, names));
}

nn::AnyModule Recipe::build() const {
  check();
  const bool is_graph =
      std::any_of(layers.begin(), layers.end(), [](const LayerSpec& l) { return !l.from.empty(); });
  nn::Sequential chain;
  nn::Graph graph;
  std::map<std::string, Tensor> values;  // shapes only

  Shape batch = input;
  batch.insert(0, 2);
  Tensor last = Tensor::meta(TensorSpec(batch, input_dtype()));
  values[nn::Graph::kInput] = last;
  const NoGrad no_grad;
  for (size_t i = 0; i < layers.size(); ++i) {
    const LayerSpec& l = layers[i];
    const std::string own = l.name.empty() ? std::to_string(i) : l.name;
    std::vector<Tensor> inputs;
    for (const std::string& from : l.from) {
      const auto it = values.find(from);
      if (it == values.end()) {
        std::vector<std::string> known;
        for (const auto& [k, v] : values) known.push_back(k);
        fail_at(*this, layer_key(i) + ".from",
                fmt::format("expected layers before this one, found \"{}\"{}", from,
                            expected_one_of(from, known)));
      }
      inputs.push_back(it->second);
    }
    if (inputs.empty()) inputs.push_back(last);
    try {
      nn::AnyModule layer = nn::build_layer(l.type, l.args, inputs[0].shape());
      {
        ShapeInterpreter shapes;
        const InterpreterScope scope(shapes, InterpreterScope::Place::base);
        layer->eval();  // statistics and random numbers stay untouched
        last = layer(inputs);
        layer->train();
      }
      values[own] = last;
      if (is_graph) graph.add(own, std::move(layer), l.from);
      else chain.push_back(own, std::move(layer));
    } catch (const nn::LayerArgError& e) {
      fail_at(*this, layer_key(i) + "." + e.key, fmt::format("expected {}, found {}", e.expected, e.found));
    } catch (const Error& e) {
      std::string from;
      for (const Tensor& t : inputs) from += (from.empty() ? "" : " and ") + t.shape().str();
      fail_at(*this, layer_key(i), fmt::format("{} does not fit its input {}: {}", l.type, from, e.what()));
    }
  }
  if (is_graph) return graph;
  return chain;
}

std::unique_ptr<optim::Optimizer> Recipe::make_optimizer(const std::vector<Tensor>& params) const {
  check_section(*this, "optimizer");
  return optim::make_optimizer(optimizer.type, params, optimizer.args);
}

std::unique_ptr<optim::LRScheduler> Recipe::make_scheduler(optim::Optimizer& of,
                                                           int64_t steps_per_epoch) const {
  if (schedule.type.empty()) return nullptr;
  check_section(*this, "schedule");
  return optim::make_scheduler(schedule.type, of, schedule_options(*this, steps_per_epoch));
}

bool Recipe::schedule_each_step() const {
  return schedule.interval.empty() ? is_schedule(*this, "OneCycleLR") : schedule.interval == "step";
}

DType Recipe::input_dtype() const { return !layers.empty() && layers[0].type == "Embedding" ? i64 : f32; }

std::string Recipe::to_toml() const {
  std::string out = "name = " + toml_text(name) + "\n\n[model]\n";
  out += "input = " + toml_text(std::vector<int64_t>(input.begin(), input.end())) + "\n";
  auto line = [&out](const std::string& key, const auto& value) {
    out += fmt::format("{} = {}\n", toml_key(key), toml_text(value));
  };
  for (const LayerSpec& l : layers) {
    out += "\n[[model.layer]]\n";
    line("type", l.type);
    if (!l.name.empty()) line("name", l.name);
    if (!l.from.empty()) line("from", l.from);
    for (const auto& [key, value] : l.args) line(key, value);
  }
  out += "\n[loss]\n";
  line("type", loss.type);
  for (const auto& [key, value] : loss.args) line(key, value);
  out += "\n[optimizer]\n";
  line("type", optimizer.type);
  for (const auto& [key, value] : optimizer.args) line(key, value);
  if (!schedule.type.empty()) {
    out += "\n[schedule]\n";
    line("type", schedule.type);
    line("interval", std::string(schedule_each_step() ? "step" : "epoch"));
    for (const auto& [key, value] : schedule.args) line(key, value);
  }
  // What is empty has its default: it is left out.
  auto fields = [&](const char* section, const std::vector<Field>& list) {
    out += fmt::format("\n[{}]\n", section);
    for (const Field& f : list)
      std::visit(
          [&](const auto* value) {
            if constexpr (requires { value->empty(); }) {
              if (!value->empty()) line(f.key, *value);
            } else {
              line(f.key, *value);
            }
          },
          f.value);
  };
  Recipe copy = *this;
  fields("data", fields_of(copy.data));
  fields("train", fields_of(copy.train));
  return out;
}

}  // namespace hebb::train
