// Convolutions by Winograd's algorithm: right for every shape they take, nearly as exact as the direct way,
// and switched off when asked.
#include "hebb/backend/cpu/winograd.h"

#include <algorithm>
#include <span>

#include "hebb/backend/cpu/gemm.h"
#include "tests/backend/conv_check.h"

namespace hebb::cpu::test {
namespace {

/// Images padded by a pixel all around, of h x w.
Options padded(int64_t batch, int64_t in_channels, int64_t h, int64_t w, int64_t out_channels) {
  return {.batch = batch,
          .in_channels = in_channels,
          .in_h = h,
          .in_w = w,
          .out_channels = out_channels,
          .pad_top = 1,
          .pad_left = 1,
          .pad_bottom = 1,
          .pad_right = 1};
}

const Options kShapes[] = {
    // Whole tiles, and tiles that hang over; channels that fill vectors and lines, and that do not
    padded(8, 16, 8, 8, 16),
    {.batch = 6,
     .in_channels = 17,
     .in_h = 9,
     .in_w = 7,
     .out_channels = 35,
     .pad_top = 2,
     .pad_bottom = 1,
     .pad_right = 2},
    {.batch = 8, .in_channels = 41, .in_h = 5, .in_w = 6, .out_channels = 18, .pad_left = 2, .pad_bottom = 2},
    // Rows of more tiles than a run
    padded(1, 16, 5, 75, 20),
    // Fewer tiles than channels: panels of outputs in turn, more sums than one block of the weight gradient
    padded(8, 70, 4, 4, 130),
    // More tiles than are transformed at once for the weight gradient
    padded(5, 16, 31, 33, 16),
    padded(5, 17, 31, 33, 70)};

TEST(Winograd, ChannelsTilesAndPaddings) {
  for_each_target([&] {
    for (const Options& o : kShapes) {
      ASSERT_TRUE(is_winograd(shape_of(o)) && is_winograd_input_grad(shape_of(o))) << name(shape_of(o));
      check_all<float>(o);
    }
  });
}

TEST(Winograd, ChannelsTilesAndPaddingsInBf16) {
  if (!multiplies_bf16()) GTEST_SKIP() << "this processor multiplies no bf16";
  for (const Options& o : kShapes) check_all<float>(o, true);
}

Options strided(Options o) {
  o.stride_h = o.stride_w = 2;
  return o;
}
const Options kStridedShapes[] = {
    // Whole tiles, odd and even sizes, tiles that hang over
    strided(padded(4, 16, 16, 16, 16)), strided(padded(11, 32, 17, 14, 48)),
    strided(padded(64, 16, 5, 6, 16)),
    // Rows of more tiles than a run
    strided(padded(2, 16, 9, 150, 32)),
    // Fewer tiles than channels, several blocks of sums
    strided(padded(16, 80, 8, 8, 144)),
    // More tiles than are transformed at once for the weight gradient
    strided(padded(5, 16, 62, 65, 16))};

TEST(Winograd, PhasesOfStride2) {
  for_each_target([&] {
    for (const Options& o : kStridedShapes) {
      ConvShape s = shape_of(o);
      s.channels_last = true;
      ASSERT_TRUE(is_winograd_forward(s) && is_winograd_input_grad(s)) << name(s);
      check_last(o);
    }
  });
}

TEST(Winograd, PhasesOfStride2InBf16) {
  if (!multiplies_bf16()) GTEST_SKIP() << "this processor multiplies no bf16";
  for (const Options& o : kStridedShapes) check_last(o, true);
}

TEST(Winograd, ManyTilesAndManySumsOfTheWeightGradient) {
  check_all<float>(padded(4, 16, 31, 33, 260));
  check_last(strided(padded(5, 16, 62, 65, 80)));
}

TEST(Winograd, FiltersMayBeTransformedBefore) {
  for_each_target([] {
    for (const int64_t batch : {5, 80}) {  // panels of outputs in turn, and tiles
      const Options o = padded(batch, 70, 4, 4, 37);
      ConvShape s = shape_of(o);
      const auto values = [](int64_t n) {
        std::vector<float> v(static_cast<size_t>(n));
        for (size_t i = 0; i < v.size(); ++i) v[i] = static_cast<float>(i * 7919 % 257) / 257 - 0.5f;
        return v;
      };
      const auto x = values(batch * 70 * 16), w = values(37 * 70 * 9);
      for (const bool bf16 : {false, true}) {
        s.bf16 = bf16;
        const auto filters = [&](Pass pass) {
          std::vector<float> made(static_cast<size_t>(winograd_filters_size(s, pass)));
          winograd_filters(s, pass, w.data(), made.data());
          return made;
        };
        std::vector<float> y(static_cast<size_t>(batch * 37 * 16)), gx(x.size()), other_y(y), other_gx(gx);
        winograd_forward(s, x.data(), w.data(), nullptr, y.data());
        winograd_forward(s, x.data(), nullptr, nullptr, other_y.data(), filters(Pass::forward).data());
        winograd_input_grad(s, y.data(), w.data(), gx.data());
        winograd_input_grad(s, y.data(), nullptr, other_gx.data(), filters(Pass::input_grad).data());
        EXPECT_EQ(other_y, y) << batch << (bf16 ? " in bf16" : "");
        EXPECT_EQ(other_gx, gx) << batch << (bf16 ? " in bf16" : "");
      }
    }
  });
}

TEST(Winograd, TakesNoOtherShapes) {
  EXPECT_FALSE(is_winograd(shape_of({.in_channels = 16, .in_h = 6, .in_w = 6, .out_channels = 16})))
      << "a single tile";
  EXPECT_FALSE(is_winograd(shape_of(padded(7, 16, 8, 8, 16)))) << "few tiles and channels";
  EXPECT_FALSE(is_winograd(shape_of(padded(3, 512, 4, 4, 512)))) << "few tiles";
  EXPECT_TRUE(is_winograd(shape_of(padded(4, 512, 4, 4, 512))));
  const Options fits{.batch = 32, .in_channels = 16, .out_channels = 16};
  EXPECT_TRUE(is_winograd(shape_of(fits)));
  for (int64_t Options::*changed : {&Options::stride_h, &Options::stride_w, &Options::dilation_h,
                                    &Options::dilation_w, &Options::groups}) {
    Options other = fits;
    other.*changed = 2;
    EXPECT_FALSE(is_winograd(shape_of(other)));
  }
  for (int64_t Options::*changed : {&Options::kernel_h, &Options::kernel_w, &Options::in_channels,
                                    &Options::out_channels, &Options::pad_top, &Options::pad_left}) {
    Options other = fits;
    other.*changed = 5;
    EXPECT_FALSE(is_winograd(shape_of(other)));
  }
}

TEST(Winograd, TakesStride2WhereTilesAndChannelsFit) {
  const auto fits = [](Options o) {
    ConvShape s = shape_of(strided(o));
    s.channels_last = true;
    return is_winograd(s);
  };
  EXPECT_TRUE(fits(padded(16, 16, 8, 8, 16)));
  EXPECT_FALSE(fits(padded(15, 16, 8, 8, 16))) << "few tiles";
  EXPECT_FALSE(fits(padded(63, 16, 6, 6, 16))) << "few tiles with 9 outputs in 16";
  EXPECT_FALSE(fits(padded(16, 24, 8, 8, 16))) << "phases are not whole lines";
  EXPECT_FALSE(fits({.batch = 64, .in_channels = 16, .in_h = 9, .in_w = 9, .out_channels = 16}))
      << "no padding";
  EXPECT_FALSE(is_winograd(shape_of(strided(padded(16, 16, 8, 8, 16))))) << "channels first";
}

constexpr int64_t kErrorShapes[][3] = {{4, 64, 32},  {4, 128, 16}, {4, 256, 8},
                                       {16, 512, 4}, {4, 384, 8},  {4, 1024, 4}};  // batch, channels, size
const auto kFewErrorShapes = std::span(kErrorShapes).first(4);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)  // the others take minutes there
const auto kMostErrorShapes = kFewErrorShapes;
#else
const auto kMostErrorShapes = std::span(kErrorShapes).first(6);
#endif
ConvShape square(int64_t batch, int64_t channels, int64_t size) {
  return shape_of(padded(batch, channels, size, size, channels));
}

TEST(Winograd, ErrorsAreNearThoseOfTheDirectWay) {
  for (const auto& [batch, channels, size] : kMostErrorShapes) {
    const ConvShape s = square(batch, channels, size);
    SCOPED_TRACE(name(s));
    const Errors fast = errors(s);
    const Exactly exactly;
    const Errors direct = errors(s);
    EXPECT_LE(fast.forward, 3 * direct.forward);
    EXPECT_LE(fast.input, 7 * direct.input);
    EXPECT_LE(fast.weight, 3 * direct.weight);
    EXPECT_GT(fast.forward, direct.forward) << "the same way twice?";
  }
}

TEST(Winograd, ErrorsOfPhasesAreNearThoseOfTheDirectWay) {
  for (const auto& [batch, channels, size] : kFewErrorShapes) {
    ConvShape s = shape_of(strided(padded(batch, channels, 2 * size, 2 * size, channels)));
    s.channels_last = true;
    SCOPED_TRACE(name(s));
    const Errors fast = errors(s);
    s.bf16 = true;
    const Errors fast_bf16 = errors(s);
    const Exactly exactly;
    const Errors direct_bf16 = errors(s);
    s.bf16 = false;
    const Errors direct = errors(s);
    if (multiplies_bf16()) {
      EXPECT_EQ(fast_bf16.forward, direct_bf16.forward);
      EXPECT_LE(fast_bf16.input, 6 * direct_bf16.input);
      EXPECT_LE(fast_bf16.weight, 6 * direct_bf16.weight);
      EXPECT_GT(fast_bf16.input, 100 * fast.input) << "not rounded?";
    }
    EXPECT_LE(fast.forward, 3 * direct.forward);
    EXPECT_LE(fast.input, 3 * direct.input);
    EXPECT_LE(fast.weight, 3 * direct.weight);
    EXPECT_NE(fast.forward, direct.forward) << "the same way twice?";
  }
}

TEST(Winograd, GradientsInBf16AreAtMostTwelveTimesAsFarOffAsTheDirectWaysAndOutputsAreF32) {
  if (!multiplies_bf16()) GTEST_SKIP() << "this processor multiplies no bf16";
  for (const auto& [batch, channels, size] : kFewErrorShapes) {
    ConvShape s = square(batch, channels, size);
    SCOPED_TRACE(name(s));
    const Errors single = errors(s);
    s.bf16 = true;
    const Errors fast = errors(s);
    const Exactly exactly;
    const Errors direct = errors(s);
    EXPECT_EQ(fast.forward, single.forward);
    EXPECT_LE(fast.input, 12 * direct.input);
    EXPECT_LE(fast.weight, 12 * direct.weight);
    EXPECT_GT(fast.input, 100 * single.input) << "not rounded?";
    EXPECT_GT(fast.weight, 100 * single.weight) << "not rounded?";
  }
}

TEST(Winograd, ExactConvolutionsKeepANaNToItsNeighbours) {
  const ConvShape s = shape_of(padded(8, 16, 8, 8, 16));
  std::vector<float> x(8 * 16 * 64, 1.0f), y(x.size());
  const std::vector<float> w(16 * 16 * 9, 1.0f);
  x[0] = std::numeric_limits<float>::quiet_NaN();
  const auto nans = [&] {
    conv2d_forward<float>(s, x.data(), w.data(), nullptr, y.data());
    return std::count_if(y.begin(), y.end(), [](float v) { return std::isnan(v); });
  };
  EXPECT_EQ(nans(), 16 * 16) << "a tile";
  const Exactly exactly;
  EXPECT_FALSE(is_winograd(s));
  EXPECT_EQ(nans(), 16 * 4);
}

}  // namespace
}  // namespace hebb::cpu::test
