// Tensors from nothing: constants, ranges, literals.
#pragma once
#include <initializer_list>
#include <iterator>
#include <span>
#include <type_traits>

#include "hebb/core/tensor.h"

namespace hebb {

/// A tensor filled with one value.
Tensor full(const Shape& shape, double value, DType dtype = f32, Device device = {});
/// Zeros.
Tensor zeros(const Shape& shape, DType dtype = f32);
/// Ones.
Tensor ones(const Shape& shape, DType dtype = f32);
/// Zeros of the shape and type of t.
Tensor zeros_like(const Tensor& t);
/// Ones of the shape and type of t.
Tensor ones_like(const Tensor& t);
/// One value, in the shape and type of t.
Tensor full_like(const Tensor& t, double value);

/// start, start + step, … below `end` (above, for a negative step): ceil((end - start) / step) values.
/// Throws Error for a step of 0 or of the wrong sign.
Tensor arange(double start, double end, double step, DType dtype);
/// The same: i64 if the three numbers are whole, else f32.
Tensor arange(double start, double end, double step = 1);
/// 0, 1, … below `end`.
inline Tensor arange(double end) { return arange(0, end); }
/// `count` evenly spaced values from start to end, both included.
Tensor linspace(double start, double end, int64_t count, DType dtype = f32);
/// Ones on the diagonal of an n x m matrix (m: n).
Tensor eye(int64_t n, int64_t m = -1, DType dtype = f32);

/// What stands between the braces of tensor({…}): a number, or a list of such. It lives as long as the
/// expression that it is written in.
class Literal {
 public:
  /// A number.
  template <class T>
  requires std::is_arithmetic_v<T> Literal(T value) : value_(static_cast<double>(value)) {}
  Literal(std::initializer_list<Literal> items)
      : items_(std::data(items)), count_(static_cast<int64_t>(items.size())) {}
  bool is_list() const { return count_ >= 0; }
  double value() const { return value_; }
  std::span<const Literal> items() const { return {items_, static_cast<size_t>(count_)}; }

 private:
  double value_ = 0;
  const Literal* items_ = nullptr;
  int64_t count_ = -1;
};
/// Numbers as they are written: tensor({1, 2, 3}) is f32 (or `dtype`), tensor({{1, 2}, {3, 4}}) a matrix, and
/// so on to 8 dimensions. They pass through f64. Throws Error for lists of unequal lengths side by side, and
/// for numbers that an integer type does not hold.
Tensor tensor(const Literal& values, DType dtype = f32);
/// A 0-d tensor.
Tensor scalar(double value, DType dtype = f32);

}  // namespace hebb
