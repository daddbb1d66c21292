// Normalisation layers. Scale (weight) starts at 1, shift (bias) at 0.
#pragma once
#include <cstdint>
#include <string>

#include "hebb/nn/module.h"

namespace hebb::nn {

/// Options of BatchNorm1d and BatchNorm2d.
struct BatchNormOptions {
  double eps = 1e-5;      ///< added to the variance (Keras: 1e-3)
  double momentum = 0.1;  ///< share of a new batch in the running statistics (Keras: 0.99 for the old ones)
  bool affine = true;     ///< whether there is a weight, and (unless bias is false) a bias
  bool bias = true;
  bool track_running_stats = true;  ///< else the batch's statistics are used in evaluation too
};

/// What the batch normalisations share: normalises each channel (dimension 1) to mean 0 and variance 1, in
/// training by the statistics of the batch, towards which the running ones move; in evaluation by these.
/// Source: Ioffe and Szegedy, 2015.
struct BatchNorm : Module {
  int64_t num_features;
  BatchNormOptions options;
  Parameter weight, bias;            ///< [num_features]
  Buffer running_mean, running_var;  ///< [num_features]; start at 0 and 1
  Buffer num_batches_tracked;        ///< i64, a scalar: batches seen in training

  explicit BatchNorm(int64_t features, const BatchNormOptions& options = {});
  Tensor forward(const Tensor& x);
  std::string extra_repr() const override;
  HEBB_MEMBERS(weight, bias, running_mean, running_var, num_batches_tracked)
};

/// For [N, C] and [N, C, L]. Throws Error for other dimensions and for a single value per channel in
/// training.
struct BatchNorm1d : BatchNorm {
  explicit BatchNorm1d(int64_t features, const BatchNormOptions& options = {});
  Tensor forward(const Tensor& x);
  HEBB_MEMBERS(weight, bias, running_mean, running_var, num_batches_tracked)
};
/// For [N, C, H, W]. Throws Error for other dimensions and for a single value per channel in training.
struct BatchNorm2d : BatchNorm {
  explicit BatchNorm2d(int64_t features, const BatchNormOptions& options = {});
  Tensor forward(const Tensor& x);
  HEBB_MEMBERS(weight, bias, running_mean, running_var, num_batches_tracked)
};

/// Options of LayerNorm.
struct LayerNormOptions {
  double eps = 1e-5;               ///< Keras: 1e-3
  bool elementwise_affine = true;  ///< whether there is a weight, and (unless bias is false) a bias
  bool bias = true;
};
/// Normalises each slice over the last dimensions, whose extents are normalized_shape, to mean 0 and variance
/// 1. Source: Ba et al., 2016.
struct LayerNorm : Module {
  Shape normalized_shape;
  LayerNormOptions options;
  Parameter weight, bias;  ///< of normalized_shape

  explicit LayerNorm(int64_t features, LayerNormOptions options = {});
  explicit LayerNorm(const Shape& shape, LayerNormOptions options = {});
  Tensor forward(const Tensor& x);
  std::string extra_repr() const override;
  HEBB_MEMBERS(weight, bias)
};

/// Options of GroupNorm.
struct GroupNormOptions {
  double eps = 1e-5;   ///< Keras: 1e-3
  bool affine = true;  ///< whether there is a weight, and (unless bias is false) a bias
  bool bias = true;
};
/// Normalises each of num_groups equal groups of the channels of x [N, C, ...]. Throws Error unless they
/// divide the channels. Source: Wu and He, 2018.
struct GroupNorm : Module {
  int64_t num_groups, num_channels;
  GroupNormOptions options;
  Parameter weight, bias;  ///< [num_channels]

  GroupNorm(int64_t groups, int64_t channels, GroupNormOptions options = {});
  Tensor forward(const Tensor& x);
  std::string extra_repr() const override;
  HEBB_MEMBERS(weight, bias)
};

/// Options of InstanceNorm2d, as those of BatchNorm2d; without weights and running statistics by default.
struct InstanceNormOptions {
  double eps = 1e-5;
  double momentum = 0.1;
  bool affine = false;
  bool bias = true;  ///< with affine
  bool track_running_stats = false;
};
/// Normalises each channel of each sample of x [N, C, H, W]. With running statistics these are used in
/// evaluation. Source: Ulyanov et al., 2016.
struct InstanceNorm2d : Module {
  int64_t num_features;
  InstanceNormOptions options;
  Parameter weight, bias;            ///< [num_features]
  Buffer running_mean, running_var;  ///< [num_features]
  Buffer num_batches_tracked;        ///< i64, a scalar; stays 0, as in PyTorch

  explicit InstanceNorm2d(int64_t features, const InstanceNormOptions& options = {});
  Tensor forward(const Tensor& x);
  std::string extra_repr() const override;
  HEBB_MEMBERS(weight, bias, running_mean, running_var, num_batches_tracked)
};

}  // namespace hebb::nn
