// What the files of reductions share: dimension lists, shapes, the plain fold, samples. Not public.
#pragma once
#include <vector>

#include "hebb/ops/elementwise.h"
#include "hebb/ops/op_support.h"
#include "hebb/ops/reduce.h"
#include "hebb/ops/reduce_attrs.h"
#include "hebb/ops/view.h"

namespace hebb::detail {

/// Throws Error for a dimension that does not exist or is named twice. No dimensions means all.
inline ReduceAttrs reduce_attrs(const Tensor& x, const Dims& dims, bool keepdim, const char* op) {
  ReduceAttrs a{0, keepdim};
  for (const int64_t d : dims) {
    const int64_t bit = int64_t{1} << normalize_dim(d, x.ndim(), op);
    HEBB_CHECK(!(a.dims & bit), "[{}] expected each dimension once, got {} twice", op, d);
    a.dims |= bit;
  }
  if (dims.empty()) a.dims = (int64_t{1} << x.ndim()) - 1;
  return a;
}

inline Shape reduced_shape(const Shape& in, const ReduceAttrs& a) {
  Shape out;
  for (int d = 0; d < in.ndim(); ++d) {
    if (!(a.dims >> d & 1)) out.push_back(in[d]);
    else if (a.keepdim) out.push_back(1);
  }
  return out;
}
inline Shape kept_shape(const Shape& in, const ReduceAttrs& a) { return reduced_shape(in, {a.dims, true}); }

inline int64_t folded_count(const Shape& in, const ReduceAttrs& a) {
  int64_t n = 1;
  for (int d = 0; d < in.ndim(); ++d)
    if (a.dims >> d & 1) n *= in[d];
  return n;
}

/// Spreads a reduced tensor over the input's shape again.
inline Tensor spread(const Tensor& g, const Shape& in, const ReduceAttrs& a) {
  return expand(reshape(g, kept_shape(in, a)), in);
}

/// Folds in row-major order of the input: acc = fn(acc, value), from `start`; gives `finish(acc)`.
template <class T, class F, class G>
void fold(const ReferenceArgs& s, T start, F fn, G finish) {
  const auto& a = s.attrs.as<ReduceAttrs>();
  const Shape& in = s.inputs[0].shape();
  const Shape kept = kept_shape(in, a);
  const std::vector<T> v = values<T>(s.inputs[0]);
  std::vector<T> acc(static_cast<size_t>(kept.numel()), start);
  size_t i = 0;
  for_each_index(in, [&](const Shape& at) {
    T& slot = acc[broadcast_offset(at, kept)];
    slot = fn(slot, v[i++]);
  });
  for (T& x : acc) x = finish(x);
  store(s.outputs[0], acc);
}
template <class T, class F>
void fold(const ReferenceArgs& s, T start, F fn) {
  fold<T>(s, start, fn, [](T x) { return x; });
}

inline std::vector<Sample> reduce_samples_from(double low, double high, SampleInput::Fill fill) {
  auto of = [&](const char* name, const Shape& shape, int64_t dims, bool keepdim) {
    return Sample{name, {{shape, low, high, f32, fill}}, ReduceAttrs{dims, keepdim}};
  };
  return {of("rows", {5, 7}, 2, false),
          of("columns", {5, 7}, 1, true),
          of("middle", {3, 4, 5}, 2, false),
          of("outer_inner", {3, 4, 5}, 5, true),
          of("all", {3, 40, 5}, 7, false),
          of("0d", {}, 0, false),
          of("batch_norm", {2, 3, 9, 8}, 13, false)};
}
inline std::vector<Sample> reduce_samples() { return reduce_samples_from(-2, 2, SampleInput::Fill::uniform); }

}  // namespace hebb::detail
