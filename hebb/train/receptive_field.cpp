// One rule for each way in which an op's results depend on places of its inputs: windows, reductions, views,
// and all else place by place.
#include "hebb/train/receptive_field.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "hebb/ops/conv_attrs.h"
#include "hebb/ops/matmul_attrs.h"
#include "hebb/ops/pool_attrs.h"
#include "hebb/ops/reduce_attrs.h"
#include "hebb/ops/table.h"
#include "hebb/ops/upsample_attrs.h"

namespace hebb::train::detail {
namespace {

bool is_one_of(const OpDef& op, std::initializer_list<const OpDef*> ops) {
  return std::find(ops.begin(), ops.end(), &op) != ops.end();
}
bool is_planar(const OpDef& op) {
  return is_one_of(op, {&ops::conv2d, &ops::conv2d_input_grad, &ops::max_pool2d, &ops::avg_pool2d,
                        &ops::adaptive_avg_pool2d, &ops::adaptive_max_pool2d, &ops::upsample2d,
                        &ops::max_unpool2d, &ops::unpool_zero_fill2d});
}
bool folds_dims(const OpDef& op) {
  return is_one_of(
      op, {&ops::sum, &ops::mean, &ops::prod, &ops::any, &ops::all, &ops::logsumexp, &ops::amax, &ops::amin});
}
bool folds_one_dim(const OpDef& op) {
  return is_one_of(op, {&ops::max, &ops::min, &ops::argmax, &ops::argmin});
}
// Joins and pads keep what each value sees although extents change.
bool may_change_extents(const OpDef& op) { return is_one_of(op, {&ops::cat, &ops::pad, &ops::flip}); }

}  // namespace

ReceptiveFields::ReceptiveFields(const Tensor& input) {
  Field f;
  for (int d = input.ndim() >= 3 ? 2 : std::max(0, input.ndim() - 1); d < input.ndim(); ++d) {
    f.push_back({.dims = 1u << d});
    extents_.push_back(input.shape()[d]);
  }
  fields_[input.impl()] = {input, std::move(f)};
}

const ReceptiveFields::Field* ReceptiveFields::find(const Tensor& t) const {
  const auto it = fields_.find(t.impl());
  return it == fields_.end() ? nullptr : &it->second.field;
}

Shape ReceptiveFields::of(const Tensor& t) const {
  Shape out = Shape::filled(static_cast<int>(extents_.size()), 1);
  if (const Field* f = find(t))
    for (size_t a = 0; a < f->size(); ++a)
      out[static_cast<int>(a)] = std::llround(std::ceil((*f)[a].end - (*f)[a].begin));
  return out;
}

void ReceptiveFields::follow(const OpDef& op, const Attrs& attrs, std::span<const Tensor> inputs,
                             std::span<const Tensor> outputs) {
  if (outputs.empty() ||
      std::none_of(inputs.begin(), inputs.end(), [this](const Tensor& t) { return find(t) != nullptr; }))
    return;
  const Field f = through(op, attrs, inputs, outputs[0].shape());
  for (const Tensor& t : outputs) fields_[t.impl()] = {t, f};
}

ReceptiveFields::Field ReceptiveFields::through(const OpDef& op, const Attrs& attrs,
                                                std::span<const Tensor> inputs, const Shape& out) const {
  const Tensor& x = inputs[0];
  const Field* fx = find(x);
  const bool only_first =
      fx && std::none_of(inputs.begin() + 1, inputs.end(), [this](const Tensor& t) { return find(t); });
  if (fx && is_planar(op)) return through_planes(op, attrs, x, inputs.size() > 1 ? &inputs[1] : nullptr, out);
  if (fx && op.view) {
    if (const auto view = op.view(TensorSpec(x.shape(), x.dtype()), attrs)) return through_view(*view, x);
  }
  if (fx && folds_dims(op)) {
    const auto& a = attrs.as<ReduceAttrs>();
    return through_reduction(*fx, static_cast<uint64_t>(a.dims), a.keepdim);
  }
  if (fx && folds_one_dim(op)) {
    const auto& a = attrs.as<DimReduceAttrs>();
    return through_reduction(*fx, uint64_t{1} << a.dim, a.keepdim);
  }
  if (op.kind == Kind::Contract) {
    // A product with weights sums over the last dimension; one of two activations sees all.
    Field f(extents_.size());
    if (only_first) f = *fx;
    const bool by_rows = &op == &ops::linear || (&op == &ops::matmul && !attrs.as<MatmulAttrs>().trans_a);
    if (only_first && by_rows) see_all_of(f, x.ndim() - 1);
    else
      for (size_t a = 0; a < f.size(); ++a) see_all(f, a);
    return f;
  }

  Field f;
  for (const Tensor& t : inputs) {
    const Field* ft = find(t);
    if (!ft) continue;
    Field g = *ft;
    if (op.kind != Kind::Elementwise && !may_change_extents(op)) {
      for (int d = 0; d < t.ndim(); ++d)
        if (d >= out.ndim() || t.shape()[d] != out[d]) see_all_of(g, d);
    }
    merge(f, std::move(g), t.shape(), out, op.kind == Kind::Elementwise);
  }
  return f;
}

void ReceptiveFields::see_all(Field& f, size_t axis) const {
  f[axis] = {.begin = 0, .end = static_cast<double>(extents_[axis]), .step = 0, .whole = true};
}
void ReceptiveFields::see_all_of(Field& f, int dim) const {
  for (size_t a = 0; a < f.size(); ++a)
    if (f[a].dims >> dim & 1u) see_all(f, a);
}

// Result i along `dim` is made of places i * stride + first … i * stride + last.
void ReceptiveFields::window(Field& f, int dim, double first, double last, double stride) const {
  for (size_t a = 0; a < f.size(); ++a) {
    AxisView& v = f[a];
    if (!(v.dims >> dim & 1u)) continue;
    if (!v.regular) {
      if (last > first) see_all(f, a);
      continue;
    }
    const double near = first * v.step, far = last * v.step;
    v.begin += std::min(near, far);
    v.end += std::max(near, far);
    v.step *= stride;
  }
}

ReceptiveFields::Field ReceptiveFields::through_planes(const OpDef& op, const Attrs& attrs, const Tensor& x,
                                                       const Tensor* weight, const Shape& out) const {
  Field f = *find(x);
  const int nd = x.ndim();
  for (int i = 0; i < 2; ++i) {
    const int d = nd - 2 + i;
    const int64_t in = x.shape()[d], to = out[out.ndim() - 2 + i];
    if (&op == &ops::conv2d) {
      const auto& a = attrs.as<Conv2dAttrs>();
      const auto first = static_cast<double>(-a.padding[2 * i]);
      const auto span = static_cast<double>(a.dilation[i] * (weight->shape()[2 + i] - 1));
      window(f, d, first, first + span, static_cast<double>(a.stride[i]));
    } else if (&op == &ops::conv2d_input_grad) {
      // Transposed: at most one in `stride` places of the kernel meets a value.
      const auto& a = attrs.as<Conv2dAttrs>();
      const int64_t span = a.dilation[i] * (weight->shape()[2 + i] - 1) / a.stride[i];
      const double last = static_cast<double>(a.padding[2 * i]) / static_cast<double>(a.stride[i]);
      window(f, d, last - static_cast<double>(span), last, 1.0 / static_cast<double>(a.stride[i]));
    } else if (&op == &ops::max_pool2d) {
      const auto& a = attrs.as<MaxPoolAttrs>();
      const auto first = static_cast<double>(-a.padding[i]);
      const auto span = static_cast<double>(a.dilation[i] * (a.kernel[i] - 1));
      window(f, d, first, first + span, static_cast<double>(a.stride[i]));
    } else if (&op == &ops::avg_pool2d) {
      const auto& a = attrs.as<AvgPoolAttrs>();
      const auto first = static_cast<double>(-a.padding[i]);
      window(f, d, first, first + static_cast<double>(a.kernel[i] - 1), static_cast<double>(a.stride[i]));
    } else if (is_one_of(op, {&ops::adaptive_avg_pool2d, &ops::adaptive_max_pool2d})) {
      if (to == 1) see_all_of(f, d);
      else
        window(f, d, 0, static_cast<double>((in + to - 1) / to - 1),
               static_cast<double>(in) / static_cast<double>(to));
    } else {  // upsampling and unpooling
      const bool two = &op == &ops::upsample2d && attrs.as<UpsampleAttrs>().bilinear && in > 1;
      window(f, d, 0, two ? 1 : 0, static_cast<double>(in) / static_cast<double>(std::max<int64_t>(to, 1)));
    }
  }
  return f;
}

// Dimensions of the input and of the view meet where their strides on the dense storage do.
ReceptiveFields::Field ReceptiveFields::through_view(const ViewSpec& view, const Tensor& x) const {
  const Shape &in = x.shape(), &out = view.spec.shape;
  const Strides from = contiguous_strides(in), &to = view.spec.strides;
  Field f = *find(x);
  for (AxisView& v : f) {
    const uint32_t old = std::exchange(v.dims, 0);
    const double old_step = v.step;
    int meetings = 0;
    for (int d = 0; d < in.ndim(); ++d) {
      if (!(old >> d & 1u) || in[d] == 0) continue;
      const auto at = static_cast<double>(view.offset / from[d] % in[d]);
      if (v.regular) v.begin += at * old_step, v.end += at * old_step;
      for (int o = 0; o < out.ndim(); ++o) {
        const int64_t stride = std::abs(to[o]);
        if (stride == 0 || (out[o] == 1 && in[d] != 1)) continue;
        const bool even = stride % from[d] == 0 && stride * (out[o] - 1) <= from[d] * (in[d] - 1);
        const bool overlap = stride < from[d] * in[d] && from[d] < stride * out[o];
        if (!even && !overlap) continue;
        if (in[d] == 1 && in.ndim() == out.ndim() && o != d) continue;  // strides of extent 1 tell nothing
        v.dims |= 1u << o;
        ++meetings;
        if (even) v.step = old_step * static_cast<double>(to[o] / from[d]);
        else v.regular = false;
      }
    }
    if (meetings > 1) v.regular = false;
  }
  return f;
}

ReceptiveFields::Field ReceptiveFields::through_reduction(Field f, uint64_t dims, bool keepdim) const {
  for (size_t a = 0; a < f.size(); ++a) {
    if (f[a].dims & dims) see_all(f, a);
    if (keepdim) continue;
    uint32_t left = 0;
    for (int d = 0, to = 0; d < Shape::kMaxDims; ++d) {
      if (dims >> d & 1u) continue;
      left |= (f[a].dims >> d & 1u) << to++;
    }
    f[a].dims = left;
  }
  return f;
}

// Joins what a further input (of shape `from`) sees to what the others see.
void ReceptiveFields::merge(Field& into, Field f, const Shape& from, const Shape& out,
                            bool align_right) const {
  const int shift = align_right ? out.ndim() - from.ndim() : 0;
  for (AxisView& v : f) {
    uint32_t dims = 0;
    for (int d = 0; d < from.ndim(); ++d) {
      const int o = d + shift;
      if ((v.dims >> d & 1u) && o < out.ndim() && (from[d] != 1 || out[o] == 1)) dims |= 1u << o;
    }
    v.dims = dims;
  }
  if (into.empty()) {
    into = std::move(f);
    return;
  }
  for (size_t a = 0; a < f.size(); ++a) {
    AxisView &v = into[a], &w = f[a];
    if (v.whole || w.whole) {
      see_all(into, a);
      continue;
    }
    v.begin = std::min(v.begin, w.begin);
    v.end = std::max(v.end, w.end);
    v.regular = v.regular && w.regular && (v.dims == w.dims || !v.dims || !w.dims);
    if (std::abs(w.step) > std::abs(v.step)) v.step = w.step;
    v.dims |= w.dims;
  }
}

}  // namespace hebb::train::detail
