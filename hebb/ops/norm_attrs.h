// Attributes of softmax and normalisation, for kernels.
#pragma once
#include "hebb/op/attrs.h"

namespace hebb {

struct SoftmaxAttrs {
  int64_t dim = 0;  // not negative
  HEBB_FIELDS(dim)
};

struct BatchNormAttrs {
  double eps = 1e-5;
  HEBB_FIELDS(eps)
};

struct BatchNormFactorsAttrs {
  double eps = 1e-5;
  int64_t count = 1;  // values of a channel
  HEBB_FIELDS(eps, count)
};

struct LayerNormAttrs {
  int64_t dims = 1;  // trailing dimensions that are normalised together
  double eps = 1e-5;
  HEBB_FIELDS(dims, eps)
};

}  // namespace hebb
