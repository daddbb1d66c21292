// Drawn digits: shapes whose place can be computed, MNIST's own images, and pictures as people send them.
#include "hebb/io/digits.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "hebb/core/rng.h"
#include "hebb/io/idx.h"
#include "hebb/io/image.h"
#include "tests/io/files.h"

namespace hebb::io {
namespace {

using namespace test;

/// A picture of what `at(y, x)` says.
Tensor picture(int h, int w, const std::function<double(int, int)>& at) {
  Tensor t = Tensor::empty({1, h, w}, u8);
  for (int y = 0; y < h; ++y)
    for (int x = 0; x < w; ++x)
      t.mutable_data<uint8_t>()[y * w + x] = static_cast<uint8_t>(std::clamp(at(y, x), 0.0, 255.0));
  return t;
}

/// How much ink lies at (y, x) of a one, drawn as a slanted stroke in a picture of this size.
bool stroke(int y, int x, int size) {
  const double v = static_cast<double>(y) / size, u = static_cast<double>(x) / size;
  return v > 0.2 && v < 0.8 && std::abs(u - 0.6 + 0.2 * v) < 0.04;
}

struct Extent {
  int top = 28, bottom = -1, left = 28, right = -1;
  double centre_y = 0, centre_x = 0;
  int most = 0;
};

Extent extent_of(const Tensor& digit, int least = 0) {
  Extent e;
  double mass = 0;
  for (int y = 0; y < 28; ++y)
    for (int x = 0; x < 28; ++x) {
      const int v = digit.data<uint8_t>()[y * 28 + x];
      mass += v, e.centre_y += v * y, e.centre_x += v * x;
      e.most = std::max(e.most, v);
      if (v <= least) continue;
      e.top = std::min(e.top, y), e.bottom = std::max(e.bottom, y);
      e.left = std::min(e.left, x), e.right = std::max(e.right, x);
    }
  e.centre_y /= mass, e.centre_x /= mass;
  return e;
}

double mean_difference(const Tensor& a, const Tensor& b) {
  const auto x = a.to_vector<double>(), y = b.to_vector<double>();
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) sum += std::abs(x[i] - y[i]);
  return sum / static_cast<double>(x.size());
}

TEST(PrepareDigitTest, FillsTheBoxAndKeepsTheAspectRatio) {
  // A bar of 100 x 50, off the centre.
  const Tensor digit = prepare_digit(
      picture(200, 300, [](int y, int x) { return y >= 60 && y < 160 && x >= 20 && x < 70 ? 0 : 255; }));
  EXPECT_EQ(digit.shape().str(), "1x28x28");
  EXPECT_EQ(digit.dtype(), u8);
  const Extent e = extent_of(digit);
  EXPECT_EQ(e.bottom - e.top + 1, 20);
  EXPECT_EQ(e.right - e.left + 1, 10);
  EXPECT_NEAR(e.centre_y, 14, 0.51);
  EXPECT_NEAR(e.centre_x, 14, 0.51);
  EXPECT_EQ(e.most, 255);
}

TEST(PrepareDigitTest, EnlargesSmallPictures) {
  const Tensor digit =
      prepare_digit(picture(9, 9, [](int y, int x) { return y >= 2 && y < 7 && x == 4 ? 255 : 0; }));
  const Extent e = extent_of(digit);
  EXPECT_EQ(e.bottom - e.top + 1, 20);
  EXPECT_EQ(e.right - e.left + 1, 4);
}

TEST(PrepareDigitTest, EitherPolarityAndAnyContrastGiveTheSame) {
  const Tensor bright =
      prepare_digit(picture(280, 280, [](int y, int x) { return stroke(y, x, 280) ? 255 : 0; }));
  const Tensor dark =
      prepare_digit(picture(280, 280, [](int y, int x) { return stroke(y, x, 280) ? 0 : 255; }));
  const Tensor pencil =
      prepare_digit(picture(280, 280, [](int y, int x) { return stroke(y, x, 280) ? 150 : 230; }));
  expect_equal(dark, bright);
  EXPECT_LE(mean_difference(pencil, bright), 1);
}

TEST(PrepareDigitTest, CentresTheMassNotTheBox) {
  // A seven without its stem has its mass at the top.
  const Extent e = extent_of(prepare_digit(picture(
      28, 28, [](int y, int x) { return (y >= 4 && y < 8 && x >= 4) || (x >= 22 && y >= 4) ? 255 : 0; })));
  EXPECT_NEAR(e.centre_y, 14, 0.51);
  EXPECT_NEAR(e.centre_x, 14, 0.51);
  EXPECT_GT(e.top + e.bottom, 2 * 14);
}

TEST(PrepareDigitTest, NeverLosesInkAtTheEdge) {
  // Nearly all mass in one corner, and a thin line to the other: the centre cannot be reached.
  const Extent e = extent_of(prepare_digit(picture(40, 40, [](int y, int x) {
    return (y < 12 && y > 0 && x < 12 && x > 0) || (y == x && y > 0 && y < 39) ? 255 : 0;
  })));
  EXPECT_EQ(e.bottom - e.top + 1, 20);
  EXPECT_EQ(e.right - e.left + 1, 20);
}

TEST(PrepareDigitTest, LeavesMnistsOwnImagesAsTheyAre) {
  const Tensor images = load_idx(fixture("../../../data/mnist/t10k-images-idx3-ubyte.gz"));
  int same = 0;
  const int n = 500;
  for (int i = 0; i < n; ++i) {
    const uint8_t* p = images.data<uint8_t>() + i * 28 * 28;
    const Tensor original = picture(28, 28, [&](int y, int x) { return p[y * 28 + x]; });
    const Tensor inverted = picture(28, 28, [&](int y, int x) { return 255 - p[y * 28 + x]; });
    const Tensor digit = prepare_digit(inverted);
    expect_equal(prepare_digit(original), digit);
    same += mean_difference(digit, original) < 0.5;
  }
  EXPECT_GE(same, n * 98 / 100);
}

TEST(PrepareDigitTest, SeesThroughNoiseAndShade) {
  const Tensor clean =
      prepare_digit(picture(280, 280, [](int y, int x) { return stroke(y, x, 280) ? 0 : 255; }));
  const RandomStream random{7, 0};
  const Tensor photo = prepare_digit(picture(280, 280, [&](int y, int x) {
    const auto words = random.words(static_cast<uint64_t>(y * 280 + x));
    const double noise = 4 * normal_from_bits(words[0], words[1])[0];
    return (stroke(y, x, 280) ? 40 : 190) + noise + 0.05 * (x - y);
  }));
  EXPECT_LE(mean_difference(photo, clean), 6);
}

TEST(PrepareDigitTest, RefusesWhatIsNoDigit) {
  EXPECT_THAT(
      error_of([] { prepare_digit(picture(20, 30, [](int, int) { return 255; })); }),
      HasSubstr("[prepare_digit] expected a digit that stands out from its background, got none (20x30)"));
  EXPECT_THAT(error_of([] {
                prepare_digit(Tensor::empty({3, 4, 4}, u8));
              }),
              HasSubstr("expected a gray image, u8 [1, H, W], got u8 3x4x4"));
  EXPECT_THAT(error_of([] { prepare_digit(Tensor::empty({1, 4, 4}, f32)); }), HasSubstr("got f32 1x4x4"));
  EXPECT_THAT(error_of([] { prepare_digit(Tensor::empty({1, 0, 4}, u8)); }), HasSubstr("got u8 1x0x4"));
  prepare_digit(picture(1, 2, [](int, int x) { return x * 255; }));  // the smallest that has ink
}

}  // namespace
}  // namespace hebb::io
