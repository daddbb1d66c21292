// The loops of softmax, layer normalisation and losses over contiguous values. A line is what is folded: it
// lies either along memory (functions on lines) or across it (functions on columns: n rows, `stride` apart,
// of up to kColumns neighbouring lines). Compiled once for every instruction set.
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
  const auto sum = hn::Set(d, sum_of_vectors<T>(n, [&](Vec<T> s, int64_t i, int64_t count) HWY_ATTR {
                             const auto v = load_first(g + i, count);
                             return log ? hn::Add(s, v) : hn::MulAdd(v, load_first(y + i, count), s);
                           }));
  each_vector(g, n, T(0), [&](Vec<T> v, int64_t i, int64_t count) HWY_ATTR {
    const auto value = load_first(y + i, count);
    const auto result = log ? hn::NegMulAdd(exp_of(d, value), sum, v) : hn::Mul(value, hn::Sub(v, sum));
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
      const auto e = exp_below_88(d, hn::Sub(load_first(x + c * stride + j, count), m));
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
      const auto result = log ? hn::NegMulAdd(exp_of(d, value), s, v) : hn::Mul(value, hn::Sub(v, s));
      store_first(result, out + at, count);
    }
  }
}

/// y *= scale.
template <class T>
void scale_line(T* y, int64_t n, T scale) {
  const auto a = hn::Set(Tag<T>(), scale);
  each_vector(y, n, T(0),
              [&](Vec<T> v, int64_t i, int64_t count) HWY_ATTR { store_first(hn::Mul(v, a), y + i, count); });
}
/// y = x - a - b.
template <class T>
void shift_line(const T* x, int64_t n, T a, T b, T* y) {
  const Tag<T> d;
  const auto va = hn::Set(d, a), vb = hn::Set(d, b);
  each_vector(x, n, T(0), [&](Vec<T> v, int64_t i, int64_t count) HWY_ATTR {
    store_first(hn::Sub(hn::Sub(v, va), vb), y + i, count);
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
          &scale_line<T>,
          &shift_line<T>,
          &sum_line<T>,
          &squares_line<T>,
          &gradient_sums_line<T>,
          &normalize_affine_line<T>,
          &combine_line<T>,
          &add_affine_gradients<T>,
          &binary_cross_entropy_line<T>};
}
NormKernels<float> norm_kernels_f32() { return norm_kernel_table<float>(); }
NormKernels<double> norm_kernels_f64() { return norm_kernel_table<double>(); }

}  // namespace HWY_NAMESPACE
}  // namespace hebb::cpu
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
