// Pooling, unpooling and upsampling of planes. Inputs are [N, C, H, W] or [C, H, W] of a floating type unless
// said otherwise; results keep type and leading dimensions. All throw Error for another number of dimensions,
// for integers, and for windows that do not fit.
#pragma once
#include <cstdint>
#include <utility>

#include "hebb/core/tensor.h"
#include "hebb/ops/pair.h"

namespace hebb {

/// Options of max_pool2d.
struct MaxPool2dOptions {
  Size2 stride = 0;        ///< 0: as the kernel
  Size2 padding = 0;       ///< places of -infinity on each side; at most half the kernel
  Size2 dilation = 1;      ///< distance of the places in a window
  bool ceil_mode = false;  ///< a last window may hang over the end, if it starts inside
};
/// The largest value of each window. NaN counts as larger than all. The gradient goes to the first of equal
/// values.
Tensor max_pool2d(const Tensor& x, Size2 kernel_size, const MaxPool2dOptions& options = {});
/// The same, and where the values stood: i64 positions h * W + w in the plane of x.
std::pair<Tensor, Tensor> max_pool2d_with_indices(const Tensor& x, Size2 kernel_size,
                                                  const MaxPool2dOptions& options = {});

/// Options of max_pool1d.
struct MaxPool1dOptions {
  int64_t stride = 0;  ///< 0: as the kernel
  int64_t padding = 0;
  int64_t dilation = 1;
  bool ceil_mode = false;
};
/// As max_pool2d, for [N, C, L] or [C, L].
Tensor max_pool1d(const Tensor& x, int64_t kernel_size, const MaxPool1dOptions& options = {});
/// The same, and where the values stood: i64 positions in their line.
std::pair<Tensor, Tensor> max_pool1d_with_indices(const Tensor& x, int64_t kernel_size,
                                                  const MaxPool1dOptions& options = {});

/// The largest value of each of output_size windows that cover the plane as evenly as whole numbers allow:
/// window i begins at floor(i H / out) and ends before ceil((i + 1) H / out).
Tensor adaptive_max_pool2d(const Tensor& x, Size2 output_size);
/// The same, and where the values stood, as max_pool2d_with_indices gives it.
std::pair<Tensor, Tensor> adaptive_max_pool2d_with_indices(const Tensor& x, Size2 output_size);

/// Puts each value back to where max pooling found it, into a plane of zeros of `output_size`. Of several
/// values for one place the last is kept. Throws Error for an index outside the plane. Source: Zeiler et al.,
/// 2011.
Tensor max_unpool2d(const Tensor& x, const Tensor& indices, Size2 output_size);
/// Each value in the upper left corner of a block of zeros of size `stride` ("bed of nails"): H x W becomes
/// (H stride) x (W stride).
Tensor unpool_zero_fill2d(const Tensor& x, Size2 stride);

/// Options of avg_pool2d.
struct AvgPool2dOptions {
  Size2 stride = 0;               ///< 0: as the kernel
  Size2 padding = 0;              ///< places of 0 on each side; at most half the kernel
  bool ceil_mode = false;         ///< a last window may hang over the end, if it starts inside
  bool count_include_pad = true;  ///< the zeros of the padding count in the mean (Keras: they do not)
  int64_t divisor_override = 0;   ///< divides each sum instead of the number of places; 0: none
};
/// The mean of each window.
Tensor avg_pool2d(const Tensor& x, Size2 kernel_size, const AvgPool2dOptions& options = {});

/// Options of avg_pool1d.
struct AvgPool1dOptions {
  int64_t stride = 0;  ///< 0: as the kernel
  int64_t padding = 0;
  bool ceil_mode = false;
  bool count_include_pad = true;
};
/// As avg_pool2d, for [N, C, L] or [C, L].
Tensor avg_pool1d(const Tensor& x, int64_t kernel_size, const AvgPool1dOptions& options = {});

/// The mean of each of output_size windows, cut as in adaptive_max_pool2d.
Tensor adaptive_avg_pool2d(const Tensor& x, Size2 output_size);
/// Mean of each plane, [N, C, 1, 1]. Source: Lin et al., 2013.
inline Tensor global_avg_pool2d(const Tensor& x) { return adaptive_avg_pool2d(x, 1); }
/// Largest value of each plane, [N, C, 1, 1].
inline Tensor global_max_pool2d(const Tensor& x) { return adaptive_max_pool2d(x, 1); }

/// How a value between pixels is found: that of the nearest one, or a weighted mean of four.
enum class Interpolation : uint8_t { nearest, bilinear };
/// Options of interpolate.
struct InterpolateOptions {
  Size2 size = 0;                 ///< of the result; or else
  Pair<double> scale_factor = 0;  ///< the result has floor(extent * scale_factor)
  Interpolation mode = Interpolation::nearest;
  bool align_corners = false;  ///< bilinear: corner pixels keep their values, else pixels are small squares
};
/// Resizes [N, C, H, W]. Bilinear does not smooth when it shrinks. Throws Error unless exactly one of size
/// and scale_factor is given, or if align_corners is set with nearest.
Tensor interpolate(const Tensor& x, const InterpolateOptions& options);

}  // namespace hebb
