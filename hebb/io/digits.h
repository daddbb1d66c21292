// Drawn digits, made to look as MNIST's do.
#pragma once
#include "hebb/core/tensor.h"

namespace hebb::io {

/// A picture of one digit, u8 [1, H, W] of any size and either polarity of ink, as u8 [1, 28, 28] like
/// MNIST's: bright ink on black, scaled with its aspect ratio kept into a box of 20x20, its centre of mass at
/// pixel (14, 14). The background is the median of the picture's border; what differs from it hardly more
/// than the border itself does is noise. Throws Error for another shape or dtype, and for a picture without
/// ink. Source of the procedure: http://yann.lecun.com/exdb/mnist/
Tensor prepare_digit(const Tensor& gray);

}  // namespace hebb::io
