// Pictures in and out of tensors: PNG and JPEG, and the few conversions that every data set needs.
#pragma once
#include <cstdint>
#include <string>

#include "hebb/core/tensor.h"

namespace hebb::io {

/// What becomes of transparency: laid over a white or a black ground, or kept as a last channel.
enum class Alpha { on_white, on_black, keep };

/// Options of load_image.
struct ImageOptions {
  Alpha alpha = Alpha::on_white;
};

/// A PNG (any bit depth, palette, interlaced) or JPEG as u8 [C, H, W]: C = 1 for gray, 3 for RGB, and 2 or 4
/// where Alpha::keep finds transparency. The kind is told by the first bytes, not by the name. 16 bits are
/// rounded to 8, CMYK becomes RGB; gamma, colour profiles and EXIF rotation are not applied, as in most of
/// deep learning. Throws Error for a file that cannot be read, is of another kind, damaged or cut off, or has
/// more than 2^27 pixels.
Tensor load_image(const std::string& path, const ImageOptions& options = {});

/// Writes u8 [H, W] or [C, H, W] as PNG; C = 1 gray, 2 gray and alpha, 3 RGB, 4 RGBA. All or nothing, see
/// write_file_atomic. Throws Error for another shape or dtype and if the file cannot be written.
void save_png(const std::string& path, const Tensor& image);

/// Resizes u8 or f32 [C, H, W] to [C, height, width]. Enlarging interpolates linearly between pixel centres;
/// shrinking averages over the area of each new pixel (a triangle as wide as two of them), so that thin lines
/// do not vanish. Equals Pillow's BILINEAR and PyTorch's interpolate(mode="bilinear", antialias=True), for u8
/// up to a rounding of 1. Throws Error for another dtype or shape and for sizes below 1.
Tensor resize_bilinear(const Tensor& image, int64_t height, int64_t width);

/// Gray from u8 or f32 RGB: [3, H, W] to [1, H, W] by the luma of ITU-R BT.601, 0.299 R + 0.587 G + 0.114 B,
/// as Pillow's convert("L"). An image of one channel is returned as it is. Throws Error for another shape or
/// dtype.
Tensor to_gray(const Tensor& image);

}  // namespace hebb::io
