#include "hebb/nn/conv.h"

#include "hebb/nn/layer_support.h"

namespace hebb::nn {
namespace {

using detail::expect_at_least;
using detail::tuple;

// A number for a line, a pair for a plane.
std::string tuple(int64_t v) { return fmt::format("({},)", v); }
bool is(int64_t v, int64_t wanted) { return v == wanted; }
bool is(Size2 v, int64_t wanted) { return v.h == wanted && v.w == wanted; }

std::string padding_repr(const Padding& p, bool plane) {
  if (p.same) return ", padding=same";
  if (p == Padding(0)) return "";
  if (!plane) return fmt::format(", padding=({},)", p.top);
  if (p.top == p.bottom && p.left == p.right) return fmt::format(", padding=({}, {})", p.top, p.left);
  return fmt::format(", padding=({}, {}, {}, {})", p.top, p.bottom, p.left, p.right);
}

// What all four have in common: checks, and the extents of the weight's first two dimensions by `shape`.
template <class Layer>
void make(Layer& layer, const char* name, Shape shape, const auto& kernel) {
  const auto& o = layer.options;
  expect_at_least(1, layer.in_channels, name, "in_channels");
  expect_at_least(1, layer.out_channels, name, "out_channels");
  expect_at_least(1, o.kernel_size, name, "kernel_size");
  expect_at_least(1, o.stride, name, "stride");
  expect_at_least(1, o.dilation, name, "dilation");
  shape[1] /= o.groups;
  if constexpr (std::is_same_v<std::remove_cvref_t<decltype(kernel)>, Size2>) {
    shape.push_back(kernel.h);
    shape.push_back(kernel.w);
  } else {
    shape.push_back(kernel);
  }
  layer.weight = Parameter(Tensor::empty(shape));
  if (o.bias) layer.bias = Parameter(Tensor::empty({layer.out_channels}));
  layer.reset_parameters();
}

// Pads x as the mode says and leaves nothing to pad for the convolution, which only knows zeros.
Tensor pad_by_mode(const Tensor& x, PadMode mode, Padding& p, Size2 kernel, Size2 dilation, Size2 stride,
                   bool plane) {
  if (mode == PadMode::constant || p == Padding(0)) return x;
  if (p.same) {
    HEBB_CHECK(is(stride, 1), "[{}] expected stride 1 with padding \"same\", got {}",
               plane ? "Conv2d" : "Conv1d", tuple(stride));
    const int64_t h = dilation.h * (kernel.h - 1), w = dilation.w * (kernel.w - 1);
    p = {h / 2, h - h / 2, w / 2, w - w / 2};
  }
  const Padding sides = std::exchange(p, Padding(0));
  if (plane) return pad(x, {sides.left, sides.right, sides.top, sides.bottom}, mode);
  return pad(x, {sides.left, sides.right}, mode);
}

void check_groups(int64_t in, int64_t out, int64_t groups, const char* name) {
  expect_at_least(1, groups, name, "groups");
  HEBB_CHECK(in % groups == 0 && out % groups == 0,
             "[{}] expected in_channels and out_channels divisible by groups = {}, got {} and {}", name,
             groups, in, out);
}

template <class Layer>
std::string common_repr(const Layer& layer) {
  return fmt::format("{}, {}, kernel_size={}, stride={}", layer.in_channels, layer.out_channels,
                     tuple(layer.options.kernel_size), tuple(layer.options.stride));
}
template <class Layer>
std::string tail_repr(const Layer& layer, const std::string& output_padding = "") {
  const auto& o = layer.options;
  std::string text;
  if (!is(o.dilation, 1)) text += ", dilation=" + tuple(o.dilation);
  text += output_padding;
  if (o.groups != 1) text += fmt::format(", groups={}", o.groups);
  if (!layer.bias.defined()) text += ", bias=False";
  return text;
}
std::string mode_repr(PadMode mode) {
  switch (mode) {
    case PadMode::reflect: return ", padding_mode=reflect";
    case PadMode::replicate: return ", padding_mode=replicate";
    case PadMode::circular: return ", padding_mode=circular";
    default: return "";
  }
}
template <class Layer>
std::string transpose_repr(const Layer& layer) {
  const auto& o = layer.options;
  std::string text = common_repr(layer);
  if (!is(o.padding, 0)) text += ", padding=" + tuple(o.padding);
  return text +
         tail_repr(layer, is(o.output_padding, 0) ? "" : ", output_padding=" + tuple(o.output_padding));
}

}  // namespace

Conv2d::Conv2d(int64_t in, int64_t out, const Conv2dOptions& o)
    : in_channels(in), out_channels(out), options(o) {
  check_groups(in, out, o.groups, "Conv2d");
  make(*this, "Conv2d", {out, in}, o.kernel_size);
}
void Conv2d::reset_parameters() { detail::reset_weight_and_bias(weight, bias); }
Tensor Conv2d::forward(const Tensor& x) {
  Padding padding = options.padding;
  const Tensor padded = pad_by_mode(x, options.padding_mode, padding, options.kernel_size, options.dilation,
                                    options.stride, true);
  return conv2d(
      padded, weight, bias,
      {.stride = options.stride, .padding = padding, .dilation = options.dilation, .groups = options.groups});
}
std::string Conv2d::extra_repr() const {
  return common_repr(*this) + padding_repr(options.padding, true) + tail_repr(*this) +
         mode_repr(options.padding_mode);
}

Conv1d::Conv1d(int64_t in, int64_t out, const Conv1dOptions& o)
    : in_channels(in), out_channels(out), options(o) {
  check_groups(in, out, o.groups, "Conv1d");
  make(*this, "Conv1d", {out, in}, o.kernel_size);
}
void Conv1d::reset_parameters() { detail::reset_weight_and_bias(weight, bias); }
Tensor Conv1d::forward(const Tensor& x) {
  Padding padding = options.padding;
  const Tensor padded = pad_by_mode(x, options.padding_mode, padding, options.kernel_size, options.dilation,
                                    options.stride, false);
  return conv1d(
      padded, weight, bias,
      {.stride = options.stride, .padding = padding, .dilation = options.dilation, .groups = options.groups});
}
std::string Conv1d::extra_repr() const {
  return common_repr(*this) + padding_repr(options.padding, false) + tail_repr(*this) +
         mode_repr(options.padding_mode);
}

ConvTranspose2d::ConvTranspose2d(int64_t in, int64_t out, const ConvTranspose2dOptions& o)
    : in_channels(in), out_channels(out), options(o) {
  check_groups(in, out, o.groups, "ConvTranspose2d");
  make(*this, "ConvTranspose2d", {in, out}, o.kernel_size);
}
void ConvTranspose2d::reset_parameters() { detail::reset_weight_and_bias(weight, bias); }
Tensor ConvTranspose2d::forward(const Tensor& x) {
  return conv_transpose2d(x, weight, bias,
                          {.stride = options.stride,
                           .padding = options.padding,
                           .output_padding = options.output_padding,
                           .groups = options.groups,
                           .dilation = options.dilation});
}
std::string ConvTranspose2d::extra_repr() const { return transpose_repr(*this); }

ConvTranspose1d::ConvTranspose1d(int64_t in, int64_t out, const ConvTranspose1dOptions& o)
    : in_channels(in), out_channels(out), options(o) {
  check_groups(in, out, o.groups, "ConvTranspose1d");
  make(*this, "ConvTranspose1d", {in, out}, o.kernel_size);
}
void ConvTranspose1d::reset_parameters() { detail::reset_weight_and_bias(weight, bias); }
Tensor ConvTranspose1d::forward(const Tensor& x) {
  return conv_transpose1d(x, weight, bias,
                          {.stride = options.stride,
                           .padding = options.padding,
                           .output_padding = options.output_padding,
                           .groups = options.groups,
                           .dilation = options.dilation});
}
std::string ConvTranspose1d::extra_repr() const { return transpose_repr(*this); }

}  // namespace hebb::nn
