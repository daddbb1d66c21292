// Convolutions of images of one to four channels into many, as in first layers, with channels last: each row
// of outputs is a product of its own, whose operand is a band of input rows, pixels of one column side by
// side. The taps of neighbouring outputs overlap in it, so that columns are never gathered. Results do not
// depend on the number of threads.
#pragma once
#include "hebb/backend/cpu/conv.h"

namespace hebb::cpu {

/// Whether the forward and weight products of this shape run here.
bool is_thin(const ConvShape& shape);
/// As last_forward and last_weight_grad, for such shapes. `filters` are null or what thin_filters() wrote.
void thin_forward(const ConvShape& shape, const float* x, const float* w, const float* bias, float* y,
                  const float* filters);
void thin_weight_grad(const ConvShape& shape, const float* gy, const float* x, float* gw);
/// The weights in the order of the band: [kernel_w][kernel_h][in_channels][out_channels].
int64_t thin_filters_size(const ConvShape& shape);
void thin_filters(const ConvShape& shape, const float* w, float* out);

}  // namespace hebb::cpu
