// The loops of convolutions that are not matrix products: pixels gathered into columns and scattered back,
// and the direct depthwise kernels. Compiled once for every instruction set.
#if defined(HEBB_BACKEND_CPU_CONV_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HEBB_BACKEND_CPU_CONV_INL_H_
#undef HEBB_BACKEND_CPU_CONV_INL_H_
#else
#define HEBB_BACKEND_CPU_CONV_INL_H_
#endif

#include <algorithm>
#include <utility>

#include "hebb/backend/cpu/gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hebb::cpu {
namespace HWY_NAMESPACE {

/// Copies n elements. Whole vectors are read, but nothing from `limit` on, and whole vectors are written, so
/// up to kLanes - 1 elements behind the copy change too.
template <class T>
HWY_INLINE void copy_over(const T* from, const T* limit, T* to, int64_t n) {
  const Tag<T> d;
  int64_t i = 0;
  if (limit - from >= n + kLanes<T>) {
    for (; i < n; i += kLanes<T>) hn::StoreU(hn::LoadU(d, from + i), d, to + i);
  } else {
    for (; i < n; i += kLanes<T>) hn::StoreU(load_first(from + i, n - i), d, to + i);
  }
}

/// Writes n zeros, and up to kLanes - 1 more.
template <class T>
HWY_INLINE void zero_over(T* to, int64_t n) {
  const Tag<T> d;
  for (int64_t i = 0; i < n; i += kLanes<T>) hn::StoreU(hn::Zero(d), d, to + i);
}

/// First output position whose input position, at * stride - pad + offset, is not below `limit`; `outputs` if
/// there is none.
HWY_INLINE int64_t first_output(int64_t limit, int64_t stride, int64_t pad, int64_t offset, int64_t outputs) {
  const int64_t need = limit + pad - offset;
  return std::min(outputs, need <= 0 ? 0 : (need + stride - 1) / stride);
}

/// Copies `rows` rows of Vectors vectors each: the short rows of small images, without a loop inside.
template <class T, int Vectors>
HWY_INLINE void copy_rows(const T* from, int64_t from_step, T* to, int64_t to_step, int64_t rows) {
  const Tag<T> d;
  for (int64_t r = 0; r < rows; ++r, from += from_step, to += to_step) {
    Vec<T> v[Vectors];
    HEBB_UNROLL for (int i = 0; i < Vectors; ++i) v[i] = hn::LoadU(d, from + i * kLanes<T>);
    HEBB_UNROLL for (int i = 0; i < Vectors; ++i) hn::StoreU(v[i], d, to + i * kLanes<T>);
  }
}

/// The same for rows of n elements, with the reads and writes of copy_over.
template <class T>
void copy_rows_over(const T* from, int64_t from_step, const T* limit, T* to, int64_t to_step, int64_t n,
                    int64_t rows) {
  // Rows whose whole vectors end before the limit.
  const int64_t room = limit - from - n - kLanes<T>;
  const int64_t safe = room < 0 ? 0 : std::min(rows, room / from_step + 1);
  switch ((n + kLanes<T> - 1) / kLanes<T>) {
    case 1: copy_rows<T, 1>(from, from_step, to, to_step, safe); break;
    case 2: copy_rows<T, 2>(from, from_step, to, to_step, safe); break;
    case 3: copy_rows<T, 3>(from, from_step, to, to_step, safe); break;
    case 4: copy_rows<T, 4>(from, from_step, to, to_step, safe); break;
    default:
      for (int64_t r = 0; r < safe; ++r) copy_over(from + r * from_step, limit, to + r * to_step, n);
  }
  for (int64_t r = safe; r < rows; ++r) copy_over(from + r * from_step, limit, to + r * to_step, n);
}

/// Columns of a block of pixels: out[(channel, tap)][pixel] with rows `ld` apart, for channels [c0, c1) of
/// the group whose first channel x points to. Rows need kLanes elements of room behind the last one. x ends
/// at `limit`.
template <class T>
void gather_columns(const ConvShape& s, const T* x, const T* limit, const PixelBlock& block, int64_t c0,
                    int64_t c1, T* out, int64_t ld) {
  const int64_t plane = s.in_h * s.in_w;
  const int64_t first_oh = block.first / s.out_w, first_ow = block.first % s.out_w;
  const int64_t rows = block.pixels / s.out_w;
  const bool whole_rows = s.stride_w == 1 && first_ow == 0 && block.pixels % s.out_w == 0;
  for (int64_t c = c0; c < c1; ++c) {
    for (int64_t kh = 0; kh < s.kernel_h; ++kh) {
      for (int64_t kw = 0; kw < s.kernel_w; ++kw, out += ld) {
        const int64_t left = kw * s.dilation_w - s.pad_left;  // input column of output column 0
        const int64_t w_lo = first_output(0, s.stride_w, s.pad_left, kw * s.dilation_w, s.out_w);
        const int64_t w_hi = first_output(s.in_w, s.stride_w, s.pad_left, kw * s.dilation_w, s.out_w);
        T* to = out;
        for (int64_t image = block.image; image < block.image + block.images; ++image) {
          const T* from = x + (image * s.in_channels + c) * plane + left;
          int64_t ow = first_ow, ih = first_oh * s.stride_h - s.pad_top + kh * s.dilation_h;
          if (whole_rows && w_lo == 0 && w_hi == s.out_w) {
            const int64_t h_lo = first_output(0, s.stride_h, -ih, 0, rows);
            const int64_t h_hi = std::max(h_lo, first_output(s.in_h, s.stride_h, -ih, 0, rows));
            zero_over(to, h_lo * s.out_w);
            copy_rows_over(from + (ih + h_lo * s.stride_h) * s.in_w, s.stride_h * s.in_w, limit,
                           to + h_lo * s.out_w, s.out_w, s.out_w, h_hi - h_lo);
            zero_over(to + h_hi * s.out_w, (rows - h_hi) * s.out_w);
            to += block.pixels;
            continue;
          }
          for (int64_t todo = block.pixels; todo > 0; ih += s.stride_h, ow = 0) {
            const int64_t n = std::min(s.out_w - ow, todo);
            const int64_t lo = std::clamp(w_lo, ow, ow + n), hi = std::clamp(w_hi, lo, ow + n);
            todo -= n;
            if (ih < 0 || ih >= s.in_h || lo == hi) {
              zero_over(to, n);
            } else {
              const T* row = from + ih * s.in_w;
              if (lo > ow) zero_over(to, lo - ow);
              if (s.stride_w == 1) {
                copy_over(row + lo, limit, to + lo - ow, hi - lo);
              } else {
                for (int64_t w = lo; w < hi; ++w) to[w - ow] = row[w * s.stride_w];
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
void scatter_columns(const ConvShape& s, const PaddedPlanes& planes, const PixelBlock& block,
                     int64_t channels, const T* columns, int64_t ld, T* out) {
  const Tag<T> d;
  const int64_t first_oh = block.first / s.out_w, first_ow = block.first % s.out_w;
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t kh = 0; kh < s.kernel_h; ++kh) {
      for (int64_t kw = 0; kw < s.kernel_w; ++kw, columns += ld) {
        const T* from = columns;
        for (int64_t image = 0; image < block.images; ++image) {
          T* plane = out + (image * channels + c) * planes.size() + kw * s.dilation_w;
          int64_t oh = first_oh, ow = first_ow;
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

/// Copies a plane of x into the middle of zeros, its columns dealt into stride_w phases, so that the inputs
/// of neighbouring outputs are neighbours: out[h][w % stride_w][w / stride_w].
template <class T>
void pad_plane(const ConvShape& s, const PaddedPlanes& planes, const T* x, T* out) {
  std::fill(out, out + planes.size(), T(0));
  const int64_t end = std::min(planes.w, s.in_w + s.pad_left);
  for (int64_t h = std::max<int64_t>(0, s.pad_top); h < std::min(planes.h, s.in_h + s.pad_top); ++h) {
    const T* from = x + (h - s.pad_top) * s.in_w - s.pad_left;
    for (int64_t phase = 0; phase < s.stride_w; ++phase) {
      T* to = out + h * planes.pitch + phase * planes.phase_pitch;
      int64_t i = std::max<int64_t>(0, s.pad_left - phase + s.stride_w - 1) / s.stride_w;
      for (int64_t w = i * s.stride_w + phase; w < end; w += s.stride_w, ++i) to[i] = from[w];
    }
  }
}

/// At most 4 vectors of neighbouring outputs, the last with `last` lanes: together their sums overlap.
template <class T, int Vectors>
HWY_INLINE void depthwise_outputs(const PaddedPlanes& planes, const T* in, const T* w, T bias, T* y,
                                  int64_t last) {
  const Tag<T> d;
  Vec<T> sum[Vectors];
  HEBB_UNROLL for (int v = 0; v < Vectors; ++v) sum[v] = hn::Set(d, bias);
  for (size_t t = 0; t < planes.taps.size(); ++t) {
    const Vec<T> tap = hn::Set(d, w[t]);
    const T* from = in + planes.taps[t];
    HEBB_UNROLL for (int v = 0; v < Vectors; ++v) {
      sum[v] = hn::MulAdd(tap, hn::LoadU(d, from + v * kLanes<T>), sum[v]);
    }
  }
  HEBB_UNROLL for (int v = 0; v < Vectors - 1; ++v) hn::StoreU(sum[v], d, y + v * kLanes<T>);
  store_first(sum[Vectors - 1], y + (Vectors - 1) * kLanes<T>, last);
}

/// One output plane [out_h, out_w] from one padded input plane.
template <class T>
void depthwise_forward(const ConvShape& s, const PaddedPlanes& planes, const T* padded, const T* w, T bias,
                       T* y) {
  constexpr int64_t L = kLanes<T>;
  for (int64_t oh = 0; oh < s.out_h; ++oh, y += s.out_w) {
    const T* in = padded + oh * s.stride_h * planes.pitch;
    for (int64_t ow = 0; ow < s.out_w; ow += 4 * L) {
      const int64_t left = s.out_w - ow;
      if (left > 3 * L) {
        depthwise_outputs<T, 4>(planes, in + ow, w, bias, y + ow, left - 3 * L);
      } else if (left > 2 * L) {
        depthwise_outputs<T, 3>(planes, in + ow, w, bias, y + ow, left - 2 * L);
      } else if (left > L) {
        depthwise_outputs<T, 2>(planes, in + ow, w, bias, y + ow, left - L);
      } else {
        depthwise_outputs<T, 1>(planes, in + ow, w, bias, y + ow, left);
      }
    }
  }
}

/// Adds the gradient of one output plane to a padded plane of phases.
template <class T>
void depthwise_input_grad(const ConvShape& s, const PaddedPlanes& planes, const T* gy, const T* w,
                          T* padded) {
  const Tag<T> d;
  for (size_t t = 0; t < planes.taps.size(); ++t) {
    const Vec<T> tap = hn::Set(d, w[t]);
    const T* from = gy;
    for (int64_t oh = 0; oh < s.out_h; ++oh, from += s.out_w) {
      T* to = padded + planes.taps[t] + oh * s.stride_h * planes.pitch;
      int64_t ow = 0;
      for (; ow + kLanes<T> <= s.out_w; ow += kLanes<T>) {
        hn::StoreU(hn::MulAdd(tap, hn::LoadU(d, from + ow), hn::LoadU(d, to + ow)), d, to + ow);
      }
      if (ow < s.out_w) {
        // Lanes behind the row keep what they hold: an infinite tap times zero must not reach them.
        const int64_t left = s.out_w - ow;
        const Vec<T> old = hn::LoadU(d, to + ow), sum = hn::MulAdd(tap, load_first(from + ow, left), old);
        hn::StoreU(hn::IfThenElse(hn::FirstN(d, static_cast<size_t>(left)), sum, old), d, to + ow);
      }
    }
  }
}

/// Adds to gw, per tap, the sum over one plane of gradient times input.
template <class T>
void depthwise_weight_grad(const ConvShape& s, const PaddedPlanes& planes, const T* gy, const T* padded,
                           T* gw) {
  const Tag<T> d;
  const int64_t whole = s.out_w / kLanes<T> * kLanes<T>, rest = s.out_w - whole;
  const auto mask = hn::FirstN(d, static_cast<size_t>(rest));
  for (size_t t = 0; t < planes.taps.size(); ++t) {
    Vec<T> sum = hn::Zero(d), other = hn::Zero(d);  // two, so that additions overlap
    const T* g = gy;
    for (int64_t oh = 0; oh < s.out_h; ++oh, g += s.out_w) {
      const T* in = padded + planes.taps[t] + oh * s.stride_h * planes.pitch;
      for (int64_t ow = 0; ow < whole; ow += kLanes<T>) {
        sum = hn::MulAdd(hn::LoadU(d, g + ow), hn::LoadU(d, in + ow), sum);
      }
      if (rest > 0) {
        const Vec<T> last = hn::IfThenElseZero(mask, hn::LoadU(d, in + whole));
        sum = hn::MulAdd(load_first(g + whole, rest), last, sum);
      }
      std::swap(sum, other);
    }
    gw[t] += hn::GetLane(hn::SumOfLanes(d, hn::Add(sum, other)));
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
