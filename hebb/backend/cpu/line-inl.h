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

/// The first n lanes from p, or all of them, `rest` behind them; reads no more than n elements.
template <class T>
HWY_INLINE Vec<T> load_first(const T* p, int64_t n, T rest) {
  const Tag<T> d;
  if (n >= kLanes<T>) return hn::LoadU(d, p);
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

/// add(add(nothing, 0, count), L, count) and so on over the vectors of n values, in four chains, so that none
/// waits for the one before it; then those joined. Lanes behind the end are to add nothing.
template <class T, class F, class J>
HWY_INLINE Vec<T> joined_vectors(int64_t n, T nothing, F add, J join) {
  constexpr int64_t L = kLanes<T>;
  Vec<T> s[4];
  HEBB_UNROLL for (int k = 0; k < 4; ++k) s[k] = hn::Set(Tag<T>(), nothing);
  int64_t i = 0;
  for (; i + 4 * L <= n; i += 4 * L) HEBB_UNROLL for (int k = 0; k < 4; ++k) s[k] = add(s[k], i + k * L, L);
  for (int k = 0; i < n; i += L, ++k) s[k] = add(s[k], i, std::min(L, n - i));
  return join(join(s[0], s[1]), join(s[2], s[3]));
}
template <class T, class F>
HWY_INLINE T sum_of_vectors(int64_t n, F add) {
  return total<T>(joined_vectors<T>(n, T(0), add, [](Vec<T> a, Vec<T> b) HWY_ATTR { return hn::Add(a, b); }));
}

/// The largest value and the sum of e^(x - largest). Writes these exponentials to y, unless it is null.
template <class T>
void exp_line(const T* x, int64_t n, T* y, T* largest, T* sum) {
  const Tag<T> d;
  constexpr T kLeast = -std::numeric_limits<T>::infinity();
  *largest = hn::GetLane(hn::MaxOfLanes(d, joined_vectors<T>(
                                               n, kLeast,
                                               [&](Vec<T> m, int64_t i, int64_t count) HWY_ATTR {
                                                 return hn::Max(m, load_first(x + i, count, kLeast));
                                               },
                                               [](Vec<T> a, Vec<T> b) HWY_ATTR { return hn::Max(a, b); })));
  // For a line of -infinity alone the difference is NaN, in the lanes behind its end too: they are cut off.
  const auto shift = hn::Set(d, *largest);
  auto s = hn::Zero(d);
  each_vector(x, n, kLeast, [&](Vec<T> v, int64_t i, int64_t count) HWY_ATTR {
    auto e = exp_below_88(d, hn::Sub(v, shift));
    if (count < kLanes<T>) e = hn::IfThenElseZero(hn::FirstN(d, static_cast<size_t>(count)), e);
    s = hn::Add(s, e);
    if (y) store_first(e, y + i, count);
  });
  *sum = total<T>(s);
}

/// Sum of x.
template <class T>
T sum_line(const T* x, int64_t n) {
  return sum_of_vectors<T>(
      n, [&](Vec<T> s, int64_t i, int64_t count) HWY_ATTR { return hn::Add(s, load_first(x + i, count)); });
}
/// Sum of (x - mean)^2.
template <class T>
T squares_line(const T* x, int64_t n, T mean) {
  const auto m = hn::Set(Tag<T>(), mean);
  return sum_of_vectors<T>(n, [&](Vec<T> s, int64_t i, int64_t count) HWY_ATTR {
    const auto centred = hn::Sub(load_first(x + i, count, mean), m);
    return hn::MulAdd(centred, centred, s);
  });
}
/// Sums of g * w and of g * w * (x - mean); w may be null for ones.
template <class T>
void gradient_sums_line(const T* g, const T* x, const T* w, int64_t n, T mean, T* plain, T* centred) {
  const auto m = hn::Set(Tag<T>(), mean);
  const auto gradient = [&](int64_t i, int64_t count) HWY_ATTR {
    const auto v = load_first(g + i, count);
    return w ? hn::Mul(v, load_first(w + i, count)) : v;
  };
  *plain = sum_of_vectors<T>(
      n, [&](Vec<T> s, int64_t i, int64_t count) HWY_ATTR { return hn::Add(s, gradient(i, count)); });
  *centred = sum_of_vectors<T>(n, [&](Vec<T> s, int64_t i, int64_t count) HWY_ATTR {
    return hn::MulAdd(gradient(i, count), hn::Sub(load_first(x + i, count), m), s);
  });
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
