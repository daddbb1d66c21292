// Recipes: a network, its data and its training, written in TOML; no C++ needed. Layers, losses, optimizers
// and schedules have PyTorch's names and PyTorch's arguments.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "hebb/nn/container.h"
#include "hebb/nn/registry.h"
#include "hebb/optim/lr_scheduler.h"
#include "hebb/optim/optimizer.h"

namespace hebb::train {

/// Something wrong in a recipe: "lenet5.toml:12: model.layer[3].kernel_size: expected a whole number, found
/// "five"".
struct RecipeError : Error {
  std::string file;     ///< the file, the built-in recipe's, or "--set"
  int line;             ///< from 1; 0 if no line holds it
  std::string key;      ///< dotted: "model.layer[3].kernel_size"; may be empty
  std::string message;  ///< what was expected and what was found

  RecipeError(std::string in_file, int at_line, std::string of_key, std::string says);
};

/// A type with its arguments: the tables [loss], [optimizer] and [schedule].
template <class Arguments>
struct Section {
  std::string type;
  Arguments args;
};

/// One [[model.layer]] table.
struct LayerSpec {
  std::string type;
  std::string name;               ///< empty: the layer's number, counted from 0
  std::vector<std::string> from;  ///< layers before it, or "input"; empty: the one before
  nn::LayerArgs args;
  int line = 0;  ///< where the table begins
};

/// A whole recipe. The defaults below are those of keys that a file leaves out.
struct Recipe {
  std::string name;  ///< a built-in name or the file's, without ".toml"
  std::string path;  ///< the file; empty for built-in recipes
  Shape input;       ///< of one sample, without the batch: [1, 28, 28]
  std::vector<LayerSpec> layers;

  /// [loss]: a type of loss and its arguments.
  Section<nn::LayerArgs> loss{"CrossEntropyLoss", {}};
  /// [optimizer]: a type and its options.
  Section<optim::OptionMap> optimizer{"SGD", {{"lr", 0.01}}};

  /// Lengths in steps of the schedule may be left out: T_max of CosineAnnealingLR and total_steps of
  /// OneCycleLR become the whole training.
  struct Schedule : Section<optim::OptionMap> {
    std::string interval;  ///< "epoch" or "step" (batch); empty: "step" for OneCycleLR, "epoch" for others
  } schedule;              ///< no type: the learning rate stays

  /// [data]: what the network learns from.
  struct Data {
    std::string name;          ///< a named data set, a folder of IDX files or a CSV file; default mnist
    std::string x, y;          ///< or two .npy files: inputs and targets
    std::string target;        ///< CSV: the column of targets; empty: the last
    double val_fraction = -1;  ///< held out for validation; -1: 5,000 samples of IDX files, none of others
    std::vector<double> mean, std;  ///< one value or one a channel; empty: the training data's own
    bool regression = false;        ///< CSV: targets are numbers, not classes
    int64_t workers = 1;            ///< threads that prepare batches ahead; 0: none
  } data;                           ///< the section [data]

  /// [train]: how long and how.
  struct Train {
    int64_t epochs = 10, batch_size = 64;
    uint64_t seed = 0;
    bool shuffle = true;
    double clip_norm = 0;            ///< limit on the norm of all gradients together; 0: none
    int64_t early_stopping = 0;      ///< epochs without a better one after which training ends; 0: never
    double checkpoint_seconds = 10;  ///< time between two checkpoints within an epoch
    bool compile = true;             ///< steps run as compiled functions
    std::string precision = "f32";   ///< or "bf16": products round what they multiply, see Autocast
  } train;                           ///< the section [train]

  /// A built-in recipe by name, or a TOML file. Checked but for the shapes, which build() infers. Throws
  /// RecipeError for what is wrong in it, and Error for an unknown name, with the nearest and the list.
  static Recipe load(const std::string& name_or_path);
  /// From TOML text. `path` is where relative paths in it start from and what messages call it.
  static Recipe parse(const std::string& text, const std::string& path);

  /// Changes one key: set("optimizer.lr", "0.1"), set("model.layer.0.out_channels", "8") (by number or name),
  /// set("optimizer.type", "Adam"). The value is TOML; quotes around a single word may be left out. A new
  /// `type` drops the arguments of the old one. Relative paths start from the working directory. Throws
  /// RecipeError for an unknown key, with the nearest one, and for a value of a wrong type or out of range.
  void set(const std::string& dotted_key, const std::string& toml_value);
  /// Checks all that does not need shapes: types, arguments, ranges, options that must be given. Throws
  /// RecipeError.
  void check() const;

  /// As TOML with every section and no relative path; loading it gives an equal recipe.
  std::string to_toml() const;

  /// The network, initialised from the default generator: a Sequential, or a Graph if a layer has `from`.
  /// State-dict names are the layers' names or numbers. in_channels,
  /// in_features and num_features that are left out come from the shapes. Throws RecipeError for a layer that
  /// cannot be made or does not fit, with the op's message.
  nn::AnyModule build() const;
  /// The optimizer of these parameters. Throws RecipeError for options that make no sense.
  std::unique_ptr<optim::Optimizer> make_optimizer(const std::vector<Tensor>& params) const;
  /// The schedule, with its lengths; null if the learning rate stays. `steps_per_epoch` is the number of
  /// batches in an epoch.
  std::unique_ptr<optim::LRScheduler> make_scheduler(optim::Optimizer& optimizer,
                                                     int64_t steps_per_epoch) const;
  /// True if the schedule moves after every batch, not every epoch.
  bool schedule_each_step() const;
  /// Of the input: i64 for a network that begins with an Embedding, else f32.
  DType input_dtype() const;

  /// Where keys stand in the file: "optimizer.lr" -> 12.
  std::map<std::string, int> lines;
};

/// The recipes within hebb: name and one line of description.
std::vector<std::pair<std::string, std::string>> builtin_recipes();

}  // namespace hebb::train
