// Losses at their edges. Numbers are PyTorch's unless worked out by hand.
#include "hebb/ops/loss.h"

#include <cmath>
#include <limits>

#include "hebb/autograd/grad.h"
#include "hebb/ops/creation.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/norm.h"
#include "hebb/ops/reduce.h"
#include "hebb/ops/view.h"
#include "tests/ops/check_values.h"
#include "tests/support/threads.h"

namespace hebb {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr Reduction kEach = Reduction::none;

TEST(CrossEntropy, SmoothingWeightsAndIgnoredPositions) {
  on_backends([] {
    const Tensor target = integers({0, 2, 1, 1, 0}), weight = doubles({0.5, 1, 2});
    auto run = [&](Reduction reduction) {
      Tensor x = wave({5, 3}).requires_grad_();
      const Tensor loss = cross_entropy(
          x, target, {.weight = weight, .ignore_index = 1, .label_smoothing = 0.2, .reduction = reduction});
      backward(loss, ones_like(loss));
      return std::pair(loss, x.grad());
    };
    const std::vector<double> gradient{-0.29165487, 0.31525861, -0.02360374, 0.13728189, 0.63913827,
                                       -0.77642016, 0,          0,           0,          0,
                                       0,           0,          -0.00229261, 0.07560994, -0.07331733};
    std::vector<double> mean_gradient;
    for (const double g : gradient) mean_gradient.push_back(g / 3);  // weights 0.5, 2 and 0.5
    expect_values(run(kEach).first, {0.91633774, 1.26976208, 0, 0, 0.5804772});
    expect_values(run(kEach).second, gradient);
    expect_values(run(Reduction::mean).first, {0.92219234});
    expect_values(run(Reduction::mean).second, mean_gradient, 1e-7);
    expect_values(run(Reduction::sum).first, {2.76657702});
    expect_values(run(Reduction::sum).second, gradient);
  });
}

TEST(CrossEntropy, Places) {
  on_backends([] {
    const Tensor target = integers({0, 2, 1, -100}, {2, 2}), weight = doubles({0.5, 1, 2});
    Tensor x = wave({2, 3, 2}).requires_grad_();
    const Tensor loss = cross_entropy(x, target, {.weight = weight});
    expect_values(loss, {0.7640282});
    backward(loss);
    expect_values(x.grad(), {-0.10100702, 0.28987215, 0.03241281, 0.04260453, 0.06859421, -0.33247667,
                             0.04379356, 0, -0.07750927, 0, 0.03371571, 0});
  });
}

TEST(CrossEntropy, Probabilities) {
  on_backends([] {
    const Tensor x = wave({5, 3});
    expect_values(
        cross_entropy(x, softmax(x * 2, 1), {.weight = doubles({0.5, 1, 2}), .label_smoothing = 0.1}),
        {0.86459913});
    const Tensor places = wave({2, 3, 2});
    expect_values(cross_entropy(places, softmax(places, 1)), {0.93427491});
  });
}

TEST(CrossEntropy, IgnoreEverywhereAndNothing) {
  on_backends([] {
    Tensor x = wave({2, 3}).requires_grad_();
    const Tensor ignored = integers({-100, -100});
    const Tensor mean_loss = cross_entropy(x, ignored);
    expect_values(mean_loss, {kNaN});
    backward(mean_loss);
    expect_values(x.grad(), {0, 0, 0, 0, 0, 0});
    expect_values(cross_entropy(x, ignored, {.reduction = Reduction::sum}), {0});
    expect_values(nll_loss(x, ignored), {kNaN});
    const Tensor none = Tensor::from(std::vector<int64_t>{}, {0});
    expect_values(cross_entropy(zeros({0, 3}), none), {kNaN});
    expect_values(cross_entropy(zeros({0, 3}), none, {.reduction = Reduction::sum}), {0});
    EXPECT_EQ(cross_entropy(zeros({0, 3}), none, {.reduction = kEach}).shape(), Shape({0}));
  });
}

TEST(CrossEntropy, OneSampleAndLargeLogits) {
  on_backends([] {
    expect_values(cross_entropy(zeros({3}), scalar(1, i64)), {1.0986123}, 1e-6);
    expect_values(cross_entropy(doubles({1000, 0, -1000}, {1, 3}), integers({2})), {2000});
    expect_values(cross_entropy(tensor({{1000, 0, -1000}}), to(integers({2}), i32)), {2000});
  });
}

TEST(CrossEntropy, ClassOutOfRangeIsNamed) {
  on_backends([] {
    expect_error(
        [] {
          cross_entropy(zeros({4, 10}), integers({1, 2, 10, 11}));
        },
        "[cross_entropy] expected class indices from 0 to 9 (10 classes), got 10 at position 2");
    expect_error([] { cross_entropy(to(zeros({2, 3}), bf16), integers({0, -1})); }, "got -1 at position 1");
    expect_error(
        [] {
          nll_loss(zeros({2, 3}), integers({0, 3}));
        },
        "[nll_loss] expected class indices from 0 to 2");
  });
}

TEST(CrossEntropy, NoGradientForWeights) {
  Tensor weight = ones({3}).requires_grad_();
  expect_error(
      [&] {
        cross_entropy(zeros({2, 3}), integers({0, 1}), {.weight = weight});
      },
      "[cross_entropy] expected input 2 without requires_grad: no gradient flows to it");
}

TEST(CrossEntropy, SecondDerivatives) {
  const Tensor target = integers({0, 2, 1, 1, 0}), weight = doubles({0.5, 1, 2});
  const Tensor args[] = {wave({5, 3})};
  for (const Reduction reduction : {Reduction::none, Reduction::mean, Reduction::sum}) {
    EXPECT_EQ(
        gradcheck(
            [&](std::span<const Tensor> in) -> std::vector<Tensor> {
              return {sum(square(cross_entropy(
                  in[0], target,
                  {.weight = weight, .ignore_index = 1, .label_smoothing = 0.2, .reduction = reduction})))};
            },
            args, {.second = true}),
        "");
  }
}

TEST(NllLoss, WeightsAndIgnoredPositions) {
  on_backends([] {
    const Tensor target = integers({0, 2, 1, 1, 0}), weight = doubles({0.5, 1, 2});
    expect_values(nll_loss(log_softmax(wave({5, 3}), 1), target, {.weight = weight, .ignore_index = 0}),
                  {1.27683718});
  });
}

TEST(Huber, IsSmoothWithinDeltaAndALineBeyond) {
  on_backends([] {
    const Tensor x = doubles({0, 0.5, 3, -INFINITY, kNaN}).requires_grad_(),
                 target = doubles({0, 0, 0, 0, 0});
    for (const bool smooth_l1 : {false, true}) {
      const Tensor loss = smooth_l1 ? smooth_l1_loss(x, target, 2, kEach) : huber_loss(x, target, 2, kEach);
      const double unit = smooth_l1 ? 0.5 : 1;
      expect_values(loss, {0, 0.125 * unit, 4 * unit, INFINITY, kNaN});
      const Tensor first = grad(sum(loss), x, {}, {.create_graph = true});
      expect_values(first, {0, 0.5 * unit, 2 * unit, -2 * unit, kNaN});
      expect_values(slice(grad(sum(first), x), 0, 0, 4), {unit, unit, 0, 0});
    }
  });
}

TEST(BinaryCrossEntropy, FiniteAtZeroAndOne) {
  on_backends([] {
    Tensor x = doubles({0, 1, 0.3, 1, 0}).requires_grad_();
    const Tensor loss = binary_cross_entropy(x, doubles({0, 1, 0.6, 0, 1}), {.reduction = kEach});
    expect_values(loss, {0, 0, 0.86505366, 100, 100}, 1e-7);
    backward(sum(loss));
    expect_values(x.grad(), {0, 0, -0.3 / 0.21, 1e12, -1e12}, 1e-7);
    expect_values(binary_cross_entropy(doubles({kNaN}), doubles({1})), {kNaN});
    expect_error(
        [] {
          binary_cross_entropy(doubles({0.5, 1.5}), doubles({0, 1}));
        },
        "[binary_cross_entropy] expected probabilities from 0 to 1, got 1.5 at position 1");
  });
}

TEST(BinaryCrossEntropy, WithLogits) {
  on_backends([] {
    const Tensor x = doubles({100, -100, 0.5, -2}), y = doubles({0, 1, 0.3, 1});
    expect_values(binary_cross_entropy_with_logits(x, y, {.reduction = kEach}),
                  {100, 100, 0.82407698, 2.12692801});
    expect_values(binary_cross_entropy_with_logits(
                      x, y, {.weight = scalar(2, f64), .pos_weight = scalar(3, f64), .reduction = kEach}),
                  {200, 600, 2.21704636, 12.76156807});
  });
}

TEST(Regression, KinksAndTies) {
  on_backends([] {
    const Tensor zero = zeros({6}, f64);
    auto values_and_slopes = [&](auto loss) {
      Tensor x = doubles({-2, -0.5, 0, 0.5, 1, 3}).requires_grad_();
      const Tensor y = loss(x);
      backward(sum(y));
      return std::pair(y, x.grad());
    };
    const auto huber = values_and_slopes([&](const Tensor& x) { return huber_loss(x, zero, 0.5, kEach); });
    expect_values(huber.first, {0.875, 0.125, 0, 0.125, 0.375, 1.375});
    expect_values(huber.second, {-0.5, -0.5, 0, 0.5, 0.5, 0.5});
    const auto smooth =
        values_and_slopes([&](const Tensor& x) { return smooth_l1_loss(x, zero, 0.5, kEach); });
    expect_values(smooth.first, {1.75, 0.25, 0, 0.25, 0.75, 2.75});
    expect_values(smooth.second, {-1, -1, 0, 1, 1, 1});
    const auto l1 = values_and_slopes([&](const Tensor& x) { return l1_loss(x, zero, kEach); });
    expect_values(l1.second, {-1, -1, 0, 1, 1, 1});
    expect_values(mse_loss(doubles({1, 2}), doubles({3, 5})), {6.5});
    expect_values(mse_loss(doubles({1, 2}), doubles({3, 5}), Reduction::sum), {13});
    expect_values(mse_loss(zeros({0}), zeros({0})), {kNaN});
  });
  expect_error(
      [] {
        mse_loss(zeros({4, 1}), zeros({4}));
      },
      "[mse_loss] expected input and target of one shape, got 4x1 and 4");
  expect_error([] { huber_loss(zeros({4}), zeros({4}), 0); }, "expected a delta above 0, got 0");
}

TEST(KlDiv, ZeroTargetsCountForNothing) {
  on_backends([] {
    const Tensor x = log(doubles({0.2, 0.5, 0.3}));
    Tensor target = doubles({0, 0.7, 0.3}).requires_grad_();
    const Tensor loss = kl_div(x, target, {.reduction = kEach});
    expect_values(loss, {0, 0.23553055, 0});
    backward(sum(loss));
    EXPECT_TRUE(std::isfinite(target.grad().to_vector<double>()[0]));
    expect_values(kl_div(x, log(doubles({0.1, 0.6, 0.3})), {.log_target = true, .reduction = kEach}),
                  {-0.06931472, 0.10939293, 0});
  });
}

TEST(Margins, PyTorchsNumbers) {
  on_backends([] {
    expect_values(hinge_loss(doubles({0.5, -0.5, 2}), doubles({1, 1, -1}), kEach), {0.5, 1.5, 3});
    expect_values(hinge_embedding_loss(doubles({0.5, 0.3, 2}), doubles({1, -1, -1}), 1, kEach),
                  {0.5, 0.7, 0});
    const Tensor a = wave({3, 4}), p = cos(doubles(
                                       [] {
                                         std::vector<double> v;
                                         for (int i = 0; i < 12; ++i) v.push_back(std::sin(1.7 * i));
                                         return v;
                                       }(),
                                       {3, 4}));
    const Tensor b = cos(a * 3), n = a * 0.5 + 0.3;
    expect_values(cosine_embedding_loss(a, b, integers({1, -1, -1}), 0.1, kEach), {1.11724336, 0, 0});
    expect_values(triplet_margin_loss(a, p, n, {.reduction = kEach}), {2.29648907, 2.18996629, 2.11009221});
    expect_values(triplet_margin_loss(a, p, n, {.p = 1, .reduction = kEach}),
                  {3.50792346, 2.9736735, 3.01695659});
    expect_values(triplet_margin_loss(a, p, n, {.margin = 2, .p = 3, .reduction = kEach}),
                  {3.04144075, 3.03707026, 2.9263444});
    expect_values(triplet_margin_loss(a, p, n, {.swap = true, .reduction = kEach}),
                  {2.29648907, 2.18996629, 2.11009221});
  });
  expect_error(
      [] {
        cosine_embedding_loss(zeros({3, 4}), zeros({3, 4}), zeros({4}));
      },
      "expected labels of shape 3");
  expect_error([] { triplet_margin_loss(zeros({3}), zeros({3}), zeros({3}), {.p = 0}); },
               "expected a finite p above 0");
}

TEST(Loss, EqualForAnyNumberOfThreads) {
  std::vector<int64_t> classes;
  for (int64_t i = 0; i < 3000; ++i) classes.push_back(i * 7 % 19);
  const Tensor target = integers(classes), x = wave({3000, 19}, f32);
  test_support::expect_same_bits_for_threads([&] {
    Tensor leaf = x.detach().requires_grad_();
    const Tensor loss = cross_entropy(leaf, target, {.label_smoothing = 0.1});
    backward(loss);
    const Tensor bce = binary_cross_entropy(sigmoid(x), sigmoid(x * 2), {.reduction = kEach});
    return std::vector<Tensor>{loss, leaf.grad(), bce};
  });
  test_support::expect_same_bits_for_threads([&] {
    Tensor leaf = reshape(x, {10, 19, 300}).detach().requires_grad_();
    const Tensor loss = cross_entropy(leaf, reshape(target, {10, 300}), {.ignore_index = 3});
    backward(loss);
    return std::vector<Tensor>{loss, leaf.grad()};
  });
}

}  // namespace
}  // namespace hebb
