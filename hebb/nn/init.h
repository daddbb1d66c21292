// Initialisers. Each assigns values to a tensor; fans are PyTorch's (weight [out, in/groups, kernel…]).
#pragma once
#include "hebb/core/tensor.h"
#include "hebb/ops/random.h"

namespace hebb::nn::init {

/// Which count a Kaiming initialiser keeps the variance by.
enum class FanMode : uint8_t { fan_in, fan_out };

/// fan_in and fan_out of a weight: inputs to a unit, and units that an input reaches.
struct Fans {
  int64_t in, out;
};
/// Throws Error for a tensor of fewer than 2 dimensions.
Fans fans(const Tensor& t);
/// The recommended factor by nonlinearity: linear, sigmoid, conv2d 1; tanh 5/3; relu sqrt 2; leaky_relu
/// sqrt(2/(1+a^2)); selu 3/4. Throws Error for an unknown name.
double gain(const std::string& nonlinearity, double a = 0.01);

/// The same value everywhere.
void constant_(Tensor t, double value);
/// Uniform in [low, high).
void uniform_(Tensor t, double low = 0, double high = 1, Generator& g = default_generator());
/// Normal.
void normal_(Tensor t, double mean = 0, double std = 1, Generator& g = default_generator());
/// Normal, drawn again until within [low, high] (both in units of the values).
void trunc_normal_(Tensor t, double mean = 0, double std = 1, double low = -2, double high = 2,
                   Generator& g = default_generator());
/// U(-a, a), a = gain sqrt(6 / (fan_in + fan_out)). Source: Glorot and Bengio, 2010. Keras' default for Dense
/// and Conv.
void xavier_uniform_(Tensor t, double gain = 1, Generator& g = default_generator());
/// Normal with std = gain sqrt(2 / (fan_in + fan_out)).
void xavier_normal_(Tensor t, double gain = 1, Generator& g = default_generator());
/// U(-b, b), b = gain sqrt(3 / fan). Source: He et al., 2015. `a` is the slope of leaky_relu.
void kaiming_uniform_(Tensor t, double a = 0, FanMode mode = FanMode::fan_in,
                      const std::string& nonlinearity = "leaky_relu", Generator& g = default_generator());
/// Normal with std = gain / sqrt(fan).
void kaiming_normal_(Tensor t, double a = 0, FanMode mode = FanMode::fan_in,
                     const std::string& nonlinearity = "leaky_relu", Generator& g = default_generator());
/// Normal of variance 1 / fan_in. Source: LeCun et al., 1998.
void lecun_normal_(Tensor t, Generator& g = default_generator());
/// Uniform of variance 1 / fan_in.
void lecun_uniform_(Tensor t, Generator& g = default_generator());
/// Rows (or columns, if there are fewer) orthonormal, times gain. Source: Saxe et al., 2013.
void orthogonal_(Tensor t, double gain = 1, Generator& g = default_generator());

}  // namespace hebb::nn::init
