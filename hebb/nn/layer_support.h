// For the sources of layers: numbers as PyTorch prints them, and checks of constructor arguments.
#pragma once
#include <cmath>
#include <string>

#include "hebb/core/check.h"
#include "hebb/nn/init.h"
#include "hebb/nn/module.h"
#include "hebb/ops/creation.h"
#include "hebb/ops/pair.h"

namespace hebb::nn::detail {

/// Python's repr of a float: 1.0, 0.01, 1e-05.
inline std::string repr(double v) {
  std::string text = fmt::format("{}", v);
  if (text.find_first_not_of("-0123456789") == std::string::npos) text += ".0";
  return text;
}
inline const char* repr(bool v) { return v ? "True" : "False"; }
/// "2" for equal extents, else "(3, 2)".
template <class T>
std::string repr(Pair<T> v) {
  const auto text = [](T x) {
    if constexpr (std::is_floating_point_v<T>) return repr(x);
    else return std::to_string(x);
  };
  return v.h == v.w ? text(v.h) : fmt::format("({}, {})", text(v.h), text(v.w));
}
/// "(2, 2)", "(5,)".
inline std::string tuple(std::span<const int64_t> v) {
  return fmt::format("({}{})", fmt::join(v, ", "), v.size() == 1 ? "," : "");
}
inline std::string tuple(Size2 v) { return fmt::format("({}, {})", v.h, v.w); }

/// Throws Error unless `value` is at least `least`.
inline void expect_at_least(int64_t least, int64_t value, const char* layer, const char* argument) {
  HEBB_CHECK(value >= least, "[{}] expected {} of at least {}, got {}", layer, argument, least, value);
}
inline void expect_at_least(int64_t least, Size2 value, const char* layer, const char* argument) {
  HEBB_CHECK(value.h >= least && value.w >= least, "[{}] expected {} of at least {}, got {}", layer, argument,
             least, tuple(value));
}
inline void expect_probability(double p, const char* layer) {
  HEBB_CHECK(p >= 0 && p <= 1, "[{}] expected a probability p in [0, 1], got {}", layer, p);
}

/// PyTorch's default for linear and convolutional layers: kaiming_uniform with a = sqrt 5, which is
/// U(-1/sqrt(fan_in), 1/sqrt(fan_in)), for weight and bias alike.
inline void reset_weight_and_bias(Tensor& weight, Tensor& bias) {
  init::kaiming_uniform_(weight, std::sqrt(5.0));
  if (!bias.defined()) return;
  const double bound = 1 / std::sqrt(static_cast<double>(init::fans(weight).in));
  init::uniform_(bias, -bound, bound);
}

}  // namespace hebb::nn::detail
