// What an op is: one OpDef holds its shape rule, gradients, plain kernel, samples and doc line. Everything
// that a network does is an op; eager execution, differentiation and compilation read the same definitions.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "hebb/core/tensor.h"
#include "hebb/op/attrs.h"

namespace hebb {

struct OpDef;

/// What the engine may assume about an op.
enum class Kind : uint8_t {
  Elementwise,  ///< one value out of the values at the same place; broadcasts
  Reduce,       ///< folds dimensions
  View,         ///< other strides on the same storage, where they allow it
  Contract,     ///< sums of products: matrix products, convolutions
  Random,       ///< a function of a random key among its inputs
  Opaque,       ///< anything else
};

/// What flows back through an op that has no `vjp`.
enum class Gradient : uint8_t {
  Throws,  ///< backward() throws: nothing trains silently wrong
  Zeros,   ///< the derivative is zero almost everywhere (floor, sign)
  None,    ///< the output is not differentiable (comparisons, indices) and never requires gradients
};

/// What shape rules are given: each input's spec.
using SpecPtrs = std::span<const TensorSpec* const>;

/// A few values: up to 4 lie inline and are made as they come, more of them in memory of their own.
template <class T>
class Few {
 public:
  Few() = default;
  Few(T a) { push_back(std::move(a)); }
  Few(std::initializer_list<T> list) : Few() {  // (what is made already goes, should one throw)
    for (const T& x : list) push_back(x);
  }
  Few(const Few& o) : Few() {
    for (const T& x : o) push_back(x);
  }
  Few(Few&& o) noexcept { take(o); }
  Few& operator=(Few o) noexcept {
    drop();
    take(o);
    return *this;
  }
  ~Few() { drop(); }
  /// Appends.
  void push_back(T x) {
    if (n_ == room_) grow();
    std::construct_at(v_ + n_, std::move(x));
    ++n_;
  }
  int size() const { return n_; }
  T& operator[](int i) { return v_[i]; }
  const T& operator[](int i) const { return v_[i]; }
  T* begin() { return v_; }
  T* end() { return v_ + n_; }
  const T* begin() const { return v_; }
  const T* end() const { return v_ + n_; }
  operator std::span<const T>() const { return {v_, static_cast<size_t>(n_)}; }

 private:
  static constexpr int kInline = 4;
  T* inlined() { return reinterpret_cast<T*>(bytes_); }
  void take(Few& o) {
    n_ = std::exchange(o.n_, 0);
    if (o.room_ > kInline) {
      v_ = std::exchange(o.v_, o.inlined());
      room_ = std::exchange(o.room_, kInline);
    } else {
      std::uninitialized_move_n(o.v_, n_, v_);
      std::destroy_n(o.v_, n_);
    }
  }
  void drop() {
    std::destroy_n(v_, n_);
    if (room_ > kInline) std::allocator<T>().deallocate(v_, static_cast<size_t>(room_));
    v_ = inlined();
    n_ = 0;
    room_ = kInline;
  }
  void grow() {
    T* more = std::allocator<T>().allocate(2 * static_cast<size_t>(room_));
    std::uninitialized_move_n(v_, n_, more);
    const int n = n_, room = 2 * room_;
    drop();
    v_ = more;
    n_ = n;
    room_ = room;
  }

  alignas(T) std::byte bytes_[kInline * sizeof(T)];
  T* v_ = inlined();
  int n_ = 0, room_ = kInline;
};
/// Specs of an op's outputs.
using Specs = Few<TensorSpec>;
/// An op's results.
using Outputs = Few<Tensor>;

/// Where a view starts and how it strides.
struct ViewSpec {
  TensorSpec spec;
  int64_t offset = 0;  // elements, relative to the input's first
};

/// What a vector-Jacobian product is given. Values that the op did not ask to save are shapes without values.
struct VjpArgs {
  const Attrs& attrs;
  std::span<const Tensor> inputs;
  std::span<const Tensor> outputs;
  std::span<const Tensor> grads;  ///< of each output; zeros are filled in, but for takes_absent_grads
  std::span<const bool> needs;    ///< which inputs want a gradient
};

/// What a Jacobian-vector product is given.
struct JvpArgs {
  const Attrs& attrs;
  std::span<const Tensor> inputs;
  std::span<const Tensor> outputs;
  std::span<const Tensor> tangents;  ///< of each input; undefined means zero
};

/// What a plain kernel is given: inputs of any strides, dense outputs to be filled.
struct ReferenceArgs {
  const Attrs& attrs;
  std::span<const Tensor> inputs;
  std::span<Tensor> outputs;
};

/// One input of a sample: a shape filled by `fill`, by a seed that is the input's number.
struct SampleInput {
  /// How the values are drawn.
  enum class Fill : uint8_t {
    uniform,   ///< in [low, high), kept away from the kinks of the classical activations
    distinct,  ///< all values differ by at least 0.05: no ties, for max and sort
    integers,  ///< whole numbers in [low, high)
  };
  Shape shape;
  double low = -2, high = 2;
  DType dtype = f32;
  Fill fill = Fill::uniform;
};
/// A call that the tests run in every mode. `name` tells samples of one op apart.
struct Sample {
  std::string name;
  std::vector<SampleInput> inputs;
  Attrs attrs;
};
/// A call that must fail, and a part of its message.
struct ErrorSample {
  std::vector<SampleInput> inputs;
  Attrs attrs;
  std::string message;
};

/// An op, whole: rules, gradients, plain kernel and samples. Ops are known by the address of their OpDef.
struct OpDef {
  std::string_view name;
  Kind kind = Kind::Opaque;
  std::string_view doc = "";

  /// Checks the arguments and gives the outputs' shapes and types. The only place that checks.
  Specs (*infer)(SpecPtrs, const Attrs&) = nullptr;
  /// Gradients of the inputs (undefined where not needed), by public ops, so that they differentiate again.
  std::vector<Tensor> (*vjp)(const VjpArgs&) = nullptr;
  /// Forward mode, by public ops. When absent it is derived from vjp.
  Outputs (*jvp)(const JvpArgs&) = nullptr;
  /// The plain ops that a fused op equals. Gives its gradient when vjp is absent, and its kernel where a
  /// backend has none.
  Outputs (*decompose)(const Attrs&, std::span<const Tensor>) = nullptr;
  /// View: the strides on the input's storage, or nothing if they cannot express it.
  std::optional<ViewSpec> (*view)(const TensorSpec&, const Attrs&) = nullptr;
  /// The plain kernel: the specification.
  void (*reference)(const ReferenceArgs&) = nullptr;

  std::vector<Sample> (*samples)() = nullptr;             ///< calls that must work, for the tests
  std::vector<ErrorSample> (*error_samples)() = nullptr;  ///< calls that must fail, with their messages

  Gradient gradient = Gradient::Throws;
  bool takes_absent_grads = false;  ///< vjp is given undefined gradients of outputs in place of zeros
  uint32_t saves_inputs = ~0u;      ///< bit i: vjp reads the values of input i
  uint32_t saves_outputs = 0;       ///< bit i: vjp reads the values of output i
  uint32_t constant_inputs = 0;  ///< bit i: no gradient flows to input i; the tape refuses one that wants it
  int elementwise = -1;          ///< number of the scalar expression, for ops of the elementwise table
  /// For each output, the input whose memory it may take over when nothing else needs that (the kernel reads
  /// an element before it writes the same one); -1: none.
  std::array<int8_t, 4> overwrites = {-1, -1, -1, -1};
  /// The same of any number of outputs, each of which takes over one of the last inputs, in their order.
  bool overwrites_last = false;
  /// Of kind Opaque: whether its kernels refuse no values of the right shapes and types, as indices are.
  bool never_throws = false;

  /// Whether its kernels take inputs whose rows lie apart, see rows_lie_apart().
  bool takes_rows = false;

  /// Multiply-adds of one call, for summaries; absent means none.
  int64_t (*multiply_adds)(SpecPtrs in, const Specs& out, const Attrs&) = nullptr;
};

/// All built-in ops, in the order of the table.
std::span<const OpDef* const> op_table();
/// The op of that name in the table, or null.
const OpDef* find_op(std::string_view name);

/// Makes the tensors of a sample. The same sample gives the same values, always.
std::vector<Tensor> make_sample_inputs(const std::vector<SampleInput>& inputs);

}  // namespace hebb
