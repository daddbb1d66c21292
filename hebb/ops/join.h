// Putting tensors together and moving their elements: concatenation, padding, rotation, triangles.
#pragma once
#include <vector>

#include "hebb/core/tensor.h"

namespace hebb {

/// Tensors one after the other along `dim`. The other extents must agree; types are promoted. A tensor of
/// shape 0 fits everywhere, as in PyTorch. Throws Error for an empty list, for 0-d tensors, and for shapes
/// that do not fit.
Tensor cat(const std::vector<Tensor>& tensors, int64_t dim = 0);
/// Tensors of one shape along a new dimension `dim`.
Tensor stack(const std::vector<Tensor>& tensors, int64_t dim = 0);

/// What padding is filled with.
enum class PadMode : uint8_t {
  constant,   ///< one value
  reflect,    ///< the elements mirrored at the edge, which is not repeated; less than an extent
  replicate,  ///< the element at the edge
  circular,   ///< the elements from the other end; at most an extent
};
/// Adds elements around the last dimensions of x. `padding` lists before and after of the last dimension,
/// then of the one before it, and so on (PyTorch's order: left, right, top, bottom). None may be negative:
/// use slice() to cut.
Tensor pad(const Tensor& x, const std::vector<int64_t>& padding, PadMode mode = PadMode::constant,
           double value = 0);

/// Elements moved by `shifts[i]` along `dims[i]`; what leaves at the end enters at the front.
Tensor roll(const Tensor& x, const std::vector<int64_t>& shifts, const std::vector<int64_t>& dims);
/// The same over all elements in row-major order.
Tensor roll(const Tensor& x, int64_t shift);

/// The lower triangle of the last two dimensions: zero above `diagonal` (0: the main one, 1: the one above).
Tensor tril(const Tensor& x, int64_t diagonal = 0);
/// The upper triangle of the last two dimensions: zero below `diagonal`.
Tensor triu(const Tensor& x, int64_t diagonal = 0);

}  // namespace hebb
