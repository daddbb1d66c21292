// Stochastic gradient descent, with momentum.
#pragma once
#include "hebb/optim/optimizer.h"

namespace hebb::optim {

/// Options of SGD.
struct SGDOptions {
  double lr = 1e-3;         ///< learning rate, at least 0 (Keras: 0.01)
  double momentum = 0;      ///< share of the previous direction that is kept, at least 0
  double dampening = 0;     ///< share of the gradient that is left out of the momentum
  double weight_decay = 0;  ///< adds weight_decay * w to the gradient (L2 penalty), at least 0
  bool nesterov = false;    ///< look ahead; needs momentum > 0 and dampening 0
  bool maximize = false;    ///< climb instead of descending

  HEBB_OPTIONS(lr, momentum, dampening, weight_decay, nesterov, maximize)
  /// Throws Error, naming `owner`, for values out of range.
  void check(const char* owner) const;
};

/// Stochastic gradient descent.
///
///     g = gradient (negated to maximize) + weight_decay * w
///     b = momentum * b + (1 - dampening) * g       (b = g the first time)
///     w = w - lr * b                               (nesterov: lr * (g + momentum * b); no momentum: lr * g)
///
/// Keras puts the learning rate into the velocity (v = momentum v - lr g, w = w + v): the same as long as the
/// learning rate does not change. Sources: Polyak, 1964; Sutskever et al., 2013. State: momentum_buffer.
class SGD final : public OptimizerOf<SGD, SGDOptions> {
 public:
  explicit SGD(const std::vector<Tensor>& params, const SGDOptions& options = {})
      : SGD(std::vector{ParamGroup{params}}, options) {}
  explicit SGD(const std::vector<ParamGroup>& groups, const SGDOptions& defaults = {});

 private:
  friend class OptimizerOf<SGD, SGDOptions>;
  static constexpr const char *kName = "SGD", *kUpdate = "sgd_update";
  static Slots slots_of(const SGDOptions& o);
  static void update_by(const SGDOptions& o, const Update& u);
};

}  // namespace hebb::optim
