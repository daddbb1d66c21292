// Folding dimensions. An empty list of dimensions means all of them.
#pragma once
#include <utility>
#include <vector>

#include "hebb/core/tensor.h"

namespace hebb {

using Dims = std::vector<int64_t>;

/// Sum over `dims`. Integers and bool are summed in i64. An empty sum is 0.
Tensor sum(const Tensor& x, const Dims& dims = {}, bool keepdim = false);
/// Arithmetic mean over `dims`; a floating type. NaN over nothing.
Tensor mean(const Tensor& x, const Dims& dims = {}, bool keepdim = false);

}  // namespace hebb
