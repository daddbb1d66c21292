// Ops of images [N, C, H, W] once more for images [N, H, W, C], the layout that convolutions of many channels
// run fastest in. Compiled functions change over to them.
#pragma once
#include "hebb/op/op.h"

namespace hebb::ops {

/// An op and the one that computes the same of images whose channels are last.
struct ChannelsLast {
  const OpDef* first;
  const OpDef* last;
  uint32_t inputs, outputs;  ///< bit i: input or output i is an image
};
/// All that have one.
std::span<const ChannelsLast> channels_last();

}  // namespace hebb::ops

namespace hebb {

/// The shape [N, H, W, C] of [N, C, H, W].
inline Shape to_nhwc_shape(const Shape& s) { return {s[0], s[2], s[3], s[1]}; }
/// The shape [N, C, H, W] of [N, H, W, C].
inline Shape to_nchw_shape(const Shape& s) { return {s[0], s[3], s[1], s[2]}; }

}  // namespace hebb
