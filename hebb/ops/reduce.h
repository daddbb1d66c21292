// Folding dimensions. An empty list of dimensions means all of them; negative ones count from the end. With
// `keepdim` folded dimensions stay, with extent 1.
#pragma once
#include <concepts>
#include <initializer_list>
#include <type_traits>
#include <utility>
#include <vector>

#include "hebb/core/tensor.h"

namespace hebb {

/// Dimensions of a tensor, a number or a list: sum(x, 1), sum(x, {0, -1}).
struct Dims : std::vector<int64_t> {
  Dims() = default;
  Dims(std::initializer_list<int64_t> dims) : vector(dims) {}
  Dims(std::vector<int64_t> dims) : vector(std::move(dims)) {}
  /// One dimension. Not of a bool: sum(x, true) is a mistake.
  template <std::integral T>
  requires(!std::is_same_v<T, bool>) Dims(T dim) : vector{static_cast<int64_t>(dim)} {}
};

/// Sum over `dims`. Integers and bool are summed in i64. An empty sum is 0.
Tensor sum(const Tensor& x, const Dims& dims = {}, bool keepdim = false);
/// Arithmetic mean over `dims`; a floating type. NaN over nothing.
Tensor mean(const Tensor& x, const Dims& dims = {}, bool keepdim = false);
/// Product over `dims`. Integers and bool are multiplied in i64. An empty product is 1. The gradient is exact
/// where elements are 0.
Tensor prod(const Tensor& x, const Dims& dims = {}, bool keepdim = false);

/// True (bool; u8 for u8) where any element is not 0; NaN is not 0. False over nothing.
Tensor any(const Tensor& x, const Dims& dims = {}, bool keepdim = false);
/// True (bool; u8 for u8) where no element is 0. True over nothing.
Tensor all(const Tensor& x, const Dims& dims = {}, bool keepdim = false);

/// Variance over `dims` of a floating type, in two passes: the sum of squared deviations from the mean,
/// divided by max(0, count - correction). correction 1 (Bessel's) estimates the variance of a population; 0
/// is that of the values themselves. NaN for one value and correction 1.
Tensor var(const Tensor& x, const Dims& dims = {}, double correction = 1, bool keepdim = false);
/// Standard deviation, the root of var(). Its gradient is 0 where all values are equal.
Tensor std(const Tensor& x, const Dims& dims = {}, double correction = 1, bool keepdim = false);

/// log(sum(e^x)) over `dims` without overflow; integers give f32. -inf over nothing.
Tensor logsumexp(const Tensor& x, const Dims& dims = {}, bool keepdim = false);

/// The p-norm over `dims` of a floating type: (sum |x|^p)^(1/p). p = infinity gives the largest |x|,
/// -infinity the smallest, 0 the number of elements that are not 0. Its gradient is 0 where all elements
/// are 0. Throws Error if p is infinite and there is nothing to fold.
Tensor norm(const Tensor& x, double p = 2, const Dims& dims = {}, bool keepdim = false);

/// Running sums along `dim`: element i is the sum of elements 0..i. Integers and bool are summed in i64.
Tensor cumsum(const Tensor& x, int64_t dim);

}  // namespace hebb
