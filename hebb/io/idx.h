// IDX files, the format of MNIST and of the data sets made to replace it.
#pragma once
#include <string>

#include "hebb/core/tensor.h"

namespace hebb::io {

/// The array of an IDX file, raw or packed by gzip: u8, i8, i32, f32 or f64, of 1 to 8 dimensions. The
/// numbers of the file are big-endian. Throws Error for a file that cannot be read or unpacked, a wrong magic
/// number, 16-bit integers, and more or fewer bytes than its dimensions say. Source of the format:
/// http://yann.lecun.com/exdb/mnist/
Tensor load_idx(const std::string& path);

}  // namespace hebb::io
