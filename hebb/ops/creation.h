// Tensors from nothing: constants, ranges, literals.
#pragma once
#include <initializer_list>

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
Tensor arange(double start, double end, double step = 1, DType dtype = i64);
/// 0, 1, … end - 1, i64.
inline Tensor arange(int64_t end) { return arange(0, static_cast<double>(end)); }
/// `count` evenly spaced values from start to end, both included.
Tensor linspace(double start, double end, int64_t count, DType dtype = f32);
/// Ones on the diagonal of an n x m matrix (m: n).
Tensor eye(int64_t n, int64_t m = -1, DType dtype = f32);

/// Literals: tensor({1, 2, 3}) is f32 (or `dtype`), tensor({{1, 2}, {3, 4}}) a matrix. Throws Error for
/// ragged rows.
Tensor tensor(std::initializer_list<double> values, DType dtype = f32);
/// A matrix, by its rows.
Tensor tensor(std::initializer_list<std::initializer_list<double>> rows, DType dtype = f32);
/// A 0-d tensor.
Tensor scalar(double value, DType dtype = f32);

}  // namespace hebb
