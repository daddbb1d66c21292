// Vector loops of the elementwise expressions on floats.
#pragma once
#include <cstddef>

namespace hebb::cpu {

/// out[i] = expression(a[i], b[i], c[i]) for i < n. Operands that the expression lacks are not read.
/// `out` may be one of the operands.
using ElementwiseLoop = void (*)(float* out, const float* a, const float* b, const float* c, const double* pq,
                                 size_t n);

/// One loop for each detail::Expr, of the best instruction set of this processor.
const ElementwiseLoop* elementwise_loops();

}  // namespace hebb::cpu
