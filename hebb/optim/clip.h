// Limits on gradients, between backward() and the optimizer's step.
#pragma once
#include <span>

#include "hebb/core/tensor.h"

namespace hebb::optim {

/// Scales all gradients together so that their norm is at most max_norm: each is multiplied by
/// min(1, max_norm / (norm + 1e-6)). Returns the norm before, f64. The norm is that of all gradients as one
/// vector, (sum |g|^norm_type)^(1/norm_type), or the largest |g| for an infinite norm_type; it is summed in
/// f64, in an order that does not depend on threads. Parameters get new gradients; tensors held from grad()
/// keep their values. A norm that is not finite makes every gradient 0 or NaN, as in PyTorch, unless
/// `error_if_nonfinite`, which throws Error and changes nothing. Throws Error unless norm_type > 0 and
/// max_norm >= 0. Source: Pascanu, Mikolov, Bengio, 2013. Keras: global_clipnorm (clipnorm is for each tensor
/// by itself).
Tensor clip_grad_norm_(std::span<const Tensor> params, double max_norm, double norm_type = 2,
                       bool error_if_nonfinite = false);

/// Holds each element of each gradient within [-clip_value, clip_value]; NaN stays. Throws Error unless
/// clip_value >= 0. Keras: clipvalue.
void clip_grad_value_(std::span<const Tensor> params, double clip_value);

}  // namespace hebb::optim
