// What compiled functions need and take.
#pragma once
#include <cstdint>
#include <string>

namespace hebb {

/// What one call of an op within a compiled function took.
struct NodeCost {
  std::string op;             ///< "conv2d"
  std::string module;         ///< the path of the module that called it, "LeNet.conv1"; empty outside of any
  std::string shapes;         ///< of its inputs, "(64, 1, 28, 28), (6, 1, 5, 5)"
  double ms = 0;              ///< milliseconds
  int64_t multiply_adds = 0;  ///< by the direct algorithm; 0 where the op is no product
  int64_t bytes = 0;          ///< of its inputs and outputs
};
/// What a compiled function needs, whatever runs it.
struct Needs {
  int64_t multiply_adds = 0;  ///< of its products, by the direct algorithm
  /// The least that can cross memory: each argument read once, each state read once and, if it is assigned,
  /// written once, each output of a product written once and read once.
  int64_t bytes = 0;
};

}  // namespace hebb
