// The transforms of lines that Winograd convolutions are made of: lanes over channels, a line of 4 outputs of
// filters of one, two or three taps. Compiled once for every instruction set.
#if defined(HEBB_BACKEND_CPU_WINOGRAD_LINES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HEBB_BACKEND_CPU_WINOGRAD_LINES_INL_H_
#undef HEBB_BACKEND_CPU_WINOGRAD_LINES_INL_H_
#else
#define HEBB_BACKEND_CPU_WINOGRAD_LINES_INL_H_
#endif

#include "hebb/backend/cpu/gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hebb::cpu {
namespace HWY_NAMESPACE {

using V = Vec<float>;
constexpr int64_t kChannels = kLanes<float>;  // in a vector

HWY_INLINE V load(const float* p) { return hn::LoadU(Tag<float>(), p); }
HWY_INLINE void store(V v, float* p) { hn::StoreU(v, Tag<float>(), p); }
HWY_INLINE V times(double k, V x) { return hn::Mul(hn::Set(Tag<float>(), static_cast<float>(k)), x); }
/// c + k x and c - k x.
HWY_INLINE V plus(V c, double k, V x) {
  return hn::MulAdd(hn::Set(Tag<float>(), static_cast<float>(k)), x, c);
}
HWY_INLINE V minus(V c, double k, V x) {
  return hn::NegMulAdd(hn::Set(Tag<float>(), static_cast<float>(k)), x, c);
}

/// The points of a line: with three taps 0, +-p, +-q and infinity, with two +-p, +-q and infinity, with one
/// +-p and +-q, in this order. With three p q = 1, and some factors of the general formulas are 1.
template <int Taps>
struct PointsOf {
  static constexpr double p = 0.5, q = 1.25, kP = 2 * p * (p * p - q * q), kQ = 2 * q * (q * q - p * p);
};
template <>
struct PointsOf<3> {
  static constexpr double p = 0.70710678118654752440, q = 2 * p, kP = -1.5, kQ = 6;
};
// (kP and kQ are the products of a point's distances from the others: what filters are divided by.)

/// Inputs of a line to its points: B^T d.
template <int Taps>
struct InputLine : PointsOf<Taps> {
  static constexpr int kIn = Taps + 3, kOut = Taps + 3;
  using PointsOf<Taps>::p, PointsOf<Taps>::q;
  static HWY_INLINE void apply(const V (&d)[kIn], V (&t)[kOut]) {
    constexpr int kFirst = Taps == 3;  // of the pairs
    const V a = minus(d[kFirst + 3], q * q, d[kFirst + 1]), b = minus(d[kFirst + 2], q * q, d[kFirst]);
    t[kFirst] = plus(a, p, b);
    t[kFirst + 1] = minus(a, p, b);
    const V c = minus(d[kFirst + 3], p * p, d[kFirst + 1]), e = minus(d[kFirst + 2], p * p, d[kFirst]);
    t[kFirst + 2] = plus(c, q, e);
    t[kFirst + 3] = minus(c, q, e);
    if constexpr (Taps == 3) {
      t[0] = minus(hn::Add(d[0], d[4]), p * p + q * q, d[2]);
      t[5] = minus(hn::Add(d[1], d[5]), p * p + q * q, d[3]);
    } else if constexpr (Taps == 2) {
      t[4] = minus(plus(d[4], p * p * q * q, d[0]), p * p + q * q, d[2]);
    }
  }
};

/// Products at the points to four outputs of a line: A^T m.
template <int Taps>
struct OutputLine : PointsOf<Taps> {
  static constexpr int kIn = Taps + 3, kOut = 4;
  using PointsOf<Taps>::p, PointsOf<Taps>::q;
  static HWY_INLINE void apply(const V (&m)[kIn], V (&y)[kOut]) {
    constexpr int kFirst = Taps == 3;
    const V s1 = hn::Add(m[kFirst], m[kFirst + 1]), d1 = hn::Sub(m[kFirst], m[kFirst + 1]);
    const V s2 = hn::Add(m[kFirst + 2], m[kFirst + 3]), d2 = hn::Sub(m[kFirst + 2], m[kFirst + 3]);
    y[0] = Taps == 3 ? hn::Add(hn::Add(m[0], s1), s2) : hn::Add(s1, s2);
    y[1] = plus(times(p, d1), q, d2);
    y[2] = plus(times(p * p, s1), q * q, s2);
    const V last = Taps > 1 ? plus(m[kIn - 1], p * p * p, d1) : times(p * p * p, d1);
    y[3] = plus(last, q * q * q, d2);
  }
};

/// Four gradients of outputs to the points: A y.
template <int Taps>
struct GradientLine : PointsOf<Taps> {
  static constexpr int kIn = 4, kOut = Taps + 3;
  using PointsOf<Taps>::p, PointsOf<Taps>::q;
  static HWY_INLINE void apply(const V (&y)[kIn], V (&t)[kOut]) {
    constexpr int kFirst = Taps == 3;
    const V a = plus(y[0], p * p, y[2]), b = plus(y[1], p * p, y[3]);
    t[kFirst] = plus(a, p, b);
    t[kFirst + 1] = minus(a, p, b);
    const V c = plus(y[0], q * q, y[2]), e = plus(y[1], q * q, y[3]);
    t[kFirst + 2] = plus(c, q, e);
    t[kFirst + 3] = minus(c, q, e);
    if constexpr (Taps == 3) t[0] = y[0];
    if constexpr (Taps > 1) t[kOut - 1] = y[3];
  }
};

/// Taps of a filter to the points: G g.
template <int Taps>
struct FilterLine : PointsOf<Taps> {
  static constexpr int kIn = Taps, kOut = Taps + 3;
  using PointsOf<Taps>::p, PointsOf<Taps>::q, PointsOf<Taps>::kP, PointsOf<Taps>::kQ;
  static HWY_INLINE void apply(const V (&g)[kIn], V (&t)[kOut]) {
    if constexpr (Taps == 3) {
      t[0] = g[0];
      const V a = times(1 / kP, plus(g[0], p * p, g[2])), b = times(p / kP, g[1]);
      t[1] = hn::Add(a, b);
      t[2] = hn::Sub(a, b);
      const V c = times(1 / kQ, plus(g[0], q * q, g[2])), e = times(q / kQ, g[1]);
      t[3] = hn::Add(c, e);
      t[4] = hn::Sub(c, e);
      t[5] = g[2];
    } else if constexpr (Taps == 2) {
      const V a = times(1 / kP, g[0]), c = times(1 / kQ, g[0]);
      t[0] = plus(a, p / kP, g[1]);
      t[1] = minus(times(p / kP, g[1]), 1 / kP, g[0]);
      t[2] = plus(c, q / kQ, g[1]);
      t[3] = minus(times(q / kQ, g[1]), 1 / kQ, g[0]);
      t[4] = g[1];
    } else {
      t[0] = times(1 / kP, g[0]);
      t[1] = times(-1 / kP, g[0]);
      t[2] = times(1 / kQ, g[0]);
      t[3] = times(-1 / kQ, g[0]);
    }
  }
};

/// Sums at the points to the gradients of the taps: G^T u.
template <int Taps>
struct TapLine : PointsOf<Taps> {
  static constexpr int kIn = Taps + 3, kOut = Taps;
  using PointsOf<Taps>::p, PointsOf<Taps>::q, PointsOf<Taps>::kP, PointsOf<Taps>::kQ;
  static HWY_INLINE void apply(const V (&u)[kIn], V (&g)[kOut]) {
    if constexpr (Taps == 3) {
      const V s1 = times(1 / kP, hn::Add(u[1], u[2])), d1 = times(p / kP, hn::Sub(u[1], u[2]));
      const V s2 = times(1 / kQ, hn::Add(u[3], u[4])), d2 = times(q / kQ, hn::Sub(u[3], u[4]));
      g[0] = hn::Add(hn::Add(u[0], s1), s2);
      g[1] = hn::Add(d1, d2);
      g[2] = plus(plus(u[5], p * p, s1), q * q, s2);
    } else {
      g[0] = plus(times(1 / kP, hn::Sub(u[0], u[1])), 1 / kQ, hn::Sub(u[2], u[3]));
      if constexpr (Taps == 2)
        g[1] = plus(plus(u[4], p / kP, hn::Add(u[0], u[1])), q / kQ, hn::Add(u[2], u[3]));
    }
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace hebb::cpu
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
