// Convolutions and linear layers with what follows them. Compiled functions make them: additions and ReLU
// (hebb/graph/passes/join_relu.cpp) happen to sums while they are in registers, mean and variance
// (join_moments.cpp) are of sums that are near.
#include "hebb/core/check.h"
#include "hebb/ops/conv_attrs.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/op_support.h"
#include "hebb/ops/table.h"
#include "hebb/ops/view.h"

namespace hebb::ops {
namespace {

// The op `of` and ReLU.
template <const OpDef& of>
OpDef rectified(std::string_view name, std::string_view doc) {
  return {.name = name,
          .kind = Kind::Contract,
          .doc = doc,
          .infer = [](SpecPtrs in, const Attrs& attrs) { return of.infer(in, attrs); },
          .decompose = [](const Attrs& attrs, std::span<const Tensor> in) -> Outputs {
            return hebb::relu(apply(of, attrs, in)[0]);
          },
          .samples = [] { return of.samples(); },
          .multiply_adds = [](SpecPtrs in, const Specs& out,
                              const Attrs& attrs) { return of.multiply_adds(in, out, attrs); }};
}

}  // namespace

const OpDef linear_relu = rectified<linear>("linear_relu", "relu(x W^T + b)");
const OpDef conv2d_relu_nhwc =
    rectified<conv2d_nhwc>("conv2d_relu_nhwc", "relu(conv2d(x)) of images [N, H, W, C]");

const OpDef conv2d_add_relu_nhwc{
    .name = "conv2d_add_relu_nhwc",
    .kind = Kind::Contract,
    .doc = "relu(conv2d(x) + y) of images [N, H, W, C]",
    .infer = [](SpecPtrs in, const Attrs& attrs) -> Specs {
      const Specs sums = conv2d_nhwc.infer(in.first(3), attrs);
      HEBB_CHECK(in[3]->shape == sums[0].shape && in[3]->dtype == sums[0].dtype,
                 "[conv2d_add_relu_nhwc] expected images like those of the convolution ({} {}) to be added, "
                 "got {} {}",
                 name_of(sums[0].dtype), sums[0].shape.str(), name_of(in[3]->dtype), in[3]->shape.str());
      return sums;
    },
    .decompose = [](const Attrs& attrs, std::span<const Tensor> in) -> Outputs {
      return hebb::relu(apply(conv2d_nhwc, attrs, in.first(3))[0] + in[3]);
    },
    .samples = []() -> std::vector<Sample> {
      // A product, gathered rows, Winograd's tiles that hang over, a first layer.
      return {
          {"1x1", {{{2, 3, 5, 6}}, {{7, 6, 1, 1}}, {{7}}, {{2, 3, 5, 7}}}, Conv2dAttrs{}},
          {"3x3_s2", {{{2, 5, 6, 8}}, {{4, 8, 3, 3}}, {{4}}, {{2, 2, 2, 4}}}, Conv2dAttrs{.stride = {2, 2}}},
          {"3x3",
           {{{2, 6, 6, 16}}, {{18, 16, 3, 3}}, {{18}}, {{2, 6, 6, 18}}},
           Conv2dAttrs{.padding = {1, 1, 1, 1}}},
          {"first", {{{1, 4, 4, 3}}, {{16, 3, 2, 2}}, {{16}}, {{1, 3, 3, 16}}}, Conv2dAttrs{}}};
    },
    .error_samples = []() -> std::vector<ErrorSample> {
      return {{{{{1, 3, 3, 2}}, {{4, 2, 1, 1}}, {{4}}, {{1, 3, 3, 1}}},
               Conv2dAttrs{},
               "expected images like those of the convolution (f32 1x3x3x4) to be added, got f32 1x3x3x1"}};
    },
    .multiply_adds = [](SpecPtrs in, const Specs& out,
                        const Attrs& attrs) { return conv2d_nhwc.multiply_adds(in.first(3), out, attrs); }};

const OpDef conv2d_moments_nhwc{
    .name = "conv2d_moments_nhwc",
    .kind = Kind::Contract,
    .doc = "conv2d(x) of images [N, H, W, C], and the mean and biased variance of each of its channels",
    .infer = [](SpecPtrs in, const Attrs& attrs) -> Specs {
      Specs out = conv2d_nhwc.infer(in, attrs);
      const TensorSpec channels(Shape{out[0].shape[3]}, out[0].dtype, out[0].device);
      out.push_back(channels);
      out.push_back(channels);
      return out;
    },
    .decompose = [](const Attrs& attrs, std::span<const Tensor> in) -> Outputs {
      const Tensor y = apply(conv2d_nhwc, attrs, in)[0];
      const Shape& s = y.shape();
      const Outputs moments =
          apply(batch_norm_moments, detail::NoAttrs{}, {{hebb::reshape(y, {s[0] * s[1] * s[2], s[3]})}});
      return {y, moments[0], moments[1]};
    },
    .samples = []() -> std::vector<Sample> {
      std::vector<Sample> some = conv2d_nhwc.samples();  // but those without outputs, whose mean is no number
      std::erase_if(some, [](const Sample& s) { return s.inputs[0].shape.numel() == 0; });
      return some;
    },
    .multiply_adds = [](SpecPtrs in, const Specs& out,
                        const Attrs& attrs) { return conv2d_nhwc.multiply_adds(in, out, attrs); }};

}  // namespace hebb::ops
