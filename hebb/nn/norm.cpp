#include "hebb/nn/norm.h"

#include "hebb/nn/layer_support.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/norm.h"

namespace hebb::nn {
namespace {

using detail::expect_at_least;
using detail::repr;

// Makes the parameters and the running statistics that the options ask for.
template <class Layer>
void make_channels(Layer& layer, int64_t features) {
  const auto& o = layer.options;
  if (o.affine) {
    layer.weight = Parameter(ones({features}));
    if (o.bias) layer.bias = Parameter(zeros({features}));
  }
  if (o.track_running_stats) {
    layer.running_mean = Buffer(zeros({features}));
    layer.running_var = Buffer(ones({features}));
    layer.num_batches_tracked = Buffer(zeros({}, i64));
  }
}

template <class Layer>
std::string channels_repr(const Layer& layer) {
  const auto& o = layer.options;
  return fmt::format("{}, eps={}, momentum={}, affine={}, bias={}, track_running_stats={}",
                     layer.num_features, repr(o.eps), repr(o.momentum), repr(o.affine),
                     repr(layer.bias.defined()), repr(o.track_running_stats));
}

void expect_planes(const Tensor& x, const char* layer) {
  HEBB_CHECK(x.ndim() == 4, "[{}] expected an input of 4 dimensions [N, C, H, W], got {}", layer,
             x.shape().str());
}
void expect_channels(const Tensor& x, int64_t features, const std::string& layer) {
  HEBB_CHECK(x.ndim() >= 2 && x.shape()[1] == features,
             "[{}] expected {} channels in dimension 1 (num_features), got {}", layer, features,
             x.shape().str());
}

}  // namespace

BatchNorm::BatchNorm(int64_t features, const BatchNormOptions& o) : num_features(features), options(o) {
  expect_at_least(1, features, "BatchNorm", "num_features");
  make_channels(*this, features);
}
Tensor BatchNorm::forward(const Tensor& x) {
  expect_channels(x, num_features, type_name());
  const bool tracked = running_mean.defined();
  Tensor y = batch_norm(x, running_mean, running_var, weight, bias, is_training() || !tracked,
                        options.momentum, options.eps);
  if (is_training() && tracked) num_batches_tracked.assign_(num_batches_tracked + 1);
  return y;
}
std::string BatchNorm::extra_repr() const { return channels_repr(*this); }

BatchNorm1d::BatchNorm1d(int64_t features, const BatchNormOptions& o) : BatchNorm(features, o) {}
Tensor BatchNorm1d::forward(const Tensor& x) {
  HEBB_CHECK(x.ndim() == 2 || x.ndim() == 3,
             "[BatchNorm1d] expected an input of 2 or 3 dimensions, [N, C] or [N, C, L], got {}",
             x.shape().str());
  return BatchNorm::forward(x);
}
BatchNorm2d::BatchNorm2d(int64_t features, const BatchNormOptions& o) : BatchNorm(features, o) {}
Tensor BatchNorm2d::forward(const Tensor& x) {
  expect_planes(x, "BatchNorm2d");
  return BatchNorm::forward(x);
}

LayerNorm::LayerNorm(int64_t features, LayerNormOptions o) : LayerNorm(Shape{features}, o) {}
LayerNorm::LayerNorm(const Shape& shape, LayerNormOptions o) : normalized_shape(shape), options(o) {
  HEBB_CHECK(!shape.empty(), "[LayerNorm] expected at least one extent in normalized_shape, got none");
  for (const int64_t n : shape) expect_at_least(1, n, "LayerNorm", "normalized_shape");
  if (!o.elementwise_affine) return;
  weight = Parameter(ones(shape));
  if (o.bias) bias = Parameter(zeros(shape));
}
Tensor LayerNorm::forward(const Tensor& x) {
  return layer_norm(x, normalized_shape, weight, bias, options.eps);
}
std::string LayerNorm::extra_repr() const {
  return fmt::format("{}, eps={}, elementwise_affine={}, bias={}", detail::tuple(normalized_shape),
                     repr(options.eps), repr(options.elementwise_affine), repr(bias.defined()));
}

GroupNorm::GroupNorm(int64_t groups, int64_t channels, GroupNormOptions o)
    : num_groups(groups), num_channels(channels), options(o) {
  expect_at_least(1, groups, "GroupNorm", "num_groups");
  expect_at_least(1, channels, "GroupNorm", "num_channels");
  HEBB_CHECK(channels % groups == 0,
             "[GroupNorm] expected num_channels divisible by num_groups, got {} and {}", channels, groups);
  if (!o.affine) return;
  weight = Parameter(ones({channels}));
  if (o.bias) bias = Parameter(zeros({channels}));
}
Tensor GroupNorm::forward(const Tensor& x) {
  expect_channels(x, num_channels, "GroupNorm");
  return group_norm(x, num_groups, weight, bias, options.eps);
}
std::string GroupNorm::extra_repr() const {
  return fmt::format("{}, {}, eps={}, affine={}, bias={}", num_groups, num_channels, repr(options.eps),
                     repr(options.affine), repr(bias.defined()));
}

InstanceNorm2d::InstanceNorm2d(int64_t features, const InstanceNormOptions& o)
    : num_features(features), options(o) {
  expect_at_least(1, features, "InstanceNorm2d", "num_features");
  make_channels(*this, features);
}
Tensor InstanceNorm2d::forward(const Tensor& x) {
  expect_planes(x, "InstanceNorm2d");
  expect_channels(x, num_features, "InstanceNorm2d");
  if (!running_mean.defined()) return instance_norm(x, weight, bias, options.eps);
  return instance_norm(x, running_mean, running_var, weight, bias, is_training(), options.momentum,
                       options.eps);
}
std::string InstanceNorm2d::extra_repr() const { return channels_repr(*this); }

}  // namespace hebb::nn
