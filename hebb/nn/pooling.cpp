#include "hebb/nn/pooling.h"

#include "hebb/nn/layer_support.h"
#include "hebb/ops/norm.h"

namespace hebb::nn {
namespace {

using detail::expect_at_least;
using detail::repr;
using detail::tuple;

std::string repr(int64_t v) { return std::to_string(v); }

// Checks what windows have in common and fills in the stride.
int64_t stride_or(int64_t stride, int64_t kernel) { return stride == 0 ? kernel : stride; }
Size2 stride_or(Size2 stride, Size2 kernel) { return stride.h == 0 && stride.w == 0 ? kernel : stride; }
template <class Options>
Options checked(Options o, const char* layer) {
  expect_at_least(1, o.kernel_size, layer, "kernel_size");
  o.stride = stride_or(o.stride, o.kernel_size);
  expect_at_least(1, o.stride, layer, "stride");
  expect_at_least(0, o.padding, layer, "padding");
  return o;
}

template <class Options>
std::string max_pool_repr(const Options& o) {
  return fmt::format("kernel_size={}, stride={}, padding={}, dilation={}, ceil_mode={}", repr(o.kernel_size),
                     repr(o.stride), repr(o.padding), repr(o.dilation), repr(o.ceil_mode));
}

// The options of the function: those of the layer without the kernel.
hebb::MaxPool2dOptions of_op(const MaxPool2dOptions& o) {
  return {.stride = o.stride, .padding = o.padding, .dilation = o.dilation, .ceil_mode = o.ceil_mode};
}
hebb::MaxPool1dOptions of_op(const MaxPool1dOptions& o) {
  return {.stride = o.stride, .padding = o.padding, .dilation = o.dilation, .ceil_mode = o.ceil_mode};
}

}  // namespace

MaxPool2d::MaxPool2d(const MaxPool2dOptions& o) : options(checked(o, "MaxPool2d")) {}
Tensor MaxPool2d::forward(const Tensor& x) { return max_pool2d(x, options.kernel_size, of_op(options)); }
std::pair<Tensor, Tensor> MaxPool2d::forward_with_indices(const Tensor& x) {
  return max_pool2d_with_indices(x, options.kernel_size, of_op(options));
}
std::string MaxPool2d::extra_repr() const { return max_pool_repr(options); }

MaxPool1d::MaxPool1d(const MaxPool1dOptions& o) : options(checked(o, "MaxPool1d")) {}
Tensor MaxPool1d::forward(const Tensor& x) { return max_pool1d(x, options.kernel_size, of_op(options)); }
std::pair<Tensor, Tensor> MaxPool1d::forward_with_indices(const Tensor& x) {
  return max_pool1d_with_indices(x, options.kernel_size, of_op(options));
}
std::string MaxPool1d::extra_repr() const { return max_pool_repr(options); }

AvgPool2d::AvgPool2d(const AvgPool2dOptions& o) : options(checked(o, "AvgPool2d")) {}
Tensor AvgPool2d::forward(const Tensor& x) {
  return avg_pool2d(x, options.kernel_size,
                    {.stride = options.stride,
                     .padding = options.padding,
                     .ceil_mode = options.ceil_mode,
                     .count_include_pad = options.count_include_pad,
                     .divisor_override = options.divisor_override});
}
std::string AvgPool2d::extra_repr() const {
  return fmt::format("kernel_size={}, stride={}, padding={}", repr(options.kernel_size), repr(options.stride),
                     repr(options.padding));
}

AvgPool1d::AvgPool1d(const AvgPool1dOptions& o) : options(checked(o, "AvgPool1d")) {}
Tensor AvgPool1d::forward(const Tensor& x) {
  return avg_pool1d(x, options.kernel_size,
                    {.stride = options.stride,
                     .padding = options.padding,
                     .ceil_mode = options.ceil_mode,
                     .count_include_pad = options.count_include_pad});
}
std::string AvgPool1d::extra_repr() const {
  return fmt::format("kernel_size=({},), stride=({},), padding=({},)", options.kernel_size, options.stride,
                     options.padding);
}

AdaptiveAvgPool2d::AdaptiveAvgPool2d(Size2 size) : output_size(size) {
  expect_at_least(1, size, "AdaptiveAvgPool2d", "output_size");
}
Tensor AdaptiveAvgPool2d::forward(const Tensor& x) { return adaptive_avg_pool2d(x, output_size); }
std::string AdaptiveAvgPool2d::extra_repr() const { return "output_size=" + repr(output_size); }

AdaptiveMaxPool2d::AdaptiveMaxPool2d(Size2 size) : output_size(size) {
  expect_at_least(1, size, "AdaptiveMaxPool2d", "output_size");
}
Tensor AdaptiveMaxPool2d::forward(const Tensor& x) { return adaptive_max_pool2d(x, output_size); }
std::string AdaptiveMaxPool2d::extra_repr() const { return "output_size=" + repr(output_size); }

Tensor GlobalAvgPool2d::forward(const Tensor& x) { return global_avg_pool2d(x); }

MaxUnpool2d::MaxUnpool2d(const MaxUnpool2dOptions& o) : options(checked(o, "MaxUnpool2d")) {}
Tensor MaxUnpool2d::forward(const Tensor& x, const Tensor& indices) {
  HEBB_CHECK(x.ndim() >= 2, "[MaxUnpool2d] expected an input [N, C, H, W], got {}", x.shape().str());
  const auto extent = [](int64_t n, int64_t kernel, int64_t stride, int64_t padding) {
    return (n - 1) * stride - 2 * padding + kernel;
  };
  const auto& o = options;
  return forward(x, indices,
                 Size2(extent(x.size(-2), o.kernel_size.h, o.stride.h, o.padding.h),
                       extent(x.size(-1), o.kernel_size.w, o.stride.w, o.padding.w)));
}
Tensor MaxUnpool2d::forward(const Tensor& x, const Tensor& indices, Size2 output_size) {
  return max_unpool2d(x, indices, output_size);
}
std::string MaxUnpool2d::extra_repr() const {
  return fmt::format("kernel_size={}, stride={}, padding={}", tuple(options.kernel_size),
                     tuple(options.stride), tuple(options.padding));
}

ZeroFillUnpool2d::ZeroFillUnpool2d(Size2 block) : stride(block) {
  expect_at_least(1, block, "ZeroFillUnpool2d", "stride");
}
Tensor ZeroFillUnpool2d::forward(const Tensor& x) { return unpool_zero_fill2d(x, stride); }
std::string ZeroFillUnpool2d::extra_repr() const { return "stride=" + repr(stride); }

Upsample::Upsample(const InterpolateOptions& o) : options(o) {
  const bool sized = o.size.h != 0 || o.size.w != 0, scaled = o.scale_factor.h != 0 || o.scale_factor.w != 0;
  HEBB_CHECK(sized != scaled, "[Upsample] expected either size or scale_factor, got {}",
             sized ? "both" : "neither");
}
Tensor Upsample::forward(const Tensor& x) { return interpolate(x, options); }
std::string Upsample::extra_repr() const {
  const bool sized = options.size.h != 0 || options.size.w != 0;
  return fmt::format("{}={}, mode='{}'", sized ? "size" : "scale_factor",
                     sized ? repr(options.size) : repr(options.scale_factor),
                     options.mode == Interpolation::bilinear ? "bilinear" : "nearest");
}

LocalResponseNorm::LocalResponseNorm(int64_t channels, LocalResponseNormOptions o)
    : size(channels), options(o) {
  expect_at_least(1, channels, "LocalResponseNorm", "size");
}
Tensor LocalResponseNorm::forward(const Tensor& x) {
  return local_response_norm(x, size, options.alpha, options.beta, options.k);
}
std::string LocalResponseNorm::extra_repr() const {
  return fmt::format("{}, alpha={}, beta={}, k={}", size, repr(options.alpha), repr(options.beta),
                     repr(options.k));
}

}  // namespace hebb::nn
