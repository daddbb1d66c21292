// Attributes of matrix products, for kernels.
#pragma once
#include "hebb/op/attrs.h"

namespace hebb {

struct MatmulAttrs {
  bool trans_a = false, trans_b = false;  // the operand is stored with its last two dimensions swapped
  bool bf16 = false;                      // round what is multiplied, see Autocast
  HEBB_FIELDS(trans_a, trans_b, bf16)
};

}  // namespace hebb
