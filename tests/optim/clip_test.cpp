// Clipping: norms of every kind, the limit itself, gradients that others hold.
#include "hebb/optim/clip.h"

#include <limits>

#include "hebb/ops/creation.h"
#include "tests/optim/support.h"
#include "tests/support/threads.h"

namespace hebb::optim {
namespace {

using namespace test;
using testing::HasSubstr;
using Values = std::vector<double>;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::vector<Tensor> with_grads(const std::vector<Values>& grads, DType type = f64) {
  std::vector<Tensor> params;
  for (const Values& g : grads) {
    const Shape shape{static_cast<int64_t>(g.size())};
    Tensor grad = Tensor::empty(shape, type);
    grad.assign_(Tensor::from(g));
    params.push_back(zeros(shape, type).requires_grad_());
    params.back().set_grad(grad);
  }
  return params;
}

TEST(ClipTest, ReturnsTheNormOfAllGradientsAsOneVector) {
  const auto p = with_grads({{3, -4}, {12}});
  EXPECT_DOUBLE_EQ(clip_grad_norm_(p, 100).item<double>(), 13);
  EXPECT_DOUBLE_EQ(clip_grad_norm_(p, 100, 1).item<double>(), 19);
  EXPECT_DOUBLE_EQ(clip_grad_norm_(p, 100, 3).item<double>(), std::cbrt(27.0 + 64 + 1728));
  EXPECT_DOUBLE_EQ(clip_grad_norm_(p, 100, kInfinity).item<double>(), 12);
  EXPECT_EQ(p[0].grad().to_vector<double>(), (Values{3, -4}));  // small enough: untouched
}

TEST(ClipTest, ScalesAllGradientsTogether) {
  const auto p = with_grads({{3, -4}, {12}});
  EXPECT_DOUBLE_EQ(clip_grad_norm_(p, 6.5).item<double>(), 13);
  const double scale = 6.5 / (13 + 1e-6);
  EXPECT_EQ(p[0].grad().to_vector<double>(), (Values{3 * scale, -4 * scale}));
  EXPECT_EQ(p[1].grad().to_vector<double>(), (Values{12 * scale}));
}

TEST(ClipTest, LeavesParametersWithoutGradientAlone) {
  auto p = with_grads({{3, -4}, {12}});
  p[1].zero_grad();
  EXPECT_DOUBLE_EQ(clip_grad_norm_(p, 1).item<double>(), 5);
  clip_grad_value_(p, 0.1);
  EXPECT_FALSE(p[1].grad().defined());
}

TEST(ClipTest, AGradientOfTwoParametersIsScaledOnceForEach) {
  auto p = with_grads({{3, 4}, {0, 0}});
  const Tensor held = p[0].grad();
  p[1].set_grad(held);
  const double norm = clip_grad_norm_(p, 1).item<double>();
  EXPECT_DOUBLE_EQ(norm, std::sqrt(50));
  for (const Tensor& t : p) EXPECT_DOUBLE_EQ(t.grad().to_vector<double>()[0], 3 / (norm + 1e-6));
  EXPECT_EQ(held.to_vector<double>(), (Values{3, 4}));
}

TEST(ClipTest, NormsThatAreNotFinite) {
  auto p = with_grads({{3, std::nan("")}, {12}});
  EXPECT_TRUE(std::isnan(clip_grad_norm_(p, 1, kInfinity).item<double>()));
  p = with_grads({{3, std::nan("")}, {12}});
  EXPECT_THAT(error_of([&] { clip_grad_norm_(p, 1, 2, true); }), HasSubstr("finite norm, got nan"));
  EXPECT_EQ(p[1].grad().to_vector<double>(), (Values{12}));
  EXPECT_TRUE(std::isnan(clip_grad_norm_(p, 1).item<double>()));
  EXPECT_TRUE(std::isnan(p[1].grad().to_vector<double>()[0]));
  p = with_grads({{3, kInfinity}, {12}});
  EXPECT_EQ(clip_grad_norm_(p, 1).item<double>(), kInfinity);
  EXPECT_EQ(p[1].grad().to_vector<double>(), (Values{0}));
}

TEST(ClipTest, HoldsValuesWithinLimits) {
  for (const DType type : {f64, f32, bf16}) {
    const auto p = with_grads({{3, -4, 0.5}, {-0.25}}, type);
    clip_grad_value_(p, 1);
    EXPECT_EQ(p[0].grad().to_vector<double>(), (Values{1, -1, 0.5}));
    EXPECT_EQ(p[1].grad().to_vector<double>(), (Values{-0.25}));
    EXPECT_EQ(p[0].grad().dtype(), type);
  }
}

TEST(ClipTest, NormDoesNotDependOnThreads) {
  Values g(100'003);
  for (size_t i = 0; i < g.size(); ++i) g[i] = std::sin(static_cast<double>(i));
  Values norms;
  for (const int threads : {1, 2, 3}) {
    const test_support::Threads set(threads);
    norms.push_back(clip_grad_norm_(with_grads({g}, f32), 1).item<double>());
  }
  EXPECT_EQ(norms[0], norms[1]);
  EXPECT_EQ(norms[0], norms[2]);
  EXPECT_NEAR(norms[0], std::sqrt(50'001.5), 1);
}

TEST(ClipTest, BadArgumentsSayWhatWasExpected) {
  const auto p = with_grads({{1}});
  EXPECT_EQ(error_of([&] { clip_grad_norm_(p, -1); }),
            "[clip_grad_norm_] max_norm: expected at least 0, got -1");
  EXPECT_EQ(error_of([&] { clip_grad_norm_(p, 1, 0); }),
            "[clip_grad_norm_] norm_type: expected more than 0, got 0");
  EXPECT_EQ(error_of([&] { clip_grad_value_(p, -1); }),
            "[clip_grad_value_] clip_value: expected at least 0, got -1");
}

}  // namespace
}  // namespace hebb::optim
