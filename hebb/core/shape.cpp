#include "hebb/core/shape.h"

#include "hebb/core/check.h"

namespace hebb {

Shape::Shape(std::span<const int64_t> dims) {
  HEBB_CHECK(dims.size() <= kMaxDims, "[Shape] expected at most {} dimensions, got {}", kMaxDims,
             dims.size());
  n_ = static_cast<int32_t>(dims.size());
  std::copy(dims.begin(), dims.end(), d_);
}

Shape Shape::filled(int n, int64_t value) {
  Shape s;
  for (int i = 0; i < n; ++i) s.push_back(value);
  return s;
}

int Shape::wrapped(int i) const {
  HEBB_CHECK(i < 0 && i >= -n_, "[Shape] expected a dimension in [{}, {}] of {}, got {}", -n_, n_ - 1, str(),
             i);
  return i + n_;
}

// The product as it is in whole numbers: overflow does not count beside a 0.
int64_t Shape::numel_of_many() const {
  HEBB_CHECK(std::find(begin(), end(), 0) != end(), "[Shape] expected fewer than 2^63 elements, got {}",
             str());
  return 0;
}

void Shape::push_back(int64_t v) { insert(n_, v); }

void Shape::insert(int at, int64_t v) {
  HEBB_CHECK(n_ < kMaxDims, "[Shape] expected at most {} dimensions, got one more than {}", kMaxDims, str());
  HEBB_CHECK(at >= 0 && at <= n_, "[Shape] expected a place in [0, {}] of {}, got {}", n_, str(), at);
  std::copy_backward(d_ + at, d_ + n_, d_ + n_ + 1);
  d_[at] = v;
  ++n_;
}

void Shape::erase(int at) {
  HEBB_CHECK(at >= 0 && at < n_, "[Shape] expected a dimension in [0, {}] of {}, got {}", n_ - 1, str(), at);
  std::copy(d_ + at + 1, d_ + n_, d_ + at);
  --n_;
}

std::string Shape::str() const {
  return n_ == 0 ? "scalar" : fmt::format("{}", fmt::join(begin(), end(), "x"));
}

Strides contiguous_strides(const Shape& shape) {
  Strides s = shape;
  int64_t step = 1;
  for (int i = shape.ndim() - 1; i >= 0; --i) {
    s[i] = step;
    if (__builtin_mul_overflow(step, std::max<int64_t>(1, shape[i]), &step)) step = 0;  // numel() throws
  }
  return s;
}

bool is_contiguous(const Shape& shape, const Strides& strides) {
  int64_t step = 1;
  for (int i = shape.ndim() - 1; i >= 0; --i) {
    if (shape[i] == 0) return true;
    if (shape[i] != 1 && strides[i] != step) return false;
    if (__builtin_mul_overflow(step, shape[i], &step)) return false;
  }
  return true;
}

int normalize_dim(int64_t dim, int ndim, const char* op) {
  const int n = std::max(1, ndim);
  HEBB_CHECK(dim >= -n && dim < n, "[{}] expected a dimension in [{}, {}], got {}", op, -n, n - 1, dim);
  return static_cast<int>(dim < 0 ? dim + n : dim);
}

Shape broadcast_shapes(const Shape& a, const Shape& b, const char* op) {
  if (a == b) return a;
  const Shape& longer = a.ndim() >= b.ndim() ? a : b;
  const Shape& shorter = a.ndim() >= b.ndim() ? b : a;
  Shape out = longer;
  const int shift = longer.ndim() - shorter.ndim();
  for (int i = 0; i < shorter.ndim(); ++i) {
    const int64_t x = longer[shift + i], y = shorter[i];
    HEBB_CHECK(x == y || x == 1 || y == 1, "[{}] expected shapes that broadcast together, got {} and {}", op,
               a.str(), b.str());
    out[shift + i] = x == 1 ? y : x;
  }
  return out;
}

}  // namespace hebb
