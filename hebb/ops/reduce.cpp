#include "hebb/ops/reduce.h"

#include <cmath>
#include <limits>

#include "hebb/ops/creation.h"
#include "hebb/ops/index.h"
#include "hebb/ops/minmax.h"
#include "hebb/ops/reduce_support.h"
#include "hebb/ops/table.h"

namespace hebb {

using namespace detail;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

DType accumulated_type(DType t) { return is_float(t) ? t : i64; }

Specs infer_accumulated(SpecPtrs in, const Attrs& attrs) {
  return TensorSpec(reduced_shape(in[0]->shape, attrs.as<ReduceAttrs>()), accumulated_type(in[0]->dtype),
                    in[0]->device);
}
Specs infer_truth(SpecPtrs in, const Attrs& attrs) {
  return TensorSpec(reduced_shape(in[0]->shape, attrs.as<ReduceAttrs>()), in[0]->dtype == u8 ? u8 : boolean,
                    in[0]->device);
}

// The folded dimensions as a last one, whose first half is multiplied by its second until one is left. Unlike
// product / x, the gradient of this is exact at zeros, and so are all further derivatives.
Outputs product_tree(const Attrs& attrs, std::span<const Tensor> in) {
  const auto& a = attrs.as<ReduceAttrs>();
  const Shape& shape = in[0].shape();
  Tensor x = to(in[0], accumulated_type(in[0].dtype()));
  Shape order, kept;
  for (int d = 0; d < shape.ndim(); ++d) {
    if (a.dims >> d & 1) continue;
    order.push_back(d);
    kept.push_back(shape[d]);
  }
  for (int d = 0; d < shape.ndim(); ++d)
    if (a.dims >> d & 1) order.push_back(d);
  int64_t n = folded_count(shape, a);
  if (n == 0) return apply1(ops::sum, attrs, {x}) + 1;  // an empty product, whose gradient is empty
  const int last = kept.ndim();
  if (last < Shape::kMaxDims) kept.push_back(n);
  if (last < Shape::kMaxDims) x = reshape(permute(x, order), kept);
  for (; n > 1; n -= n / 2) {
    const Tensor halves = slice(x, last, 0, n / 2) * slice(x, last, n - n / 2, n);
    x = n % 2 ? cat({halves, slice(x, last, n / 2, n / 2 + 1)}, last) : halves;
  }
  return reshape(x, reduced_shape(shape, a));
}

// sqrt(x) and x^(1/p) with slope 0 at 0, where the true slope is infinite: what norms and deviations need.
template <class F>
Tensor root(const Tensor& x, F fn) {
  const Tensor zero = x == 0;
  return where(zero, 0, fn(where(zero, 1, x)));
}

}  // namespace

namespace ops {

const OpDef sum{.name = "sum",
                .kind = Kind::Reduce,
                .doc = "sum over dimensions",
                .infer = infer_accumulated,
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
              s, 0, [](double acc, double x) { return acc + x; }, [n](double acc) { return acc / n; });
        },
    .samples = reduce_samples,
    .error_samples = []() -> std::vector<ErrorSample> {
      return {{{{{3}, 0, 5, i64}}, ReduceAttrs{1}, "expected a tensor of a floating type, got i64"}};
    },
    .saves_inputs = 0};

const OpDef prod{.name = "prod",
                 .kind = Kind::Reduce,
                 .doc = "product over dimensions",
                 .infer = infer_accumulated,
                 .decompose = product_tree,
                 .reference =
                     [](const ReferenceArgs& s) {
                       with_plain_type(s.inputs[0].dtype(),
                                       [&]<class T>() { fold<T>(s, 1, [](T acc, T x) { return acc * x; }); });
                     },
                 .samples = [] { return reduce_samples_from(0.7, 1.4, SampleInput::Fill::uniform); }};

const OpDef any{.name = "any",
                .kind = Kind::Reduce,
                .doc = "true where any element is not 0",
                .infer = infer_truth,
                .reference =
                    [](const ReferenceArgs& s) {
                      fold<double>(s, 0, [](double acc, double x) { return acc != 0 || x != 0 ? 1.0 : 0.0; });
                    },
                .samples = [] { return reduce_samples_from(-1, 2, SampleInput::Fill::integers); },
                .gradient = Gradient::None,
                .saves_inputs = 0};

const OpDef all{.name = "all",
                .kind = Kind::Reduce,
                .doc = "true where no element is 0",
                .infer = infer_truth,
                .reference =
                    [](const ReferenceArgs& s) {
                      fold<double>(s, 1, [](double acc, double x) { return acc != 0 && x != 0 ? 1.0 : 0.0; });
                    },
                .samples = [] { return reduce_samples_from(0, 9, SampleInput::Fill::integers); },
                .gradient = Gradient::None,
                .saves_inputs = 0};

const OpDef logsumexp{
    .name = "logsumexp",
    .kind = Kind::Reduce,
    .doc = "log(sum(e^x)) over dimensions, without overflow",
    .infer =
        [](SpecPtrs in, const Attrs& attrs) {
          return Specs(TensorSpec(reduced_shape(in[0]->shape, attrs.as<ReduceAttrs>()),
                                  float_type(in[0]->dtype), in[0]->device));
        },
    .vjp = [](const VjpArgs& s) -> std::vector<Tensor> {
      const auto& a = s.attrs.as<ReduceAttrs>();
      const Shape& in = s.inputs[0].shape();
      return {spread(s.grads[0], in, a) * hebb::exp(s.inputs[0] - spread(s.outputs[0], in, a))};
    },
    .jvp = [](const JvpArgs& s) -> Outputs {
      const auto& a = s.attrs.as<ReduceAttrs>();
      const Tensor weights = hebb::exp(s.inputs[0] - spread(s.outputs[0], s.inputs[0].shape(), a));
      return apply1(sum, s.attrs, {s.tangents[0] * weights});
    },
    .reference =
        [](const ReferenceArgs& s) {
          // The sum is kept relative to the largest value so far: acc = e^(y - max), in two passes by hand.
          const auto& a = s.attrs.as<ReduceAttrs>();
          const Shape& in = s.inputs[0].shape();
          const Shape kept = kept_shape(in, a);
          const std::vector<double> v = values<double>(s.inputs[0]);
          std::vector<double> largest(static_cast<size_t>(kept.numel()), -kInfinity), acc(largest.size(), 0);
          size_t i = 0;
          for_each_index(in, [&](const Shape& at) {
            double& m = largest[broadcast_offset(at, kept)];
            const double x = v[i++];
            if (x > m || std::isnan(x)) m = x;
          });
          i = 0;
          for_each_index(in, [&](const Shape& at) {
            const int64_t k = broadcast_offset(at, kept);
            acc[k] += std::exp(v[i++] - largest[k]);
          });
          for (size_t k = 0; k < acc.size(); ++k)
            acc[k] = std::isfinite(largest[k]) ? largest[k] + std::log(acc[k]) : largest[k];
          store(s.outputs[0], acc);
        },
    .samples = reduce_samples,
    .saves_outputs = 1};

const OpDef cumsum{
    .name = "cumsum",
    .doc = "running sums along a dimension",
    .infer =
        [](SpecPtrs in, const Attrs&) {
          return Specs(TensorSpec(in[0]->shape, accumulated_type(in[0]->dtype), in[0]->device));
        },
    .vjp = [](const VjpArgs& s) -> std::vector<Tensor> {
      if (s.grads[0].ndim() == 0) return {s.grads[0]};
      const int64_t dim = s.attrs.as<DimAttrs>().dim;
      return {hebb::flip(apply1(cumsum, s.attrs, {hebb::flip(s.grads[0], {dim})}), {dim})};
    },
    .jvp = [](const JvpArgs& s) -> Outputs { return apply1(cumsum, s.attrs, {s.tangents[0]}); },
    .reference =
        [](const ReferenceArgs& s) {
          const DimSplit d(s.inputs[0].shape(), s.attrs.as<DimAttrs>().dim);
          with_plain_type(s.inputs[0].dtype(), [&]<class T>() {
            std::vector<T> v = values<T>(s.inputs[0]);
            for (int64_t o = 0; o < d.outer; ++o)
              for (int64_t i = d.inner; i < d.n * d.inner; ++i)
                v[o * d.n * d.inner + i] += v[o * d.n * d.inner + i - d.inner];
            store(s.outputs[0], v);
          });
        },
    .samples = []() -> std::vector<Sample> {
      return {
          {"last", {{{3, 7}}}, DimAttrs{1}}, {"first", {{{5, 4}}}, DimAttrs{0}}, {"0d", {{{}}}, DimAttrs{0}}};
    },
    .saves_inputs = 0};

}  // namespace ops

Tensor sum(const Tensor& x, const Dims& dims, bool keepdim) {
  return apply1(ops::sum, reduce_attrs(x, dims, keepdim, "sum"), {x});
}
Tensor mean(const Tensor& x, const Dims& dims, bool keepdim) {
  return apply1(ops::mean, reduce_attrs(x, dims, keepdim, "mean"), {x});
}
Tensor prod(const Tensor& x, const Dims& dims, bool keepdim) {
  return apply1(ops::prod, reduce_attrs(x, dims, keepdim, "prod"), {x});
}
Tensor any(const Tensor& x, const Dims& dims, bool keepdim) {
  return apply1(ops::any, reduce_attrs(x, dims, keepdim, "any"), {x});
}
Tensor all(const Tensor& x, const Dims& dims, bool keepdim) {
  return apply1(ops::all, reduce_attrs(x, dims, keepdim, "all"), {x});
}
Tensor logsumexp(const Tensor& x, const Dims& dims, bool keepdim) {
  return apply1(ops::logsumexp, reduce_attrs(x, dims, keepdim, "logsumexp"), {x});
}
Tensor cumsum(const Tensor& x, int64_t dim) {
  return apply1(ops::cumsum, DimAttrs{normalize_dim(dim, x.ndim(), "cumsum")}, {x});
}

Tensor var(const Tensor& x, const Dims& dims, double correction, bool keepdim) {
  expect_float(x.spec(), "var", "a tensor");
  const double n = static_cast<double>(folded_count(x.shape(), reduce_attrs(x, dims, keepdim, "var")));
  return sum(square(x - mean(x, dims, true)), dims, keepdim) / std::max(0.0, n - correction);
}
Tensor std(const Tensor& x, const Dims& dims, double correction, bool keepdim) {
  expect_float(x.spec(), "std", "a tensor");
  return root(var(x, dims, correction, keepdim), [](const Tensor& v) { return sqrt(v); });
}

Tensor norm(const Tensor& x, double p, const Dims& dims, bool keepdim) {
  expect_float(x.spec(), "norm", "a tensor");
  HEBB_CHECK(!std::isnan(p), "[norm] expected a number p, got NaN");
  if (p == kInfinity) return amax(abs(x), dims, keepdim);
  if (p == -kInfinity) return amin(abs(x), dims, keepdim);
  if (p == 0) return sum(to(x != 0, x.dtype()), dims, keepdim);
  if (p == 1) return sum(abs(x), dims, keepdim);
  if (p == 2) return root(sum(square(x), dims, keepdim), [](const Tensor& s) { return sqrt(s); });
  Tensor powers;
  if (p > 1) {
    powers = pow(abs(x), p);
  } else {  // the slope of |x|^p at 0 is infinite: taken as 0
    const Tensor zero = x == 0;
    powers = where(zero, p > 0 ? 0.0 : kInfinity, pow(where(zero, 1, abs(x)), p));
  }
  const Tensor s = sum(powers, dims, keepdim);
  const Tensor length = root(s, [p](const Tensor& t) { return pow(t, 1 / p); });
  return p < 0 ? where(s == 0, kInfinity, length) : length;
}

}  // namespace hebb
