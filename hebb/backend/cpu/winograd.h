// Convolutions of 3x3 and stride 1 by Winograd's minimal filtering, F(4x4, 3x3): a tile of 4x4 outputs takes
// 36 multiplications a pair of channels in place of 144, and so do its two gradients. Tiles are transformed
// to 36 points, each point of all tiles and channels is one matrix product, and the products are transformed
// back. Results do not depend on the number of threads.
//
// Source: A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks", 2015. The points are 0,
// +-1/sqrt(2), +-sqrt(2) and infinity, whose rounding errors are a fourth of those of the usual 0, +-1, +-2
// and infinity.
//
// With ConvShape::bf16 the two gradients multiply points rounded to bf16, with errors up to ten times those
// of direct products of bf16; outputs stay f32, so that losses and predictions do not suffer.
#pragma once
#include "hebb/backend/cpu/conv.h"

namespace hebb::cpu {

/// Whether the convolution of this shape and its weight gradient run faster here than directly. Never while
/// exact_conv() is on.
bool is_winograd(const ConvShape& shape);
/// Whether its input gradient does.
bool is_winograd_input_grad(const ConvShape& shape);
/// The transformed filters of a forward convolution, winograd_filters_size() elements of them.
int64_t winograd_filters_size(const ConvShape& shape);
void winograd_filters(const ConvShape& shape, const float* w, float* out);

/// As conv2d_forward, conv2d_input_grad and conv2d_weight_grad, for such shapes.
/// The forward one does not read `w` where it is given `filters`, which winograd_filters() made of it.
void winograd_forward(const ConvShape& shape, const float* x, const float* w, const float* bias, float* y,
                      const float* filters = nullptr);
void winograd_input_grad(const ConvShape& shape, const float* gy, const float* w, float* gx);
void winograd_weight_grad(const ConvShape& shape, const float* gy, const float* x, float* gw);

}  // namespace hebb::cpu
