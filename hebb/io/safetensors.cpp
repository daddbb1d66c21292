// A file is 8 bytes (the header's length, little-endian), the header (JSON, padded by spaces), the data.
#include "hebb/io/safetensors.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>

#include "hebb/core/check.h"
#include "hebb/io/file.h"
#include "hebb/io/tensor_bytes.h"

namespace hebb::io {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxHeader = 100'000'000;  // the format's own limit
constexpr const char* kMetadata = "__metadata__";

struct Code {
  std::string_view text;
  DType dtype;
};
constexpr auto kCodes = std::to_array<Code>({{"F64", f64},
                                             {"F32", f32},
                                             {"F16", f16},
                                             {"BF16", bf16},
                                             {"I64", i64},
                                             {"I32", i32},
                                             {"I8", i8},
                                             {"U8", u8},
                                             {"BOOL", boolean}});

std::string supported_codes() {
  std::string list;
  for (const auto& c : kCodes) list += fmt::format("{}{}", list.empty() ? "" : ", ", c.text);
  return list;
}

std::string_view code_of(DType dtype) {
  return std::find_if(kCodes.begin(), kCodes.end(), [&](const Code& c) { return c.dtype == dtype; })->text;
}

/// A value as JSON, cut to what a message can hold.
std::string shown(const Json& value) {
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() > 80) text.replace(77, std::string::npos, "...");
  return text;
}

struct Header {
  std::vector<std::string> names;  // as they come in the file; the parsed object is sorted
  Json json;
};

/// Parses the header and rejects what a JSON library forgives: names that occur twice, and deep nesting.
Header parse_header(std::string_view text, const std::string& path) {
  Header header;
  std::vector<std::set<std::string>> keys;  // of the objects that are open
  const auto watch = [&](int depth, Json::parse_event_t event, Json& value) {
    HEBB_CHECK(depth <= 3, "[load_safetensors] {}: expected a header of at most 3 levels, got deeper JSON",
               path);
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key) {
      const auto& name = value.get_ref<const std::string&>();
      HEBB_CHECK(keys.back().insert(name).second,
                 "[load_safetensors] {}: expected each name in the header once, got \"{}\" twice", path,
                 name);
      if (keys.size() == 1 && name != kMetadata) header.names.push_back(name);
    }
    return true;
  };
  try {
    header.json = Json::parse(text, watch);
  } catch (const Json::exception& e) {
    const std::string_view what = e.what();  // "[json.exception.parse_error.101] parse error at line 1, ..."
    detail::fail("[load_safetensors] {}: expected a JSON header, got an invalid one: {}", path,
                 what.substr(std::min(what.find("] ") + 2, what.size())));
  }
  HEBB_CHECK(header.json.is_object(), "[load_safetensors] {}: expected a JSON object as header, got {}", path,
             shown(header.json));
  return header;
}

/// Where a tensor's bytes lie, checked against shape, dtype and the size of all data.
struct Place {
  const std::string* name = nullptr;
  Shape shape;
  DType dtype = f32;
  size_t begin = 0, end = 0;
};

class PlaceReader {
 public:
  PlaceReader(const std::string& path, const std::string& name, const Json& info, size_t data_bytes)
      : path_(path), name_(name), info_(info), data_bytes_(data_bytes) {}

  Place read() const {
    if (!info_.is_object()) fail("a JSON object", shown(info_));
    Place place;
    place.name = &name_;
    place.dtype = dtype();
    const std::vector<int64_t> extents = integers("shape", "an array of integers of at least 0");
    if (extents.size() > Shape::kMaxDims)
      fail(fmt::format("a shape of at most {} dimensions", Shape::kMaxDims), std::to_string(extents.size()));
    place.shape = Shape(std::span<const int64_t>(extents));
    const auto bytes = byte_count(extents, place.dtype);
    if (!bytes) fail("a shape that fits into memory", place.shape.str());

    const std::string range = fmt::format("two data_offsets in order within {} bytes of data", data_bytes_);
    const std::vector<int64_t> offsets = integers("data_offsets", range);
    if (offsets.size() != 2 || offsets[0] > offsets[1] || static_cast<size_t>(offsets[1]) > data_bytes_)
      fail(range, shown(info_["data_offsets"]));
    place.begin = static_cast<size_t>(offsets[0]), place.end = static_cast<size_t>(offsets[1]);
    if (offsets[1] - offsets[0] != *bytes)
      fail(fmt::format("{} bytes for shape {} of {}", *bytes, place.shape.str(), code_of(place.dtype)),
           fmt::format("{} (data_offsets {})", place.end - place.begin, shown(info_["data_offsets"])));
    return place;
  }

 private:
  [[noreturn]] void fail(std::string_view expected, std::string_view got) const {
    detail::fail("[load_safetensors] {}: tensor \"{}\": expected {}, got {}", path_, name_, expected, got);
  }

  DType dtype() const {
    const std::string expected = "dtype " + supported_codes();
    const auto it = info_.find("dtype");
    if (it == info_.end()) fail(expected, "none");
    if (it->is_string())
      for (const auto& c : kCodes)
        if (c.text == it->get_ref<const std::string&>()) return c.dtype;
    fail(expected, shown(*it));
  }

  std::vector<int64_t> integers(const char* key, std::string_view expected) const {
    const auto it = info_.find(key);
    if (it == info_.end()) fail(fmt::format("{} ({})", key, expected), "none");
    const auto fits = [](const Json& v) { return v.is_number_unsigned() && v.get<uint64_t>() <= INT64_MAX; };
    if (!it->is_array() || !std::all_of(it->begin(), it->end(), fits))
      fail(fmt::format("{} ({})", key, expected), shown(*it));
    return it->get<std::vector<int64_t>>();
  }

  const std::string& path_;
  const std::string& name_;
  const Json& info_;
  size_t data_bytes_;
};

/// Together the tensors cover the data once: no hole in which something could hide, nothing read twice.
void check_cover(std::vector<Place> places, size_t data_bytes, const std::string& path) {
  std::sort(places.begin(), places.end(), [](const Place& a, const Place& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  size_t at = 0;
  const std::string* before = nullptr;
  for (const Place& p : places) {
    HEBB_CHECK(
        p.begin >= at,
        "[load_safetensors] {}: tensor \"{}\": expected data from offset {}, where tensor \"{}\" ends, got "
        "an overlap: offset {}",
        path, *p.name, at, *before, p.begin);
    HEBB_CHECK(
        p.begin == at,
        "[load_safetensors] {}: tensor \"{}\": expected data from offset {}, got a hole before offset {}",
        path, *p.name, at, p.begin);
    at = p.end;
    before = p.name;
  }
  HEBB_CHECK(at == data_bytes, "[load_safetensors] {}: expected {} bytes of data after the header, got {}",
             path, at, data_bytes);
}

}  // namespace

const Tensor* SafeTensors::find(const std::string& name) const {
  for (const auto& [own, tensor] : tensors)
    if (own == name) return &tensor;
  return nullptr;
}

SafeTensors load_safetensors(const std::string& path) {
  const std::string file = read_file(path, "load_safetensors");
  HEBB_CHECK(file.size() >= 8,
             "[load_safetensors] {}: expected at least 8 bytes (the header's length), got a file of {}", path,
             file.size());
  uint64_t length = 0;
  for (size_t i = 8; i-- > 0;) length = length << 8 | static_cast<unsigned char>(file[i]);
  HEBB_CHECK(length <= kMaxHeader, "[load_safetensors] {}: expected a header of at most {} bytes, got {}",
             path, kMaxHeader, length);
  HEBB_CHECK(length <= file.size() - 8,
             "[load_safetensors] {}: expected a header of {} bytes, got {} bytes after its length", path,
             length, file.size() - 8);
  const std::string_view text = std::string_view(file).substr(8, length);
  const std::string_view data = std::string_view(file).substr(8 + length);
  HEBB_CHECK(
      text.starts_with('{'), "[load_safetensors] {}: expected a header that starts with {{, got {}", path,
      text.empty() ? "an empty header" : fmt::format("byte 0x{:02x}", static_cast<unsigned char>(text[0])));

  const Header header = parse_header(text, path);
  SafeTensors result;
  if (const auto it = header.json.find(kMetadata); it != header.json.end()) {
    HEBB_CHECK(it->is_object(), "[load_safetensors] {}: expected __metadata__ to be a JSON object, got {}",
               path, shown(*it));
    for (const auto& [key, value] : it->items()) {
      HEBB_CHECK(value.is_string(), "[load_safetensors] {}: __metadata__ \"{}\": expected a string, got {}",
                 path, key, shown(value));
      result.metadata.emplace(key, value.get<std::string>());
    }
  }
  std::vector<Place> places;
  for (const auto& name : header.names)
    places.push_back(PlaceReader(path, name, header.json[name], data.size()).read());
  check_cover(places, data.size(), path);
  for (const Place& p : places)
    result.tensors.emplace_back(*p.name,
                                tensor_from_bytes(data.substr(p.begin, p.end - p.begin), p.shape, p.dtype));
  return result;
}

void save_safetensors(const std::string& path, const NamedTensors& tensors,
                      const std::map<std::string, std::string>& metadata) {
  const std::string place = "[save_safetensors] " + path;
  const auto quoted = [&](const std::string& text) {
    try {
      return Json(text).dump();
    } catch (const Json::exception&) {
      detail::fail("{}: expected names and metadata in UTF-8, got \"{}\"", place, text);
    }
  };
  // Written by hand, since a JSON library would sort the names or lose the order of the keys.
  std::string header = "{";
  if (!metadata.empty()) {
    for (const auto& [key, value] : metadata)
      header +=
          fmt::format("{}{}:{}", header.size() == 1 ? "\"__metadata__\":{" : ",", quoted(key), quoted(value));
    header += '}';
  }
  std::vector<Tensor> dense;  // keeps alive what `parts` views
  std::vector<std::string_view> parts(2);
  std::set<std::string_view> names;
  int64_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    HEBB_CHECK(name != kMetadata, "{}: expected names other than \"{}\", which the format keeps for itself",
               place, kMetadata);
    HEBB_CHECK(names.insert(name).second, "{}: expected each name once, got \"{}\" twice", place, name);
    dense.push_back(dense_on_host(tensor, fmt::format("{}: tensor \"{}\"", place, name)));
    parts.push_back(bytes_of(dense.back()));
    const int64_t end = offset + static_cast<int64_t>(parts.back().size());
    header += fmt::format("{}{}:{{\"dtype\":\"{}\",\"shape\":{},\"data_offsets\":[{},{}]}}",
                          header.size() == 1 ? "" : ",", quoted(name), code_of(tensor.dtype()),
                          Json(std::vector<int64_t>(tensor.shape().begin(), tensor.shape().end())).dump(),
                          offset, end);
    offset = end;
  }
  header += '}';
  header.append((8 - header.size() % 8) % 8, ' ');  // so that the data are aligned
  HEBB_CHECK(header.size() <= kMaxHeader, "{}: expected a header of at most {} bytes, got {}", place,
             kMaxHeader, header.size());
  std::string length;
  for (int i = 0; i < 8; ++i) length += static_cast<char>(header.size() >> (8 * i) & 0xff);
  parts[0] = length, parts[1] = header;
  write_file_atomic(path, parts, "save_safetensors");
}

}  // namespace hebb::io
