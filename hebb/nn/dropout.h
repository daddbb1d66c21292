// Layers that drop units at random while training (Srivastava et al., 2014).
#pragma once
#include <string>

#include "hebb/nn/module.h"

namespace hebb::nn {

/// In training, zeroes each element with probability p and multiplies the others by 1/(1 - p); otherwise the
/// identity. Draws from default_generator(). Throws Error unless 0 <= p <= 1.
struct Dropout : Module {
  double p;

  explicit Dropout(double probability = 0.5);
  Tensor forward(const Tensor& x);
  std::string extra_repr() const override;
  HEBB_MEMBERS()
};

/// As Dropout, but drops whole channels of x [N, C, H, W], whose neighbouring pixels are alike. Throws Error
/// for other dimensions. Source: Tompson et al., 2015.
struct Dropout2d : Module {
  double p;

  explicit Dropout2d(double probability = 0.5);
  Tensor forward(const Tensor& x);
  std::string extra_repr() const override;
  HEBB_MEMBERS()
};

}  // namespace hebb::nn
