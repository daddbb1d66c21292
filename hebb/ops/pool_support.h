// Checks and sizes that the pooling ops share. Not public.
#pragma once
#include "hebb/ops/op_support.h"

namespace hebb::detail {

/// Throws unless the spec is [N, C, H, W] or [C, H, W] of a floating type.
inline void expect_planes(const TensorSpec& s, const char* op) {
  expect_float(s, op, "an input");
  HEBB_CHECK(s.shape.ndim() == 3 || s.shape.ndim() == 4,
             "[{}] expected an input of 3 or 4 dimensions (CHW or NCHW), got {}", op, s.shape.str());
}

/// Height (axis 0) or width (axis 1) of the planes.
inline int64_t plane_extent(const Shape& s, int axis) { return s[s.ndim() - 2 + axis]; }
inline std::array<int64_t, 2> plane_of(const Shape& s) { return {plane_extent(s, 0), plane_extent(s, 1)}; }
inline int64_t planes_of(const Shape& s) {
  int64_t n = 1;
  for (int d = 0; d < s.ndim() - 2; ++d) n *= s[d];
  return n;
}
/// The same leading dimensions with other planes.
inline Shape with_plane(Shape s, std::array<int64_t, 2> plane) {
  s[s.ndim() - 2] = plane[0];
  s[s.ndim() - 1] = plane[1];
  return s;
}
inline Specs planes_spec(const TensorSpec& s, std::array<int64_t, 2> plane) {
  return TensorSpec(with_plane(s.shape, plane), s.dtype, s.device);
}

inline int64_t floor_quotient(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }

/// How many windows an axis holds; checks them.
template <class A>
int64_t pooled_extent(const A& a, int axis, int64_t dilation, int64_t in, const char* op) {
  const int64_t kernel = a.kernel[axis], stride = a.stride[axis], padding = a.padding[axis];
  HEBB_CHECK(kernel >= 1 && stride >= 1 && dilation >= 1,
             "[{}] expected kernel, stride and dilation of at least 1, got {}, {} and {}", op, kernel, stride,
             dilation);
  HEBB_CHECK(padding >= 0 && padding <= kernel / 2,
             "[{}] expected padding of at least 0 and at most half the kernel ({}), got {}", op, kernel,
             padding);
  const int64_t room = in + 2 * padding - dilation * (kernel - 1) - 1;
  int64_t out = floor_quotient(room + (a.ceil_mode ? stride - 1 : 0), stride) + 1;
  if (a.ceil_mode && (out - 1) * stride >= in + padding) --out;  // it would start in the padding
  HEBB_CHECK(in > 0 && out >= 1, "[{}] expected windows that fit into {} + 2 * {} places, got {}", op, in,
             padding, dilation * (kernel - 1) + 1);
  return out;
}

/// Window `i` of `out` adaptive windows over `in` places.
inline int64_t adaptive_begin(int64_t i, int64_t in, int64_t out) { return i * in / out; }
inline int64_t adaptive_end(int64_t i, int64_t in, int64_t out) { return ((i + 1) * in + out - 1) / out; }

template <class A>
void check_adaptive(const A& a, const TensorSpec& x, const char* op) {
  expect_planes(x, op);
  for (int axis = 0; axis < 2; ++axis) {
    HEBB_CHECK(a.output[axis] >= 1, "[{}] expected an output size of at least 1, got {}", op, a.output[axis]);
    HEBB_CHECK(plane_extent(x.shape, axis) >= 1, "[{}] expected planes that are not empty, got {}", op,
               x.shape.str());
  }
}

}  // namespace hebb::detail
