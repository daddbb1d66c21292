// Attributes of the class losses, for kernels, and the check of class indices that every kernel makes.
#pragma once
#include "hebb/core/check.h"
#include "hebb/core/shape.h"
#include "hebb/op/attrs.h"

namespace hebb {

struct ClassLossAttrs {
  int64_t reduction = 1;  // Reduction: none, mean, sum
  int64_t ignore_index = -100;
  double label_smoothing = 0;
  int64_t classes = 0;  // of nll_loss_grad's result
  HEBB_FIELDS(reduction, ignore_index, label_smoothing, classes)
};

namespace detail {

/// Scores [N, C, ...] or [C] beside targets [N, ...] or a scalar: position i has its classes at first(i),
/// `inner` apart.
struct ClassLayout {
  int64_t classes, inner = 1;
  explicit ClassLayout(const Shape& scores) : classes(scores[scores.ndim() > 1 ? 1 : 0]) {
    for (int d = 2; d < scores.ndim(); ++d) inner *= scores[d];
  }
  int64_t first(int64_t i) const { return i / inner * classes * inner + i % inner; }
};

inline void check_class(const char* op, int64_t target, int64_t position, int64_t classes) {
  HEBB_CHECK(target >= 0 && target < classes,
             "[{}] expected class indices from 0 to {} ({} classes), got {} at position {}", op, classes - 1,
             classes, target, position);
}

}  // namespace detail
}  // namespace hebb
