#include "hebb/ops/conv_fused.h"

#include "hebb/core/check.h"
#include "hebb/ops/op_support.h"
#include "hebb/ops/table.h"

namespace hebb::ops {
namespace {

using K = FusedOperand;
using detail::Expr;

// What ReLU and batch normalisation before it do on the way back: the gradient where x is positive, and its
// sums over the rows, plain and by x.
const FusedProgram* masked_sums() {
  static const FusedProgram program{
      {K::dense, K::dense},
      {{static_cast<int>(Expr::relu_grad), {0, 0, 1}}, {kColumnSum, {2, -1, -1}}, {kColumnDot, {2, 1, -1}}},
      {3, 2, 4}};
  return kept(program);
}
// Another gradient is added first.
const FusedProgram* added() {
  static const FusedProgram program{{K::dense, K::dense}, {{static_cast<int>(Expr::add), {0, 1, -1}}}, {2}};
  return kept(program);
}

std::vector<Sample> samples() {
  const Conv2dAttrs pointwise{.size = {5, 4}}, tiles{.padding = {1, 1, 1, 1}, .size = {9, 10}},
      strided{.stride = {2, 2}, .padding = {1, 1, 1, 1}, .size = {6, 7}};
  return {{"1x1",
           {{{2, 5, 4, 3}}, {{3, 16, 1, 1}}, {{2, 5, 4, 16}}},
           ConvFusedAttrs{pointwise, masked_sums(), 0}},
          {"3x3", {{{2, 9, 10, 16}}, {{16, 18, 3, 3}}, {{2, 9, 10, 18}}}, ConvFusedAttrs{tiles, added(), 1}},
          {"3x3_s2",
           {{{2, 3, 4, 3}}, {{3, 16, 3, 3}}, {{2, 6, 7, 16}}},
           ConvFusedAttrs{strided, masked_sums(), 0}}};
}

}  // namespace

const OpDef conv2d_input_grad_fused_nhwc{
    .name = "conv2d_input_grad_fused_nhwc",
    .kind = Kind::Contract,
    .doc = "a fused program, one of whose inputs is the input gradient of conv2d on images [N, H, W, C]",
    .infer = [](SpecPtrs in, const Attrs& attrs) -> Specs {
      const auto& a = attrs.as<ConvFusedAttrs>();
      const Specs gradient = conv2d_input_grad_nhwc.infer(in.first(2), a.conv);
      return fused.infer(program_inputs(a, in, &gradient[0]), FusedAttrs{a.program});
    },
    .decompose = [](const Attrs& attrs, std::span<const Tensor> in) -> Outputs {
      const auto& a = attrs.as<ConvFusedAttrs>();
      return apply(fused, FusedAttrs{a.program},
                   program_inputs(a, in, apply(conv2d_input_grad_nhwc, a.conv, in.first(2))[0]));
    },
    .samples = samples,
    .error_samples = []() -> std::vector<ErrorSample> {
      return {{{{{1, 2, 2, 3}}, {{3, 4, 1, 1}}, {{1, 2, 2, 5}}},
               ConvFusedAttrs{Conv2dAttrs{.size = {2, 2}}, added(), 0},
               "expected 16 elements in input 1, got 20"}};
    },
    .multiply_adds =
        [](SpecPtrs in, const Specs&, const Attrs& attrs) {
          const auto& a = attrs.as<ConvFusedAttrs>();
          return conv2d_input_grad_nhwc.multiply_adds(
              in.first(2), conv2d_input_grad_nhwc.infer(in.first(2), a.conv), a.conv);
        }};

}  // namespace hebb::ops
