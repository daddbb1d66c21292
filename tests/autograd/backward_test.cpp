// Reverse mode: what backward() and grad() add up, keep, free, and refuse.
#include <gtest/gtest.h>

#include <thread>

#include "hebb/autograd/grad.h"
#include "hebb/op/dispatch.h"
#include "hebb/ops/creation.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/join.h"
#include "hebb/ops/matmul.h"
#include "hebb/ops/minmax.h"
#include "hebb/ops/reduce.h"
#include "hebb/ops/view.h"
#include "tests/support/throws.h"

namespace hebb {
namespace {

using Values = std::vector<double>;

Values list(const Tensor& t) { return t.to_vector<double>(); }
Tensor leaf(const Literal& v) { return tensor(v, f64).requires_grad_(); }

TEST(Backward, AddsToWhatIsThere) {
  const Tensor x = leaf({1, -2, 3});
  EXPECT_FALSE(x.grad().defined());
  backward(sum(x * x));
  EXPECT_EQ(list(x.grad()), (Values{2, -4, 6}));
  backward(sum(5 * x));
  EXPECT_EQ(list(x.grad()), (Values{7, 1, 11}));
  Tensor(x).zero_grad();
  EXPECT_FALSE(x.grad().defined());
}

TEST(Backward, AddsUpEveryPathToALeaf) {
  const Tensor x = leaf({3});
  const Tensor y = x * x;            // used twice below, and twice a leaf
  backward(sum(y * y + 2 * y + x));  // x^4 + 2 x^2 + x
  EXPECT_EQ(list(x.grad()), (Values{4 * 27 + 4 * 3 + 1}));
}

TEST(Backward, GivesEachLeafAGradientOfItsOwn) {
  const Tensor a = leaf({1, 2}), b = leaf({3, 4});
  backward(sum(a + b));
  a.grad().assign_(tensor({7, 8}, f64));
  EXPECT_EQ(list(b.grad()), (Values{1, 1})) << "a + b passes one tensor on to both";
}

TEST(Backward, OfALossThatIsALeaf) {
  const Tensor x = leaf({4});
  backward(x);
  EXPECT_EQ(list(x.grad()), (Values{1}));
}

TEST(Backward, TakesAGradientForTheLoss) {
  const Tensor x = leaf({1, 2});
  backward(x * x, tensor({10, 100}, f64));
  EXPECT_EQ(list(x.grad()), (Values{20, 400}));
  const Tensor y = leaf({2});
  backward(y * y, tensor({0.5}));  // converted to the loss's type
  EXPECT_EQ(list(y.grad()), (Values{2}));
  EXPECT_EQ(y.grad().dtype(), f64);
}

TEST(Backward, GradientsHaveTheTypeAndShapeOfTheirLeaf) {
  const Tensor a = tensor({{1, 2, 3}, {4, 5, 6}}).requires_grad_();
  const Tensor b = reshape(tensor({10, 20}, f64), {2, 1}).requires_grad_();
  backward(sum(a * b));
  EXPECT_EQ(a.grad().dtype(), f32);
  EXPECT_EQ(list(a.grad()), (Values{10, 10, 10, 20, 20, 20}));
  EXPECT_EQ(b.grad().shape(), (Shape{2, 1}));
  EXPECT_EQ(list(b.grad()), (Values{6, 15}));
}

TEST(Backward, RefusesWhatHasNoGradient) {
  const Tensor x = leaf({1, 2});
  EXPECT_ERROR(backward(x * 2),
               "[backward] expected a loss of one element, or a gradient for it; got shape 2");
  EXPECT_ERROR(backward(x * 2, leaf({1})), "[backward] expected a gradient of shape 2, got 1");
  EXPECT_ERROR(backward(sum(tensor({1, 2}))),
               "[backward] expected a loss that depends on a tensor with requires_grad");
  EXPECT_ERROR(backward(Tensor()), "[backward] expected a defined loss");
  EXPECT_ERROR(arange(3).requires_grad_(), "[requires_grad_] expected a floating type, got i64");
  Tensor y = x * 2;
  EXPECT_ERROR(y.requires_grad_(false),
               "[requires_grad_] expected a leaf, got the result of a recorded op; use detach()");
}

TEST(Backward, FreesTheGraphUnlessToldToRetainIt) {
  const Tensor x = leaf({1, 2});
  const Tensor loss = sum(x * x);
  backward(loss, {}, {.retain_graph = true});
  backward(loss, {}, {.retain_graph = true});
  EXPECT_EQ(list(x.grad()), (Values{4, 8}));
  backward(loss);
  EXPECT_EQ(list(x.grad()), (Values{6, 12}));
  EXPECT_ERROR(backward(loss),
               "[backward] expected the values saved by sum, which an earlier backward has freed; pass "
               "retain_graph to the first");
  EXPECT_EQ(list(x.grad()), (Values{6, 12}));
}

TEST(Backward, FreesOnlyWhatItWentThrough) {
  const Tensor x = leaf({1, 2}), y = leaf({3, 4});
  const Tensor shared = x * y;
  const Tensor a = sum(shared * x), b = sum(y * y);
  EXPECT_EQ(list(grad(a, shared)), (Values{1, 2})) << "stops at the tensor that is asked for";
  backward(b);
  backward(sum(shared));
  EXPECT_EQ(list(y.grad()), (Values{7, 10}));
}

TEST(GradMode, DecidesWhatIsRecorded) {
  const Tensor x = leaf({1, 2});
  EXPECT_TRUE(grad_enabled());
  {
    const NoGrad off;
    EXPECT_FALSE(grad_enabled());
    EXPECT_FALSE((x * 2).requires_grad());
    {
      const EnableGrad on;
      EXPECT_TRUE((x * 2).requires_grad());
      bool elsewhere = false;
      std::thread([&] { elsewhere = grad_enabled(); }).join();
      EXPECT_TRUE(elsewhere);
    }
    EXPECT_FALSE(grad_enabled());
    bool elsewhere = false;
    std::thread([&] { elsewhere = grad_enabled(); }).join();
    EXPECT_TRUE(elsewhere) << "each thread has a mode of its own";
  }
  EXPECT_TRUE((x * 2).requires_grad());
}

TEST(GradMode, NothingIsRecordedWithoutALeaf) {
  const Tensor y = tensor({1, 2}) * 3;
  EXPECT_FALSE(y.requires_grad());
  EXPECT_TRUE(y.is_leaf());
  const Tensor z = leaf({1}) * 3;
  EXPECT_TRUE(z.requires_grad());
  EXPECT_FALSE(z.is_leaf());
}

TEST(Detach, SharesValuesAndPassesNothingBack) {
  const Tensor x = leaf({2, 3});
  const Tensor y = x * x, cut = y.detach();
  EXPECT_FALSE(cut.requires_grad());
  EXPECT_EQ(cut.raw_data(), y.raw_data());
  backward(sum(cut * x));
  EXPECT_EQ(list(x.grad()), (Values{4, 9})) << "as if x^2 were a constant";
}

TEST(Grad, LeavesTheLeavesAlone) {
  const Tensor x = leaf({1, 2}), w = leaf({3, 4});
  EXPECT_EQ(list(grad(sum(x * w), x)), (Values{3, 4}));
  EXPECT_FALSE(x.grad().defined());
  EXPECT_FALSE(w.grad().defined());
}

TEST(Grad, OfResultsInTheMiddle) {
  const Tensor x = leaf({1, 2});
  const Tensor y = x * x, z = exp(y);
  const Tensor inputs[] = {y, x, z};
  const Tensor loss = sum(z);
  const auto g = grad(std::span(&loss, 1), inputs);
  EXPECT_EQ(list(g[0]), list(z));
  EXPECT_EQ(list(g[1]), list(z * 2 * x));
  EXPECT_EQ(list(g[2]), (Values{1, 1}));
}

TEST(Grad, OfSeveralOutputs) {
  const Tensor x = leaf({1, 2});
  const Tensor outputs[] = {x * x, sum(x), x.detach() * 5};
  const Tensor weights[] = {tensor({1, 10}, f64), scalar(7, f64), tensor({1, 1}, f64)};
  EXPECT_EQ(list(grad(outputs, std::span(&x, 1), weights)[0]), (Values{2 + 7, 40 + 7}));
  EXPECT_ERROR(grad(outputs, std::span(&x, 1), std::span(weights, 2)),
               "[grad] expected 3 gradients of outputs, got 2");
}

TEST(Grad, OfASeveralOutputOp) {
  const Tensor x = tensor({{1, 5, 2}, {7, 3, 4}}, f64).requires_grad_();
  const auto [values, positions] = max(x, 1);
  EXPECT_FALSE(positions.requires_grad());
  EXPECT_EQ(list(grad(values, x, tensor({2, 3}, f64))), (Values{0, 2, 0, 3, 0, 0}));
}

TEST(Grad, OfAnInputThatIsNotUsed) {
  const Tensor x = leaf({1, 2}), other = leaf({3});
  const Tensor inputs[] = {x, other};
  const Tensor loss = sum(x);
  EXPECT_ERROR(grad(std::span(&loss, 1), inputs, {}, {.retain_graph = true}),
               "[grad] expected outputs that depend on input 1; they do not");
  const auto g = grad(std::span(&loss, 1), inputs, {}, {}, /*allow_unused=*/true);
  EXPECT_EQ(list(g[0]), (Values{1, 1}));
  EXPECT_FALSE(g[1].defined());
  EXPECT_ERROR(grad(loss, tensor({1, 2})), "[grad] expected inputs with requires_grad");
}

TEST(Grad, OfTheSameInputTwice) {
  const Tensor x = leaf({3});
  const Tensor y = x * x;
  const Tensor inputs[] = {x, x, y, y};
  const Tensor loss = sum(y * y);
  const auto g = grad(std::span(&loss, 1), inputs);
  EXPECT_EQ(list(g[0]), (Values{108}));
  EXPECT_EQ(list(g[1]), (Values{108}));
  EXPECT_EQ(list(g[2]), (Values{18}));
  EXPECT_EQ(list(g[3]), (Values{18}));
}

TEST(CreateGraph, GivesHigherDerivatives) {
  const Tensor x = leaf({2, -1});
  Tensor y = x * x * x * x;
  const Values expected[] = {{32, -4}, {48, 12}, {48, -24}, {24, 24}};
  for (const Values& want : expected) {
    y = grad(sum(y), x, {}, {.create_graph = true});
    EXPECT_EQ(list(y), want);
  }
}

TEST(CreateGraph, IsOffUnlessAskedFor) {
  const Tensor x = leaf({2});
  EXPECT_FALSE(grad(sum(x * x), x).requires_grad());
  EXPECT_TRUE(grad(sum(x * x), x, {}, {.create_graph = true}).requires_grad());
  backward(sum(x * x), {}, {.create_graph = true});
  EXPECT_TRUE(x.grad().requires_grad());
  Tensor(x).zero_grad();  // the gradient's graph holds the leaf that holds the gradient
}

// A penalty on the length of the gradient, as in WGAN-GP, against the derivative worked out by hand:
// f = sum (W x)^2 / 2 has the gradient W^T W x, whose squared length has the derivative 2 (W^T W)^2 x.
TEST(CreateGraph, TrainsThroughAGradient) {
  const Tensor w = tensor({{1, 2}, {-1, 3}, {0.5, 1}}, f64);
  const Tensor x = leaf({1, -2});
  const Tensor y = matmul(w, x);
  const Tensor g = grad(sum(y * y) * 0.5, x, {}, {.create_graph = true});
  backward(sum(g * g));
  const Tensor m = matmul(transpose(w), w);
  EXPECT_EQ(list(x.grad()), list(2 * matmul(m, matmul(m, x.detach()))));
}

TEST(CreateGraph, HessianTimesVector) {
  const Tensor x = leaf({0.3, -0.7}), v = tensor({2, -1}, f64);
  const Tensor f = exp(select(x, 0, 0) * select(x, 0, 1)) + sin(select(x, 0, 0));
  const Tensor g = grad(f, x, {}, {.create_graph = true});
  const Values got = list(grad(sum(g * v), x));
  const double a = 0.3, b = -0.7, e = std::exp(a * b);
  EXPECT_NEAR(got[0], (b * b * e - std::sin(a)) * 2 + (1 + a * b) * e * -1, 1e-14);
  EXPECT_NEAR(got[1], (1 + a * b) * e * 2 + a * a * e * -1, 1e-14);
}

TEST(OpsWithoutGradient, GiveZerosWhereTheyAreFlat) {
  const Tensor x = leaf({-1.5, 0.4, 2.6});
  for (Tensor (*flat)(const Tensor&) : {floor, ceil, round, sign}) {
    const Tensor y = flat(x);
    EXPECT_TRUE(y.requires_grad());
    EXPECT_EQ(list(grad(sum(y), x)), (Values{0, 0, 0}));
  }
  EXPECT_EQ(list(grad(sum(step(x, 0.5) * x), x)), (Values{0, 0, 1})) << "the other factor still counts";
}

TEST(OpsWithoutGradient, NeverRequireOneOfComparisonsAndPositions) {
  const Tensor x = leaf({-1, 0, 2});
  EXPECT_FALSE((x > 0).requires_grad());
  EXPECT_FALSE(argmax(x, 0).requires_grad());
  EXPECT_FALSE(logical_not(x).requires_grad());
  EXPECT_FALSE(to(x, i64).requires_grad());
  EXPECT_EQ(list(grad(sum(where(x > 0, x, 0)), x)), (Values{0, 0, 1}));
}

const OpDef mystery{.name = "mystery",
                    .infer = [](SpecPtrs in, const Attrs&) { return Specs(TensorSpec(in[0]->shape, f64)); },
                    .reference =
                        [](const ReferenceArgs& s) {
                          for (int64_t i = 0; i < s.outputs[0].numel(); ++i)
                            s.outputs[0].mutable_data<double>()[i] = 1;
                        }};

TEST(OpsWithoutGradient, ThrowWhenAnythingElse) {
  const Tensor x = leaf({1, 2});
  const Tensor y = apply1(mystery, Attrs(), {x});
  EXPECT_EQ(list(y), (Values{1, 1})) << "only going backward is refused";
  EXPECT_ERROR(backward(sum(y)), "[backward] mystery has no gradient");
  EXPECT_ERROR(jvp([](auto a) { return std::vector{apply1(mystery, Attrs(), {a[0]})}; }, std::span(&x, 1),
                   std::vector{ones({2}, f64)}),
               "[jvp] mystery has no derivative");
  backward(sum(apply1(mystery, Attrs(), {x.detach()}) * x));
  EXPECT_EQ(list(x.grad()), (Values{1, 1})) << "beside the path it does no harm";
}

}  // namespace
}  // namespace hebb
