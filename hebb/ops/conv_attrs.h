// Attributes of the convolution ops, for kernels.
#pragma once
#include "hebb/op/attrs.h"

namespace hebb {

struct Conv2dAttrs {
  std::array<int64_t, 2> stride{1, 1};
  std::array<int64_t, 4> padding{};  // top, bottom, left, right
  std::array<int64_t, 2> dilation{1, 1};
  int64_t groups = 1;
  std::array<int64_t, 2> size{};  // of the gradients' result: height and width of the input, or of the kernel
  bool bf16 = false;              // round what is multiplied, see Autocast
  HEBB_FIELDS(stride, padding, dilation, groups, size, bf16)
};

}  // namespace hebb
