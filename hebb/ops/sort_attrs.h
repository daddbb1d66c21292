// Attributes of sorting, for kernels.
#pragma once
#include "hebb/op/attrs.h"

namespace hebb {

struct SortAttrs {
  int64_t dim = 0;  // counted from the front
  bool descending = false;
  HEBB_FIELDS(dim, descending)
};
struct TopkAttrs {
  int64_t k = 1;
  int64_t dim = 0;  // counted from the front
  bool largest = true;
  HEBB_FIELDS(k, dim, largest)
};

}  // namespace hebb
