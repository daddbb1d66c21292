// Picking elements by index and putting them back. Indices are i64 or i32, from 0; one that is out of range
// throws Error with its position and value, before anything is computed.
#pragma once
#include <optional>

#include "hebb/core/tensor.h"
#include "hebb/ops/join.h"

namespace hebb {

/// out[i][j][k] = x[i][index[i][j][k]][k] for dim = 1, and alike for others. `index` has as many dimensions
/// as x, none but `dim` longer than x's. The result has the shape of `index`.
Tensor gather(const Tensor& x, int64_t dim, const Tensor& index);
/// A copy of x to which out[i][index[i][j][k]][k] += src[i][j][k] is done for dim = 1, and alike for others,
/// in row-major order. `index` has as many dimensions as x and src; none is longer than src's, and none but
/// `dim` longer than x's. x and src are of one type.
Tensor scatter_add(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& src);

/// The slices of x at `index` (1-d or 0-d) along `dim`.
Tensor index_select(const Tensor& x, int64_t dim, const Tensor& index);
/// A copy of x to whose slices at `index` (1-d or 0-d) along `dim` the slices of `src` are added, in order.
/// src has x's shape but for `dim`, whose extent is the number of indices, and x's type.
Tensor index_add(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& src);

/// Rows of `weight` [V, D] at `indices` of any shape S: [S..., D]. The row `padding_idx`, which may count
/// from the end, gets no gradient.
Tensor embedding(const Tensor& indices, const Tensor& weight,
                 std::optional<int64_t> padding_idx = std::nullopt);
/// 1 at the class, 0 elsewhere, in a new last dimension: i64 [S..., num_classes]. num_classes -1 takes the
/// largest class there is, which reads the values; it throws Error if there are none.
Tensor one_hot(const Tensor& classes, int64_t num_classes = -1);

}  // namespace hebb
