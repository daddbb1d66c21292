// Softmax and normalisation at their edges. Numbers are PyTorch's unless worked out by hand.
#include "hebb/ops/norm.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "hebb/autograd/grad.h"
#include "hebb/ops/creation.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/reduce.h"
#include "hebb/ops/view.h"
#include "tests/ops/check_values.h"
#include "tests/support/threads.h"

namespace hebb {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

TEST(Softmax, LargeAndInfiniteValues) {
  on_backends([] {
    for (const DType t : {f32, f64}) {
      const Tensor x = to(doubles({1000, 1001, -kInf}), t);
      expect_values(softmax(x, 0), {0.26894142, 0.73105858, 0}, 1e-6);
      expect_values(log_softmax(x, 0), {-1.31326169, -0.31326169, -kInf}, 1e-6);
      // The same values across memory.
      const Tensor columns = expand(reshape(x, {3, 1}), {3, 2});
      expect_values(softmax(columns, 0), {0.26894142, 0.26894142, 0.73105858, 0.73105858, 0, 0}, 1e-6);
    }
  });
}

TEST(Softmax, FloatsAsDoublesAndNaNOfAnyBits) {
  manual_seed(6);
  for (const int64_t n : {3, 8, 21, 64, 333}) {
    std::vector<float> x = (randn({n}) * 20).to_vector<float>();
    x[1] = -static_cast<float>(kInf);
    x[static_cast<size_t>(n) / 2 + 1] -= 500;
    const Tensor one = Tensor::from(x);
    const auto got = softmax(one, 0).to_vector<float>();
    const auto want = softmax(to(one, f64), 0).to_vector<double>();
    // (The difference to the largest is rounded.)
    for (size_t i = 0; i < got.size(); ++i)
      EXPECT_NEAR(got[i], want[i], 2e-5 * want[i] + 1e-37) << n << ", " << i;
    EXPECT_EQ(got[1], 0.0f);
    for (const uint32_t bits : {0x7fc00000u, 0xffc00000u, 0x7fc00001u, 0xffc12345u}) {
      std::memcpy(&x[2], &bits, sizeof(bits));
      for (const float y : softmax(Tensor::from(x), 0).to_vector<float>()) EXPECT_TRUE(std::isnan(y)) << n;
    }
  }
}

TEST(Softmax, NaNAndNothingButMinusInfinityGiveNaN) {
  on_backends([] {
    for (const double bad : {kNaN, kInf}) {
      const Tensor x = doubles({1, bad, 2, 1, 2, 3}, {2, 3});
      const Tensor y = softmax(x, 1), z = log_softmax(to(transpose(x), f32), 0);
      expect_values(y, {kNaN, kNaN, kNaN, 0.09003057, 0.24472847, 0.66524096});
      EXPECT_TRUE(std::isnan(z.to_vector<float>()[2]));
    }
    expect_values(softmax(doubles({-kInf, -kInf}), 0), {kNaN, kNaN});
  });
}

TEST(Softmax, EmptyAndScalar) {
  on_backends([] {
    EXPECT_EQ(softmax(zeros({0, 3}), 1).shape(), Shape({0, 3}));
    EXPECT_EQ(softmax(zeros({3, 0}), 1).shape(), Shape({3, 0}));
    EXPECT_EQ(log_softmax(zeros({3, 0, 2}), 1).shape(), Shape({3, 0, 2}));
    expect_values(softmax(scalar(2), -1), {1});
  });
  expect_error([] { softmax(zeros({2, 3}), 2); }, "[softmax]");
}

TEST(Softmax, EveryLengthEqualsThePlainKernel) {
  for (int64_t n = 1; n < 40; ++n) {
    for (const Shape& shape : {Shape{3, n}, Shape{2, 3, n}}) {
      const Tensor x = wave(shape, f32), g = wave(shape, f32, 1);
      auto run = [&] {
        Tensor leaf = x.detach().requires_grad_();
        const Tensor y = softmax(leaf, 1) + log_softmax(leaf, 1);
        backward(y, g);
        return std::vector<Tensor>{y, leaf.grad()};
      };
      const std::vector<Tensor> got = run();
      const BackendScope scope("reference");
      const std::vector<Tensor> expected = run();
      for (size_t i = 0; i < got.size(); ++i) expect_values(got[i], expected[i].to_vector<double>(), 2e-6);
    }
  }
}

TEST(BatchNorm, TrainingMovesTheRunningStatistics) {
  on_backends([] {
    const Tensor x = wave({3, 2, 2, 2}), weight = doubles({2, 0.5}), bias = doubles({0.1, -0.1});
    Tensor mean = zeros({2}, f64), var = ones({2}, f64);
    expect_values(batch_norm(x, mean, var, weight, bias, true, 0.3),
                  {0.03052058,  2.83878745,  -0.69313887, -2.59126722, 0.21678484,  0.43241094,
                   -0.62906659, -0.57116162, 2.46355605,  1.15403872,  -2.69203315, -0.39142545,
                   0.57502107,  -0.21021852, -0.82170429, 0.12110846,  2.52050851,  -1.62792885,
                   -2.0321032,  2.22048544,  0.24155801,  -0.77768856, -0.34201044, 0.56496668});
    expect_values(mean, {0.00736044, 0.01408374});
    expect_values(var, {0.86323533, 0.8630245});  // from the unbiased variance
    const Tensor y = batch_norm(x, mean, var, weight, bias, false, 0.3, 1e-3);
    expect_values(select(select(select(y, 3, 0), 2, 0), 0, 0), {0.084165, 0.15821116});
    expect_values(mean, {0.00736044, 0.01408374});
  });
}

TEST(BatchNorm, OptionalOperands) {
  on_backends([] {
    Tensor none, none_too;
    const Tensor x = doubles({1, 10, 3, 10}, {2, 2});
    expect_values(batch_norm(x, none, none_too, {}, {}, true, 0.1, 0), {-1, kNaN, 1, kNaN});
    expect_values(batch_norm(x, none, none_too, {}, doubles({5, 6}), true), {4.000005, 6, 5.999995, 6}, 1e-6);
    Tensor mean = doubles({1, 2}), var = doubles({4, 4});
    expect_values(batch_norm(x, mean, var, {}, {}, false, 0.1, 0), {0, 4, 1, 4});
    expect_values(batch_norm(x, mean, var, doubles({2, 2}), {}, false, 0.1, 0), {0, 8, 2, 8});
  });
}

TEST(BatchNorm, EmptyBatchLeavesTheStatistics) {
  on_backends([] {
    Tensor mean = zeros({3}), var = ones({3});
    EXPECT_EQ(batch_norm(zeros({0, 3, 4, 4}), mean, var, {}, {}, true).shape(), Shape({0, 3, 4, 4}));
    expect_values(mean, {0, 0, 0});
    expect_values(var, {1, 1, 1});
  });
}

TEST(BatchNorm, RunningStatisticsAreNotRecorded) {
  Tensor mean = zeros({2}), var = ones({2});
  Tensor x = wave({4, 2}, f32).requires_grad_();
  backward(sum(batch_norm(x, mean, var, {}, {}, true)));
  EXPECT_FALSE(mean.requires_grad());
  EXPECT_TRUE(var.is_leaf());
}

TEST(BatchNorm, GradientsInBothModes) {
  for (const Shape& shape : {Shape{3, 2, 2, 3}, Shape{5, 2}}) {
    const Tensor args[] = {wave(shape), doubles({2, 0.5}), doubles({0.1, -0.1})};
    const Tensor g = wave(shape, f64, 0.5);
    auto fn = [&](bool training) {
      return [&g, training](std::span<const Tensor> in) -> std::vector<Tensor> {
        Tensor mean = zeros({2}, f64), var = ones({2}, f64);
        return {sum(g * batch_norm(in[0], mean, var, in[1], in[2], training))};
      };
    };
    EXPECT_EQ(gradcheck(fn(true), args, {.second = true}), "");
    EXPECT_EQ(gradcheck(fn(false), args, {.second = true}), "");
  }
}

TEST(BatchNorm, Errors) {
  Tensor mean = zeros({3}), none, none_too;
  expect_error([&] { batch_norm(zeros({2, 3}), none, none_too); }, "[batch_norm] expected running_mean");
  expect_error([&] { batch_norm(zeros({2, 3}), mean, none, {}, {}, true); }, "got only one");
  expect_error(
      [&] {
        batch_norm(zeros({2, 4}), mean, mean);
      },
      "expected running statistics of shape 4 (input 2x4), got 3");
  expect_error(
      [&] {
        batch_norm(zeros({1, 3}), none, none_too, {}, {}, true);
      },
      "expected more than one value per channel in training, got 1x3");
}

TEST(LayerNorm, PyTorchsNumbers) {
  on_backends([] {
    const Tensor x = wave({2, 2, 2});
    expect_values(
        layer_norm(x, {2, 2}, {}, doubles({0.1, 0.2, 0.3, 0.4}, {2, 2}), 1e-3),
        {0.16879299, 1.70733451, -0.00190331, -0.87422417, 0.85502053, 1.41420927, -0.74627095, -0.52295883});
    EXPECT_EQ(layer_norm(zeros({0, 3}), {3}).shape(), Shape({0, 3}));
    expect_values(
        group_norm(wave({1, 4, 2}), 2, doubles({1, 2, 3, 4}), doubles({0, 0, 1, 1})),
        {0.06886476, 1.50890707, -0.60443658, -2.55110709, 3.26761774, 4.64673858, -3.18980678, -2.69600165});
  });
  expect_error(
      [] {
        layer_norm(zeros({2, 3}), {2});
      },
      "expected an input whose last dimensions are 2, got 2x3");
  expect_error(
      [] {
        group_norm(zeros({2, 3}), 2);
      },
      "expected a number of groups that divides 3 channels, got 2");
}

TEST(LayerNorm, Gradients) {
  const Tensor args[] = {wave({3, 2, 5}), wave({2, 5}, f64, 0.2), wave({2, 5}, f64, 0.9)};
  const Tensor g = wave({3, 2, 5}, f64, 0.5);
  EXPECT_EQ(gradcheck(
                [&](std::span<const Tensor> in) -> std::vector<Tensor> {
                  return {sum(g * layer_norm(in[0], {2, 5}, in[1], in[2]))};
                },
                args, {.second = true}),
            "");
  EXPECT_EQ(
      gradcheck(
          [&](std::span<const Tensor> in) -> std::vector<Tensor> { return {sum(g * group_norm(in[0], 2))}; },
          std::span(args, 1), {.second = true}),
      "");
}

TEST(InstanceNorm, PyTorchsNumbers) {
  on_backends([] {
    const Tensor x = wave({3, 2, 2, 2}), weight = doubles({2, 0.5}), bias = doubles({0.1, -0.1});
    Tensor mean = zeros({2}, f64), var = ones({2}, f64);
    expect_values(
        select(instance_norm(x, mean, var, weight, bias, true, 0.3), 0, 1),
        {2.5283775, 1.16358249, -2.84484077, -0.44711922, 0.54725115, -0.22402478, -0.82463669, 0.10141031});
    expect_values(mean, {0.00736044, 0.01408374});
    expect_values(var, {0.8983189, 0.89867977});
    expect_values(
        select(instance_norm(x, mean, var, weight, bias, false, 0.3), 0, 2),
        {1.93986209, -1.15131133, -1.45247847, 1.71630241, 0.17162607, -0.58721399, -0.26284693, 0.4124073});
  });
  expect_error(
      [] {
        instance_norm(zeros({2, 3, 1}));
      },
      "expected more than one place per channel, got 2x3x1");
}

TEST(LocalResponseNorm, OddAndEvenSizes) {
  on_backends([] {
    const Tensor x = wave({1, 5, 2});
    expect_values(local_response_norm(x, 3, 0.5, 0.75, 2),
                  {0, 0.5298022, -0.14907171, -0.47819333, 0.27993102, 0.42575932, -0.38155442, -0.34263673,
                   0.47486282, 0.22824958});
    expect_values(local_response_norm(x, 4, 0.5),
                  {0, 0.84902106, -0.24836996, -0.75618704, 0.46005415, 0.63490218, -0.61342879, -0.52154272,
                   0.75693165, 0.35792809});
  });
}

TEST(Norm, EqualForAnyNumberOfThreads) {
  const Tensor x = wave({33, 70, 9, 7}, f32), w = wave({70}, f32), b = wave({70}, f32, 1);
  const Tensor rows = wave({500, 70}, f32);
  for (const int mode : {0, 1, 2, 3, 4}) {
    SCOPED_TRACE(mode);
    test_support::expect_same_bits_for_threads([&] {
      Tensor leaf = (mode % 2 ? rows : x).detach().requires_grad_(), weight = w.detach().requires_grad_();
      Tensor mean = zeros({70}), var = ones({70});
      const Tensor y = mode < 2    ? batch_norm(leaf, mean, var, weight, b, true)
                       : mode == 3 ? layer_norm(leaf, {70}, weight, b)
                       : mode == 2 ? softmax(leaf, 1)
                                   : log_softmax(leaf, 3);
      backward(y, wave(y.shape(), f32, 0.3));
      std::vector<Tensor> all{y, leaf.grad(), mean, var};
      if (weight.grad().defined()) all.push_back(weight.grad());
      return all;
    });
  }
}

}  // namespace
}  // namespace hebb
