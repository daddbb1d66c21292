// Contiguous values a vector at a time, and their exponentials. Compiled once for every instruction set.
#if defined(HEBB_BACKEND_CPU_LINE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HEBB_BACKEND_CPU_LINE_INL_H_
#undef HEBB_BACKEND_CPU_LINE_INL_H_
#else
#define HEBB_BACKEND_CPU_LINE_INL_H_
#endif

#include <limits>

#include "hebb/backend/cpu/exp-inl.h"
#include "hebb/backend/cpu/gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hebb::cpu {
namespace HWY_NAMESPACE {

/// The first n lanes from p, `rest` behind them; reads no more than n elements, fewer than a vector has.
template <class T>
HWY_INLINE Vec<T> load_first(const T* p, int64_t n, T rest) {
  const Tag<T> d;
  return hn::IfThenElse(hn::FirstN(d, static_cast<size_t>(n)), load_first(p, n), hn::Set(d, rest));
}

/// Calls fn(v, i, count) for the vectors of n values; `v` is filled up with `rest`.
template <class T, class F>
HWY_INLINE void each_vector(const T* x, int64_t n, T rest, F fn) {
  const Tag<T> d;
  int64_t i = 0;
  for (; i + kLanes<T> <= n; i += kLanes<T>) fn(hn::LoadU(d, x + i), i, int64_t{kLanes<T>});
  if (i < n) fn(load_first(x + i, n - i, rest), i, n - i);
}
template <class T>
HWY_INLINE T total(Vec<T> v) {
  return hn::GetLane(hn::SumOfLanes(Tag<T>(), v));
}

/// The largest value and the sum of e^(x - largest). Writes these exponentials to y, unless it is null.
template <class T>
void exp_line(const T* x, int64_t n, T* y, T* largest, T* sum) {
  const Tag<T> d;
  constexpr T kLeast = -std::numeric_limits<T>::infinity();
  auto m = hn::Set(d, kLeast);
  each_vector(x, n, kLeast, [&](Vec<T> v, int64_t, int64_t) HWY_ATTR { m = hn::Max(m, v); });
  *largest = hn::GetLane(hn::MaxOfLanes(d, m));
  // For a line of -infinity alone the difference is NaN, in the lanes behind its end too: they are cut off.
  const auto shift = hn::Set(d, *largest);
  auto s = hn::Zero(d);
  each_vector(x, n, kLeast, [&](Vec<T> v, int64_t i, int64_t count) HWY_ATTR {
    auto e = exp_of(d, hn::Sub(v, shift));
    if (count < kLanes<T>) e = hn::IfThenElseZero(hn::FirstN(d, static_cast<size_t>(count)), e);
    s = hn::Add(s, e);
    if (y) store_first(e, y + i, count);
  });
  *sum = total<T>(s);
}

/// Sum of x.
template <class T>
T sum_line(const T* x, int64_t n) {
  auto s = hn::Zero(Tag<T>());
  each_vector(x, n, T(0), [&](Vec<T> v, int64_t, int64_t) HWY_ATTR { s = hn::Add(s, v); });
  return total<T>(s);
}
/// Sum of (x - mean)^2.
template <class T>
T squares_line(const T* x, int64_t n, T mean) {
  const auto m = hn::Set(Tag<T>(), mean);
  auto s = hn::Zero(Tag<T>());
  each_vector(x, n, mean, [&](Vec<T> v, int64_t, int64_t) HWY_ATTR {
    const auto centred = hn::Sub(v, m);
    s = hn::MulAdd(centred, centred, s);
  });
  return total<T>(s);
}
/// Sums of g * w and of g * w * (x - mean); w may be null for ones.
template <class T>
void gradient_sums_line(const T* g, const T* x, const T* w, int64_t n, T mean, T* plain, T* centred) {
  const Tag<T> d;
  const auto m = hn::Set(d, mean);
  auto s = hn::Zero(d), t = hn::Zero(d);
  each_vector(g, n, T(0), [&](Vec<T> v, int64_t i, int64_t count) HWY_ATTR {
    if (w) v = hn::Mul(v, load_first(w + i, count));
    s = hn::Add(s, v);
    t = hn::MulAdd(v, hn::Sub(load_first(x + i, count), m), t);
  });
  *plain = total<T>(s);
  *centred = total<T>(t);
}
/// out = g * w * a + (x - mean) * b + c; w may be null for ones.
template <class T>
void combine_line(const T* g, const T* x, const T* w, int64_t n, T mean, T a, T b, T c, T* out) {
  const Tag<T> d;
  const auto m = hn::Set(d, mean), va = hn::Set(d, a), vb = hn::Set(d, b), vc = hn::Set(d, c);
  each_vector(g, n, T(0), [&](Vec<T> v, int64_t i, int64_t count) HWY_ATTR {
    if (w) v = hn::Mul(v, load_first(w + i, count));
    const auto centred = hn::Sub(load_first(x + i, count), m);
    store_first(hn::MulAdd(v, va, hn::MulAdd(centred, vb, vc)), out + i, count);
  });
}
}  // namespace HWY_NAMESPACE
}  // namespace hebb::cpu
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
