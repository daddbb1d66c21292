// The loops of softmax and normalisation over contiguous values. A line is what is folded: it lies either
// along memory (functions on lines) or across it (functions on columns: n rows, `stride` apart, of up to
// kColumns neighbouring lines). Compiled once for every instruction set.
#if defined(HEBB_BACKEND_CPU_NORM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HEBB_BACKEND_CPU_NORM_INL_H_
#undef HEBB_BACKEND_CPU_NORM_INL_H_
#else
#define HEBB_BACKEND_CPU_NORM_INL_H_
#endif

#include "hebb/backend/cpu/line-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hebb::cpu {
namespace HWY_NAMESPACE {

/// y = g - e^y * sum(g), or y * (g - sum(g * y)): the gradient of log_softmax or softmax.
template <class T>
void softmax_grad_line(const T* g, const T* y, int64_t n, bool log, T* out) {
  const Tag<T> d;
  auto s = hn::Zero(d);
  each_vector(g, n, T(0), [&](Vec<T> v, int64_t i, int64_t count) HWY_ATTR {
    s = log ? hn::Add(s, v) : hn::MulAdd(v, load_first(y + i, count), s);
  });
  const auto sum = hn::Set(d, total<T>(s));
  each_vector(g, n, T(0), [&](Vec<T> v, int64_t i, int64_t count) HWY_ATTR {
    const auto value = load_first(y + i, count);
    const auto result = log ? hn::NegMulAdd(exp_of<T>(value), sum, v) : hn::Mul(value, hn::Sub(v, sum));
    store_first(result, out + i, count);
  });
}

/// As exp_line for `columns` lines side by side.
template <class T>
void exp_columns(const T* x, int64_t n, int64_t stride, int64_t columns, T* y, T* largest, T* sum) {
  const Tag<T> d;
  for (int64_t j = 0; j < columns; j += kLanes<T>) {
    const int64_t count = std::min<int64_t>(kLanes<T>, columns - j);
    auto m = hn::Set(d, -std::numeric_limits<T>::infinity()), s = hn::Zero(d);
    for (int64_t c = 0; c < n; ++c) m = hn::Max(m, load_first(x + c * stride + j, count));
    for (int64_t c = 0; c < n; ++c) {
      const auto e = exp_of<T>(hn::Sub(load_first(x + c * stride + j, count), m));
      s = hn::Add(s, e);
      if (y) store_first(e, y + c * stride + j, count);
    }
    store_first(m, largest + j, count);
    store_first(s, sum + j, count);
  }
}

template <class T>
void softmax_grad_columns(const T* g, const T* y, int64_t n, int64_t stride, int64_t columns, bool log,
                          T* out) {
  const Tag<T> d;
  for (int64_t j = 0; j < columns; j += kLanes<T>) {
    const int64_t count = std::min<int64_t>(kLanes<T>, columns - j);
    auto s = hn::Zero(d);
    for (int64_t at = j; at < j + n * stride; at += stride) {
      const auto v = load_first(g + at, count);
      s = log ? hn::Add(s, v) : hn::MulAdd(v, load_first(y + at, count), s);
    }
    for (int64_t at = j; at < j + n * stride; at += stride) {
      const auto v = load_first(g + at, count), value = load_first(y + at, count);
      const auto result = log ? hn::NegMulAdd(exp_of<T>(value), s, v) : hn::Mul(value, hn::Sub(v, s));
      store_first(result, out + at, count);
    }
  }
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
/// y = (x - mean) * scale + shift.
template <class T>
void normalize_line(const T* x, int64_t n, T mean, T scale, T shift, T* y) {
  const Tag<T> d;
  const auto m = hn::Set(d, mean), a = hn::Set(d, scale), b = hn::Set(d, shift);
  each_vector(x, n, T(0), [&](Vec<T> v, int64_t i, int64_t count) HWY_ATTR {
    store_first(hn::MulAdd(hn::Sub(v, m), a, b), y + i, count);
  });
}
/// y = (x - mean) * scale * w + b; both vectors or neither (null).
template <class T>
void normalize_affine_line(const T* x, const T* w, const T* b, int64_t n, T mean, T scale, T* y) {
  const Tag<T> d;
  const auto m = hn::Set(d, mean), a = hn::Set(d, scale);
  each_vector(x, n, T(0), [&](Vec<T> v, int64_t i, int64_t count) HWY_ATTR {
    v = hn::Mul(hn::Sub(v, m), a);
    if (w) v = hn::MulAdd(v, load_first(w + i, count), load_first(b + i, count));
    store_first(v, y + i, count);
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
/// gw += g * (x - mean) * scale and gb += g.
template <class T>
void add_affine_gradients(const T* g, const T* x, int64_t n, T mean, T scale, T* gw, T* gb) {
  const Tag<T> d;
  const auto m = hn::Set(d, mean), a = hn::Set(d, scale);
  each_vector(g, n, T(0), [&](Vec<T> v, int64_t i, int64_t count) HWY_ATTR {
    const auto normal = hn::Mul(hn::Sub(load_first(x + i, count), m), a);
    store_first(hn::MulAdd(v, normal, load_first(gw + i, count)), gw + i, count);
    store_first(hn::Add(v, load_first(gb + i, count)), gb + i, count);
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
      HEBB_UNROLL for (int v = 0; v < kVectors; ++v)
        sum[v] = hn::Add(sum[v], load_first(x + r * channels + c + v * L, count));
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

/// Binary cross entropy of each element. False if an x lies outside [0, 1].
template <class T>
bool binary_cross_entropy_line(const T* x, const T* y, int64_t n, T* loss) {
  const Tag<T> d;
  const auto zero = hn::Zero(d), one = hn::Set(d, T(1)), least = hn::Set(d, T(-100));
  bool valid = true;
  each_vector(x, n, T(0.5), [&](Vec<T> p, int64_t i, int64_t count) HWY_ATTR {
    valid = valid && hn::AllFalse(d, hn::Or(hn::Lt(p, zero), hn::Gt(p, one)));
    const auto yes = hn::IfThenElse(hn::Gt(p, zero), hn::Max(hn::Log(d, p), least), least);
    const auto no = hn::IfThenElse(hn::Lt(p, one), hn::Max(hn::Log1p(d, hn::Neg(p)), least), least);
    const auto target = load_first(y + i, count);
    const auto sum = hn::MulAdd(target, hn::Sub(yes, no), no);
    store_first(hn::IfThenElse(hn::IsNaN(p), p, hn::Neg(sum)), loss + i, count);
  });
  return valid;
}

/// The kernels above, for one type and instruction set.
template <class T>
NormKernels<T> norm_kernel_table() {
  return {&exp_line<T>,
          &softmax_grad_line<T>,
          &exp_columns<T>,
          &softmax_grad_columns<T>,
          &sum_line<T>,
          &squares_line<T>,
          &gradient_sums_line<T>,
          &normalize_line<T>,
          &normalize_affine_line<T>,
          &combine_line<T>,
          &add_affine_gradients<T>,
          &channel_moments<T>,
          &channel_gradient_sums<T>,
          &normalize_channels<T>,
          &combine_channels<T>,
          &binary_cross_entropy_line<T>};
}
NormKernels<float> norm_kernels_f32() { return norm_kernel_table<float>(); }
NormKernels<double> norm_kernels_f64() { return norm_kernel_table<double>(); }

}  // namespace HWY_NAMESPACE
}  // namespace hebb::cpu
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
