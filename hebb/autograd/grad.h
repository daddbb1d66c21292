// Differentiation: reverse mode over the tape, forward mode, and a check for users' own gradients.
#pragma once
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "hebb/core/tensor.h"

namespace hebb {

/// While it lives, this thread records nothing on the tape.
class NoGrad {
 public:
  NoGrad();
  ~NoGrad();
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;

 private:
  bool previous_;
};
/// While it lives, this thread records, also inside a NoGrad.
class EnableGrad {
 public:
  EnableGrad();
  ~EnableGrad();
  EnableGrad(const EnableGrad&) = delete;
  EnableGrad& operator=(const EnableGrad&) = delete;

 private:
  bool previous_;
};
/// Whether this thread records now.
bool grad_enabled();

/// Options of backward() and grad().
struct BackwardOptions {
  bool retain_graph = false;  ///< keep what was saved, to go backward again
  bool create_graph = false;  ///< record the gradients too, for second derivatives; implies retain_graph
};

/// Adds to the grad() of every leaf the gradient of `loss`, times `grad` (default: ones, for a one-element
/// loss). Frees the values saved on the way unless told to retain them. Throws Error if `loss` needs no
/// gradient, if it has several elements and no `grad` is given, or if an op on the way has no gradient.
void backward(const Tensor& loss, const Tensor& grad = {}, BackwardOptions options = {});

/// Gradients of sum_i <outputs[i], grads[i]> with respect to `inputs`, which may be leaves or results. Leaves
/// grad() alone. An input that the outputs do not depend on gets an undefined tensor if `allow_unused`, else
/// Error.
std::vector<Tensor> grad(std::span<const Tensor> outputs, std::span<const Tensor> inputs,
                         std::span<const Tensor> grads = {}, BackwardOptions options = {},
                         bool allow_unused = false);
/// For one output and one input.
Tensor grad(const Tensor& output, const Tensor& input, const Tensor& grad = {}, BackwardOptions options = {});

/// A function of tensors that may be differentiated.
using TensorFn = std::function<std::vector<Tensor>(std::span<const Tensor>)>;

/// fn's value and the gradients of its first result (one element) with respect to all arguments.
std::pair<std::vector<Tensor>, std::vector<Tensor>> value_and_grad(const TensorFn& fn,
                                                                   std::span<const Tensor> args);

/// Forward mode: fn's results and their directional derivatives along `tangents` (one for each argument, of
/// its shape; undefined means zero). Differentiable itself. A result that does not depend on the arguments
/// gets zeros.
std::pair<std::vector<Tensor>, std::vector<Tensor>> jvp(const TensorFn& fn, std::span<const Tensor> args,
                                                        std::span<const Tensor> tangents);

/// Options of gradcheck().
struct GradcheckOptions {
  double eps = 1e-6;    ///< step of the central difference
  double atol = 1e-5;   ///< absolute tolerance
  double rtol = 1e-3;   ///< relative tolerance
  bool second = false;  ///< check the derivative of the gradient too
};
/// Compares fn's gradients with central differences in f64. Arguments must be f64. Returns an empty text if
/// they agree, else which argument and element differ and by how much.
std::string gradcheck(const TensorFn& fn, std::span<const Tensor> args, GradcheckOptions options = {});

}  // namespace hebb
