// Initialisers: mean, variance, bounds, orthogonality; and PyTorch's defaults of the layers.
#include "hebb/nn/init.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "hebb/nn/activation.h"
#include "hebb/nn/conv.h"
#include "hebb/nn/linear.h"
#include "hebb/nn/norm.h"
#include "hebb/ops/creation.h"
#include "hebb/ops/matmul.h"
#include "hebb/ops/view.h"
#include "tests/support/throws.h"

namespace hebb::nn {
namespace {

struct Stats {
  double mean = 0, std = 0, low = 0, high = 0;
};
Stats stats(const Tensor& t) {
  const std::vector<double> v = t.to_vector<double>();
  Stats s;
  for (const double x : v) s.mean += x / static_cast<double>(v.size());
  for (const double x : v) s.std += (x - s.mean) * (x - s.mean) / static_cast<double>(v.size());
  s.std = std::sqrt(s.std);
  s.low = *std::ranges::min_element(v);
  s.high = *std::ranges::max_element(v);
  return s;
}

// 60,000 values of fan_in 300 and fan_out 200. The mean is known to std / 245, the deviation to a third of a
// percent.
Tensor weight() { return zeros({200, 300}, f64); }

void expect_uniform(const Tensor& t, double bound) {
  const Stats s = stats(t);
  EXPECT_NEAR(s.mean, 0, bound * 0.02);
  EXPECT_NEAR(s.std, bound / std::sqrt(3.0), bound * 0.01);
  EXPECT_GE(s.low, -bound);
  EXPECT_LE(s.high, bound);
  EXPECT_GT(s.high - s.low, 1.99 * bound);
}
void expect_normal(const Tensor& t, double std) {
  const Stats s = stats(t);
  EXPECT_NEAR(s.mean, 0, std * 0.02);
  EXPECT_NEAR(s.std, std, std * 0.015);
  EXPECT_GT(s.high, 3 * std);
}

TEST(Init, VariancesAreThoseOfThePapers) {
  Generator g(7);
  const Tensor w = weight();
  init::uniform_(w, -2, 2, g);
  expect_uniform(w, 2);
  init::normal_(w, 0, 0.3, g);
  expect_normal(w, 0.3);
  init::xavier_uniform_(w, 1, g);
  expect_uniform(w, std::sqrt(6.0 / 500));
  init::xavier_normal_(w, 2, g);
  expect_normal(w, 2 * std::sqrt(2.0 / 500));
  init::kaiming_uniform_(w, 0, init::FanMode::fan_in, "relu", g);
  expect_uniform(w, std::sqrt(2.0) * std::sqrt(3.0 / 300));
  init::kaiming_normal_(w, 0, init::FanMode::fan_out, "relu", g);
  expect_normal(w, std::sqrt(2.0 / 200));
  init::kaiming_normal_(w, 0.2, init::FanMode::fan_in, "leaky_relu", g);
  expect_normal(w, std::sqrt(2 / 1.04 / 300));
  init::lecun_normal_(w, g);
  expect_normal(w, std::sqrt(1.0 / 300));
  init::lecun_uniform_(w, g);
  expect_uniform(w, std::sqrt(3.0 / 300));
  init::constant_(w, 0.5);
  EXPECT_EQ(stats(w).low, 0.5);
  EXPECT_EQ(stats(w).high, 0.5);
}

TEST(Init, TheSameSeedGivesTheSameValues) {
  Generator a(3), b(3);
  const Tensor v = weight(), w = weight();
  init::normal_(v, 0, 1, a);
  init::normal_(w, 0, 1, b);
  EXPECT_EQ(v.to_vector<double>(), w.to_vector<double>());
  init::normal_(w, 0, 1, b);
  EXPECT_NE(v.to_vector<double>(), w.to_vector<double>());
}

TEST(Init, TruncatedNormalStaysWithinItsBounds) {
  Generator g(7);
  const Tensor w = weight();
  init::trunc_normal_(w, 0, 1, -2, 2, g);
  const Stats s = stats(w);
  EXPECT_GE(s.low, -2);
  EXPECT_LE(s.high, 2);
  EXPECT_NEAR(s.mean, 0, 0.02);
  EXPECT_NEAR(s.std, 0.8796, 0.01);  // sqrt(1 - 4 phi(2) / (2 Phi(2) - 1))
  // Far in the tail: e^-18 of the values would be kept by drawing again.
  init::trunc_normal_(w, 0, 1, 6, 7, g);
  EXPECT_GE(stats(w).low, 6);
  EXPECT_LE(stats(w).high, 7);
  EXPECT_ERROR(init::trunc_normal_(w, 0, 1, 2, -2, g), "[trunc_normal_] expected low < high, got 2 and -2");
}

TEST(Init, OrthogonalRowsOrColumnsAreOrthonormal) {
  Generator g(7);
  for (const Shape& shape : {Shape{5, 9}, Shape{9, 5}, Shape{6, 2, 3, 3}}) {
    const Tensor w = zeros(shape, f64);
    init::orthogonal_(w, 2, g);
    const Tensor m = reshape(w, {shape[0], -1});
    const bool wide = m.shape()[0] <= m.shape()[1];
    const Tensor product = wide ? matmul(m, transpose(m)) : matmul(transpose(m), m);
    const int64_t n = product.shape()[0];
    const std::vector<double> v = product.to_vector<double>();
    for (int64_t i = 0; i < n * n; ++i) EXPECT_NEAR(v[i], i % (n + 1) == 0 ? 4 : 0, 1e-12) << shape.str();
  }
}

TEST(Init, FansAndGains) {
  const init::Fans f = init::fans(zeros({6, 3, 5, 5}));
  EXPECT_EQ(f.in, 75);
  EXPECT_EQ(f.out, 150);
  EXPECT_ERROR(init::fans(zeros({6})), "[init] expected a tensor of at least 2 dimensions, got 6");
  EXPECT_DOUBLE_EQ(init::gain("tanh"), 5.0 / 3);
  EXPECT_DOUBLE_EQ(init::gain("selu"), 0.75);
  EXPECT_DOUBLE_EQ(init::gain("sigmoid"), 1);
  EXPECT_ERROR(init::gain("rleu"),
               "[init.gain] expected linear, sigmoid, tanh, relu, leaky_relu or selu, got \"rleu\"");
}

TEST(Init, LayersStartAsInPytorch) {
  manual_seed(11);
  const Linear fc{300, 200};
  expect_uniform(fc.weight, 1 / std::sqrt(300.0));
  EXPECT_LE(stats(fc.bias).high, 1 / std::sqrt(300.0));
  EXPECT_GT(stats(fc.bias).high, 0.9 / std::sqrt(300.0));
  EXPECT_LT(stats(fc.bias).low, -0.9 / std::sqrt(300.0));

  const Conv2d conv{32, 64, {.kernel_size = {3, 5}, .groups = 2}};  // fan_in 16 * 15
  expect_uniform(conv.weight, 1 / std::sqrt(240.0));
  EXPECT_LE(stats(conv.bias).high, 1 / std::sqrt(240.0));
  const ConvTranspose2d up{64, 32, {.kernel_size = 4}};  // PyTorch's fan: weight [in, out, ...] -> out * 16
  expect_uniform(up.weight, 1 / std::sqrt(512.0));
  EXPECT_LE(stats(up.bias).high, 1 / std::sqrt(512.0));

  const Embedding table{200, 300, {.padding_idx = -1}};
  expect_normal(table.weight, 1);
  EXPECT_EQ(stats(select(table.weight, 0, 199)).high, 0);
  EXPECT_EQ(stats(select(table.weight, 0, 199)).low, 0);
  EXPECT_EQ(stats(PReLU().weight).mean, 0.25);
  const BatchNorm2d bn{5};
  EXPECT_EQ(stats(bn.weight).low, 1);
  EXPECT_EQ(stats(bn.bias).high, 0);
  EXPECT_EQ(stats(bn.running_mean).high, 0);
  EXPECT_EQ(stats(bn.running_var).low, 1);
}

}  // namespace
}  // namespace hebb::nn
