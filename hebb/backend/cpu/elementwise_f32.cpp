// The scalar expressions of the elementwise table as vector loops on floats, for every instruction set.
#include "hebb/backend/cpu/elementwise.h"
#include "hebb/backend/cpu/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hebb/backend/cpu/elementwise_f32.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.
#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include <cmath>
#include <limits>

#include "hebb/backend/cpu/exp-inl.h"
#include "hebb/ops/elementwise_expr.h"

HWY_BEFORE_NAMESPACE();
namespace hebb::cpu::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::ScalableTag<float>;
constexpr D d;

struct V {  // a vector of floats with the operators that expressions use
  hn::Vec<D> v;
  HWY_INLINE V(hn::Vec<D> x) : v(x) {}
  HWY_INLINE V(double x) : v(hn::Set(d, static_cast<float>(x))) {}
};
struct M {
  hn::Mask<D> m;
};

HWY_INLINE V operator+(V a, V b) { return hn::Add(a.v, b.v); }
HWY_INLINE V operator-(V a, V b) { return hn::Sub(a.v, b.v); }
HWY_INLINE V operator*(V a, V b) { return hn::Mul(a.v, b.v); }
HWY_INLINE V operator/(V a, V b) { return hn::Div(a.v, b.v); }
HWY_INLINE V operator-(V a) { return hn::Neg(a.v); }
HWY_INLINE M operator<(V a, V b) { return {hn::Lt(a.v, b.v)}; }
HWY_INLINE M operator<=(V a, V b) { return {hn::Le(a.v, b.v)}; }
HWY_INLINE M operator>(V a, V b) { return {hn::Gt(a.v, b.v)}; }
HWY_INLINE M operator>=(V a, V b) { return {hn::Ge(a.v, b.v)}; }
HWY_INLINE M operator==(V a, V b) { return {hn::Eq(a.v, b.v)}; }
HWY_INLINE M operator!=(V a, V b) { return {hn::Not(hn::Eq(a.v, b.v))}; }  // hn::Ne is false for NaN
HWY_INLINE M operator&(M a, M b) { return {hn::And(a.m, b.m)}; }
HWY_INLINE M operator|(M a, M b) { return {hn::Or(a.m, b.m)}; }
HWY_INLINE M operator!=(M a, M b) { return {hn::Xor(a.m, b.m)}; }

HWY_INLINE V c(double x) { return x; }
HWY_INLINE V select(M m, V a, V b) { return hn::IfThenElse(m.m, a.v, b.v); }
HWY_INLINE V number(V x) { return x; }  // the result of an expression as floats
HWY_INLINE V number(M m) { return hn::IfThenElseZero(m.m, hn::Set(d, 1.0f)); }

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

HWY_INLINE V abs(V x) { return hn::Abs(x.v); }
HWY_INLINE V sqrt(V x) { return hn::Sqrt(x.v); }
HWY_INLINE V floor(V x) { return hn::Floor(x.v); }
HWY_INLINE V ceil(V x) { return hn::Ceil(x.v); }
HWY_INLINE V round(V x) { return hn::Round(x.v); }
// A NaN wins, as in PyTorch.
HWY_INLINE V max(V a, V b) { return select((a != a) | (a > b), a, b); }
HWY_INLINE V min(V a, V b) { return select((a != a) | (a < b), a, b); }

HWY_INLINE V exp(V x) { return exp_of(d, x.v); }
HWY_INLINE V tanh(V x) { return tanh_of(d, x.v); }
HWY_INLINE V sigmoid(V x) { return V(1) / (V(1) + exp(-x)); }

// Highway's functions hold on a range; the ends and NaN are set here.
HWY_INLINE V expm1(V x) {
  const V y = hn::Expm1(d, hn::Min(hn::Max(x.v, hn::Set(d, -104.0f)), hn::Set(d, 88.0f)));
  return select(x > 88.72284, kInf, select((x != x) | (x == 0), x, y));
}
HWY_INLINE V log(V x) {
  const V y = hn::Log(d, x.v);
  return select(x > 0, select(x == kInf, x, y), select(x == 0, -kInf, kNaN));
}
HWY_INLINE V log1p(V x) {
  const V y = hn::Log1p(d, x.v);
  return select(x > -1, select((x == kInf) | (x == 0), x, y), select(x == -1, -kInf, kNaN));
}

// erf(x) = x P(x^2)/Q(x^2) up to |x| = 4, where it is 1 to the last bit. Fitted by tools/fit_erf.py; largest
// relative error 2.9e-7.
HWY_INLINE V erf(V x) {
  const V t = min(max(x, -4), 4), u = t * t;
  auto fma = [](V a, V b, double z) HWY_ATTR { return V(hn::MulAdd(a.v, b.v, V(z).v)); };
  V p = fma(-1.4452149e-10, u, 2.79198448e-09);
  p = fma(p, u, 3.30730856e-06);
  p = fma(p, u, 0.000339768008);
  p = fma(p, u, 0.0034490006);
  p = fma(p, u, 0.0525855139);
  p = fma(p, u, 0.177153366);
  p = fma(p, u, 1.12837917);
  V q = fma(5.28676241e-05, u, 0.00117905025);
  q = fma(q, u, 0.0145157252);
  q = fma(q, u, 0.110046271);
  q = fma(q, u, 0.490331452);
  q = fma(q, u, 1);
  return min(max(t * p / q, -1), 1);
}

// Functions without a vector form that is exact enough go lane by lane.
template <class F>
HWY_INLINE V lane_by_lane(V a, V b, F f) {
  HWY_ALIGN float x[HWY_LANES(float)], y[HWY_LANES(float)];
  hn::Store(a.v, d, x);
  hn::Store(b.v, d, y);
  for (size_t i = 0; i < hn::Lanes(d); ++i) x[i] = f(x[i], y[i]);
  return hn::Load(d, x);
}
HWY_INLINE V pow(V a, V b) {
  return lane_by_lane(a, b, [](float x, float y) { return std::pow(x, y); });
}
HWY_INLINE V floor_divide(V a, V b) {
  return lane_by_lane(a, b, [](float x, float y) { return hebb::detail::floor_quotient(x, y); });
}
HWY_INLINE V remainder(V a, V b) {
  return lane_by_lane(a, b, [](float x, float y) {
    const float r = std::fmod(x, y);
    return r != 0 && (r < 0) != (y < 0) ? r + y : r;
  });
}
constexpr float kTrigRange = 39000;  // of Highway's sine and cosine
HWY_INLINE V sin(V x) {
  if (hn::AllTrue(d, hn::Lt(hn::Abs(x.v), hn::Set(d, kTrigRange)))) return hn::Sin(d, x.v);
  return lane_by_lane(x, x, [](float t, float) { return std::sin(t); });
}
HWY_INLINE V cos(V x) {
  if (hn::AllTrue(d, hn::Lt(hn::Abs(x.v), hn::Set(d, kTrigRange)))) return hn::Cos(d, x.v);
  return lane_by_lane(x, x, [](float t, float) { return std::cos(t); });
}

template <int Operands, class F>
HWY_INLINE void loop(float* out, const float* a, const float* b, const float* c3, size_t n, F f) {
  const size_t lanes = hn::Lanes(d);
  auto at = [&](const float* x, const float* y, const float* z) HWY_ATTR {
    const V v0 = hn::LoadU(d, x);
    if constexpr (Operands == 1) return f(v0, v0, v0);
    else if constexpr (Operands == 2) return f(v0, V(hn::LoadU(d, y)), v0);
    else return f(v0, V(hn::LoadU(d, y)), V(hn::LoadU(d, z)));
  };
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(at(a + i, b + i, c3 + i).v, d, out + i);
  if (i == n) return;
  HWY_ALIGN float tail[4][HWY_LANES(float)] = {};
  for (size_t j = 0; i + j < n; ++j) {
    tail[0][j] = a[i + j];
    if (Operands > 1) tail[1][j] = b[i + j];
    if (Operands > 2) tail[2][j] = c3[i + j];
  }
  hn::StoreU(at(tail[0], tail[1], tail[2]).v, d, tail[3]);
  for (size_t j = 0; i + j < n; ++j) out[i + j] = tail[3][j];
}

#define HEBB_LOOP(name, operands, x0, x1, x2, expression)                                                 \
  void name(float* out, const float* i0, const float* i1, const float* i2, const double* pq, size_t n) {  \
    [[maybe_unused]] const double p = pq[0], q = pq[1];                                                   \
    loop<operands>(out, i0, i1, i2, n, [&](V x0, [[maybe_unused]] V x1, [[maybe_unused]] V x2) HWY_ATTR { \
      return number(expression);                                                                          \
    });                                                                                                   \
  }
#define HEBB_UNARY(name, types, lo, hi, p0, q0, doc, value, gradient) \
  HEBB_LOOP(name##_value, 1, x, y, z, value)                          \
  HEBB_LOOP(name##_gradient, 3, g, x, y, gradient)
#define HEBB_UNARY_FLAT(name, types, lo, hi, p0, q0, doc, value) HEBB_LOOP(name##_value, 1, x, y, z, value)
#define HEBB_UNARY_BOOL(name, lo, hi, doc, value) HEBB_LOOP(name##_value, 1, x, y, z, value)
#define HEBB_BINARY(name, types, la, ha, lb, hb, doc, value, ga, gb) \
  HEBB_LOOP(name##_value, 2, a, b, z, value)
#define HEBB_BINARY_FLAT(name, types, la, ha, lb, hb, doc, value) HEBB_LOOP(name##_value, 2, a, b, z, value)
#define HEBB_BINARY_BOOL(name, lo, hi, doc, value) HEBB_LOOP(name##_value, 2, a, b, z, value)
#include "hebb/ops/elementwise.inc"
HEBB_LOOP(where_value, 3, m, a, b, select(m != 0, a, b))

constexpr ElementwiseLoop kLoops[] = {
#define HEBB_UNARY(name, ...) name##_value, name##_gradient,
#define HEBB_UNARY_FLAT(name, ...) name##_value,
#define HEBB_UNARY_BOOL(name, ...) name##_value,
#define HEBB_BINARY(name, ...) name##_value,
#define HEBB_BINARY_FLAT(name, ...) name##_value,
#define HEBB_BINARY_BOOL(name, ...) name##_value,
#include "hebb/ops/elementwise.inc"
    where_value};
static_assert(sizeof(kLoops) / sizeof(*kLoops) == static_cast<size_t>(detail::Expr::count));

}  // namespace

const ElementwiseLoop* loops() { return kLoops; }

}  // namespace hebb::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hebb::cpu {
HWY_EXPORT(loops);
const ElementwiseLoop* elementwise_loops() { return HWY_DYNAMIC_DISPATCH(loops)(); }
}  // namespace hebb::cpu
#endif
