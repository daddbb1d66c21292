// Convolutions and the max pooling by 2x2 windows that follows them. Compiled functions make them
// (hebb/graph/passes/join_pool.cpp): outputs are pooled while they are near.
#include "hebb/ops/conv_attrs.h"
#include "hebb/ops/op_support.h"
#include "hebb/ops/pool_attrs.h"
#include "hebb/ops/table.h"

namespace hebb::ops {
namespace {

Attrs windows() { return MaxPoolAttrs{{2, 2}, {2, 2}}; }

Specs infer_pooled(SpecPtrs in, const Attrs& attrs, bool places) {
  const TensorSpec sums = conv2d.infer(in, attrs)[0];
  const TensorSpec* const given = &sums;
  const Specs both = max_pool2d.infer(SpecPtrs(&given, 1), windows());
  return places ? both : Specs(both[0]);
}

Outputs pool(const Attrs& attrs, std::span<const Tensor> in) {
  const Tensor sums[] = {apply(conv2d, attrs, in)[0]};
  return apply(max_pool2d, windows(), sums);
}

Sample sample(const char* name, Shape x, Shape w, Conv2dAttrs attrs) {
  return {name, {{x}, {w}, {{w[0]}}}, attrs};
}
// Few windows, of none of which rounding chooses the place.
std::vector<Sample> samples_with_places() {
  return {sample("few_images", {2, 1, 3, 4}, {2, 1, 2, 2}, {}),
          sample("narrow", {9, 2, 3, 3}, {1, 2, 2, 2}, {})};
}
// Whole windows and a rest, padding, several blocks of images, kernels 5 wide and others.
std::vector<Sample> samples_of_values() {
  return {sample("few_images", {2, 3, 6, 7}, {4, 3, 3, 3}, {}),
          sample("narrow", {9, 2, 5, 5}, {7, 2, 3, 2}, {.padding = {1, 1, 0, 1}}),
          sample("by_rows", {9, 1, 5, 10}, {6, 1, 5, 5}, {.padding = {2, 2, 2, 2}}),
          {"no_bias", {{{9, 3, 6, 9}}, {{2, 3, 5, 5}}}, Conv2dAttrs{}}};
}

int64_t work(SpecPtrs in, const Specs&, const Attrs& attrs) {
  return conv2d.multiply_adds(in, conv2d.infer(in, attrs), attrs);
}

}  // namespace

const OpDef conv2d_max_pool2d{
    .name = "conv2d_max_pool2d",
    .kind = Kind::Contract,
    .doc = "max_pool2d(conv2d(x), 2): values, and their positions in the plane of the convolution",
    .infer = [](SpecPtrs in, const Attrs& attrs) { return infer_pooled(in, attrs, true); },
    .decompose = [](const Attrs& attrs, std::span<const Tensor> in) -> Outputs { return pool(attrs, in); },
    .samples = samples_with_places,
    .multiply_adds = work};

const OpDef conv2d_max_pool2d_values{
    .name = "conv2d_max_pool2d_values",
    .kind = Kind::Contract,
    .doc = "max_pool2d(conv2d(x), 2)",
    .infer = [](SpecPtrs in, const Attrs& attrs) { return infer_pooled(in, attrs, false); },
    .decompose = [](const Attrs& attrs, std::span<const Tensor> in) -> Outputs { return pool(attrs, in)[0]; },
    .samples = samples_of_values,
    .multiply_adds = work};

}  // namespace hebb::ops
