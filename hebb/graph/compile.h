// Compiled functions: traced once for each kind of call, improved, and from then on run from a plan.
#pragma once
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "hebb/core/tensor.h"

namespace hebb {

/// Options of compile().
struct CompileOptions {
  std::string name = "function";  ///< what dumps of the graph are called
  /// What the function depends on beside its arguments and state, as text: a module's mode, a flag. A call
  /// with another text is traced anew.
  std::function<std::string()> key = nullptr;
};

/// A function that compile() made. Copies share their plans. Calls from several threads take turns.
class Compiled {
 public:
  /// The results for these arguments; state is assigned as the function assigns it. Results are cut off from
  /// the tape: gradients are taken within the function. Throws what tracing throws, see compile().
  std::vector<Tensor> operator()(std::span<const Tensor> arguments) const;
  std::vector<Tensor> operator()(std::initializer_list<Tensor> arguments) const {
    return (*this)(std::span<const Tensor>(arguments.begin(), arguments.size()));
  }
  /// How many kinds of call have a plan.
  size_t num_plans() const;
  /// The graph of the last call's plan, as text; empty before the first call and after one that ran eagerly.
  std::string graph() const;

  struct Impl;
  explicit Compiled(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

 private:
  std::shared_ptr<Impl> impl_;
};

/// fn, compiled. `state` are the tensors that it reads or assigns beside its arguments: parameters, buffers.
/// (Undefined ones are passed over; default_generator() is always among them.) The first call with arguments
/// of some shapes and types, under some options (grad_enabled(), num_threads(), requires_grad of each tensor,
/// the backend, options.key), runs fn once on tensors without values; it and all later calls run the plan. At
/// most 16 plans are kept; calls of further kinds run fn itself, with one warning.
///
/// Tracing throws Error if fn reads a tensor that is neither argument nor state nor computed from them
/// (naming the op, the operand and the module), if it reads a value (naming file and line), or if it assigns
/// state a value known beforehand. Python-like control flow on values is impossible for the same reason; on
/// shapes it works.
Compiled compile(std::function<std::vector<Tensor>(std::span<const Tensor>)> fn,
                 std::span<const Tensor> state = {}, CompileOptions options = {});

}  // namespace hebb
