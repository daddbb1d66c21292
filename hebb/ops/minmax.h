// The largest and the smallest: values, positions, or both. NaN counts as the largest and as the smallest,
// and the first of equal elements is chosen. Apart from reduce.h because min(x, 0) means one thing here and
// another to who compares elements with numbers.
#pragma once
#include "hebb/core/tensor.h"
#include "hebb/ops/reduce.h"

namespace hebb {

/// Values and where they were found: i64 positions along the dimension.
struct ValuesAndIndices {
  Tensor values, indices;
};

/// Largest element over `dims` (all when empty). Equal ones share the gradient. Throws Error if there is
/// nothing to fold.
Tensor amax(const Tensor& x, const Dims& dims = {}, bool keepdim = false);
/// Smallest element over `dims` (all when empty). Equal ones share the gradient. Throws Error if there is
/// nothing to fold.
Tensor amin(const Tensor& x, const Dims& dims = {}, bool keepdim = false);

/// Largest element of all.
inline Tensor max(const Tensor& x) { return amax(x); }
/// Smallest element of all.
inline Tensor min(const Tensor& x) { return amin(x); }
/// Largest element along `dim` and its position; the gradient goes to that position alone. Throws Error if
/// the dimension is empty.
ValuesAndIndices max(const Tensor& x, int64_t dim, bool keepdim = false);
/// Smallest element along `dim` and its position, as max.
ValuesAndIndices min(const Tensor& x, int64_t dim, bool keepdim = false);

/// Position (i64) of the largest element along `dim`. Throws Error if the dimension is empty.
Tensor argmax(const Tensor& x, int64_t dim, bool keepdim = false);
/// Position (i64) of the smallest element along `dim`. Throws Error if the dimension is empty.
Tensor argmin(const Tensor& x, int64_t dim, bool keepdim = false);
/// Position (i64, 0-d) of the largest of all elements, counted in row-major order.
Tensor argmax(const Tensor& x);
/// Position (i64, 0-d) of the smallest of all elements, counted in row-major order.
Tensor argmin(const Tensor& x);

}  // namespace hebb
