// Softmax, log-softmax and their fused gradients.
#include <cmath>
#include <limits>

#include "hebb/ops/elementwise.h"
#include "hebb/ops/norm.h"
#include "hebb/ops/norm_attrs.h"
#include "hebb/ops/op_support.h"
#include "hebb/ops/reduce.h"
#include "hebb/ops/table.h"

namespace hebb {

using namespace detail;

namespace {

Specs infer_softmax(SpecPtrs in, const Attrs& attrs, const char* op) {
  for (const TensorSpec* s : in) expect_float(*s, op, "operands");
  if (in.size() == 2) {
    expect_same_type(*in[0], *in[1], op);
    HEBB_CHECK(in[0]->shape == in[1]->shape, "[{}] expected operands of one shape, got {} and {}", op,
               in[0]->shape.str(), in[1]->shape.str());
  }
  const int64_t dim = attrs.as<SoftmaxAttrs>().dim;
  HEBB_CHECK(dim >= 0 && dim < std::max(1, in[0]->shape.ndim()),
             "[{}] expected a dimension of a tensor with {}, got {}", op, in[0]->shape.ndim(), dim);
  return TensorSpec(in[0]->shape, in[0]->dtype, in[0]->device);
}

// Calls fn(first, stride, n) for each line of values along the dimension, then stores what fn left in `out`.
template <class F>
void for_each_line(const ReferenceArgs& s, std::vector<double>& out, F fn) {
  const Shape& shape = s.outputs[0].shape();
  const auto dim = static_cast<int>(s.attrs.as<SoftmaxAttrs>().dim);
  int64_t inner = 1;
  for (int d = dim + 1; d < shape.ndim(); ++d) inner *= shape[d];
  const int64_t n = shape.ndim() ? shape[dim] : 1;
  out.resize(static_cast<size_t>(shape.numel()));
  for (int64_t line = 0; n > 0 && line < shape.numel() / n; ++line)
    fn(line / inner * n * inner + line % inner, inner, n);
  store(s.outputs[0], out);
}

template <bool log>
void reference_softmax(const ReferenceArgs& s) {
  const std::vector<double> x = values<double>(s.inputs[0]);
  std::vector<double> y;
  for_each_line(s, y, [&](int64_t first, int64_t stride, int64_t n) {
    double largest = -std::numeric_limits<double>::infinity(), sum = 0;
    for (int64_t i = 0; i < n; ++i) largest = std::max(largest, x[first + i * stride]);
    for (int64_t i = 0; i < n; ++i) sum += std::exp(x[first + i * stride] - largest);
    for (int64_t i = first; i < first + n * stride; i += stride)
      y[i] = log ? x[i] - largest - std::log(sum) : std::exp(x[i] - largest) / sum;
  });
}

template <bool log>
void reference_softmax_grad(const ReferenceArgs& s) {
  const std::vector<double> g = values<double>(s.inputs[0]), y = values<double>(s.inputs[1]);
  std::vector<double> gx;
  for_each_line(s, gx, [&](int64_t first, int64_t stride, int64_t n) {
    double sum = 0;
    for (int64_t i = first; i < first + n * stride; i += stride) sum += log ? g[i] : g[i] * y[i];
    for (int64_t i = first; i < first + n * stride; i += stride)
      gx[i] = log ? g[i] - std::exp(y[i]) * sum : y[i] * (g[i] - sum);
  });
}

int64_t dim_of(const Attrs& attrs) { return attrs.as<SoftmaxAttrs>().dim; }

std::vector<Sample> softmax_samples() {
  return {{"rows", {{{5, 19}}}, SoftmaxAttrs{1}},
          {"columns", {{{5, 19}}}, SoftmaxAttrs{0}},
          {"middle", {{{2, 3, 5}}}, SoftmaxAttrs{1}},
          {"0d", {{{}}}, SoftmaxAttrs{0}},
          {"empty", {{{0, 3}}}, SoftmaxAttrs{1}}};
}
std::vector<ErrorSample> softmax_errors() {
  return {{{{{3}, 0, 5, i64}}, SoftmaxAttrs{0}, "expected operands of a floating type, got i64"},
          {{{{2, 3}}}, SoftmaxAttrs{2}, "expected a dimension of a tensor with 2, got 2"}};
}
std::vector<Sample> gradient_samples(double low, double high) {
  return {{"rows", {{{5, 19}}, {{5, 19}, low, high}}, SoftmaxAttrs{1}},
          {"middle", {{{2, 3, 5}}, {{2, 3, 5}, low, high}}, SoftmaxAttrs{1}}};
}
std::vector<ErrorSample> gradient_errors() {
  return {{{{{3}}, {{3}, -2, 2, f64}}, SoftmaxAttrs{0}, "expected operands of one type, got f32 and f64"},
          {{{{2, 3}}, {{2, 1}}}, SoftmaxAttrs{1}, "expected operands of one shape, got 2x3 and 2x1"}};
}

}  // namespace

namespace ops {

const OpDef softmax{.name = "softmax",
                    .doc = "e^x over its sum along a dimension",
                    .infer = [](SpecPtrs in, const Attrs& a) { return infer_softmax(in, a, "softmax"); },
                    .vjp = [](const VjpArgs& s) -> std::vector<Tensor> {
                      return {apply1(softmax_grad, s.attrs, {s.grads[0], s.outputs[0]})};
                    },
                    // The Jacobian is symmetric.
                    .jvp = [](const JvpArgs& s) -> Outputs {
                      return apply1(softmax_grad, s.attrs, {s.tangents[0], s.outputs[0]});
                    },
                    .reference = reference_softmax<false>,
                    .samples = softmax_samples,
                    .error_samples = softmax_errors,
                    .saves_inputs = 0,
                    .saves_outputs = 1,
                    .never_throws = true};

const OpDef softmax_grad{
    .name = "softmax_grad",
    .doc = "gradient of softmax from g and y",
    .infer = [](SpecPtrs in, const Attrs& a) { return infer_softmax(in, a, "softmax_grad"); },
    .decompose = [](const Attrs& a, std::span<const Tensor> in) -> Outputs {
      const Tensor &g = in[0], &y = in[1];
      return y * (g - hebb::sum(g * y, {dim_of(a)}, true));
    },
    .reference = reference_softmax_grad<false>,
    .samples = [] { return gradient_samples(0.1, 1); },
    .error_samples = gradient_errors,
    .never_throws = true};

const OpDef log_softmax{
    .name = "log_softmax",
    .doc = "logarithm of softmax",
    .infer = [](SpecPtrs in, const Attrs& a) { return infer_softmax(in, a, "log_softmax"); },
    .vjp = [](const VjpArgs& s) -> std::vector<Tensor> {
      return {apply1(log_softmax_grad, s.attrs, {s.grads[0], s.outputs[0]})};
    },
    .jvp = [](const JvpArgs& s) -> Outputs {
      return s.tangents[0] - hebb::sum(hebb::exp(s.outputs[0]) * s.tangents[0], {dim_of(s.attrs)}, true);
    },
    .reference = reference_softmax<true>,
    .samples = softmax_samples,
    .error_samples = softmax_errors,
    .saves_inputs = 0,
    .saves_outputs = 1,
    .never_throws = true};

const OpDef log_softmax_grad{
    .name = "log_softmax_grad",
    .doc = "gradient of log_softmax from g and y",
    .infer = [](SpecPtrs in, const Attrs& a) { return infer_softmax(in, a, "log_softmax_grad"); },
    .decompose = [](const Attrs& a, std::span<const Tensor> in) -> Outputs {
      const Tensor &g = in[0], &y = in[1];
      return g - hebb::exp(y) * hebb::sum(g, {dim_of(a)}, true);
    },
    .reference = reference_softmax_grad<true>,
    .samples = [] { return gradient_samples(-4, 0); },
    .error_samples = gradient_errors,
    .never_throws = true};

}  // namespace ops

Tensor softmax(const Tensor& x, int64_t dim) {
  return apply1(ops::softmax, SoftmaxAttrs{normalize_dim(dim, x.ndim(), "softmax")}, {x});
}
Tensor log_softmax(const Tensor& x, int64_t dim) {
  return apply1(ops::log_softmax, SoftmaxAttrs{normalize_dim(dim, x.ndim(), "log_softmax")}, {x});
}

}  // namespace hebb
