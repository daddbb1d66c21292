// What the tape holds, and for how long: saved values go as backward() passes them, and graphs of any depth
// are walked and taken apart without recursion.
#include <gtest/gtest.h>

#include <vector>

#include "hebb/autograd/grad.h"
#include "hebb/core/storage.h"
#include "hebb/op/dispatch.h"
#include "hebb/ops/creation.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/reduce.h"
#include "hebb/ops/view.h"

namespace hebb {
namespace {

constexpr int kDeep = 100'000;
constexpr int64_t kBytes = 1 << 20, kElements = kBytes / 4;

int64_t in_use() { return memory_stats().in_use; }

// The identity; going backward through it notes how much memory is in use.
std::vector<int64_t> seen_in_use;
const OpDef probe{
    .name = "probe",
    .kind = Kind::View,
    .infer = [](SpecPtrs in, const Attrs&) { return Specs(TensorSpec(in[0]->shape, in[0]->dtype)); },
    .vjp = [](const VjpArgs& s) -> std::vector<Tensor> {
      seen_in_use.push_back(in_use());
      return {s.grads[0]};
    },
    .view =
        [](const TensorSpec& in, const Attrs&) {
          return std::optional(ViewSpec{in, 0});
        },
    .saves_inputs = 0};
Tensor probed(const Tensor& x) { return apply1(probe, Attrs(), {x}); }

// x through `n` tanh, each of which saves 1 MB: its result.
Tensor layers(Tensor x, int n) {
  for (int i = 0; i < n; ++i) x = tanh(probed(x));
  return x;
}

TEST(Saved, ValuesGoAsBackwardPassesThem) {
  const Tensor x = full({kElements}, 0.5).requires_grad_();
  const int64_t before = in_use();
  const Tensor loss = sum(layers(x, 10));
  const int64_t saved = in_use() - before;
  EXPECT_GE(saved, 10 * kBytes);
  EXPECT_LE(saved, 11 * kBytes);

  seen_in_use.clear();
  reset_peak_memory();
  backward(loss);
  ASSERT_EQ(seen_in_use.size(), 10u);
  for (int i = 1; i < 10; ++i)
    EXPECT_EQ(seen_in_use[i], seen_in_use[i - 1] - kBytes) << "a saved value is freed at each layer";
  EXPECT_LE(memory_stats().peak - before, saved + 3 * kBytes)
      << "beside the values: a gradient in and one out";
  EXPECT_LE(in_use() - before, kBytes + 4096) << "the leaf's gradient, though the loss is still held";
}

// tanh saves its result; the sine saves what it is taken of.
TEST(Saved, InputsGoToo) {
  const Tensor x = full({kElements}, 0.5).requires_grad_();
  const int64_t before = in_use();
  Tensor y = x;
  for (int i = 0; i < 10; ++i) y = sin(y);
  const Tensor loss = sum(y);
  y = Tensor();
  EXPECT_EQ(in_use() - before, 9 * kBytes + 64) << "the first is taken of the leaf";
  backward(loss);
  EXPECT_LE(in_use() - before, kBytes + 4096);
}

TEST(Saved, ValuesStayWhenTheGraphIsRetained) {
  const Tensor x = full({kElements}, 0.5).requires_grad_();
  const int64_t before = in_use();
  {
    const Tensor loss = sum(layers(x, 10));
    const int64_t saved = in_use() - before;
    grad(loss, x, {}, {.retain_graph = true});
    EXPECT_EQ(in_use() - before, saved);
    grad(loss, x);
    EXPECT_LE(in_use() - before, 64);
  }
  EXPECT_EQ(in_use(), before) << "and go with the loss";
}

TEST(Saved, OnlyWhatTheGradientReads) {
  const Tensor x = full({kElements}, 0.5).requires_grad_();
  const int64_t before = in_use();
  // Bytes that a graph holds beside its result. (Within one expression intermediate tensors would live on.)
  auto held_by = [&](auto make) {
    const Tensor y = make();
    return in_use() - before - std::max<int64_t>(y.numel() * 4, 64);
  };
  EXPECT_EQ(held_by([&] { return x + 1; }), 0) << "the gradient of a sum reads nothing";
  EXPECT_EQ(held_by([&] { return sum(x * 2); }), 64) << "of a product with a number: the number";
  EXPECT_EQ(held_by([&] { return sum(relu(x + 1)); }), kBytes) << "of relu: its result";
  EXPECT_EQ(held_by([&] { return sum(square(x + 1)); }), kBytes) << "of a square: what is squared";
  const NoGrad off;
  EXPECT_EQ(held_by([&] { return sum(exp(x)); }), 0);
  EXPECT_EQ(in_use(), before);
}

TEST(Saved, NothingForInputsWithoutGradientDownstream) {
  const Tensor x = full({kElements}, 0.5);
  const int64_t before = in_use();
  const Tensor y = sum(layers(x, 5));
  EXPECT_LE(in_use() - before, 64);
}

// A chain of one-element ops: x_{i+1} = x_i * c.
Tensor chain(const Tensor& x, int n) {
  const Tensor c = scalar(1 + 1e-5, f64);
  Tensor y = x;
  for (int i = 0; i < n; ++i) y = mul(y, c);
  return y;
}

TEST(DeepGraph, GoesBackward) {
  const int64_t before = in_use();
  {
    const Tensor x = scalar(1, f64).requires_grad_();
    const Tensor y = chain(x, kDeep);
    backward(y);
    EXPECT_NEAR(x.grad().item<double>(), std::exp(kDeep * std::log1p(1e-5)), 1e-9);
  }
  EXPECT_EQ(in_use(), before);
}

TEST(DeepGraph, IsDroppedUnused) {
  const int64_t before = in_use();
  {
    const Tensor x = scalar(1, f64).requires_grad_();
    Tensor y = chain(x, kDeep);
    EXPECT_GT(in_use() - before, 64);
    y = Tensor();
    EXPECT_EQ(in_use() - before, 64);
  }
  EXPECT_EQ(in_use(), before);
}

TEST(DeepGraph, WhoseNodesAreJoinedTwice) {
  const int64_t before = in_use();
  {
    const Tensor x = scalar(1, f64).requires_grad_();
    Tensor y = x;
    for (int i = 0; i < kDeep / 4; ++i) y = (y + y) * 0.5;
    backward(y);
    EXPECT_EQ(x.grad().item<double>(), 1);
    y = x;
    for (int i = 0; i < kDeep / 4; ++i) y = y * y;
  }
  EXPECT_EQ(in_use(), before);
}

// Two long strands that cross at each step.
TEST(DeepGraph, OfTwoStrands) {
  const Tensor x = scalar(1, f64).requires_grad_();
  Tensor a = x, b = 0 * x;
  for (int i = 0; i < kDeep / 10; ++i) {
    const Tensor next = 0.6 * a + 0.8 * b;
    b = 0.8 * a - 0.6 * b;
    a = next;
  }
  EXPECT_NEAR(grad(a, x).item<double>(), 1, 1e-9) << "a reflection, an even number of times";
}

TEST(DeepGraph, OfAGradient) {
  const int64_t before = in_use();
  {
    const Tensor x = scalar(1.0, f64).requires_grad_();
    Tensor y = x;
    for (int i = 0; i < kDeep / 10; ++i) y = sin(y);
    const Tensor g = grad(y, x, {}, {.create_graph = true});
    EXPECT_TRUE(std::isfinite(grad(g, x).item<double>()));
  }
  EXPECT_EQ(in_use(), before);
}

}  // namespace
}  // namespace hebb
