// hebb eval: how well a trained network does on a data set.
#include <fmt/format.h>

#include <cmath>
#include <filesystem>

#include "cli/app.h"
#include "hebb/core/check.h"
#include "hebb/train/run.h"

namespace hebb::cli {
namespace {

struct EvalOptions {
  std::string run, data, split;
};

// The split to evaluate on if none is named: test where there is one, else val, else all there is.
std::string best_split(const data::Splits& s) { return s.test ? "test" : s.val ? "val" : "train"; }

std::shared_ptr<data::Dataset> choose(const data::Splits& splits, const std::string& split) {
  const auto& chosen = split == "train" ? splits.train : split == "val" ? splits.val : splits.test;
  std::string there = "train";
  if (splits.val) there += ", val";
  if (splits.test) there += ", test";
  HEBB_CHECK(chosen, "expected one of the splits of {} ({}), got {}; choose with --split", splits.name, there,
             split);
  return chosen;
}

void print_confusion(const train::Evaluation& e, const std::vector<std::string>& names) {
  size_t width = 5, name_width = 10;
  for (const auto& row : e.confusion)
    for (const int64_t n : row) width = std::max(width, std::to_string(n).size() + 1);
  for (const std::string& n : names) name_width = std::max(name_width, n.size());
  auto name = [&](size_t c) { return c < names.size() ? names[c] : std::to_string(c); };
  fmt::print("\n{:<{}} {:>9}  predicted\n{:<{}} {:>9} ", "true", name_width, "accuracy", "", name_width, "");
  for (size_t c = 0; c < e.confusion.size(); ++c) fmt::print("{:>{}}", c, width);
  fmt::print("\n");
  for (size_t c = 0; c < e.confusion.size(); ++c) {
    const double accuracy = e.class_accuracy[c];
    fmt::print("{:<{}} {:>9} ", name(c), name_width,
               std::isnan(accuracy) ? "-" : fmt::format("{:.2f} %", accuracy * 100));
    for (const int64_t n : e.confusion[c]) fmt::print("{:>{}}", n ? std::to_string(n) : ".", width);
    fmt::print("\n");
  }
}

int run(const App& app, const EvalOptions& o) {
  train::LoadedRun run = train::load_run(o.run);
  if (!o.data.empty()) {
    run.recipe.set("data.name", nlohmann::json(o.data).dump());
    if (std::filesystem::is_regular_file(o.data)) run.recipe.data.val_fraction = 0;  // a CSV file: all of it
  }
  const data::Splits splits = train::load_data(run.recipe, &run.normalization);
  const std::string split = o.split.empty() ? best_split(splits) : o.split;
  HEBB_CHECK(splits.input == run.recipe.input,
             "expected samples of shape {} (the input of {}), got {} from {}", run.recipe.input.str(), o.run,
             splits.input.str(), splits.name);
  const train::Evaluation e = train::evaluate(run, choose(splits, split));

  if (app.json) {
    nlohmann::json per_class = nlohmann::json::array();
    for (const double a : e.class_accuracy) per_class.push_back(number(a));
    print_json({{"run", o.run},
                {"data", splits.name},
                {"split", split},
                {"n", e.metrics.n},
                {"loss", number(e.metrics.loss)},
                {"accuracy", number(e.metrics.accuracy)},
                {"class_accuracy", per_class},
                {"confusion", e.confusion}});
    return 0;
  }
  fmt::print("{} {}\n  n         {}\n  loss      {:.6f}\n", splits.name, split, e.metrics.n, e.metrics.loss);
  if (std::isnan(e.metrics.accuracy)) return 0;
  fmt::print("  accuracy  {:.2f} %\n", e.metrics.accuracy * 100);
  print_confusion(e, splits.class_names);
  return 0;
}

}  // namespace

void add_eval(App& app) {
  auto o = std::make_shared<EvalOptions>();
  CLI::App* c = app.command("eval", "Loss, accuracy and confusion matrix of a trained network",
                            "  hebb eval runs/mine\n  hebb eval runs/mine --split val --json");
  c->add_option("run", o->run, "A run's folder")->required();
  c->add_option("--data", o->data, "Other data: a name, a folder of IDX files, or a CSV file");
  c->add_option("--split", o->split,
                "train, val or test (default: test; where there is none, val, else train)")
      ->check(CLI::IsMember({"train", "val", "test"}));
  c->callback([&app, o] { app.run = [&app, o] { return run(app, *o); }; });
}

}  // namespace hebb::cli
