// Learning rates that adapt to the size of each parameter's gradients: Adagrad, RMSprop.
#pragma once
#include "hebb/optim/optimizer.h"

namespace hebb::optim {

/// Options of Adagrad.
struct AdagradOptions {
  double lr = 1e-2;                      ///< learning rate, at least 0 (Keras: 1e-3)
  double lr_decay = 0;                   ///< divides the rate by 1 + (step - 1) lr_decay, at least 0
  double weight_decay = 0;               ///< adds weight_decay * w to the gradient, at least 0
  double initial_accumulator_value = 0;  ///< where the sums start, at least 0 (Keras: 0.1)
  double eps = 1e-10;                    ///< keeps the divisor from 0, at least 0 (Keras: 1e-7)
  bool maximize = false;                 ///< climb instead of descending

  HEBB_OPTIONS(lr, lr_decay, weight_decay, initial_accumulator_value, eps, maximize)
  /// Throws Error, naming `owner`, for values out of range.
  void check(const char* owner) const;
};

/// Adagrad: rates fall with the sum of squared gradients.
///
///     g = gradient (negated to maximize) + weight_decay * w
///     s = s + g^2
///     w = w - lr / (1 + (step - 1) lr_decay) * g / (sqrt(s) + eps)
///
/// Keras divides by sqrt(s + eps). Source: Duchi, Hazan, Singer, 2011. State: sum.
class Adagrad final : public OptimizerOf<Adagrad, AdagradOptions> {
 public:
  explicit Adagrad(const std::vector<Tensor>& params, const AdagradOptions& options = {})
      : Adagrad(std::vector{ParamGroup{params}}, options) {}
  explicit Adagrad(const std::vector<ParamGroup>& groups, const AdagradOptions& defaults = {});

 private:
  friend class OptimizerOf<Adagrad, AdagradOptions>;
  static constexpr const char *kName = "Adagrad", *kUpdate = "adagrad_update";
  static Slots slots_of(const AdagradOptions& o);
  static void update_by(const AdagradOptions& o, const Update& u);
};

/// Options of RMSprop.
struct RMSpropOptions {
  double lr = 1e-2;         ///< learning rate, at least 0 (Keras: 1e-3)
  double alpha = 0.99;      ///< share of the mean square that is kept, at least 0 (Keras: rho = 0.9)
  double eps = 1e-8;        ///< keeps the divisor from 0, at least 0 (Keras: 1e-7)
  double weight_decay = 0;  ///< adds weight_decay * w to the gradient, at least 0
  double momentum = 0;      ///< share of the previous direction that is kept, at least 0
  bool centered = false;    ///< divide by the standard deviation instead of the root mean square
  bool maximize = false;    ///< climb instead of descending

  HEBB_OPTIONS(lr, alpha, eps, weight_decay, momentum, centered, maximize)
  /// Throws Error, naming `owner`, for values out of range.
  void check(const char* owner) const;
};

/// RMSprop: gradients divided by a running root mean square.
///
///     g = gradient (negated to maximize) + weight_decay * w
///     v = alpha v + (1 - alpha) g^2
///     m = m + (1 - alpha) (g - m)                                (centered only)
///     d = g / (sqrt(v) + eps)                                    (centered: sqrt(v - m^2))
///     w = w - lr d                                               (momentum: b = momentum b + d, w = w - lr
///     b)
///
/// Keras divides by sqrt(v + eps). Sources: Tieleman and Hinton, lecture 6.5 of "Neural networks for machine
/// learning", 2012; centered: Graves, 2013. State: square_avg, momentum_buffer, grad_avg.
class RMSprop final : public OptimizerOf<RMSprop, RMSpropOptions> {
 public:
  explicit RMSprop(const std::vector<Tensor>& params, const RMSpropOptions& options = {})
      : RMSprop(std::vector{ParamGroup{params}}, options) {}
  explicit RMSprop(const std::vector<ParamGroup>& groups, const RMSpropOptions& defaults = {});

 private:
  friend class OptimizerOf<RMSprop, RMSpropOptions>;
  static constexpr const char *kName = "RMSprop", *kUpdate = "rmsprop_update";
  static Slots slots_of(const RMSpropOptions& o);
  static void update_by(const RMSpropOptions& o, const Update& u);
};

}  // namespace hebb::optim
