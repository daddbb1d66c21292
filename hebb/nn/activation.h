// Activation functions as layers. All keep the shape of their input; slopes at kinks are PyTorch's.
#pragma once
#include <cstdint>
#include <string>

#include "hebb/nn/module.h"

namespace hebb::nn {

/// 1/(1 + e^-x).
struct Sigmoid : Module {
  Tensor forward(const Tensor& x);
  HEBB_MEMBERS()
};
/// Hyperbolic tangent.
struct Tanh : Module {
  Tensor forward(const Tensor& x);
  HEBB_MEMBERS()
};
/// max(x, 0); slope 0 at 0.
struct ReLU : Module {
  Tensor forward(const Tensor& x);
  HEBB_MEMBERS()
};
/// ReLU held below 6. Source: Krizhevsky, 2010.
struct ReLU6 : Module {
  Tensor forward(const Tensor& x);
  HEBB_MEMBERS()
};
/// Self-normalising ELU. Source: Klambauer et al., 2017.
struct SELU : Module {
  Tensor forward(const Tensor& x);
  HEBB_MEMBERS()
};
/// x sigmoid(x), also called swish.
struct SiLU : Module {
  Tensor forward(const Tensor& x);
  HEBB_MEMBERS()
};
/// x / (1 + |x|).
struct Softsign : Module {
  Tensor forward(const Tensor& x);
  HEBB_MEMBERS()
};
/// -1, 0 or 1; its gradient is zero.
struct Sign : Module {
  Tensor forward(const Tensor& x);
  HEBB_MEMBERS()
};
/// x/6 + 1/2 held within [0, 1] (Keras before version 3: 0.2 x + 1/2).
struct Hardsigmoid : Module {
  Tensor forward(const Tensor& x);
  HEBB_MEMBERS()
};
/// x times Hardsigmoid. Source: Howard et al., 2019.
struct Hardswish : Module {
  Tensor forward(const Tensor& x);
  HEBB_MEMBERS()
};
/// log(sigmoid(x)) without overflow.
struct LogSigmoid : Module {
  Tensor forward(const Tensor& x);
  HEBB_MEMBERS()
};

/// x where x > 0, else negative_slope x (Keras: slope 0.3). Source: Maas et al., 2013.
struct LeakyReLU : Module {
  double negative_slope;

  explicit LeakyReLU(double slope = 0.01);
  Tensor forward(const Tensor& x);
  std::string extra_repr() const override;
  HEBB_MEMBERS()
};

/// LeakyReLU with a slope that is learned: one for all, or one for each channel (dimension 1). It starts at
/// 0.25 (Keras: one a unit, from 0). Source: He et al., 2015.
struct PReLU : Module {
  int64_t num_parameters;
  Parameter weight;  ///< [num_parameters]

  explicit PReLU(int64_t count = 1, double init = 0.25);
  Tensor forward(const Tensor& x);
  std::string extra_repr() const override;
  HEBB_MEMBERS(weight)
};

/// x where x > 0, else alpha (e^x - 1). Source: Clevert et al., 2015.
struct ELU : Module {
  double alpha;

  explicit ELU(double a = 1);
  Tensor forward(const Tensor& x);
  std::string extra_repr() const override;
  HEBB_MEMBERS()
};

/// x Phi(x), Phi the normal distribution; `approximate` is "none" or "tanh". Throws Error for another word.
/// Source: Hendrycks and Gimpel, 2016.
struct GELU : Module {
  std::string approximate;

  explicit GELU(std::string approximation = "none");
  Tensor forward(const Tensor& x);
  std::string extra_repr() const override;
  HEBB_MEMBERS()
};

/// log(1 + e^(beta x)) / beta; x where beta x > threshold.
struct Softplus : Module {
  double beta, threshold;

  explicit Softplus(double b = 1, double limit = 20);
  Tensor forward(const Tensor& x);
  std::string extra_repr() const override;
  HEBB_MEMBERS()
};

/// x held within [min_val, max_val]; slope 0 at both. Throws Error unless min_val < max_val.
struct Hardtanh : Module {
  double min_val, max_val;

  explicit Hardtanh(double low = -1, double high = 1);
  Tensor forward(const Tensor& x);
  std::string extra_repr() const override;
  HEBB_MEMBERS()
};

/// x where x > threshold, else value.
struct Threshold : Module {
  double threshold, value;

  Threshold(double limit, double otherwise);
  Tensor forward(const Tensor& x);
  std::string extra_repr() const override;
  HEBB_MEMBERS()
};

/// 1 where x >= threshold, else 0: the unit of McCulloch and Pitts (1943). Its gradient is 0, so it cannot be
/// trained by descent.
struct Step : Module {
  double threshold;

  explicit Step(double limit = 0);
  Tensor forward(const Tensor& x);
  std::string extra_repr() const override;
  HEBB_MEMBERS()
};

/// e^x over its sum along `dim` (PyTorch's default depends on the number of dimensions, and is deprecated;
/// this is Keras').
struct Softmax : Module {
  int64_t dim;

  explicit Softmax(int64_t dimension = -1);
  Tensor forward(const Tensor& x);
  std::string extra_repr() const override;
  HEBB_MEMBERS()
};
/// log(softmax(x)), exact where a probability underflows.
struct LogSoftmax : Module {
  int64_t dim;

  explicit LogSoftmax(int64_t dimension = -1);
  Tensor forward(const Tensor& x);
  std::string extra_repr() const override;
  HEBB_MEMBERS()
};

}  // namespace hebb::nn
