// The loops of batch normalisation: over lines of one channel, and over rows whose elements are the channels.
// Compiled once for every instruction set.
#if defined(HEBB_BACKEND_CPU_BATCH_NORM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HEBB_BACKEND_CPU_BATCH_NORM_INL_H_
#undef HEBB_BACKEND_CPU_BATCH_NORM_INL_H_
#else
#define HEBB_BACKEND_CPU_BATCH_NORM_INL_H_
#endif

#include "hebb/backend/cpu/line-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hebb::cpu {
namespace HWY_NAMESPACE {

/// y = (x - mean) * scale + shift.
template <class T>
void normalize_line(const T* x, int64_t n, T mean, T scale, T shift, T* y) {
  const Tag<T> d;
  const auto m = hn::Set(d, mean), a = hn::Set(d, scale), b = hn::Set(d, shift);
  each_vector(x, n, T(0), [&](Vec<T> v, int64_t i, int64_t count) HWY_ATTR {
    store_first(hn::MulAdd(hn::Sub(v, m), a, b), y + i, count);
  });
}

// ---- Rows of `channels` values: what batch normalisation needs of each channel.

/// Calls fn(vectors, c, count) for groups of up to four vectors of channels: `count` channels from c on, in
/// `vectors` (a constant) vectors.
template <class T, class F>
HWY_INLINE void each_group(int64_t channels, F fn) {
  constexpr int64_t L = kLanes<T>;
  int64_t c = 0;
  for (; c + 4 * L <= channels; c += 4 * L) fn(std::integral_constant<int, 4>(), c, 4 * L);
  for (; c < channels; c += L) fn(std::integral_constant<int, 1>(), c, std::min(L, channels - c));
}

/// The mean of each channel, and the sum of (x - mean)^2.
template <class T>
void channel_moments(const T* x, int64_t rows, int64_t channels, T* mean, T* squares) {
  constexpr int64_t L = kLanes<T>;
  const Tag<T> d;
  const auto share = hn::Set(d, T(1) / static_cast<T>(rows));
  each_group<T>(channels, [&](auto vectors, int64_t c, int64_t count) HWY_ATTR {
    constexpr int kVectors = decltype(vectors)::value;
    Vec<T> sum[kVectors], m[kVectors];
    HEBB_UNROLL for (int v = 0; v < kVectors; ++v) sum[v] = hn::Zero(d);
    for (int64_t r = 0; r < rows; ++r)
      HEBB_UNROLL for (int v = 0; v < kVectors; ++v) sum[v] =
          hn::Add(sum[v], load_first(x + r * channels + c + v * L, count));
    HEBB_UNROLL for (int v = 0; v < kVectors; ++v) {
      m[v] = hn::Mul(sum[v], share);
      store_first(m[v], mean + c + v * L, count);
      sum[v] = hn::Zero(d);
    }
    for (int64_t r = 0; r < rows; ++r) {
      HEBB_UNROLL for (int v = 0; v < kVectors; ++v) {
        const auto centred = hn::Sub(load_first(x + r * channels + c + v * L, count), m[v]);
        sum[v] = hn::MulAdd(centred, centred, sum[v]);
      }
    }
    HEBB_UNROLL for (int v = 0; v < kVectors; ++v) store_first(sum[v], squares + c + v * L, count);
  });
}
/// The sums of g and of g * (x - mean) for each channel.
template <class T>
void channel_gradient_sums(const T* g, const T* x, const T* mean, int64_t rows, int64_t channels, T* plain,
                           T* centred) {
  constexpr int64_t L = kLanes<T>;
  const Tag<T> d;
  each_group<T>(channels, [&](auto vectors, int64_t c, int64_t count) HWY_ATTR {
    constexpr int kVectors = decltype(vectors)::value;
    Vec<T> s[kVectors], t[kVectors], m[kVectors];
    HEBB_UNROLL for (int v = 0; v < kVectors; ++v) {
      s[v] = t[v] = hn::Zero(d);
      m[v] = load_first(mean + c + v * L, count);
    }
    for (int64_t at = c; at < c + rows * channels; at += channels) {
      HEBB_UNROLL for (int v = 0; v < kVectors; ++v) {
        const auto gradient = load_first(g + at + v * L, count);
        s[v] = hn::Add(s[v], gradient);
        t[v] = hn::MulAdd(gradient, hn::Sub(load_first(x + at + v * L, count), m[v]), t[v]);
      }
    }
    HEBB_UNROLL for (int v = 0; v < kVectors; ++v) {
      store_first(s[v], plain + c + v * L, count);
      store_first(t[v], centred + c + v * L, count);
    }
  });
}
/// y = (x - mean) * scale + shift.
template <class T>
void normalize_channels(const T* x, int64_t rows, int64_t channels, const T* mean, const T* scale,
                        const T* shift, T* y) {
  for (int64_t r = 0; r < rows; ++r, x += channels, y += channels) {
    each_vector(x, channels, T(0), [&](Vec<T> v, int64_t c, int64_t count) HWY_ATTR {
      const auto centred = hn::Sub(v, load_first(mean + c, count));
      store_first(hn::MulAdd(centred, load_first(scale + c, count), load_first(shift + c, count)), y + c,
                  count);
    });
  }
}
/// out = g * a + (x - mean) * b + shift.
template <class T>
void combine_channels(const T* g, const T* x, int64_t rows, int64_t channels, const T* mean, const T* a,
                      const T* b, const T* shift, T* out) {
  for (int64_t r = 0; r < rows; ++r, g += channels, x += channels, out += channels) {
    each_vector(g, channels, T(0), [&](Vec<T> v, int64_t c, int64_t count) HWY_ATTR {
      const auto centred = hn::Sub(load_first(x + c, count), load_first(mean + c, count));
      const auto rest = hn::MulAdd(centred, load_first(b + c, count), load_first(shift + c, count));
      store_first(hn::MulAdd(v, load_first(a + c, count), rest), out + c, count);
    });
  }
}

template <class T>
BatchNormKernels<T> batch_norm_kernel_table() {
  return {&sum_line<T>,        &squares_line<T>,    &gradient_sums_line<T>,    &normalize_line<T>,
          &combine_line<T>,    &channel_moments<T>, &channel_gradient_sums<T>, &normalize_channels<T>,
          &combine_channels<T>};
}
BatchNormKernels<float> batch_norm_kernels_f32() { return batch_norm_kernel_table<float>(); }
BatchNormKernels<double> batch_norm_kernels_f64() { return batch_norm_kernel_table<double>(); }

}  // namespace HWY_NAMESPACE
}  // namespace hebb::cpu
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
