#include "hebb/ops/minmax.h"

#include <cmath>
#include <limits>

#include "hebb/ops/creation.h"
#include "hebb/ops/index.h"
#include "hebb/ops/reduce_support.h"
#include "hebb/ops/table.h"

namespace hebb {

using namespace detail;

namespace {

// Is `value` chosen over `best`, which came before it? The first NaN stays.
template <bool kLargest, class T>
bool beats(T value, T best) {
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(best)) return false;
    if (std::isnan(value)) return true;
  }
  return kLargest ? value > best : value < best;
}

Specs infer_fold(SpecPtrs in, const Attrs& attrs, const char* op) {
  const auto& a = attrs.as<ReduceAttrs>();
  HEBB_CHECK(folded_count(in[0]->shape, a) > 0, "[{}] expected at least one element to fold, got shape {}",
             op, in[0]->shape.str());
  return TensorSpec(reduced_shape(in[0]->shape, a), in[0]->dtype, in[0]->device);
}

// Which elements equal the result, as numbers of the input's type, and their count.
struct Ties {
  Tensor mask, count;
  Ties(const Tensor& x, const Tensor& y, const ReduceAttrs& a)
      : mask(to(x == spread(y, x.shape(), a), x.dtype())), count(apply1(ops::sum, a, {mask})) {}
};
std::vector<Tensor> vjp_fold(const VjpArgs& s) {
  const auto& a = s.attrs.as<ReduceAttrs>();
  const Ties ties(s.inputs[0], s.outputs[0], a);
  return {spread(s.grads[0] / ties.count, s.inputs[0].shape(), a) * ties.mask};
}
Outputs jvp_fold(const JvpArgs& s) {
  const Ties ties(s.inputs[0], s.outputs[0], s.attrs.as<ReduceAttrs>());
  return apply1(ops::sum, s.attrs, {s.tangents[0] * ties.mask}) / ties.count;
}
template <bool kLargest>
void reference_fold(const ReferenceArgs& s) {
  with_plain_type(s.inputs[0].dtype(), [&]<class T>() {
    using Limits = std::numeric_limits<T>;
    const T end = Limits::has_infinity ? Limits::infinity() : Limits::max();
    const T start = !kLargest ? end : Limits::has_infinity ? -end : Limits::lowest();
    fold<T>(s, start, [](T acc, T x) { return beats<kLargest>(x, acc) ? x : acc; });
  });
}
std::vector<Sample> fold_samples() { return reduce_samples_from(-2, 2, SampleInput::Fill::distinct); }
std::vector<ErrorSample> fold_errors() {
  return {{{{{0, 3}}}, ReduceAttrs{1, false}, "expected at least one element to fold, got shape 0x3"}};
}

// Shape of a reduction along one dimension.
Shape without_dim(const Shape& in, const Attrs& attrs, const char* op) {
  const auto& a = attrs.as<DimReduceAttrs>();
  HEBB_CHECK(a.dim < std::max(1, in.ndim()), "[{}] expected a dimension of shape {}, got {}", op, in.str(),
             a.dim);
  HEBB_CHECK(in.empty() || in[static_cast<int>(a.dim)] > 0,
             "[{}] expected at least one element along dimension {}, got shape {}", op, a.dim, in.str());
  return in.empty() ? in : reduced_shape(in, {int64_t{1} << a.dim, a.keepdim});
}
Specs infer_both(SpecPtrs in, const Attrs& attrs, const char* op) {
  const Shape shape = without_dim(in[0]->shape, attrs, op);
  return {TensorSpec(shape, in[0]->dtype, in[0]->device), TensorSpec(shape, i64, in[0]->device)};
}
Specs infer_index(SpecPtrs in, const Attrs& attrs, const char* op) {
  return TensorSpec(without_dim(in[0]->shape, attrs, op), i64, in[0]->device);
}

// With the folded dimension, extent 1, in its place.
Tensor with_dim(const Tensor& t, const Shape& in, int64_t dim) {
  return in.empty() ? t : reshape(t, reduced_shape(in, {int64_t{1} << dim, true}));
}
std::vector<Tensor> vjp_both(const VjpArgs& s) {
  const Shape& in = s.inputs[0].shape();
  const int64_t dim = s.attrs.as<DimReduceAttrs>().dim;
  return {scatter_add(zeros(in, s.grads[0].dtype()), dim, with_dim(s.outputs[1], in, dim),
                      with_dim(s.grads[0], in, dim))};
}
Outputs jvp_both(const JvpArgs& s) {
  const int64_t dim = s.attrs.as<DimReduceAttrs>().dim;
  const Tensor picked = gather(s.tangents[0], dim, with_dim(s.outputs[1], s.inputs[0].shape(), dim));
  return {reshape(picked, s.outputs[0].shape()), Tensor()};
}

// Values go to outputs[0] of two, positions to the last.
template <bool kLargest>
void reference_dim(const ReferenceArgs& s) {
  const DimSplit d(s.inputs[0].shape(), s.attrs.as<DimReduceAttrs>().dim);
  with_plain_type(s.inputs[0].dtype(), [&]<class T>() {
    const std::vector<T> v = values<T>(s.inputs[0]);
    std::vector<T> best;
    std::vector<int64_t> where;
    for (int64_t o = 0; o < d.outer; ++o) {
      for (int64_t j = 0; j < d.inner; ++j) {
        const T* column = v.data() + o * d.n * d.inner + j;
        int64_t at = 0;
        for (int64_t i = 1; i < d.n; ++i)
          if (beats<kLargest>(column[i * d.inner], column[at * d.inner])) at = i;
        best.push_back(column[at * d.inner]);
        where.push_back(at);
      }
    }
    if (s.outputs.size() == 2) store(s.outputs[0], best);
    store(s.outputs.back(), where);
  });
}
std::vector<Sample> dim_samples() {
  const auto distinct = SampleInput::Fill::distinct;
  return {{"last", {{{5, 7}, -2, 2, f32, distinct}}, DimReduceAttrs{1, false}},
          {"first", {{{5, 7}, -2, 2, f32, distinct}}, DimReduceAttrs{0, true}},
          {"middle", {{{3, 4, 5}, -2, 2, f32, distinct}}, DimReduceAttrs{1, false}},
          {"0d", {{{}}}, DimReduceAttrs{0, false}}};
}
std::vector<ErrorSample> dim_errors() {
  return {{{{{3, 0}}},
           DimReduceAttrs{1, false},
           "expected at least one element along dimension 1, got shape 3x0"}};
}

Tensor arg_of_all(const OpDef& op, const Tensor& x) {
  return apply1(op, DimReduceAttrs{0, false}, {reshape(x, {x.numel()})});
}
ValuesAndIndices both(const OpDef& op, const Tensor& x, int64_t dim, bool keepdim) {
  const Tensor in[] = {x};
  Outputs out = apply(op, DimReduceAttrs{normalize_dim(dim, x.ndim(), op.name.data()), keepdim}, in);
  return {out[0], out[1]};
}

}  // namespace

namespace ops {

const OpDef amax{.name = "amax",
                 .kind = Kind::Reduce,
                 .doc = "largest element over dimensions; equal ones share the gradient",
                 .infer = [](SpecPtrs in, const Attrs& a) { return infer_fold(in, a, "amax"); },
                 .vjp = vjp_fold,
                 .jvp = jvp_fold,
                 .reference = reference_fold<true>,
                 .samples = fold_samples,
                 .error_samples = fold_errors,
                 .saves_outputs = 1};

const OpDef amin{.name = "amin",
                 .kind = Kind::Reduce,
                 .doc = "smallest element over dimensions; equal ones share the gradient",
                 .infer = [](SpecPtrs in, const Attrs& a) { return infer_fold(in, a, "amin"); },
                 .vjp = vjp_fold,
                 .jvp = jvp_fold,
                 .reference = reference_fold<false>,
                 .samples = fold_samples,
                 .error_samples = fold_errors,
                 .saves_outputs = 1};

const OpDef max{.name = "max",
                .kind = Kind::Reduce,
                .doc = "largest element along a dimension, and its position",
                .infer = [](SpecPtrs in, const Attrs& a) { return infer_both(in, a, "max"); },
                .vjp = vjp_both,
                .jvp = jvp_both,
                .reference = reference_dim<true>,
                .samples = dim_samples,
                .error_samples = dim_errors,
                .saves_inputs = 0,
                .saves_outputs = 2};

const OpDef min{.name = "min",
                .kind = Kind::Reduce,
                .doc = "smallest element along a dimension, and its position",
                .infer = [](SpecPtrs in, const Attrs& a) { return infer_both(in, a, "min"); },
                .vjp = vjp_both,
                .jvp = jvp_both,
                .reference = reference_dim<false>,
                .samples = dim_samples,
                .error_samples = dim_errors,
                .saves_inputs = 0,
                .saves_outputs = 2};

const OpDef argmax{.name = "argmax",
                   .kind = Kind::Reduce,
                   .doc = "position of the largest element along a dimension",
                   .infer = [](SpecPtrs in, const Attrs& a) { return infer_index(in, a, "argmax"); },
                   .reference = reference_dim<true>,
                   .samples = dim_samples,
                   .error_samples = dim_errors,
                   .gradient = Gradient::None,
                   .saves_inputs = 0};

const OpDef argmin{.name = "argmin",
                   .kind = Kind::Reduce,
                   .doc = "position of the smallest element along a dimension",
                   .infer = [](SpecPtrs in, const Attrs& a) { return infer_index(in, a, "argmin"); },
                   .reference = reference_dim<false>,
                   .samples = dim_samples,
                   .error_samples = dim_errors,
                   .gradient = Gradient::None,
                   .saves_inputs = 0};

}  // namespace ops

Tensor amax(const Tensor& x, const Dims& dims, bool keepdim) {
  return apply1(ops::amax, reduce_attrs(x, dims, keepdim, "amax"), {x});
}
Tensor amin(const Tensor& x, const Dims& dims, bool keepdim) {
  return apply1(ops::amin, reduce_attrs(x, dims, keepdim, "amin"), {x});
}

ValuesAndIndices max(const Tensor& x, int64_t dim, bool keepdim) { return both(ops::max, x, dim, keepdim); }
ValuesAndIndices min(const Tensor& x, int64_t dim, bool keepdim) { return both(ops::min, x, dim, keepdim); }

Tensor argmax(const Tensor& x, int64_t dim, bool keepdim) {
  return apply1(ops::argmax, DimReduceAttrs{normalize_dim(dim, x.ndim(), "argmax"), keepdim}, {x});
}
Tensor argmin(const Tensor& x, int64_t dim, bool keepdim) {
  return apply1(ops::argmin, DimReduceAttrs{normalize_dim(dim, x.ndim(), "argmin"), keepdim}, {x});
}
Tensor argmax(const Tensor& x) { return arg_of_all(ops::argmax, x); }
Tensor argmin(const Tensor& x) { return arg_of_all(ops::argmin, x); }

}  // namespace hebb
