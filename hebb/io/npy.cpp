// A file is the magic bytes, a version, the length of a header, the header (a Python dict) and the data.
#include "hebb/io/npy.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <vector>

#include "hebb/core/check.h"
#include "hebb/io/file.h"
#include "hebb/io/tensor_bytes.h"

namespace hebb::io {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr size_t kAlignment = 64;     // of the data, as NumPy has it
constexpr size_t kGrowthDigits = 21;  // NumPy leaves room to write a longer first extent in place

struct Descr {
  std::string_view text;
  DType dtype;
};
constexpr auto kDescrs = std::to_array<Descr>({{"<f4", f32},
                                               {"<f8", f64},
                                               {"<f2", f16},
                                               {"|u1", u8},
                                               {"|i1", i8},
                                               {"<i4", i32},
                                               {"<i8", i64},
                                               {"|b1", boolean}});

std::string supported_descrs() {
  std::string list;
  for (const auto& d : kDescrs) list += fmt::format("{}{}", list.empty() ? "" : ", ", d.text);
  return list;
}

struct Header {
  DType dtype = f32;
  bool fortran_order = false;
  std::vector<int64_t> shape;
};

/// Reads the header's text, the literal of a Python dict: {'descr': '<f4', 'fortran_order': False, 'shape':
/// (2, 3), }. The keys may come in any order.
class HeaderParser {
 public:
  HeaderParser(std::string_view text, const std::string& path) : text_(text), path_(path) {}

  Header parse() {
    Header header;
    bool has_descr = false, has_order = false, has_shape = false;
    expect('{');
    while (!accept('}')) {
      const std::string_view key = string("a key in quotes");
      expect(':');
      if (key == "descr") header.dtype = descr(), once(has_descr, key);
      else if (key == "fortran_order") header.fortran_order = boolean_word(), once(has_order, key);
      else if (key == "shape") header.shape = tuple(), once(has_shape, key);
      else fail(fmt::format("the keys descr, fortran_order and shape, got '{}'", key));
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    skip_space();
    if (at_ != text_.size()) fail(fmt::format("nothing after the header's closing brace, got {}", found()));
    for (const auto& [has, key] : {std::pair(has_descr, "descr"), std::pair(has_order, "fortran_order"),
                                   std::pair(has_shape, "shape")})
      if (!has) fail(fmt::format("a header with the key '{}', got none", key));
    return header;
  }

 private:
  [[noreturn]] void fail(const std::string& expected_and_got) const {
    detail::fail("[load_npy] {}: expected {}", path_, expected_and_got);
  }

  std::string found() const {
    if (at_ >= text_.size()) return "the header's end";
    return fmt::format("'{}' at header byte {}", text_.substr(at_, 12), at_);
  }

  void once(bool& seen, std::string_view key) const {
    if (seen) fail(fmt::format("each key of the header once, got '{}' twice", key));
    seen = true;
  }

  void skip_space() {
    while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos)
      ++at_;
  }

  bool accept(char c) {
    skip_space();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  void expect(char c) {
    if (!accept(c)) fail(fmt::format("'{}' in the header, got {}", c, found()));
  }

  std::string_view string(std::string_view what) {
    skip_space();
    const char quote = at_ < text_.size() ? text_[at_] : '\0';
    if (quote != '\'' && quote != '"') fail(fmt::format("{} in the header, got {}", what, found()));
    const size_t end = text_.find(quote, at_ + 1);
    if (end == std::string_view::npos) fail(fmt::format("{} in the header, got no closing quote", what));
    const std::string_view s = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    return s;
  }

  DType descr() {
    skip_space();
    if (at_ < text_.size() && text_[at_] == '[')
      fail(fmt::format("dtype {}, got a structured dtype", supported_descrs()));
    const std::string_view text = string("the dtype in quotes");
    for (const auto& d : kDescrs)
      if (d.text == text) return d.dtype;
    fail(fmt::format("dtype {}, got {}", supported_descrs(), text));
  }

  bool boolean_word() {
    skip_space();
    for (const auto& [word, value] : {std::pair<std::string_view, bool>("True", true), {"False", false}})
      if (text_.substr(at_).starts_with(word)) {
        at_ += word.size();
        return value;
      }
    fail(fmt::format("fortran_order True or False, got {}", found()));
  }

  std::vector<int64_t> tuple() {
    std::vector<int64_t> extents;
    expect('(');
    while (!accept(')')) {
      skip_space();
      int64_t extent = -1;
      const char* begin = text_.data() + at_;
      const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), extent);
      if (error != std::errc() || extent < 0)
        fail(fmt::format("extents of at least 0 in the shape, got {}", found()));
      at_ += static_cast<size_t>(end - begin);
      accept('L');  // as Python 2 wrote long integers
      extents.push_back(extent);
      if (!accept(',')) {
        expect(')');
        break;
      }
    }
    return extents;
  }

  std::string_view text_;
  const std::string& path_;
  size_t at_ = 0;
};

size_t little_endian(std::string_view bytes) {
  size_t value = 0;
  for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

}  // namespace

Tensor load_npy(const std::string& path) {
  const std::string file = read_file(path, "load_npy");
  const std::string_view bytes = file;
  HEBB_CHECK(bytes.starts_with(kMagic) && bytes.size() >= 8,
             "[load_npy] {}: expected a .npy file (first bytes \\x93NUMPY), got {}", path,
             bytes.empty() ? "an empty file" : "something else");
  const int major = static_cast<unsigned char>(bytes[6]), minor = static_cast<unsigned char>(bytes[7]);
  HEBB_CHECK(major >= 1 && major <= 3 && minor == 0,
             "[load_npy] {}: expected format version 1.0, 2.0 or 3.0, got {}.{}", path, major, minor);
  const size_t length_bytes = major == 1 ? 2 : 4, begin = 8 + length_bytes;
  HEBB_CHECK(bytes.size() >= begin, "[load_npy] {}: expected a header after byte 8, got the file's end",
             path);
  const size_t length = little_endian(bytes.substr(8, length_bytes));
  HEBB_CHECK(length <= bytes.size() - begin, "[load_npy] {}: expected a header of {} bytes, got {} bytes",
             path, length, bytes.size() - begin);

  const Header header = HeaderParser(bytes.substr(begin, length), path).parse();
  HEBB_CHECK(header.shape.size() <= Shape::kMaxDims, "[load_npy] {}: expected at most {} dimensions, got {}",
             path, Shape::kMaxDims, header.shape.size());
  const Shape shape{std::span<const int64_t>(header.shape)};
  const std::string_view data = bytes.substr(begin + length);
  const auto expected = byte_count(shape, header.dtype);
  HEBB_CHECK(expected, "[load_npy] {}: expected a shape that fits into memory, got {}", path, shape.str());
  HEBB_CHECK(static_cast<size_t>(*expected) == data.size(),
             "[load_npy] {}: expected {} bytes of data for shape {} of {}, got {}", path, *expected,
             shape.str(), name_of(header.dtype), data.size());
  if (!header.fortran_order) return tensor_from_bytes(data, shape, header.dtype);

  // In Fortran's order the first extent runs fastest: the transpose, row-major.
  Shape reversed = shape;
  Strides strides = Strides::filled(shape.ndim(), 0);
  std::reverse(reversed.begin(), reversed.end());
  const Tensor transposed = tensor_from_bytes(data, reversed, header.dtype);
  std::reverse_copy(transposed.strides().begin(), transposed.strides().end(), strides.begin());
  Tensor t = Tensor::empty(shape, header.dtype);
  if (t.numel() > 0)
    detail::copy_values(TensorSpec(shape, strides, header.dtype, {}), transposed.raw_data(), t.spec(),
                        t.raw_data());
  return t;
}

void save_npy(const std::string& path, const Tensor& tensor) {
  const Tensor t = dense_on_host(tensor, "[save_npy] " + path);
  std::string_view descr;
  for (const auto& d : kDescrs)
    if (d.dtype == t.dtype()) descr = d.text;
  HEBB_CHECK(!descr.empty(),
             "[save_npy] {}: expected a dtype that NumPy has, got {}; convert to f32 first, or save as "
             ".safetensors",
             path, name_of(t.dtype()));

  std::string shape;
  for (const int64_t extent : t.shape()) shape += fmt::format("{}{}", shape.empty() ? "" : ", ", extent);
  if (t.ndim() == 1) shape += ",";  // a Python tuple of one
  std::string header =
      fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", descr, shape);
  if (t.ndim() > 0) header.append(kGrowthDigits - std::to_string(t.size(0)).size(), ' ');
  const size_t prefix = kMagic.size() + 4;  // version and length, two bytes each
  header.append(kAlignment - (prefix + header.size() + 1) % kAlignment, ' ');
  header += '\n';
  const char version_and_length[] = {1, 0, static_cast<char>(header.size() & 0xff),
                                     static_cast<char>(header.size() >> 8)};
  const std::string_view parts[] = {kMagic, {version_and_length, 4}, header, bytes_of(t)};
  write_file_atomic(path, parts, "save_npy");
}

}  // namespace hebb::io
