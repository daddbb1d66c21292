// Adam and AdamW.
#pragma once
#include <array>

#include "hebb/optim/optimizer.h"

namespace hebb::optim {

/// Options of Adam.
struct AdamOptions {
  double lr = 1e-3;                            ///< learning rate, at least 0
  std::array<double, 2> betas = {0.9, 0.999};  ///< shares of the two means that are kept, each in [0, 1)
  double eps = 1e-8;                           ///< keeps the divisor from 0, at least 0 (Keras: 1e-7)
  double weight_decay = 0;                     ///< adds weight_decay * w to the gradient, at least 0
  bool amsgrad = false;                        ///< divide by the largest mean square so far
  bool maximize = false;                       ///< climb instead of descending

  HEBB_OPTIONS(lr, betas, eps, weight_decay, amsgrad, maximize)
  /// Throws Error, naming `owner`, for values out of range.
  void check(const char* owner) const;
};

/// Adam: running means of the gradient and of its square, corrected for their start at 0.
///
///     g = gradient (negated to maximize) + weight_decay * w
///     m = m + (1 - beta1) (g - m)
///     v = beta2 v + (1 - beta2) g^2
///     w = w - lr / (1 - beta1^step) * m / (sqrt(v) / sqrt(1 - beta2^step) + eps)
///
/// amsgrad puts the largest v so far in place of v. Keras adds eps to the uncorrected root ("epsilon hat").
/// Sources: Kingma and Ba, 2015; amsgrad: Reddi, Kale, Kumar, 2018. State: exp_avg, exp_avg_sq,
/// max_exp_avg_sq.
class Adam final : public OptimizerOf<Adam, AdamOptions> {
 public:
  explicit Adam(const std::vector<Tensor>& params, const AdamOptions& options = {})
      : Adam(std::vector{ParamGroup{params}}, options) {}
  explicit Adam(const std::vector<ParamGroup>& groups, const AdamOptions& defaults = {});

 private:
  friend class OptimizerOf<Adam, AdamOptions>;
  static constexpr const char *kName = "Adam", *kUpdate = "adam_update";
  static Slots slots_of(const AdamOptions& o);
  static void update_by(const AdamOptions& o, const Update& u);
};

/// Options of AdamW.
struct AdamWOptions {
  double lr = 1e-3;                            ///< learning rate, at least 0
  std::array<double, 2> betas = {0.9, 0.999};  ///< shares of the two means that are kept, each in [0, 1)
  double eps = 1e-8;                           ///< keeps the divisor from 0, at least 0 (Keras: 1e-7)
  double weight_decay = 1e-2;                  ///< shrinks w by lr * weight_decay, at least 0 (Keras: 4e-3)
  bool amsgrad = false;                        ///< divide by the largest mean square so far
  bool maximize = false;                       ///< climb instead of descending

  HEBB_OPTIONS(lr, betas, eps, weight_decay, amsgrad, maximize)
  /// Throws Error, naming `owner`, for values out of range.
  void check(const char* owner) const;
};

/// AdamW: Adam with the weight decay beside the gradient, not in it: w = w (1 - lr * weight_decay), then
/// Adam's update without weight decay. Source: Loshchilov and Hutter, 2019. State as Adam's.
class AdamW final : public OptimizerOf<AdamW, AdamWOptions> {
 public:
  explicit AdamW(const std::vector<Tensor>& params, const AdamWOptions& options = {})
      : AdamW(std::vector{ParamGroup{params}}, options) {}
  explicit AdamW(const std::vector<ParamGroup>& groups, const AdamWOptions& defaults = {});

 private:
  friend class OptimizerOf<AdamW, AdamWOptions>;
  static constexpr const char *kName = "AdamW", *kUpdate = "adamw_update";
  static Slots slots_of(const AdamWOptions& o);
  static void update_by(const AdamWOptions& o, const Update& u);
};

}  // namespace hebb::optim
