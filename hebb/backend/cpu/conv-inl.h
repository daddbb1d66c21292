// The loops of convolutions that are not matrix products: pixels gathered into columns and scattered back, and
// the direct depthwise kernels. Compiled once for every instruction set.
#if defined(HEBB_BACKEND_CPU_CONV_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HEBB_BACKEND_CPU_CONV_INL_H_
#undef HEBB_BACKEND_CPU_CONV_INL_H_
#else
#define HEBB_BACKEND_CPU_CONV_INL_H_
#endif

#include <algorithm>

#include "hebb/backend/cpu/gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hebb::cpu {
namespace HWY_NAMESPACE {

/// Copies n elements; whole vectors are written, so up to kLanes - 1 elements behind them change too.
template <class T>
HWY_INLINE void copy_over(const T* from, T* to, int64_t n) {
  const Tag<T> d;
  int64_t i = 0;
  for (; i + kLanes<T> <= n; i += kLanes<T>) hn::StoreU(hn::LoadU(d, from + i), d, to + i);
  if (i < n) hn::StoreU(load_first(from + i, n - i), d, to + i);
}

/// Writes n zeros, and up to kLanes - 1 more.
template <class T>
HWY_INLINE void zero_over(T* to, int64_t n) {
  const Tag<T> d;
  for (int64_t i = 0; i < n; i += kLanes<T>) hn::StoreU(hn::Zero(d), d, to + i);
}

/// First output position whose input position, at * stride - pad + offset, is not below `limit`.
HWY_INLINE int64_t first_output(int64_t limit, int64_t stride, int64_t pad, int64_t offset, int64_t outputs) {
  const int64_t need = limit + pad - offset;
  return std::min(outputs, need <= 0 ? 0 : (need + stride - 1) / stride);
}

/// Columns of a block of pixels: out[(channel, tap)][pixel] with rows `ld` apart, for channels [c0, c1) of the
/// group whose first channel x points to. Rows need kLanes elements of room behind the last one.
template <class T>
void gather_columns(const ConvShape& s, const T* x, const PixelBlock& block, int64_t c0, int64_t c1, T* out,
                    int64_t ld) {
  const int64_t plane = s.in_h * s.in_w;
  for (int64_t c = c0; c < c1; ++c) {
    for (int64_t kh = 0; kh < s.kernel_h; ++kh) {
      for (int64_t kw = 0; kw < s.kernel_w; ++kw, out += ld) {
        const int64_t left = kw * s.dilation_w - s.pad_left;  // input column of output column 0
        const int64_t w_lo = first_output(0, s.stride_w, s.pad_left, kw * s.dilation_w, s.out_w);
        const int64_t w_hi = first_output(s.in_w, s.stride_w, s.pad_left, kw * s.dilation_w, s.out_w);
        T* to = out;
        for (int64_t image = block.image; image < block.image + block.images; ++image) {
          const T* from = x + (image * s.in_channels + c) * plane;
          int64_t oh = block.first / s.out_w, ow = block.first % s.out_w;
          for (int64_t todo = block.pixels; todo > 0; ++oh, ow = 0) {
            const int64_t n = std::min(s.out_w - ow, todo), ih = oh * s.stride_h - s.pad_top + kh * s.dilation_h;
            todo -= n;
            const int64_t lo = std::clamp(w_lo, ow, ow + n), hi = std::clamp(w_hi, lo, ow + n);
            if (ih < 0 || ih >= s.in_h || lo >= hi) {
              zero_over(to, n);
            } else {
              const T* row = from + ih * s.in_w;
              if (lo > ow) zero_over(to, lo - ow);
              if (s.stride_w == 1) {
                copy_over(row + lo + left, to + lo - ow, hi - lo);
              } else {
                for (int64_t w = lo; w < hi; ++w) to[w - ow] = row[w * s.stride_w + left];
              }
              if (hi < ow + n) zero_over(to + hi - ow, ow + n - hi);
            }
            to += n;
          }
        }
      }
    }
  }
}

/// Adds columns back to the pixels they came from, in padded planes [image][channel][h][w]. Whole vectors are
/// read and written, with zeros added behind a row of outputs.
template <class T>
void scatter_columns(const ConvShape& s, const PaddedPlanes& planes, const PixelBlock& block, int64_t channels,
                     const T* columns, int64_t ld, T* out) {
  const Tag<T> d;
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t kh = 0; kh < s.kernel_h; ++kh) {
      for (int64_t kw = 0; kw < s.kernel_w; ++kw, columns += ld) {
        const T* from = columns;
        for (int64_t image = 0; image < block.images; ++image) {
          T* plane = out + (image * channels + c) * planes.size() + kw * s.dilation_w;
          int64_t oh = block.first / s.out_w, ow = block.first % s.out_w;
          for (int64_t todo = block.pixels; todo > 0; ++oh, ow = 0) {
            const int64_t n = std::min(s.out_w - ow, todo);
            todo -= n;
            T* to = plane + (oh * s.stride_h + kh * s.dilation_h) * planes.pitch + ow * s.stride_w;
            if (s.stride_w == 1) {
              int64_t i = 0;
              for (; i + kLanes<T> <= n; i += kLanes<T>) {
                hn::StoreU(hn::Add(hn::LoadU(d, to + i), hn::LoadU(d, from + i)), d, to + i);
              }
              if (i < n) hn::StoreU(hn::Add(hn::LoadU(d, to + i), load_first(from + i, n - i)), d, to + i);
            } else {
              for (int64_t i = 0; i < n; ++i) to[i * s.stride_w] += from[i];
            }
            from += n;
          }
        }
      }
    }
  }
}

/// Copies a plane of x into the middle of zeros, its columns dealt into stride_w phases, so that the inputs of
/// neighbouring outputs are neighbours: out[h][w % stride_w][w / stride_w].
template <class T>
void pad_plane(const ConvShape& s, const PaddedPlanes& planes, const T* x, T* out) {
  std::fill(out, out + planes.size(), T(0));
  for (int64_t h = 0; h < planes.h; ++h) {
    const int64_t ih = h - s.pad_top;
    if (ih < 0 || ih >= s.in_h) continue;
    T* row = out + h * planes.pitch;
    const int64_t lo = std::max<int64_t>(0, s.pad_left), hi = std::min(planes.w, s.in_w + s.pad_left);
    const T* from = x + ih * s.in_w - s.pad_left;
    if (s.stride_w == 1) {
      if (lo < hi) std::copy(from + lo, from + hi, row + lo);
    } else {
      for (int64_t w = lo; w < hi; ++w) row[w % s.stride_w * planes.phase_pitch + w / s.stride_w] = from[w];
    }
  }
}

/// Where, in a padded plane of phases, the input of output (oh, 0) under a tap stands.
HWY_INLINE int64_t tap_offset(const ConvShape& s, const PaddedPlanes& planes, int64_t oh, int64_t kh, int64_t kw) {
  const int64_t w = kw * s.dilation_w;
  return (oh * s.stride_h + kh * s.dilation_h) * planes.pitch + w % s.stride_w * planes.phase_pitch +
         w / s.stride_w;
}

/// One output plane [out_h, out_w] from one padded input plane.
template <class T>
void depthwise_forward(const ConvShape& s, const PaddedPlanes& planes, const T* padded, const T* w, T bias, T* y) {
  constexpr int kUnroll = 4;  // vectors of outputs at a time: their sums overlap the latency of the others
  const Tag<T> d;
  for (int64_t oh = 0; oh < s.out_h; ++oh) {
    T* row = y + oh * s.out_w;
    int64_t ow = 0;
    for (; ow + kUnroll * kLanes<T> <= s.out_w; ow += kUnroll * kLanes<T>) {
      Vec<T> sum[kUnroll];
      HEBB_UNROLL for (int u = 0; u < kUnroll; ++u) sum[u] = hn::Set(d, bias);
      for (int64_t kh = 0; kh < s.kernel_h; ++kh) {
        for (int64_t kw = 0; kw < s.kernel_w; ++kw) {
          const Vec<T> tap = hn::Set(d, w[kh * s.kernel_w + kw]);
          const T* in = padded + tap_offset(s, planes, oh, kh, kw) + ow;
          HEBB_UNROLL for (int u = 0; u < kUnroll; ++u) {
            sum[u] = hn::MulAdd(tap, hn::LoadU(d, in + u * kLanes<T>), sum[u]);
          }
        }
      }
      HEBB_UNROLL for (int u = 0; u < kUnroll; ++u) hn::StoreU(sum[u], d, row + ow + u * kLanes<T>);
    }
    for (; ow < s.out_w; ow += kLanes<T>) {
      Vec<T> sum = hn::Set(d, bias);
      for (int64_t kh = 0; kh < s.kernel_h; ++kh) {
        for (int64_t kw = 0; kw < s.kernel_w; ++kw) {
          const Vec<T> in = hn::LoadU(d, padded + tap_offset(s, planes, oh, kh, kw) + ow);
          sum = hn::MulAdd(hn::Set(d, w[kh * s.kernel_w + kw]), in, sum);
        }
      }
      store_first(sum, row + ow, s.out_w - ow);
    }
  }
}

/// Adds the gradient of one output plane to a padded plane of phases.
template <class T>
void depthwise_input_grad(const ConvShape& s, const PaddedPlanes& planes, const T* gy, const T* w, T* padded) {
  const Tag<T> d;
  for (int64_t kh = 0; kh < s.kernel_h; ++kh) {
    for (int64_t kw = 0; kw < s.kernel_w; ++kw) {
      const Vec<T> tap = hn::Set(d, w[kh * s.kernel_w + kw]);
      for (int64_t oh = 0; oh < s.out_h; ++oh) {
        const T* from = gy + oh * s.out_w;
        T* to = padded + tap_offset(s, planes, oh, kh, kw);
        for (int64_t ow = 0; ow < s.out_w; ow += kLanes<T>) {
          const Vec<T> sum = hn::MulAdd(tap, load_first(from + ow, s.out_w - ow), hn::LoadU(d, to + ow));
          // Lanes behind the row keep what they hold: an infinite tap times zero must not reach them.
          if (ow + kLanes<T> <= s.out_w) {
            hn::StoreU(sum, d, to + ow);
          } else {
            store_first(sum, to + ow, s.out_w - ow);
          }
        }
      }
    }
  }
}

/// Adds to gw, per tap, the sum over one plane of gradient times input.
template <class T>
void depthwise_weight_grad(const ConvShape& s, const PaddedPlanes& planes, const T* gy, const T* padded, T* gw) {
  const Tag<T> d;
  for (int64_t kh = 0; kh < s.kernel_h; ++kh) {
    for (int64_t kw = 0; kw < s.kernel_w; ++kw) {
      Vec<T> sum = hn::Zero(d), other = hn::Zero(d);  // two, so that additions overlap
      for (int64_t oh = 0; oh < s.out_h; ++oh) {
        const T* g = gy + oh * s.out_w;
        const T* in = padded + tap_offset(s, planes, oh, kh, kw);
        for (int64_t ow = 0; ow < s.out_w; ow += kLanes<T>) {
          const int64_t left = s.out_w - ow;
          sum = hn::MulAdd(load_first(g + ow, left), load_first(in + ow, left), sum);
        }
        std::swap(sum, other);
      }
      gw[kh * s.kernel_w + kw] += hn::GetLane(hn::SumOfLanes(d, hn::Add(sum, other)));
    }
  }
}

/// The kernels above, for one type and instruction set.
template <class T>
ConvKernels<T> conv_kernels() {
  return {&gather_columns<T>,    &scatter_columns<T>,      &pad_plane<T>,
          &depthwise_forward<T>, &depthwise_input_grad<T>, &depthwise_weight_grad<T>};
}
ConvKernels<float> conv_kernels_f32() { return conv_kernels<float>(); }
ConvKernels<double> conv_kernels_f64() { return conv_kernels<double>(); }

}  // namespace HWY_NAMESPACE
}  // namespace hebb::cpu
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
