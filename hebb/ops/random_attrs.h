// Attributes of random ops, for kernels.
#pragma once
#include "hebb/op/attrs.h"

namespace hebb {

struct DropoutAttrs {
  double p = 0.5;  // of an element to become zero
  HEBB_FIELDS(p)
};

}  // namespace hebb
