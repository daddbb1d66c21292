// JPEG by libjpeg-turbo, from memory.
#include <csetjmp>
#include <cstdio>

// These lean on <cstdio> without including it, and on each other in this order.
#include <jpeglib.h>
// clang-format would sort it first.
#include <jerror.h>

#include "hebb/core/check.h"
#include "hebb/io/image_codecs.h"

namespace hebb::io {
namespace {

/// libjpeg's state and where its errors go. Owned by a function that no jump leaves.
struct Jpeg {
  jpeg_decompress_struct info{};
  jpeg_error_mgr errors{};
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX] = "";

  Jpeg() {
    info.err = jpeg_std_error(&errors);
    info.client_data = this;
    errors.error_exit = on_error;
    errors.emit_message = on_message;
    errors.output_message = [](j_common_ptr) {};
  }
  ~Jpeg() { jpeg_destroy_decompress(&info); }
  Jpeg(const Jpeg&) = delete;
  Jpeg& operator=(const Jpeg&) = delete;

  [[noreturn]] static void on_error(j_common_ptr info) {
    Jpeg& self = *static_cast<Jpeg*>(info->client_data);
    info->err->format_message(info, self.message);
    std::longjmp(self.jump, 1);
  }
  // libjpeg only warns when pixels are lost, and fills them with gray. Other warnings are about harmless
  // liberties that cameras take.
  static void on_message(j_common_ptr info, int level) {
    if (level >= 0) return;
    switch (info->err->msg_code) {
      case JWRN_JPEG_EOF:
      case JWRN_HIT_MARKER:
      case JWRN_HUFF_BAD_CODE:
      case JWRN_MUST_RESYNC:
      case JWRN_NOT_SEQUENTIAL: on_error(info);
      default: break;
    }
  }
};

bool read_header(Jpeg& j, std::string_view file) {
  if (setjmp(j.jump)) return false;
  jpeg_create_decompress(&j.info);
  jpeg_mem_src(&j.info, reinterpret_cast<const unsigned char*>(file.data()), file.size());
  jpeg_read_header(&j.info, TRUE);
  const int n = j.info.num_components;
  j.info.out_color_space = n == 1 ? JCS_GRAYSCALE : n == 3 ? JCS_RGB : JCS_CMYK;
  jpeg_calc_output_dimensions(&j.info);
  return true;
}

bool read_pixels(Jpeg& j, uint8_t* out, size_t row_bytes) {
  if (setjmp(j.jump)) return false;
  jpeg_start_decompress(&j.info);
  while (j.info.output_scanline < j.info.output_height) {
    JSAMPROW row = out + j.info.output_scanline * row_bytes;
    jpeg_read_scanlines(&j.info, &row, 1);
  }
  jpeg_finish_decompress(&j.info);
  return true;
}

/// CMYK to RGB. Programs of Adobe, which write nearly all such files, store the inks inverted and mark it.
void cmyk_to_rgb(Pixels& image, bool inverted) {
  const size_t n = image.values.size() / 4;
  for (size_t i = 0; i < n; ++i)
    for (size_t k = 0; k < 3; ++k) {
      const int ink = image.values[4 * i + k], black = image.values[4 * i + 3];
      const int product = inverted ? ink * black : (255 - ink) * (255 - black);
      image.values[3 * i + k] = static_cast<uint8_t>((product + 127) / 255);
    }
  image.values.resize(3 * n);
  image.channels = 3;
}

}  // namespace

Pixels decode_jpeg(std::string_view file, const std::string& path) {
  Jpeg j;
  HEBB_CHECK(read_header(j, file), "[load_image] {}: damaged JPEG: {}", path, j.message);
  Pixels image{j.info.output_height, j.info.output_width, j.info.output_components, {}};
  HEBB_CHECK(image.height * image.width <= kMaxPixels,
             "[load_image] {}: expected at most {} pixels, got {}x{}", path, kMaxPixels, image.height,
             image.width);
  const size_t row_bytes = static_cast<size_t>(image.width) * static_cast<size_t>(image.channels);
  image.values.resize(row_bytes * static_cast<size_t>(image.height));
  HEBB_CHECK(read_pixels(j, image.values.data(), row_bytes), "[load_image] {}: damaged JPEG: {}", path,
             j.message);
  if (image.channels == 4) cmyk_to_rgb(image, j.info.saw_Adobe_marker != 0);
  return image;
}

}  // namespace hebb::io
