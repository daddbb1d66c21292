// Attributes of upsampling, and where an output pixel lies in the input, for kernels.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>

#include "hebb/op/attrs.h"

namespace hebb {

struct UpsampleAttrs {
  std::array<int64_t, 2> input{1, 1}, output{1, 1};
  std::array<double, 2> scale{0, 0};  // given by the caller; 0: output / input
  bool bilinear = false, align_corners = false;
  HEBB_FIELDS(input, output, scale, bilinear, align_corners)
};

namespace detail {

/// Two neighbouring input positions along one axis and the weight of the second.
struct SourcePosition {
  int64_t first, second;
  double weight;
};

/// The source of output position `at` along axis 0 (vertical) or 1. For nearest both are one, the weight 0.
inline SourcePosition source_position(const UpsampleAttrs& a, int axis, int64_t at) {
  const auto in = a.input[axis], out = a.output[axis];
  // As PyTorch: an extent that stays, or doubles (nearest), is copied, whatever factor was given.
  if (in == out && !(a.bilinear && a.align_corners)) return {at, at, 0};
  if (!a.bilinear && out == 2 * in) return {at / 2, at / 2, 0};
  if (!a.bilinear) {
    // In float, as PyTorch: where the quotient is a whole number, the rounding decides.
    const float step = a.scale[axis] > 0 ? static_cast<float>(1.0 / a.scale[axis])
                                         : static_cast<float>(in) / static_cast<float>(out);
    const auto i = std::min(static_cast<int64_t>(std::floor(static_cast<float>(at) * step)), in - 1);
    return {i, i, 0};
  }
  double source;
  if (a.align_corners) {
    const double step = out > 1 ? static_cast<double>(in - 1) / static_cast<double>(out - 1) : 0;
    source = step * static_cast<double>(at);
  } else {
    const double step =
        a.scale[axis] > 0 ? 1.0 / a.scale[axis] : static_cast<double>(in) / static_cast<double>(out);
    source = std::max(0.0, step * (static_cast<double>(at) + 0.5) - 0.5);
  }
  const int64_t first = std::min(static_cast<int64_t>(source), in - 1);
  const double weight = std::clamp(source - static_cast<double>(first), 0.0, 1.0);
  return {first, std::min(first + 1, in - 1), weight};
}

}  // namespace detail
}  // namespace hebb
