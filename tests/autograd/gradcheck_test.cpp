// gradcheck: passes right gradients, finds wrong ones, and says where.
#include <gtest/gtest.h>

#include <cmath>

#include "hebb/autograd/grad.h"
#include "hebb/op/dispatch.h"
#include "hebb/ops/creation.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/matmul.h"
#include "hebb/ops/reduce.h"
#include "hebb/ops/view.h"
#include "tests/support/throws.h"

namespace hebb {
namespace {

using Tensors = std::vector<Tensor>;
using Args = std::span<const Tensor>;

Tensor f64s(const Literal& v) { return tensor(v, f64); }

// x^2, whose gradient is that of factor x^2, and that of it, scaled once more by `second`.
struct WrongAttrs {
  double factor = 1, second = 1;
  HEBB_FIELDS(factor, second)
};
Specs same(SpecPtrs in, const Attrs&) { return TensorSpec(in[0]->shape, in[0]->dtype); }
template <class F>
void fill(const ReferenceArgs& s, F&& fn) {
  const auto x = s.inputs[0].to_vector<double>();
  for (size_t i = 0; i < x.size(); ++i)
    s.outputs[0].mutable_data<double>()[i] = fn(x[i], s.attrs.as<WrongAttrs>());
}
const OpDef wrong_double{.name = "wrong_double",
                         .infer = same,
                         .vjp = [](const VjpArgs& s) -> Tensors {
                           const auto& a = s.attrs.as<WrongAttrs>();
                           return {s.grads[0] * (2 * a.factor * a.second)};
                         },
                         .reference =
                             [](const ReferenceArgs& s) {
                               fill(s, [](double x, const WrongAttrs& a) { return 2 * a.factor * x; });
                             }};
const OpDef wrong_square{
    .name = "wrong_square",
    .infer = same,
    .vjp = [](const VjpArgs& s) -> Tensors {
      return {s.grads[0] * apply1(wrong_double, s.attrs, {s.inputs[0]})};
    },
    .reference = [](const ReferenceArgs& s) { fill(s, [](double x, const WrongAttrs&) { return x * x; }); }};
TensorFn square_with(double factor, double second) {
  return [=](Args a) { return Tensors{apply1(wrong_square, WrongAttrs{factor, second}, {a[0]})}; };
}

TEST(Gradcheck, PassesRightGradients) {
  const Tensors x = {f64s({0.5, -1.2, 2}), f64s({1.5, 0.7, -0.3})};
  EXPECT_EQ(gradcheck([](Args a) { return Tensors{tanh(a[0]) * a[1]}; }, x), "");
  EXPECT_EQ(gradcheck([](Args a) { return Tensors{tanh(a[0]) * a[1]}; }, x, {.second = true}), "");
  EXPECT_EQ(gradcheck(
                [](Args a) {
                  return Tensors{sum(a[0]), exp(a[1]), a[0] > 0};
                },
                x, {.second = true}),
            "");
  EXPECT_EQ(gradcheck([](Args a) { return Tensors{3 * a[0]}; }, x, {.second = true}), "")
      << "a linear function has no second derivative";
  EXPECT_EQ(gradcheck(square_with(1, 1), std::span(x.data(), 1), {.second = true}), "");
}

TEST(Gradcheck, FindsAWrongGradientAndSaysWhere) {
  const Tensors x = {f64s({0, 0.25, -1})};
  // At 0 both are 0. The weight of the element decides the numbers; their ratio is the mistake.
  const std::string text = gradcheck(square_with(1.5, 1), x);
  double expected = 0, got = 0, difference = 0;
  ASSERT_EQ(
      std::sscanf(text.c_str(), "argument 0 at [1]: expected a gradient of %lf, got %lf (difference %lf)",
                  &expected, &got, &difference),
      3)
      << text;
  EXPECT_NEAR(got / expected, 1.5, 1e-6);
  EXPECT_NEAR(difference, got - expected, 5e-3 * std::abs(difference));
}

TEST(Gradcheck, NamesTheArgumentAndThePosition) {
  const Tensors x = {f64s({1, 2}), reshape(arange(1, 7, 1, f64), {2, 3})};
  // The factor is cut off from the tape where it exceeds 5: at [1, 2] alone.
  const std::string text =
      gradcheck([](Args a) { return Tensors{matmul(a[0], where(a[1] > 5.5, a[1].detach(), a[1]))}; }, x);
  EXPECT_EQ(text.find("argument 1 at [1, 2]: expected a gradient of "), 0u) << text;
  EXPECT_NE(text.find(", got 0 (difference "), std::string::npos) << text;
}

TEST(Gradcheck, FindsAWrongSecondDerivativeOnlyWhenAsked) {
  const Tensors x = {f64s({0.5, -1})};
  EXPECT_EQ(gradcheck(square_with(1, 2), x), "");
  const std::string text = gradcheck(square_with(1, 2), x, {.second = true});
  EXPECT_EQ(text.find("argument 0 at [0]: expected a second gradient of "), 0u) << text;
}

TEST(Gradcheck, ToleratesWhatItIsTold) {
  const Tensors x = {f64s({0.5, -1})};
  EXPECT_NE(gradcheck(square_with(1.01, 1), x), "");
  EXPECT_EQ(gradcheck(square_with(1.01, 1), x, {.rtol = 0.02}), "");
  EXPECT_EQ(gradcheck(square_with(1.01, 1), x, {.atol = 0.1}), "");
}

TEST(Gradcheck, LeavesTheArgumentsAlone) {
  const Tensor x = f64s({0.5, -1});
  gradcheck([](Args a) { return Tensors{a[0] * a[0]}; }, std::span(&x, 1), {.second = true});
  EXPECT_EQ(x.to_vector<double>(), (std::vector<double>{0.5, -1}));
  EXPECT_FALSE(x.requires_grad());
  EXPECT_FALSE(x.grad().defined());
}

TEST(Gradcheck, RefusesWhatItCannotCheck) {
  const TensorFn identity = [](Args a) { return Tensors(a.begin(), a.end()); };
  const Tensors single = {tensor({1})}, none, undefined = {Tensor()}, x = {f64s({1})};
  EXPECT_ERROR(gradcheck(identity, single), "[gradcheck] expected argument 0 of f64, got f32");
  EXPECT_ERROR(gradcheck(identity, undefined),
               "[gradcheck] expected argument 0 of f64, got an undefined tensor");
  EXPECT_ERROR(gradcheck(identity, none), "[gradcheck] expected arguments, got none");
  EXPECT_EQ(gradcheck([](Args a) { return Tensors{to(a[0], f32)}; }, x), "expected results of f64, got f32");
  EXPECT_EQ(gradcheck([](Args a) { return Tensors{a[0].detach()}; }, x),
            "no result of the gradient depends on an argument");
}

}  // namespace
}  // namespace hebb
