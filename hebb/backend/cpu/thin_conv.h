// Convolutions of images of one to four channels into many, as in first layers, with channels last: a row of
// the kernel covers neighbouring elements of an input row, and the elements of the next output begin a few
// further, so that rows of images, padded, are operands as they are. Results do not depend on the number of
// threads.
#pragma once
#include "hebb/backend/cpu/conv.h"

namespace hebb::cpu {

/// Whether the forward and weight products of this shape run here.
bool is_thin(const ConvShape& shape);
/// As last_forward and last_weight_grad, for such shapes. `filters` are null or what thin_filters() wrote.
void thin_forward(const ConvShape& shape, const float* x, const float* w, const float* bias, float* y,
                  const float* filters);
void thin_weight_grad(const ConvShape& shape, const float* gy, const float* x, float* gw);
/// The weights in the order of the taps: [kernel_h][kernel_w][in_channels][out_channels].
int64_t thin_filters_size(const ConvShape& shape);
void thin_filters(const ConvShape& shape, const float* w, float* out);

}  // namespace hebb::cpu
