#include "hebb/nn/activation.h"

#include "hebb/nn/layer_support.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/norm.h"
#include "hebb/ops/view.h"

namespace hebb::nn {

using detail::repr;

Tensor Sigmoid::forward(const Tensor& x) { return sigmoid(x); }
Tensor Tanh::forward(const Tensor& x) { return tanh(x); }
Tensor ReLU::forward(const Tensor& x) { return relu(x); }
Tensor ReLU6::forward(const Tensor& x) { return hardtanh(x, 0, 6); }
Tensor SELU::forward(const Tensor& x) { return selu(x); }
Tensor SiLU::forward(const Tensor& x) { return silu(x); }
Tensor Softsign::forward(const Tensor& x) { return softsign(x); }
Tensor Sign::forward(const Tensor& x) { return sign(x); }
Tensor Hardsigmoid::forward(const Tensor& x) { return hardsigmoid(x); }
Tensor Hardswish::forward(const Tensor& x) { return x * hardsigmoid(x); }
Tensor LogSigmoid::forward(const Tensor& x) { return log_sigmoid(x); }

LeakyReLU::LeakyReLU(double slope) : negative_slope(slope) {}
Tensor LeakyReLU::forward(const Tensor& x) { return leaky_relu(x, negative_slope); }
std::string LeakyReLU::extra_repr() const { return "negative_slope=" + repr(negative_slope); }

PReLU::PReLU(int64_t count, double init) : num_parameters(count) {
  detail::expect_at_least(1, count, "PReLU", "num_parameters");
  weight = Parameter(full({count}, init));
}
Tensor PReLU::forward(const Tensor& x) {
  if (num_parameters == 1) return prelu(x, weight);
  HEBB_CHECK(x.ndim() >= 2 && x.shape()[1] == num_parameters,
             "[PReLU] expected {} channels in dimension 1, got {}", num_parameters, x.shape().str());
  Shape channels = Shape::filled(x.ndim() - 1, 1);
  channels[0] = num_parameters;
  return prelu(x, reshape(weight, channels));
}
std::string PReLU::extra_repr() const { return fmt::format("num_parameters={}", num_parameters); }

ELU::ELU(double a) : alpha(a) {}
Tensor ELU::forward(const Tensor& x) { return elu(x, alpha); }
std::string ELU::extra_repr() const { return "alpha=" + repr(alpha); }

GELU::GELU(std::string approximation) : approximate(std::move(approximation)) {
  HEBB_CHECK(approximate == "none" || approximate == "tanh",
             "[GELU] expected approximate \"none\" or \"tanh\", got \"{}\"", approximate);
}
Tensor GELU::forward(const Tensor& x) { return gelu(x, approximate == "tanh"); }
std::string GELU::extra_repr() const { return "approximate='" + approximate + "'"; }

Softplus::Softplus(double b, double limit) : beta(b), threshold(limit) {}
Tensor Softplus::forward(const Tensor& x) { return softplus(x, beta, threshold); }
std::string Softplus::extra_repr() const {
  return fmt::format("beta={}, threshold={}", repr(beta), repr(threshold));
}

Hardtanh::Hardtanh(double low, double high) : min_val(low), max_val(high) {
  HEBB_CHECK(low < high, "[Hardtanh] expected min_val < max_val, got {} and {}", low, high);
}
Tensor Hardtanh::forward(const Tensor& x) { return hardtanh(x, min_val, max_val); }
std::string Hardtanh::extra_repr() const {
  return fmt::format("min_val={}, max_val={}", repr(min_val), repr(max_val));
}

Threshold::Threshold(double limit, double otherwise) : threshold(limit), value(otherwise) {}
Tensor Threshold::forward(const Tensor& x) { return where(x <= threshold, value, x); }
std::string Threshold::extra_repr() const {
  return fmt::format("threshold={}, value={}", repr(threshold), repr(value));
}

Step::Step(double limit) : threshold(limit) {}
Tensor Step::forward(const Tensor& x) { return step(x, threshold); }
std::string Step::extra_repr() const { return "threshold=" + repr(threshold); }

Softmax::Softmax(int64_t dimension) : dim(dimension) {}
Tensor Softmax::forward(const Tensor& x) { return softmax(x, dim); }
std::string Softmax::extra_repr() const { return fmt::format("dim={}", dim); }

LogSoftmax::LogSoftmax(int64_t dimension) : dim(dimension) {}
Tensor LogSoftmax::forward(const Tensor& x) { return log_softmax(x, dim); }
std::string LogSoftmax::extra_repr() const { return fmt::format("dim={}", dim); }

}  // namespace hebb::nn
