#include "hebb/ops/join.h"

#include <algorithm>

#include "hebb/core/parallel.h"
#include "hebb/ops/creation.h"
#include "hebb/ops/index.h"
#include "hebb/ops/index_attrs.h"
#include "hebb/ops/op_support.h"
#include "hebb/ops/table.h"
#include "hebb/ops/view.h"

namespace hebb {

using namespace detail;

namespace {

bool is_nothing(const Shape& s) { return s.ndim() == 1 && s[0] == 0; }

// The part of a dense tensor that starts at `start` and has the shape `part`.
void copy_into(const Tensor& out, const Shape& start, const TensorSpec& part, const void* values) {
  int64_t offset = 0;
  for (int d = 0; d < start.ndim(); ++d) offset += start[d] * out.strides()[d];
  const TensorSpec place(part.shape, out.strides(), out.dtype(), out.device());
  copy_values(part, values, place, static_cast<char*>(out.raw_data()) + offset * size_of(out.dtype()));
}

Specs infer_cat(SpecPtrs in, const Attrs& attrs) {
  HEBB_CHECK(!in.empty(), "[cat] expected at least one tensor, got none");
  const int dim = static_cast<int>(attrs.as<CatAttrs>().dim);
  Shape shape = in[0]->shape;
  for (const TensorSpec* s : in) {
    HEBB_CHECK(s->shape.ndim() > 0, "[cat] expected tensors with dimensions, got a 0-d tensor");
    if (is_nothing(shape)) shape = s->shape;
  }
  HEBB_CHECK(dim < shape.ndim(), "[cat] expected a dimension of {}, got {}", shape.str(), dim);
  int64_t total = 0;
  DType type = in[0]->dtype;
  for (size_t i = 0; i < in.size(); ++i) {
    type = promote(type, in[i]->dtype);
    if (is_nothing(in[i]->shape)) continue;
    Shape other = in[i]->shape;
    if (other.ndim() == shape.ndim()) other[dim] = shape[dim];
    HEBB_CHECK(other == shape,
               "[cat] expected shapes that differ in dimension {} only, got {} and {} (tensor {})", dim,
               shape.str(), in[i]->shape.str(), i);
    total += in[i]->shape[dim];
  }
  shape[dim] = total;
  return TensorSpec(shape, type, in[0]->device);
}

Specs infer_pad(SpecPtrs in, const Attrs& attrs) {
  const auto& a = attrs.as<PadAttrs>();
  Shape shape = in[0]->shape;
  HEBB_CHECK(a.before.ndim() == shape.ndim() && a.after.ndim() == shape.ndim(),
             "[pad] expected amounts for {} dimensions, got {} and {}", shape.ndim(), a.before.ndim(),
             a.after.ndim());
  for (int d = 0; d < shape.ndim(); ++d) {
    HEBB_CHECK(a.before[d] >= 0 && a.after[d] >= 0,
               "[pad] expected amounts of at least 0, got {} and {} for dimension {}; use slice() to cut",
               a.before[d], a.after[d], d);
    shape[d] += a.before[d] + a.after[d];
  }
  return TensorSpec(shape, in[0]->dtype, in[0]->device);
}

Specs infer_triangle(SpecPtrs in, const char* op) {
  HEBB_CHECK(in[0]->shape.ndim() >= 2, "[{}] expected at least 2 dimensions, got {}", op, in[0]->shape.str());
  return TensorSpec(in[0]->shape, in[0]->dtype, in[0]->device);
}
template <bool kLower>
void reference_triangle(const ReferenceArgs& s) {
  const int64_t diagonal = s.attrs.as<TriangleAttrs>().diagonal;
  const Shape& shape = s.inputs[0].shape();
  with_plain_type(s.inputs[0].dtype(), [&]<class T>() {
    std::vector<T> v = values<T>(s.inputs[0]);
    size_t i = 0;
    for_each_index(shape, [&](const Shape& at) {
      const int64_t above = at.back() - at[at.ndim() - 2];  // number of the diagonal that it lies on
      if (kLower ? above > diagonal : above < diagonal) v[i] = 0;
      ++i;
    });
    store(s.outputs[0], v);
  });
}
std::vector<Sample> triangle_samples() {
  return {{"wide", {{{4, 6}}}, TriangleAttrs{0}},
          {"above", {{{2, 5, 4}}}, TriangleAttrs{1}},
          {"below", {{{5, 5}}}, TriangleAttrs{-2}}};
}
std::vector<ErrorSample> triangle_errors() {
  return {{{{{3}}}, TriangleAttrs{0}, "expected at least 2 dimensions, got 3"}};
}

// Where the elements of a padded dimension come from, for the modes that repeat elements.
Tensor padded_positions(int64_t n, int64_t before, int64_t after, PadMode mode) {
  std::vector<int64_t> from;
  for (int64_t i = -before; i < n + after; ++i) {
    int64_t k = i;
    if (mode == PadMode::replicate) k = std::clamp<int64_t>(i, 0, n - 1);
    else if (mode == PadMode::circular) k = i < 0 ? i + n : i >= n ? i - n : i;
    else k = i < 0 ? -i : i >= n ? 2 * (n - 1) - i : i;
    from.push_back(k);
  }
  return Tensor::from(from);
}

}  // namespace

namespace ops {

const OpDef cat{
    .name = "cat",
    .doc = "tensors one after the other along a dimension",
    .infer = infer_cat,
    .vjp = [](const VjpArgs& s) -> std::vector<Tensor> {
      const int64_t dim = s.attrs.as<CatAttrs>().dim;
      std::vector<Tensor> out(s.inputs.size());
      int64_t at = 0;
      for (size_t i = 0; i < out.size(); ++i) {
        const Shape& shape = s.inputs[i].shape();
        if (is_nothing(shape)) {
          if (s.needs[i]) out[i] = zeros(shape, s.grads[0].dtype());
          continue;
        }
        const int64_t n = shape[static_cast<int>(dim)];
        if (s.needs[i]) out[i] = narrow(s.grads[0], dim, at, n);
        at += n;
      }
      return out;
    },
    .jvp = [](const JvpArgs& s) -> Outputs {
      std::vector<Tensor> t;
      for (size_t i = 0; i < s.inputs.size(); ++i)
        t.push_back(s.tangents[i].defined() ? s.tangents[i]
                                            : zeros(s.inputs[i].shape(), s.inputs[i].dtype()));
      return apply(cat, s.attrs, t);
    },
    .reference =
        [](const ReferenceArgs& s) {
          Shape start = Shape::filled(s.outputs[0].ndim(), 0);
          const int dim = static_cast<int>(s.attrs.as<CatAttrs>().dim);
          for (const Tensor& t : s.inputs) {
            if (is_nothing(t.shape())) continue;
            copy_into(s.outputs[0], start, t.spec(), t.raw_data());
            start[dim] += t.shape()[dim];
          }
        },
    .samples = []() -> std::vector<Sample> {
      return {{"rows", {{{2, 3}}, {{1, 3}}, {{4, 3}}}, CatAttrs{0}},
              {"last", {{{2, 3}}, {{2, 1}}}, CatAttrs{1}},
              {"channels", {{{2, 3, 4, 4}}, {{2, 1, 4, 4}}}, CatAttrs{1}},
              {"many", {{{2}}, {{1}}, {{3}}, {{2}}, {{2}}, {{1}}, {{1}}, {{4}}, {{1}}, {{2}}}, CatAttrs{0}}};
    },
    .error_samples = []() -> std::vector<ErrorSample> {
      return {{{}, CatAttrs{0}, "expected at least one tensor, got none"},
              {{{{}}, {{}}}, CatAttrs{0}, "expected tensors with dimensions, got a 0-d tensor"},
              {{{{2}}, {{2}}}, CatAttrs{1}, "expected a dimension of 2, got 1"},
              {{{{2, 3}}, {{2, 4}}},
               CatAttrs{0},
               "expected shapes that differ in dimension 0 only, got 2x3 and 2x4 (tensor 1)"}};
    },
    .saves_inputs = 0,
    .never_throws = true};

const OpDef pad{
    .name = "pad",
    .doc = "constant elements added around",
    .infer = infer_pad,
    .vjp = [](const VjpArgs& s) -> std::vector<Tensor> {
      const auto& a = s.attrs.as<PadAttrs>();
      Tensor g = s.grads[0];
      for (int d = 0; d < g.ndim(); ++d) g = narrow(g, d, a.before[d], s.inputs[0].shape()[d]);
      return {g};
    },
    .jvp = [](const JvpArgs& s) -> Outputs {
      PadAttrs a = s.attrs.as<PadAttrs>();
      a.value = 0;
      return apply1(pad, a, {s.tangents[0]});
    },
    .reference =
        [](const ReferenceArgs& s) {
          const auto& a = s.attrs.as<PadAttrs>();
          Tensor& out = s.outputs[0];
          visit_dtype(out.dtype(), [&]<class T>(T) {
            const T value = convert_element<T>(a.value);
            T* p = out.mutable_data<T>();
            parallel_for(out.numel(), 1 << 16, [&](int64_t b, int64_t e) { std::fill(p + b, p + e, value); });
          });
          copy_into(out, a.before, s.inputs[0].spec(), s.inputs[0].raw_data());
        },
    .samples = []() -> std::vector<Sample> {
      return {{"image", {{{2, 3, 4, 5}}}, PadAttrs{{0, 0, 1, 2}, {0, 0, 3, 0}, 0}},
              {"value", {{{3}}}, PadAttrs{{1}, {2}, -1.5}}};
    },
    .error_samples = []() -> std::vector<ErrorSample> {
      return {
          {{{{2, 3}}}, PadAttrs{{1}, {1}, 0}, "expected amounts for 2 dimensions, got 1 and 1"},
          {{{{3}}}, PadAttrs{{-1}, {1}, 0}, "expected amounts of at least 0, got -1 and 1 for dimension 0"}};
    },
    .saves_inputs = 0,
    .never_throws = true};

const OpDef tril{
    .name = "tril",
    .doc = "lower triangle of the last two dimensions",
    .infer = [](SpecPtrs in, const Attrs&) { return infer_triangle(in, "tril"); },
    .vjp = [](const VjpArgs& s) -> std::vector<Tensor> { return {apply1(tril, s.attrs, {s.grads[0]})}; },
    .jvp = [](const JvpArgs& s) -> Outputs { return apply1(tril, s.attrs, {s.tangents[0]}); },
    .reference = reference_triangle<true>,
    .samples = triangle_samples,
    .error_samples = triangle_errors,
    .saves_inputs = 0,
    .never_throws = true};

const OpDef triu{
    .name = "triu",
    .doc = "upper triangle of the last two dimensions",
    .infer = [](SpecPtrs in, const Attrs&) { return infer_triangle(in, "triu"); },
    .vjp = [](const VjpArgs& s) -> std::vector<Tensor> { return {apply1(triu, s.attrs, {s.grads[0]})}; },
    .jvp = [](const JvpArgs& s) -> Outputs { return apply1(triu, s.attrs, {s.tangents[0]}); },
    .reference = reference_triangle<false>,
    .samples = triangle_samples,
    .error_samples = triangle_errors,
    .saves_inputs = 0,
    .never_throws = true};

}  // namespace ops

Tensor cat(const std::vector<Tensor>& tensors, int64_t dim) {
  int ndim = 0;
  for (const Tensor& t : tensors) {
    HEBB_CHECK(t.defined(), "[cat] expected defined tensors, got an undefined one");
    ndim = std::max(ndim, t.ndim());
  }
  return std::move(apply(ops::cat, CatAttrs{normalize_dim(dim, ndim, "cat")}, tensors)[0]);
}

Tensor stack(const std::vector<Tensor>& tensors, int64_t dim) {
  HEBB_CHECK(!tensors.empty(), "[stack] expected at least one tensor, got none");
  const int at = normalize_dim(dim, tensors[0].ndim() + 1, "stack");
  std::vector<Tensor> pieces;
  for (size_t i = 0; i < tensors.size(); ++i) {
    HEBB_CHECK(tensors[i].shape() == tensors[0].shape(),
               "[stack] expected tensors of one shape, got {} and {} (tensor {})", tensors[0].shape().str(),
               tensors[i].shape().str(), i);
    pieces.push_back(unsqueeze(tensors[i], at));
  }
  return cat(pieces, at);
}

Tensor pad(const Tensor& x, const std::vector<int64_t>& padding, PadMode mode, double value) {
  HEBB_CHECK(padding.size() % 2 == 0 && padding.size() <= 2 * static_cast<size_t>(x.ndim()),
             "[pad] expected two amounts for each of up to {} dimensions, got {} amounts", x.ndim(),
             padding.size());
  PadAttrs a{Shape::filled(x.ndim(), 0), Shape::filled(x.ndim(), 0), value};
  for (size_t i = 0; i < padding.size(); i += 2) {
    const int d = x.ndim() - 1 - static_cast<int>(i / 2);
    a.before[d] = padding[i];
    a.after[d] = padding[i + 1];
  }
  if (mode == PadMode::constant) return apply1(ops::pad, a, {x});
  Tensor y = x;
  for (int d = 0; d < x.ndim(); ++d) {
    const int64_t n = x.shape()[d], before = a.before[d], after = a.after[d];
    if (before == 0 && after == 0) continue;
    const int64_t most = mode == PadMode::reflect    ? n - 1
                         : mode == PadMode::circular ? n
                         : n > 0                     ? INT64_MAX
                                                     : 0;
    HEBB_CHECK(before >= 0 && after >= 0 && before <= most && after <= most,
               "[pad] expected amounts in [0, {}] for dimension {} of {} elements, got {} and {}", most, d, n,
               before, after);
    y = index_select(y, d, padded_positions(n, before, after, mode));
  }
  return y;
}

Tensor roll(const Tensor& x, const std::vector<int64_t>& shifts, const std::vector<int64_t>& dims) {
  HEBB_CHECK(shifts.size() == dims.size(), "[roll] expected a shift for each of {} dimensions, got {}",
             dims.size(), shifts.size());
  Tensor y = x;
  for (size_t i = 0; i < dims.size(); ++i) {
    const int d = normalize_dim(dims[i], x.ndim(), "roll");
    const int64_t n = x.ndim() == 0 ? 1 : x.shape()[d];
    const int64_t shift = n == 0 ? 0 : ((shifts[i] % n) + n) % n;
    if (shift != 0) y = cat({slice(y, d, n - shift, n), slice(y, d, 0, n - shift)}, d);
  }
  return y;
}
Tensor roll(const Tensor& x, int64_t shift) {
  return reshape(roll(reshape(x, {x.numel()}), {shift}, {0}), x.shape());
}

Tensor tril(const Tensor& x, int64_t diagonal) { return apply1(ops::tril, TriangleAttrs{diagonal}, {x}); }
Tensor triu(const Tensor& x, int64_t diagonal) { return apply1(ops::triu, TriangleAttrs{diagonal}, {x}); }

}  // namespace hebb
