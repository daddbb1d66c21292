// A training run: a recipe, its data, and a folder that holds everything needed to repeat it, go on with it
// or use it.
#pragma once
#include <atomic>
#include <functional>
#include <optional>
#include <string>

#include "hebb/data/sources.h"
#include "hebb/nn/container.h"
#include "hebb/train/recipe.h"
#include "hebb/train/trainer.h"

namespace hebb::train {

/// What is decided beside the recipe.
struct RunOptions {
  std::string out;     ///< the folder to make; empty: runs/RECIPE-TIME
  std::string resume;  ///< a folder to go on in, in place of `out`
  std::string init;    ///< weights to start from (.safetensors)
  bool log_steps = false;
  bool quiet = false;                           ///< no progress on stderr
  const std::atomic<int>* signal = nullptr;     ///< interrupts the run after the step in which it is above 0
  std::function<void(const std::string&)> say;  ///< is told in a line each what is trained and what is odd
};

/// What came of a run.
struct RunResult {
  std::string folder;
  int64_t epochs = 0;
  double train_loss = kNone, val_loss = kNone, val_accuracy = kNone;  ///< of the best epoch
  double test_loss = kNone, test_accuracy = kNone;  ///< of the best weights; NaN without a test split
  double seconds = 0, samples_per_s = 0;            ///< in training
  bool interrupted = false;
  bool was_finished = false;  ///< resumed a run that was finished: nothing was done
};

/// What came of it, as a JSON object of the fields' names; null for NaN.
std::string to_json(const RunResult& result);

/// The recipe that a run's folder records; none if the run did not come as far as that.
std::optional<Recipe> recorded_recipe(const std::string& folder);

/// Trains by the recipe and writes recipe.toml, run.json, metrics.csv, (steps.csv,) best.safetensors and
/// last/. The test split is used once, at the end, with the best weights. Throws Error for a folder that
/// exists, a resumed run whose recipe differs, data that does not fit the network, and all that recipe, data
/// and files may have wrong.
RunResult train(const Recipe& recipe, const RunOptions& options = {});

/// The data of a recipe, seeded and normalised as in training; or by the normalisation of a run, for data
/// that the run was not trained on.
data::Splits load_data(const Recipe& recipe, const data::Normalization* normalization = nullptr);

/// A network made by a recipe, with weights.
struct LoadedRun {
  Recipe recipe;
  nn::AnyModule net;
  data::Normalization normalization;  ///< of the training data
  std::vector<std::string> class_names;
  bool classifies = true;  ///< false if the targets are numbers
};
/// From a run's folder: its recipe and best.safetensors. Throws Error if either is missing or they do not
/// fit.
LoadedRun load_run(const std::string& folder);
/// From a recipe and a file of weights.
LoadedRun load_run(const std::string& recipe, const std::string& weights);

/// What evaluate() found.
struct Evaluation {
  Metrics metrics;
  std::vector<std::vector<int64_t>> confusion;  ///< [true class][predicted class]; empty for regression
  std::vector<double> class_accuracy;           ///< NaN for a class without samples
};
/// Loss, accuracy and confusion matrix on a data set.
Evaluation evaluate(LoadedRun& run, std::shared_ptr<const data::Dataset> dataset);

}  // namespace hebb::train
