// Resizing of planes, nearest and bilinear. It is linear: op and gradient op are each other's vjp.
#include "hebb/ops/pool.h"
#include "hebb/ops/pool_support.h"
#include "hebb/ops/table.h"
#include "hebb/ops/upsample_attrs.h"

namespace hebb {

using namespace detail;

namespace {

// Calls fn(input position, output position, weight) for every pair of pixels that are connected.
template <class F>
void for_each_connection(const UpsampleAttrs& a, int64_t planes, F fn) {
  const int64_t in_h = a.input[0], in_w = a.input[1], out_h = a.output[0], out_w = a.output[1];
  for (int64_t p = 0; p < planes; ++p) {
    for (int64_t i = 0; i < out_h * out_w; ++i) {
      const SourcePosition row = source_position(a, 0, i / out_w), column = source_position(a, 1, i % out_w);
      auto connect = [&](int64_t h, int64_t w, double weight) {
        if (weight != 0) fn((p * in_h + h) * in_w + w, p * out_h * out_w + i, weight);
      };
      connect(row.first, column.first, (1 - row.weight) * (1 - column.weight));
      connect(row.first, column.second, (1 - row.weight) * column.weight);
      connect(row.second, column.first, row.weight * (1 - column.weight));
      connect(row.second, column.second, row.weight * column.weight);
    }
  }
}

template <bool backward>
void reference_upsample(const ReferenceArgs& s) {
  const std::vector<double> from = values<double>(s.inputs[0]);
  std::vector<double> to(static_cast<size_t>(s.outputs[0].numel()), 0.0);
  for_each_connection(s.attrs.as<UpsampleAttrs>(), planes_of(s.inputs[0].shape()),
                      [&](int64_t in, int64_t out, double weight) {
                        if constexpr (backward) to[in] += from[out] * weight;
                        else to[out] += from[in] * weight;
                      });
  store(s.outputs[0], to);
}

Specs infer_upsample(SpecPtrs in, std::array<int64_t, 2> from, std::array<int64_t, 2> to, const Attrs& attrs,
                     const char* op) {
  const auto& a = attrs.as<UpsampleAttrs>();
  expect_float(*in[0], op, "an input");
  HEBB_CHECK(in[0]->shape.ndim() == 4, "[{}] expected an input of 4 dimensions (NCHW), got {}", op,
             in[0]->shape.str());
  HEBB_CHECK(plane_of(in[0]->shape) == from, "[{}] expected planes of {}x{}, got {}", op, from[0], from[1],
             in[0]->shape.str());
  for (int axis = 0; axis < 2; ++axis)
    HEBB_CHECK(a.input[axis] >= 1 && a.output[axis] >= 1,
               "[{}] expected planes that are not empty, got {}x{} to {}x{}", op, a.input[0], a.input[1],
               a.output[0], a.output[1]);
  HEBB_CHECK(a.bilinear || !a.align_corners, "[{}] expected align_corners with bilinear only, got nearest",
             op);
  return planes_spec(*in[0], to);
}

}  // namespace

namespace ops {

const OpDef upsample2d{
    .name = "upsample2d",
    .doc = "planes resized, nearest or bilinear",
    .infer =
        [](SpecPtrs in, const Attrs& attrs) {
          const auto& a = attrs.as<UpsampleAttrs>();
          return infer_upsample(in, a.input, a.output, attrs, "upsample2d");
        },
    .vjp = [](const VjpArgs& s) -> std::vector<Tensor> {
      return {apply1(upsample2d_grad, s.attrs, {s.grads[0]})};
    },
    .jvp = [](const JvpArgs& s) -> Outputs { return apply1(upsample2d, s.attrs, {s.tangents[0]}); },
    .reference = reference_upsample<false>,
    .samples = []() -> std::vector<Sample> {
      const std::vector<SampleInput> x{{{2, 2, 3, 4}}};
      return {{"nearest", x, UpsampleAttrs{{3, 4}, {6, 8}}},
              {"nearest_uneven", x, UpsampleAttrs{{3, 4}, {7, 3}}},
              {"bilinear", x, UpsampleAttrs{{3, 4}, {6, 8}, {2, 2}, true}},
              {"bilinear_smaller", x, UpsampleAttrs{{3, 4}, {2, 9}, {0, 0}, true}},
              {"corners", x, UpsampleAttrs{{3, 4}, {5, 9}, {0, 0}, true, true}}};
    },
    .error_samples = []() -> std::vector<ErrorSample> {
      const UpsampleAttrs a{{3, 4}, {6, 8}};
      return {{{{{1, 1, 3, 4}, 0, 5, i64}}, a, "expected an input of a floating type, got i64"},
              {{{{1, 3, 4}}}, a, "expected an input of 4 dimensions (NCHW), got 1x3x4"},
              {{{{1, 1, 4, 4}}}, a, "expected planes of 3x4, got 1x1x4x4"},
              {{{{1, 1, 3, 4}}},
               UpsampleAttrs{{3, 4}, {0, 8}},
               "expected planes that are not empty, got 3x4 to 0x8"},
              {{{{1, 1, 3, 4}}},
               UpsampleAttrs{{3, 4}, {6, 8}, {0, 0}, false, true},
               "expected align_corners with bilinear only"}};
    },
    .saves_inputs = 0,
    .never_throws = true};

const OpDef upsample2d_grad{
    .name = "upsample2d_grad",
    .doc = "gradient of upsample2d: each value spread over the pixels it was made from",
    .infer =
        [](SpecPtrs in, const Attrs& attrs) {
          const auto& a = attrs.as<UpsampleAttrs>();
          return infer_upsample(in, a.output, a.input, attrs, "upsample2d_grad");
        },
    .vjp = [](const VjpArgs& s) -> std::vector<Tensor> {
      return {apply1(upsample2d, s.attrs, {s.grads[0]})};
    },
    .jvp = [](const JvpArgs& s) -> Outputs { return apply1(upsample2d_grad, s.attrs, {s.tangents[0]}); },
    .reference = reference_upsample<true>,
    .samples = []() -> std::vector<Sample> {
      return {{"nearest", {{{2, 2, 6, 8}}}, UpsampleAttrs{{3, 4}, {6, 8}}},
              {"nearest_uneven", {{{2, 2, 7, 3}}}, UpsampleAttrs{{3, 4}, {7, 3}}},
              {"bilinear", {{{2, 2, 6, 8}}}, UpsampleAttrs{{3, 4}, {6, 8}, {2, 2}, true}},
              {"corners", {{{2, 2, 5, 9}}}, UpsampleAttrs{{3, 4}, {5, 9}, {0, 0}, true, true}}};
    },
    .error_samples = []() -> std::vector<ErrorSample> {
      return {{{{{1, 1, 3, 4}}}, UpsampleAttrs{{3, 4}, {6, 8}}, "expected planes of 6x8, got 1x1x3x4"}};
    },
    .saves_inputs = 0,
    .never_throws = true};

}  // namespace ops

Tensor interpolate(const Tensor& x, const InterpolateOptions& o) {
  HEBB_CHECK(x.ndim() == 4, "[interpolate] expected an input of 4 dimensions (NCHW), got {}",
             x.shape().str());
  const bool sized = o.size.h != 0 || o.size.w != 0, scaled = o.scale_factor.h != 0 || o.scale_factor.w != 0;
  HEBB_CHECK(sized != scaled, "[interpolate] expected either size or scale_factor, got {}",
             sized ? "both" : "neither");
  UpsampleAttrs a{plane_of(x.shape()), o.size, o.scale_factor, o.mode == Interpolation::bilinear,
                  o.align_corners};
  for (int axis = 0; scaled && axis < 2; ++axis) {
    HEBB_CHECK(a.scale[axis] > 0, "[interpolate] expected scale factors above 0, got {}", a.scale[axis]);
    a.output[axis] = static_cast<int64_t>(std::floor(static_cast<double>(a.input[axis]) * a.scale[axis]));
  }
  return apply1(ops::upsample2d, a, {x});
}

}  // namespace hebb
