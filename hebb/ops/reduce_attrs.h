// Attributes of reductions and of ops along one dimension, for kernels.
#pragma once
#include "hebb/op/attrs.h"

namespace hebb {

struct ReduceAttrs {
  int64_t dims = 0;  // bit i: dimension i is folded
  bool keepdim = false;
  HEBB_FIELDS(dims, keepdim)
};
/// Of reductions that give a position along one dimension (max, argmax).
struct DimReduceAttrs {
  int64_t dim = 0;  // counted from the front
  bool keepdim = false;
  HEBB_FIELDS(dim, keepdim)
};
/// Of ops that keep the shape and work along one dimension (cumsum).
struct DimAttrs {
  int64_t dim = 0;  // counted from the front
  HEBB_FIELDS(dim)
};

/// A dense shape seen from one dimension: element (o, i, j) of [outer, n, inner] lies at (o * n + i) * inner
/// + j. A 0-d shape has n = 1.
struct DimSplit {
  int64_t outer = 1, n = 1, inner = 1;
  DimSplit(const Shape& shape, int64_t dim) {
    for (int d = 0; d < shape.ndim(); ++d) (d < dim ? outer : d == dim ? n : inner) *= shape[d];
  }
};

}  // namespace hebb
