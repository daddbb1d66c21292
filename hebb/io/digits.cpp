// Finding the ink is where drawings and photographs differ from MNIST; the rest follows its description.
#include "hebb/io/digits.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "hebb/core/check.h"
#include "hebb/io/image.h"
#include "hebb/io/tensor_bytes.h"

namespace hebb::io {
namespace {

constexpr int64_t kBox = 20, kSize = 28;
// Where MNIST's centres of mass lie: over its test images each coordinate is spread evenly over 13.5 to 14.5,
// that is 14 and the rounding to whole pixels.
constexpr double kCentre = 14;

std::vector<uint8_t> border_of(const uint8_t* p, int64_t h, int64_t w) {
  std::vector<uint8_t> border;
  for (int64_t y = 0; y < h; ++y)
    for (int64_t x = 0; x < w; x += y == 0 || y == h - 1 ? 1 : std::max<int64_t>(w - 1, 1))
      border.push_back(p[y * w + x]);
  return border;
}

/// The value below which a share of the values lies.
uint8_t quantile(std::vector<uint8_t> values, double share) {
  const auto at = values.begin() + static_cast<int64_t>(share * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

/// How far each pixel stands out from the background, in the direction in which the digit does; noise is 0.
Tensor ink_of(const Tensor& gray) {
  const int64_t h = gray.size(1), w = gray.size(2);
  const uint8_t* p = gray.data<uint8_t>();
  std::vector<uint8_t> border = border_of(p, h, w);
  const int background = quantile(border, 0.5);
  for (uint8_t& v : border) v = static_cast<uint8_t>(std::abs(v - background));

  double brighter = 0, darker = 0;  // squares, so that a few strong strokes outweigh much weak noise
  int brightest = 0, darkest = 0;
  for (int64_t i = 0; i < h * w; ++i) {
    const int v = p[i] - background;
    (v > 0 ? brighter : darker) += v * v;
    brightest = std::max(brightest, v), darkest = std::max(darkest, -v);
  }
  const int sign = brighter >= darker ? 1 : -1, strongest = sign > 0 ? brightest : darkest;
  // Three times what most of the border stays below: beyond five deviations if the noise is Gaussian. The
  // quantile passes over ink that touches the border, the bound helps where it covers much of it.
  const int noise = std::min(3 * quantile(border, 0.9), strongest / 2);

  Tensor ink = Tensor::empty(gray.shape(), u8);
  uint8_t* out = ink.mutable_data<uint8_t>();
  for (int64_t i = 0; i < h * w; ++i) {
    const int v = sign * (p[i] - background);
    out[i] = static_cast<uint8_t>(v > noise ? v : 0);
  }
  return ink;
}

/// The smallest part of the picture that holds the ink.
Tensor crop_to_ink(const Tensor& ink) {
  const int64_t h = ink.size(1), w = ink.size(2);
  const uint8_t* p = ink.data<uint8_t>();
  // JPEG surrounds strokes by faint ringing as far as 8 pixels out. What MNIST's digits have below a tenth of
  // their brightest never decides their size.
  const int least = *std::max_element(p, p + h * w) / 10;
  int64_t top = h, bottom = -1, left = w, right = -1;
  for (int64_t y = 0; y < h; ++y)
    for (int64_t x = 0; x < w; ++x)
      if (p[y * w + x] > least) {
        top = std::min(top, y), bottom = std::max(bottom, y);
        left = std::min(left, x), right = std::max(right, x);
      }
  HEBB_CHECK(bottom >= 0,
             "[prepare_digit] expected a digit that stands out from its background, got none ({}x{})", h, w);
  Tensor crop = Tensor::empty({1, bottom - top + 1, right - left + 1}, u8);
  for (int64_t y = top; y <= bottom; ++y)
    std::copy(p + y * w + left, p + y * w + right + 1,
              crop.mutable_data<uint8_t>() + (y - top) * crop.size(2));
  return crop;
}

/// The offset that brings the centre of mass along one axis to kCentre, without losing ink.
int64_t offset_for(double moment, double mass, int64_t extent) {
  const auto offset = static_cast<int64_t>(std::floor(kCentre - moment / mass + 0.5));
  return std::clamp<int64_t>(offset, 0, kSize - extent);
}

}  // namespace

Tensor prepare_digit(const Tensor& gray) {
  const Tensor image = dense_on_host(gray, "[prepare_digit]");
  HEBB_CHECK(image.dtype() == u8 && image.ndim() == 3 && image.size(0) == 1 && image.numel() > 0,
             "[prepare_digit] expected a gray image, u8 [1, H, W], got {} {}", name_of(image.dtype()),
             image.shape().str());
  const Tensor ink = crop_to_ink(ink_of(image));
  const double scale = static_cast<double>(kBox) / static_cast<double>(std::max(ink.size(1), ink.size(2)));
  const auto scaled = [&](int64_t extent) {
    return std::clamp<int64_t>(std::llround(static_cast<double>(extent) * scale), 1, kBox);
  };
  const int64_t h = scaled(ink.size(1)), w = scaled(ink.size(2));
  const Tensor box = resize_bilinear(ink, h, w);

  const uint8_t* p = box.data<uint8_t>();
  double mass = 0, moment_y = 0, moment_x = 0;
  int most = 1;
  for (int64_t y = 0; y < h; ++y)
    for (int64_t x = 0; x < w; ++x) {
      const int v = p[y * w + x];
      mass += v, moment_y += static_cast<double>(v * y), moment_x += static_cast<double>(v * x);
      most = std::max(most, v);
    }
  HEBB_CHECK(mass > 0, "[prepare_digit] expected a digit, got lines too faint to see at {}x{}", kBox, kBox);
  Tensor digit = Tensor::empty({1, kSize, kSize}, u8);
  uint8_t* out = digit.mutable_data<uint8_t>();
  std::fill_n(out, kSize * kSize, uint8_t{0});
  out += offset_for(moment_y, mass, h) * kSize + offset_for(moment_x, mass, w);
  // Pencil and thin lines become as bright as MNIST's strokes.
  for (int64_t y = 0; y < h; ++y)
    for (int64_t x = 0; x < w; ++x)
      out[y * kSize + x] = static_cast<uint8_t>((p[y * w + x] * 255 + most / 2) / most);
  return digit;
}

}  // namespace hebb::io
