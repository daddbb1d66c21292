// Attributes of matrix products, for kernels.
#pragma once
#include "hebb/op/attrs.h"

namespace hebb {

struct MatmulAttrs {
  bool trans_a = false, trans_b = false;  // the operand is stored with its last two dimensions swapped
  HEBB_FIELDS(trans_a, trans_b)
};

}  // namespace hebb
