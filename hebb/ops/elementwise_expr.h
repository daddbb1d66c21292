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

}  // namespace hebb::detail
