#include "hebb/core/tensor.h"

#include <new>

#include "hebb/core/check.h"

namespace hebb {
namespace detail {

TensorImpl::TensorImpl(const TensorSpec& s, Ref<Storage> st, int64_t off)
    : spec(s), storage(std::move(st)), offset(off) {}
TensorImpl::~TensorImpl() = default;

void use_of_undefined() {
  fail(
      "[Tensor] expected a defined tensor, got an undefined one (such as a gradient that no backward() has "
      "given, or a tensor that was moved from)");
}

GradState& grad_state(const Tensor& t) {
  auto& state = t.impl()->grad;
  if (!state) state = std::make_unique<GradState>();
  return *state;
}

}  // namespace detail

Tensor Tensor::empty(const Shape& shape, DType dtype, Device device) {
  for (const int64_t n : shape)
    HEBB_CHECK(n >= 0, "[empty] expected extents of at least 0, got {}", shape.str());
  int64_t bytes = 0;
  HEBB_CHECK(!__builtin_mul_overflow(shape.numel(), int64_t{size_of(dtype)}, &bytes),
             "[empty] expected a tensor of fewer than 2^63 bytes, got {} {}", name_of(dtype), shape.str());
  try {
    return view(make_ref<Storage>(static_cast<size_t>(bytes), device), TensorSpec(shape, dtype, device), 0);
  } catch (const std::bad_alloc&) {
    detail::fail("[empty] expected {} bytes of memory for {} {}, there are not as many", bytes,
                 name_of(dtype), shape.str());
  }
}

Tensor Tensor::meta(const TensorSpec& spec) { return view(nullptr, spec, 0); }

Tensor Tensor::view(Ref<Storage> storage, const TensorSpec& spec, int64_t offset) {
  return Tensor(make_ref<detail::TensorImpl>(spec, std::move(storage), offset));
}

void* Tensor::raw_data() const {
  if (!impl_ || !impl_->storage || impl_->storage->is_traced()) return nullptr;
  return static_cast<char*>(impl_->storage->data()) + impl_->offset * size_of(dtype());
}

void* Tensor::checked_data(DType t, detail::Caller caller) const {
  HEBB_CHECK(defined(), "[data] expected a tensor with values, got an undefined tensor");
  HEBB_CHECK(has_data(), "[data] expected a tensor with values, got only a shape ({} {})", name_of(dtype()),
             shape().str());
  HEBB_CHECK(!is_traced(),
             "[data] expected a value, got one ({} {}) that is known only when the function that is being "
             "compiled runs: it cannot be read in there ({}:{}); choose values by where(), code by shapes",
             name_of(dtype()), shape().str(), caller.file, caller.line);
  HEBB_CHECK(t == dtype(), "[data] expected element type {}, got a tensor of {}", name_of(t),
             name_of(dtype()));
  return raw_data();
}

void* Tensor::writable_data(DType t, detail::Caller caller) {
  void* const data = checked_data(t, caller);
  impl_->storage->touch();
  return data;
}

int64_t Tensor::size(int64_t dim) const {
  HEBB_CHECK(ndim() > 0, "[size] expected a tensor of at least 1 dimension, got a scalar");
  return shape()[normalize_dim(dim, ndim(), "size")];
}

void Tensor::copy_in(const void* values, size_t count) {
  HEBB_CHECK(static_cast<int64_t>(count) == numel(), "[Tensor::from] expected {} values for shape {}, got {}",
             numel(), shape().str(), count);
  std::copy_n(static_cast<const char*>(values), count * static_cast<size_t>(size_of(dtype())),
              static_cast<char*>(raw_data()));
}

void Tensor::copy_out(DType dtype, void* out, detail::Caller caller) const {
  checked_data(this->dtype(), caller);
  detail::copy_values(spec(), raw_data(), TensorSpec(shape(), dtype), out);
}

void Tensor::read_item(double& f, int64_t& i, detail::Caller caller) const {
  HEBB_CHECK(defined() && numel() == 1, "[item] expected a tensor of one element, got {}",
             defined() ? "shape " + shape().str() : "an undefined tensor");
  const void* p = checked_data(dtype(), caller);
  visit_dtype(dtype(), [&]<class T>(T) {
    f = convert_element<double>(*static_cast<const T*>(p));
    i = convert_element<int64_t>(*static_cast<const T*>(p));
  });
}

void Tensor::assign_(const Tensor& source) {
  HEBB_CHECK(defined() && source.defined(), "[assign_] expected two defined tensors");
  HEBB_CHECK(shape() == source.shape(), "[assign_] expected shape {}, got {}", shape().str(),
             source.shape().str());
  HEBB_CHECK(is_leaf(),
             "[assign_] expected state (a parameter or a buffer), got the result of a recorded op");
  if (is_same(source)) return;
  if (source.is_traced()) {  // state of a function that is being compiled: from here on it is that value
    HEBB_CHECK(
        is_traced(),
        "[assign_] expected declared state of the function that is being compiled, got a tensor ({} {}) "
        "from elsewhere",
        name_of(dtype()), shape().str());
    HEBB_CHECK(dtype() == source.dtype(),
               "[assign_] expected {} in a function that is being compiled, got {}", name_of(dtype()),
               name_of(source.dtype()));
    impl_->storage = source.impl_->storage;
    impl_->offset = source.impl_->offset;
    impl_->spec = source.impl_->spec;
    return;
  }
  source.checked_data(source.dtype(), detail::Caller::here());
  const bool shared = !impl_->storage || impl_->storage->use_count() != 1 || !is_contiguous();
  if (shared) {
    Tensor fresh = empty(shape(), dtype(), device());
    detail::copy_values(source.spec(), source.raw_data(), fresh.spec(), fresh.raw_data());
    impl_->storage = fresh.impl_->storage;
    impl_->offset = 0;
    impl_->spec = fresh.impl_->spec;
  } else {
    detail::copy_values(source.spec(), source.raw_data(), spec(), raw_data());
    impl_->storage->touch();
  }
}

bool Tensor::requires_grad() const { return impl_ && impl_->grad && impl_->grad->requires_grad; }
bool Tensor::is_leaf() const { return !checked().grad || !impl_->grad->node; }

Tensor& Tensor::requires_grad_(bool on) {
  HEBB_CHECK(defined(), "[requires_grad_] expected a defined tensor");
  HEBB_CHECK(!on || is_float(dtype()), "[requires_grad_] expected a floating type, got {}", name_of(dtype()));
  HEBB_CHECK(is_leaf(), "[requires_grad_] expected a leaf, got the result of a recorded op; use detach()");
  if (on || impl_->grad) detail::grad_state(*this).requires_grad = on;
  return *this;
}

Tensor Tensor::grad() const { return impl_ && impl_->grad ? impl_->grad->grad : Tensor(); }

void Tensor::set_grad(Tensor g) {
  if (g.defined() || checked().grad) detail::grad_state(*this).grad = std::move(g);
}

Tensor Tensor::detach() const {
  const detail::TensorImpl& i = checked();
  return view(i.storage, i.spec, i.offset);
}

}  // namespace hebb
