// Properties over random shapes and strides: views, reductions and broadcasting against a plain model, which
// is a function from an index to a value.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <set>

#include "hebb/ops/creation.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/join.h"
#include "hebb/ops/minmax.h"
#include "hebb/ops/reduce.h"
#include "hebb/ops/view.h"

namespace hebb {
namespace {

using Index = std::vector<int64_t>;
using Values = std::vector<int64_t>;

int64_t draw(int64_t low, int64_t high) { return *rc::gen::inRange(low, high + 1); }

// Up to 4 dimensions of up to 4, now and then an empty one.
Shape random_shape(int64_t least_dims = 0, bool may_be_empty = true) {
  Shape s;
  for (int64_t n = draw(least_dims, 4); n > 0; --n)
    s.push_back(may_be_empty && draw(0, 9) == 0 ? 0 : draw(1, 4));
  return s;
}

// All indexes of a shape, in row-major order.
std::vector<Index> indexes(const Shape& shape) {
  std::vector<Index> all;
  for (int64_t flat = 0; flat < shape.numel(); ++flat) {
    Index at(static_cast<size_t>(shape.ndim()));
    int64_t rest = flat;
    for (int d = shape.ndim() - 1; d >= 0; rest /= shape[d--]) at[d] = rest % shape[d];
    all.push_back(at);
  }
  return all;
}
int64_t flat_index(const Shape& shape, const Index& at) {
  int64_t flat = 0;
  for (int d = 0; d < shape.ndim(); ++d) flat = flat * shape[d] + at[d];
  return flat;
}

// The values of a tensor read one by one through its strides, beside to_vector.
int64_t value_at(const Tensor& t, const Index& at) {
  const int64_t* p = t.data<int64_t>();
  for (int d = 0; d < t.ndim(); ++d) p += at[d] * t.strides()[d];
  return *p;
}
Values list(const Tensor& t) { return t.to_vector<int64_t>(); }

// A tensor of the shape whose element at `at` is f(at), dense or in one of several other layouts.
Tensor random_layout(const Shape& shape) {
  Tensor t = arange(shape.numel());
  switch (shape.ndim() ? draw(0, 3) : 0) {
    case 0: return reshape(t, shape);
    case 1: {  // every second element of a longer last dimension
      Shape wide = shape;
      wide[wide.ndim() - 1] = 2 * wide.back() + 1;
      return slice(reshape(arange(wide.numel()), wide), -1, 1, INT64_MAX, 2);
    }
    case 2: {  // the dimensions in reverse order
      Shape back, dims;
      for (int d = shape.ndim() - 1; d >= 0; --d) back.push_back(shape[d]), dims.push_back(d);
      return permute(reshape(t, back), dims);
    }
    default: return flip(reshape(t, shape), {draw(0, shape.ndim() - 1)});
  }
}

// The result has this shape, and at each index the value of x at `source` of it.
void expect_from(const Tensor& result, const Shape& shape, const Tensor& x,
                 const std::function<Index(const Index&)>& source) {
  RC_ASSERT(result.shape() == shape);
  const Values values = list(result);
  size_t i = 0;
  for (const Index& at : indexes(shape)) {
    RC_ASSERT(values[i++] == value_at(x, source(at)));
    RC_ASSERT(value_at(result, at) == value_at(x, source(at)));
  }
}

// A random way to write `n` as a product.
Shape random_factors(int64_t n) {
  Shape s;
  while (s.ndim() < 5 && (n > 1 || draw(0, 3) == 0)) {
    Index divisors;
    for (int64_t d = 1; d <= n; ++d)
      if (n % d == 0) divisors.push_back(d);
    s.push_back(s.ndim() == 4 ? n : divisors[draw(0, static_cast<int64_t>(divisors.size()) - 1)]);
    n /= s.back();
  }
  if (n > 1) s.push_back(n);
  return s;
}

RC_GTEST_PROP(RandomViews, ReshapeKeepsTheRowMajorOrder, ()) {
  const Tensor x = random_layout(random_shape(0, false));
  const Shape shape = random_factors(x.numel());
  const auto from = indexes(x.shape());
  expect_from(reshape(x, shape), shape, x, [&](const Index& at) { return from[flat_index(shape, at)]; });
}

RC_GTEST_PROP(RandomViews, ReshapeOfADenseTensorCopiesNothing, ()) {
  const Tensor x = zeros(random_shape(0, false));
  RC_ASSERT((reshape(x, random_factors(x.numel())).raw_data() == x.raw_data()));
}

RC_GTEST_PROP(RandomViews, PermuteReordersIndexes, ()) {
  const Tensor x = random_layout(random_shape());
  Shape dims, shape;
  std::vector<int64_t> left;
  for (int d = 0; d < x.ndim(); ++d) left.push_back(d);
  while (!left.empty()) {
    const auto i = left.begin() + draw(0, static_cast<int64_t>(left.size()) - 1);
    dims.push_back(*i);
    shape.push_back(x.shape()[static_cast<int>(*i)]);
    left.erase(i);
  }
  expect_from(permute(x, dims), shape, x, [&](const Index& at) {
    Index from(at.size());
    for (size_t i = 0; i < at.size(); ++i) from[dims[static_cast<int>(i)]] = at[i];
    return from;
  });
}

RC_GTEST_PROP(RandomViews, ExpandRepeats, ()) {
  Shape shape = random_shape(), small;
  const int lead = static_cast<int>(draw(0, shape.ndim()));
  for (int d = lead; d < shape.ndim(); ++d) small.push_back(draw(0, 2) ? shape[d] : 1);
  const Tensor x = random_layout(small);
  const Tensor y = expand(x, shape);
  RC_ASSERT((y.impl()->storage == x.impl()->storage));
  expect_from(y, shape, x, [&](const Index& at) {
    Index from;
    for (int d = 0; d < small.ndim(); ++d) from.push_back(small[d] == 1 ? 0 : at[lead + d]);
    return from;
  });
}

// Python's own rule for x[start:stop:step].
RC_GTEST_PROP(RandomViews, SliceIsPythons, ()) {
  const Tensor x = random_layout(random_shape(1));
  const auto d = static_cast<int>(draw(0, x.ndim() - 1));
  const int64_t n = x.shape()[d], start = draw(-6, 6), stop = draw(-6, 6), step = draw(1, 3);
  auto place = [&](int64_t i) { return std::clamp<int64_t>(i < 0 ? i + n : i, 0, n); };
  Index picked;
  for (int64_t i = place(start); i < place(stop); i += step) picked.push_back(i);
  Shape shape = x.shape();
  shape[d] = static_cast<int64_t>(picked.size());
  expect_from(slice(x, draw(0, 1) ? d : d - x.ndim(), start, stop, step), shape, x, [&](Index at) {
    at[d] = picked[at[d]];
    return at;
  });
}

RC_GTEST_PROP(RandomViews, FlipAndSelectPickFromTheirDimension, ()) {
  const Tensor x = random_layout(random_shape(1, false));
  const auto d = static_cast<int>(draw(0, x.ndim() - 1));
  const int64_t n = x.shape()[d], i = draw(-n, n - 1);
  expect_from(flip(x, {d}), x.shape(), x, [&](Index at) {
    at[d] = n - 1 - at[d];
    return at;
  });
  Shape rest = x.shape();
  rest.erase(d);
  expect_from(select(x, d, i), rest, x, [&](Index at) {
    at.insert(at.begin() + d, i < 0 ? i + n : i);
    return at;
  });
}

RC_GTEST_PROP(RandomViews, SplitAndCatAreInverse, ()) {
  const Tensor x = random_layout(random_shape(1, false));
  const auto parts = split(x, draw(1, 5), 0);
  RC_ASSERT(list(cat(parts, 0)) == list(x));
  RC_ASSERT(list(transpose(transpose(unsqueeze(x, 0)))) == list(x));
}

// x folded over `dims` by a plain loop.
Values folded(const Tensor& x, const std::set<int>& dims, int64_t start,
              const std::function<int64_t(int64_t, int64_t)>& step) {
  Shape kept;
  for (int d = 0; d < x.ndim(); ++d)
    if (!dims.contains(d)) kept.push_back(x.shape()[d]);
  Values out(static_cast<size_t>(kept.numel()), start);
  for (const Index& at : indexes(x.shape())) {
    Index to;
    for (int d = 0; d < x.ndim(); ++d)
      if (!dims.contains(d)) to.push_back(at[d]);
    int64_t& value = out[flat_index(kept, to)];
    value = step(value, value_at(x, at));
  }
  return out;
}

RC_GTEST_PROP(RandomReductions, EqualAPlainLoop, ()) {
  const Tensor x = random_layout(random_shape(1));
  std::set<int> dims;
  Dims list_of_dims;
  for (int d = 0; d < x.ndim(); ++d)
    if (draw(0, 1) || (dims.empty() && d + 1 == x.ndim()))
      dims.insert(d), list_of_dims.push_back(draw(0, 1) ? d : d - x.ndim());
  Shape with_ones = x.shape();
  for (const int d : dims) with_ones[d] = 1;

  const Values sums = folded(x, dims, 0, [](int64_t s, int64_t v) { return s + v; });
  RC_ASSERT(list(sum(x, list_of_dims)) == sums);
  RC_ASSERT(list(sum(to(x, f32), list_of_dims)) == sums);  // small whole numbers: exact
  const Tensor kept = sum(x, list_of_dims, true);
  RC_ASSERT(kept.shape() == with_ones);
  RC_ASSERT(list(kept) == sums);
  RC_ASSERT(list(any(x, list_of_dims)) ==
            folded(x, dims, 0, [](int64_t s, int64_t v) { return int64_t{s || v}; }));
  if (x.numel() > 0)
    RC_ASSERT(list(amax(x, list_of_dims)) ==
              folded(x, dims, INT64_MIN, [](int64_t s, int64_t v) { return std::max(s, v); }));
}

RC_GTEST_PROP(RandomReductions, RunningSumsEqualAPlainLoop, ()) {
  const Tensor x = random_layout(random_shape(1));
  const auto d = static_cast<int>(draw(0, x.ndim() - 1));
  const Values got = list(cumsum(x, d));
  size_t i = 0;
  for (Index at : indexes(x.shape())) {
    int64_t want = 0;
    for (int64_t last = at[d]; last >= 0; --last) want += value_at(x, (at[d] = last, at));
    RC_ASSERT(got[i++] == want);
  }
}

RC_GTEST_PROP(RandomShapes, BroadcastAsAPlainLoop, ()) {
  const Shape shape = random_shape();
  auto smaller = [&] {  // a shape that stretches to `shape`
    Shape s;
    for (auto d = static_cast<int>(draw(0, shape.ndim())); d < shape.ndim(); ++d)
      s.push_back(draw(0, 2) ? shape[d] : 1);
    return s;
  };
  const Tensor a = random_layout(draw(0, 1) ? shape : smaller()), b = random_layout(smaller());
  auto part = [](const Tensor& t, const Index& at) {
    Index from;
    for (int d = 0; d < t.ndim(); ++d)
      from.push_back(t.shape()[d] == 1 ? 0 : at[at.size() - static_cast<size_t>(t.ndim() - d)]);
    return value_at(t, from);
  };
  const Tensor y = add(a, b);
  Values sums, products;
  for (const Index& at : indexes(y.shape())) {
    sums.push_back(part(a, at) + part(b, at));
    products.push_back(part(a, at) * part(b, at));
  }
  RC_ASSERT(list(y) == sums);
  RC_ASSERT(list(mul(a, b)) == products);
  RC_ASSERT(list(add(to(a, f32), to(b, f32))) == sums);
  RC_ASSERT(list(where(a >= 0, a, b)) == list(add(a, b * 0)));
}

}  // namespace
}  // namespace hebb
