// Other shapes of the same values: views share storage where strides can express the result, and copy
// otherwise.
#pragma once
#include <optional>
#include <vector>

#include "hebb/core/tensor.h"

namespace hebb {

/// The same values as a new tensor of the tape (shares storage).
Tensor alias(const Tensor& x);
/// A dense copy with storage of its own.
Tensor clone(const Tensor& x);
/// x if its values lie densely in row-major order, else a dense copy.
Tensor contiguous(const Tensor& x);

/// The values in row-major order under another shape; one extent may be -1 and is worked out. A view where
/// strides allow it. Throws Error if the counts differ.
Tensor reshape(const Tensor& x, const Shape& shape);
/// Merges dimensions start..end (both included) into one.
Tensor flatten(const Tensor& x, int64_t start_dim = 0, int64_t end_dim = -1);
/// Splits dimension `dim` into `sizes` (one may be -1).
Tensor unflatten(const Tensor& x, int64_t dim, const Shape& sizes);
/// Reorders dimensions: dimension i of the result is dims[i] of x.
Tensor permute(const Tensor& x, const Shape& dims);
/// Swaps two dimensions.
Tensor transpose(const Tensor& x, int64_t dim0 = -2, int64_t dim1 = -1);
/// Repeats dimensions of extent 1 and new leading ones without copying; -1 keeps an extent.
Tensor expand(const Tensor& x, const Shape& shape);
/// Drops a dimension of extent 1 (leaves others as they are).
Tensor squeeze(const Tensor& x, int64_t dim);
/// Drops all dimensions of extent 1.
Tensor squeeze(const Tensor& x);
/// Inserts a dimension of extent 1 before `dim`.
Tensor unsqueeze(const Tensor& x, int64_t dim);

/// Elements start, start + step, … below stop of a dimension. Negative positions count from the end;
/// positions beyond the ends are cut, as in Python. `step` at least 1.
Tensor slice(const Tensor& x, int64_t dim, int64_t start = 0, int64_t stop = INT64_MAX, int64_t step = 1);
/// `length` elements from `start`. Throws Error unless they exist.
Tensor narrow(const Tensor& x, int64_t dim, int64_t start, int64_t length);
/// One position of a dimension, which is dropped. Throws Error unless it exists.
Tensor select(const Tensor& x, int64_t dim, int64_t index);
/// Pieces of `size` along a dimension; the last may be smaller.
std::vector<Tensor> split(const Tensor& x, int64_t size, int64_t dim = 0);
/// Pieces of the given sizes, which must add up to the extent.
std::vector<Tensor> split(const Tensor& x, const std::vector<int64_t>& sizes, int64_t dim = 0);
/// Reverses the given dimensions (a view with negative strides).
Tensor flip(const Tensor& x, const std::vector<int64_t>& dims);

}  // namespace hebb
