// Attributes of the elementwise ops, for kernels and rewrite patterns.
#pragma once
#include "hebb/op/attrs.h"

namespace hebb {

struct ElementwiseAttrs {
  double p = 0, q = 0;  // parameters of the expression; elementwise.inc says what they mean
  HEBB_FIELDS(p, q)
};
struct CastAttrs {
  DType dtype = f32;
  HEBB_FIELDS(dtype)
};

}  // namespace hebb
