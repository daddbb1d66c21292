// Sorting along a dimension. NaN is larger than every number, and equal elements keep their order, so that
// results are the same everywhere.
#pragma once
#include "hebb/core/tensor.h"
#include "hebb/ops/minmax.h"

namespace hebb {

/// The elements of each line along `dim` in ascending (or descending) order, and their positions before
/// (i64). Stable. Gradients flow back to where the values came from.
ValuesAndIndices sort(const Tensor& x, int64_t dim = -1, bool descending = false);
/// The positions of sort() alone.
Tensor argsort(const Tensor& x, int64_t dim = -1, bool descending = false);
/// The k largest (or smallest) elements along `dim`, the most extreme first, and their positions (i64). Of
/// equal elements the first are taken. Throws Error unless k is in [0, extent].
ValuesAndIndices topk(const Tensor& x, int64_t k, int64_t dim = -1, bool largest = true);

}  // namespace hebb
