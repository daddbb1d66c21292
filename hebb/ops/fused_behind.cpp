#include "hebb/ops/fused_behind.h"

#include "hebb/core/check.h"
#include "hebb/op/autocast.h"
#include "hebb/ops/conv_attrs.h"
#include "hebb/ops/matmul_attrs.h"
#include "hebb/ops/op_support.h"
#include "hebb/ops/table.h"

namespace hebb::ops {
namespace {

using K = FusedOperand;
using detail::Expr;
using detail::ProductAttrs;

constexpr FusedInstruction expr(Expr e, int a, int b = -1, int c = -1) {
  return {static_cast<int>(e), {a, b, c}};
}
// What ReLU and batch normalisation before it do on the way back: the gradient where x is positive, and its
// sums over the rows, plain and by x.
const FusedProgram* masked_sums() {
  static const FusedProgram program{
      {K::dense, K::dense},
      {expr(Expr::relu_grad, 0, 0, 1), {kColumnSum, {2, -1, -1}}, {kColumnDot, {2, 1, -1}}},
      {3, 2, 4}};
  return kept(program);
}
// Another tensor is added first.
const FusedProgram* added() {
  static const FusedProgram program{{K::dense, K::dense}, {expr(Expr::add, 0, 1)}, {2}};
  return kept(program);
}
const FusedProgram& column_sum() {
  static const FusedProgram program{{K::dense}, {{kColumnSum, {0, -1, -1}}}, {1}};
  return program;
}
const FusedProgram* activated() {
  static const FusedProgram program{{K::dense}, {expr(Expr::tanh, 0)}, {1}};
  return kept(program);
}

template <class A, const OpDef& of>
struct Behind {
  static const FusedBehindAttrs<A>& as(const Attrs& attrs) { return attrs.as<FusedBehindAttrs<A>>(); }

  static Specs infer(SpecPtrs in, const Attrs& attrs) {
    const auto& a = as(attrs);
    const FusedProgram& program = *a.program;
    HEBB_CHECK(a.count >= 2 && static_cast<size_t>(a.count) <= in.size() && a.at >= 0 &&
                   static_cast<size_t>(a.at) < program.inputs.size() &&
                   program.inputs[static_cast<size_t>(a.at)] == FusedOperand::dense,
               "[fused] expected sums of 2 inputs or more, and a program that reads them as they lie");
    HEBB_CHECK(a.kept || program.successor(static_cast<int>(a.at)) >= 0,
               "[fused] expected a program with a result in the place of input {}, or sums that are kept",
               a.at);
    HEBB_CHECK(program.outputs.size() + (a.kept ? 1 : 0) <= FusedProgram::kMostOutputs,
               "[fused] expected at most {} outputs", FusedProgram::kMostOutputs);
    const Specs sums = of.infer(in.first(static_cast<size_t>(a.count)), a.sums);
    const Specs made = fused.infer(a.program_inputs(in, &sums[0]), FusedAttrs{a.program});
    Specs out;
    if (a.kept) out.push_back(sums[0]);
    for (const TensorSpec& s : made) out.push_back(s);
    return out;
  }
  static Outputs decompose(const Attrs& attrs, std::span<const Tensor> in) {
    const auto& a = as(attrs);
    const Tensor sums = apply(of, a.sums, in.first(static_cast<size_t>(a.count)))[0];
    Outputs out;
    if (a.kept) out.push_back(sums);
    for (const Tensor& t : apply(fused, FusedAttrs{a.program}, a.program_inputs(in, sums))) out.push_back(t);
    return out;
  }
  static int64_t multiply_adds(SpecPtrs in, const Specs&, const Attrs& attrs) {
    const auto& a = as(attrs);
    const SpecPtrs own = in.first(static_cast<size_t>(a.count));
    return of.multiply_adds(own, of.infer(own, a.sums), a.sums);
  }
  static OpDef def(std::string_view name, std::string_view doc, std::vector<Sample> (*samples)(),
                   std::vector<ErrorSample> (*errors)() = nullptr) {
    return {.name = name,
            .kind = Kind::Contract,
            .doc = doc,
            .infer = infer,
            .decompose = decompose,
            .samples = samples,
            .error_samples = errors,
            .multiply_adds = multiply_adds};
  }
};
using ConvBehind = FusedBehindAttrs<Conv2dAttrs>;
using LinearBehind = FusedBehindAttrs<ProductAttrs>;
using MatmulBehind = FusedBehindAttrs<MatmulAttrs>;

}  // namespace

const OpDef linear_fused = Behind<ProductAttrs, linear>::def(
    "linear_fused", "linear, and a fused program that reads its results",
    []() -> std::vector<Sample> {
      return {{"activated", {{{6, 5}}, {{4, 5}}, {{4}}}, LinearBehind{{}, 3, activated(), 0, false}},
              {"kept", {{{2, 3, 5}}, {{18, 5}}, {{18}}}, LinearBehind{{}, 3, activated(), 0, true}},
              {"added", {{{3, 5}}, {{4, 5}}, {{3, 4}}}, LinearBehind{{}, 2, added(), 1, false}}};
    },
    []() -> std::vector<ErrorSample> {
      return {{{{{3, 5}}, {{4, 5}}, {{3, 5}}},
               LinearBehind{{}, 2, added(), 0, false},
               "expected 12 elements in input 1, got 15"},
              {{{{3, 5}}, {{4, 5}}, {{3, 4}}},
               LinearBehind{{}, 2, added(), 2, false},
               "expected sums of 2 inputs or more, and a program that reads them as they lie"},
              {{{{3, 5}}, {{4, 5}}},
               LinearBehind{{}, 2, &column_sum(), 0, false},
               "expected a program with a result in the place of input 0, or sums that are kept"}};
    });

const OpDef matmul_fused = Behind<MatmulAttrs, matmul>::def(
    "matmul_fused", "matmul, and a fused program that reads its results", []() -> std::vector<Sample> {
      return {
          {"masked", {{{6, 5}}, {{5, 17}}, {{6, 17}}}, MatmulBehind{{}, 2, masked_sums(), 0, false}},
          {"kept", {{{5, 6}}, {{5, 17}}, {{6, 17}}}, MatmulBehind{{.trans_a = true}, 2, added(), 0, true}}};
    });

const OpDef conv2d_fused_nhwc = Behind<Conv2dAttrs, conv2d_nhwc>::def(
    "conv2d_fused_nhwc", "conv2d of images [N, H, W, C], and a fused program that reads its results",
    []() -> std::vector<Sample> {
      const Conv2dAttrs tiles{.padding = {1, 1, 1, 1}};
      return {{"1x1", {{{2, 3, 5, 6}}, {{7, 6, 1, 1}}, {{7}}}, ConvBehind{{}, 3, activated(), 0, false}},
              {"3x3",
               {{{2, 6, 6, 16}}, {{18, 16, 3, 3}}, {{18}}, {{2, 6, 6, 18}}},
               ConvBehind{tiles, 3, added(), 1, true}},
              {"first", {{{1, 4, 4, 3}}, {{16, 3, 2, 2}}, {{16}}}, ConvBehind{{}, 3, activated(), 0, true}}};
    });

const OpDef conv2d_input_grad_fused_nhwc = Behind<Conv2dAttrs, conv2d_input_grad_nhwc>::def(
    "conv2d_input_grad_fused_nhwc",
    "the input gradient of conv2d on images [N, H, W, C], and a fused program that reads it",
    []() -> std::vector<Sample> {
      const Conv2dAttrs pointwise{.size = {5, 4}}, tiles{.padding = {1, 1, 1, 1}, .size = {9, 10}},
          strided{.stride = {2, 2}, .padding = {1, 1, 1, 1}, .size = {6, 7}};
      return {{"1x1",
               {{{2, 5, 4, 3}}, {{3, 16, 1, 1}}, {{2, 5, 4, 16}}},
               ConvBehind{pointwise, 2, masked_sums(), 0, false}},
              {"3x3",
               {{{2, 9, 10, 16}}, {{16, 18, 3, 3}}, {{2, 9, 10, 18}}},
               ConvBehind{tiles, 2, added(), 1, false}},
              {"3x3_s2",
               {{{2, 3, 4, 3}}, {{3, 16, 3, 3}}, {{2, 6, 7, 16}}},
               ConvBehind{strided, 2, masked_sums(), 0, true}}};
    },
    []() -> std::vector<ErrorSample> {
      return {{{{{1, 2, 2, 3}}, {{3, 4, 1, 1}}, {{1, 2, 2, 5}}},
               ConvBehind{Conv2dAttrs{.size = {2, 2}}, 2, added(), 0, false},
               "expected 16 elements in input 1, got 20"}};
    });

const OpDef* with_program(const OpDef& op) {
  if (&op == &linear) return &linear_fused;
  if (&op == &matmul) return &matmul_fused;
  if (&op == &conv2d_nhwc) return &conv2d_fused_nhwc;
  if (&op == &conv2d_input_grad_nhwc) return &conv2d_input_grad_fused_nhwc;
  return nullptr;
}
Attrs with_program(const OpDef& op, const Attrs& sums, size_t count, const FusedProgram* program, int64_t at,
                   bool kept) {
  const auto n = static_cast<int64_t>(count);
  if (&op == &linear) return LinearBehind{sums.as<ProductAttrs>(), n, program, at, kept};
  if (&op == &matmul) return MatmulBehind{sums.as<MatmulAttrs>(), n, program, at, kept};
  return ConvBehind{sums.as<Conv2dAttrs>(), n, program, at, kept};
}

}  // namespace hebb::ops
