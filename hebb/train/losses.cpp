#include "hebb/train/losses.h"

#include <algorithm>

#include "hebb/core/check.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/index.h"
#include "hebb/ops/loss.h"
#include "hebb/ops/reduce.h"
#include "hebb/ops/view.h"
#include "hebb/optim/options.h"

namespace hebb::train {
namespace {

using nn::LayerArg;
using nn::LayerArgError;
using nn::LayerArgs;

// Reads the arguments of one loss, checking names and types.
class Arguments {
 public:
  Arguments(const LossType& type, const LayerArgs& args) : type_(type), args_(args) {
    for (const auto& [name, value] : args) {
      if (std::find(type.arguments.begin(), type.arguments.end(), name) != type.arguments.end()) continue;
      const std::string* near = optim::detail::nearest(name, type.arguments);
      const std::string known =
          type.arguments.empty() ? "no arguments" : fmt::format("one of {}", fmt::join(type.arguments, ", "));
      throw LayerArgError(
          type.name, name, known,
          near ? fmt::format("\"{}\" (did you mean {}?)", name, *near) : fmt::format("\"{}\"", name));
    }
  }
  double number(const char* name, double otherwise, double least, double most = INFINITY) const {
    const auto it = args_.find(name);
    if (it == args_.end()) return otherwise;
    const auto* d = std::get_if<double>(&it->second);
    const auto* i = std::get_if<int64_t>(&it->second);
    if (!d && !i) throw LayerArgError(type_.name, name, "a number", "a value of another type");
    const double v = d ? *d : static_cast<double>(*i);
    if (v >= least && v <= most) return v;
    throw LayerArgError(type_.name, name,
                        std::isinf(most) ? fmt::format("a number of at least {}", least)
                                         : fmt::format("a number from {} to {}", least, most),
                        fmt::format("{}", v));
  }
  int64_t integer(const char* name, int64_t otherwise) const {
    const auto it = args_.find(name);
    if (it == args_.end()) return otherwise;
    if (const auto* i = std::get_if<int64_t>(&it->second)) return *i;
    throw LayerArgError(type_.name, name, "a whole number", "a value of another type");
  }

 private:
  const LossType& type_;
  const LayerArgs& args_;
};

// Class indices as the numbers that losses on numbers want; other targets in the output's shape.
Tensor as_numbers(const Tensor& output, const Tensor& target) {
  if (is_float(target.dtype())) return to(reshape(target, output.shape()), output.dtype());
  if (output.numel() == target.numel()) return to(reshape(target, output.shape()), output.dtype());
  HEBB_CHECK(output.ndim() == 2, "[loss] expected outputs [N, classes] for class indices, got {}",
             output.shape().str());
  return to(one_hot(target, output.shape()[1]), output.dtype());
}

const LossType& find_loss(const std::string& name) {
  for (const LossType& t : loss_types())
    if (name == t.name) return t;
  std::vector<std::string> known;
  for (const LossType& t : loss_types()) known.emplace_back(t.name);
  throw LayerArgError("loss", "type", fmt::format("one of {}", fmt::join(known, ", ")),
                      fmt::format("\"{}\"", name));
}

}  // namespace

std::span<const LossType> loss_types() {
  static const std::vector<LossType> types = {
      {"CrossEntropyLoss", {"label_smoothing", "ignore_index"}, Task::classes},
      {"NLLLoss", {"ignore_index"}, Task::classes},
      {"MSELoss", {}, Task::classes},
      {"L1Loss", {}, Task::classes},
      {"HuberLoss", {"delta"}, Task::classes},
      {"SmoothL1Loss", {"beta"}, Task::classes},
      {"BCEWithLogitsLoss", {}, Task::binary},
      {"HingeLoss", {"margin"}, Task::binary},
  };
  return types;
}

LossFn make_loss(const std::string& type, const LayerArgs& args) {
  const LossType& t = find_loss(type);
  const Arguments a(t, args);
  const std::string_view name = t.name;
  if (name == "CrossEntropyLoss") {
    const CrossEntropyOptions o{.ignore_index = a.integer("ignore_index", -100),
                                .label_smoothing = a.number("label_smoothing", 0, 0, 1)};
    return [o](const Tensor& out, const Tensor& y) { return cross_entropy(out, y, o); };
  }
  if (name == "NLLLoss") {
    const NllLossOptions o{.ignore_index = a.integer("ignore_index", -100)};
    return [o](const Tensor& out, const Tensor& y) { return nll_loss(out, y, o); };
  }
  if (name == "MSELoss")
    return [](const Tensor& out, const Tensor& y) { return mse_loss(out, as_numbers(out, y)); };
  if (name == "L1Loss")
    return [](const Tensor& out, const Tensor& y) { return l1_loss(out, as_numbers(out, y)); };
  if (name == "HuberLoss") {
    return [delta = a.number("delta", 1, std::numeric_limits<double>::min())](
               const Tensor& out, const Tensor& y) { return huber_loss(out, as_numbers(out, y), delta); };
  }
  if (name == "SmoothL1Loss") {
    return [beta = a.number("beta", 1, 0)](const Tensor& out, const Tensor& y) {
      return smooth_l1_loss(out, as_numbers(out, y), beta);
    };
  }
  if (name == "BCEWithLogitsLoss")
    return [](const Tensor& out, const Tensor& y) {
      return binary_cross_entropy_with_logits(out, as_numbers(out, y));
    };
  // HingeLoss; margin 0 is Rosenblatt's criterion: only what is on the wrong side counts.
  return [margin = a.number("margin", 1, 0)](const Tensor& out, const Tensor& y) {
    const Tensor sign = as_numbers(out, y) * 2 - 1;
    return mean(clamp(margin - sign * out, 0, std::numeric_limits<double>::infinity()));
  };
}

Task task_of(const std::string& loss, bool targets_are_classes) {
  return targets_are_classes ? find_loss(loss).task : Task::regression;
}

}  // namespace hebb::train
