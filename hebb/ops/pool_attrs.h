// Attributes of pooling ops, for kernels. Arrays are {vertical, horizontal}.
#pragma once
#include <array>

#include "hebb/op/attrs.h"

namespace hebb {

struct MaxPoolAttrs {
  std::array<int64_t, 2> kernel{1, 1}, stride{1, 1}, padding{0, 0}, dilation{1, 1};
  bool ceil_mode = false;
  HEBB_FIELDS(kernel, stride, padding, dilation, ceil_mode)
};

/// Extents of the plane that an op writes.
struct PlaneAttrs {
  std::array<int64_t, 2> plane{1, 1};
  HEBB_FIELDS(plane)
};

struct UnpoolAttrs {
  std::array<int64_t, 2> stride{1, 1};
  HEBB_FIELDS(stride)
};

struct AvgPoolAttrs {
  std::array<int64_t, 2> kernel{1, 1}, stride{1, 1}, padding{0, 0};
  bool ceil_mode = false, count_include_pad = true;
  int64_t divisor = 0;                 // 0: the number of places in the window
  std::array<int64_t, 2> input{0, 0};  // plane of the pooled tensor, which the gradient needs
  HEBB_FIELDS(kernel, stride, padding, ceil_mode, count_include_pad, divisor, input)
};

struct AdaptivePoolAttrs {
  std::array<int64_t, 2> output{1, 1};
  std::array<int64_t, 2> input{0, 0};  // as above
  HEBB_FIELDS(output, input)
};

}  // namespace hebb
