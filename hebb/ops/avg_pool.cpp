// Average pooling over given and adaptive windows. Both are linear: op and gradient op are each other's vjp.
#include "hebb/ops/elementwise.h"
#include "hebb/ops/pool.h"
#include "hebb/ops/pool_attrs.h"
#include "hebb/ops/pool_support.h"
#include "hebb/ops/table.h"
#include "hebb/ops/view.h"

namespace hebb {

using namespace detail;

namespace {

// Places that a window covers along one axis, and how many it counts as.
struct Window {
  int64_t begin, end, counted;
};

// window(axis, i) of the small plane's position i over the large plane; 0 divisor: the places counted.
// Spreads small over large, or folds large into small.
template <bool spread, class F>
void reference_average(const ReferenceArgs& s, int64_t divisor, F window) {
  const std::vector<double> from = values<double>(s.inputs[0]);
  std::vector<double> to(static_cast<size_t>(s.outputs[0].numel()), 0.0);
  const Shape& small = spread ? s.inputs[0].shape() : s.outputs[0].shape();
  const Shape& large = spread ? s.outputs[0].shape() : s.inputs[0].shape();
  const auto [small_h, small_w] = plane_of(small);
  const auto [large_h, large_w] = plane_of(large);
  for (int64_t i = 0; i < small.numel(); ++i) {
    const int64_t plane = i / (small_h * small_w);
    const Window rows = window(0, i / small_w % small_h), columns = window(1, i % small_w);
    const auto count = static_cast<double>(divisor ? divisor : rows.counted * columns.counted);
    for (int64_t h = rows.begin; h < rows.end; ++h) {
      for (int64_t w = columns.begin; w < columns.end; ++w) {
        const int64_t j = (plane * large_h + h) * large_w + w;
        if constexpr (spread) to[j] += from[i] / count;
        else to[i] += from[j] / count;
      }
    }
  }
  store(s.outputs[0], to);
}

template <bool spread>
void reference_avg_pool(const ReferenceArgs& s) {
  const auto& a = s.attrs.as<AvgPoolAttrs>();
  const Shape& large = spread ? s.outputs[0].shape() : s.inputs[0].shape();
  reference_average<spread>(s, a.divisor, [&](int axis, int64_t i) {
    const int64_t in = plane_extent(large, axis), start = i * a.stride[axis] - a.padding[axis],
                  stop = std::min(start + a.kernel[axis], in + a.padding[axis]);
    const int64_t begin = std::max<int64_t>(start, 0), end = std::min(stop, in);
    return Window{begin, end, a.count_include_pad ? stop - start : end - begin};
  });
}
template <bool spread>
void reference_adaptive(const ReferenceArgs& s) {
  const auto& a = s.attrs.as<AdaptivePoolAttrs>();
  const Shape& large = spread ? s.outputs[0].shape() : s.inputs[0].shape();
  reference_average<spread>(s, 0, [&](int axis, int64_t i) {
    const int64_t in = plane_extent(large, axis), begin = adaptive_begin(i, in, a.output[axis]),
                  end = adaptive_end(i, in, a.output[axis]);
    return Window{begin, end, end - begin};
  });
}

// The plane that average pooling gives; checks its attributes.
std::array<int64_t, 2> pooled_plane(const AvgPoolAttrs& a, std::array<int64_t, 2> in, const char* op) {
  HEBB_CHECK(a.divisor >= 0, "[{}] expected a divisor_override above 0 (or 0 for none), got {}", op,
             a.divisor);
  return {pooled_extent(a, 0, 1, in[0], op), pooled_extent(a, 1, 1, in[1], op)};
}
// The gradient ops take the pooled plane back to that of `input`.
void check_pooled(const TensorSpec& g, std::array<int64_t, 2> plane, const char* op) {
  HEBB_CHECK(plane_of(g.shape) == plane, "[{}] expected planes of {}x{}, got {}", op, plane[0], plane[1],
             g.shape.str());
}

template <class A>
A with_input(A a, const Shape& x) {
  a.input = plane_of(x);
  return a;
}

}  // namespace

namespace ops {

const OpDef avg_pool2d{
    .name = "avg_pool2d",
    .doc = "mean of each window",
    .infer =
        [](SpecPtrs in, const Attrs& attrs) {
          expect_planes(*in[0], "avg_pool2d");
          const auto plane = pooled_plane(attrs.as<AvgPoolAttrs>(), plane_of(in[0]->shape), "avg_pool2d");
          return planes_spec(*in[0], plane);
        },
    .vjp = [](const VjpArgs& s) -> std::vector<Tensor> {
      return {
          apply1(avg_pool2d_grad, with_input(s.attrs.as<AvgPoolAttrs>(), s.inputs[0].shape()), {s.grads[0]})};
    },
    .jvp = [](const JvpArgs& s) -> Outputs { return apply1(avg_pool2d, s.attrs, {s.tangents[0]}); },
    .reference = reference_avg_pool<false>,
    .samples = []() -> std::vector<Sample> {
      return {{"2x2", {{{2, 3, 4, 6}}}, AvgPoolAttrs{{2, 2}, {2, 2}}},
              {"unbatched", {{{2, 5, 5}}}, AvgPoolAttrs{{2, 3}, {1, 2}}},
              {"padded", {{{1, 2, 5, 6}}}, AvgPoolAttrs{{3, 3}, {2, 2}, {1, 1}}},
              {"without_pad", {{{1, 2, 5, 6}}}, AvgPoolAttrs{{3, 3}, {2, 2}, {1, 1}, false, false}},
              {"ceil", {{{1, 2, 6, 5}}}, AvgPoolAttrs{{3, 2}, {2, 2}, {1, 1}, true, true}},
              {"divisor", {{{1, 2, 6, 5}}}, AvgPoolAttrs{{3, 2}, {2, 1}, {1, 0}, true, false, 5}}};
    },
    .error_samples = []() -> std::vector<ErrorSample> {
      const AvgPoolAttrs two{{2, 2}, {2, 2}};
      return {{{{{4, 4}}}, two, "expected an input of 3 or 4 dimensions (CHW or NCHW), got 4x4"},
              {{{{1, 4, 4}, 0, 5, i64}}, two, "expected an input of a floating type, got i64"},
              {{{{1, 4, 4}}}, AvgPoolAttrs{{2, 2}, {2, 0}}, "of at least 1, got 2, 0 and 1"},
              {{{{1, 4, 4}}}, AvgPoolAttrs{{2, 2}, {2, 2}, {0, 2}}, "at most half the kernel (2), got 2"},
              {{{{1, 2, 4}}}, AvgPoolAttrs{{3, 3}}, "expected windows that fit into 2 + 2 * 0 places, got 3"},
              {{{{1, 4, 4}}},
               AvgPoolAttrs{{2, 2}, {2, 2}, {0, 0}, false, true, -1},
               "expected a divisor_override"}};
    },
    .saves_inputs = 0,
    .never_throws = true};

const OpDef avg_pool2d_grad{
    .name = "avg_pool2d_grad",
    .doc = "gradient of avg_pool2d: each value spread evenly over its window",
    .infer =
        [](SpecPtrs in, const Attrs& attrs) {
          const auto& a = attrs.as<AvgPoolAttrs>();
          expect_planes(*in[0], "avg_pool2d_grad");
          check_pooled(*in[0], pooled_plane(a, a.input, "avg_pool2d_grad"), "avg_pool2d_grad");
          return planes_spec(*in[0], a.input);
        },
    .vjp = [](const VjpArgs& s) -> std::vector<Tensor> {
      return {apply1(avg_pool2d, s.attrs, {s.grads[0]})};
    },
    .jvp = [](const JvpArgs& s) -> Outputs { return apply1(avg_pool2d_grad, s.attrs, {s.tangents[0]}); },
    .reference = reference_avg_pool<true>,
    .samples = []() -> std::vector<Sample> {
      return {{"2x2", {{{2, 3, 2, 3}}}, AvgPoolAttrs{{2, 2}, {2, 2}, {0, 0}, false, true, 0, {5, 6}}},
              {"padded", {{{1, 2, 3, 3}}}, AvgPoolAttrs{{3, 3}, {2, 2}, {1, 1}, false, false, 0, {5, 6}}},
              {"ceil", {{{1, 2, 4, 3}}}, AvgPoolAttrs{{3, 2}, {2, 2}, {1, 1}, true, true, 0, {6, 5}}},
              {"divisor", {{{2, 4, 4}}}, AvgPoolAttrs{{3, 2}, {2, 1}, {1, 0}, true, false, 5, {6, 5}}}};
    },
    .error_samples = []() -> std::vector<ErrorSample> {
      const AvgPoolAttrs a{{2, 2}, {2, 2}, {0, 0}, false, true, 0, {4, 4}};
      return {{{{{2, 2}}}, a, "expected an input of 3 or 4 dimensions"},
              {{{{1, 2, 3}}}, a, "expected planes of 2x2, got 1x2x3"}};
    },
    .saves_inputs = 0,
    .never_throws = true};

const OpDef adaptive_avg_pool2d{
    .name = "adaptive_avg_pool2d",
    .doc = "mean of each of a given number of windows",
    .infer =
        [](SpecPtrs in, const Attrs& attrs) {
          const auto& a = attrs.as<AdaptivePoolAttrs>();
          check_adaptive(a, *in[0], "adaptive_avg_pool2d");
          return planes_spec(*in[0], a.output);
        },
    .vjp = [](const VjpArgs& s) -> std::vector<Tensor> {
      return {apply1(adaptive_avg_pool2d_grad,
                     with_input(s.attrs.as<AdaptivePoolAttrs>(), s.inputs[0].shape()), {s.grads[0]})};
    },
    .jvp = [](const JvpArgs& s) -> Outputs { return apply1(adaptive_avg_pool2d, s.attrs, {s.tangents[0]}); },
    .reference = reference_adaptive<false>,
    .samples = []() -> std::vector<Sample> {
      return {{"uneven", {{{2, 2, 5, 7}}}, AdaptivePoolAttrs{{3, 2}}},
              {"global", {{{2, 3, 4, 9}}}, AdaptivePoolAttrs{}},
              {"larger", {{{1, 2, 3}}}, AdaptivePoolAttrs{{3, 5}}}};
    },
    .error_samples = []() -> std::vector<ErrorSample> {
      return {
          {{{{4, 4}}}, AdaptivePoolAttrs{}, "expected an input of 3 or 4 dimensions"},
          {{{{1, 4, 4}, 0, 5, i64}}, AdaptivePoolAttrs{}, "expected an input of a floating type, got i64"},
          {{{{1, 4, 4}}}, AdaptivePoolAttrs{{0, 1}}, "expected an output size of at least 1, got 0"},
          {{{{1, 0, 4}}}, AdaptivePoolAttrs{}, "expected planes that are not empty, got 1x0x4"}};
    },
    .saves_inputs = 0,
    .never_throws = true};

const OpDef adaptive_avg_pool2d_grad{.name = "adaptive_avg_pool2d_grad",
                                     .doc = "gradient of adaptive_avg_pool2d",
                                     .infer =
                                         [](SpecPtrs in, const Attrs& attrs) {
                                           const auto& a = attrs.as<AdaptivePoolAttrs>();
                                           check_adaptive(a, *in[0], "adaptive_avg_pool2d_grad");
                                           check_pooled(*in[0], a.output, "adaptive_avg_pool2d_grad");
                                           return planes_spec(*in[0], a.input);
                                         },
                                     .vjp = [](const VjpArgs& s) -> std::vector<Tensor> {
                                       return {apply1(adaptive_avg_pool2d, s.attrs, {s.grads[0]})};
                                     },
                                     .jvp = [](const JvpArgs& s) -> Outputs {
                                       return apply1(adaptive_avg_pool2d_grad, s.attrs, {s.tangents[0]});
                                     },
                                     .reference = reference_adaptive<true>,
                                     .samples = []() -> std::vector<Sample> {
                                       return {
                                           {"uneven", {{{2, 2, 3, 2}}}, AdaptivePoolAttrs{{3, 2}, {5, 7}}},
                                           {"global", {{{2, 3, 1, 1}}}, AdaptivePoolAttrs{{1, 1}, {4, 9}}}};
                                     },
                                     .error_samples = []() -> std::vector<ErrorSample> {
                                       const AdaptivePoolAttrs a{{2, 2}, {4, 4}};
                                       return {{{{{2, 2}}}, a, "expected an input of 3 or 4 dimensions"},
                                               {{{{1, 2, 3}}}, a, "expected planes of 2x2, got 1x2x3"}};
                                     },
                                     .saves_inputs = 0,
                                     .never_throws = true};

}  // namespace ops

Tensor avg_pool2d(const Tensor& x, Size2 kernel, const AvgPool2dOptions& o) {
  const Size2 stride(o.stride.h ? o.stride.h : kernel.h, o.stride.w ? o.stride.w : kernel.w);
  return apply1(ops::avg_pool2d,
                AvgPoolAttrs{kernel, stride, o.padding, o.ceil_mode, o.count_include_pad, o.divisor_override},
                {x});
}

Tensor avg_pool1d(const Tensor& x, int64_t kernel, const AvgPool1dOptions& o) {
  HEBB_CHECK(x.ndim() == 2 || x.ndim() == 3,
             "[avg_pool1d] expected an input of 2 or 3 dimensions (CL or NCL), got {}", x.shape().str());
  const AvgPool2dOptions options{
      {o.stride ? 1 : 0, o.stride}, {0, o.padding}, o.ceil_mode, o.count_include_pad, 0};
  return squeeze(avg_pool2d(unsqueeze(x, -2), Size2(1, kernel), options), -2);
}

Tensor adaptive_avg_pool2d(const Tensor& x, Size2 output_size) {
  return apply1(ops::adaptive_avg_pool2d, AdaptivePoolAttrs{output_size}, {x});
}

}  // namespace hebb
