// Convolutions and linear layers with the ReLU that follows them. Compiled functions make them
// (hebb/graph/passes/join_relu.cpp): sums are rectified while they are in registers.
#include "hebb/ops/elementwise.h"
#include "hebb/ops/op_support.h"
#include "hebb/ops/table.h"

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

}  // namespace hebb::ops
