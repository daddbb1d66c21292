#include "hebb/ops/sort.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "hebb/ops/creation.h"
#include "hebb/ops/index.h"
#include "hebb/ops/op_support.h"
#include "hebb/ops/reduce_attrs.h"
#include "hebb/ops/sort_attrs.h"
#include "hebb/ops/table.h"

namespace hebb {

using namespace detail;

namespace {

// A strict order in which NaN is the largest.
template <class T>
bool less(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) return a < b || (std::isnan(b) && !std::isnan(a));
  else return a < b;
}

// The first k of each sorted line.
template <class T>
void sort_lines(const ReferenceArgs& s, const DimSplit& d, int64_t k, bool descending) {
  const std::vector<T> v = values<T>(s.inputs[0]);
  std::vector<T> sorted(static_cast<size_t>(d.outer * k * d.inner));
  std::vector<int64_t> from(sorted.size()), order(static_cast<size_t>(d.n));
  for (int64_t o = 0; o < d.outer; ++o) {
    for (int64_t j = 0; j < d.inner; ++j) {
      const T* line = v.data() + o * d.n * d.inner + j;
      auto before = [&](int64_t a, int64_t b) {
        const T x = line[a * d.inner], y = line[b * d.inner];
        return descending ? less(y, x) : less(x, y);
      };
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(), before);
      for (int64_t i = 0; i < k; ++i) {
        const int64_t to = (o * k + i) * d.inner + j;
        sorted[to] = line[order[i] * d.inner];
        from[to] = order[i];
      }
    }
  }
  store(s.outputs[0], sorted);
  store(s.outputs[1], from);
}

// Both ops: the gradient goes back to where each value came from.
template <class A>
std::vector<Tensor> vjp_lines(const VjpArgs& s) {
  return {scatter_add(zeros(s.inputs[0].shape(), s.grads[0].dtype()), s.attrs.as<A>().dim, s.outputs[1],
                      s.grads[0])};
}
template <class A>
Outputs jvp_lines(const JvpArgs& s) {
  return {gather(s.tangents[0], s.attrs.as<A>().dim, s.outputs[1]), Tensor()};
}

SampleInput distinct(const Shape& shape) { return {shape, -2, 2, f32, SampleInput::Fill::distinct}; }

ValuesAndIndices both(const Outputs& out) { return {out[0], out[1]}; }

}  // namespace

namespace ops {

const OpDef sort{
    .name = "sort",
    .doc = "elements in order along a dimension, and their positions before; stable",
    .infer =
        [](SpecPtrs in, const Attrs&) {
          const TensorSpec& x = *in[0];
          return Specs{TensorSpec(x.shape, x.dtype, x.device), TensorSpec(x.shape, i64, x.device)};
        },
    .vjp = vjp_lines<SortAttrs>,
    .jvp = jvp_lines<SortAttrs>,
    .reference =
        [](const ReferenceArgs& s) {
          const auto& a = s.attrs.as<SortAttrs>();
          const DimSplit d(s.inputs[0].shape(), a.dim);
          with_plain_type(s.inputs[0].dtype(), [&]<class T>() { sort_lines<T>(s, d, d.n, a.descending); });
        },
    .samples = []() -> std::vector<Sample> {
      return {{"last", {distinct({3, 7})}, SortAttrs{1, false}},
              {"first", {distinct({5, 4})}, SortAttrs{0, true}},
              {"middle", {distinct({2, 5, 3})}, SortAttrs{1, false}},
              {"0d", {distinct({})}, SortAttrs{0, false}}};
    },
    .saves_inputs = 0,
    .saves_outputs = 2};

const OpDef topk{
    .name = "topk",
    .doc = "the k largest or smallest elements along a dimension, and their positions",
    .infer =
        [](SpecPtrs in, const Attrs& attrs) {
          const auto& a = attrs.as<TopkAttrs>();
          Shape shape = in[0]->shape;
          const int64_t n = shape.empty() ? 1 : shape[static_cast<int>(a.dim)];
          HEBB_CHECK(a.k >= (shape.empty() ? 1 : 0) && a.k <= n,
                     "[topk] expected k in [{}, {}] along dimension {} of shape {}, got {}",
                     shape.empty() ? 1 : 0, n, a.dim, shape.str(), a.k);
          if (!shape.empty()) shape[static_cast<int>(a.dim)] = a.k;
          return Specs{TensorSpec(shape, in[0]->dtype, in[0]->device), TensorSpec(shape, i64, in[0]->device)};
        },
    .vjp = vjp_lines<TopkAttrs>,
    .jvp = jvp_lines<TopkAttrs>,
    .reference =
        [](const ReferenceArgs& s) {
          const auto& a = s.attrs.as<TopkAttrs>();
          const DimSplit d(s.inputs[0].shape(), a.dim);
          with_plain_type(s.inputs[0].dtype(), [&]<class T>() { sort_lines<T>(s, d, a.k, a.largest); });
        },
    .samples = []() -> std::vector<Sample> {
      return {{"last", {distinct({3, 7})}, TopkAttrs{3, 1, true}},
              {"smallest", {distinct({5, 4})}, TopkAttrs{2, 0, false}},
              {"middle", {distinct({2, 5, 3})}, TopkAttrs{5, 1, true}}};
    },
    .error_samples = []() -> std::vector<ErrorSample> {
      return {
          {{{{2, 3}}}, TopkAttrs{4, 1, true}, "expected k in [0, 3] along dimension 1 of shape 2x3, got 4"},
          {{{{2, 3}}}, TopkAttrs{-1, 0, true}, "expected k in [0, 2]"}};
    },
    .saves_inputs = 0,
    .saves_outputs = 2};

}  // namespace ops

ValuesAndIndices sort(const Tensor& x, int64_t dim, bool descending) {
  const Tensor in[] = {x};
  return both(apply(ops::sort, SortAttrs{normalize_dim(dim, x.ndim(), "sort"), descending}, in));
}
Tensor argsort(const Tensor& x, int64_t dim, bool descending) { return sort(x, dim, descending).indices; }
ValuesAndIndices topk(const Tensor& x, int64_t k, int64_t dim, bool largest) {
  const Tensor in[] = {x};
  return both(apply(ops::topk, TopkAttrs{k, normalize_dim(dim, x.ndim(), "topk"), largest}, in));
}

}  // namespace hebb
