// Copies between files and tensors. Data in files need not be aligned, hence bytes and not typed pointers.
#include "hebb/io/tensor_bytes.h"

#include <cstring>

#include "hebb/core/check.h"

namespace hebb::io {

std::optional<int64_t> byte_count(std::span<const int64_t> shape, DType dtype) {
  // Zeros are left out of the overflow check only, not of the result: the other extents alone must fit, since
  // strides are their products.
  int64_t n = size_of(dtype);
  bool empty = false;
  for (const int64_t extent : shape) {
    if (extent < 0) return {};
    if (extent == 0) empty = true;
    else if (__builtin_mul_overflow(n, extent, &n)) return {};
  }
  return empty ? 0 : n;
}

Tensor tensor_from_bytes(std::string_view bytes, const Shape& shape, DType dtype) {
  Tensor t = Tensor::empty(shape, dtype);
  if (dtype == boolean) {
    bool* values = t.mutable_data<bool>();
    for (size_t i = 0; i < bytes.size(); ++i) values[i] = bytes[i] != 0;
  } else if (!bytes.empty()) {
    std::memcpy(t.raw_data(), bytes.data(), bytes.size());
  }
  return t;
}

Tensor dense_on_host(const Tensor& t, const std::string& place) {
  HEBB_CHECK(t.defined(), "{}: expected a tensor with values, got an undefined tensor", place);
  HEBB_CHECK(t.has_data(), "{}: expected a tensor with values, got only a shape ({} {})", place,
             name_of(t.dtype()), t.shape().str());
  HEBB_CHECK(t.device() == Device{}, "{}: expected a tensor on the cpu, got one on another device", place);
  if (t.is_contiguous()) return t;
  Tensor dense = Tensor::empty(t.shape(), t.dtype());
  if (t.numel() > 0) detail::copy_values(t.spec(), t.raw_data(), dense.spec(), dense.raw_data());
  return dense;
}

std::string_view bytes_of(const Tensor& t) {
  return {static_cast<const char*>(t.raw_data()), static_cast<size_t>(t.numel() * size_of(t.dtype()))};
}

}  // namespace hebb::io
