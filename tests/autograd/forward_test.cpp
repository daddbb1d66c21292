// Forward mode: directional derivatives against reverse mode and against derivatives worked out by hand,
// nested and mixed with it; and value_and_grad.
#include <gtest/gtest.h>

#include <cmath>

#include "hebb/autograd/grad.h"
#include "hebb/op/dispatch.h"
#include "hebb/ops/conv.h"
#include "hebb/ops/creation.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/loss.h"
#include "hebb/ops/matmul.h"
#include "hebb/ops/minmax.h"
#include "hebb/ops/norm.h"
#include "hebb/ops/reduce.h"
#include "hebb/ops/view.h"
#include "tests/support/op_driver.h"
#include "tests/support/throws.h"

namespace hebb {
namespace {

using test_support::direction;
using Tensors = std::vector<Tensor>;
using Args = std::span<const Tensor>;
using Values = std::vector<double>;

Values list(const Tensor& t) { return t.to_vector<double>(); }
Tensor f64s(const Literal& v) { return tensor(v, f64); }
double dot(const Tensor& a, const Tensor& b) { return sum(a * b).item<double>(); }

// <u, J t> by forward mode and <J^T u, t> by reverse mode are one number.
void expect_forward_is_reverse(const TensorFn& fn, const Tensors& args) {
  Tensors tangents, leaves;
  for (const Tensor& a : args) {
    tangents.push_back(direction(a.shape(), tangents.size()));
    leaves.push_back(a.detach().requires_grad_());
  }
  const auto [values, pushed] = jvp(fn, args, tangents);
  const Tensors results = fn(leaves);
  ASSERT_EQ(values.size(), results.size());
  for (size_t i = 0; i < results.size(); ++i) {
    EXPECT_EQ(list(values[i]), list(results[i]));
    ASSERT_EQ(pushed[i].shape(), results[i].shape());
    const Tensor u = direction(results[i].shape(), 10 + i);
    const Tensors pulled =
        grad(std::span(&results[i], 1), leaves, std::span(&u, 1), {.retain_graph = true}, true);
    double expected = 0;
    for (size_t k = 0; k < args.size(); ++k)
      if (pulled[k].defined()) expected += dot(pulled[k], tangents[k]);
    EXPECT_NEAR(dot(u, pushed[i]), expected, 1e-12 * (1 + std::abs(expected))) << "result " << i;
  }
}

TEST(Jvp, IsTheTransposeOfReverseMode) {
  const Tensor x = direction({3, 4}, 20), w = direction({5, 4}, 21), b = direction({5}, 22);
  expect_forward_is_reverse([](Args a) { return Tensors{tanh(linear(a[0], a[1], a[2]))}; }, {x, w, b});
  expect_forward_is_reverse([](Args a) { return Tensors{softmax(a[0], 1), a[0] * a[0]}; }, {x});
  expect_forward_is_reverse([](Args a) { return Tensors{max(a[0], 0).values, var(a[0], {1})}; }, {x});
  expect_forward_is_reverse([](Args a) { return Tensors{cross_entropy(a[0], tensor({1, 0, 3}, i64))}; }, {x});
  const Tensor image = direction({2, 3, 6, 5}, 23), kernel = direction({4, 3, 3, 3}, 24);
  expect_forward_is_reverse(
      [](Args a) { return Tensors{relu(conv2d(a[0], a[1], {}, {.stride = 2, .padding = 1}))}; },
      {image, kernel});
}

TEST(Jvp, ByHand) {
  const Tensor x = f64s({2, 3}), t = f64s({1, 10});
  const auto [y, dy] = jvp(
      [](Args a) {
        return Tensors{a[0] * a[0], sum(a[0])};
      },
      std::span(&x, 1), std::span(&t, 1));
  EXPECT_EQ(list(y[0]), (Values{4, 9}));
  EXPECT_EQ(list(dy[0]), (Values{4, 60}));
  EXPECT_EQ(list(dy[1]), (Values{11}));
}

TEST(Jvp, AnUndefinedTangentMeansZero) {
  const Tensors args = {f64s({2, 3}), f64s({5, 7})}, tangents = {f64s({1, 1}), Tensor()};
  EXPECT_EQ(list(jvp([](Args a) { return Tensors{a[0] * a[1]}; }, args, tangents).second[0]), (Values{5, 7}));
}

TEST(Jvp, OfWhatDoesNotDependOnTheArguments) {
  const Tensor x = f64s({1.5, -2.5}), t = f64s({1, 1});
  const auto [y, dy] = jvp(
      [](Args a) {
        return Tensors{f64s({4, 5, 6}), floor(a[0]), a[0] > 0};
      },
      std::span(&x, 1), std::span(&t, 1));
  EXPECT_EQ(list(dy[0]), (Values{0, 0, 0}));
  EXPECT_EQ(list(dy[1]), (Values{0, 0}));
  EXPECT_EQ(list(dy[2]), (Values{0, 0}));
  EXPECT_EQ(dy[2].dtype(), boolean);
}

TEST(Jvp, RefusesTangentsThatDoNotFit) {
  const Tensor x = f64s({1, 2});
  const TensorFn same = [](Args a) { return Tensors(a.begin(), a.end()); };
  const Tensor wrong_shape = f64s({1}), wrong_type = tensor({1, 2});
  EXPECT_ERROR(jvp(same, std::span(&x, 1), std::span(&wrong_shape, 1)),
               "[jvp] expected tangent 0 of f64 2, got f64 1");
  EXPECT_ERROR(jvp(same, std::span(&x, 1), std::span(&wrong_type, 1)),
               "[jvp] expected tangent 0 of f64 2, got f32 2");
  EXPECT_ERROR(jvp(same, std::span(&x, 1), {}), "[jvp] expected 1 tangents, one for each argument, got 0");
  EXPECT_EQ(top_interpreter(), nullptr) << "an error leaves nothing behind";
}

TEST(Jvp, AnArgumentThatComesTwiceIsTwoArguments) {
  const Tensor q = f64s({3}), one = ones({1}, f64), none = zeros({1}, f64);
  const TensorFn weighed = [](Args a) { return Tensors{a[0] * 2 + a[1] * 3}; };
  EXPECT_EQ(list(jvp(weighed, Tensors{q, q}, Tensors{one, none}).second[0]), (Values{2}));
  EXPECT_EQ(list(jvp(weighed, Tensors{q, q}, Tensors{one, {}}).second[0]), (Values{2}));
  const TensorFn captured = [&](Args a) { return Tensors{a[0] * q}; };
  EXPECT_EQ(list(jvp(captured, Tensors{q}, Tensors{one}).second[0]), (Values{3})) << "q itself is a constant";
}

TEST(Jvp, InnerTangentsAreNotTheOuterOnes) {
  // d/dx of x times the derivative of x y by y, at y = x: that derivative is x, so that this is x^2.
  const Tensor x = f64s({3}), one = ones({1}, f64);
  const TensorFn outer = [&](Args a) {
    const Tensor inner =
        jvp([&](Args b) { return Tensors{a[0] * b[0]}; }, std::span(&a[0], 1), std::span(&one, 1)).second[0];
    return Tensors{a[0] * inner};
  };
  EXPECT_EQ(list(jvp(outer, std::span(&x, 1), std::span(&one, 1)).second[0]), (Values{6}));
}

TEST(Jvp, OfJvpIsTheSecondDerivative) {
  const Tensor x = f64s({0.5, -1}), one = ones({2}, f64);
  const TensorFn first = [&](Args a) {
    return jvp([](Args b) { return Tensors{b[0] * b[0] * b[0]}; }, a, std::span(&one, 1)).second;
  };
  const auto [d1, d2] = jvp(first, std::span(&x, 1), std::span(&one, 1));
  EXPECT_EQ(list(d1[0]), (Values{0.75, 3}));
  EXPECT_EQ(list(d2[0]), (Values{3, -6}));
}

TEST(Jvp, IsDifferentiableInReverse) {
  const Tensor x = f64s({0.5, -1}).requires_grad_(), t = f64s({2, 3});
  // tanh has a rule of its own for forward mode, softmax none: it goes by the reverse rule twice.
  for (Tensor (*fn)(const Tensor&) :
       {+[](const Tensor& a) { return tanh(a); }, +[](const Tensor& a) { return softmax(a, 0); }}) {
    const TensorFn f = [&](Args a) { return Tensors{fn(a[0])}; };
    const Tensor pushed = jvp(f, std::span(&x, 1), std::span(&t, 1)).second[0];
    const Values got = list(grad(sum(pushed * f64s({1, -1})), x));
    const double h = 1e-6;
    for (int i = 0; i < 2; ++i) {
      auto at = [&](double delta) {
        Values v = list(x);
        v[i] += delta;
        const Tensor moved = Tensor::from(v);
        const Values d = list(jvp(f, std::span(&moved, 1), std::span(&t, 1)).second[0]);
        return d[0] - d[1];
      };
      EXPECT_NEAR(got[i], (at(h) - at(-h)) / (2 * h), 1e-8);
    }
  }
}

TEST(Jvp, RefusesReverseModeInside) {
  const Tensor x = f64s({1, 2}), t = f64s({1, -1});
  const TensorFn gradient = [](Args a) {
    return value_and_grad([](Args b) { return Tensors{sum(b[0] * b[0] * b[0])}; }, a).second;
  };
  EXPECT_ERROR(jvp(gradient, std::span(&x, 1), std::span(&t, 1)),
               "[grad] expected to run outside of jvp: forward mode does not see the tape");
}

TEST(ValueAndGrad, OfAllArguments) {
  const Tensors args = {f64s({1, 2}), f64s({3, 4}), f64s({5})};
  const auto [values, grads] = value_and_grad(
      [](Args a) {
        return Tensors{sum(a[0] * a[0] * a[1]), a[0] + a[1]};
      },
      args);
  EXPECT_EQ(values[0].item<double>(), 19);
  EXPECT_EQ(list(values[1]), (Values{4, 6})) << "further results come along";
  EXPECT_EQ(list(grads[0]), (Values{6, 16}));
  EXPECT_EQ(list(grads[1]), (Values{1, 4}));
  EXPECT_EQ(list(grads[2]), (Values{0})) << "zeros for an argument that is not used";
  EXPECT_FALSE(args[0].requires_grad()) << "the arguments stay as they were";
  EXPECT_FALSE(grads[0].requires_grad());
}

TEST(ValueAndGrad, WorksInsideNoGradAndNestsOutsideIt) {
  const Tensor x = f64s({2});
  const TensorFn cube = [](Args a) { return Tensors{sum(a[0] * a[0] * a[0])}; };
  {
    const NoGrad off;
    EXPECT_EQ(list(value_and_grad(cube, std::span(&x, 1)).second[0]), (Values{12}));
  }
  const TensorFn slope = [&](Args a) { return Tensors{sum(value_and_grad(cube, a).second[0])}; };
  EXPECT_EQ(list(value_and_grad(slope, std::span(&x, 1)).second[0]), (Values{12})) << "6 x at 2";
}

TEST(ValueAndGrad, NeedsALoss) {
  const Tensor x = f64s({1, 2});
  EXPECT_ERROR(value_and_grad([](Args) { return Tensors{}; }, std::span(&x, 1)),
               "[value_and_grad] expected a function that returns its loss, got no result");
  EXPECT_ERROR(value_and_grad([](Args a) { return Tensors{a[0]}; }, std::span(&x, 1)),
               "[grad] expected a loss of one element, or a gradient for it; got shape 2");
}

}  // namespace
}  // namespace hebb
