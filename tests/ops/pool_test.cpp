// Pooling, unpooling and upsampling at their edges. Numbers are PyTorch's unless worked out by hand.
#include "hebb/ops/pool.h"

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

TEST(MaxPool, CeilModeWithPadding) {
  on_backends([] {
    const auto [y, at] =
        max_pool2d_with_indices(wave({1, 1, 5, 6}), 3, {.stride = 2, .padding = 1, .ceil_mode = true});
    EXPECT_EQ(y.shape(), Shape({1, 1, 3, 4}));
    expect_values(y, {0.99166481, 0.99166481, 0.79848711, 0.79848711, 0.9997929, 0.85916181, 0.9856003,
                      0.9856003, 0.77332789, 0.94042896, 0.9856003, 0.9856003});
    expect_indices(at, {1, 1, 5, 5, 12, 8, 23, 23, 19, 27, 23, 23});
  });
}

// With kernel 2, stride 2 and padding 1 a further window would start in the right padding: it is left out.
TEST(MaxPool, NoWindowStartsInThePadding) {
  on_backends([] {
    const auto [y, at] = max_pool2d_with_indices(wave({1, 1, 5, 6}), 2, {.padding = 1, .ceil_mode = true});
    EXPECT_EQ(y.shape(), Shape({1, 1, 3, 4}));
    expect_indices(at, {0, 1, 4, 5, 12, 8, 16, 11, 24, 19, 27, 23});
  });
}

TEST(MaxPool, Dilation) {
  on_backends([] {
    const auto result = max_pool2d_with_indices(wave({1, 1, 5, 6}), 2, {.stride = 1, .dilation = 2});
    expect_indices(result.second, {12, 1, 16, 5, 8, 19, 8, 23, 12, 27, 16, 27});
  });
}

TEST(MaxPool, NaNWinsAndTheFirstOfEqualsElse) {
  on_backends([] {
    const Tensor x = doubles({1, kNaN, 3, kNaN, 5, 6, kNaN, 8, 1, 1, 1, 1, 1, 1, 1, 1}, {1, 1, 4, 4});
    for (const DType t : {f32, f64}) {
      auto [y, at] = max_pool2d_with_indices(to(x, t), 2);
      expect_values(y, {kNaN, kNaN, 1, 1});
      expect_indices(at, {1, 6, 8, 10});
      std::tie(y, at) = max_pool2d_with_indices(to(x, t), 4);
      expect_values(y, {kNaN});
      expect_indices(at, {6});
    }
  });
}

TEST(MaxPool, AllMinusInfinity) {
  on_backends([] {
    const auto [y, at] = max_pool2d_with_indices(full({1, 1, 2, 2}, -kInf), 2, {.padding = 1});
    expect_values(y, {-kInf, -kInf, -kInf, -kInf});
    expect_indices(at, {0, 1, 2, 3});
  });
}

TEST(MaxPool, GradientGoesToTheFirstOfEqualValues) {
  on_backends([] {
    Tensor x = ones({1, 1, 4, 4}).requires_grad_();
    backward(sum(max_pool2d(x, 2)));
    expect_values(x.grad(), {1, 0, 1, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0});
    x.zero_grad();
    backward(sum(max_pool2d(x, 3, {.stride = 1})));  // overlapping windows add up
    expect_values(x.grad(), {1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
  });
}

// Every width takes another way through the vectors; the plain kernel decides.
TEST(MaxPool, TwoByTwoOfEveryWidthEqualsThePlainKernel) {
  for (int64_t width = 2; width < 75; ++width) {
    const Tensor x = wave({2, 2, 5, width}, f32, 0.1);
    const auto [y, at] = max_pool2d_with_indices(x, 2);
    const Tensor mean = avg_pool2d(x, 2);
    const BackendScope scope("reference");
    const auto [y0, at0] = max_pool2d_with_indices(x, 2);
    EXPECT_EQ(y.to_vector<float>(), y0.to_vector<float>()) << width;
    EXPECT_EQ(at.to_vector<int64_t>(), at0.to_vector<int64_t>()) << width;
    expect_values(mean, avg_pool2d(x, 2).to_vector<double>(), 1e-6);
  }
}

TEST(MaxPool, EmptyBatchAndUnbatched) {
  on_backends([] {
    EXPECT_EQ(max_pool2d(zeros({0, 2, 4, 4}), 2).shape(), Shape({0, 2, 2, 2}));
    EXPECT_EQ(avg_pool2d(zeros({0, 2, 4, 4}), 2).shape(), Shape({0, 2, 2, 2}));
    EXPECT_EQ(adaptive_avg_pool2d(zeros({0, 2, 4, 4}), 1).shape(), Shape({0, 2, 1, 1}));
    EXPECT_EQ(interpolate(zeros({0, 1, 2, 2}), {.scale_factor = 2}).shape(), Shape({0, 1, 4, 4}));
    EXPECT_EQ(max_pool2d(zeros({3, 5, 4}), {2, 1}).shape(), Shape({3, 2, 4}));
  });
}

TEST(MaxPool, OneDimension) {
  on_backends([] {
    const Tensor x = doubles({1, 5, 2, 4, 3, 0}, {1, 1, 6});
    const auto [y, at] = max_pool1d_with_indices(x, 3, {.stride = 2, .padding = 1});
    EXPECT_EQ(y.shape(), Shape({1, 1, 3}));
    expect_values(y, {5, 5, 4});
    expect_indices(at, {1, 1, 3});
    expect_values(max_pool1d(x, 2), {5, 4, 3});
    expect_values(avg_pool1d(x, 2), {3, 3, 1.5});
    expect_values(avg_pool1d(x, 3, {.stride = 2, .padding = 1, .count_include_pad = false}),
                  {3, 11. / 3, 7. / 3});
  });
}

TEST(MaxPool, UnpoolPutsValuesBack) {
  on_backends([] {
    const Tensor x = doubles({1, 2, 3, 4, 8, 7, 6, 5}, {1, 1, 2, 4});
    const auto [y, at] = max_pool2d_with_indices(x, 2);
    expect_values(max_unpool2d(y, at, {2, 4}), {0, 0, 0, 0, 8, 0, 6, 0});
    expect_values(max_unpool2d(doubles({1, 2}, {1, 1, 2}), integers({3, 3}, {1, 1, 2}), 2), {0, 0, 0, 2});
    expect_values(unpool_zero_fill2d(doubles({1, 2, 3, 4}, {1, 2, 2}), 2),
                  {1, 0, 2, 0, 0, 0, 0, 0, 3, 0, 4, 0, 0, 0, 0, 0});
    expect_error(
        [&, &y = y, &at = at] {
          max_unpool2d(y, at, {1, 4});
        },
        "[max_unpool2d] expected indices below 4 (a plane of 1x4), got 4");
  });
}

TEST(AvgPool, CeilModeWithPadding) {
  on_backends([] {
    const Tensor x = wave({1, 1, 5, 6});
    expect_values(avg_pool2d(x, 3, {.stride = 2, .padding = 1, .ceil_mode = true}),
                  {-0.03626078, 0.04978603, -0.03854113, 0.10824801, -0.04243204, 0.03434805, -0.03107776,
                   0.04182732, -0.10115846, 0.06145263, -0.06210645, 0.02721279});
    expect_values(
        avg_pool2d(x, 3, {.stride = 2, .padding = 1, .ceil_mode = true, .count_include_pad = false}),
        {-0.08158675, 0.07467905, -0.05781169, 0.32474404, -0.06364806, 0.03434805, -0.03107776, 0.08365464,
         -0.22760653, 0.09217894, -0.09315967, 0.08163838});
    // A window that hangs over the end without padding counts the places it has.
    expect_values(avg_pool2d(wave({1, 1, 4, 4}), 3, {.stride = 2, .ceil_mode = true}),
                  {0.18037271, -0.60162735, 0.03564379, -0.43078415});
    expect_values(avg_pool2d(x, 2, {.divisor_override = 3}),
                  {-0.10878233, 0.02484887, 0.06073465, 0.31204114, -0.33110803, 0.32818814});
  });
}

TEST(AvgPool, GradientOfUncoveredPlacesIsZero) {
  on_backends([] {
    Tensor x = ones({1, 1, 3, 5}).requires_grad_();
    backward(sum(avg_pool2d(x, 2)));
    expect_values(x.grad(), {.25, .25, .25, .25, 0, .25, .25, .25, .25, 0, 0, 0, 0, 0, 0});
  });
}

TEST(AdaptivePool, UnevenWindows) {
  on_backends([] {
    const Tensor x = wave({1, 1, 5, 6});
    expect_values(adaptive_avg_pool2d(x, {3, 4}),
                  {-0.08158675, 0.2442871, -0.24908956, 0.04555099, -0.06364806, 0.07716671, -0.08844396,
                   -0.02097202, -0.22760653, 0.13057783, -0.18055869, -0.14743007});
    expect_indices(adaptive_max_pool2d_with_indices(x, {3, 4}).second,
                   {1, 1, 4, 5, 12, 8, 16, 23, 19, 19, 27, 23});
    expect_values(global_avg_pool2d(x), {mean(x).item<double>()});
    expect_values(global_max_pool2d(x), {0.9997929});
  });
}

TEST(Interpolate, Bilinear) {
  on_backends([] {
    const Tensor x = doubles({1, 2, 3, 4}, {1, 1, 2, 2});
    expect_values(interpolate(x, {.scale_factor = 2, .mode = Interpolation::bilinear}),
                  {1, 1.25, 1.75, 2, 1.5, 1.75, 2.25, 2.5, 2.5, 2.75, 3.25, 3.5, 3, 3.25, 3.75, 4});
    expect_values(interpolate(x, {.size = 3, .mode = Interpolation::bilinear, .align_corners = true}),
                  {1, 1.5, 2, 2, 2.5, 3, 3, 3.5, 4});
    // The given factor places the pixels, not the quotient of the sizes (7 / 5).
    const Tensor row = reshape(to(arange(5), f64), {1, 1, 1, 5});
    expect_values(interpolate(row, {.scale_factor = {1, 1.5}, .mode = Interpolation::bilinear}),
                  {0, 0.5, 1.16666667, 1.83333333, 2.5, 3.16666667, 3.83333333});
  });
}

TEST(Interpolate, Nearest) {
  on_backends([] {
    const Tensor row = reshape(to(arange(5), f32), {1, 1, 1, 5});
    expect_values(interpolate(row, {.size = {1, 7}}), {0, 0, 1, 2, 2, 3, 4});
    expect_values(interpolate(row, {.scale_factor = {1, 1.5}}), {0, 0, 1, 2, 2, 3, 4});
    expect_values(interpolate(reshape(to(arange(7), f32), {1, 1, 1, 7}), {.size = {1, 3}}), {0, 2, 4});
    // An extent that stays, or doubles, is copied, whatever the factor.
    expect_values(interpolate(row, {.scale_factor = {1, 1.1}}), {0, 1, 2, 3, 4});
    expect_values(interpolate(row, {.scale_factor = {1, 1.1}, .mode = Interpolation::bilinear}),
                  {0, 1, 2, 3, 4});
    expect_values(interpolate(row, {.scale_factor = {1, 2.1}}), {0, 0, 1, 1, 2, 2, 3, 3, 4, 4});
  });
}

TEST(Interpolate, Errors) {
  const Tensor x = zeros({1, 1, 2, 2});
  expect_error([&] { interpolate(x, {}); },
               "[interpolate] expected either size or scale_factor, got neither");
  expect_error([&] { interpolate(x, {.size = 2, .scale_factor = 2}); }, "got both");
  expect_error([&] { interpolate(x, {.scale_factor = {-1, 2}}); }, "expected scale factors above 0, got -1");
  expect_error([&] { interpolate(zeros({2, 2}), {.size = 2}); }, "expected an input of 4 dimensions");
  expect_error([&] { max_pool1d(x, 2); }, "[max_pool1d] expected an input of 2 or 3 dimensions");
  expect_error([&] { avg_pool1d(x, 2); }, "[avg_pool1d] expected an input of 2 or 3 dimensions");
}

TEST(Pool, EqualForAnyNumberOfThreads) {
  const Tensor x = wave({8, 6, 61, 47}, f32);
  for (const int mode : {0, 1, 2, 3, 4, 5}) {
    SCOPED_TRACE(mode);
    test_support::expect_same_bits_for_threads([&] {
      Tensor leaf = x.detach().requires_grad_();
      const Tensor y = mode == 0   ? max_pool2d(leaf, 2)
                       : mode == 1 ? max_pool2d(leaf, 3, {.stride = 2, .padding = 1})
                       : mode == 2 ? avg_pool2d(leaf, 2)
                       : mode == 3 ? adaptive_avg_pool2d(leaf, {5, 3})
                       : mode == 4 ? interpolate(leaf, {.scale_factor = 1.7})
                                   : interpolate(leaf, {.size = 33, .mode = Interpolation::bilinear});
      backward(y, wave(y.shape(), f32, 0.3));
      return std::vector<Tensor>{y, leaf.grad()};
    });
  }
}

}  // namespace
}  // namespace hebb
