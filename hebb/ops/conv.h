// Convolutions and transposed convolutions (cross-correlations, as everywhere in deep learning).
#pragma once
#include <cstdint>
#include <string>

#include "hebb/core/tensor.h"
#include "hebb/ops/pair.h"

namespace hebb {

/// Zeros around an image: one number, {height, width}, {top, bottom, left, right}, "same" (the output has the
/// input's size; stride 1 only; the odd zero goes below and to the right) or "valid" (none).
struct Padding {
  int64_t top = 0, bottom = 0, left = 0, right = 0;
  bool same = false;
  Padding(int64_t all) : top(all), bottom(all), left(all), right(all) {}
  Padding(int64_t height, int64_t width) : top(height), bottom(height), left(width), right(width) {}
  Padding(int64_t t, int64_t b, int64_t l, int64_t r) : top(t), bottom(b), left(l), right(r) {}
  /// Throws Error unless the word is "same" or "valid".
  template <size_t N>
  Padding(const char (&word)[N]) : Padding(std::string(word)) {}
  explicit Padding(const std::string& word);
  bool operator==(const Padding&) const = default;
};

/// Options of conv2d.
struct Conv2dOptions {
  Size2 stride = 1;
  Padding padding = 0;
  Size2 dilation = 1;
  int64_t groups = 1;
};
/// [N, C, H, W] (or [C, H, W]) with weight [O, C/groups, kh, kw] and bias [O] (may be undefined) -> [N, O,
/// H', W'], H' = floor((H + top + bottom - dilation (kh - 1) - 1) / stride) + 1. Throws Error if channels,
/// groups, types or sizes do not fit.
Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
              const Conv2dOptions& options = {});

/// Whether f32 convolutions are always computed product by product; off by default. Otherwise those of 3x3,
/// stride 1 and 16 channels or more (of stride 2 in compiled functions) run by Winograd's algorithm where
/// there is enough of them, two to three times as fast. Its rounding errors are up to three times as large
/// (seven for the input gradient), and a NaN or infinity of an input spreads over its tile of 4x4 outputs. So
/// do those of 8 channels or fewer with rows of 5 to 7 taps, as LeNet-5's, one and a half times as fast, in
/// tiles of 4 to 2 outputs of a row: errors four times as large, seven for the weight gradient. For the whole
/// program, from the next convolution on.
bool exact_conv();
/// Turns it on or off.
void set_exact_conv(bool exact);

/// Options of conv1d.
struct Conv1dOptions {
  int64_t stride = 1;
  Padding padding = 0;  ///< a number or "same"
  int64_t dilation = 1;
  int64_t groups = 1;
};
/// [N, C, L] (or [C, L]) with weight [O, C/groups, k] -> [N, O, L'].
Tensor conv1d(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
              const Conv1dOptions& options = {});

/// Options of conv_transpose2d.
struct ConvTranspose2dOptions {
  Size2 stride = 1;
  Size2 padding = 0;         ///< rows and columns cut from each side of the full result
  Size2 output_padding = 0;  ///< rows below and columns right added to it
  int64_t groups = 1;
  Size2 dilation = 1;
};
/// The transpose of conv2d as a linear map: [N, C, H, W] with weight [C, O/groups, kh, kw] -> [N, O, H', W'],
/// H' = (H - 1) stride - 2 padding + dilation (kh - 1) + output_padding + 1.
Tensor conv_transpose2d(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
                        const ConvTranspose2dOptions& options = {});

/// Options of conv_transpose1d.
struct ConvTranspose1dOptions {
  int64_t stride = 1;
  int64_t padding = 0;
  int64_t output_padding = 0;
  int64_t groups = 1;
  int64_t dilation = 1;
};
/// The transpose of conv1d: [N, C, L] with weight [C, O/groups, k] -> [N, O, L'].
Tensor conv_transpose1d(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
                        const ConvTranspose1dOptions& options = {});

}  // namespace hebb
