// What all kinds of images share: telling the kinds apart, transparency, resizing, gray. The formats
// themselves are in image_png.cpp and image_jpeg.cpp.
#include "hebb/io/image.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "hebb/core/check.h"
#include "hebb/io/file.h"
#include "hebb/io/image_codecs.h"
#include "hebb/io/tensor_bytes.h"

namespace hebb::io {
namespace {

/// Pixels side by side, as files have them, to planes: [H, W, C] to [C, H, W], alpha laid over a ground.
Tensor to_planes(const Pixels& image, Alpha alpha) {
  const int64_t c = image.channels, n = image.height * image.width;
  const bool has_alpha = c == 2 || c == 4, blend = has_alpha && alpha != Alpha::keep;
  const int64_t out_c = blend ? c - 1 : c;
  Tensor t = Tensor::empty({out_c, image.height, image.width}, u8);
  uint8_t* out = t.mutable_data<uint8_t>();
  const uint8_t* in = image.values.data();
  const int ground = alpha == Alpha::on_white ? 255 : 0;
  for (int64_t k = 0; k < out_c; ++k)
    for (int64_t i = 0; i < n; ++i) {
      const int value = in[i * c + k], a = blend ? in[i * c + c - 1] : 255;
      out[k * n + i] = static_cast<uint8_t>((value * a + ground * (255 - a) + 127) / 255);
    }
  return t;
}

/// What each new pixel takes from the old ones along one axis: `count` weights from `first` on, summing to 1.
struct Taps {
  int64_t first;
  std::vector<double> weights;
};

std::vector<Taps> triangle_taps(int64_t from, int64_t to) {
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  const double radius = std::max(scale, 1.0);  // shrinking widens the triangle to two new pixels
  std::vector<Taps> taps;
  for (int64_t i = 0; i < to; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    const auto first = std::max<int64_t>(static_cast<int64_t>(std::floor(centre - radius + 0.5)), 0);
    const auto last = std::min<int64_t>(static_cast<int64_t>(std::floor(centre + radius + 0.5)), from);
    Taps t{first, {}};
    double sum = 0;
    for (int64_t j = first; j < last; ++j) {
      t.weights.push_back(std::max(0.0, 1 - std::abs((static_cast<double>(j) + 0.5 - centre) / radius)));
      sum += t.weights.back();
    }
    for (double& w : t.weights) w /= sum;
    taps.push_back(std::move(t));
  }
  return taps;
}

template <class T>
T from_double(double v) {
  if constexpr (std::is_same_v<T, uint8_t>) return static_cast<T>(std::clamp(v + 0.5, 0.0, 255.0));
  else return static_cast<T>(v);
}

template <class T>
Tensor resize(const Tensor& image, int64_t height, int64_t width) {
  const int64_t c = image.size(0), h = image.size(1), w = image.size(2);
  const auto rows = triangle_taps(h, height), columns = triangle_taps(w, width);
  Tensor result = Tensor::empty({c, height, width}, image.dtype());
  const T* in = image.data<T>();
  T* out = result.mutable_data<T>();
  std::vector<double> narrow(static_cast<size_t>(h * width));  // one channel, resized along its rows
  std::vector<double> row(static_cast<size_t>(width));
  for (int64_t k = 0; k < c; ++k, in += h * w, out += height * width) {
    for (int64_t y = 0; y < h; ++y)
      for (int64_t x = 0; x < width; ++x) {
        const Taps& t = columns[static_cast<size_t>(x)];
        const T* p = in + y * w + t.first;
        double sum = 0;
        for (size_t j = 0; j < t.weights.size(); ++j) sum += t.weights[j] * static_cast<double>(p[j]);
        narrow[static_cast<size_t>(y * width + x)] = sum;
      }
    for (int64_t y = 0; y < height; ++y) {
      const Taps& t = rows[static_cast<size_t>(y)];
      std::fill(row.begin(), row.end(), 0.0);
      for (size_t j = 0; j < t.weights.size(); ++j) {
        const double* p = narrow.data() + (t.first + static_cast<int64_t>(j)) * width;
        for (size_t x = 0; x < row.size(); ++x) row[x] += t.weights[j] * p[x];
      }
      for (size_t x = 0; x < row.size(); ++x)
        out[y * width + static_cast<int64_t>(x)] = from_double<T>(row[x]);
    }
  }
  return result;
}

/// The checks that resizing and gray share; returns the image densely in memory.
Tensor checked_image(const Tensor& image, const char* caller) {
  const Tensor t = dense_on_host(image, fmt::format("[{}]", caller));
  HEBB_CHECK(t.ndim() == 3, "[{}] expected an image [C, H, W], got shape {}", caller, t.shape().str());
  HEBB_CHECK(t.dtype() == u8 || t.dtype() == f32, "[{}] expected an image of u8 or f32, got {}", caller,
             name_of(t.dtype()));
  return t;
}

}  // namespace

Tensor load_image(const std::string& path, const ImageOptions& options) {
  const std::string file = read_file(path, "load_image");
  if (file.starts_with("\x89PNG\r\n\x1a\n")) return to_planes(decode_png(file, path), options.alpha);
  if (file.starts_with("\xff\xd8\xff")) return to_planes(decode_jpeg(file, path), options.alpha);
  detail::fail("[load_image] {}: expected a PNG or JPEG image, got {}", path,
               file.empty() ? "an empty file" : "a file that starts as neither does");
}

void save_png(const std::string& path, const Tensor& image) {
  const std::string place = "[save_png] " + path;
  const Tensor t = dense_on_host(image, place);
  HEBB_CHECK(t.dtype() == u8, "{}: expected an image of u8, got {}", place, name_of(t.dtype()));
  HEBB_CHECK((t.ndim() == 2 || (t.ndim() == 3 && t.size(0) >= 1 && t.size(0) <= 4)) && t.numel() > 0,
             "{}: expected shape [H, W] or [C, H, W] with 1 to 4 channels and at least one pixel, got {}",
             place, t.shape().str());
  Pixels pixels;
  pixels.channels = t.ndim() == 2 ? 1 : static_cast<int>(t.size(0));
  pixels.height = t.size(-2), pixels.width = t.size(-1);
  const int64_t n = pixels.height * pixels.width, c = pixels.channels;
  HEBB_CHECK(n <= kMaxPixels, "{}: expected at most {} pixels, got {}", place, kMaxPixels, n);
  pixels.values.resize(static_cast<size_t>(n * c));
  const uint8_t* in = t.data<uint8_t>();
  for (int64_t k = 0; k < c; ++k)
    for (int64_t i = 0; i < n; ++i) pixels.values[static_cast<size_t>(i * c + k)] = in[k * n + i];
  write_file_atomic(path, encode_png(pixels, place), "save_png");
}

Tensor resize_bilinear(const Tensor& image, int64_t height, int64_t width) {
  const Tensor t = checked_image(image, "resize_bilinear");
  HEBB_CHECK(height >= 1 && width >= 1, "[resize_bilinear] expected a new size of at least 1x1, got {}x{}",
             height, width);
  HEBB_CHECK(t.size(1) >= 1 && t.size(2) >= 1,
             "[resize_bilinear] expected an image of at least one pixel, got {}", t.shape().str());
  return t.dtype() == u8 ? resize<uint8_t>(t, height, width) : resize<float>(t, height, width);
}

Tensor to_gray(const Tensor& image) {
  const Tensor t = checked_image(image, "to_gray");
  HEBB_CHECK(t.size(0) == 1 || t.size(0) == 3, "[to_gray] expected an image of 3 channels, got shape {}",
             t.shape().str());
  if (t.size(0) == 1) return t;
  const int64_t n = t.size(1) * t.size(2);
  Tensor gray = Tensor::empty({1, t.size(1), t.size(2)}, t.dtype());
  if (t.dtype() == u8) {
    const uint8_t* in = t.data<uint8_t>();
    uint8_t* out = gray.mutable_data<uint8_t>();
    // The weights times 2^16, as Pillow has them; they sum to 2^16, so that white stays white.
    for (int64_t i = 0; i < n; ++i)
      out[i] =
          static_cast<uint8_t>((in[i] * 19595u + in[n + i] * 38470u + in[2 * n + i] * 7471u + 0x8000u) >> 16);
  } else {
    const float* in = t.data<float>();
    float* out = gray.mutable_data<float>();
    for (int64_t i = 0; i < n; ++i) out[i] = 0.299f * in[i] + 0.587f * in[n + i] + 0.114f * in[2 * n + i];
  }
  return gray;
}

}  // namespace hebb::io
