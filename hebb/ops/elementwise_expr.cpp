// The scalar expressions compiled for double and for int64.
#include "hebb/ops/elementwise_expr.h"

#include <cmath>

#include "hebb/core/check.h"

namespace hebb::detail {
namespace {

#define HEBB_ARGS(first, second, third)                                                                      \
  [[maybe_unused]] V first, [[maybe_unused]] V second, [[maybe_unused]] V third, [[maybe_unused]] double p_, \
      [[maybe_unused]] double q_
#define HEBB_PARAMETERS [[maybe_unused]] const V p = static_cast<V>(p_), q = static_cast<V>(q_);

namespace on_f64 {

using V = double;
V c(double v) { return v; }
V select(bool m, V a, V b) { return m ? a : b; }
V max(V a, V b) { return a != a || a > b ? a : b; }  // a NaN wins, as in PyTorch
V min(V a, V b) { return a != a || a < b ? a : b; }
V exp(V x) { return std::exp(x); }
V expm1(V x) { return std::expm1(x); }
V log(V x) { return std::log(x); }
V log1p(V x) { return std::log1p(x); }
V sqrt(V x) { return std::sqrt(x); }
V sin(V x) { return std::sin(x); }
V cos(V x) { return std::cos(x); }
V tanh(V x) { return std::tanh(x); }
V erf(V x) { return std::erf(x); }
V sigmoid(V x) { return 1 / (1 + std::exp(-x)); }
V abs(V x) { return std::abs(x); }
V floor(V x) { return std::floor(x); }
V ceil(V x) { return std::ceil(x); }
V round(V x) { return std::nearbyint(x); }
V pow(V a, V b) { return std::pow(a, b); }
V floor_divide(V a, V b) { return floor_quotient(a, b); }
V remainder(V a, V b) {
  const V r = std::fmod(a, b);
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

#define HEBB_UNARY(name, types, lo, hi, p0, q0, doc, value, gradient)    \
  V name##_value(HEBB_ARGS(x, i1, i2)) { HEBB_PARAMETERS return value; } \
  V name##_gradient(HEBB_ARGS(g, x, y)) { HEBB_PARAMETERS return gradient; }
#define HEBB_UNARY_FLAT(name, types, lo, hi, p0, q0, doc, value) \
  V name##_value(HEBB_ARGS(x, i1, i2)) { HEBB_PARAMETERS return value; }
#define HEBB_UNARY_BOOL(name, lo, hi, doc, value) HEBB_UNARY_FLAT(name, , lo, hi, 0, 0, doc, value)
#define HEBB_BINARY(name, types, la, ha, lb, hb, doc, value, ga, gb) \
  V name##_value(HEBB_ARGS(a, b, i2)) { return value; }
#define HEBB_BINARY_FLAT(name, types, la, ha, lb, hb, doc, value) HEBB_BINARY(name, , , , , , doc, value, , )
#define HEBB_BINARY_BOOL(name, lo, hi, doc, value) HEBB_BINARY(name, , , , , , doc, value, , )
#include "hebb/ops/elementwise.inc"

V where_value(V condition, V a, V b, double, double) { return condition != 0 ? a : b; }

}  // namespace on_f64

namespace on_i64 {

using V = int64_t;
V c(double v) { return static_cast<V>(v); }
V select(bool m, V a, V b) { return m ? a : b; }
V max(V a, V b) { return a > b ? a : b; }
V min(V a, V b) { return a < b ? a : b; }
V abs(V x) { return x < 0 ? -x : x; }
V floor(V x) { return x; }
V ceil(V x) { return x; }
V round(V x) { return x; }
V pow(V a, V b) {
  if (b < 0) return a == 1 ? 1 : a == -1 ? (b % 2 ? -1 : 1) : 0;
  V y = 1;
  for (; b; b >>= 1, a *= a)
    if (b & 1) y *= a;
  return y;
}
// The negative of the smallest number wraps around to itself, as all integer arithmetic here does.
V floor_divide(V a, V b) {
  HEBB_CHECK(b != 0, "[floor_divide] expected a divisor other than 0 for integers, got 0");
  if (b == -1) return static_cast<V>(-static_cast<uint64_t>(a));
  return a / b - (a % b != 0 && (a < 0) != (b < 0));
}
V remainder(V a, V b) {
  HEBB_CHECK(b != 0, "[remainder] expected a divisor other than 0 for integers, got 0");
  return b == -1 ? 0 : a - floor_divide(a, b) * b;
}

#define HEBB_VALUE_Any(name, first, second, value) \
  V name##_value(HEBB_ARGS(first, second, i2)) { HEBB_PARAMETERS return value; }
#define HEBB_VALUE_Float(name, first, second, value) \
  constexpr decltype(PlainExpr::i64) name##_value = nullptr;
#define HEBB_UNARY(name, types, lo, hi, p0, q0, doc, value, gradient) \
  HEBB_VALUE_##types(name, x, i1, value) constexpr decltype(PlainExpr::i64) name##_gradient = nullptr;
#define HEBB_UNARY_FLAT(name, types, lo, hi, p0, q0, doc, value) HEBB_VALUE_##types(name, x, i1, value)
#define HEBB_UNARY_BOOL(name, lo, hi, doc, value) HEBB_VALUE_Any(name, x, i1, value)
#define HEBB_BINARY(name, types, la, ha, lb, hb, doc, value, ga, gb) HEBB_VALUE_##types(name, a, b, value)
#define HEBB_BINARY_FLAT(name, types, la, ha, lb, hb, doc, value) HEBB_VALUE_##types(name, a, b, value)
#define HEBB_BINARY_BOOL(name, lo, hi, doc, value) HEBB_VALUE_Any(name, a, b, value)
#include "hebb/ops/elementwise.inc"

V where_value(V condition, V a, V b, double, double) { return condition != 0 ? a : b; }

}  // namespace on_i64

constexpr PlainExpr kTable[] = {
#define HEBB_VALUES(name) {on_f64::name##_value, on_i64::name##_value},
#define HEBB_UNARY(name, ...) HEBB_VALUES(name){on_f64::name##_gradient, on_i64::name##_gradient},
#define HEBB_UNARY_FLAT(name, ...) HEBB_VALUES(name)
#define HEBB_UNARY_BOOL(name, ...) HEBB_VALUES(name)
#define HEBB_BINARY(name, ...) HEBB_VALUES(name)
#define HEBB_BINARY_FLAT(name, ...) HEBB_VALUES(name)
#define HEBB_BINARY_BOOL(name, ...) HEBB_VALUES(name)
#include "hebb/ops/elementwise.inc"
    HEBB_VALUES(where)};
static_assert(std::size(kTable) == static_cast<size_t>(Expr::count));

}  // namespace

const PlainExpr& plain_expr(Expr e) { return kTable[static_cast<int>(e)]; }

}  // namespace hebb::detail
