// Matrix products.
#pragma once
#include "hebb/core/tensor.h"

namespace hebb {

/// Matrix product of the last two dimensions, [..., m, k] x [..., k, n] -> [..., m, n]; leading dimensions
/// broadcast. A 1-d operand is a row (left) or a column (right) whose dimension is dropped from the result.
/// Transposed views are read in place. Throws Error unless the inner extents and the types agree.
Tensor matmul(const Tensor& a, const Tensor& b);

/// x W^T + b: [..., in] x [out, in] (+ [out]) -> [..., out]. `bias` may be undefined.
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {});

}  // namespace hebb
