// Three ops that are each other's gradients: a convolution, and its gradients for the input and for the
// weight.
#include "hebb/ops/conv.h"

#include <algorithm>
#include <atomic>

#include "hebb/op/autocast.h"
#include "hebb/ops/conv_attrs.h"
#include "hebb/ops/creation.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/join.h"
#include "hebb/ops/op_support.h"
#include "hebb/ops/reduce.h"
#include "hebb/ops/table.h"
#include "hebb/ops/view.h"

namespace hebb {

using namespace detail;

namespace {

int64_t output_size(int64_t in, int64_t before, int64_t after, int64_t kernel, int64_t dilation,
                    int64_t stride) {
  return (in + before + after - dilation * (kernel - 1) - 1) / stride + 1;
}

void check_attrs(const char* op, const Conv2dAttrs& a) {
  HEBB_CHECK(a.stride[0] >= 1 && a.stride[1] >= 1, "[{}] expected a stride of at least 1, got {}x{}", op,
             a.stride[0], a.stride[1]);
  HEBB_CHECK(a.dilation[0] >= 1 && a.dilation[1] >= 1, "[{}] expected a dilation of at least 1, got {}x{}",
             op, a.dilation[0], a.dilation[1]);
  for (const int64_t p : a.padding) HEBB_CHECK(p >= 0, "[{}] expected padding of at least 0, got {}", op, p);
  HEBB_CHECK(a.groups >= 1, "[{}] expected at least 1 group, got {}", op, a.groups);
}

Specs infer_conv(SpecPtrs in, const Attrs& attrs) {
  const auto& a = attrs.as<Conv2dAttrs>();
  const Shape &x = in[0]->shape, &w = in[1]->shape;
  check_attrs("conv2d", a);
  HEBB_CHECK(x.ndim() == 4, "[conv2d] expected an input of 4 dimensions [N, C, H, W], got {}", x.str());
  HEBB_CHECK(w.ndim() == 4, "[conv2d] expected a weight of 4 dimensions [O, C/groups, kh, kw], got {}",
             w.str());
  expect_float(*in[0], "conv2d", "an input");
  expect_same_type(*in[0], *in[1], "conv2d");
  HEBB_CHECK(x[1] == w[1] * a.groups,
             "[conv2d] expected {} input channels (weight {}, groups {}), got {} (input {})", w[1] * a.groups,
             w.str(), a.groups, x[1], x.str());
  HEBB_CHECK(w[0] % a.groups == 0,
             "[conv2d] expected output channels that divide by {} groups, got {} (weight {})", a.groups, w[0],
             w.str());
  if (in.size() == 3) {
    HEBB_CHECK(in[2]->shape == Shape({w[0]}), "[conv2d] expected a bias of shape {} (weight {}), got {}",
               w[0], w.str(), in[2]->shape.str());
    expect_same_type(*in[0], *in[2], "conv2d");
  }
  HEBB_CHECK(x[2] >= 1 && x[3] >= 1, "[conv2d] expected an input of at least 1 row and 1 column, got {}",
             x.str());
  Shape out{x[0], w[0], 0, 0};
  for (int d = 0; d < 2; ++d) {
    const int64_t padded = x[2 + d] + a.padding[2 * d] + a.padding[2 * d + 1],
                  reach = a.dilation[d] * (w[2 + d] - 1) + 1;
    HEBB_CHECK(w[2 + d] >= 1 && padded >= reach,
               "[conv2d] expected a kernel within the padded input of {} {}, got one that spans {} (input "
               "{}, weight {})",
               padded, d ? "columns" : "rows", reach, x.str(), w.str());
    out[2 + d] =
        output_size(x[2 + d], a.padding[2 * d], a.padding[2 * d + 1], w[2 + d], a.dilation[d], a.stride[d]);
  }
  return TensorSpec(out, in[0]->dtype, in[0]->device);
}

// Inputs g [N, O, H', W'] and w [O, C/groups, kh, kw]; result [N, C, size].
Specs infer_input_grad(SpecPtrs in, const Attrs& attrs) {
  const auto& a = attrs.as<Conv2dAttrs>();
  const Shape &g = in[0]->shape, &w = in[1]->shape;
  check_attrs("conv_transpose2d", a);
  HEBB_CHECK(g.ndim() == 4, "[conv_transpose2d] expected an input of 4 dimensions [N, C, H, W], got {}",
             g.str());
  HEBB_CHECK(w.ndim() == 4,
             "[conv_transpose2d] expected a weight of 4 dimensions [C, O/groups, kh, kw], got {}", w.str());
  expect_float(*in[0], "conv_transpose2d", "an input");
  expect_same_type(*in[0], *in[1], "conv_transpose2d");
  HEBB_CHECK(g[1] == w[0] && w[0] % a.groups == 0,
             "[conv_transpose2d] expected {} input channels (weight {}, groups {}), got {}", w[0], w.str(),
             a.groups, g[1]);
  for (int d = 0; d < 2; ++d) {
    HEBB_CHECK(a.size[d] >= 1, "[conv_transpose2d] expected an output of at least 1 {}, got {}",
               d ? "column" : "row", a.size[d]);
    const int64_t back =
        output_size(a.size[d], a.padding[2 * d], a.padding[2 * d + 1], w[2 + d], a.dilation[d], a.stride[d]);
    HEBB_CHECK(back == g[2 + d],
               "[conv_transpose2d] expected output_padding below stride or dilation, got an output of {} for "
               "an input of {}",
               a.size[d], g[2 + d]);
  }
  return TensorSpec({g[0], w[1] * a.groups, a.size[0], a.size[1]}, in[0]->dtype, in[0]->device);
}

// Inputs g [N, O, H', W'] and x [N, C, H, W]; result [O, C/groups, size].
Specs infer_weight_grad(SpecPtrs in, const Attrs& attrs) {
  const auto& a = attrs.as<Conv2dAttrs>();
  const Shape &g = in[0]->shape, &x = in[1]->shape;
  check_attrs("conv2d_weight_grad", a);
  HEBB_CHECK(
      g.ndim() == 4 && x.ndim() == 4 && g[0] == x[0],
      "[conv2d_weight_grad] expected a gradient and an input of 4 dimensions and one batch size, got {} "
      "and {}",
      g.str(), x.str());
  expect_float(*in[0], "conv2d_weight_grad", "a gradient");
  expect_same_type(*in[0], *in[1], "conv2d_weight_grad");
  HEBB_CHECK(g[1] % a.groups == 0 && x[1] % a.groups == 0,
             "[conv2d_weight_grad] expected channels that divide by {} groups, got {} and {}", a.groups, g[1],
             x[1]);
  for (int d = 0; d < 2; ++d) {
    HEBB_CHECK(x[2 + d] >= 1, "[conv2d_weight_grad] expected an input of at least 1 row and 1 column, got {}",
               x.str());
    const int64_t out =
        output_size(x[2 + d], a.padding[2 * d], a.padding[2 * d + 1], a.size[d], a.dilation[d], a.stride[d]);
    HEBB_CHECK(a.size[d] >= 1 && out == g[2 + d],
               "[conv2d_weight_grad] expected a gradient of {} {} (input {}, kernel {}), got {}", out,
               d ? "columns" : "rows", x.str(), a.size[d], g[2 + d]);
  }
  return TensorSpec({g[1], x[1] / a.groups, a.size[0], a.size[1]}, in[0]->dtype, in[0]->device);
}

// Calls fn(x index, w index, y index) for each product of a convolution, indices into dense arrays.
template <class F>
void for_each_product(const Shape& x, const Shape& w, const Shape& y, const Conv2dAttrs& a, F&& fn) {
  const int64_t per_group = w[0] / a.groups;
  for_each_index(y, [&](const Shape& at) {
    const int64_t iy = broadcast_offset(at, y), group = at[1] / per_group;
    for (int64_t c = 0; c < w[1]; ++c)
      for (int64_t i = 0; i < w[2]; ++i)
        for (int64_t j = 0; j < w[3]; ++j) {
          const int64_t r = at[2] * a.stride[0] - a.padding[0] + i * a.dilation[0],
                        q = at[3] * a.stride[1] - a.padding[2] + j * a.dilation[1];
          if (r < 0 || r >= x[2] || q < 0 || q >= x[3]) continue;
          fn(((at[0] * x[1] + group * w[1] + c) * x[2] + r) * x[3] + q,
             ((at[1] * w[1] + c) * w[2] + i) * w[3] + j, iy);
        }
  });
}

void reference_conv(const ReferenceArgs& s) {
  const auto x = values<double>(s.inputs[0]), w = values<double>(s.inputs[1]);
  const Shape& shape = s.outputs[0].shape();
  std::vector<double> y(static_cast<size_t>(shape.numel()));
  if (s.inputs.size() == 3) {
    const auto b = values<double>(s.inputs[2]);
    for (size_t i = 0; i < y.size(); ++i) y[i] = b[i / static_cast<size_t>(shape[2] * shape[3]) % b.size()];
  }
  for_each_product(s.inputs[0].shape(), s.inputs[1].shape(), shape, s.attrs.as<Conv2dAttrs>(),
                   [&](int64_t i, int64_t j, int64_t k) { y[k] += x[i] * w[j]; });
  store(s.outputs[0], y);
}
void reference_input_grad(const ReferenceArgs& s) {
  const auto g = values<double>(s.inputs[0]), w = values<double>(s.inputs[1]);
  std::vector<double> x(static_cast<size_t>(s.outputs[0].numel()));
  for_each_product(s.outputs[0].shape(), s.inputs[1].shape(), s.inputs[0].shape(), s.attrs.as<Conv2dAttrs>(),
                   [&](int64_t i, int64_t j, int64_t k) { x[i] += g[k] * w[j]; });
  store(s.outputs[0], x);
}
void reference_weight_grad(const ReferenceArgs& s) {
  const auto g = values<double>(s.inputs[0]), x = values<double>(s.inputs[1]);
  std::vector<double> w(static_cast<size_t>(s.outputs[0].numel()));
  for_each_product(s.inputs[1].shape(), s.outputs[0].shape(), s.inputs[0].shape(), s.attrs.as<Conv2dAttrs>(),
                   [&](int64_t i, int64_t j, int64_t k) { w[j] += g[k] * x[i]; });
  store(s.outputs[0], w);
}

Tensor input_grad(Conv2dAttrs a, const Tensor& g, const Tensor& w, int64_t h, int64_t width) {
  a.size = {h, width};
  return apply1(ops::conv2d_input_grad, a, {g, w});
}
Tensor weight_grad(Conv2dAttrs a, const Tensor& g, const Tensor& x, int64_t h, int64_t width) {
  a.size = {h, width};
  return apply1(ops::conv2d_weight_grad, a, {g, x});
}
Tensor convolve(Conv2dAttrs a, const Tensor& x, const Tensor& w) {
  a.size = {};
  return apply1(ops::conv2d, a, {x, w});
}

// The op is linear in each of its first two inputs.
Outputs jvp_bilinear(const OpDef& op, const JvpArgs& s) {
  Tensor y;
  if (s.tangents[0].defined()) y = apply1(op, s.attrs, {s.tangents[0], s.inputs[1]});
  if (s.tangents[1].defined()) {
    const Tensor t = apply1(op, s.attrs, {s.inputs[0], s.tangents[1]});
    y = y.defined() ? y + t : t;
  }
  if (s.tangents.size() == 3 && s.tangents[2].defined()) {
    const Tensor t = expand(reshape(s.tangents[2], {1, -1, 1, 1}), s.outputs[0].shape());
    y = y.defined() ? y + t : t;
  }
  return y;
}

int64_t conv_multiply_adds(SpecPtrs in, const Specs& out, const Attrs&) {
  const Shape& w = in[1]->shape;
  return out[0].shape.numel() * w[1] * w[2] * w[3];
}

std::vector<Sample> conv_samples() {
  auto sample = [](const char* name, Shape x, Shape w, Conv2dAttrs a, bool bias = false) {
    Sample s{name, {{x}, {w}}, a};
    if (bias) s.inputs.push_back({{w[0]}});
    return s;
  };
  return {sample("3x3", {2, 3, 6, 5}, {4, 3, 3, 3}, {.padding = {1, 1, 1, 1}}, true),
          sample("5x5", {1, 1, 8, 8}, {2, 1, 5, 5}, {}),
          sample("1x1", {2, 3, 4, 4}, {5, 3, 1, 1}, {}, true),
          sample("strided", {2, 2, 7, 8}, {3, 2, 3, 2}, {.stride = {2, 3}, .padding = {1, 0, 0, 2}}),
          sample("dilated", {1, 2, 9, 7}, {2, 2, 3, 2}, {.padding = {2, 2, 1, 1}, .dilation = {2, 3}}),
          sample("grouped", {2, 4, 5, 5}, {6, 2, 3, 3}, {.padding = {1, 1, 1, 1}, .groups = 2}, true),
          sample("depthwise", {2, 3, 6, 6}, {6, 1, 3, 3},
                 {.stride = {2, 2}, .padding = {1, 1, 1, 1}, .groups = 3}),
          sample("empty", {0, 2, 4, 4}, {3, 2, 3, 3}, {})};
}

std::vector<ErrorSample> conv_errors() {
  return {
      {{{{2, 1, 8, 8}}, {{16, 3, 5, 5}}},
       Conv2dAttrs{},
       "expected 3 input channels (weight 16x3x5x5, groups 1), got 1 (input 2x1x8x8)"},
      {{{{8, 8}}, {{1, 1, 3, 3}}}, Conv2dAttrs{}, "expected an input of 4 dimensions [N, C, H, W], got 8x8"},
      {{{{1, 1, 8, 8}}, {{1, 3, 3}}},
       Conv2dAttrs{},
       "expected a weight of 4 dimensions [O, C/groups, kh, kw], got 1x3x3"},
      {{{{1, 1, 2, 8}}, {{1, 1, 3, 3}}},
       Conv2dAttrs{},
       "expected a kernel within the padded input of 2 rows, got one that spans 3"},
      {{{{1, 1, 8, 8}}, {{1, 1, 3, 3}}},
       Conv2dAttrs{.stride = {0, 1}},
       "expected a stride of at least 1, got 0x1"},
      {{{{1, 1, 8, 8}}, {{1, 1, 3, 3}}},
       Conv2dAttrs{.dilation = {1, 0}},
       "expected a dilation of at least 1, got 1x0"},
      {{{{1, 1, 8, 8}}, {{1, 1, 3, 3}}},
       Conv2dAttrs{.padding = {-1, 0, 0, 0}},
       "expected padding of at least 0, got -1"},
      {{{{1, 4, 8, 8}}, {{3, 2, 3, 3}}},
       Conv2dAttrs{.groups = 2},
       "expected output channels that divide by 2 groups, got 3"},
      {{{{1, 1, 8, 8}}, {{2, 1, 3, 3}}, {{3}}},
       Conv2dAttrs{},
       "expected a bias of shape 2 (weight 2x1x3x3), got 3"},
      {{{{1, 1, 8, 8}, 0, 9, i64}, {{2, 1, 3, 3}}},
       Conv2dAttrs{},
       "expected an input of a floating type, got i64"}};
}

}  // namespace

namespace ops {

const OpDef conv2d{.name = "conv2d",
                   .kind = Kind::Contract,
                   .doc = "cross-correlation of images with kernels",
                   .infer = infer_conv,
                   .vjp = [](const VjpArgs& s) -> std::vector<Tensor> {
                     const auto& a = s.attrs.as<Conv2dAttrs>();
                     const Tensor &x = s.inputs[0], &w = s.inputs[1], &g = s.grads[0];
                     std::vector<Tensor> out(s.inputs.size());
                     if (s.needs[0]) out[0] = input_grad(a, g, w, x.shape()[2], x.shape()[3]);
                     if (s.needs[1]) out[1] = weight_grad(a, g, x, w.shape()[2], w.shape()[3]);
                     if (s.inputs.size() == 3 && s.needs[2]) out[2] = hebb::sum(g, {0, 2, 3});
                     return out;
                   },
                   .jvp = [](const JvpArgs& s) { return jvp_bilinear(conv2d, s); },
                   .reference = reference_conv,
                   .samples = conv_samples,
                   .error_samples = conv_errors,
                   .saves_inputs = 3,
                   .multiply_adds = conv_multiply_adds};

const OpDef conv2d_input_grad{
    .name = "conv2d_input_grad",
    .kind = Kind::Contract,
    .doc = "gradient of conv2d for its input; the transposed convolution",
    .infer = infer_input_grad,
    .vjp = [](const VjpArgs& s) -> std::vector<Tensor> {
      const auto& a = s.attrs.as<Conv2dAttrs>();
      const Tensor &g = s.inputs[0], &w = s.inputs[1], &u = s.grads[0];
      return {s.needs[0] ? convolve(a, u, w) : Tensor(),
              s.needs[1] ? weight_grad(a, g, u, w.shape()[2], w.shape()[3]) : Tensor()};
    },
    .jvp = [](const JvpArgs& s) { return jvp_bilinear(conv2d_input_grad, s); },
    .reference = reference_input_grad,
    .samples = []() -> std::vector<Sample> {
      return {{"stride2",
               {{{2, 3, 4, 3}}, {{3, 2, 3, 3}}},
               Conv2dAttrs{.stride = {2, 2}, .padding = {1, 1, 1, 1}, .size = {8, 6}}},
              {"windows side by side",
               {{{2, 3, 4, 3}}, {{3, 2, 2, 3}}},
               Conv2dAttrs{.stride = {2, 3}, .size = {8, 9}}},
              {"grouped",
               {{{1, 4, 3, 3}}, {{4, 2, 2, 3}}},
               Conv2dAttrs{.dilation = {2, 1}, .groups = 2, .size = {5, 5}}}};
    },
    .error_samples = []() -> std::vector<ErrorSample> {
      return {{{{{2, 3, 4, 3}}, {{2, 3, 3, 3}}},
               Conv2dAttrs{.size = {6, 5}},
               "expected 2 input channels (weight 2x3x3x3, groups 1), got 3"},
              {{{{2, 3, 4, 4}}, {{3, 2, 3, 3}}},
               Conv2dAttrs{.size = {7, 6}},
               "expected output_padding below stride or dilation"},
              {{{{2, 3, 4, 4}}, {{3, 2, 3, 3}}},
               Conv2dAttrs{.size = {0, 6}},
               "expected an output of at least 1 row, got 0"}};
    },
    .saves_inputs = 3,
    .multiply_adds =
        [](SpecPtrs in, const Specs&, const Attrs&) {
          const Shape& w = in[1]->shape;
          return in[0]->shape.numel() * w[1] * w[2] * w[3];
        }};

const OpDef conv2d_weight_grad{
    .name = "conv2d_weight_grad",
    .kind = Kind::Contract,
    .doc = "gradient of conv2d for its weight",
    .infer = infer_weight_grad,
    .vjp = [](const VjpArgs& s) -> std::vector<Tensor> {
      const auto& a = s.attrs.as<Conv2dAttrs>();
      const Tensor &g = s.inputs[0], &x = s.inputs[1], &u = s.grads[0];
      return {s.needs[0] ? convolve(a, x, u) : Tensor(),
              s.needs[1] ? input_grad(a, g, u, x.shape()[2], x.shape()[3]) : Tensor()};
    },
    .jvp = [](const JvpArgs& s) { return jvp_bilinear(conv2d_weight_grad, s); },
    .reference = reference_weight_grad,
    .samples = []() -> std::vector<Sample> {
      return {{"3x3", {{{2, 4, 5, 4}}, {{2, 3, 5, 4}}}, Conv2dAttrs{.padding = {1, 1, 1, 1}, .size = {3, 3}}},
              {"strided",
               {{{2, 4, 3, 2}}, {{2, 2, 7, 6}}},
               Conv2dAttrs{.stride = {2, 3}, .groups = 2, .size = {3, 2}}}};
    },
    .saves_inputs = 3,
    .multiply_adds =
        [](SpecPtrs in, const Specs& out, const Attrs&) {
          const Shape& w = out[0].shape;
          return in[0]->shape.numel() * w[1] * w[2] * w[3];
        }};

}  // namespace ops

namespace {
std::atomic<bool> exact = false;
}
bool exact_conv() { return exact; }
void set_exact_conv(bool on) { exact = on; }

Padding::Padding(const std::string& word) : same(word == "same") {
  HEBB_CHECK(same || word == "valid", "[conv2d] expected padding \"same\" or \"valid\", got \"{}\"", word);
}

Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv2dOptions& o) {
  if (x.ndim() == 3) return squeeze(conv2d(unsqueeze(x, 0), weight, bias, o), 0);
  Conv2dAttrs a{{o.stride.h, o.stride.w},
                {o.padding.top, o.padding.bottom, o.padding.left, o.padding.right},
                {o.dilation.h, o.dilation.w},
                o.groups,
                {},
                rounds(x)};
  if (o.padding.same) {
    HEBB_CHECK(o.stride.h == 1 && o.stride.w == 1,
               "[conv2d] expected stride 1 with padding \"same\", got {}x{}", o.stride.h, o.stride.w);
    HEBB_CHECK(weight.ndim() == 4, "[conv2d] expected a weight of 4 dimensions [O, C/groups, kh, kw], got {}",
               weight.shape().str());
    for (int d = 0; d < 2; ++d) {
      const int64_t total = a.dilation[d] * (weight.shape()[2 + d] - 1);
      a.padding[2 * d] = total / 2;
      a.padding[2 * d + 1] = total - total / 2;
    }
  }
  return bias.defined() ? apply1(ops::conv2d, a, {x, weight, bias}) : apply1(ops::conv2d, a, {x, weight});
}

Tensor conv1d(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv1dOptions& o) {
  if (x.ndim() == 2) return squeeze(conv1d(unsqueeze(x, 0), weight, bias, o), 0);
  HEBB_CHECK(x.ndim() == 3, "[conv1d] expected an input of 3 dimensions [N, C, L], got {}", x.shape().str());
  HEBB_CHECK(weight.ndim() == 3, "[conv1d] expected a weight of 3 dimensions [O, C/groups, k], got {}",
             weight.shape().str());
  Padding padding(0, 0, o.padding.left, o.padding.right);
  padding.same = o.padding.same;
  return squeeze(conv2d(unsqueeze(x, 2), unsqueeze(weight, 2), bias,
                        {{1, o.stride}, padding, {1, o.dilation}, o.groups}),
                 2);
}

Tensor conv_transpose2d(const Tensor& x, const Tensor& weight, const Tensor& bias,
                        const ConvTranspose2dOptions& o) {
  if (x.ndim() == 3) return squeeze(conv_transpose2d(unsqueeze(x, 0), weight, bias, o), 0);
  // Rows and columns added below and right are first those that padding cut there, then zeros.
  const int64_t back_h = std::min(o.padding.h, o.output_padding.h),
                back_w = std::min(o.padding.w, o.output_padding.w);
  Conv2dAttrs a{{o.stride.h, o.stride.w},
                {o.padding.h, o.padding.h - back_h, o.padding.w, o.padding.w - back_w},
                {o.dilation.h, o.dilation.w},
                o.groups,
                {},
                rounds(x)};
  HEBB_CHECK((o.output_padding.h < std::max(o.stride.h, o.dilation.h)) &&
                 (o.output_padding.w < std::max(o.stride.w, o.dilation.w)),
             "[conv_transpose2d] expected output_padding below stride or dilation, got {} and {}",
             o.output_padding.h, o.output_padding.w);
  if (x.ndim() == 4 && weight.ndim() == 4) {
    const Shape &s = x.shape(), &w = weight.shape();
    a.size = {(s[2] - 1) * o.stride.h - 2 * o.padding.h + o.dilation.h * (w[2] - 1) + back_h + 1,
              (s[3] - 1) * o.stride.w - 2 * o.padding.w + o.dilation.w * (w[3] - 1) + back_w + 1};
    // Padding that cuts all there is leaves the zeros that output_padding adds.
    const int64_t h = a.size[0] + o.output_padding.h - back_h, v = a.size[1] + o.output_padding.w - back_w;
    if ((a.size[0] < 1 || a.size[1] < 1) && h >= 1 && v >= 1 && s[1] == w[0] && is_float(x.dtype())) {
      const Tensor y = zeros({s[0], w[1] * o.groups, h, v}, x.dtype());
      return bias.defined() ? y + reshape(bias, {1, -1, 1, 1}) : y;
    }
  }
  Tensor y = apply1(ops::conv2d_input_grad, a, {x, weight});
  const int64_t more_h = o.output_padding.h - back_h, more_w = o.output_padding.w - back_w;
  if (more_h > 0 || more_w > 0) y = pad(y, {0, more_w, 0, more_h});
  return bias.defined() ? y + reshape(bias, {1, -1, 1, 1}) : y;
}

Tensor conv_transpose1d(const Tensor& x, const Tensor& weight, const Tensor& bias,
                        const ConvTranspose1dOptions& o) {
  if (x.ndim() == 2) return squeeze(conv_transpose1d(unsqueeze(x, 0), weight, bias, o), 0);
  HEBB_CHECK(x.ndim() == 3, "[conv_transpose1d] expected an input of 3 dimensions [N, C, L], got {}",
             x.shape().str());
  HEBB_CHECK(weight.ndim() == 3,
             "[conv_transpose1d] expected a weight of 3 dimensions [C, O/groups, k], got {}",
             weight.shape().str());
  return squeeze(
      conv_transpose2d(unsqueeze(x, 2), unsqueeze(weight, 2), bias,
                       {{1, o.stride}, {0, o.padding}, {0, o.output_padding}, o.groups, {1, o.dilation}}),
      2);
}

}  // namespace hebb
