// Attributes of the attention ops, for kernels.
#pragma once
#include "hebb/op/attrs.h"

namespace hebb {

struct AttentionAttrs {
  double scale = 1;
  bool causal = false;
  HEBB_FIELDS(scale, causal)
};

}  // namespace hebb
