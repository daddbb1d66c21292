// First layers, images of few channels that are last: against plain convolutions of f64.
#include "hebb/backend/cpu/thin_conv.h"

#include "tests/backend/conv_check.h"

namespace hebb::cpu::test {
namespace {

void check_thin(const Options& options) {
  ASSERT_TRUE(is_thin(shape_of(options))) << name(shape_of(options));
  check_last(options);
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

// Outputs of 16 MiB and more are written past the caches: to the same bits as those of single images, which
// are not.
TEST(ThinConv, LargeOutputsHaveTheBitsOfSingleImages) {
  ConvShape s = shape_of({.batch = 2,
                          .in_channels = 1,
                          .in_h = 513,
                          .in_w = 256,
                          .out_channels = 16,
                          .kernel_h = 2,
                          .kernel_w = 1});
  s.channels_last = true;
  ASSERT_TRUE(is_thin(s));
  std::mt19937 rng(3);
  const auto x = random_values<float>(s.batch * s.in_h * s.in_w, rng), w = random_values<float>(32, rng);
  struct Line {
    alignas(64) float v[16];
  };
  std::vector<Line> whole(static_cast<size_t>(s.batch * s.out_h * s.out_w)), single(whole.size());
  last_forward(s, x.data(), w.data(), nullptr, whole[0].v);
  s.batch = 1;
  for (int64_t i = 0; i < 2; ++i)
    last_forward(s, x.data() + i * s.in_h * s.in_w, w.data(), nullptr,
                 single[static_cast<size_t>(i * s.out_h * s.out_w)].v);
  EXPECT_EQ(std::memcmp(whole[0].v, single[0].v, whole.size() * sizeof(Line)), 0);
  EXPECT_FLOAT_EQ(whole.back().v[15], x[x.size() - 257] * w[30] + x.back() * w[31]);
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
