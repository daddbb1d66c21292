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

void Shape::push_back(int64_t v) { insert(n_, v); }

void Shape::insert(int at, int64_t v) {
  HEBB_CHECK(n_ < kMaxDims, "[Shape] expected at most {} dimensions, got one more than {}", kMaxDims, str());
  std::copy_backward(d_ + at, d_ + n_, d_ + n_ + 1);
  d_[at] = v;
  ++n_;
}

void Shape::erase(int at) {
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
    step *= std::max<int64_t>(1, shape[i]);
  }
  return s;
}

bool is_contiguous(const Shape& shape, const Strides& strides) {
  int64_t step = 1;
  for (int i = shape.ndim() - 1; i >= 0; --i) {
    if (shape[i] == 0) return true;
    if (shape[i] != 1 && strides[i] != step) return false;
    step *= shape[i];
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
