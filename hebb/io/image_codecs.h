// Between the bytes of image files and pixels: what image.cpp needs of libpng and libjpeg. Not for users.
//
// Both libraries are C and report errors by a callback that must not return. Throwing through their frames is
// undefined, so the callback jumps (longjmp) back into a small function of our own. Such a function holds
// only plain locals, since a jump runs no destructors; everything that owns memory lives in its callers.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hebb::io {

inline constexpr int64_t kMaxPixels = int64_t{1} << 27;  // a damaged header must not ask for all memory

/// 8-bit pixels as image files have them, [H, W, C]: gray, gray and alpha, RGB, RGBA by the number of
/// channels.
struct Pixels {
  int64_t height = 0, width = 0;
  int channels = 0;
  std::vector<uint8_t> values;
};

/// Throw Error, naming `path`, for damaged data.
Pixels decode_png(std::string_view file, const std::string& path);
Pixels decode_jpeg(std::string_view file, const std::string& path);

/// `place` opens messages: "[save_png] x.png".
std::string encode_png(const Pixels& image, const std::string& place);

}  // namespace hebb::io
