// The exponential and the hyperbolic tangent of vectors. Compiled once for every instruction set.
#if defined(HEBB_BACKEND_CPU_EXP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HEBB_BACKEND_CPU_EXP_INL_H_
#undef HEBB_BACKEND_CPU_EXP_INL_H_
#else
#define HEBB_BACKEND_CPU_EXP_INL_H_
#endif

#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace hebb::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// e^x of floats as (1 + rest) 2^n, where x = n log 2 + r, |r| <= log(2) / 2 and rest = e^r - 1.
template <class V>
struct SplitExp {
  V n, rest;
  V shifted;  // n + kShift, whose last bits are n's
};
constexpr float kShift = 0x1.8p23f;

/// rest = r + r^2 P(r), P of degree 4 by tools/fit_exp.py: largest relative error of e^r 3.1e-9.
template <class D, class V = hn::Vec<D>>
HWY_INLINE SplitExp<V> split_exp(D d, V x) {
  const auto set = [&](float k) HWY_ATTR { return hn::Set(d, k); };
  const V shifted = hn::MulAdd(x, set(1.44269504f), set(kShift)), n = hn::Sub(shifted, set(kShift));
  // log 2 in two parts, of which the first times n is exact.
  const V r = hn::NegMulAdd(n, set(1.42860677e-6f), hn::NegMulAdd(n, set(0x1.62e4p-1f), x));
  V p = hn::MulAdd(set(0.001381454f), r, set(0.00836874512f));
  p = hn::MulAdd(p, r, set(0.0416683908f));
  p = hn::MulAdd(p, r, set(0.166665204f));
  p = hn::MulAdd(p, r, set(0.499999934f));
  return {n, hn::MulAdd(p, hn::Mul(r, r), r), shifted};
}

/// Its n as integers.
template <class D, class V = hn::Vec<D>>
HWY_INLINE auto exponent_of(D d, const SplitExp<V>& e) {
  const hn::RebindToSigned<D> di;
  return hn::Sub(hn::BitCast(di, e.shifted), hn::BitCast(di, hn::Set(d, kShift)));
}

/// 2^n of integers n from -126 to 127.
template <class D, class I>
HWY_INLINE hn::Vec<D> power_of_two(D d, I n) {
  const hn::RebindToSigned<D> di;
  return hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(n, hn::Set(di, 127))));
}

/// e^x. Floats: of any x, with an error of at most 1 unit in the last place.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V exp_of(D d, V x) {
  if constexpr (sizeof(hn::TFromD<D>) == 8) {
    constexpr double kLeast = -746, kMost = 709.782712893384;  // of results that are neither 0 nor infinity
    const V y = hn::Exp(d, hn::Max(hn::Min(x, hn::Set(d, kMost)), hn::Set(d, kLeast)));
    const V infinity = hn::Set(d, __builtin_inf());
    return hn::IfThenElse(hn::IsNaN(x), x, hn::IfThenElse(hn::Gt(x, hn::Set(d, kMost)), infinity, y));
  } else {
    const SplitExp<V> e = split_exp(d, hn::Min(hn::Set(d, 89.0f), hn::Max(hn::Set(d, -104.0f), x)));
    const V y = hn::Add(e.rest, hn::Set(d, 1.0f));
#if HWY_TARGET == HWY_AVX3
    if constexpr (hn::MaxLanes(d) == 16)  // (of a NaN and a number its minimum and maximum are the second)
      return V{_mm512_scalef_ps(y.raw, e.n.raw)};
#endif
    // In two steps: 2^n itself may be too large or too small.
    const auto n = exponent_of(d, e), half = hn::ShiftRight<1>(n);
    const V scaled = hn::Mul(hn::Mul(y, power_of_two(d, half)), power_of_two(d, hn::Sub(n, half)));
    return hn::IfThenElse(hn::IsNaN(x), x, scaled);
  }
}

/// e^x of x up to 88, as those of softmax, and of NaN, with the same error; what is below the normal numbers
/// of floats is 0.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V exp_below_88(D d, V x) {
  if constexpr (sizeof(hn::TFromD<D>) == 8) {
    return exp_of(d, x);
  } else {
    const V least = hn::Set(d, -0x1.5d58ap6f);  // whose exponential is a normal number
    const SplitExp<V> e = split_exp(d, hn::Max(least, x));
    const hn::RebindToSigned<D> di;
    const auto y = hn::BitCast(di, hn::Add(e.rest, hn::Set(d, 1.0f)));
    // n is added to the exponent: all bits of kShift are shifted out.
    const V scaled = hn::BitCast(d, hn::Add(y, hn::ShiftLeft<23>(hn::BitCast(di, e.shifted))));
    return hn::IfThenElse(hn::Ge(x, least), scaled, hn::Max(hn::Zero(d), x));  // (of a NaN, the NaN)
  }
}

/// tanh x of floats, as (1 - e^(-2 |x|)) / (1 + e^(-2 |x|)) with the sign of x; error at most 2.5 units in
/// the last place.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V tanh_of(D d, V x) {
  const V one = hn::Set(d, 1.0f);
  const V twice =
      hn::Max(hn::Set(d, -20.0f), hn::Neg(hn::Abs(hn::Add(x, x))));  // -1 to the last bit from there
  const SplitExp<V> e = split_exp(d, twice);
  const V power = power_of_two(d, exponent_of(d, e));
  const V less_one = hn::MulAdd(power, e.rest, hn::Sub(power, one));  // e^(-2 |x|) - 1
  const V y = hn::CopySign(hn::Div(less_one, hn::Add(less_one, hn::Set(d, 2.0f))), x);
  return hn::IfThenElse(hn::IsNaN(x), x, y);
}

}  // namespace HWY_NAMESPACE
}  // namespace hebb::cpu
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
