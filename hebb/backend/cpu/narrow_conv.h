// Convolutions of few channels, as LeNet's: a vector holds the same pixel of as many images as it has lanes,
// so that one or six channels waste nothing, no lane is ever moved in the sums, and columns are never
// gathered. Images are turned into that order and back at the edges, which costs a tenth of the sums. Rows of
// 5 to 7 taps run by Winograd's algorithm (row_winograd-inl.h). Results do not depend on the number of
// threads.
#pragma once
#include "hebb/backend/cpu/conv.h"

namespace hebb::cpu {

/// Whether the forward and weight products of this shape run faster here than as matrix products.
bool is_narrow(const ConvShape& shape);
/// Whether such a shape runs by Winograd's algorithm along rows, kernels 5 to 7 wide, where that spares a
/// fifth of the work and more. Never while exact_conv() is on.
bool is_row_winograd(const ConvShape& shape);
/// As conv2d_forward and conv2d_weight_grad, for narrow shapes.
void narrow_forward(const ConvShape& shape, const float* x, const float* w, const float* bias, float* y);
/// The largest outputs of 2x2 windows side by side, [batch, out_channels, out_h / 2, out_w / 2], and, unless
/// `places` is null, where in its plane each stood. Of equal ones the first counts, and NaN over all, the
/// last of several.
void narrow_forward_pooled(const ConvShape& shape, const float* x, const float* w, const float* bias,
                           float* y, int64_t* places);
void narrow_weight_grad(const ConvShape& shape, const float* gy, const float* x, float* gw);

/// Whether the input gradient runs faster here: strides of 1 only.
bool is_narrow_input_grad(const ConvShape& shape);
/// As conv2d_input_grad.
void narrow_input_grad(const ConvShape& shape, const float* gy, const float* w, float* gx);

}  // namespace hebb::cpu
