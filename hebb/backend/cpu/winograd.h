// Convolutions of 3x3 by Winograd's minimal filtering. With stride 1 it is F(4x4, 3x3): a tile of 4x4 outputs
// takes 36 multiplications a pair of channels in place of 144, and so do its two gradients. With stride 2 the
// odd and even rows and columns of the inputs are four images of their own, of which an output takes 2x2,
// 2x1, 1x2 and 1x1 neighbours: F(4x4, 2x2) and what it becomes for single taps, 81 multiplications in place
// of 144. Tiles are transformed to points, each point of all tiles and channels is one matrix product, and
// the products are transformed back. Results do not depend on the number of threads.
//
// Source: A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks", 2015. The points of
// three taps are 0, +-1/sqrt(2), +-sqrt(2) and infinity, whose rounding errors are a fourth of those of the
// usual 0, +-1, +-2 and infinity; those of two +-1/2, +-5/4 and infinity, which round as direct products do:
// of all tried (0 and +-1 with 2 or 1/2, +-1/sqrt(2) with +-sqrt(2), and others) the best by a factor of two.
//
// With ConvShape::bf16 the two gradients multiply points rounded to bf16; outputs stay f32 with stride 1,
// since losses and predictions would suffer, and are computed directly with stride 2, which is faster.
#pragma once
#include "hebb/backend/cpu/conv.h"

namespace hebb::cpu {

/// Whether a convolution of this shape runs faster here than directly, in f32. Never while exact_conv() is
/// on.
bool is_winograd(const ConvShape& shape);
/// The same of one direction, in the precision that the shape names. (The weight gradient has is_winograd().)
bool is_winograd_forward(const ConvShape& shape);
bool is_winograd_input_grad(const ConvShape& shape);
/// The transformed filters of a forward convolution or of its input gradient, winograd_filters_size()
/// elements of them.
int64_t winograd_filters_size(const ConvShape& shape, Pass pass);
void winograd_filters(const ConvShape& shape, Pass pass, const float* w, float* out);

/// As conv2d_forward, conv2d_input_grad and conv2d_weight_grad, for such shapes.
/// Neither of the first two reads `w` where it is given `filters`, which winograd_filters() made of it. `end`
/// and `ready` are for images whose channels are last.
void winograd_forward(const ConvShape& shape, const float* x, const float* w, const float* bias, float* y,
                      const float* filters = nullptr, const ConvEnd& end = {});
void winograd_input_grad(const ConvShape& shape, const float* gy, const float* w, float* gx,
                         const float* filters = nullptr, RowsReady* ready = nullptr);
void winograd_weight_grad(const ConvShape& shape, const float* gy, const float* x, float* gw);

}  // namespace hebb::cpu
