// hebb summary: what a network is made of.
#include <fmt/format.h>

#include <charconv>
#include <filesystem>

#include "cli/app.h"
#include "hebb/core/check.h"
#include "hebb/train/recipe.h"
#include "hebb/train/summary.h"

namespace hebb::cli {
namespace {

struct SummaryOptions {
  std::string recipe, input;
};

// "1x1x28x28"
Shape parse_shape(const std::string& text) {
  Shape shape;
  const char* at = text.data();
  const char* end = at + text.size();
  for (;;) {
    int64_t n = 0;
    const auto [next, error] = std::from_chars(at, end, n);
    HEBB_CHECK(error == std::errc() && n > 0 && (next == end || (*next == 'x' && next + 1 != end)) &&
                   shape.ndim() < Shape::kMaxDims,
               "--input: expected up to {} extents from 1 joined by x, as in 1x1x28x28, got {}",
               Shape::kMaxDims, text);
    shape.push_back(n);
    if (next == end) return shape;
    at = next + 1;
  }
}

// A built-in recipe, a TOML file, or a run's folder.
train::Recipe load(const std::string& name) {
  const auto recorded = std::filesystem::path(name) / "recipe.toml";
  return train::Recipe::load(std::filesystem::exists(recorded) ? recorded.string() : name);
}

int run(const App& app, const SummaryOptions& o) {
  const train::Recipe recipe = load(o.recipe);
  nn::AnyModule net = recipe.build();
  Shape input = recipe.input;
  input.insert(0, 1);
  if (!o.input.empty()) input = parse_shape(o.input);

  const auto& opt = recipe.optimizer;
  const auto found = opt.args.find("momentum");
  const double* momentum = found == opt.args.end() ? nullptr : found->second.get<double>();
  const bool plain = opt.type == "SGD" && (!momentum || *momentum == 0);
  const double moments = plain ? 0 : opt.type.starts_with("Adam") ? 2 : 1;
  train::Summary s = train::summarize(
      net, input,
      {.batch_size = recipe.train.batch_size, .optimizer_moments = moments, .dtype = recipe.input_dtype()});
  s.name = recipe.name;
  if (app.json) fmt::print("{}\n", train::to_json(s));
  else fmt::print("{}", train::to_text(s));
  return 0;
}

}  // namespace

void add_summary(App& app) {
  auto o = std::make_shared<SummaryOptions>();
  CLI::App* c = app.command("summary", "Layers, shapes, parameters, multiply-adds, receptive fields, memory",
                            "  hebb summary lenet5\n  hebb summary my.toml --input 8x3x64x64 --json");
  c->add_option("recipe", o->recipe, "A built-in recipe, a TOML file, or a run's folder")->required();
  c->add_option("--input", o->input,
                "The shape of a batch, as 1x1x28x28 (default: the recipe's, one sample)");
  c->callback([&app, o] { app.run = [&app, o] { return run(app, *o); }; });
}

}  // namespace hebb::cli
