// The one tensor type: a counted handle on storage, shape, strides, element type and gradient state.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "hebb/core/dtype.h"
#include "hebb/core/error.h"
#include "hebb/core/ref_counted.h"
#include "hebb/core/shape.h"
#include "hebb/core/storage.h"

namespace hebb {

class Tensor;

/// What the shape rules of ops see: everything about a tensor but its values.
struct TensorSpec {
  Shape shape;
  Strides strides;
  DType dtype = f32;
  Device device;
  bool contiguous = true;

  TensorSpec() = default;
  /// A dense row-major tensor.
  TensorSpec(const Shape& s, DType t, Device d = {})
      : shape(s), strides(contiguous_strides(s)), dtype(t), device(d) {}
  TensorSpec(const Shape& s, const Strides& st, DType t, Device d)
      : shape(s), strides(st), dtype(t), device(d), contiguous(is_contiguous(s, st)) {}
};

namespace detail {

struct GradState;

/// Where a function was called from, as a last argument with a default.
struct Caller {
  const char* file;
  int line;
  static constexpr Caller here(const char* f = __builtin_FILE(), int l = __builtin_LINE()) { return {f, l}; }
};

[[noreturn]] void use_of_undefined();

struct TensorImpl final : RefCounted {
  TensorSpec spec;
  Ref<Storage> storage;  // null for a tensor that has a shape but no values
  int64_t offset = 0;    // elements
  std::unique_ptr<GradState> grad;

  TensorImpl(const TensorSpec& s, Ref<Storage> st, int64_t off);
  ~TensorImpl() override;
};

}  // namespace detail

/// A handle on an n-dimensional array; copying it is cheap and shares the array. Logical layout is row-major
/// (NCHW for images). Ops never write their inputs; `assign_` is the one mutation.
class Tensor {
 public:
  /// An undefined tensor: no shape, no values. `defined()` is false.
  Tensor() = default;
  explicit Tensor(Ref<detail::TensorImpl> impl) : impl_(std::move(impl)) {}

  /// Uninitialised values.
  static Tensor empty(const Shape& shape, DType dtype = f32, Device device = {});
  /// A shape without values, for shape inference. Reading values throws.
  static Tensor meta(const TensorSpec& spec);
  /// A tensor that shares `storage`.
  static Tensor view(Ref<Storage> storage, const TensorSpec& spec, int64_t offset);

  /// Copies `values` (row-major) into a new tensor. Throws Error if the count is not that of `shape`.
  template <class T>
  static Tensor from(std::span<const T> values, const Shape& shape) {
    Tensor t = empty(shape, dtype_of<T>);
    t.copy_in(values.data(), values.size());
    return t;
  }
  /// The same from a vector.
  template <class T>
  static Tensor from(const std::vector<T>& values, const Shape& shape) {
    static_assert(!std::is_same_v<T, bool>,
                  "std::vector<bool> is not contiguous: use uint8_t and to(boolean)");
    return from(std::span<const T>(values), shape);
  }
  /// A vector of n values as a tensor of shape [n].
  template <class T>
  static Tensor from(const std::vector<T>& values) {
    return from(values, {static_cast<int64_t>(values.size())});
  }

  /// False for a default-made or moved-from tensor, and for the grad() that no backward() has given. Any
  /// other use of such a tensor throws Error.
  bool defined() const { return static_cast<bool>(impl_); }
  const TensorSpec& spec() const { return checked().spec; }
  const Shape& shape() const { return checked().spec.shape; }
  const Strides& strides() const { return checked().spec.strides; }
  DType dtype() const { return checked().spec.dtype; }
  Device device() const { return checked().spec.device; }
  int ndim() const { return checked().spec.shape.ndim(); }
  int64_t numel() const { return checked().spec.shape.numel(); }
  /// Extent of a dimension, which may count from the end (-1 is the last).
  int64_t size(int64_t dim) const;
  bool is_contiguous() const { return checked().spec.contiguous; }
  /// False for a tensor that has a shape but no values.
  bool has_data() const { return static_cast<bool>(checked().storage); }
  /// True for a value of a function that is being compiled: it is known when the compiled function runs.
  bool is_traced() const { return checked().storage && impl_->storage->is_traced(); }

  /// The first element. Throws Error if there are no values, T is not the element type, or the function that
  /// reads it is being compiled.
  template <class T>
  const T* data(detail::Caller caller = detail::Caller::here()) const {
    return static_cast<const T*>(checked_data(dtype_of<T>, caller));
  }
  /// As data(), to fill a tensor that was just made. Changes values that others may share: for code that owns
  /// the tensor. Call it again before you write again: compiled functions keep what they made of a tensor
  /// until the next call.
  template <class T>
  T* mutable_data(detail::Caller caller = detail::Caller::here()) {
    return static_cast<T*>(writable_data(dtype_of<T>, caller));
  }
  /// The first element, of any type. Null for a tensor without values.
  void* raw_data() const;

  /// The value of a one-element tensor, converted to T. Throws Error if there is not exactly one element, or
  /// if the function that reads it is being compiled.
  template <class T>
  T item(detail::Caller caller = detail::Caller::here()) const {
    double f = 0;
    int64_t i = 0;
    read_item(f, i, caller);
    if constexpr (std::is_floating_point_v<T>) return static_cast<T>(f);
    else if constexpr (std::is_same_v<T, bool>) return f != 0;
    else return static_cast<T>(i);
  }
  /// All values in row-major order, converted to T.
  template <class T>
  std::vector<T> to_vector(detail::Caller caller = detail::Caller::here()) const {
    static_assert(!std::is_same_v<T, bool>, "use to_vector<uint8_t>()");
    std::vector<T> out(static_cast<size_t>(numel()));
    copy_out(dtype_of<T>, out.data(), caller);
    return out;
  }

  /// Replaces the values by those of `source` (same shape; converted to this element type). It shows through
  /// every handle of this tensor, never through views taken or values saved for backward before: it is done
  /// in place when nothing shares the storage, else in fresh storage. Throws Error if the shapes differ or
  /// this tensor is the result of a recorded op.
  void assign_(const Tensor& source);

  /// True if gradients flow to this tensor.
  bool requires_grad() const;
  /// Makes this tensor a leaf to which backward() adds gradients. Throws Error unless it is of a floating
  /// type and not the result of a recorded op.
  Tensor& requires_grad_(bool on = true);
  /// The gradient that backward() has accumulated here; undefined if none.
  Tensor grad() const;
  /// Replaces the accumulated gradient; an undefined tensor forgets it.
  void set_grad(Tensor g);
  /// Forgets the accumulated gradient.
  void zero_grad() { set_grad(Tensor()); }
  /// The same values, cut off from the tape.
  Tensor detach() const;
  /// True unless this tensor is the result of a recorded op.
  bool is_leaf() const;

  /// The same handle, not merely equal values.
  bool is_same(const Tensor& o) const { return impl_ == o.impl_; }
  detail::TensorImpl* impl() const { return impl_.get(); }

  /// Text as NumPy prints it; long dimensions are summarised.
  std::string str() const;

 private:
  detail::TensorImpl& checked() const {
    if (!impl_) detail::use_of_undefined();
    return *impl_;
  }
  void copy_in(const void* values, size_t count);
  void copy_out(DType dtype, void* out, detail::Caller caller) const;
  void read_item(double& f, int64_t& i, detail::Caller caller) const;
  void* checked_data(DType t, detail::Caller caller) const;
  void* writable_data(DType t, detail::Caller caller);

  Ref<detail::TensorImpl> impl_;
};

/// Writes t.str().
std::ostream& operator<<(std::ostream& out, const Tensor& t);

namespace detail {

/// Gradient state of a tensor: for a leaf, its gradient; for a result, the tape node that made it.
struct GradState {
  Ref<RefCounted> node;  // autograd's Node; null for a leaf
  int output = 0;        // which of the node's outputs
  bool requires_grad = false;
  Tensor grad;
  Ref<TensorImpl> leaf_of;  // for earlier values of a leaf that was assigned since: where gradients go
};

GradState& grad_state(const Tensor& t);  // made on first use

/// Copies values between tensors of one shape, converting types; any strides. No recording. `out` is written.
void copy_values(const TensorSpec& from, const void* src, const TensorSpec& to, void* dst);

}  // namespace detail
}  // namespace hebb
