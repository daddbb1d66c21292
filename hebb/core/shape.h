// Shapes and strides: up to 8 numbers kept inline, so that no shape ever touches the heap.
#pragma once
#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

namespace hebb {

/// A list of up to 8 extents (or strides, in elements). Value type, no heap.
class Shape {
 public:
  static constexpr int kMaxDims = 8;

  Shape() = default;
  /// Throws Error with more than 8 numbers.
  Shape(std::initializer_list<int64_t> dims) : Shape(std::span<const int64_t>(dims.begin(), dims.size())) {}
  explicit Shape(std::span<const int64_t> dims);
  /// `n` dimensions of extent `value`.
  static Shape filled(int n, int64_t value);

  int ndim() const { return n_; }
  bool empty() const { return n_ == 0; }
  /// The extent of a dimension; negative ones count from the end. Throws Error for one that there is not.
  int64_t operator[](int i) const {
    return d_[static_cast<uint32_t>(i) < static_cast<uint32_t>(n_) ? i : wrapped(i)];
  }
  int64_t& operator[](int i) {
    return d_[static_cast<uint32_t>(i) < static_cast<uint32_t>(n_) ? i : wrapped(i)];
  }
  int64_t back() const { return (*this)[n_ - 1]; }
  const int64_t* begin() const { return d_; }
  const int64_t* end() const { return d_ + n_; }
  int64_t* begin() { return d_; }
  int64_t* end() { return d_ + n_; }
  operator std::span<const int64_t>() const { return {d_, static_cast<size_t>(n_)}; }

  /// Product of the extents; 1 for a 0-d shape. Throws Error if it does not fit 63 bits.
  int64_t numel() const {
    int64_t n = 1;
    bool fits = true;
    for (int i = 0; i < n_; ++i) fits = !__builtin_mul_overflow(n, d_[i], &n) && fits;
    if (!fits) n = numel_of_many();
    return n;
  }
  /// Throws Error when there are 8 dimensions already.
  void push_back(int64_t v);
  /// Inserts an extent before dimension `at`. Throws Error when there are 8 already.
  void insert(int at, int64_t v);
  /// Removes dimension `at`. Throws Error if there is none.
  void erase(int at);

  bool operator==(const Shape& o) const { return n_ == o.n_ && std::equal(d_, d_ + n_, o.d_); }

  /// "2x3x4"; "scalar" for a 0-d shape. As used in messages.
  std::string str() const;

 private:
  int wrapped(int i) const;
  int64_t numel_of_many() const;

  int64_t d_[kMaxDims];
  int32_t n_ = 0;
};

/// Strides count elements, not bytes; they may be 0 (broadcast) or negative (flipped).
using Strides = Shape;

/// Row-major strides of a dense tensor of this shape.
Strides contiguous_strides(const Shape& shape);

/// True if `strides` walk `shape` densely in row-major order (extents of 1 do not count).
bool is_contiguous(const Shape& shape, const Strides& strides);

/// Maps a dimension in [-ndim, ndim) to [0, ndim). Throws Error naming `op` otherwise. A 0-d tensor accepts 0
/// and -1.
int normalize_dim(int64_t dim, int ndim, const char* op);

/// The shape both broadcast to under NumPy's rules. Throws Error naming `op` if they do not.
Shape broadcast_shapes(const Shape& a, const Shape& b, const char* op);

}  // namespace hebb
