// Losses by name, for recipes.
#pragma once
#include <span>
#include <string>

#include "hebb/nn/registry.h"
#include "hebb/train/trainer.h"

namespace hebb::train {

/// A loss of recipes: PyTorch's class name, the names of its arguments, and how accuracy is read from
/// outputs.
struct LossType {
  const char* name;
  std::vector<std::string> arguments;
  Task task;
};
std::span<const LossType> loss_types();

/// The loss as a function of outputs and targets. Class indices are brought to the form that the loss wants:
/// 0 and 1 as numbers for BCEWithLogitsLoss, -1 and 1 for HingeLoss, one-hot rows for MSELoss and its kin.
/// Throws nn::LayerArgError for an unknown name or argument, or a value of a wrong type.
LossFn make_loss(const std::string& type, const nn::LayerArgs& args);
/// How accuracy is read from a network trained by this loss on these targets.
Task task_of(const std::string& loss, bool targets_are_classes);

}  // namespace hebb::train
