#include "hebb/ops/index.h"

#include "hebb/ops/creation.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/index_attrs.h"
#include "hebb/ops/minmax.h"
#include "hebb/ops/op_support.h"
#include "hebb/ops/table.h"
#include "hebb/ops/view.h"

namespace hebb {

namespace detail {

void check_indices(const char* op, const void* indices, DType dtype, int64_t count, int64_t extent) {
  auto check = [&]<class I>(const I* index) {
    // A negative index is a huge unsigned one. The first pass only asks whether there is one: it vectorises.
    const auto limit = static_cast<uint64_t>(extent);
    bool bad = false;
    for (int64_t i = 0; i < count; ++i) bad |= static_cast<uint64_t>(static_cast<int64_t>(index[i])) >= limit;
    if (!bad) return;
    for (int64_t i = 0; i < count; ++i)
      HEBB_CHECK(index[i] >= 0 && index[i] < extent,
                 "[{}] expected indices in [0, {}), got {} at position {}", op, extent, index[i], i);
  };
  if (dtype == i32) check(static_cast<const int32_t*>(indices));
  else check(static_cast<const int64_t*>(indices));
}

}  // namespace detail

using namespace detail;

namespace {

std::vector<int64_t> checked_indices(const char* op, const Tensor& index, int64_t extent) {
  std::vector<int64_t> v = values<int64_t>(index);
  check_indices(op, v.data(), i64, static_cast<int64_t>(v.size()), extent);
  return v;
}

int64_t extent_of(const Shape& s, int64_t dim) { return s.empty() ? 1 : s[static_cast<int>(dim)]; }

// gather and scatter_add: `index` within `bounds` in every dimension, but for `dim` where it is free.
void check_within(const Shape& index, const Shape& bounds, int64_t free_dim, const char* op,
                  const char* operand) {
  HEBB_CHECK(index.ndim() == bounds.ndim(), "[{}] expected an index of {} dimensions, as {}, got {}", op,
             bounds.ndim(), operand, index.ndim());
  for (int d = 0; d < index.ndim(); ++d)
    HEBB_CHECK(d == free_dim || index[d] <= bounds[d],
               "[{}] expected an index within {} {} (but for dimension {}), got {}", op, operand,
               bounds.str(), free_dim, index.str());
}
void check_list(const TensorSpec& index, const char* op) {
  expect_index(index, op, "an index");
  HEBB_CHECK(index.shape.ndim() <= 1, "[{}] expected an index of 1 or 0 dimensions, got {}", op,
             index.shape.str());
}

// Offset in a dense tensor of `shape` of the place `at`, with coordinate `dim` replaced.
int64_t offset_with(const Shape& shape, const Shape& at, int64_t dim, int64_t coordinate) {
  int64_t offset = 0;
  for (int d = 0; d < shape.ndim(); ++d) offset = offset * shape[d] + (d == dim ? coordinate : at[d]);
  return offset;
}

// With zeros at the end of each dimension, up to `shape`.
Tensor padded_to(const Tensor& t, const Shape& shape) {
  if (t.shape() == shape) return t;
  std::vector<int64_t> amounts;
  for (int d = t.ndim() - 1; d >= 0; --d) {
    amounts.push_back(0);
    amounts.push_back(shape[d] - t.shape()[d]);
  }
  return pad(t, amounts);
}

SampleInput indices(const Shape& shape, int64_t extent, DType dtype = i64) {
  return {shape, 0, static_cast<double>(extent), dtype, SampleInput::Fill::integers};
}

Tensor without_padding_rows(const Tensor& g, const Tensor& index, const Attrs& attrs, int64_t rows) {
  const auto& a = attrs.as<EmbeddingAttrs>();
  if (!a.has_padding) return g;
  const int64_t row = a.padding_idx < 0 ? a.padding_idx + rows : a.padding_idx;
  return where(unsqueeze(index == row, -1), 0, g);
}

}  // namespace

namespace ops {

const OpDef gather{
    .name = "gather",
    .doc = "elements picked along a dimension, by an index for each",
    .infer =
        [](SpecPtrs in, const Attrs& attrs) {
          expect_index(*in[1], "gather", "an index");
          check_within(in[1]->shape, in[0]->shape, attrs.as<IndexAttrs>().dim, "gather", "the input");
          return Specs(TensorSpec(in[1]->shape, in[0]->dtype, in[0]->device));
        },
    .vjp = [](const VjpArgs& s) -> std::vector<Tensor> {
      return {hebb::scatter_add(zeros(s.inputs[0].shape(), s.grads[0].dtype()), s.attrs.as<IndexAttrs>().dim,
                                s.inputs[1], s.grads[0]),
              Tensor()};
    },
    .jvp = [](const JvpArgs& s) -> Outputs {
      return apply1(gather, s.attrs, {s.tangents[0], s.inputs[1]});
    },
    .reference =
        [](const ReferenceArgs& s) {
          const int64_t dim = s.attrs.as<IndexAttrs>().dim;
          const Shape& in = s.inputs[0].shape();
          const std::vector<int64_t> index = checked_indices("gather", s.inputs[1], extent_of(in, dim));
          with_plain_type(s.inputs[0].dtype(), [&]<class T>() {
            const std::vector<T> v = values<T>(s.inputs[0]);
            std::vector<T> out;
            for_each_index(s.inputs[1].shape(), [&](const Shape& at) {
              out.push_back(v[offset_with(in, at, dim, index[out.size()])]);
            });
            store(s.outputs[0], out);
          });
        },
    .samples = []() -> std::vector<Sample> {
      return {{"rows", {{{4, 5}}, indices({3, 5}, 4)}, IndexAttrs{0}},
              {"last", {{{4, 5}}, indices({4, 7}, 5, i32)}, IndexAttrs{1}},
              {"smaller", {{{4, 5, 3}}, indices({2, 6, 2}, 5)}, IndexAttrs{1}}};
    },
    .error_samples = []() -> std::vector<ErrorSample> {
      return {{{{{4, 5}}, {{4, 5}}}, IndexAttrs{0}, "expected an index of i64 or i32, got f32"},
              {{{{4, 5}}, indices({4}, 4)},
               IndexAttrs{0},
               "expected an index of 2 dimensions, as the input, got 1"},
              {{{{4, 5}}, indices({4, 6}, 4)},
               IndexAttrs{0},
               "expected an index within the input 4x5 (but for dimension 0), got 4x6"}};
    },
    .saves_inputs = 2};

const OpDef scatter_add{
    .name = "scatter_add",
    .doc = "elements added at places given by an index for each",
    .infer =
        [](SpecPtrs in, const Attrs& attrs) {
          expect_index(*in[1], "scatter_add", "an index");
          expect_same_type(*in[0], *in[2], "scatter_add");
          check_within(in[1]->shape, in[0]->shape, attrs.as<IndexAttrs>().dim, "scatter_add", "the input");
          check_within(in[1]->shape, in[2]->shape, -1, "scatter_add", "the source");
          return Specs(TensorSpec(in[0]->shape, in[0]->dtype, in[0]->device));
        },
    .vjp = [](const VjpArgs& s) -> std::vector<Tensor> {
      std::vector<Tensor> out(3);
      if (s.needs[0]) out[0] = s.grads[0];
      if (s.needs[2])
        out[2] = padded_to(hebb::gather(s.grads[0], s.attrs.as<IndexAttrs>().dim, s.inputs[1]),
                           s.inputs[2].shape());
      return out;
    },
    .jvp = [](const JvpArgs& s) -> Outputs {
      auto tangent = [&](int i) {
        return s.tangents[i].defined() ? s.tangents[i] : zeros(s.inputs[i].shape(), s.inputs[i].dtype());
      };
      return apply1(scatter_add, s.attrs, {tangent(0), s.inputs[1], tangent(2)});
    },
    .reference =
        [](const ReferenceArgs& s) {
          const int64_t dim = s.attrs.as<IndexAttrs>().dim;
          const Shape &to = s.inputs[0].shape(), &from = s.inputs[2].shape();
          const std::vector<int64_t> index = checked_indices("scatter_add", s.inputs[1], extent_of(to, dim));
          with_plain_type(s.inputs[0].dtype(), [&]<class T>() {
            std::vector<T> out = values<T>(s.inputs[0]);
            const std::vector<T> src = values<T>(s.inputs[2]);
            size_t i = 0;
            for_each_index(s.inputs[1].shape(), [&](const Shape& at) {
              out[offset_with(to, at, dim, index[i++])] += src[offset_with(from, at, -1, 0)];
            });
            store(s.outputs[0], out);
          });
        },
    .samples = []() -> std::vector<Sample> {
      return {{"rows", {{{4, 5}}, indices({3, 5}, 4), {{3, 5}}}, IndexAttrs{0}},
              {"last", {{{4, 5}}, indices({4, 7}, 5, i32), {{4, 7}}}, IndexAttrs{1}},
              {"smaller", {{{4, 5, 3}}, indices({2, 6, 2}, 5), {{3, 6, 3}}}, IndexAttrs{1}}};
    },
    .error_samples = []() -> std::vector<ErrorSample> {
      return {{{{{4, 5}}, {{4, 5}}, {{4, 5}}}, IndexAttrs{0}, "expected an index of i64 or i32, got f32"},
              {{{{4, 5}}, indices({4, 5}, 4), {{4, 5}, -2, 2, f64}},
               IndexAttrs{0},
               "expected operands of one type, got f32 and f64"},
              {{{{4, 5}}, indices({4, 6}, 4), {{4, 6}}},
               IndexAttrs{0},
               "expected an index within the input 4x5 (but for dimension 0), got 4x6"},
              {{{{4, 5}}, indices({4, 5}, 4), {{4}}},
               IndexAttrs{0},
               "expected an index of 1 dimensions, as the source, got 2"},
              {{{{4, 5}}, indices({6, 5}, 4), {{3, 5}}},
               IndexAttrs{0},
               "expected an index within the source 3x5 (but for dimension -1), got 6x5"}};
    },
    .saves_inputs = 2};

const OpDef index_select{
    .name = "index_select",
    .doc = "slices picked along a dimension",
    .infer =
        [](SpecPtrs in, const Attrs& attrs) {
          check_list(*in[1], "index_select");
          Shape shape = in[0]->shape;
          if (shape.ndim() > 0) shape[static_cast<int>(attrs.as<IndexAttrs>().dim)] = in[1]->shape.numel();
          HEBB_CHECK(shape.ndim() > 0 || in[1]->shape.numel() == 1,
                     "[index_select] expected one index for a 0-d tensor, got {}", in[1]->shape.numel());
          return Specs(TensorSpec(shape, in[0]->dtype, in[0]->device));
        },
    .vjp = [](const VjpArgs& s) -> std::vector<Tensor> {
      return {hebb::index_add(zeros(s.inputs[0].shape(), s.grads[0].dtype()), s.attrs.as<IndexAttrs>().dim,
                              s.inputs[1], s.grads[0]),
              Tensor()};
    },
    .jvp = [](const JvpArgs& s) -> Outputs {
      return apply1(index_select, s.attrs, {s.tangents[0], s.inputs[1]});
    },
    .reference =
        [](const ReferenceArgs& s) {
          const DimSplit d(s.inputs[0].shape(), s.attrs.as<IndexAttrs>().dim);
          const std::vector<int64_t> index = checked_indices("index_select", s.inputs[1], d.n);
          with_plain_type(s.inputs[0].dtype(), [&]<class T>() {
            const std::vector<T> v = values<T>(s.inputs[0]);
            std::vector<T> out;
            for (int64_t o = 0; o < d.outer; ++o)
              for (const int64_t i : index)
                for (int64_t j = 0; j < d.inner; ++j) out.push_back(v[(o * d.n + i) * d.inner + j]);
            store(s.outputs[0], out);
          });
        },
    .samples = []() -> std::vector<Sample> {
      return {{"rows", {{{4, 5}}, indices({6}, 4)}, IndexAttrs{0}},
              {"last", {{{3, 5}}, indices({4}, 5, i32)}, IndexAttrs{1}},
              {"middle", {{{2, 5, 3}}, indices({4}, 5)}, IndexAttrs{1}},
              {"one", {{{2, 5}}, indices({}, 5)}, IndexAttrs{1}}};
    },
    .error_samples = []() -> std::vector<ErrorSample> {
      return {
          {{{{4, 5}}, {{3}}}, IndexAttrs{0}, "expected an index of i64 or i32, got f32"},
          {{{{4, 5}}, indices({2, 2}, 4)}, IndexAttrs{0}, "expected an index of 1 or 0 dimensions, got 2x2"},
          {{{{}}, indices({2}, 1)}, IndexAttrs{0}, "expected one index for a 0-d tensor, got 2"}};
    },
    .saves_inputs = 2};

const OpDef index_add{
    .name = "index_add",
    .doc = "slices added at positions of a dimension, in order",
    .infer =
        [](SpecPtrs in, const Attrs& attrs) {
          check_list(*in[1], "index_add");
          expect_same_type(*in[0], *in[2], "index_add");
          Shape source = in[0]->shape;
          if (source.ndim() > 0) source[static_cast<int>(attrs.as<IndexAttrs>().dim)] = in[1]->shape.numel();
          HEBB_CHECK(source.ndim() > 0 || in[1]->shape.numel() == 1,
                     "[index_add] expected one index for a 0-d tensor, got {}", in[1]->shape.numel());
          HEBB_CHECK(in[2]->shape == source, "[index_add] expected a source of {} for {} indices, got {}",
                     source.str(), in[1]->shape.numel(), in[2]->shape.str());
          return Specs(TensorSpec(in[0]->shape, in[0]->dtype, in[0]->device));
        },
    .vjp = [](const VjpArgs& s) -> std::vector<Tensor> {
      std::vector<Tensor> out(3);
      if (s.needs[0]) out[0] = s.grads[0];
      if (s.needs[2]) out[2] = hebb::index_select(s.grads[0], s.attrs.as<IndexAttrs>().dim, s.inputs[1]);
      return out;
    },
    .jvp = [](const JvpArgs& s) -> Outputs {
      auto tangent = [&](int i) {
        return s.tangents[i].defined() ? s.tangents[i] : zeros(s.inputs[i].shape(), s.inputs[i].dtype());
      };
      return apply1(index_add, s.attrs, {tangent(0), s.inputs[1], tangent(2)});
    },
    .reference =
        [](const ReferenceArgs& s) {
          const DimSplit d(s.inputs[0].shape(), s.attrs.as<IndexAttrs>().dim);
          const std::vector<int64_t> index = checked_indices("index_add", s.inputs[1], d.n);
          with_plain_type(s.inputs[0].dtype(), [&]<class T>() {
            std::vector<T> out = values<T>(s.inputs[0]);
            const std::vector<T> src = values<T>(s.inputs[2]);
            size_t k = 0;
            for (int64_t o = 0; o < d.outer; ++o)
              for (const int64_t i : index)
                for (int64_t j = 0; j < d.inner; ++j) out[(o * d.n + i) * d.inner + j] += src[k++];
            store(s.outputs[0], out);
          });
        },
    .samples = []() -> std::vector<Sample> {
      return {{"rows", {{{4, 5}}, indices({6}, 4), {{6, 5}}}, IndexAttrs{0}},
              {"last", {{{3, 5}}, indices({4}, 5, i32), {{3, 4}}}, IndexAttrs{1}},
              {"middle", {{{2, 5, 3}}, indices({4}, 5), {{2, 4, 3}}}, IndexAttrs{1}}};
    },
    .error_samples = []() -> std::vector<ErrorSample> {
      return {{{{{4, 5}}, {{3}}, {{3, 5}}}, IndexAttrs{0}, "expected an index of i64 or i32, got f32"},
              {{{{4, 5}}, indices({2, 2}, 4), {{4, 5}}},
               IndexAttrs{0},
               "expected an index of 1 or 0 dimensions, got 2x2"},
              {{{{4, 5}}, indices({3}, 4), {{3, 5}, -2, 2, f64}},
               IndexAttrs{0},
               "expected operands of one type, got f32 and f64"},
              {{{{}}, indices({2}, 1), {{}}}, IndexAttrs{0}, "expected one index for a 0-d tensor, got 2"},
              {{{{4, 5}}, indices({3}, 4), {{2, 5}}},
               IndexAttrs{0},
               "expected a source of 3x5 for 3 indices, got 2x5"}};
    },
    .saves_inputs = 2};

const OpDef embedding{
    .name = "embedding",
    .doc = "rows of a table",
    .infer =
        [](SpecPtrs in, const Attrs& attrs) {
          const auto& a = attrs.as<EmbeddingAttrs>();
          expect_index(*in[0], "embedding", "indices");
          HEBB_CHECK(in[1]->shape.ndim() == 2, "[embedding] expected a weight of 2 dimensions, got {}",
                     in[1]->shape.str());
          const int64_t rows = in[1]->shape[0];
          HEBB_CHECK(!a.has_padding || (a.padding_idx >= -rows && a.padding_idx < rows),
                     "[embedding] expected a padding_idx in [{}, {}], got {}", -rows, rows - 1,
                     a.padding_idx);
          Shape shape = in[0]->shape;
          shape.push_back(in[1]->shape[1]);
          return Specs(TensorSpec(shape, in[1]->dtype, in[1]->device));
        },
    .vjp = [](const VjpArgs& s) -> std::vector<Tensor> {
      const Shape& weight = s.inputs[1].shape();
      const Tensor g = without_padding_rows(s.grads[0], s.inputs[0], s.attrs, weight[0]);
      const int64_t count = s.inputs[0].numel();
      return {Tensor(), hebb::index_add(zeros(weight, g.dtype()), 0, hebb::reshape(s.inputs[0], {count}),
                                        hebb::reshape(g, {count, weight[1]}))};
    },
    .jvp = [](const JvpArgs& s) -> Outputs {
      return without_padding_rows(apply1(embedding, s.attrs, {s.inputs[0], s.tangents[1]}), s.inputs[0],
                                  s.attrs, s.inputs[1].shape()[0]);
    },
    .reference =
        [](const ReferenceArgs& s) {
          const int64_t rows = s.inputs[1].shape()[0], width = s.inputs[1].shape()[1];
          const std::vector<int64_t> index = checked_indices("embedding", s.inputs[0], rows);
          with_plain_type(s.inputs[1].dtype(), [&]<class T>() {
            const std::vector<T> v = values<T>(s.inputs[1]);
            std::vector<T> out;
            for (const int64_t i : index)
              out.insert(out.end(), v.begin() + i * width, v.begin() + (i + 1) * width);
            store(s.outputs[0], out);
          });
        },
    .samples = []() -> std::vector<Sample> {
      return {{"words", {indices({2, 5}, 7), {{7, 4}}}, EmbeddingAttrs{}},
              {"one", {indices({}, 7, i32), {{7, 4}}}, EmbeddingAttrs{}},
              // The padding row is not among the indices: its slope is 0 although the value depends on it.
              {"padding", {indices({6}, 4), {{5, 3}}}, EmbeddingAttrs{true, -1}}};
    },
    .error_samples = []() -> std::vector<ErrorSample> {
      return {
          {{{{3}}, {{4, 2}}}, EmbeddingAttrs{}, "expected indices of i64 or i32, got f32"},
          {{indices({3}, 4), {{4}}}, EmbeddingAttrs{}, "expected a weight of 2 dimensions, got 4"},
          {{indices({3}, 4), {{4, 2}}}, EmbeddingAttrs{true, 4}, "expected a padding_idx in [-4, 3], got 4"}};
    },
    .saves_inputs = 1};

const OpDef one_hot{
    .name = "one_hot",
    .doc = "1 at the class, 0 elsewhere, in a new last dimension",
    .infer =
        [](SpecPtrs in, const Attrs& attrs) {
          expect_index(*in[0], "one_hot", "classes");
          const int64_t n = attrs.as<OneHotAttrs>().num_classes;
          HEBB_CHECK(n >= 1, "[one_hot] expected at least 1 class, got {}", n);
          Shape shape = in[0]->shape;
          shape.push_back(n);
          return Specs(TensorSpec(shape, i64, in[0]->device));
        },
    .reference =
        [](const ReferenceArgs& s) {
          const int64_t n = s.attrs.as<OneHotAttrs>().num_classes;
          const std::vector<int64_t> index = checked_indices("one_hot", s.inputs[0], n);
          std::vector<int64_t> out(index.size() * static_cast<size_t>(n), 0);
          for (size_t i = 0; i < index.size(); ++i) out[static_cast<int64_t>(i) * n + index[i]] = 1;
          store(s.outputs[0], out);
        },
    .samples = []() -> std::vector<Sample> {
      return {{"list", {indices({6}, 4)}, OneHotAttrs{5}}, {"2d", {indices({2, 3}, 4, i32)}, OneHotAttrs{4}}};
    },
    .error_samples = []() -> std::vector<ErrorSample> {
      return {{{{{3}}}, OneHotAttrs{4}, "expected classes of i64 or i32, got f32"},
              {{indices({3}, 4)}, OneHotAttrs{0}, "expected at least 1 class, got 0"}};
    },
    .gradient = Gradient::None,
    .saves_inputs = 0};

}  // namespace ops

Tensor gather(const Tensor& x, int64_t dim, const Tensor& index) {
  return apply1(ops::gather, IndexAttrs{normalize_dim(dim, x.ndim(), "gather")}, {x, index});
}
Tensor scatter_add(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& src) {
  return apply1(ops::scatter_add, IndexAttrs{normalize_dim(dim, x.ndim(), "scatter_add")}, {x, index, src});
}
Tensor index_select(const Tensor& x, int64_t dim, const Tensor& index) {
  return apply1(ops::index_select, IndexAttrs{normalize_dim(dim, x.ndim(), "index_select")}, {x, index});
}
Tensor index_add(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& src) {
  return apply1(ops::index_add, IndexAttrs{normalize_dim(dim, x.ndim(), "index_add")}, {x, index, src});
}
Tensor embedding(const Tensor& indices, const Tensor& weight, std::optional<int64_t> padding_idx) {
  return apply1(ops::embedding, EmbeddingAttrs{padding_idx.has_value(), padding_idx.value_or(0)},
                {indices, weight});
}
Tensor one_hot(const Tensor& classes, int64_t num_classes) {
  if (num_classes == -1) {
    HEBB_CHECK(classes.numel() > 0, "[one_hot] expected num_classes where there are no classes to count");
    num_classes =
        std::max<int64_t>(1, amax(classes).item<int64_t>() + 1);  // a negative class is refused below
  }
  return apply1(ops::one_hot, OneHotAttrs{num_classes}, {classes});
}

}  // namespace hebb
