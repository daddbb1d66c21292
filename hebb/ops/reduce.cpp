#include "hebb/ops/reduce.h"

#include "hebb/ops/elementwise.h"
#include "hebb/ops/op_support.h"
#include "hebb/ops/reduce_attrs.h"
#include "hebb/ops/table.h"
#include "hebb/ops/view.h"

namespace hebb {

using namespace detail;

namespace {

ReduceAttrs reduce_attrs(const Tensor& x, const Dims& dims, bool keepdim, const char* op) {
  ReduceAttrs a{0, keepdim};
  for (const int64_t d : dims) {
    const int64_t bit = int64_t{1} << normalize_dim(d, x.ndim(), op);
    HEBB_CHECK(!(a.dims & bit), "[{}] expected each dimension once, got {} twice", op, d);
    a.dims |= bit;
  }
  if (dims.empty()) a.dims = (int64_t{1} << x.ndim()) - 1;
  return a;
}

Shape reduced_shape(const Shape& in, const ReduceAttrs& a) {
  Shape out;
  for (int d = 0; d < in.ndim(); ++d) {
    if (!(a.dims >> d & 1)) out.push_back(in[d]);
    else if (a.keepdim) out.push_back(1);
  }
  return out;
}
Shape kept_shape(const Shape& in, const ReduceAttrs& a) { return reduced_shape(in, {a.dims, true}); }

int64_t folded_count(const Shape& in, const ReduceAttrs& a) {
  int64_t n = 1;
  for (int d = 0; d < in.ndim(); ++d)
    if (a.dims >> d & 1) n *= in[d];
  return n;
}

// Spreads a reduced tensor over the input's shape again.
Tensor spread(const Tensor& g, const Shape& in, const ReduceAttrs& a) {
  return expand(reshape(g, kept_shape(in, a)), in);
}

// Folds in row-major order of the input: acc = fn(acc, value), from `start`.
template <class T, class F>
void fold(const ReferenceArgs& s, T start, F fn, T scale = 1) {
  const auto& a = s.attrs.as<ReduceAttrs>();
  const Shape& in = s.inputs[0].shape();
  const Shape kept = kept_shape(in, a);
  const std::vector<T> v = values<T>(s.inputs[0]);
  std::vector<T> acc(static_cast<size_t>(kept.numel()), start);
  size_t i = 0;
  for_each_index(in, [&](const Shape& at) {
    T& slot = acc[broadcast_offset(at, kept)];
    slot = fn(slot, v[i++]);
  });
  for (T& x : acc) x = static_cast<T>(x * scale);
  store(s.outputs[0], acc);
}

std::vector<Sample> reduce_samples() {
  return {
      {"rows", {{{5, 7}}}, ReduceAttrs{2, false}},      {"columns", {{{5, 7}}}, ReduceAttrs{1, true}},
      {"middle", {{{3, 4, 5}}}, ReduceAttrs{2, false}}, {"outer_inner", {{{3, 4, 5}}}, ReduceAttrs{5, true}},
      {"all", {{{3, 40, 5}}}, ReduceAttrs{7, false}},   {"0d", {{{}}}, ReduceAttrs{0, false}}};
}

}  // namespace

namespace ops {

const OpDef sum{.name = "sum",
                .kind = Kind::Reduce,
                .doc = "sum over dimensions",
                .infer =
                    [](SpecPtrs in, const Attrs& attrs) {
                      return Specs(TensorSpec(reduced_shape(in[0]->shape, attrs.as<ReduceAttrs>()),
                                              is_float(in[0]->dtype) ? in[0]->dtype : i64, in[0]->device));
                    },
                .vjp = [](const VjpArgs& s) -> std::vector<Tensor> {
                  return {spread(s.grads[0], s.inputs[0].shape(), s.attrs.as<ReduceAttrs>())};
                },
                .jvp = [](const JvpArgs& s) -> Outputs { return apply1(sum, s.attrs, {s.tangents[0]}); },
                .reference =
                    [](const ReferenceArgs& s) {
                      with_plain_type(s.inputs[0].dtype(),
                                      [&]<class T>() { fold<T>(s, 0, [](T acc, T x) { return acc + x; }); });
                    },
                .samples = reduce_samples,
                .saves_inputs = 0};

const OpDef mean{
    .name = "mean",
    .kind = Kind::Reduce,
    .doc = "arithmetic mean over dimensions",
    .infer =
        [](SpecPtrs in, const Attrs& attrs) {
          expect_float(*in[0], "mean", "a tensor");
          return Specs(
              TensorSpec(reduced_shape(in[0]->shape, attrs.as<ReduceAttrs>()), in[0]->dtype, in[0]->device));
        },
    .vjp = [](const VjpArgs& s) -> std::vector<Tensor> {
      const auto& a = s.attrs.as<ReduceAttrs>();
      const Shape& in = s.inputs[0].shape();
      return {spread(s.grads[0] * (1.0 / static_cast<double>(folded_count(in, a))), in, a)};
    },
    .jvp = [](const JvpArgs& s) -> Outputs { return apply1(mean, s.attrs, {s.tangents[0]}); },
    .reference =
        [](const ReferenceArgs& s) {
          const double n = static_cast<double>(folded_count(s.inputs[0].shape(), s.attrs.as<ReduceAttrs>()));
          fold<double>(
              s, 0, [](double acc, double x) { return acc + x; }, 1 / n);
        },
    .samples = reduce_samples,
    .error_samples = []() -> std::vector<ErrorSample> {
      return {{{{{3}, 0, 5, i64}}, ReduceAttrs{1}, "expected a tensor of a floating type, got i64"}};
    },
    .saves_inputs = 0};

}  // namespace ops

Tensor sum(const Tensor& x, const Dims& dims, bool keepdim) {
  return apply1(ops::sum, reduce_attrs(x, dims, keepdim, "sum"), {x});
}
Tensor mean(const Tensor& x, const Dims& dims, bool keepdim) {
  return apply1(ops::mean, reduce_attrs(x, dims, keepdim, "mean"), {x});
}

}  // namespace hebb
