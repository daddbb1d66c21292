// Numbers of the scalar expressions of the elementwise table, and the same expressions on plain numbers.
// For the plain kernels and the kernels of f64 and integers.
#pragma once
#include <cmath>
#include <cstdint>

namespace hebb::detail {

/// One for each scalar expression: a kernel set has a function for each.
enum class Expr : int {
#define HEBB_UNARY(name, ...) name, name##_grad,
#define HEBB_UNARY_FLAT(name, ...) name,
#define HEBB_UNARY_BOOL(name, ...) name,
#define HEBB_BINARY(name, ...) name,
#define HEBB_BINARY_FLAT(name, ...) name,
#define HEBB_BINARY_BOOL(name, ...) name,
#include "hebb/ops/elementwise.inc"
  where,
  count,
};

/// A scalar expression on double and on int64: up to three operands and two parameters. Those that give
/// floats only have no int64 form.
struct PlainExpr {
  double (*f64)(double, double, double, double p, double q);
  int64_t (*i64)(int64_t, int64_t, int64_t, double p, double q);
};
const PlainExpr& plain_expr(Expr e);

/// The largest whole number not above the exact a / b (a / b itself may round up: 1 / 0.1 is 10, but 1 // 0.1
/// is 9), as Python and PyTorch define it.
template <class T>
T floor_quotient(T a, T b) {
  if (b == 0) return a / b;
  const T rest = std::fmod(a, b), quotient = (a - rest) / b - (rest != 0 && (rest < 0) != (b < 0));
  return quotient == 0 ? std::copysign(T(0), a / b) : std::nearbyint(quotient);
}

}  // namespace hebb::detail
