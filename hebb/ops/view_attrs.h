// Attributes of views, for rewrite patterns.
#pragma once
#include "hebb/core/tensor.h"
#include "hebb/op/attrs.h"

namespace hebb {

struct ShapeAttrs {
  Shape shape;
  HEBB_FIELDS(shape)
};
struct PermuteAttrs {
  Shape dims;
  HEBB_FIELDS(dims)
};
struct SliceAttrs {
  int64_t dim = 0, start = 0, stop = 0, step = 1;
  Shape input;  // of slice, which slice_grad needs
  HEBB_FIELDS(dim, start, stop, step, input)
};
struct FlipAttrs {
  int64_t dims = 0;  // bit i: dimension i is reversed
  HEBB_FIELDS(dims)
};

}  // namespace hebb
