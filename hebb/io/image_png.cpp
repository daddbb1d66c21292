// PNG by libpng's row interface. Its simplified interface would be shorter, but blends and scales in linear
// light by the file's gamma, and so gives other values than the tools that data sets are made with.
#include <png.h>

#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <new>

#include "hebb/core/check.h"
#include "hebb/io/image_codecs.h"

namespace hebb::io {
namespace {

/// libpng's state and what its callbacks need. Owned by functions that no jump leaves.
struct Png {
  png_structp png = nullptr;
  png_infop info = nullptr;
  bool reading;
  std::string_view input;
  std::string output;
  char message[160] = "out of memory";

  explicit Png(bool read) : reading(read) {
    png = read ? png_create_read_struct(PNG_LIBPNG_VER_STRING, this, on_error, on_warning)
               : png_create_write_struct(PNG_LIBPNG_VER_STRING, this, on_error, on_warning);
    if (png) info = png_create_info_struct(png);
  }
  ~Png() {
    if (reading) png_destroy_read_struct(&png, &info, nullptr);
    else png_destroy_write_struct(&png, &info);
  }
  Png(const Png&) = delete;
  Png& operator=(const Png&) = delete;

  [[noreturn]] static void on_error(png_structp png, png_const_charp text) {
    Png& self = *static_cast<Png*>(png_get_error_ptr(png));
    std::snprintf(self.message, sizeof self.message, "%s", text);
    png_longjmp(png, 1);
  }
  static void on_warning(png_structp, png_const_charp) {}  // about parts that hold no pixels

  static void on_read(png_structp png, png_bytep out, size_t n) {
    Png& self = *static_cast<Png*>(png_get_io_ptr(png));
    if (n > self.input.size()) png_error(png, "the file is cut off");
    std::memcpy(out, self.input.data(), n);
    self.input.remove_prefix(n);
  }
  static void on_write(png_structp png, png_bytep data, size_t n) {
    Png& self = *static_cast<Png*>(png_get_io_ptr(png));
    bool written = true;
    try {
      self.output.append(reinterpret_cast<const char*>(data), n);
    } catch (const std::bad_alloc&) {
      written = false;
    }
    if (!written)
      png_error(png, "out of memory");  // after the handler, which a jump would not leave properly
  }
};

/// What the header says once every pixel is asked for as 8-bit channels.
struct Layout {
  png_uint_32 height, width, channels;
  size_t stored_row_bytes, row_bytes;
};

bool read_header(Png& p, Layout& layout) {
  if (setjmp(png_jmpbuf(p.png))) return false;
  png_set_read_fn(p.png, &p, Png::on_read);
  png_read_info(p.png, p.info);
  layout.stored_row_bytes = png_get_rowbytes(p.png, p.info);
  png_set_scale_16(p.png);
  png_set_expand(p.png);  // palettes to RGB, fewer bits to 8, a transparent colour to alpha
  png_set_interlace_handling(p.png);
  png_read_update_info(p.png, p.info);
  layout.height = png_get_image_height(p.png, p.info);
  layout.width = png_get_image_width(p.png, p.info);
  layout.channels = png_get_channels(p.png, p.info);
  layout.row_bytes = png_get_rowbytes(p.png, p.info);
  return true;
}

bool read_pixels(Png& p, png_bytep* rows) {
  if (setjmp(png_jmpbuf(p.png))) return false;
  png_read_image(p.png, rows);
  png_read_end(p.png, nullptr);
  return true;
}

bool write_pixels(Png& p, const Pixels& image, png_bytep* rows) {
  if (setjmp(png_jmpbuf(p.png))) return false;
  constexpr int kColorTypes[] = {PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_GRAY_ALPHA, PNG_COLOR_TYPE_RGB,
                                 PNG_COLOR_TYPE_RGB_ALPHA};
  png_set_write_fn(p.png, &p, Png::on_write, nullptr);
  png_set_IHDR(p.png, p.info, static_cast<png_uint_32>(image.width), static_cast<png_uint_32>(image.height),
               8, kColorTypes[image.channels - 1], PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
               PNG_FILTER_TYPE_DEFAULT);
  png_write_info(p.png, p.info);
  png_write_image(p.png, rows);
  png_write_end(p.png, nullptr);
  return true;
}

/// Where the rows of an image begin. libpng takes pointers that are not const even to write a file.
std::vector<png_bytep> row_pointers(const uint8_t* values, int64_t height, size_t row_bytes) {
  std::vector<png_bytep> rows;
  for (int64_t y = 0; y < height; ++y)
    rows.push_back(const_cast<png_bytep>(values + static_cast<size_t>(y) * row_bytes));
  return rows;
}

}  // namespace

Pixels decode_png(std::string_view file, const std::string& path) {
  Png p(true);
  HEBB_CHECK(p.png && p.info, "[load_image] {}: libpng cannot start", path);
  p.input = file;
  Layout layout{};
  HEBB_CHECK(read_header(p, layout), "[load_image] {}: damaged PNG: {}", path, p.message);
  Pixels image{layout.height, layout.width, static_cast<int>(layout.channels), {}};
  HEBB_CHECK(image.height * image.width <= kMaxPixels,
             "[load_image] {}: expected at most {} pixels, got {}x{}", path, kMaxPixels, image.height,
             image.width);
  // No deflate stream grows more than 1032-fold: less is a damaged header, seen before asking for the memory.
  HEBB_CHECK(layout.stored_row_bytes * layout.height / 1032 <= file.size(),
             "[load_image] {}: damaged PNG: expected the data of {}x{} pixels, got a file of {} bytes", path,
             image.height, image.width, file.size());
  image.values.resize(layout.row_bytes * layout.height);
  auto rows = row_pointers(image.values.data(), image.height, layout.row_bytes);
  HEBB_CHECK(read_pixels(p, rows.data()), "[load_image] {}: damaged PNG: {}", path, p.message);
  return image;
}

std::string encode_png(const Pixels& image, const std::string& place) {
  Png p(false);
  HEBB_CHECK(p.png && p.info, "{}: libpng cannot start", place);
  auto rows = row_pointers(image.values.data(), image.height,
                           static_cast<size_t>(image.width) * static_cast<size_t>(image.channels));
  HEBB_CHECK(write_pixels(p, image, rows.data()), "{}: cannot encode the image: {}", place, p.message);
  return std::move(p.output);
}

}  // namespace hebb::io
