// Softmax and normalisation. Inputs are of a floating type; results have the input's shape and type.
#pragma once
#include <cstdint>

#include "hebb/core/tensor.h"

namespace hebb {

/// e^x over its sum along `dim`. Shifted by the largest value, so it does not overflow.
Tensor softmax(const Tensor& x, int64_t dim);
/// log(softmax(x)), exact where a probability underflows.
Tensor log_softmax(const Tensor& x, int64_t dim);

/// Normalises each channel (dimension 1) of x [N, C, ...] to mean 0 and variance 1, then multiplies by
/// `weight` and adds `bias` (each [C], or undefined). In training, mean and variance are those of the batch,
/// and running_mean and running_var ([C]; both may be undefined) move towards them by `momentum`: running =
/// (1 - momentum) running + momentum batch (Keras writes the complement and defaults to 0.99). The variance
/// is the biased one for normalising, the unbiased one for running_var. Else the running statistics are used.
/// Throws Error for other shapes or types, for a single value per channel in training, and for undefined
/// statistics otherwise. Source: Ioffe and Szegedy, 2015.
Tensor batch_norm(const Tensor& x, Tensor& running_mean, Tensor& running_var, const Tensor& weight = {},
                  const Tensor& bias = {}, bool training = false, double momentum = 0.1, double eps = 1e-5);

/// Normalises each slice over the last dimensions, whose extents are `normalized_shape`, to mean 0 and
/// variance 1, then multiplies by `weight` and adds `bias` (of that shape, or undefined). Source: Ba et al.,
/// 2016. Keras' eps is 1e-3.
Tensor layer_norm(const Tensor& x, const Shape& normalized_shape, const Tensor& weight = {},
                  const Tensor& bias = {}, double eps = 1e-5);

/// Normalises each of `groups` equal groups of channels of x [N, C, ...]; weight and bias are [C] or
/// undefined. Throws Error unless groups divide C. Source: Wu and He, 2018.
Tensor group_norm(const Tensor& x, int64_t groups, const Tensor& weight = {}, const Tensor& bias = {},
                  double eps = 1e-5);

/// Normalises each channel of each sample of x [N, C, ...]. With running statistics ([C], or undefined) these
/// move as in batch_norm, and are used instead unless use_input_stats. Throws Error for a single place per
/// channel. Source: Ulyanov et al., 2016.
Tensor instance_norm(const Tensor& x, Tensor& running_mean, Tensor& running_var, const Tensor& weight = {},
                     const Tensor& bias = {}, bool use_input_stats = true, double momentum = 0.1,
                     double eps = 1e-5);
/// Without running statistics.
Tensor instance_norm(const Tensor& x, const Tensor& weight = {}, const Tensor& bias = {}, double eps = 1e-5);

/// x / (k + alpha / size * sum of squares over `size` neighbouring channels)^beta, for x [N, C, ...]. Note
/// that alpha is divided by size, as in PyTorch and Caffe but not in the paper. Throws Error unless size is
/// at least 1. Source: Krizhevsky et al., 2012.
Tensor local_response_norm(const Tensor& x, int64_t size, double alpha = 1e-4, double beta = 0.75,
                           double k = 1);

}  // namespace hebb
