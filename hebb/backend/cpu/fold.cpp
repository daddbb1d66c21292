#include "hebb/backend/cpu/fold.h"

#include <cmath>
#include <limits>
#include <type_traits>

#include "hebb/backend/cpu/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hebb/backend/cpu/fold.cpp"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "hebb/backend/cpu/line-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hebb::cpu::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

// Partial results of a row, whatever the length of a vector: 256 bytes are 4 vectors of AVX-512, 16 of SSE.
template <class T>
constexpr int kPartials = 256 / static_cast<int>(sizeof(T));
template <class T>
constexpr int kMostLanes = static_cast<int>(hn::MaxLanes(hn::ScalableTag<T>()));

template <class T, Fold fold>
constexpr T identity() {
  constexpr T infinity = std::numeric_limits<T>::infinity();
  if constexpr (fold == Fold::Sum) return 0;
  else if constexpr (fold == Fold::Prod) return 1;
  else if constexpr (fold == Fold::Min) return infinity;
  else return -infinity;  // e^-infinity is 0, the identity of SumExp's sum
}

template <Fold fold, class V>
HWY_INLINE V join(V a, V b) {
  if constexpr (fold == Fold::Sum || fold == Fold::SumExp) return hn::Add(a, b);
  else if constexpr (fold == Fold::Prod) return hn::Mul(a, b);
  // Taken if larger or NaN; where a is NaN it stays, since no comparison with it holds.
  else if constexpr (fold == Fold::Max) return hn::IfThenElse(hn::Or(hn::Gt(b, a), hn::IsNaN(b)), b, a);
  else return hn::IfThenElse(hn::Or(hn::Lt(b, a), hn::IsNaN(b)), b, a);
}
template <Fold fold, class T>
HWY_INLINE T join_one(T a, T b) {
  if constexpr (fold == Fold::Sum || fold == Fold::SumExp) return a + b;
  else if constexpr (fold == Fold::Prod) return a * b;
  else if constexpr (fold == Fold::Max) return b > a || b != b ? b : a;
  else return b < a || b != b ? b : a;
}

// What is joined: the element itself, or its exponential.
template <Fold fold, class D, class V>
HWY_INLINE V mapped(D d, V x, V shift) {
  if constexpr (fold == Fold::SumExp) return exp_of(d, hn::Sub(x, shift));
  else return x;
}
template <Fold fold, class T>
constexpr T start() {
  return fold == Fold::SumExp ? T{0} : identity<T, fold>();
}

template <class T, Fold fold>
HWY_INLINE T fold_row(const T* HWY_RESTRICT x, int64_t n, T shift) {
  const hn::CappedTag<T, kPartials<T>> d;
  constexpr int kLanes = static_cast<int>(hn::MaxLanes(d));
  constexpr int kVectors = kPartials<T> / kLanes;
  const auto shifts = hn::Set(d, shift);
  hn::Vec<decltype(d)> part[kVectors];
  for (int k = 0; k < kVectors; ++k) part[k] = hn::Set(d, start<fold, T>());
  int64_t i = 0;
  for (; i + kPartials<T> <= n; i += kPartials<T>)
    for (int k = 0; k < kVectors; ++k)
      part[k] = join<fold>(part[k], mapped<fold>(d, hn::LoadU(d, x + i + k * kLanes), shifts));
  for (int k = 0; i < n; ++k, i += kLanes) {
    const auto v = i + kLanes <= n ? hn::LoadU(d, x + i) : load_first(x + i, n - i, identity<T, fold>());
    part[k] = join<fold>(part[k], mapped<fold>(d, v, shifts));
  }
  alignas(64) T lanes[kLanes];
  for (int half = kVectors / 2; half > 0; half /= 2)
    for (int k = 0; k < half; ++k) part[k] = join<fold>(part[k], part[k + half]);
  hn::Store(part[0], d, lanes);
  for (int half = kLanes / 2; half > 0; half /= 2)
    for (int k = 0; k < half; ++k) lanes[k] = join_one<fold>(lanes[k], lanes[k + half]);
  return lanes[0];
}

// Calls strip(tag, j) on vectors that cover columns [j, columns): of the greatest length, then, with few
// columns, of the greatest power of two. The last strip overlaps the one before it.
template <class T, int kLength, class F>
HWY_INLINE void for_each_strip(int64_t j, int64_t columns, F strip) {
  if (columns >= kLength) {
    const hn::CappedTag<T, kLength> d;
    for (; j + kLength <= columns; j += kLength) strip(d, j);
    if (j < columns) strip(d, columns - kLength);
  } else if constexpr (kLength > 1) {
    for_each_strip<T, kLength / 2>(j, columns, strip);
  }
}

// Few elements are folded as four partial results in turn, which do not wait for one another: next(i) is
// element i as it is joined.
constexpr int kInTurn = 4;
template <class T, Fold fold, class D, class F>
HWY_INLINE hn::Vec<D> fold_in_turn(D d, int64_t n, F next) {
  hn::Vec<D> part[kInTurn];
  for (int k = 0; k < kInTurn; ++k) part[k] = hn::Set(d, start<fold, T>());
  int64_t i = 0;
  for (; i + kInTurn <= n; i += kInTurn)
    for (int k = 0; k < kInTurn; ++k) part[k] = join<fold>(part[k], next(i + k));
  for (int k = 0; i < n; ++k, ++i) part[k] = join<fold>(part[k], next(i));
  return join<fold>(join<fold>(part[0], part[2]), join<fold>(part[1], part[3]));
}

// Rows too short for vectors of their own: a lane each, elements gathered. As every lane does the same, the
// bits do not depend on how rows are grouped.
template <class T, Fold fold>
void short_rows(const T* x, int64_t stride, int64_t n, int64_t count, const T* shift, T* out) {
  for_each_strip<T, kMostLanes<T>>(0, count, [=](auto d, int64_t r) HWY_ATTR {
    const hn::RebindToSigned<decltype(d)> di;
    using I = hn::TFromD<decltype(di)>;
    const auto index = hn::Mul(hn::Iota(di, 0), hn::Set(di, static_cast<I>(stride)));
    const auto shifts = fold == Fold::SumExp ? hn::LoadU(d, shift + r) : hn::Zero(d);
    const auto element = [=](int64_t i) HWY_ATTR {
      return mapped<fold>(d, hn::GatherIndex(d, x + r * stride + i, index), shifts);
    };
    hn::StoreU(fold_in_turn<T, fold>(d, n, element), d, out + r);
  });
}

template <class T, Fold fold>
void rows_of(const T* x, int64_t stride, int64_t n, int64_t count, const T* shift, T* out) {
  if (n < kPartials<T> && stride < (1 << 24)) return short_rows<T, fold>(x, stride, n, count, shift, out);
  for (int64_t r = 0; r < count; ++r)
    out[r] = fold_row<T, fold>(x + r * stride, n, fold == Fold::SumExp ? shift[r] : T{0});
}

// Columns [j, j + a vector) of `rows` rows, in order, onto what `out` holds unless these are the first.
template <class T, Fold fold, class D>
HWY_INLINE void column_strip(D d, const T* x, const int64_t* offsets, int64_t rows, bool first, int64_t j,
                             const T* shift, T* out) {
  auto part = first ? hn::Set(d, start<fold, T>()) : hn::LoadU(d, out + j);
  const auto shifts = fold == Fold::SumExp ? hn::LoadU(d, shift + j) : part;
  for (int64_t r = 0; r < rows; ++r)
    part = join<fold>(part, mapped<fold>(d, hn::LoadU(d, x + offsets[r] + j), shifts));
  hn::StoreU(part, d, out + j);
}

// Memory is read along the rows, 8 of them side by side: partial results wait in `out`, which is short.
template <class T, Fold fold>
void columns_of(const T* x, const int64_t* offsets, int64_t rows, int64_t columns, const T* shift, T* out) {
  constexpr int64_t kSide = 8, kLanes = kMostLanes<T>, kFewColumns = 16;
  if (columns < kFewColumns) {
    return for_each_strip<T, kMostLanes<T>>(0, columns, [=](auto d, int64_t j) HWY_ATTR {
      const auto shifts = fold == Fold::SumExp ? hn::LoadU(d, shift + j) : hn::Zero(d);
      const auto element = [=](int64_t r)
                               HWY_ATTR { return mapped<fold>(d, hn::LoadU(d, x + offsets[r] + j), shifts); };
      hn::StoreU(fold_in_turn<T, fold>(d, rows, element), d, out + j);
    });
  }
  const int64_t whole = columns >= 4 * kLanes ? columns / kLanes * kLanes : 0;
  const hn::ScalableTag<T> d;
  for (int64_t r = 0; r < rows && whole > 0; r += kSide) {
    const int64_t n = rows - r < kSide ? rows - r : kSide;
    if (n == kSide)  // a count that the compiler knows, so that it unrolls
      for (int64_t j = 0; j < whole; j += kLanes)
        column_strip<T, fold>(d, x, offsets + r, kSide, r == 0, j, shift, out);
    else
      for (int64_t j = 0; j < whole; j += kLanes)
        column_strip<T, fold>(d, x, offsets + r, n, r == 0, j, shift, out);
  }
  // The rest at once; its last strip may overlap what is done, and finds the same bits.
  for_each_strip<T, kMostLanes<T>>(whole, columns, [=](auto tag, int64_t at) HWY_ATTR {
    column_strip<T, fold>(tag, x, offsets, rows, true, at, shift, out);
  });
}

// One step of a search: where v beats the best so far, or is the first NaN, it and its place are taken.
template <bool kLargest, class V, class W>
HWY_INLINE void take_if_better(V v, W place, V& best, W& where) {
  const hn::DFromV<W> di;
  const auto beats = kLargest ? hn::Gt(v, best) : hn::Lt(v, best);
  const auto take = hn::Or(beats, hn::AndNot(hn::IsNaN(best), hn::IsNaN(v)));
  best = hn::IfThenElse(take, v, best);
  where = hn::IfThenElse(hn::RebindMask(di, take), place, where);
}
template <class D, class W>
HWY_INLINE void store_places(D di, W where, int64_t* at) {
  constexpr int kLanes = static_cast<int>(hn::MaxLanes(di));
  alignas(64) hn::TFromD<D> lanes[kLanes];
  hn::Store(where, di, lanes);
  for (int i = 0; i < kLanes; ++i) at[i] = lanes[i];
}

template <class T, bool kLargest>
void find_in_short_rows(const T* x, int64_t n, int64_t count, T* values, int64_t* at) {
  for_each_strip<T, kMostLanes<T>>(0, count, [=](auto d, int64_t r) HWY_ATTR {
    const hn::RebindToSigned<decltype(d)> di;
    using I = hn::TFromD<decltype(di)>;
    const auto index = hn::Mul(hn::Iota(di, 0), hn::Set(di, static_cast<I>(n)));
    auto best = hn::GatherIndex(d, x + r * n, index);
    auto where = hn::Zero(di);
    for (int64_t i = 1; i < n; ++i)
      take_if_better<kLargest>(hn::GatherIndex(d, x + r * n + i, index), hn::Set(di, static_cast<I>(i)), best,
                               where);
    store_places(di, where, at + r);
    if (values) hn::StoreU(best, d, values + r);
  });
}

template <class T, bool kLargest>
void find_in_rows(const T* x, int64_t n, int64_t count, T* values, int64_t* at) {
  if (n < kPartials<T>) return find_in_short_rows<T, kLargest>(x, n, count, values, at);
  const hn::ScalableTag<T> d;
  constexpr int kLanes = kMostLanes<T>;
  for (int64_t r = 0; r < count; ++r, x += n) {
    const T best = fold_row < T, kLargest ? Fold::Max : Fold::Min > (x, n, 0);
    const bool nan = best != best;
    const auto wanted = hn::Set(d, best);
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) {
      const auto v = hn::LoadU(d, x + i);
      if (!hn::AllFalse(d, nan ? hn::IsNaN(v) : hn::Eq(v, wanted))) break;
    }
    while (i < n - 1 && !(nan ? x[i] != x[i] : x[i] == best)) ++i;
    at[r] = i;
    if (values) values[r] = x[i];
  }
}

template <class T, bool kLargest, int kVectors, class D>
HWY_INLINE void find_in_strip(D d, const T* x, int64_t stride, int64_t rows, int64_t j, T* values,
                              int64_t* at) {
  const hn::RebindToSigned<D> di;
  using I = hn::TFromD<decltype(di)>;
  constexpr int kLanes = static_cast<int>(hn::MaxLanes(d));
  hn::Vec<D> best[kVectors];
  hn::Vec<decltype(di)> where[kVectors];
  for (int k = 0; k < kVectors; ++k) {
    best[k] = hn::LoadU(d, x + j + k * kLanes);
    where[k] = hn::Zero(di);
  }
  for (int64_t r = 1; r < rows; ++r) {
    const auto row = hn::Set(di, static_cast<I>(r));
    for (int k = 0; k < kVectors; ++k) {
      take_if_better<kLargest>(hn::LoadU(d, x + r * stride + j + k * kLanes), row, best[k], where[k]);
    }
  }
  for (int k = 0; k < kVectors; ++k) {
    store_places(di, where[k], at + j + k * kLanes);
    if (values) hn::StoreU(best[k], d, values + j + k * kLanes);
  }
}

template <class T, bool kLargest>
void find_in_columns(const T* x, int64_t stride, int64_t rows, int64_t columns, T* values, int64_t* at) {
  constexpr int64_t kVectors = 4, kLanes = kMostLanes<T>;
  const hn::ScalableTag<T> d;
  int64_t j = 0;
  for (; j + kVectors * kLanes <= columns; j += kVectors * kLanes)
    find_in_strip<T, kLargest, kVectors>(d, x, stride, rows, j, values, at);
  for_each_strip<T, kMostLanes<T>>(j, columns, [=](auto tag, int64_t k) HWY_ATTR {
    find_in_strip<T, kLargest, 1>(tag, x, stride, rows, k, values, at);
  });
}

}  // namespace

// Highway exports plain functions: one for each type.
#define HEBB_FOLDS(T, suffix)                                                                               \
  void fold_rows_##suffix(Fold fold, const T* x, int64_t stride, int64_t n, int64_t count, const T* shift,  \
                          T* out) {                                                                         \
    switch (fold) {                                                                                         \
      case Fold::Sum: return rows_of<T, Fold::Sum>(x, stride, n, count, shift, out);                        \
      case Fold::Prod: return rows_of<T, Fold::Prod>(x, stride, n, count, shift, out);                      \
      case Fold::Max: return rows_of<T, Fold::Max>(x, stride, n, count, shift, out);                        \
      case Fold::Min: return rows_of<T, Fold::Min>(x, stride, n, count, shift, out);                        \
      case Fold::SumExp: return rows_of<T, Fold::SumExp>(x, stride, n, count, shift, out);                  \
    }                                                                                                       \
  }                                                                                                         \
  void fold_columns_##suffix(Fold fold, const T* x, const int64_t* offsets, int64_t rows, int64_t columns,  \
                             const T* shift, T* out) {                                                      \
    switch (fold) {                                                                                         \
      case Fold::Sum: return columns_of<T, Fold::Sum>(x, offsets, rows, columns, shift, out);               \
      case Fold::Prod: return columns_of<T, Fold::Prod>(x, offsets, rows, columns, shift, out);             \
      case Fold::Max: return columns_of<T, Fold::Max>(x, offsets, rows, columns, shift, out);               \
      case Fold::Min: return columns_of<T, Fold::Min>(x, offsets, rows, columns, shift, out);               \
      case Fold::SumExp: return columns_of<T, Fold::SumExp>(x, offsets, rows, columns, shift, out);         \
    }                                                                                                       \
  }                                                                                                         \
  void find_rows_##suffix(bool largest, const T* x, int64_t n, int64_t count, T* values, int64_t* at) {     \
    (largest ? find_in_rows<T, true> : find_in_rows<T, false>)(x, n, count, values, at);                    \
  }                                                                                                         \
  void find_columns_##suffix(bool largest, const T* x, int64_t stride, int64_t rows, int64_t columns,       \
                             T* values, int64_t* at) {                                                      \
    (largest ? find_in_columns<T, true> : find_in_columns<T, false>)(x, stride, rows, columns, values, at); \
  }
HEBB_FOLDS(float, f32)
HEBB_FOLDS(double, f64)
#undef HEBB_FOLDS

}  // namespace hebb::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hebb::cpu {

#define HEBB_FOLDS(T, suffix)                                                                              \
  HWY_EXPORT(fold_rows_##suffix);                                                                          \
  HWY_EXPORT(fold_columns_##suffix);                                                                       \
  HWY_EXPORT(find_rows_##suffix);                                                                          \
  HWY_EXPORT(find_columns_##suffix);                                                                       \
  template <>                                                                                              \
  void fold_rows<T>(Fold fold, const T* x, int64_t stride, int64_t n, int64_t count, const T* shift,       \
                    T* out) {                                                                              \
    HWY_DYNAMIC_DISPATCH(fold_rows_##suffix)(fold, x, stride, n, count, shift, out);                       \
  }                                                                                                        \
  template <>                                                                                              \
  void fold_columns<T>(Fold fold, const T* x, const int64_t* offsets, int64_t rows, int64_t columns,       \
                       const T* shift, T* out) {                                                           \
    HWY_DYNAMIC_DISPATCH(fold_columns_##suffix)(fold, x, offsets, rows, columns, shift, out);              \
  }                                                                                                        \
  template <>                                                                                              \
  void find_rows<T>(bool largest, const T* x, int64_t n, int64_t count, T* values, int64_t* at) {          \
    HWY_DYNAMIC_DISPATCH(find_rows_##suffix)(largest, x, n, count, values, at);                            \
  }                                                                                                        \
  template <>                                                                                              \
  void find_columns<T>(bool largest, const T* x, int64_t stride, int64_t rows, int64_t columns, T* values, \
                       int64_t* at) {                                                                      \
    HWY_DYNAMIC_DISPATCH(find_columns_##suffix)(largest, x, stride, rows, columns, values, at);            \
  }
HEBB_FOLDS(float, f32)
HEBB_FOLDS(double, f64)
#undef HEBB_FOLDS

}  // namespace hebb::cpu
#endif
