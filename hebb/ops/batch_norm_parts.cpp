// The parts of batch_norm and its gradient on rows [N, C] that are no elementwise work: a compiled function
// takes the ops apart, so that the elementwise rest can join what comes before and after it.
#include "hebb/ops/elementwise.h"
#include "hebb/ops/norm_attrs.h"
#include "hebb/ops/op_support.h"
#include "hebb/ops/reduce.h"
#include "hebb/ops/table.h"

namespace hebb {

using namespace detail;

namespace {

// Vectors of one length and type.
Specs infer_vectors(SpecPtrs in, const char* op, int outputs) {
  Specs out;
  expect_float(*in[0], op, "inputs");
  for (const TensorSpec* s : in) {
    expect_same_type(*s, *in[0], op);
    HEBB_CHECK(s->shape.ndim() == 1 && s->shape == in[0]->shape,
               "[{}] expected vectors of one length, got {} and {}", op, in[0]->shape.str(), s->shape.str());
  }
  for (int i = 0; i < outputs; ++i) out.push_back(TensorSpec(in[0]->shape, in[0]->dtype, in[0]->device));
  return out;
}

}  // namespace

namespace ops {

const OpDef batch_norm_moments{
    .name = "batch_norm_moments",
    .kind = Kind::Reduce,
    .doc = "mean and biased variance of each column of x [N, C]",
    .infer = [](SpecPtrs in, const Attrs&) -> Specs {
      expect_float(*in[0], "batch_norm_moments", "an input");
      HEBB_CHECK(in[0]->shape.ndim() == 2, "[batch_norm_moments] expected an input of 2 dimensions, got {}",
                 in[0]->shape.str());
      const TensorSpec column(Shape{in[0]->shape[1]}, in[0]->dtype, in[0]->device);
      return {column, column};
    },
    .decompose = [](const Attrs&, std::span<const Tensor> in) -> Outputs {
      const Tensor m = hebb::mean(in[0], 0);
      return {m, hebb::mean(hebb::square(in[0] - m), 0)};
    },
    .samples = []() -> std::vector<Sample> {
      return {{"nc", {{{7, 19}}}, NoAttrs{}}};
    },
    .error_samples = []() -> std::vector<ErrorSample> {
      return {{{{{2, 3, 4}}}, NoAttrs{}, "expected an input of 2 dimensions, got 2x3x4"}};
    }};

const OpDef batch_norm_scale{
    .name = "batch_norm_scale",
    .kind = Kind::Reduce,
    .doc = "weight / sqrt(var + eps), of weight and var",
    .infer = [](SpecPtrs in, const Attrs&) { return infer_vectors(in, "batch_norm_scale", 1); },
    .decompose = [](const Attrs& attrs, std::span<const Tensor> in) -> Outputs {
      return in[0] * hebb::rsqrt(in[1] + attrs.as<BatchNormAttrs>().eps);
    },
    .samples = []() -> std::vector<Sample> {
      return {{"vector", {{{19}}, {{19}, 0.3, 2}}, BatchNormAttrs{1e-3}}};
    },
    .error_samples = []() -> std::vector<ErrorSample> {
      return {{{{{2}}, {{3}}}, BatchNormAttrs{}, "expected vectors of one length, got 2 and 3"}};
    }};

const OpDef batch_norm_grad_factors{
    .name = "batch_norm_grad_factors",
    .kind = Kind::Reduce,
    .doc =
        "a, b and c of batch_norm's gradient g a + (x - mean) b + c, and that of weight, from the sums of g "
        "and "
        "of g (x - mean), the gradients of mean and var, weight and var",
    .infer = [](SpecPtrs in, const Attrs&) { return infer_vectors(in, "batch_norm_grad_factors", 4); },
    .decompose = [](const Attrs& attrs, std::span<const Tensor> in) -> Outputs {
      const auto& at = attrs.as<BatchNormFactorsAttrs>();
      const Tensor &plain = in[0], &centred = in[1], &gmean = in[2], &gvar = in[3];
      const double n = 1 / static_cast<double>(at.count);
      const Tensor scale = hebb::rsqrt(in[5] + at.eps), a = in[4] * scale;
      return {a, (gvar * 2 - a * hebb::square(scale) * centred) * n, (gmean - a * plain) * n,
              centred * scale};
    },
    .samples = []() -> std::vector<Sample> {
      const SampleInput v{{19}};
      return {{"vectors", {v, v, v, v, v, {{19}, 0.3, 2}}, BatchNormFactorsAttrs{1e-5, 7}}};
    },
    .error_samples = []() -> std::vector<ErrorSample> {
      const SampleInput v{{3}};
      return {{{v, v, v, v, v, {{3, 1}}},
               BatchNormFactorsAttrs{},
               "expected vectors of one length, got 3 and 3x1"}};
    }};

}  // namespace ops
}  // namespace hebb
