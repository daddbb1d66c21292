// Attributes of reductions, for kernels.
#pragma once
#include "hebb/op/attrs.h"

namespace hebb {

struct ReduceAttrs {
  int64_t dims = 0;  // bit i: dimension i is folded
  bool keepdim = false;
  HEBB_FIELDS(dims, keepdim)
};

}  // namespace hebb
