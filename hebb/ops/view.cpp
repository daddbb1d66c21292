#include "hebb/ops/view.h"

#include <algorithm>

#include "hebb/ops/creation.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/op_support.h"
#include "hebb/ops/table.h"
#include "hebb/ops/view_attrs.h"

namespace hebb {

using namespace detail;

namespace {

// Every view's plain kernel: copy what the view would show.
void reference_view(const OpDef& op, const ReferenceArgs& s) {
  const Tensor dense_input = dense(s.inputs[0]);
  const auto v = op.view(dense_input.spec(), s.attrs);
  const char* first =
      static_cast<const char*>(dense_input.raw_data()) + v->offset * size_of(dense_input.dtype());
  copy_values(v->spec, first, s.outputs[0].spec(), s.outputs[0].raw_data());
}

// Strides of `shape` on the storage of `in`, if its row-major order can be walked so.
std::optional<Strides> view_strides(const TensorSpec& in, const Shape& shape) {
  if (in.contiguous || shape.numel() == 0) return contiguous_strides(shape);
  Strides out = Strides::filled(shape.ndim(), 1);
  int o = shape.ndim() - 1;
  for (int i = in.shape.ndim() - 1; i >= 0;) {
    // A run of input dimensions that lies evenly, and the output dimensions that make it up.
    int64_t run = in.shape[i];
    const int64_t step = in.strides[i];
    int j = i - 1;
    for (; j >= 0 && (in.shape[j] == 1 || run == 1 || in.strides[j] == step * run); --j) {
      if (run == 1 && in.shape[j] != 1) break;
      run *= in.shape[j];
    }
    int64_t filled = 1;
    while (o >= 0 && filled < run) {
      out[o] = step * filled;
      filled *= shape[o--];
    }
    if (filled != run) return std::nullopt;
    i = j;
  }
  for (; o >= 0; --o)
    if (shape[o] != 1) return std::nullopt;
  return out;
}

std::optional<ViewSpec> view_slice(const TensorSpec& in, const Attrs& attrs) {
  const auto& a = attrs.as<SliceAttrs>();
  TensorSpec s = in;
  s.shape[a.dim] = std::max<int64_t>(0, (a.stop - a.start + a.step - 1) / a.step);
  s.strides[a.dim] *= a.step;
  return ViewSpec{TensorSpec(s.shape, s.strides, s.dtype, s.device), a.start * in.strides[a.dim]};
}

void check_slice(const Shape& input, const Attrs& attrs) {
  const auto& a = attrs.as<SliceAttrs>();
  HEBB_CHECK(a.step >= 1, "[slice] expected a step of at least 1, got {}", a.step);
  HEBB_CHECK(input == a.input && a.dim >= 0 && a.dim < input.ndim(),
             "[slice] expected an input of shape {} with dimension {}, got {}", a.input.str(), a.dim,
             input.str());
  HEBB_CHECK(a.start >= 0 && a.start <= a.stop && a.stop <= input[static_cast<int>(a.dim)],
             "[slice] expected a range within dimension {} of {}, got {} to {}", a.dim, input.str(), a.start,
             a.stop);
}

std::optional<ViewSpec> view_expand(const TensorSpec& in, const Attrs& attrs) {
  const Shape& shape = attrs.as<ShapeAttrs>().shape;
  Strides strides = Strides::filled(shape.ndim(), 0);
  const int lead = shape.ndim() - in.shape.ndim();
  for (int d = 0; d < in.shape.ndim(); ++d)
    if (in.shape[d] == shape[lead + d]) strides[lead + d] = in.strides[d];
  return ViewSpec{TensorSpec(shape, strides, in.dtype, in.device), 0};
}

Specs infer_same(SpecPtrs in, const Attrs&) { return TensorSpec(in[0]->shape, in[0]->dtype, in[0]->device); }
std::vector<Tensor> vjp_same(const VjpArgs& s) { return {s.grads[0]}; }

}  // namespace

namespace ops {

const OpDef alias{.name = "alias",
                  .kind = Kind::View,
                  .doc = "the same values as a new tensor of the tape",
                  .infer = infer_same,
                  .vjp = vjp_same,
                  .view =
                      [](const TensorSpec& in, const Attrs&) {
                        return std::optional(ViewSpec{in, 0});
                      },
                  .reference = [](const ReferenceArgs& s) { reference_view(alias, s); },
                  .samples = []() -> std::vector<Sample> {
                    return {{"2d", {{{3, 4}}}, NoAttrs{}}};
                  },
                  .saves_inputs = 0};

const OpDef clone{.name = "clone",
                  .doc = "a dense copy",
                  .infer = infer_same,
                  .vjp = vjp_same,
                  .reference =
                      [](const ReferenceArgs& s) {
                        copy_values(s.inputs[0].spec(), s.inputs[0].raw_data(), s.outputs[0].spec(),
                                    s.outputs[0].raw_data());
                      },
                  .samples = []() -> std::vector<Sample> {
                    return {{"2d", {{{3, 4}}}, NoAttrs{}}};
                  },
                  .saves_inputs = 0};

const OpDef reshape{
    .name = "reshape",
    .kind = Kind::View,
    .doc = "the values in row-major order under another shape",
    .infer =
        [](SpecPtrs in, const Attrs& a) {
          const Shape& shape = a.as<ShapeAttrs>().shape;
          HEBB_CHECK(shape.numel() == in[0]->shape.numel(),
                     "[reshape] expected a shape of {} elements (input {}), got {}", in[0]->shape.numel(),
                     in[0]->shape.str(), shape.str());
          return Specs(TensorSpec(shape, in[0]->dtype, in[0]->device));
        },
    .vjp = [](const VjpArgs& s) -> std::vector<Tensor> {
      return {hebb::reshape(s.grads[0], s.inputs[0].shape())};
    },
    .view = [](const TensorSpec& in, const Attrs& a) -> std::optional<ViewSpec> {
      const Shape& shape = a.as<ShapeAttrs>().shape;
      if (const auto strides = view_strides(in, shape))
        return ViewSpec{TensorSpec(shape, *strides, in.dtype, in.device), 0};
      return std::nullopt;
    },
    .reference = [](const ReferenceArgs& s) { reference_view(reshape, s); },
    .samples = []() -> std::vector<Sample> {
      return {{"merge", {{{2, 3, 4}}}, ShapeAttrs{{6, 4}}},
              {"split", {{{6, 4}}}, ShapeAttrs{{2, 3, 2, 2}}},
              {"0d", {{{1, 1}}}, ShapeAttrs{{}}}};
    },
    .error_samples = []() -> std::vector<ErrorSample> {
      return {{{{{2, 3}}}, ShapeAttrs{{4}}, "expected a shape of 6 elements (input 2x3), got 4"}};
    },
    .saves_inputs = 0};

const OpDef permute{
    .name = "permute",
    .kind = Kind::View,
    .doc = "dimensions in another order",
    .infer =
        [](SpecPtrs in, const Attrs& a) {
          const Shape& dims = a.as<PermuteAttrs>().dims;
          HEBB_CHECK(dims.ndim() == in[0]->shape.ndim(), "[permute] expected {} dimensions, got {}",
                     in[0]->shape.ndim(), dims.ndim());
          Shape shape = dims;
          uint32_t seen = 0;
          for (int i = 0; i < dims.ndim(); ++i) {
            HEBB_CHECK(dims[i] >= 0 && dims[i] < dims.ndim(),
                       "[permute] expected dimensions in [0, {}], got {}", dims.ndim() - 1, dims[i]);
            HEBB_CHECK(!(seen >> dims[i] & 1u), "[permute] expected each dimension once, got {} twice",
                       dims[i]);
            seen |= 1u << dims[i];
            shape[i] = in[0]->shape[static_cast<int>(dims[i])];
          }
          return Specs(TensorSpec(shape, in[0]->dtype, in[0]->device));
        },
    .vjp = [](const VjpArgs& s) -> std::vector<Tensor> {
      const Shape& dims = s.attrs.as<PermuteAttrs>().dims;
      Shape inverse = dims;
      for (int i = 0; i < dims.ndim(); ++i) inverse[static_cast<int>(dims[i])] = i;
      return {hebb::permute(s.grads[0], inverse)};
    },
    .view = [](const TensorSpec& in, const Attrs& a) -> std::optional<ViewSpec> {
      const Shape& dims = a.as<PermuteAttrs>().dims;
      Shape shape = dims;
      Strides strides = dims;
      for (int i = 0; i < dims.ndim(); ++i) {
        shape[i] = in.shape[static_cast<int>(dims[i])];
        strides[i] = in.strides[static_cast<int>(dims[i])];
      }
      return ViewSpec{TensorSpec(shape, strides, in.dtype, in.device), 0};
    },
    .reference = [](const ReferenceArgs& s) { reference_view(permute, s); },
    .samples = []() -> std::vector<Sample> {
      return {{"3d", {{{2, 3, 4}}}, PermuteAttrs{{2, 0, 1}}}, {"2d", {{{3, 5}}}, PermuteAttrs{{1, 0}}}};
    },
    .error_samples = []() -> std::vector<ErrorSample> {
      return {{{{{2, 3}}}, PermuteAttrs{{0}}, "expected 2 dimensions, got 1"},
              {{{{2, 3}}}, PermuteAttrs{{1, 1}}, "expected each dimension once, got 1 twice"},
              {{{{2, 3}}}, PermuteAttrs{{0, 2}}, "expected dimensions in [0, 1], got 2"}};
    },
    .saves_inputs = 0};

const OpDef expand{
    .name = "expand",
    .kind = Kind::View,
    .doc = "extents of 1 repeated",
    .infer =
        [](SpecPtrs in, const Attrs& a) {
          const Shape& shape = a.as<ShapeAttrs>().shape;
          const int lead = shape.ndim() - in[0]->shape.ndim();
          HEBB_CHECK(lead >= 0, "[expand] expected at least {} dimensions, got {}", in[0]->shape.ndim(),
                     shape.str());
          for (const int64_t n : shape)
            HEBB_CHECK(n >= 0, "[expand] expected extents of at least 0, or -1 to keep one, got {}",
                       shape.str());
          for (int d = 0; d < in[0]->shape.ndim(); ++d)
            HEBB_CHECK(in[0]->shape[d] == 1 || in[0]->shape[d] == shape[lead + d],
                       "[expand] expected a shape that {} broadcasts to, got {}", in[0]->shape.str(),
                       shape.str());
          return Specs(TensorSpec(shape, in[0]->dtype, in[0]->device));
        },
    .vjp = [](const VjpArgs& s) -> std::vector<Tensor> { return {sum_to(s.grads[0], s.inputs[0].shape())}; },
    .view = view_expand,
    .reference = [](const ReferenceArgs& s) { reference_view(expand, s); },
    .samples = []() -> std::vector<Sample> {
      return {{"middle", {{{2, 1, 3}}}, ShapeAttrs{{2, 4, 3}}}, {"lead", {{{3}}}, ShapeAttrs{{2, 3}}}};
    },
    .error_samples = []() -> std::vector<ErrorSample> {
      return {{{{{2, 3}}}, ShapeAttrs{{2, 4}}, "expected a shape that 2x3 broadcasts to, got 2x4"}};
    },
    .saves_inputs = 0};

const OpDef slice{
    .name = "slice",
    .kind = Kind::View,
    .doc = "every step-th element of a range of one dimension",
    .infer =
        [](SpecPtrs in, const Attrs& attrs) {
          check_slice(in[0]->shape, attrs);
          return Specs(TensorSpec(view_slice(*in[0], attrs)->spec.shape, in[0]->dtype, in[0]->device));
        },
    .vjp = [](const VjpArgs& s) -> std::vector<Tensor> {
      return {apply1(slice_grad, s.attrs, {s.grads[0]})};
    },
    .view = view_slice,
    .reference = [](const ReferenceArgs& s) { reference_view(slice, s); },
    .samples = []() -> std::vector<Sample> {
      return {{"rows", {{{5, 3}}}, SliceAttrs{0, 1, 4, 1, {5, 3}}},
              {"step", {{{2, 7}}}, SliceAttrs{1, 1, 7, 3, {2, 7}}}};
    },
    .error_samples = []() -> std::vector<ErrorSample> {
      return {{{{{5}}}, SliceAttrs{0, 0, 5, 0, {5}}, "expected a step of at least 1, got 0"},
              {{{{5}}}, SliceAttrs{1, 0, 5, 1, {5}}, "expected an input of shape 5 with dimension 1, got 5"},
              {{{{5}}}, SliceAttrs{0, 2, 6, 1, {5}}, "expected a range within dimension 0 of 5, got 2 to 6"}};
    },
    .saves_inputs = 0};

const OpDef slice_grad{
    .name = "slice_grad",
    .doc = "gradient of slice: zeros around and between",
    .infer =
        [](SpecPtrs in, const Attrs& attrs) {
          const TensorSpec out(attrs.as<SliceAttrs>().input, in[0]->dtype, in[0]->device);
          check_slice(out.shape, attrs);
          const Shape taken = view_slice(out, attrs)->spec.shape;
          HEBB_CHECK(in[0]->shape == taken, "[slice_grad] expected a gradient of shape {}, got {}",
                     taken.str(), in[0]->shape.str());
          return Specs(out);
        },
    .vjp = [](const VjpArgs& s) -> std::vector<Tensor> { return {apply1(slice, s.attrs, {s.grads[0]})}; },
    .reference =
        [](const ReferenceArgs& s) {
          const TensorSpec& out = s.outputs[0].spec();
          std::fill_n(static_cast<char*>(s.outputs[0].raw_data()), out.shape.numel() * size_of(out.dtype),
                      char{0});
          const auto v = view_slice(out, s.attrs);
          char* first = static_cast<char*>(s.outputs[0].raw_data()) + v->offset * size_of(out.dtype);
          copy_values(s.inputs[0].spec(), s.inputs[0].raw_data(), v->spec, first);
        },
    .samples = []() -> std::vector<Sample> {
      return {{"step", {{{2, 2}}}, SliceAttrs{1, 1, 7, 3, {2, 7}}}};
    },
    .error_samples = []() -> std::vector<ErrorSample> {
      return {{{{{2, 3}}}, SliceAttrs{1, 1, 7, 3, {2, 7}}, "expected a gradient of shape 2x2, got 2x3"}};
    },
    .saves_inputs = 0};

const OpDef flip{
    .name = "flip",
    .kind = Kind::View,
    .doc = "dimensions reversed",
    .infer = infer_same,
    .vjp = [](const VjpArgs& s) -> std::vector<Tensor> { return {apply1(flip, s.attrs, {s.grads[0]})}; },
    .view = [](const TensorSpec& in, const Attrs& attrs) -> std::optional<ViewSpec> {
      Strides strides = in.strides;
      int64_t offset = 0;
      for (int d = 0; d < in.shape.ndim(); ++d) {
        if (!(attrs.as<FlipAttrs>().dims >> d & 1) || in.shape[d] == 0) continue;
        offset += (in.shape[d] - 1) * in.strides[d];
        strides[d] = -strides[d];
      }
      return ViewSpec{TensorSpec(in.shape, strides, in.dtype, in.device), offset};
    },
    .reference = [](const ReferenceArgs& s) { reference_view(flip, s); },
    .samples = []() -> std::vector<Sample> {
      return {{"last", {{{2, 3}}}, FlipAttrs{2}}, {"both", {{{2, 3}}}, FlipAttrs{3}}};
    },
    .saves_inputs = 0};

}  // namespace ops

Tensor alias(const Tensor& x) { return apply1(ops::alias, NoAttrs{}, {x}); }
Tensor clone(const Tensor& x) { return apply1(ops::clone, NoAttrs{}, {x}); }
Tensor contiguous(const Tensor& x) { return x.is_contiguous() ? x : clone(x); }

Tensor reshape(const Tensor& x, const Shape& wanted) {
  Shape shape = wanted;
  int unknown = -1;
  int64_t known = 1;
  for (int d = 0; d < shape.ndim(); ++d) {
    HEBB_CHECK(shape[d] >= -1 && (shape[d] != -1 || unknown < 0),
               "[reshape] expected extents of at least 0 and at most one -1, got {}", wanted.str());
    if (shape[d] == -1) unknown = d;
    else known *= shape[d];
  }
  if (unknown >= 0 && known > 0) shape[unknown] = x.numel() / known;
  HEBB_CHECK(shape.numel() == x.numel() && (unknown < 0 || known > 0),
             "[reshape] expected a shape of {} elements (input {}), got {}", x.numel(), x.shape().str(),
             wanted.str());
  return shape == x.shape() ? x : apply1(ops::reshape, ShapeAttrs{shape}, {x});
}

Tensor flatten(const Tensor& x, int64_t start_dim, int64_t end_dim) {
  const int a = normalize_dim(start_dim, x.ndim(), "flatten"),
            b = normalize_dim(end_dim, x.ndim(), "flatten");
  HEBB_CHECK(a <= b, "[flatten] expected start_dim before end_dim, got {} and {}", start_dim, end_dim);
  if (x.ndim() == 0) return reshape(x, {1});
  Shape shape;
  for (int d = 0; d < x.ndim(); ++d) {
    if (d > a && d <= b) shape[a] *= x.shape()[d];
    else shape.push_back(x.shape()[d]);
  }
  return reshape(x, shape);
}

Tensor unflatten(const Tensor& x, int64_t dim, const Shape& sizes) {
  const int at = normalize_dim(dim, x.ndim(), "unflatten");
  Shape shape = x.shape();
  const int64_t whole = shape[at];
  shape.erase(at);
  int64_t known = 1;
  for (const int64_t n : sizes) known *= n == -1 ? 1 : n;
  for (int i = 0; i < sizes.ndim(); ++i)
    shape.insert(at + i, sizes[i] == -1 && known > 0 && whole % known == 0 ? whole / known : sizes[i]);
  return reshape(x, shape);
}

Tensor permute(const Tensor& x, const Shape& dims) {
  Shape d = dims;
  for (int64_t& i : d) i = normalize_dim(i, x.ndim(), "permute");
  return apply1(ops::permute, PermuteAttrs{d}, {x});
}
Tensor transpose(const Tensor& x, int64_t dim0, int64_t dim1) {
  const int a = normalize_dim(dim0, x.ndim(), "transpose"), b = normalize_dim(dim1, x.ndim(), "transpose");
  if (a == b) return x;
  Shape dims = x.shape();
  for (int i = 0; i < dims.ndim(); ++i) dims[i] = i == a ? b : i == b ? a : i;
  return permute(x, dims);
}

Tensor expand(const Tensor& x, const Shape& wanted) {
  Shape shape = wanted;
  const int lead = shape.ndim() - x.ndim();
  for (int d = std::max(0, lead); d < shape.ndim(); ++d)
    if (shape[d] == -1) shape[d] = x.shape()[d - lead];
  return shape == x.shape() ? x : apply1(ops::expand, ShapeAttrs{shape}, {x});
}

Tensor squeeze(const Tensor& x, int64_t dim) {
  const int d = normalize_dim(dim, x.ndim(), "squeeze");
  if (x.ndim() == 0 || x.shape()[d] != 1) return x;
  Shape shape = x.shape();
  shape.erase(d);
  return reshape(x, shape);
}
Tensor squeeze(const Tensor& x) {
  Shape shape;
  for (const int64_t n : x.shape())
    if (n != 1) shape.push_back(n);
  return reshape(x, shape);
}
Tensor unsqueeze(const Tensor& x, int64_t dim) {
  Shape shape = x.shape();
  shape.insert(normalize_dim(dim, x.ndim() + 1, "unsqueeze"), 1);
  return reshape(x, shape);
}

Tensor slice(const Tensor& x, int64_t dim, int64_t start, int64_t stop, int64_t step) {
  HEBB_CHECK(x.ndim() > 0, "[slice] expected a tensor with dimensions, got a 0-d tensor");
  const int d = normalize_dim(dim, x.ndim(), "slice");
  const int64_t n = x.shape()[d];
  auto place = [n](int64_t i) { return std::clamp<int64_t>(i < 0 ? i + n : i, 0, n); };
  const int64_t a = place(start), b = std::max(a, place(stop));
  if (a == 0 && b == n && step == 1) return x;
  return apply1(ops::slice, SliceAttrs{d, a, b, step, x.shape()}, {x});
}
Tensor narrow(const Tensor& x, int64_t dim, int64_t start, int64_t length) {
  const int64_t n = x.size(dim);
  HEBB_CHECK(start >= 0 && length >= 0 && start + length <= n,
             "[narrow] expected a range within {} elements, got {} from {}", n, length, start);
  return slice(x, dim, start, start + length);
}
Tensor select(const Tensor& x, int64_t dim, int64_t index) {
  HEBB_CHECK(x.ndim() > 0, "[select] expected a tensor with dimensions, got a 0-d tensor");
  const int d = normalize_dim(dim, x.ndim(), "select");
  const int64_t n = x.shape()[d];
  HEBB_CHECK(index >= -n && index < n, "[select] expected an index in [{}, {}] of dimension {}, got {}", -n,
             n - 1, d, index);
  return squeeze(slice(x, d, index < 0 ? index + n : index, (index < 0 ? index + n : index) + 1), d);
}

std::vector<Tensor> split(const Tensor& x, int64_t size, int64_t dim) {
  HEBB_CHECK(size >= 1, "[split] expected pieces of at least 1, got {}", size);
  std::vector<Tensor> out;
  for (int64_t i = 0; i == 0 || i < x.size(dim); i += size) out.push_back(slice(x, dim, i, i + size));
  return out;
}
std::vector<Tensor> split(const Tensor& x, const std::vector<int64_t>& sizes, int64_t dim) {
  int64_t at = 0;
  std::vector<Tensor> out;
  for (const int64_t n : sizes) {
    out.push_back(narrow(x, dim, at, n));
    at += n;
  }
  HEBB_CHECK(at == x.size(dim), "[split] expected sizes that add up to {}, got {}", x.size(dim), at);
  return out;
}

Tensor flip(const Tensor& x, const std::vector<int64_t>& dims) {
  FlipAttrs a;
  for (const int64_t d : dims) a.dims |= int64_t{1} << normalize_dim(d, x.ndim(), "flip");
  return apply1(ops::flip, a, {x});
}

}  // namespace hebb
