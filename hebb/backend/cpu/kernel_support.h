// What the files of kernels share.
#pragma once
#include <algorithm>

#include "hebb/backend/cpu/kernels.h"

namespace hebb::cpu {

/// fn(T{}) for f32 and f64; an empty kernel for other types, which run the op's decompose or plain kernel.
template <class F>
Kernel for_type(DType t, F fn) {
  if (t == f32) return fn(float{});
  if (t == f64) return fn(double{});
  return {};
}

/// A kernel's operand i, and its output i, as elements of T.
template <class T>
const T* input(const void* const* in, int i) {
  return static_cast<const T*>(in[i]);
}
template <class T>
T* output(void* const* out, int i) {
  return static_cast<T*>(out[i]);
}

/// How many items of `ns` nanoseconds are worth a thread: 8 microseconds.
inline int64_t grain(double ns) { return 1 + static_cast<int64_t>(8000 / std::max(1.0, ns)); }

}  // namespace hebb::cpu
