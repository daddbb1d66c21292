// Compiled functions: traced once for each kind of call, improved, and from then on run from a plan.
#pragma once
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "hebb/core/error.h"
#include "hebb/core/tensor.h"
#include "hebb/graph/cost.h"

namespace hebb {

/// What a compiled function reads, and may assign, beside its arguments. Modules, optimizers and tensors
/// convert to it. Modules and optimizers must live as long as the compiled function.
struct CompiledState {
  CompiledState() = default;
  CompiledState(std::vector<Tensor> all) : tensors([all = std::move(all)] { return all; }) {}
  CompiledState(Tensor tensor) : CompiledState(std::vector{std::move(tensor)}) {}

  /// The tensors; called whenever the function is traced. Undefined ones are passed over.
  std::function<std::vector<Tensor>()> tensors = nullptr;
  /// Appends what else the function depends on, as text: the mode of each module. A call with another text is
  /// traced anew.
  std::function<void(std::string& text)> key = nullptr;
  /// Called before each run, to bring tensors up to date with what is kept elsewhere: a learning rate.
  std::function<void()> refresh = nullptr;
};

/// What is thrown where a function cannot be traced.
class CompileError : public Error {
 public:
  using Error::Error;
};

/// Options of compile().
struct CompileOptions {
  std::string name = "function";  ///< what dumps of the graph are called
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
  /// `times` calls, one after another, with the same arguments; the results are the last one's. What a call
  /// costs beside its ops is paid once, and numbers kept elsewhere (a learning rate) are looked up once: for
  /// steps of small networks on one batch. Throws Error unless times >= 1, and as a call does.
  std::vector<Tensor> repeat(int64_t times, std::span<const Tensor> arguments) const;
  /// The same.
  std::vector<Tensor> repeat(int64_t times, std::initializer_list<Tensor> arguments) const {
    return repeat(times, std::span<const Tensor>(arguments.begin(), arguments.size()));
  }
  /// Traces the function again for such a call. If it now does something else, because it depends on more
  /// than arguments and state, its plan is replaced. True if so. False for a kind of call that has no plan.
  bool retrace(std::span<const Tensor> arguments) const;
  /// The same.
  bool retrace(std::initializer_list<Tensor> arguments) const {
    return retrace(std::span<const Tensor>(arguments.begin(), arguments.size()));
  }
  /// One more call, state and all, whose results are dropped; what each of its ops took, in the order in
  /// which they ran. Throws Error if such a call has no plan (see compile()).
  std::vector<NodeCost> profile(std::span<const Tensor> arguments) const;
  /// What the last call's plan needs; nothing before the first call and after one that ran eagerly.
  Needs needs() const;
  /// How many kinds of call have a plan.
  size_t num_plans() const;
  /// The graph of the last call's plan, as text; empty before the first call and after one that ran eagerly.
  std::string graph() const;

  struct Impl;
  explicit Compiled(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

 private:
  std::shared_ptr<Impl> impl_;
};

/// fn, compiled. `state` is what it reads or assigns beside its arguments: modules, optimizers, tensors
/// (default_generator() is always among them).
///     auto step = compile([&](auto batch) {
///       optimizer.zero_grad();
///       const Tensor loss = cross_entropy(net(batch[0]), batch[1]);
///       backward(loss);
///       optimizer.step();
///       return std::vector{loss};
///     }, {net, optimizer});
///     const Tensor loss = step({x, y})[0];
/// The first call with arguments of some shapes and types, under some options (grad_enabled(), num_threads(),
/// autocast_dtype(), requires_grad of each tensor, the backend, the state's keys), runs fn once on tensors
/// without values; it and all later calls run the plan. At most 16 plans are kept; calls of further kinds run
/// fn itself, with one warning. What fn computes from numbers of C++ is fixed when it is traced, as is the
/// tensor that a module holds: if they change, see Compiled::retrace().
///
/// Tracing throws CompileError if fn throws, if it reads a tensor that is neither argument nor state nor
/// computed from them (naming the op, the operand and the module), if it reads a value (naming file and
/// line), or if it assigns state a value known beforehand. Python-like control flow on values is impossible
/// for the same reason; on shapes it works.
Compiled compile(std::function<std::vector<Tensor>(std::span<const Tensor>)> fn,
                 std::vector<CompiledState> state = {}, CompileOptions options = {});

}  // namespace hebb
