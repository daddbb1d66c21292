// Input gradients of convolutions and the fused program that reads them. Compiled functions make them
// (hebb/graph/passes/join_gradients.cpp).
#pragma once
#include "hebb/ops/conv_attrs.h"
#include "hebb/ops/fused.h"

namespace hebb {

/// Attributes of conv2d_input_grad_fused_nhwc: of the convolution, and the program, whose input `at` is the
/// gradient. The inputs are those of the gradient, then the others of the program.
struct ConvFusedAttrs {
  Conv2dAttrs conv;
  const FusedProgram* program;
  int64_t at;
  /// As HEBB_FIELDS would, those of the convolution first.
  template <class F>
  void each_field(F&& f) const {
    conv.each_field(f);
    f("program", program);
    f("at", at);
  }
};

/// What the program is given: the inputs of the op from the third on, and the gradient among them.
template <class T>
std::vector<T> program_inputs(const ConvFusedAttrs& a, std::span<const T> inputs, const T& gradient) {
  std::vector<T> all(inputs.begin() + 2, inputs.end());
  all.insert(all.begin() + a.at, gradient);
  return all;
}

}  // namespace hebb
