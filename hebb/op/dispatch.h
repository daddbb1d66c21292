// How a call of an op reaches what runs it. Interpreters (eager, tape, forward mode, shapes, tracer) stand on
// a thread-local stack; backends give kernels. Both are implemented in folders that this one does not
// include.
#pragma once
#include <functional>
#include <memory>

#include "hebb/op/op.h"

namespace hebb {

/// Gives a meaning to calls of ops.
class Interpreter {
 public:
  virtual ~Interpreter() = default;
  /// One call. Throws Error for arguments that the op does not take.
  virtual Outputs apply(const OpDef& op, const Attrs& attrs, std::span<const Tensor> inputs) = 0;
};

/// Runs an op by the interpreter on top of this thread's stack.
Outputs apply(const OpDef& op, const Attrs& attrs, std::span<const Tensor> inputs);
/// The same for ops of one output.
Tensor apply1(const OpDef& op, const Attrs& attrs, std::initializer_list<Tensor> inputs);

/// True if no InterpreterScope stands on this thread: calls compute, and the tape may record them.
bool is_eager();
/// The interpreter that computes: eager unless an InterpreterScope of Place::base stands.
Interpreter& base_interpreter();

/// Puts an interpreter in charge of this thread's calls while it lives. `base` replaces eager execution
/// beneath the tape (shapes, tracer); `top` stands above all others (forward mode) and may pass calls on to
/// `next()`.
class InterpreterScope {
 public:
  /// Where in the stack the interpreter stands.
  enum class Place : uint8_t { base, top };
  InterpreterScope(Interpreter& interpreter, Place place);
  ~InterpreterScope();
  InterpreterScope(const InterpreterScope&) = delete;
  InterpreterScope& operator=(const InterpreterScope&) = delete;

 private:
  Interpreter* previous_;
  Place place_;
};

/// While it lives, this thread's calls go to the interpreter below the one that makes it (Place::top only).
class BelowScope {
 public:
  BelowScope(Interpreter* below);
  ~BelowScope();
  BelowScope(const BelowScope&) = delete;

 private:
  Interpreter* previous_;
};
/// The interpreter on top now; null when that is the tape.
Interpreter* top_interpreter();

/// Infers only: results have shapes and no values. For summaries and for layers that infer their sizes.
class ShapeInterpreter : public Interpreter {
 public:
  /// Calls infer; the results are Tensor::meta.
  Outputs apply(const OpDef& op, const Attrs& attrs, std::span<const Tensor> inputs) override;
};

/// What a kernel needs beside its operands. Streams, scratch and process groups join it as backends come.
struct ExecContext {
  int threads = 1;
  /// For each input a number that changes whenever its values do, or 0 if they may change with each run: what
  /// a kernel makes of such values (weights packed for it) it may keep. Null if nothing is known.
  const uint64_t* stamps = nullptr;
};

/// A kernel prepared for one op, its attributes and the specs of its operands; running it only binds
/// pointers.
using Kernel = std::function<void(ExecContext&, const void* const* inputs, void* const* outputs)>;

/// A set of kernels.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string_view name() const = 0;
  /// Runs an op that needs no preparation (elementwise, copies). False if this backend wants to prepare it.
  virtual bool run(const OpDef& op, const Attrs& attrs, std::span<const Tensor> inputs,
                   std::span<Tensor> outputs) = 0;
  /// Whether products of f32 that are rounded to bf16 are faster here: see Autocast.
  virtual bool multiplies_bf16() const { return false; }
  /// A kernel for dense inputs of these specs; empty if the backend has none for the op.
  virtual Kernel prepare(const OpDef& op, const Attrs& attrs, SpecPtrs inputs, SpecPtrs outputs) = 0;
};

/// The one explicit list: cpu, reference.
std::span<Backend* const> backends();
/// The backend that this thread's calls go to.
Backend& current_backend();
/// Chooses this thread's backend by name while it lives. Throws Error for an unknown name.
class BackendScope {
 public:
  explicit BackendScope(std::string_view name);
  ~BackendScope();
  BackendScope(const BackendScope&) = delete;

 private:
  Backend* previous_;
};

namespace detail {
/// The tape: what runs when no scope stands. Defined in autograd.
Interpreter& default_interpreter();
/// Number of prepared kernels this thread's cache holds and has built; for tests.
struct KernelCacheStats {
  int64_t size = 0, built = 0, capacity = 0;
};
KernelCacheStats kernel_cache_stats();
/// Runs an op's plain kernel; also used by the reference backend.
void run_reference(const OpDef& op, const Attrs& attrs, std::span<const Tensor> inputs,
                   std::span<Tensor> outputs);
/// A dense copy, or the tensor itself if it is dense. Not recorded.
Tensor dense(const Tensor& t);
/// The same of an element type.
Tensor dense(const Tensor& t, DType type);
}  // namespace detail

}  // namespace hebb
