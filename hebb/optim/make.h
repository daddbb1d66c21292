// Optimizers and schedules by name, for recipes and command lines.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "hebb/optim/lr_scheduler.h"
#include "hebb/optim/optimizer.h"

namespace hebb::optim {

/// The names make_optimizer takes: PyTorch's class names, SGD, RMSprop, Adagrad, Adam, AdamW.
const std::vector<std::string>& optimizer_names();
/// The names make_scheduler takes: PyTorch's class names.
const std::vector<std::string>& scheduler_names();

/// An optimizer by its name (upper or lower case) with PyTorch's option names: {{"lr", 0.1}, {"nesterov",
/// true}}; betas is a list. Throws Error for an unknown name or option (with the nearest one and the list)
/// and for values of a wrong kind or out of range.
std::unique_ptr<Optimizer> make_optimizer(const std::string& name, const std::vector<Tensor>& params,
                                          const OptionMap& options = {});
/// The same for parameters in groups.
std::unique_ptr<Optimizer> make_optimizer(const std::string& name, const std::vector<ParamGroup>& groups,
                                          const OptionMap& options = {});

/// A schedule by its name with PyTorch's option names. The name may be PyTorch's ("StepLR") or short ("step",
/// "multi_step", "exponential", "cosine_annealing", "linear", "one_cycle", "reduce_on_plateau"). Throws as
/// make_optimizer.
std::unique_ptr<LRScheduler> make_scheduler(const std::string& name, Optimizer& optimizer,
                                            const OptionMap& options = {});

}  // namespace hebb::optim
