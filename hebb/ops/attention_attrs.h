// Attributes of the attention ops, for kernels.
#pragma once
#include "hebb/op/attrs.h"

namespace hebb {

struct AttentionAttrs {
  double scale = 1;
  bool causal = false;
  int64_t heads = 1;  // side by side in each row of the operands
  bool bf16 = false;  // round what is multiplied, see Autocast
  HEBB_FIELDS(scale, causal, heads, bf16)
};

}  // namespace hebb
