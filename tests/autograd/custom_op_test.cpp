// Ops that a program defines for itself: the same kind of object as hebb's own, with a gradient of its own.
#include <gtest/gtest.h>

#include "hebb/autograd/grad.h"
#include "hebb/nn/linear.h"
#include "hebb/op/dispatch.h"
#include "hebb/ops/creation.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/reduce.h"
#include "hebb/ops/view.h"
#include "tests/support/throws.h"

namespace hebb {
namespace {

using Tensors = std::vector<Tensor>;
using Args = std::span<const Tensor>;
using Values = std::vector<double>;

Values list(const Tensor& t) { return t.to_vector<double>(); }
Specs same(SpecPtrs in, const Attrs&) { return TensorSpec(in[0]->shape, in[0]->dtype); }

// Rounds, and passes gradients through as if it did not (Bengio et al., 2013). The grid is an attribute.
struct GridAttrs {
  double step = 1;
  HEBB_FIELDS(step)
};
const OpDef straight_through{
    .name = "straight_through",
    .doc = "x rounded to a grid; its gradient is g",
    .infer =
        [](SpecPtrs in, const Attrs& a) {
          if (a.as<GridAttrs>().step <= 0) throw Error("[straight_through] expected a step above 0");
          return same(in, a);
        },
    .vjp = [](const VjpArgs& s) -> Tensors { return {s.grads[0]}; },
    .reference =
        [](const ReferenceArgs& s) {
          const double step = s.attrs.as<GridAttrs>().step;
          Tensor y = round(s.inputs[0].detach() / step) * step;
          detail::copy_values(y.spec(), y.raw_data(), s.outputs[0].spec(), s.outputs[0].raw_data());
        },
    .saves_inputs = 0,
};
Tensor quantize(const Tensor& x, double step) { return apply1(straight_through, GridAttrs{step}, {x}); }

// (a, b) -> (a b, a / b), with its gradient by hand: one that reads inputs and outputs.
const OpDef product_and_ratio{
    .name = "product_and_ratio",
    .infer =
        [](SpecPtrs in, const Attrs&) {
          const TensorSpec s(in[0]->shape, in[0]->dtype);
          return Specs{s, s};
        },
    .vjp = [](const VjpArgs& s) -> Tensors {
      const Tensor &a = s.inputs[0], &b = s.inputs[1], &ratio = s.outputs[1];
      Tensors out(2);
      if (s.needs[0]) out[0] = s.grads[0] * b + s.grads[1] / b;
      if (s.needs[1]) out[1] = s.grads[0] * a - s.grads[1] * ratio / b;
      return out;
    },
    .reference =
        [](const ReferenceArgs& s) {
          const Values a = list(s.inputs[0]), b = list(s.inputs[1]);
          for (size_t i = 0; i < a.size(); ++i) {
            s.outputs[0].mutable_data<double>()[i] = a[i] * b[i];
            s.outputs[1].mutable_data<double>()[i] = a[i] / b[i];
          }
        },
    .saves_inputs = 3,
    .saves_outputs = 2,
};

// Only said in plain ops: neither kernel nor gradient of its own.
const OpDef cube{.name = "cube", .infer = same, .decompose = [](const Attrs&, Args in) -> Outputs {
                   return in[0] * in[0] * in[0];
                 }};

TEST(CustomOp, HasAGradientOfItsOwn) {
  const Tensor x = tensor({0.2, 0.9, -1.4}).requires_grad_();
  const Tensor y = quantize(x, 0.5);
  EXPECT_EQ(list(y), (Values{0, 1, -1.5}));
  backward(sum(y * y));
  EXPECT_EQ(list(x.grad()), (Values{0, 2, -3})) << "2 y, as if y were x";
}

TEST(CustomOp, ChecksItsArguments) {
  EXPECT_ERROR(quantize(tensor({1}), 0), "[straight_through] expected a step above 0");
  EXPECT_ERROR(apply1(straight_through, GridAttrs{}, {Tensor()}),
               "[straight_through] expected defined tensors, got an undefined one as input 0");
}

TEST(CustomOp, TakesInputsOfAnyStrides) {
  const Tensor x = transpose(tensor({{0.6, 1.4}, {2.6, 3.4}}));
  EXPECT_EQ(list(quantize(x, 1)), (Values{1, 3, 1, 3}));
}

TEST(CustomOp, OfSeveralInputsAndOutputs) {
  const Tensors x = {tensor({1.5, -2, 0.5}, f64), tensor({2, 0.5, -3}, f64)};
  const TensorFn fn = [](Args a) {
    const Outputs out = apply(product_and_ratio, Attrs(), a);
    return Tensors(out.begin(), out.end());
  };
  EXPECT_EQ(list(fn(x)[0]), (Values{3, -1, -1.5}));
  EXPECT_EQ(list(fn(x)[1]), (Values{0.75, -4, 0.5 / -3}));
  EXPECT_EQ(gradcheck(fn, x, {.second = true}), "");
  const auto [values, tangents] = jvp(fn, x, Tensors{ones({3}, f64), Tensor()});
  EXPECT_EQ(list(tangents[0]), (Values{2, 0.5, -3})) << "forward mode comes from the reverse rule";

  const Tensor a = x[0].detach().requires_grad_();
  backward(sum(apply(product_and_ratio, Attrs(), Tensors{a, x[1]})[1]));
  EXPECT_EQ(list(a.grad()), (Values{0.5, 2, -1. / 3})) << "one output and one input need no other";
}

TEST(CustomOp, MayBeSaidInPlainOpsAlone) {
  const Tensor x = tensor({1, -2}, f64);
  const TensorFn fn = [](Args a) { return Tensors{apply1(cube, Attrs(), {a[0]})}; };
  EXPECT_EQ(list(fn(std::span(&x, 1))[0]), (Values{1, -8}));
  EXPECT_EQ(gradcheck(fn, std::span(&x, 1), {.second = true}), "");
  const Tensor t = tensor({1, 10}, f64);
  EXPECT_EQ(list(jvp(fn, std::span(&x, 1), std::span(&t, 1)).second[0]), (Values{3, 120}));
}

TEST(CustomOp, TrainsInsideANetwork) {
  nn::Linear fc{1, 1};
  fc.weight.assign_(full({1, 1}, 0.9));
  fc.bias.assign_(zeros({1}));
  const Tensor x = reshape(tensor({1, 2, 3, 4}), {4, 1});
  double first = 0, last = 0;
  for (int i = 0; i < 50; ++i) {
    fc.zero_grad();
    const Tensor loss = mean(square(quantize(fc(x), 0.25) - 3 * x));
    backward(loss);
    for (Tensor& p : fc.parameters()) p.assign_(p.detach() - 0.02 * p.grad());
    (i == 0 ? first : last) = loss.item<double>();
  }
  EXPECT_GT(first, 30);
  EXPECT_LT(last, 0.1) << "plain rounding would give no gradient at all";
}

TEST(CustomOp, MustGiveAGradientForEachInputOfItsShape) {
  static OpDef short_of_one{.name = "short_of_one",
                            .infer = same,
                            .vjp = [](const VjpArgs&) -> Tensors { return {}; },
                            .decompose = [](const Attrs&, Args in) -> Outputs { return in[0] * 1; }};
  static OpDef wrong_shape{.name = "wrong_shape",
                           .infer = same,
                           .vjp = [](const VjpArgs& s) -> Tensors { return {sum(s.grads[0])}; },
                           .decompose = [](const Attrs&, Args in) -> Outputs { return in[0] * 1; }};
  const Tensor x = tensor({1, 2}).requires_grad_();
  EXPECT_ERROR(backward(sum(apply1(short_of_one, Attrs(), {x}))),
               "[backward] expected 1 gradients from short_of_one, got 0");
  EXPECT_ERROR(backward(sum(apply1(wrong_shape, Attrs(), {x}))),
               "[backward] expected wrong_shape to give a gradient of shape 2 for its input 0, got scalar");
}

TEST(CustomOp, RefusesToRunWithoutAKernel) {
  static OpDef empty{.name = "empty_op", .infer = same};
  EXPECT_ERROR(apply1(empty, Attrs(), {tensor({1})}), "[empty_op] has neither a kernel nor a plain one");
}

TEST(CustomOp, RefusesAGradientForAConstantInput) {
  static OpDef scaled{.name = "scaled",
                      .infer = same,
                      .vjp = [](const VjpArgs& s) -> Tensors {
                        return {s.grads[0] * s.inputs[1], {}};
                      },
                      .decompose = [](const Attrs&, Args in) -> Outputs { return in[0] * in[1]; },
                      .constant_inputs = 2};
  const Tensor x = tensor({1, 2}).requires_grad_(), c = tensor({3, 4}).requires_grad_();
  backward(sum(apply1(scaled, Attrs(), {x, c.detach()})));
  EXPECT_EQ(list(x.grad()), (Values{3, 4}));
  EXPECT_ERROR(apply1(scaled, Attrs(), {x, c}),
               "[scaled] expected input 1 without requires_grad: no gradient flows to it");
}

}  // namespace
}  // namespace hebb
