// Batch and layer normalisation as fused ops; group, instance and local response normalisation over them.
#include "hebb/ops/norm.h"

#include <cmath>

#include "hebb/ops/creation.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/norm_attrs.h"
#include "hebb/ops/op_support.h"
#include "hebb/ops/pool.h"
#include "hebb/ops/reduce.h"
#include "hebb/ops/table.h"
#include "hebb/ops/view.h"

namespace hebb {

using namespace detail;

namespace {

// ---- Batch normalisation: x is [N, C, ...]; a channel has `count` values.

struct Channels {
  int64_t batch, channels, inner, count;
  explicit Channels(const Shape& x) : batch(x[0]), channels(x[1]), inner(1) {
    for (int d = 2; d < x.ndim(); ++d) inner *= x[d];
    count = batch * inner;
  }
  // Calls fn(channel, position) for all elements, in row-major order.
  template <class F>
  void each(F fn) const {
    for (int64_t i = 0; i < batch * channels * inner; ++i) fn(i / inner % channels, i);
  }
};

// All dimensions but the channels'.
Dims other_dims(const Shape& x) {
  Dims dims{0};
  for (int d = 2; d < x.ndim(); ++d) dims.push_back(d);
  return dims;
}
// A vector of channels beside x: [C] as [C, 1, ...].
Tensor per_channel(const Tensor& v, const Shape& x) {
  Shape shape = Shape::filled(x.ndim() - 1, 1);
  shape[0] = x[1];
  return reshape(v, shape);
}

void check_batch(const TensorSpec& x, const char* op) {
  expect_float(x, op, "an input");
  HEBB_CHECK(x.shape.ndim() >= 2, "[{}] expected an input of at least 2 dimensions (NC...), got {}", op,
             x.shape.str());
}
void check_channel_vector(const TensorSpec& v, const TensorSpec& x, const char* op, const char* operand) {
  expect_same_type(v, x, op);
  HEBB_CHECK(v.shape == Shape({x.shape[1]}), "[{}] expected {} of shape {} (input {}), got {}", op, operand,
             x.shape[1], x.shape.str(), v.shape.str());
}

void reference_batch_norm(const ReferenceArgs& s) {
  const double eps = s.attrs.as<BatchNormAttrs>().eps;
  const Channels c(s.inputs[0].shape());
  const std::vector<double> x = values<double>(s.inputs[0]), weight = values<double>(s.inputs[1]),
                            bias = values<double>(s.inputs[2]);
  const auto n = static_cast<double>(c.count);
  std::vector<double> y(x.size()), mean(weight.size(), 0.0), var(weight.size(), 0.0);
  c.each([&](int64_t k, int64_t i) { mean[k] += x[i]; });
  for (double& m : mean) m /= n;
  c.each([&](int64_t k, int64_t i) { var[k] += (x[i] - mean[k]) * (x[i] - mean[k]); });
  for (double& v : var) v /= n;
  c.each(
      [&](int64_t k, int64_t i) { y[i] = (x[i] - mean[k]) / std::sqrt(var[k] + eps) * weight[k] + bias[k]; });
  store(s.outputs[0], y);
  store(s.outputs[1], mean);
  store(s.outputs[2], var);
}

// Inputs: gradients of y, mean and var; x, weight, mean, var.
void reference_batch_norm_grad(const ReferenceArgs& s) {
  const double eps = s.attrs.as<BatchNormAttrs>().eps;
  const Channels c(s.inputs[3].shape());
  std::vector<double> in[7];
  for (int i = 0; i < 7; ++i) in[i] = values<double>(s.inputs[i]);
  const auto &gy = in[0], &gmean = in[1], &gvar = in[2], &x = in[3], &weight = in[4], &mean = in[5],
             &var = in[6];
  const auto n = static_cast<double>(c.count);
  std::vector<double> gx(x.size()), gw(weight.size(), 0.0), gb(weight.size(), 0.0);
  auto scale = [&](int64_t k) { return 1 / std::sqrt(var[k] + eps); };
  c.each([&](int64_t k, int64_t i) {
    gw[k] += gy[i] * (x[i] - mean[k]) * scale(k);
    gb[k] += gy[i];
  });
  c.each([&](int64_t k, int64_t i) {
    const double centred = x[i] - mean[k];
    gx[i] = weight[k] * scale(k) * (gy[i] - (gb[k] + centred * scale(k) * gw[k]) / n) +
            (gmean[k] + 2 * centred * gvar[k]) / n;
  });
  store(s.outputs[0], gx);
  store(s.outputs[1], gw);
  store(s.outputs[2], gb);
}

Outputs decompose_batch_norm_grad(const Attrs& attrs, std::span<const Tensor> in) {
  const Shape& shape = in[3].shape();
  const double n = 1.0 / static_cast<double>(Channels(shape).count);
  auto wide = [&](const Tensor& v) { return per_channel(v, shape); };
  const Tensor &gy = in[0], &weight = in[4], scale = rsqrt(in[6] + attrs.as<BatchNormAttrs>().eps);
  const Tensor centred = in[3] - wide(in[5]), normal = centred * wide(scale);
  const Tensor gw = sum(gy * normal, other_dims(shape)), gb = sum(gy, other_dims(shape));
  const Tensor through_y = wide(weight * scale) * (gy - (wide(gb) + normal * wide(gw)) * n);
  return {through_y + (wide(in[1]) + centred * wide(in[2] * 2)) * n, gw, gb};
}

// ---- Layer normalisation: rows of n values. Inputs are x, or x, weight and bias.

struct Rows {
  int64_t rows = 1, n = 1;
  Rows(const Shape& x, const Attrs& attrs) {
    const int64_t first = x.ndim() - attrs.as<LayerNormAttrs>().dims;
    for (int d = 0; d < x.ndim(); ++d) (d < first ? rows : n) *= x[d];
  }
};
Shape trailing(const Shape& x, const Attrs& attrs) {
  const auto dims = static_cast<size_t>(attrs.as<LayerNormAttrs>().dims);
  return Shape(std::span<const int64_t>(x).last(dims));
}
void check_layer(const TensorSpec& x, const Attrs& attrs, const char* op) {
  expect_float(x, op, "an input");
  const int64_t dims = attrs.as<LayerNormAttrs>().dims;
  HEBB_CHECK(dims >= 1 && dims <= x.shape.ndim(), "[{}] expected an input of at least {} dimensions, got {}",
             op, std::max<int64_t>(1, dims), x.shape.str());
}
void check_layer_vector(const TensorSpec& v, const TensorSpec& x, const Attrs& attrs, const char* op,
                        const char* operand) {
  expect_same_type(v, x, op);
  HEBB_CHECK(v.shape == trailing(x.shape, attrs), "[{}] expected {} of shape {} (input {}), got {}", op,
             operand, trailing(x.shape, attrs).str(), x.shape.str(), v.shape.str());
}

struct Statistics {
  double mean = 0, scale = 0;
  Statistics(const double* x, int64_t n, double eps) {
    double var = 0;
    for (int64_t i = 0; i < n; ++i) mean += x[i] / static_cast<double>(n);
    for (int64_t i = 0; i < n; ++i) var += (x[i] - mean) * (x[i] - mean) / static_cast<double>(n);
    scale = 1 / std::sqrt(var + eps);
  }
};

void reference_layer_norm(const ReferenceArgs& s) {
  const Rows r(s.inputs[0].shape(), s.attrs);
  std::vector<double> x = values<double>(s.inputs[0]);
  const bool affine = s.inputs.size() == 3;
  const std::vector<double> weight = affine ? values<double>(s.inputs[1]) : std::vector<double>(r.n, 1.0),
                            bias = affine ? values<double>(s.inputs[2]) : std::vector<double>(r.n, 0.0);
  for (int64_t row = 0; row < r.rows; ++row) {
    double* line = x.data() + row * r.n;
    const Statistics t(line, r.n, s.attrs.as<LayerNormAttrs>().eps);
    for (int64_t i = 0; i < r.n; ++i) line[i] = (line[i] - t.mean) * t.scale * weight[i] + bias[i];
  }
  store(s.outputs[0], x);
}

void reference_layer_norm_grad(const ReferenceArgs& s) {
  const Rows r(s.inputs[1].shape(), s.attrs);
  const std::vector<double> g = values<double>(s.inputs[0]), x = values<double>(s.inputs[1]);
  const bool affine = s.inputs.size() == 3;
  const std::vector<double> weight = affine ? values<double>(s.inputs[2]) : std::vector<double>(r.n, 1.0);
  std::vector<double> gx(x.size()), gw(r.n, 0.0), gb(r.n, 0.0);
  const auto n = static_cast<double>(r.n);
  for (int64_t row = 0; row < r.rows; ++row) {
    const Statistics t(x.data() + row * r.n, r.n, s.attrs.as<LayerNormAttrs>().eps);
    auto normal = [&](int64_t i) { return (x[row * r.n + i] - t.mean) * t.scale; };
    double sum = 0, projection = 0;
    for (int64_t i = 0; i < r.n; ++i) {
      const double gi = g[row * r.n + i];
      sum += gi * weight[i];
      projection += gi * weight[i] * normal(i);
      gw[i] += gi * normal(i);
      gb[i] += gi;
    }
    for (int64_t i = 0; i < r.n; ++i)
      gx[row * r.n + i] = t.scale * (g[row * r.n + i] * weight[i] - (sum + normal(i) * projection) / n);
  }
  store(s.outputs[0], gx);
  if (!affine) return;
  store(s.outputs[1], gw);
  store(s.outputs[2], gb);
}

Outputs decompose_layer_norm_grad(const Attrs& attrs, std::span<const Tensor> in) {
  const Tensor &g = in[0], &x = in[1];
  Dims last, first;
  const int split = x.ndim() - static_cast<int>(attrs.as<LayerNormAttrs>().dims);
  for (int d = 0; d < x.ndim(); ++d) (d < split ? first : last).push_back(d);
  const Tensor centred = x - mean(x, last, true);
  const Tensor scale = rsqrt(mean(square(centred), last, true) + attrs.as<LayerNormAttrs>().eps);
  const Tensor normal = centred * scale, gn = in.size() == 3 ? g * in[2] : g;
  const Tensor gx = scale * (gn - mean(gn, last, true) - normal * mean(gn * normal, last, true));
  if (in.size() == 2) return gx;
  const Tensor gw = g * normal;
  return {gx, first.empty() ? gw : sum(gw, first), first.empty() ? g : sum(g, first)};
}

}  // namespace

namespace ops {

const OpDef batch_norm{
    .name = "batch_norm",
    .doc = "each channel normalised over the batch; also gives the batch's mean and biased variance",
    .infer =
        [](SpecPtrs in, const Attrs&) {
          check_batch(*in[0], "batch_norm");
          check_channel_vector(*in[1], *in[0], "batch_norm", "a weight");
          check_channel_vector(*in[2], *in[0], "batch_norm", "a bias");
          HEBB_CHECK(Channels(in[0]->shape).count != 1,
                     "[batch_norm] expected more than one value per channel in training, got {}",
                     in[0]->shape.str());
          const TensorSpec x(in[0]->shape, in[0]->dtype, in[0]->device),
              channel(Shape{in[0]->shape[1]}, in[0]->dtype, in[0]->device);
          return Specs{x, channel, channel};
        },
    .vjp = [](const VjpArgs& s) -> std::vector<Tensor> {
      const Tensor in[] = {s.grads[0],  s.grads[1],   s.grads[2],  s.inputs[0],
                           s.inputs[1], s.outputs[1], s.outputs[2]};
      const Outputs out = apply(batch_norm_grad, s.attrs, in);
      return {out[0], out[1], out[2]};
    },
    .reference = reference_batch_norm,
    .samples = []() -> std::vector<Sample> {
      return {{"nchw", {{{3, 2, 4, 5}}, {{2}}, {{2}}}, BatchNormAttrs{}},
              {"nc", {{{7, 19}}, {{19}}, {{19}}}, BatchNormAttrs{1e-3}},
              {"ncl", {{{2, 3, 5}}, {{3}}, {{3}}}, BatchNormAttrs{}}};
    },
    .error_samples = []() -> std::vector<ErrorSample> {
      return {
          {{{{3}}, {{3}}, {{3}}},
           BatchNormAttrs{},
           "expected an input of at least 2 dimensions (NC...), got 3"},
          {{{{2, 3}, 0, 5, i64}, {{3}}, {{3}}},
           BatchNormAttrs{},
           "expected an input of a floating type, got i64"},
          {{{{2, 3}}, {{3}, -2, 2, f64}, {{3}}},
           BatchNormAttrs{},
           "expected operands of one type, got f64 and f32"},
          {{{{2, 3}}, {{2}}, {{3}}}, BatchNormAttrs{}, "expected a weight of shape 3 (input 2x3), got 2"},
          {{{{2, 3}}, {{3}}, {{3, 1}}}, BatchNormAttrs{}, "expected a bias of shape 3 (input 2x3), got 3x1"},
          {{{{1, 3, 1}}, {{3}}, {{3}}},
           BatchNormAttrs{},
           "expected more than one value per channel in training"}};
    },
    .saves_inputs = 3,
    .saves_outputs = 6,
    .never_throws = true};

const OpDef batch_norm_grad{
    .name = "batch_norm_grad",
    .doc = "gradients of batch_norm from those of y, mean and var, and x, weight, mean and var",
    .infer =
        [](SpecPtrs in, const Attrs&) {
          const char* op = "batch_norm_grad";
          check_batch(*in[3], op);
          expect_same_type(*in[0], *in[3], op);
          HEBB_CHECK(in[0]->shape == in[3]->shape, "[{}] expected a gradient of shape {}, got {}", op,
                     in[3]->shape.str(), in[0]->shape.str());
          for (const int i : {1, 2, 4, 5, 6}) check_channel_vector(*in[i], *in[3], op, "statistics");
          const TensorSpec x(in[3]->shape, in[3]->dtype, in[3]->device),
              channel(Shape{in[3]->shape[1]}, in[3]->dtype, in[3]->device);
          return Specs{x, channel, channel};
        },
    .decompose = decompose_batch_norm_grad,
    .reference = reference_batch_norm_grad,
    .samples = []() -> std::vector<Sample> {
      auto sample = [](const char* name, Shape x, int64_t c) {
        const SampleInput v{{c}}, var{{c}, 0.3, 2};
        return Sample{name, {{x}, v, v, {x}, v, v, var}, BatchNormAttrs{}};
      };
      return {sample("nchw", {3, 2, 4, 5}, 2), sample("nc", {7, 19}, 19)};
    },
    .error_samples = []() -> std::vector<ErrorSample> {
      const SampleInput x{{2, 3}}, v{{3}};
      return {
          {{{{2, 4}}, v, v, x, v, v, v}, BatchNormAttrs{}, "expected a gradient of shape 2x3, got 2x4"},
          {{x, v, v, x, {{2}}, v, v}, BatchNormAttrs{}, "expected statistics of shape 3 (input 2x3), got 2"}};
    },
    .never_throws = true};

const OpDef layer_norm{
    .name = "layer_norm",
    .doc = "each slice over the last dimensions normalised; inputs are x, or x, weight and bias",
    .infer =
        [](SpecPtrs in, const Attrs& attrs) {
          check_layer(*in[0], attrs, "layer_norm");
          if (in.size() > 1) {
            check_layer_vector(*in[1], *in[0], attrs, "layer_norm", "a weight");
            check_layer_vector(*in[2], *in[0], attrs, "layer_norm", "a bias");
          }
          return Specs(TensorSpec(in[0]->shape, in[0]->dtype, in[0]->device));
        },
    .vjp = [](const VjpArgs& s) -> std::vector<Tensor> {
      if (s.inputs.size() == 1) return {apply1(layer_norm_grad, s.attrs, {s.grads[0], s.inputs[0]})};
      const Tensor in[] = {s.grads[0], s.inputs[0], s.inputs[1]};
      const Outputs out = apply(layer_norm_grad, s.attrs, in);
      return {out[0], out[1], out[2]};
    },
    .reference = reference_layer_norm,
    .samples = []() -> std::vector<Sample> {
      return {{"rows", {{{5, 19}}, {{19}}, {{19}}}, LayerNormAttrs{}},
              {"planes", {{{2, 3, 4}}, {{3, 4}}, {{3, 4}}}, LayerNormAttrs{2, 1e-3}},
              {"plain", {{{3, 2, 7}}}, LayerNormAttrs{}},
              {"one_row", {{{6}}, {{6}}, {{6}}}, LayerNormAttrs{}}};
    },
    .error_samples = []() -> std::vector<ErrorSample> {
      return {{{{{3}, 0, 5, i64}}, LayerNormAttrs{}, "expected an input of a floating type, got i64"},
              {{{{3}}}, LayerNormAttrs{2}, "expected an input of at least 2 dimensions, got 3"},
              {{{{2, 3}}, {{3}, -2, 2, f64}, {{3}}},
               LayerNormAttrs{},
               "expected operands of one type, got f64 and f32"},
              {{{{2, 3}}, {{2}}, {{3}}}, LayerNormAttrs{}, "expected a weight of shape 3 (input 2x3), got 2"},
              {{{{2, 3}}, {{3}}, {{1}}}, LayerNormAttrs{}, "expected a bias of shape 3 (input 2x3), got 1"}};
    },
    .saves_inputs = 3,
    .never_throws = true};

const OpDef layer_norm_grad{
    .name = "layer_norm_grad",
    .doc = "gradients of layer_norm from g and x (of x), or g, x and weight (of x, weight and bias)",
    .infer =
        [](SpecPtrs in, const Attrs& attrs) {
          const char* op = "layer_norm_grad";
          check_layer(*in[1], attrs, op);
          expect_same_type(*in[0], *in[1], op);
          HEBB_CHECK(in[0]->shape == in[1]->shape, "[{}] expected a gradient of shape {}, got {}", op,
                     in[1]->shape.str(), in[0]->shape.str());
          Specs out(TensorSpec(in[1]->shape, in[1]->dtype, in[1]->device));
          if (in.size() == 2) return out;
          check_layer_vector(*in[2], *in[1], attrs, op, "a weight");
          for (int i = 0; i < 2; ++i)
            out.push_back(TensorSpec(trailing(in[1]->shape, attrs), in[1]->dtype, in[1]->device));
          return out;
        },
    .decompose = decompose_layer_norm_grad,
    .reference = reference_layer_norm_grad,
    .samples = []() -> std::vector<Sample> {
      return {{"rows", {{{5, 19}}, {{5, 19}}, {{19}}}, LayerNormAttrs{}},
              {"planes", {{{2, 3, 4}}, {{2, 3, 4}}, {{3, 4}}}, LayerNormAttrs{2, 1e-3}},
              {"plain", {{{3, 2, 7}}, {{3, 2, 7}}}, LayerNormAttrs{}}};
    },
    .error_samples = []() -> std::vector<ErrorSample> {
      return {
          {{{{2, 4}}, {{2, 3}}}, LayerNormAttrs{}, "expected a gradient of shape 2x3, got 2x4"},
          {{{{2, 3}}, {{2, 3}}, {{2}}}, LayerNormAttrs{}, "expected a weight of shape 3 (input 2x3), got 2"}};
    },
    .never_throws = true};

}  // namespace ops

namespace {

Tensor or_filled(const Tensor& t, const Shape& shape, double value, const Tensor& like) {
  return t.defined() ? t : full(shape, value, like.dtype(), like.device());
}

// running = (1 - momentum) running + momentum * batch, outside of any gradient.
void move_towards(Tensor& running, const Tensor& batch, double momentum) {
  running.assign_(running.detach() * (1 - momentum) + batch.detach() * momentum);
}

// x weight + bias, each [C] or undefined, beside x [N, C, ...].
Tensor scale_and_shift(Tensor x, const Tensor& weight, const Tensor& bias) {
  const Shape shape = x.shape();
  if (weight.defined()) x = x * per_channel(weight, shape);
  return bias.defined() ? x + per_channel(bias, shape) : x;
}

void check_running(const Tensor& x, const Tensor& mean, const Tensor& var, bool required, const char* op) {
  HEBB_CHECK(mean.defined() == var.defined() && (mean.defined() || !required),
             "[{}] expected {}running_mean and running_var, got {}", op,
             required ? "" : "both or neither of ", mean.defined() || var.defined() ? "only one" : "neither");
  check_batch(x.spec(), op);
  for (const Tensor* t : {&mean, &var})
    HEBB_CHECK(!t->defined() || t->shape() == Shape({x.shape()[1]}),
               "[{}] expected running statistics of shape {} (input {}), got {}", op, x.shape()[1],
               x.shape().str(), t->shape().str());
}

// With the running statistics everything is linear in x.
Tensor apply_running(const Tensor& x, const Tensor& mean, const Tensor& var, const Tensor& weight,
                     const Tensor& bias, double eps) {
  Tensor scale = rsqrt(var + eps);
  if (weight.defined()) scale = scale * weight;
  const Tensor shift = bias.defined() ? bias - mean * scale : -(mean * scale);
  return x * per_channel(scale, x.shape()) + per_channel(shift, x.shape());
}

}  // namespace

Tensor batch_norm(const Tensor& x, Tensor& running_mean, Tensor& running_var, const Tensor& weight,
                  const Tensor& bias, bool training, double momentum, double eps) {
  check_running(x, running_mean, running_var, !training, "batch_norm");
  if (!training) return apply_running(x, running_mean, running_var, weight, bias, eps);
  const Shape channels{x.shape()[1]};
  const Tensor in[] = {x, or_filled(weight, channels, 1, x), or_filled(bias, channels, 0, x)};
  const Outputs out = apply(ops::batch_norm, BatchNormAttrs{eps}, in);
  const int64_t n = Channels(x.shape()).count;
  if (running_mean.defined() && n > 0) {
    move_towards(running_mean, out[1], momentum);
    const double unbiased = static_cast<double>(n) / static_cast<double>(n - 1);
    move_towards(running_var, out[2].detach() * unbiased, momentum);
  }
  return out[0];
}

Tensor layer_norm(const Tensor& x, const Shape& normalized_shape, const Tensor& weight, const Tensor& bias,
                  double eps) {
  const LayerNormAttrs a{normalized_shape.ndim(), eps};
  check_layer(x.spec(), a, "layer_norm");
  HEBB_CHECK(trailing(x.shape(), a) == normalized_shape,
             "[layer_norm] expected an input whose last dimensions are {}, got {}", normalized_shape.str(),
             x.shape().str());
  if (!weight.defined() && !bias.defined()) return apply1(ops::layer_norm, a, {x});
  return apply1(ops::layer_norm, a,
                {x, or_filled(weight, normalized_shape, 1, x), or_filled(bias, normalized_shape, 0, x)});
}

Tensor group_norm(const Tensor& x, int64_t groups, const Tensor& weight, const Tensor& bias, double eps) {
  check_batch(x.spec(), "group_norm");
  const int64_t batch = x.shape()[0], channels = x.shape()[1];
  HEBB_CHECK(groups >= 1 && channels % groups == 0,
             "[group_norm] expected a number of groups that divides {} channels, got {}", channels, groups);
  const Tensor rows = reshape(x, {batch, groups, batch ? x.numel() / (batch * groups) : 0});
  const Tensor y = apply1(ops::layer_norm, LayerNormAttrs{1, eps}, {rows});
  return scale_and_shift(reshape(y, x.shape()), weight, bias);
}

Tensor instance_norm(const Tensor& x, Tensor& running_mean, Tensor& running_var, const Tensor& weight,
                     const Tensor& bias, bool use_input_stats, double momentum, double eps) {
  check_running(x, running_mean, running_var, !use_input_stats, "instance_norm");
  if (!use_input_stats) return apply_running(x, running_mean, running_var, weight, bias, eps);
  const Shape& shape = x.shape();
  const Channels c(shape);
  HEBB_CHECK(c.inner > 1, "[instance_norm] expected more than one place per channel, got {}", shape.str());
  const Tensor y = reshape(group_norm(x, c.channels, {}, {}, eps), shape);
  if (running_mean.defined() && c.count > 0) {
    // The mean over the samples of each sample's statistics.
    const Tensor rows = reshape(x.detach(), {c.batch, c.channels, c.inner});
    const Tensor means = mean(rows, {2}, true);
    const Tensor vars = sum(square(rows - means), {2}) * (1.0 / static_cast<double>(c.inner - 1));
    move_towards(running_mean, mean(means, {0, 2}), momentum);
    move_towards(running_var, mean(vars, {0}), momentum);
  }
  return scale_and_shift(y, weight, bias);
}
Tensor instance_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
  Tensor none_mean, none_var;
  return instance_norm(x, none_mean, none_var, weight, bias, true, 0.1, eps);
}

Tensor local_response_norm(const Tensor& x, int64_t size, double alpha, double beta, double k) {
  check_batch(x.spec(), "local_response_norm");
  HEBB_CHECK(size >= 1, "[local_response_norm] expected a size of at least 1, got {}", size);
  if (x.numel() == 0) return x;
  const Channels c(x.shape());
  // Averages over the channels, as pooling of [N, 1, C, places]. An even window has its centre right of the
  // middle, and pooling gives one row too many.
  const Tensor squares = reshape(square(x), {c.batch, 1, c.channels, c.inner});
  const Tensor means = narrow(
      avg_pool2d(squares, Size2(size, 1), {.stride = 1, .padding = Size2(size / 2, 0)}), 2, 0, c.channels);
  return x / pow(reshape(means, x.shape()) * alpha + k, beta);
}

}  // namespace hebb
