// Pooling by 2x2 windows that do not overlap, the common case, on vectors of floats: one row of outputs at a
// time. Compiled once for every instruction set.
#if defined(HEBB_BACKEND_CPU_POOL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HEBB_BACKEND_CPU_POOL_INL_H_
#undef HEBB_BACKEND_CPU_POOL_INL_H_
#else
#define HEBB_BACKEND_CPU_POOL_INL_H_
#endif

#include <hwy/highway.h>

#include <cmath>
#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace hebb::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr int64_t kPoolLanes = static_cast<int64_t>(hn::MaxLanes(hn::ScalableTag<float>()));

/// Calls fn(tag, first) for vectors that cover n outputs: the widest that fit, the last one overlapping the
/// one before it. Returns how many outputs it could not cover (all of them, when fewer than 4).
template <int64_t Lanes, class F>
HWY_INLINE int64_t cover(int64_t n, F fn) {
  if constexpr (Lanes < 4) {
    return n;
  } else {
    if (n < Lanes) return cover<Lanes / 2>(n, fn);
    const hn::CappedTag<float, static_cast<size_t>(Lanes)> d;
    int64_t i = 0;
    for (; i + Lanes <= n; i += Lanes) fn(d, i);
    if (i < n) fn(d, n - Lanes);
    return 0;
  }
}

/// to[i] = first + at[i].
template <class D, class V>
HWY_INLINE void store_indices([[maybe_unused]] D d, [[maybe_unused]] V at, [[maybe_unused]] int64_t first,
                              [[maybe_unused]] int64_t* to) {
#if HWY_TARGET != HWY_SCALAR  // which has no halves; cover() never gets here
  const hn::Half<D> half;
  const hn::Rebind<int64_t, hn::Half<D>> wide;
  const auto base = hn::Set(wide, first);
  hn::StoreU(hn::Add(base, hn::PromoteTo(wide, hn::LowerHalf(half, at))), wide, to);
  hn::StoreU(hn::Add(base, hn::PromoteTo(wide, hn::UpperHalf(half, at))), wide, to + hn::MaxLanes(half));
#endif
}

/// Outputs y[0, n) and their indices from input rows x and x + width, where `first` is the index of x[0].
/// Larger values win, of equal ones the first, and NaN over all, the last of several.
HWY_INLINE void max_pool_2x2_row(const float* x, int64_t width, int64_t n, int64_t first, float* y,
                                 int64_t* indices) {
  const int64_t left = cover<kPoolLanes>(n, [&](auto d, int64_t i) HWY_ATTR {
    const hn::Rebind<int32_t, decltype(d)> di;
    hn::VFromD<decltype(d)> best, right, lower, last;
    hn::LoadInterleaved2(d, x + 2 * i, best, right);
    hn::LoadInterleaved2(d, x + width + 2 * i, lower, last);
    // Positions relative to the first window's corner.
    const auto corner = hn::ShiftLeft<1>(hn::Iota(di, 0));
    auto at = corner;
    auto challenge = [&](decltype(best) v, int64_t offset) HWY_ATTR {
      const auto wins = hn::Or(hn::Gt(v, best), hn::IsNaN(v));
      best = hn::IfThenElse(wins, v, best);
      at = hn::IfThenElse(hn::RebindMask(di, wins),
                          hn::Add(corner, hn::Set(di, static_cast<int32_t>(offset))), at);
    };
    challenge(right, 1);
    challenge(lower, width);
    challenge(last, width + 1);
    hn::StoreU(best, d, y + i);
    store_indices(di, at, first + 2 * i, indices + i);
  });
  for (int64_t i = n - left; i < n; ++i) {
    int64_t at = 2 * i;
    for (const int64_t j : {2 * i + 1, 2 * i + width, 2 * i + width + 1})
      if (x[j] > x[at] || std::isnan(x[j])) at = j;
    y[i] = x[at];
    indices[i] = first + at;
  }
}

/// y[i] = scale * (sum of the 2x2 window i).
inline void avg_pool_2x2_row(const float* x, int64_t width, int64_t n, float scale, float* y) {
  const int64_t left = cover<kPoolLanes>(n, [&](auto d, int64_t i) HWY_ATTR {
    hn::VFromD<decltype(d)> a, b, c, e;
    hn::LoadInterleaved2(d, x + 2 * i, a, b);
    hn::LoadInterleaved2(d, x + width + 2 * i, c, e);
    hn::StoreU(hn::Mul(hn::Add(hn::Add(a, b), hn::Add(c, e)), hn::Set(d, scale)), d, y + i);
  });
  for (int64_t i = n - left; i < n; ++i)
    y[i] = ((x[2 * i] + x[2 * i + 1]) + (x[width + 2 * i] + x[width + 2 * i + 1])) * scale;
}

/// The transpose: each of the four inputs of window i gets scale * g[i].
inline void avg_pool_2x2_grad_row(const float* g, int64_t width, int64_t n, float scale, float* gx) {
  const int64_t left = cover<kPoolLanes>(n, [&](auto d, int64_t i) HWY_ATTR {
    const auto v = hn::Mul(hn::LoadU(d, g + i), hn::Set(d, scale));
    hn::StoreInterleaved2(v, v, d, gx + 2 * i);
    hn::StoreInterleaved2(v, v, d, gx + width + 2 * i);
  });
  for (int64_t i = n - left; i < n; ++i)
    gx[2 * i] = gx[2 * i + 1] = gx[width + 2 * i] = gx[width + 2 * i + 1] = g[i] * scale;
}

/// Rows [begin, end) of the outputs of all planes, each of `height` rows of n outputs from `plane` inputs.
void max_pool_2x2_rows(const float* x, int64_t plane, int64_t width, int64_t height, int64_t n, int64_t begin,
                       int64_t end, float* y, int64_t* indices) {
  int64_t h = begin % height;
  x += begin / height * plane;
  for (int64_t row = begin; row < end; ++row) {
    const int64_t first = 2 * h * width;
    max_pool_2x2_row(x + first, width, n, first, y + row * n, indices + row * n);
    if (++h == height) h = 0, x += plane;
  }
}

Pool2x2Rows pool_2x2_rows() { return {max_pool_2x2_rows, avg_pool_2x2_row, avg_pool_2x2_grad_row}; }

}  // namespace HWY_NAMESPACE
}  // namespace hebb::cpu
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
