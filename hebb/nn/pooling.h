// Pooling, unpooling, upsampling and local response normalisation as layers. Inputs are [N, C, H, W] (or
// [N, C, L] for 1d); a number for both directions of a plane or {vertical, horizontal}.
#pragma once
#include <cstdint>
#include <string>
#include <utility>

#include "hebb/nn/module.h"
#include "hebb/ops/pool.h"

namespace hebb::nn {

/// Options of MaxPool2d.
struct MaxPool2dOptions {
  Size2 kernel_size;
  Size2 stride = 0;   ///< 0: as the kernel
  Size2 padding = 0;  ///< places of -infinity on each side; at most half the kernel
  Size2 dilation = 1;
  bool ceil_mode = false;  ///< a last window may hang over the end, if it starts inside
};
/// The largest value of each window: H' = floor((H + 2 padding - dilation (kernel - 1) - 1) / stride) + 1
/// (Keras pads by "valid" and "same").
struct MaxPool2d : Module {
  MaxPool2dOptions options;

  explicit MaxPool2d(Size2 kernel_size) : MaxPool2d(MaxPool2dOptions{kernel_size}) {}
  explicit MaxPool2d(const MaxPool2dOptions& options);
  Tensor forward(const Tensor& x);
  /// The same, and where the values stood, as MaxUnpool2d takes it (PyTorch: return_indices).
  std::pair<Tensor, Tensor> forward_with_indices(const Tensor& x);
  std::string extra_repr() const override;
  HEBB_MEMBERS()
};

/// Options of MaxPool1d.
struct MaxPool1dOptions {
  int64_t kernel_size;
  int64_t stride = 0;  ///< 0: as the kernel
  int64_t padding = 0;
  int64_t dilation = 1;
  bool ceil_mode = false;
};
/// As MaxPool2d, along the last dimension.
struct MaxPool1d : Module {
  MaxPool1dOptions options;

  explicit MaxPool1d(int64_t kernel_size) : MaxPool1d(MaxPool1dOptions{kernel_size}) {}
  explicit MaxPool1d(const MaxPool1dOptions& options);
  Tensor forward(const Tensor& x);
  /// The same, and where the values stood in their lines (PyTorch: return_indices).
  std::pair<Tensor, Tensor> forward_with_indices(const Tensor& x);
  std::string extra_repr() const override;
  HEBB_MEMBERS()
};

/// Options of AvgPool2d.
struct AvgPool2dOptions {
  Size2 kernel_size;
  Size2 stride = 0;   ///< 0: as the kernel
  Size2 padding = 0;  ///< places of 0 on each side; at most half the kernel
  bool ceil_mode = false;
  bool count_include_pad = true;  ///< the zeros of the padding count in the mean (Keras: they do not)
  int64_t divisor_override = 0;   ///< divides each sum instead of the number of places; 0: none
};
/// The mean of each window.
struct AvgPool2d : Module {
  AvgPool2dOptions options;

  explicit AvgPool2d(Size2 kernel_size) : AvgPool2d(AvgPool2dOptions{kernel_size}) {}
  explicit AvgPool2d(const AvgPool2dOptions& options);
  Tensor forward(const Tensor& x);
  std::string extra_repr() const override;
  HEBB_MEMBERS()
};

/// Options of AvgPool1d.
struct AvgPool1dOptions {
  int64_t kernel_size;
  int64_t stride = 0;  ///< 0: as the kernel
  int64_t padding = 0;
  bool ceil_mode = false;
  bool count_include_pad = true;
};
/// As AvgPool2d, along the last dimension.
struct AvgPool1d : Module {
  AvgPool1dOptions options;

  explicit AvgPool1d(int64_t kernel_size) : AvgPool1d(AvgPool1dOptions{kernel_size}) {}
  explicit AvgPool1d(const AvgPool1dOptions& options);
  Tensor forward(const Tensor& x);
  std::string extra_repr() const override;
  HEBB_MEMBERS()
};

/// The mean of each of output_size windows that cover the plane as evenly as whole numbers allow.
struct AdaptiveAvgPool2d : Module {
  Size2 output_size;

  explicit AdaptiveAvgPool2d(Size2 size);
  Tensor forward(const Tensor& x);
  std::string extra_repr() const override;
  HEBB_MEMBERS()
};
/// The largest value of each of output_size windows, cut as in AdaptiveAvgPool2d.
struct AdaptiveMaxPool2d : Module {
  Size2 output_size;

  explicit AdaptiveMaxPool2d(Size2 size);
  Tensor forward(const Tensor& x);
  std::string extra_repr() const override;
  HEBB_MEMBERS()
};

/// Mean of each plane, [N, C, H, W] -> [N, C, 1, 1] (Keras' GlobalAveragePooling2D gives [N, C]: add a
/// Flatten). Source: Lin et al., 2013.
struct GlobalAvgPool2d : Module {
  Tensor forward(const Tensor& x);
  HEBB_MEMBERS()
};

/// Options of MaxUnpool2d.
struct MaxUnpool2dOptions {
  Size2 kernel_size;
  Size2 stride = 0;  ///< 0: as the kernel
  Size2 padding = 0;
};
/// Puts each value back to where MaxPool2d with the same options found it, zeros elsewhere. Source: Zeiler et
/// al., 2011.
struct MaxUnpool2d : Module {
  MaxUnpool2dOptions options;

  explicit MaxUnpool2d(Size2 kernel_size) : MaxUnpool2d(MaxUnpool2dOptions{kernel_size}) {}
  explicit MaxUnpool2d(const MaxUnpool2dOptions& options);
  /// To a plane of H' = (H - 1) stride - 2 padding + kernel.
  Tensor forward(const Tensor& x, const Tensor& indices);
  /// To a plane of a given size: that of the pooled tensor, where windows did not fill it.
  Tensor forward(const Tensor& x, const Tensor& indices, Size2 output_size);
  std::string extra_repr() const override;
  HEBB_MEMBERS()
};

/// Each value in the upper left corner of a block of zeros of size `stride` ("bed of nails").
struct ZeroFillUnpool2d : Module {
  Size2 stride;

  explicit ZeroFillUnpool2d(Size2 block = 2);
  Tensor forward(const Tensor& x);
  std::string extra_repr() const override;
  HEBB_MEMBERS()
};

/// Resizes planes: nn::Upsample{{.scale_factor = 2}}, nn::Upsample{{.size = {8, 8}, .mode =
/// Interpolation::bilinear}}. Throws Error unless exactly one of size and scale_factor is given.
struct Upsample : Module {
  InterpolateOptions options;

  explicit Upsample(const InterpolateOptions& options);
  Tensor forward(const Tensor& x);
  std::string extra_repr() const override;
  HEBB_MEMBERS()
};

/// Options of LocalResponseNorm.
struct LocalResponseNormOptions {
  double alpha = 1e-4;  ///< divided by size, as in PyTorch and Caffe but not in the paper
  double beta = 0.75;
  double k = 1;
};
/// x / (k + alpha / size * sum of squares over `size` neighbouring channels)^beta. Source: Krizhevsky et al.,
/// 2012.
struct LocalResponseNorm : Module {
  int64_t size;
  LocalResponseNormOptions options;

  explicit LocalResponseNorm(int64_t channels, LocalResponseNormOptions options = {});
  Tensor forward(const Tensor& x);
  std::string extra_repr() const override;
  HEBB_MEMBERS()
};

}  // namespace hebb::nn
