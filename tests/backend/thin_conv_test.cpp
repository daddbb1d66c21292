// First layers, images of few channels that are last: against plain convolutions of f64.
#include "hebb/backend/cpu/thin_conv.h"

#include "tests/backend/conv_check.h"

namespace hebb::cpu::test {
namespace {

/// [n][channels][pixels] as [n][pixels][channels].
template <class T>
std::vector<T> channels_last(const std::vector<T>& x, int64_t n, int64_t channels, int64_t pixels) {
  std::vector<T> y(x.size());
  for (int64_t i = 0; i < n; ++i)
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t p = 0; p < pixels; ++p)
        y[static_cast<size_t>((i * pixels + p) * channels + c)] =
            x[static_cast<size_t>((i * channels + c) * pixels + p)];
  return y;
}

void check_thin(const Options& options) {
  ConvShape s = shape_of(options);
  SCOPED_TRACE(name(s));
  std::mt19937 rng(11);
  const auto x = random_values<float>(s.batch * s.in_channels * s.in_h * s.in_w, rng);
  const auto w = random_values<float>(s.out_channels * s.in_channels * s.kernel_h * s.kernel_w, rng);
  const auto gy = random_values<float>(s.batch * s.out_channels * s.out_h * s.out_w, rng);
  const auto bias = random_values<float>(s.out_channels, rng);
  Expected<float> y(gy.size()), gw(w.size());
  for_each_product(s, [&](int64_t ix, int64_t iw, int64_t iy) {
    const double xv = x[static_cast<size_t>(ix)];
    y.add(iy, xv * w[static_cast<size_t>(iw)]);
    gw.add(iw, xv * gy[static_cast<size_t>(iy)]);
  });
  const int64_t in_pixels = s.in_h * s.in_w, pixels = s.out_h * s.out_w;
  for (size_t i = 0; i < gy.size(); ++i)
    y.add(static_cast<int64_t>(i),
          bias[static_cast<size_t>(static_cast<int64_t>(i) / pixels % s.out_channels)]);
  y.sum = channels_last(y.sum, s.batch, s.out_channels, pixels);
  y.magnitude = channels_last(y.magnitude, s.batch, s.out_channels, pixels);
  const auto x_last = channels_last(x, s.batch, s.in_channels, in_pixels),
             gy_last = channels_last(gy, s.batch, s.out_channels, pixels);
  s.channels_last = true;
  ASSERT_TRUE(is_thin(s));
  std::vector<float> filters(static_cast<size_t>(last_filters_size(s)));
  last_filters(s, w.data(), filters.data());
  check<float>("forward", y, [&](float* out) { last_forward(s, x_last.data(), w.data(), bias.data(), out); });
  check<float>("with filters made before", y, [&](float* out) {
    last_forward(s, x_last.data(), nullptr, bias.data(), out, filters.data());
  });
  check<float>("weight gradient", gw,
               [&](float* out) { last_weight_grad(s, gy_last.data(), x_last.data(), out); });
}

TEST(ThinConv, KernelsStridesAndPaddings) {
  for_each_target([] {
    for (const int64_t in : {1, 3, 4}) {
      for (const int64_t out : {16, 48}) {
        for (const int64_t stride : {1, 2}) {
          for (const int64_t pad : {0, 2}) {
            check_thin({.batch = 3,
                        .in_channels = in,
                        .in_h = 9,
                        .in_w = 14,
                        .out_channels = out,
                        .kernel_h = 3 + pad,
                        .kernel_w = 5 - pad,
                        .stride_h = stride,
                        .stride_w = 3 - stride,
                        .pad_top = pad,
                        .pad_left = 3 - pad,
                        .pad_bottom = 1,
                        .pad_right = pad,
                        .dilation_h = stride});
          }
        }
      }
    }
    // Only padding makes room for the kernel.
    check_thin({.batch = 1,
                .in_channels = 2,
                .in_h = 2,
                .in_w = 1,
                .out_channels = 16,
                .kernel_h = 4,
                .kernel_w = 5,
                .pad_top = 3,
                .pad_left = 4,
                .pad_bottom = 2,
                .pad_right = 5});
  });
}

TEST(ThinConv, TakesNoOtherShapes) {
  const Options fits{.in_channels = 3, .out_channels = 32};
  EXPECT_TRUE(is_thin(shape_of(fits)));
  Options other = fits;
  other.in_channels = 5;
  EXPECT_FALSE(is_thin(shape_of(other)));
  other = fits;
  other.out_channels = 24;
  EXPECT_FALSE(is_thin(shape_of(other)));
  other = fits;
  other.dilation_w = 2;
  EXPECT_FALSE(is_thin(shape_of(other)));
  other = fits;
  other.kernel_h = other.kernel_w = 1;
  EXPECT_FALSE(is_thin(shape_of(other)));
}

}  // namespace
}  // namespace hebb::cpu::test
