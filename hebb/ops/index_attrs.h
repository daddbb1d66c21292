// Attributes of the ops that place and pick elements, and the check of indices, for kernels.
#pragma once
#include "hebb/core/tensor.h"
#include "hebb/op/attrs.h"
#include "hebb/ops/reduce_attrs.h"

namespace hebb {

struct CatAttrs {
  int64_t dim = 0;
  HEBB_FIELDS(dim)
};
struct PadAttrs {
  Shape before, after;  // elements added on either side of each dimension
  double value = 0;
  HEBB_FIELDS(before, after, value)
};
/// Of gather, scatter_add, index_select and index_add.
struct IndexAttrs {
  int64_t dim = 0;  // counted from the front
  HEBB_FIELDS(dim)
};
struct OneHotAttrs {
  int64_t num_classes = 0;
  HEBB_FIELDS(num_classes)
};
struct TriangleAttrs {
  int64_t diagonal = 0;  // 0 is the main one, above it positive
  HEBB_FIELDS(diagonal)
};
struct EmbeddingAttrs {
  bool has_padding = false;
  int64_t padding_idx = 0;  // may count from the end
  HEBB_FIELDS(has_padding, padding_idx)
};

namespace detail {
/// Throws Error naming the op, the first position and the value unless all `count` indices (i32 or i64) lie
/// in [0, extent). Kernels call it before they write anything.
void check_indices(const char* op, const void* indices, DType dtype, int64_t count, int64_t extent);
}  // namespace detail

}  // namespace hebb
