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

/// Calls fn(first, end) for some rows after the other: so many that they stay in the first-level cache, and
/// at least 8, which are read side by side while the sums of a long row pass by.
template <class F>
HWY_INLINE void each_few_rows(int64_t rows, int64_t channels, F fn) {
  const int64_t step = std::max<int64_t>(8, 2048 / std::max<int64_t>(1, channels));
  for (int64_t first = 0; first < rows; first += step) fn(first, std::min(rows, first + step));
}
/// sums[c] = add(sums[c], row, c, count) for rows [first, end), in order.
template <class T, class F>
HWY_INLINE void add_to_channels(int64_t first, int64_t end, int64_t channels, T* sums, F add) {
  constexpr int64_t L = kLanes<T>;
  each_group<T>(channels, [&](auto vectors, int64_t c, int64_t count) HWY_ATTR {
    constexpr int kVectors = decltype(vectors)::value;
    Vec<T> s[kVectors];
    HEBB_UNROLL for (int v = 0; v < kVectors; ++v) s[v] = load_first(sums + c + v * L, count);
    for (int64_t r = first; r < end; ++r)
      HEBB_UNROLL for (int v = 0; v < kVectors; ++v) s[v] = add(s[v], r, c + v * L, count);
    HEBB_UNROLL for (int v = 0; v < kVectors; ++v) store_first(s[v], sums + c + v * L, count);
  });
}

/// The mean of each channel, and the sum of (x - mean)^2.
template <class T>
void channel_moments(const T* x, int64_t rows, int64_t channels, T* mean, T* squares) {
  std::fill_n(mean, channels, T(0));
  std::fill_n(squares, channels, T(0));
  each_few_rows(rows, channels, [&](int64_t first, int64_t end) HWY_ATTR {
    add_to_channels(first, end, channels, mean, [&](Vec<T> s, int64_t r, int64_t c, int64_t count) HWY_ATTR {
      return hn::Add(s, load_first(x + r * channels + c, count));
    });
  });
  const auto share = hn::Set(Tag<T>(), T(1) / static_cast<T>(rows));
  each_vector(mean, channels, T(0), [&](Vec<T> v, int64_t c, int64_t count) HWY_ATTR {
    store_first(hn::Mul(v, share), mean + c, count);
  });
  each_few_rows(rows, channels, [&](int64_t first, int64_t end) HWY_ATTR {
    add_to_channels(
        first, end, channels, squares, [&](Vec<T> s, int64_t r, int64_t c, int64_t count) HWY_ATTR {
          const auto centred = hn::Sub(load_first(x + r * channels + c, count), load_first(mean + c, count));
          return hn::MulAdd(centred, centred, s);
        });
  });
}
/// The sums of g and of g * (x - mean) for each channel.
template <class T>
void channel_gradient_sums(const T* g, const T* x, const T* mean, int64_t rows, int64_t channels, T* plain,
                           T* centred) {
  constexpr int64_t L = kLanes<T>;
  std::fill_n(plain, channels, T(0));
  std::fill_n(centred, channels, T(0));
  each_few_rows(rows, channels, [&](int64_t first, int64_t end) HWY_ATTR {
    each_group<T>(channels, [&](auto vectors, int64_t c, int64_t count) HWY_ATTR {
      constexpr int kVectors = decltype(vectors)::value;
      Vec<T> s[kVectors], t[kVectors], m[kVectors];
      HEBB_UNROLL for (int v = 0; v < kVectors; ++v) {
        s[v] = load_first(plain + c + v * L, count);
        t[v] = load_first(centred + c + v * L, count);
        m[v] = load_first(mean + c + v * L, count);
      }
      for (int64_t at = first * channels + c; at < end * channels + c; at += channels) {
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

HWY_INLINE Vec<double> widened(const float* p) {
  return hn::PromoteTo(Tag<double>(), hn::LoadU(hn::Rebind<float, Tag<double>>(), p));
}
HWY_INLINE Vec<double> widened(const double* p) { return hn::LoadU(Tag<double>(), p); }

/// Mean and variance of n columns, at most kStrip, from those of blocks of `each` rows (the last block holds
/// the rest of `rows`): blocks of some rows with their mean and sum of squares are joined as by Chan, Golub
/// and LeVeque, 1979.
template <class T>
void join_moments(const T* means, const T* squares, int64_t blocks, int64_t stride, int64_t n, int64_t each,
                  int64_t rows, T* mean, T* var) {
  const Tag<double> d;
  double m[kStrip] = {}, s[kStrip] = {};
  for (int64_t b = 0; b < blocks; ++b, means += stride, squares += stride) {
    const int64_t before = b * each;
    const auto more = static_cast<double>(std::min(each, rows - before)),
               all = static_cast<double>(before) + more;
    const double share = more / all, both = static_cast<double>(before) * share;
    int64_t j = 0;
    for (; j + kLanes<double> <= n; j += kLanes<double>) {
      const auto middle = hn::LoadU(d, m + j), difference = hn::Sub(widened(means + j), middle);
      const auto apart = hn::Mul(hn::Mul(difference, difference), hn::Set(d, both));
      hn::StoreU(hn::Add(hn::LoadU(d, s + j), hn::Add(widened(squares + j), apart)), d, s + j);
      hn::StoreU(hn::Add(middle, hn::Mul(difference, hn::Set(d, share))), d, m + j);
    }
    for (; j < n; ++j) {
      const double difference = static_cast<double>(means[j]) - m[j];
      s[j] += static_cast<double>(squares[j]) + difference * difference * both;
      m[j] += difference * share;
    }
  }
  for (int64_t j = 0; j < n; ++j) {
    mean[j] = static_cast<T>(rows > 0 ? m[j] : std::numeric_limits<double>::quiet_NaN());
    var[j] = static_cast<T>(s[j] / static_cast<double>(rows));
  }
}

template <class T>
BatchNormKernels<T> batch_norm_kernel_table() {
  return {&sum_line<T>,         &squares_line<T>,    &gradient_sums_line<T>,    &normalize_line<T>,
          &combine_line<T>,     &channel_moments<T>, &channel_gradient_sums<T>, &normalize_channels<T>,
          &combine_channels<T>, &join_moments<T>};
}
BatchNormKernels<float> batch_norm_kernels_f32() { return batch_norm_kernel_table<float>(); }
BatchNormKernels<double> batch_norm_kernels_f64() { return batch_norm_kernel_table<double>(); }

}  // namespace HWY_NAMESPACE
}  // namespace hebb::cpu
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
