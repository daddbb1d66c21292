// A file is two zero bytes, a type code, the number of dimensions, the extents (32 bits each) and the values.
#include "hebb/io/idx.h"

#include <algorithm>
#include <optional>

#include "hebb/core/check.h"
#include "hebb/io/file.h"
#include "hebb/io/tensor_bytes.h"

namespace hebb::io {
namespace {

uint32_t big_endian(std::string_view bytes) {
  uint32_t value = 0;
  for (const char c : bytes.substr(0, 4)) value = value << 8 | static_cast<unsigned char>(c);
  return value;
}

std::optional<DType> dtype_of_code(uint32_t code) {
  switch (code) {
    case 0x08: return u8;
    case 0x09: return i8;
    case 0x0C: return i32;
    case 0x0D: return f32;
    case 0x0E: return f64;
    default: return {};
  }
}

}  // namespace

Tensor load_idx(const std::string& path) {
  std::string file = read_maybe_gzip(path, "load_idx");
  HEBB_CHECK(file.size() >= 4, "[load_idx] {}: expected an IDX file of at least 4 bytes, got {}", path,
             file.size());
  const uint32_t magic = big_endian(file), code = magic >> 8 & 0xff, ndim = magic & 0xff;
  HEBB_CHECK(code != 0x0B,
             "[load_idx] {}: expected u8, i8, i32, f32 or f64 values, got 16-bit integers (type 0x0b)", path);
  const auto dtype = dtype_of_code(code);
  HEBB_CHECK(
      magic >> 16 == 0 && dtype && ndim >= 1 && ndim <= Shape::kMaxDims,
      "[load_idx] {}: expected the magic number of an IDX file (two zero bytes, a type 0x08, 0x09, 0x0c, "
      "0x0d or 0x0e, and 1 to {} dimensions), got 0x{:08x}",
      path, Shape::kMaxDims, magic);

  const size_t begin = 4 + 4 * size_t{ndim};
  HEBB_CHECK(file.size() >= begin,
             "[load_idx] {}: expected a header of {} bytes for {} dimensions, got {} bytes", path, begin,
             ndim, file.size());
  Shape shape;
  for (size_t i = 1; i <= ndim; ++i) shape.push_back(big_endian(std::string_view(file).substr(4 * i)));
  const auto expected = byte_count(shape, *dtype);
  HEBB_CHECK(expected, "[load_idx] {}: expected dimensions that fit into memory, got {}", path, shape.str());
  HEBB_CHECK(static_cast<size_t>(*expected) == file.size() - begin,
             "[load_idx] {}: expected {} bytes of values for {} of {}, got {}: the file {}", path, *expected,
             shape.str(), name_of(*dtype), file.size() - begin,
             file.size() - begin < static_cast<size_t>(*expected) ? "is cut off" : "has extra bytes");

  const auto width = static_cast<size_t>(size_of(*dtype));
  if (width > 1)
    for (size_t at = begin; at < file.size(); at += width)
      std::reverse(file.data() + at, file.data() + at + width);
  return tensor_from_bytes(std::string_view(file).substr(begin), shape, *dtype);
}

}  // namespace hebb::io
