// NumPy's .npy files (format versions 1.0, 2.0 and 3.0): one array with its element type and shape.
#pragma once
#include <string>

#include "hebb/core/tensor.h"

namespace hebb::io {

/// The array of a .npy file, any shape of up to 8 dimensions (0-d and empty too), stored in C or Fortran
/// order. Element types: <f4 f32, <f8 f64, <f2 f16, |u1 u8, |i1 i8, <i4 i32, <i8 i64, |b1 bool.
/// Throws Error for a file that cannot be read, is no .npy file, has another element type, a header that does
/// not follow the format, or more or fewer bytes than its shape says.
/// Source of the format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
Tensor load_npy(const std::string& path);

/// Writes `t` as NumPy itself would: byte for byte the same file, version 1.0, C order. All or nothing, see
/// write_file_atomic. Throws Error if the file cannot be written, and for bf16, which NumPy does not have.
void save_npy(const std::string& path, const Tensor& t);

}  // namespace hebb::io
