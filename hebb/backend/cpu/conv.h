// Two-dimensional convolution and its two gradients on raw pointers, for every stride, dilation, padding
// and number of groups. They are matrix products over cache-sized blocks of pixels; depthwise convolutions,
// whose products would be a single row, have a direct path. Results do not depend on the number of threads.
#pragma once
#include <cstdint>
#include <utility>

namespace hebb::cpu {

class RowsReady;  // gemm.h

/// Sizes of a convolution. x is [batch, in_channels, in_h, in_w], y is [batch, out_channels, out_h, out_w]
/// and the weight [out_channels, in_channels / groups, kernel_h, kernel_w]. Zeros surround x: `pad_top` rows
/// above it, `pad_left` columns left of it, and as many below and to the right as out_h and out_w need.
struct ConvShape {
  int64_t batch, in_channels, in_h, in_w, out_channels, out_h, out_w, kernel_h, kernel_w;
  int64_t stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w, groups;
  bool channels_last = false;  ///< x and y are [batch, h, w, channels]
  bool bf16 = false;           ///< products may round what they multiply, see Gemm
  bool relu = false;           ///< last_forward() rectifies y
};

/// The convolution whose outputs are the gradient of the inputs, for strides of 1: channels change places,
/// and the kernel is turned around.
inline ConvShape turned(ConvShape s) {
  std::swap(s.in_channels, s.out_channels);
  std::swap(s.in_h, s.out_h);
  std::swap(s.in_w, s.out_w);
  s.pad_top = (s.kernel_h - 1) * s.dilation_h - s.pad_top;
  s.pad_left = (s.kernel_w - 1) * s.dilation_w - s.pad_left;
  return s;
}

/// Of one of its three products.
inline double multiplications(const ConvShape& s) {
  return static_cast<double>(s.batch * s.out_channels * s.out_h * s.out_w) *
         static_cast<double>(s.in_channels / s.groups * s.kernel_h * s.kernel_w);
}

/// y = x * w (+ bias[out_channel]); `bias` may be null. T is float or double.
template <class T>
void conv2d_forward(const ConvShape& shape, const T* x, const T* w, const T* bias, T* y);

/// Overwrites gx with the gradient with respect to x, given that of y.
template <class T>
void conv2d_input_grad(const ConvShape& shape, const T* gy, const T* w, T* gx);

/// Overwrites gw with the gradient with respect to w, given that of y.
template <class T>
void conv2d_weight_grad(const ConvShape& shape, const T* gy, const T* x, T* gw);

/// What reads weights.
enum class Pass { forward, input_grad };

/// What becomes of outputs, where channels are last.
struct ConvEnd {
  const float* residual = nullptr;  ///< images as y is, added before ReLU; none where is_thin() holds
  RowsReady* ready = nullptr;       ///< is told of pixels of y, perhaps
};

/// The same of images whose channels are last, for one group. Neither of the first two reads `w` where it is
/// given `filters`, which last_filters() made of it. `ready` is told of pixels of gx, perhaps.
void last_forward(const ConvShape& shape, const float* x, const float* w, const float* bias, float* y,
                  const float* filters = nullptr, const ConvEnd& end = {});
void last_input_grad(const ConvShape& shape, const float* gy, const float* w, float* gx,
                     const float* filters = nullptr, RowsReady* ready = nullptr);
void last_weight_grad(const ConvShape& shape, const float* gy, const float* x, float* gw);
/// Weights in the order in which last_forward() or last_input_grad() reads them, last_filters_size()
/// elements.
int64_t last_filters_size(const ConvShape& shape, Pass pass);
void last_filters(const ConvShape& shape, Pass pass, const float* w, float* out);

}  // namespace hebb::cpu
