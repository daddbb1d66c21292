// Max pooling, its gradient, and unpooling. Where a maximum stood is an output of the op, so that the
// gradient and unpooling are scatters by index, and their gradients gathers.
#include "hebb/ops/pool.h"

#include <cmath>
#include <limits>

#include "hebb/ops/elementwise.h"
#include "hebb/ops/pool_attrs.h"
#include "hebb/ops/pool_support.h"
#include "hebb/ops/table.h"
#include "hebb/ops/view.h"

namespace hebb {

using namespace detail;

namespace {

Specs values_and_indices(const TensorSpec& x, std::array<int64_t, 2> plane) {
  const Shape shape = with_plane(x.shape, plane);
  return {TensorSpec(shape, x.dtype, x.device), TensorSpec(shape, i64, x.device)};
}

// Positions that a window covers along one axis: begin, begin + step, … below end.
struct Window {
  int64_t begin, end, step;
};

// The largest value of each window and its position. window(axis, i) gives window i along an axis.
template <class F>
void reference_max(const ReferenceArgs& s, F window) {
  const Shape &in = s.inputs[0].shape(), &out = s.outputs[0].shape();
  const int64_t in_w = plane_extent(in, 1), in_plane = plane_extent(in, 0) * in_w;
  const std::vector<double> x = values<double>(s.inputs[0]);
  std::vector<double> best;
  std::vector<int64_t> where;
  for (int64_t p = 0; p < planes_of(in); ++p) {
    for (int64_t oh = 0; oh < plane_extent(out, 0); ++oh) {
      for (int64_t ow = 0; ow < plane_extent(out, 1); ++ow) {
        const Window rows = window(0, oh), columns = window(1, ow);
        double m = -std::numeric_limits<double>::infinity();
        int64_t at = rows.begin * in_w + columns.begin;
        for (int64_t h = rows.begin; h < rows.end; h += rows.step) {
          for (int64_t w = columns.begin; w < columns.end; w += columns.step) {
            const double v = x[p * in_plane + h * in_w + w];
            if (!(v > m) && !std::isnan(v)) continue;
            m = v;
            at = h * in_w + w;
          }
        }
        best.push_back(m);
        where.push_back(at);
      }
    }
  }
  store(s.outputs[0], best);
  store(s.outputs[1], where);
}

// The gradient of both kinds of max pooling with respect to x, and its tangent.
std::vector<Tensor> vjp_max(const VjpArgs& s) {
  return {
      apply1(ops::max_pool2d_grad, PlaneAttrs{plane_of(s.inputs[0].shape())}, {s.grads[0], s.outputs[1]})};
}
Outputs jvp_max(const JvpArgs& s) {
  return {apply1(ops::max_pool2d_gather, NoAttrs{}, {s.tangents[0], s.outputs[1]}), Tensor()};
}

// Calls fn(position in the small tensor, position in the large one) for each index, which it checks.
template <class F>
void for_each_place(const char* op, const Tensor& indices, const Shape& large, F fn) {
  const std::vector<int64_t> where = values<int64_t>(indices);
  const int64_t plane = plane_extent(large, 0) * plane_extent(large, 1),
                small_plane = plane_extent(indices.shape(), 0) * plane_extent(indices.shape(), 1);
  for (int64_t i = 0; i < indices.numel(); ++i) {
    HEBB_CHECK(where[i] >= 0 && where[i] < plane, "[{}] expected indices below {} (a plane of {}x{}), got {}",
               op, plane, plane_extent(large, 0), plane_extent(large, 1), where[i]);
    fn(i, i / small_plane * plane + where[i]);
  }
}

void check_indices(SpecPtrs in, const char* op) {
  expect_planes(*in[0], op);
  expect_index(*in[1], op, "indices");
}
void check_same_shape(SpecPtrs in, const char* op) {
  HEBB_CHECK(in[0]->shape == in[1]->shape, "[{}] expected an index for each value ({}), got {}", op,
             in[0]->shape.str(), in[1]->shape.str());
}

template <bool add>
void reference_scatter(const char* op, const ReferenceArgs& s) {
  const std::vector<double> x = values<double>(s.inputs[0]);
  std::vector<double> y(static_cast<size_t>(s.outputs[0].numel()), 0.0);
  for_each_place(op, s.inputs[1], s.outputs[0].shape(),
                 [&](int64_t from, int64_t to) { y[to] = add ? y[to] + x[from] : x[from]; });
  store(s.outputs[0], y);
}

Specs infer_scatter(SpecPtrs in, const Attrs& attrs, const char* op) {
  check_indices(in, op);
  check_same_shape(in, op);
  const auto& plane = attrs.as<PlaneAttrs>().plane;
  HEBB_CHECK(plane[0] >= 0 && plane[1] >= 0, "[{}] expected an output size of at least 0, got {}x{}", op,
             plane[0], plane[1]);
  return planes_spec(*in[0], plane);
}

// Different indices within each plane of 2x2 values, below 24.
const SampleInput kIndices{{2, 3, 2, 2}, 0, 24, i64, SampleInput::Fill::distinct};
const SampleInput kDistinct{{2, 3, 2, 2}, -2, 2, f32, SampleInput::Fill::distinct};

std::vector<ErrorSample> scatter_errors() {
  const PlaneAttrs plane{{4, 6}};
  return {
      {{{{2, 2}}, {{2, 2}, 0, 4, i64}}, plane, "expected an input of 3 or 4 dimensions"},
      {{{{1, 2, 2}, 0, 4, i64}, {{1, 2, 2}, 0, 4, i64}}, plane, "expected an input of a floating type"},
      {{{{1, 2, 2}}, {{1, 2, 2}}}, plane, "expected indices of i64 or i32, got f32"},
      {{{{1, 2, 2}}, {{1, 2, 1}, 0, 4, i64}}, plane, "expected an index for each value (1x2x2), got 1x2x1"},
      {{{{1, 2, 2}}, {{1, 2, 2}, 0, 4, i64}}, PlaneAttrs{{-1, 2}}, "expected an output size of at least 0"},
      {{{{1, 2, 2}}, {{1, 2, 2}, 24, 25, i64}}, plane, "expected indices below 24 (a plane of 4x6), got 24"}};
}

}  // namespace

namespace ops {

const OpDef max_pool2d{
    .name = "max_pool2d",
    .doc = "largest value of each window, and its position in the plane",
    .infer =
        [](SpecPtrs in, const Attrs& attrs) {
          expect_planes(*in[0], "max_pool2d");
          const auto& a = attrs.as<MaxPoolAttrs>();
          std::array<int64_t, 2> plane;
          for (int axis = 0; axis < 2; ++axis)
            plane[axis] =
                pooled_extent(a, axis, a.dilation[axis], plane_extent(in[0]->shape, axis), "max_pool2d");
          return values_and_indices(*in[0], plane);
        },
    .vjp = vjp_max,
    .jvp = jvp_max,
    .reference =
        [](const ReferenceArgs& s) {
          const auto& a = s.attrs.as<MaxPoolAttrs>();
          reference_max(s, [&](int axis, int64_t i) {
            const int64_t extent = plane_extent(s.inputs[0].shape(), axis), apart = a.dilation[axis];
            int64_t begin = i * a.stride[axis] - a.padding[axis];
            const int64_t end = begin + (a.kernel[axis] - 1) * apart + 1;
            while (begin < 0) begin += apart;
            return Window{begin, std::min(end, extent), apart};
          });
        },
    .samples = []() -> std::vector<Sample> {
      auto sample = [](const char* name, Shape shape, MaxPoolAttrs a) {
        return Sample{name, {{shape, -2, 2, f32, SampleInput::Fill::distinct}}, a};
      };
      return {sample("2x2", {2, 3, 4, 6}, {{2, 2}, {2, 2}}),
              sample("2x2_odd", {1, 2, 7, 37}, {{2, 2}, {2, 2}}),
              sample("unbatched", {2, 5, 5}, {{2, 3}, {1, 2}}),
              sample("padded", {1, 2, 5, 6}, {{3, 3}, {2, 2}, {1, 1}}),
              sample("ceil", {1, 2, 6, 5}, {{3, 2}, {2, 2}, {1, 1}, {1, 1}, true}),
              sample("dilated", {1, 2, 7, 8}, {{3, 2}, {1, 2}, {1, 0}, {2, 3}})};
    },
    .error_samples = []() -> std::vector<ErrorSample> {
      const MaxPoolAttrs two{{2, 2}, {2, 2}};
      return {{{{{4, 4}}}, two, "expected an input of 3 or 4 dimensions (CHW or NCHW), got 4x4"},
              {{{{1, 4, 4}, 0, 5, i64}}, two, "expected an input of a floating type, got i64"},
              {{{{1, 4, 4}}}, MaxPoolAttrs{{0, 2}, {2, 2}}, "of at least 1, got 0, 2 and 1"},
              {{{{1, 4, 4}}}, MaxPoolAttrs{{2, 2}, {2, 2}, {2, 2}}, "at most half the kernel (2), got 2"},
              {{{{1, 2, 4}}},
               MaxPoolAttrs{{3, 3}, {1, 1}},
               "expected windows that fit into 2 + 2 * 0 places, got 3"}};
    },
    .saves_inputs = 0,
    .saves_outputs = 2,
    .never_throws = true};

const OpDef adaptive_max_pool2d{
    .name = "adaptive_max_pool2d",
    .doc = "largest value of each of a given number of windows, and its position in the plane",
    .infer =
        [](SpecPtrs in, const Attrs& attrs) {
          const auto& a = attrs.as<AdaptivePoolAttrs>();
          check_adaptive(a, *in[0], "adaptive_max_pool2d");
          return values_and_indices(*in[0], a.output);
        },
    .vjp = vjp_max,
    .jvp = jvp_max,
    .reference =
        [](const ReferenceArgs& s) {
          const auto& a = s.attrs.as<AdaptivePoolAttrs>();
          reference_max(s, [&](int axis, int64_t i) {
            const int64_t extent = plane_extent(s.inputs[0].shape(), axis);
            return Window{adaptive_begin(i, extent, a.output[axis]), adaptive_end(i, extent, a.output[axis]),
                          1};
          });
        },
    .samples = []() -> std::vector<Sample> {
      const auto distinct = SampleInput::Fill::distinct;
      return {{"uneven", {{{2, 2, 5, 7}, -2, 2, f32, distinct}}, AdaptivePoolAttrs{{3, 2}}},
              {"global", {{{2, 3, 4, 5}, -2, 2, f32, distinct}}, AdaptivePoolAttrs{}},
              {"larger", {{{1, 2, 3}, -2, 2, f32, distinct}}, AdaptivePoolAttrs{{3, 5}}}};
    },
    .error_samples = []() -> std::vector<ErrorSample> {
      return {
          {{{{4, 4}}}, AdaptivePoolAttrs{}, "expected an input of 3 or 4 dimensions"},
          {{{{1, 4, 4}, 0, 5, i64}}, AdaptivePoolAttrs{}, "expected an input of a floating type, got i64"},
          {{{{1, 4, 4}}}, AdaptivePoolAttrs{{0, 1}}, "expected an output size of at least 1, got 0"},
          {{{{1, 0, 4}}}, AdaptivePoolAttrs{}, "expected planes that are not empty, got 1x0x4"}};
    },
    .saves_inputs = 0,
    .saves_outputs = 2,
    .never_throws = true};

const OpDef max_pool2d_grad{
    .name = "max_pool2d_grad",
    .doc = "gradient of max pooling: each value added to its position in a plane of zeros",
    .infer = [](SpecPtrs in, const Attrs& a) { return infer_scatter(in, a, "max_pool2d_grad"); },
    .vjp = [](const VjpArgs& s) -> std::vector<Tensor> {
      return {apply1(max_pool2d_gather, NoAttrs{}, {s.grads[0], s.inputs[1]}), Tensor()};
    },
    .jvp = [](const JvpArgs& s) -> Outputs {
      return apply1(max_pool2d_grad, s.attrs, {s.tangents[0], s.inputs[1]});
    },
    .reference = [](const ReferenceArgs& s) { reference_scatter<true>("max_pool2d_grad", s); },
    .samples = []() -> std::vector<Sample> {
      const SampleInput repeated{{2, 3, 2, 2}, 0, 3, i64, SampleInput::Fill::integers};
      return {{"distinct", {kDistinct, kIndices}, PlaneAttrs{{4, 6}}},
              {"repeated", {kDistinct, repeated}, PlaneAttrs{{3, 1}}}};
    },
    .error_samples = scatter_errors,
    .saves_inputs = 2};

const OpDef max_pool2d_gather{
    .name = "max_pool2d_gather",
    .doc = "the values of each plane at given positions: the gradient of max_pool2d_grad",
    .infer =
        [](SpecPtrs in, const Attrs&) {
          check_indices(in, "max_pool2d_gather");
          const Shape &x = in[0]->shape, &at = in[1]->shape;
          HEBB_CHECK(x.ndim() == at.ndim() && with_plane(x, {1, 1}) == with_plane(at, {1, 1}),
                     "[max_pool2d_gather] expected indices for the planes of {}, got {}", x.str(), at.str());
          return Specs(TensorSpec(at, in[0]->dtype, in[0]->device));
        },
    .vjp = [](const VjpArgs& s) -> std::vector<Tensor> {
      return {apply1(max_pool2d_grad, PlaneAttrs{plane_of(s.inputs[0].shape())}, {s.grads[0], s.inputs[1]}),
              Tensor()};
    },
    .jvp = [](const JvpArgs& s) -> Outputs {
      return apply1(max_pool2d_gather, s.attrs, {s.tangents[0], s.inputs[1]});
    },
    .reference =
        [](const ReferenceArgs& s) {
          const std::vector<double> x = values<double>(s.inputs[0]);
          std::vector<double> y(static_cast<size_t>(s.outputs[0].numel()));
          for_each_place("max_pool2d_gather", s.inputs[1], s.inputs[0].shape(),
                         [&](int64_t small, int64_t large) { y[small] = x[large]; });
          store(s.outputs[0], y);
        },
    .samples = []() -> std::vector<Sample> {
      return {{"4x6", {{{2, 3, 4, 6}}, kIndices}, NoAttrs{}}};
    },
    .error_samples = []() -> std::vector<ErrorSample> {
      return {{{{{2, 2}}, {{2, 2}, 0, 4, i64}}, NoAttrs{}, "expected an input of 3 or 4 dimensions"},
              {{{{1, 2, 2}, 0, 4, i64}, {{1, 2, 2}, 0, 4, i64}},
               NoAttrs{},
               "expected an input of a floating type"},
              {{{{1, 2, 2}}, {{1, 2, 2}}}, NoAttrs{}, "expected indices of i64 or i32, got f32"},
              {{{{1, 2, 2}}, {{2, 2, 2}, 0, 4, i64}},
               NoAttrs{},
               "expected indices for the planes of 1x2x2, got 2x2x2"},
              {{{{1, 2, 2}}, {{1, 2, 2}, 4, 5, i64}},
               NoAttrs{},
               "expected indices below 4 (a plane of 2x2), got 4"}};
    },
    .saves_inputs = 2};

const OpDef max_unpool2d{
    .name = "max_unpool2d",
    .doc = "each value at its position in a plane of zeros; the last one where several share it",
    .infer = [](SpecPtrs in, const Attrs& a) { return infer_scatter(in, a, "max_unpool2d"); },
    .vjp = [](const VjpArgs& s) -> std::vector<Tensor> {
      return {apply1(max_pool2d_gather, NoAttrs{}, {s.grads[0], s.inputs[1]}), Tensor()};
    },
    .jvp = [](const JvpArgs& s) -> Outputs {
      return apply1(max_unpool2d, s.attrs, {s.tangents[0], s.inputs[1]});
    },
    .reference = [](const ReferenceArgs& s) { reference_scatter<false>("max_unpool2d", s); },
    .samples = []() -> std::vector<Sample> {
      return {{"4x6", {kDistinct, kIndices}, PlaneAttrs{{4, 6}}}};
    },
    .error_samples = scatter_errors,
    .saves_inputs = 2};

const OpDef unpool_zero_fill2d{
    .name = "unpool_zero_fill2d",
    .doc = "each value in the upper left corner of a block of zeros",
    .infer =
        [](SpecPtrs in, const Attrs& attrs) {
          expect_planes(*in[0], "unpool_zero_fill2d");
          const auto& stride = attrs.as<UnpoolAttrs>().stride;
          HEBB_CHECK(stride[0] >= 1 && stride[1] >= 1,
                     "[unpool_zero_fill2d] expected a stride of at least 1, got {} and {}", stride[0],
                     stride[1]);
          const auto [h, w] = plane_of(in[0]->shape);
          return planes_spec(*in[0], {h * stride[0], w * stride[1]});
        },
    .vjp = [](const VjpArgs& s) -> std::vector<Tensor> {
      const auto& stride = s.attrs.as<UnpoolAttrs>().stride;
      return {hebb::slice(hebb::slice(s.grads[0], -2, 0, INT64_MAX, stride[0]), -1, 0, INT64_MAX, stride[1])};
    },
    .jvp = [](const JvpArgs& s) -> Outputs { return apply1(unpool_zero_fill2d, s.attrs, {s.tangents[0]}); },
    .reference =
        [](const ReferenceArgs& s) {
          const auto& stride = s.attrs.as<UnpoolAttrs>().stride;
          const auto [h, w] = plane_of(s.inputs[0].shape());
          const std::vector<double> x = values<double>(s.inputs[0]);
          std::vector<double> y(static_cast<size_t>(s.outputs[0].numel()), 0.0);
          for (int64_t i = 0; i < s.inputs[0].numel(); ++i) {
            const int64_t row = i / w;  // of all planes: h * stride rows make a plane of the output
            y[row * stride[0] * w * stride[1] + i % w * stride[1]] = x[i];
          }
          store(s.outputs[0], y);
        },
    .samples = []() -> std::vector<Sample> {
      return {{"2x2", {{{2, 2, 3, 4}}}, UnpoolAttrs{{2, 2}}}, {"1x3", {{{2, 3, 2}}}, UnpoolAttrs{{1, 3}}}};
    },
    .error_samples = []() -> std::vector<ErrorSample> {
      return {{{{{4, 4}}}, UnpoolAttrs{}, "expected an input of 3 or 4 dimensions"},
              {{{{1, 4, 4}, 0, 5, i64}}, UnpoolAttrs{}, "expected an input of a floating type, got i64"},
              {{{{1, 4, 4}}}, UnpoolAttrs{{0, 1}}, "expected a stride of at least 1, got 0 and 1"}};
    },
    .saves_inputs = 0};

}  // namespace ops

std::pair<Tensor, Tensor> max_pool2d_with_indices(const Tensor& x, Size2 kernel, const MaxPool2dOptions& o) {
  const Size2 stride(o.stride.h ? o.stride.h : kernel.h, o.stride.w ? o.stride.w : kernel.w);
  const Outputs out = apply(ops::max_pool2d, MaxPoolAttrs{kernel, stride, o.padding, o.dilation, o.ceil_mode},
                            std::span(&x, 1));
  return {out[0], out[1]};
}
Tensor max_pool2d(const Tensor& x, Size2 kernel, const MaxPool2dOptions& o) {
  return max_pool2d_with_indices(x, kernel, o).first;
}

std::pair<Tensor, Tensor> max_pool1d_with_indices(const Tensor& x, int64_t kernel,
                                                  const MaxPool1dOptions& o) {
  HEBB_CHECK(x.ndim() == 2 || x.ndim() == 3,
             "[max_pool1d] expected an input of 2 or 3 dimensions (CL or NCL), got {}", x.shape().str());
  const auto [y, indices] =
      max_pool2d_with_indices(unsqueeze(x, -2), Size2(1, kernel),
                              {{o.stride ? 1 : 0, o.stride}, {0, o.padding}, {1, o.dilation}, o.ceil_mode});
  return {squeeze(y, -2), squeeze(indices, -2)};
}
Tensor max_pool1d(const Tensor& x, int64_t kernel, const MaxPool1dOptions& o) {
  return max_pool1d_with_indices(x, kernel, o).first;
}

std::pair<Tensor, Tensor> adaptive_max_pool2d_with_indices(const Tensor& x, Size2 output_size) {
  const Outputs out = apply(ops::adaptive_max_pool2d, AdaptivePoolAttrs{output_size}, std::span(&x, 1));
  return {out[0], out[1]};
}
Tensor adaptive_max_pool2d(const Tensor& x, Size2 output_size) {
  return adaptive_max_pool2d_with_indices(x, output_size).first;
}

Tensor max_unpool2d(const Tensor& x, const Tensor& indices, Size2 output_size) {
  return apply1(ops::max_unpool2d, PlaneAttrs{output_size}, {x, indices});
}
Tensor unpool_zero_fill2d(const Tensor& x, Size2 stride) {
  return apply1(ops::unpool_zero_fill2d, UnpoolAttrs{stride}, {x});
}

}  // namespace hebb
