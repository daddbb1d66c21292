// Convolutional layers (cross-correlations, as everywhere in deep learning) and their transposes.
#pragma once
#include <cstdint>
#include <string>

#include "hebb/nn/module.h"
#include "hebb/ops/conv.h"
#include "hebb/ops/join.h"

namespace hebb::nn {

/// Options of Conv2d.
struct Conv2dOptions {
  Size2 kernel_size;
  Size2 stride = 1;
  Padding padding = 0;  ///< a number, {height, width}, {top, bottom, left, right}, "same" or "valid"
  Size2 dilation = 1;
  int64_t groups = 1;  ///< input channels are cut into so many groups, each with outputs of its own
  bool bias = true;
  PadMode padding_mode = PadMode::constant;  ///< constant: zeros
};
/// [N, in_channels, H, W] -> [N, out_channels, H', W'], H' = floor((H + 2 padding - dilation (kernel - 1) -
/// 1) / stride) + 1. Weight and bias start uniform within 1/sqrt(fan_in), fan_in = in_channels / groups *
/// kernel area (Keras: Glorot uniform and zeros; its "same" takes strides too). Throws Error unless groups
/// divides the channels.
struct Conv2d : Module {
  int64_t in_channels, out_channels;
  Conv2dOptions options;
  Parameter weight;  ///< [out_channels, in_channels / groups, kernel height, kernel width]
  Parameter bias;    ///< [out_channels], or undefined

  Conv2d(int64_t in, int64_t out, const Conv2dOptions& options);
  /// Draws weight and bias anew.
  void reset_parameters();
  Tensor forward(const Tensor& x);
  std::string extra_repr() const override;
  HEBB_MEMBERS(weight, bias)
};

/// Options of Conv1d.
struct Conv1dOptions {
  int64_t kernel_size;
  int64_t stride = 1;
  Padding padding = 0;  ///< a number, "same" or "valid"
  int64_t dilation = 1;
  int64_t groups = 1;
  bool bias = true;
  PadMode padding_mode = PadMode::constant;  ///< constant: zeros
};
/// [N, in_channels, L] -> [N, out_channels, L']. Otherwise as Conv2d.
struct Conv1d : Module {
  int64_t in_channels, out_channels;
  Conv1dOptions options;
  Parameter weight;  ///< [out_channels, in_channels / groups, kernel]
  Parameter bias;    ///< [out_channels], or undefined

  Conv1d(int64_t in, int64_t out, const Conv1dOptions& options);
  void reset_parameters();
  Tensor forward(const Tensor& x);
  std::string extra_repr() const override;
  HEBB_MEMBERS(weight, bias)
};

/// Options of ConvTranspose2d.
struct ConvTranspose2dOptions {
  Size2 kernel_size;
  Size2 stride = 1;
  Size2 padding = 0;         ///< rows and columns cut from each side of the full result
  Size2 output_padding = 0;  ///< rows below and columns right added to it
  int64_t groups = 1;
  bool bias = true;
  Size2 dilation = 1;
};
/// The transpose of Conv2d as a linear map: [N, in_channels, H, W] -> [N, out_channels, H', W'], H' = (H - 1)
/// stride - 2 padding + dilation (kernel - 1) + output_padding + 1. Weight and bias start uniform within
/// 1/sqrt(out_channels / groups * kernel area), PyTorch's fan of this layout (Keras: Glorot uniform and
/// zeros, and padding names).
struct ConvTranspose2d : Module {
  int64_t in_channels, out_channels;
  ConvTranspose2dOptions options;
  Parameter weight;  ///< [in_channels, out_channels / groups, kernel height, kernel width]
  Parameter bias;    ///< [out_channels], or undefined

  ConvTranspose2d(int64_t in, int64_t out, const ConvTranspose2dOptions& options);
  void reset_parameters();
  Tensor forward(const Tensor& x);
  std::string extra_repr() const override;
  HEBB_MEMBERS(weight, bias)
};

/// Options of ConvTranspose1d.
struct ConvTranspose1dOptions {
  int64_t kernel_size;
  int64_t stride = 1;
  int64_t padding = 0;
  int64_t output_padding = 0;
  int64_t groups = 1;
  bool bias = true;
  int64_t dilation = 1;
};
/// The transpose of Conv1d: [N, in_channels, L] -> [N, out_channels, L']. Otherwise as ConvTranspose2d.
struct ConvTranspose1d : Module {
  int64_t in_channels, out_channels;
  ConvTranspose1dOptions options;
  Parameter weight;  ///< [in_channels, out_channels / groups, kernel]
  Parameter bias;    ///< [out_channels], or undefined

  ConvTranspose1d(int64_t in, int64_t out, const ConvTranspose1dOptions& options);
  void reset_parameters();
  Tensor forward(const Tensor& x);
  std::string extra_repr() const override;
  HEBB_MEMBERS(weight, bias)
};

}  // namespace hebb::nn
