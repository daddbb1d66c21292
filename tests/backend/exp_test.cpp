// The exponential and the hyperbolic tangent of floats over their whole range, on every instruction set.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "hebb/core/tensor.h"
#include "hebb/ops/creation.h"
#include "hebb/ops/elementwise.h"
#include "tests/backend/targets.h"

namespace hebb::cpu {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity(), kNaN = std::numeric_limits<float>::quiet_NaN();

/// Floats of every sign and size, infinities and NaNs among them.
Tensor all_sizes() {
  std::vector<float> x = {0.0f, -0.0f, kInf, -kInf, kNaN, 88.722839f, 88.72284f, -103.97f, -104.0f};
  for (uint64_t bits = 0; bits < uint64_t{1} << 32; bits += 19997)
    x.push_back(std::bit_cast<float>(static_cast<uint32_t>(bits)));
  return Tensor::from(x);
}

/// The largest distance of y from f(x) in units of f(x)'s last place; infinite where only one is infinite or
/// NaN.
double largest_error(const Tensor& x, const Tensor& y, double (*f)(double)) {
  const auto xs = x.to_vector<float>(), ys = y.to_vector<float>();
  double largest = 0;
  for (size_t i = 0; i < xs.size(); ++i) {
    const double exact = f(xs[i]);
    const float nearest = static_cast<float>(exact);
    if (std::isnan(nearest) && std::isnan(ys[i])) continue;
    if (std::isinf(nearest) && ys[i] == nearest) continue;
    const double unit = std::nextafter(std::abs(nearest), kInf) - std::abs(nearest);
    const double error = std::abs(ys[i] - exact) / unit;
    largest = std::max(largest, error <= 1e9 ? error : std::numeric_limits<double>::infinity());
  }
  return largest;
}

TEST(Exp, IsWithinOneUnitOfTheLastPlace) {
  const Tensor x = all_sizes();
  test::for_each_target([&] { EXPECT_LE(largest_error(x, exp(x), std::exp), 1.1); });
}

TEST(Tanh, IsWithinThreeUnitsOfTheLastPlaceAndNeverBeyondOne) {
  const Tensor x = all_sizes();
  test::for_each_target([&] {
    const Tensor y = tanh(x);
    EXPECT_LE(largest_error(x, y, std::tanh), 3);
    for (const float v : y.to_vector<float>()) EXPECT_FALSE(std::abs(v) > 1);
    EXPECT_TRUE(std::signbit(tanh(scalar(-0.0)).item<float>()));
  });
}

}  // namespace
}  // namespace hebb::cpu
