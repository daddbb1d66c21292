// Between tensors and the little-endian bytes that files hold: what the tensor formats share.
#pragma once
#include <bit>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "hebb/core/tensor.h"

namespace hebb::io {

static_assert(std::endian::native == std::endian::little, "files are read as they lie in memory");

/// The bytes of a dense tensor; nothing if an extent is negative or the count does not fit 63 bits. Headers
/// of files are checked with this before any memory is asked for.
std::optional<int64_t> byte_count(std::span<const int64_t> shape, DType dtype);

/// A new tensor from its bytes in row-major order, at any alignment. For bool each byte but 0 is true.
/// `bytes` must have exactly the size of the tensor.
Tensor tensor_from_bytes(std::string_view bytes, const Shape& shape, DType dtype);

/// `t` itself if it lies densely in the host's memory, else a dense copy. `place` opens messages:
/// "[save_npy] x.npy". Throws Error if there are no values.
Tensor dense_on_host(const Tensor& t, const std::string& place);

/// The bytes of a dense tensor, which must outlive the view.
std::string_view bytes_of(const Tensor& t);

}  // namespace hebb::io
