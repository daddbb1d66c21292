// What op files share: type and shape rules, plain kernels on numbers, samples. Not public.
#pragma once
#include <array>
#include <utility>

#include "hebb/core/check.h"
#include "hebb/op/dispatch.h"
#include "hebb/op/op.h"

namespace hebb::detail {

struct NoAttrs {
  bool unused = false;
  HEBB_FIELDS(unused)
};

/// PyTorch's promotion: tensors with dimensions decide, 0-d ones only by a higher kind (bool, integer,
/// float).
DType result_type(SpecPtrs in);
/// f32 for integers and bool, else the type itself.
inline DType float_type(DType t) { return is_float(t) ? t : f32; }

/// Throws unless the spec is of a floating type; names op and operand.
void expect_float(const TensorSpec& s, const char* op, const char* operand);
/// Throws unless the spec is i64 (or i32): indices.
void expect_index(const TensorSpec& s, const char* op, const char* operand);
/// Throws unless both are of one type.
void expect_same_type(const TensorSpec& a, const TensorSpec& b, const char* op);

/// Values of a tensor as plain numbers, dense row-major. T is double or int64_t.
template <class T>
std::vector<T> values(const Tensor& t) {
  return t.to_vector<T>();
}
/// Writes plain numbers into a dense output, converting to its type.
template <class T>
void store(Tensor& out, const std::vector<T>& v) {
  copy_values(TensorSpec(out.shape(), dtype_of<T>), v.data(), out.spec(), out.raw_data());
}
/// Calls fn.template operator()<T>() with T = int64_t for integers and bool, else double: what plain kernels
/// compute in.
template <class F>
void with_plain_type(DType t, F&& fn) {
  if (is_float(t)) fn.template operator()<double>();
  else fn.template operator()<int64_t>();
}

/// Calls fn(index) for each place of `shape` in row-major order; index is an array of coordinates.
template <class F>
void for_each_index(const Shape& shape, F&& fn) {
  Shape index = Shape::filled(shape.ndim(), 0);
  for (int64_t i = 0, n = shape.numel(); i < n; ++i) {
    fn(static_cast<const Shape&>(index));
    for (int d = shape.ndim() - 1; d >= 0 && ++index[d] == shape[d]; --d) index[d] = 0;
  }
}
/// Row-major position of `index` in `shape`, where extents of 1 repeat (broadcast) and leading dimensions may
/// lack.
int64_t broadcast_offset(const Shape& index, const Shape& shape);

}  // namespace hebb::detail
