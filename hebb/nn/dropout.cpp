#include "hebb/nn/dropout.h"

#include "hebb/nn/layer_support.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/random.h"

namespace hebb::nn {

Dropout::Dropout(double probability) : p(probability) { detail::expect_probability(p, "Dropout"); }
Tensor Dropout::forward(const Tensor& x) { return dropout(x, p, is_training()); }
std::string Dropout::extra_repr() const { return fmt::format("p={}, inplace=False", detail::repr(p)); }

Dropout2d::Dropout2d(double probability) : p(probability) { detail::expect_probability(p, "Dropout2d"); }
Tensor Dropout2d::forward(const Tensor& x) {
  HEBB_CHECK(x.ndim() == 4, "[Dropout2d] expected an input of 4 dimensions [N, C, H, W], got {}",
             x.shape().str());
  if (!is_training() || p == 0) return x;
  // [N, C, 1, 1]: 0 where a channel is dropped, else 1/(1 - p).
  const Tensor kept = bernoulli(full({x.shape()[0], x.shape()[1], 1, 1}, 1 - p, x.dtype(), x.device()));
  return x * (p < 1 ? kept / (1 - p) : kept);
}
std::string Dropout2d::extra_repr() const { return fmt::format("p={}, inplace=False", detail::repr(p)); }

}  // namespace hebb::nn
