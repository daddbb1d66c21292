// Elementwise functions. Operands broadcast by NumPy's rules; types are promoted as in PyTorch.
#pragma once
#include <concepts>
#include <string_view>

#include "hebb/core/tensor.h"

namespace hebb {

/// A number among operands: takes the type of the tensor beside it unless it is of a higher kind (f32 for a
/// fraction beside integers), as Python numbers do in PyTorch.
struct Scalar {
  double value;
  bool integral;
  /// From any number.
  template <class T>
  requires std::integral<T> || std::floating_point<T> Scalar(T v)
      : value(static_cast<double>(v)), integral(std::integral<T>) {}
};

/// A 0-d tensor of the value, of the type that it takes beside `t`. Where `floating`, for functions that turn
/// integers into f32, it is floating itself: u8 / 256 does not wrap around.
Tensor scalar_like(Scalar s, const Tensor& t, bool floating = false);

// Functions of one tensor without parameters: neg abs square reciprocal exp expm1 log log1p sqrt rsqrt sin
// cos erf tanh sigmoid log_sigmoid softsign relu selu silu hardsigmoid sign floor ceil round logical_not
// isnan isfinite. Those with parameters follow with their defaults. Results are described in elementwise.inc.
#define HEBB_UNARY(name, ...) Tensor name(const Tensor& x);
#define HEBB_UNARY_FLAT(name, ...) Tensor name(const Tensor& x);
#define HEBB_UNARY_BOOL(name, ...) Tensor name(const Tensor& x);
// Functions of two: add sub mul div pow maximum minimum remainder floor_divide eq ne lt le gt ge logical_and
// logical_or logical_xor.
#define HEBB_BINARY(name, types, ...)                                       \
  Tensor name(const Tensor& a, const Tensor& b);                            \
  inline Tensor name(const Tensor& a, Scalar b) {                           \
    return name(a, scalar_like(b, a, std::string_view(#types) == "Float")); \
  }                                                                         \
  inline Tensor name(Scalar a, const Tensor& b) {                           \
    return name(scalar_like(a, b, std::string_view(#types) == "Float"), b); \
  }
#define HEBB_BINARY_FLAT(name, ...) HEBB_BINARY(name, Any)
#define HEBB_BINARY_BOOL(name, ...) HEBB_BINARY(name, Any)
#include "hebb/ops/elementwise.inc"

/// max(0, x) where x > 0, else negative_slope * x.
Tensor leaky_relu(const Tensor& x, double negative_slope);
/// x where x > 0, else alpha (e^x - 1). Source: Clevert et al., 2015.
Tensor elu(const Tensor& x, double alpha);
/// log(1 + e^(beta x)) / beta; x where beta x > threshold.
Tensor softplus(const Tensor& x, double beta, double threshold);
/// x held within [min, max].
Tensor clamp(const Tensor& x, double min, double max);
/// As clamp, with slope 0 at the ends. Defaults of the parameterless form: -1 and 1.
Tensor hardtanh(const Tensor& x, double min, double max);
/// 1 where x >= threshold, else 0: the unit of McCulloch and Pitts (1943).
Tensor step(const Tensor& x, double threshold);
/// x Phi(x); with `tanh_approximation` by Hendrycks and Gimpel's tanh formula.
inline Tensor gelu(const Tensor& x, bool tanh_approximation) {
  return tanh_approximation ? gelu_tanh(x) : gelu(x);
}
/// x where x > 0, else slope * x. `slope` broadcasts against x. Source: He et al., 2015.
Tensor prelu(const Tensor& x, const Tensor& slope);

/// a where condition (bool) holds, else b; all three broadcast together.
Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b);
/// The same with a number in place of b.
inline Tensor where(const Tensor& condition, const Tensor& a, Scalar b) {
  return where(condition, a, scalar_like(b, a));
}
/// The same with a number in place of a.
inline Tensor where(const Tensor& condition, Scalar a, const Tensor& b) {
  return where(condition, scalar_like(a, b), b);
}
/// a + weight (b - a).
Tensor lerp(const Tensor& a, const Tensor& b, const Tensor& weight);

/// Converts the values; the tensor itself if it is of that type. Gradients are converted back.
Tensor to(const Tensor& x, DType dtype);

/// Sums x over the dimensions that were broadcast from `shape`: the gradient of broadcasting.
Tensor sum_to(const Tensor& x, const Shape& shape);

/// neg(x).
inline Tensor operator-(const Tensor& x) { return neg(x); }
#define HEBB_OPERATOR(symbol, name)                                                      \
  inline Tensor operator symbol(const Tensor& a, const Tensor& b) { return name(a, b); } \
  inline Tensor operator symbol(const Tensor& a, Scalar b) { return name(a, b); }        \
  inline Tensor operator symbol(Scalar a, const Tensor& b) { return name(a, b); }
HEBB_OPERATOR(+, add)
HEBB_OPERATOR(-, sub)
HEBB_OPERATOR(*, mul)
HEBB_OPERATOR(/, div)
HEBB_OPERATOR(==, eq)
HEBB_OPERATOR(!=, ne)
HEBB_OPERATOR(<, lt)
HEBB_OPERATOR(<=, le)
HEBB_OPERATOR(>, gt)
HEBB_OPERATOR(>=, ge)
HEBB_OPERATOR(&, logical_and)
HEBB_OPERATOR(|, logical_or)
#undef HEBB_OPERATOR

}  // namespace hebb
