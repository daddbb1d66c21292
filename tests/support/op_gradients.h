// Derivatives of a call, each against one found by another way: central differences, forward against reverse
// mode, one input at a time against all at once.
#pragma once
#include <string>

#include "tests/support/op_driver.h"

namespace hebb::test_support {

/// The largest relative difference that central differences in f64 excuse.
inline constexpr double kNumericTolerance = 2e-6;

/// d/dx[i] of fn at each element of `x`, by central differences; x is f64 and written meanwhile.
template <class F>
Tensor numeric_gradient(Tensor& x, F&& fn, double step = 1e-5) {
  Tensor out = Tensor::empty(x.shape(), f64);
  double* v = x.mutable_data<double>();
  double* d = out.mutable_data<double>();
  for (int64_t i = 0; i < x.numel(); ++i) {
    const double before = v[i];
    v[i] = before + step;
    const double above = fn();
    v[i] = before - step;
    const double below = fn();
    v[i] = before;
    d[i] = (above - below) / (2 * step);
  }
  return out;
}

/// <a, b> in f64.
double dot(const Tensor& a, const Tensor& b);

// Each returns an empty text, or a line that says where the call's derivatives are wrong.

/// vjp against central differences; no gradients where the op has none; zeros where it gives zeros.
std::string check_gradient(const Call& call);
/// Each input's gradient when it alone is wanted, against that when all are: `needs` is honoured.
std::string check_needs(const Call& call);
/// The derivative of the vjp against central differences of the vjp.
std::string check_second_gradient(const Call& call);
/// <u, J t> against <J^T u, t>, for each input alone and for all.
std::string check_forward_mode(const Call& call);
/// The gradient of <u, J t> against that of <J^T u, t>: forward mode is differentiable itself.
std::string check_gradient_of_forward_mode(const Call& call);

}  // namespace hebb::test_support
