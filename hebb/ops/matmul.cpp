#include "hebb/ops/matmul.h"

#include "hebb/op/autocast.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/matmul_attrs.h"
#include "hebb/ops/op_support.h"
#include "hebb/ops/reduce.h"
#include "hebb/ops/table.h"
#include "hebb/ops/view.h"

namespace hebb {

using namespace detail;

namespace {

Tensor product(const Tensor& a, const Tensor& b, bool trans_a, bool trans_b, bool bf16) {
  return apply1(ops::matmul, MatmulAttrs{trans_a, trans_b, bf16}, {a, b});
}

struct Sizes {
  int64_t m, n, ka, kb;
};
Sizes sizes(const Shape& a, const Shape& b, const MatmulAttrs& t) {
  const int x = a.ndim(), y = b.ndim();
  return {a[t.trans_a ? x - 1 : x - 2], b[t.trans_b ? y - 2 : y - 1], a[t.trans_a ? x - 2 : x - 1],
          b[t.trans_b ? y - 1 : y - 2]};
}
Shape batch_of(const Shape& s) { return Shape(std::span<const int64_t>(s.begin(), s.end() - 2)); }

Specs infer_matmul(SpecPtrs in, const Attrs& attrs) {
  const Shape &a = in[0]->shape, &b = in[1]->shape;
  HEBB_CHECK(a.ndim() >= 2 && b.ndim() >= 2,
             "[matmul] expected operands of at least 2 dimensions, got {} and {}", a.str(), b.str());
  expect_same_type(*in[0], *in[1], "matmul");
  const Sizes z = sizes(a, b, attrs.as<MatmulAttrs>());
  HEBB_CHECK(z.ka == z.kb, "[matmul] expected equal inner extents, got {} and {} (operands {} and {})", z.ka,
             z.kb, a.str(), b.str());
  Shape out = broadcast_shapes(batch_of(a), batch_of(b), "matmul");
  out.push_back(z.m);
  out.push_back(z.n);
  return TensorSpec(out, in[0]->dtype, in[0]->device);
}

std::vector<Tensor> vjp_matmul(const VjpArgs& s) {
  const auto t = s.attrs.as<MatmulAttrs>();
  const Tensor &a = s.inputs[0], &b = s.inputs[1], &g = s.grads[0];
  std::vector<Tensor> out(2);
  if (s.needs[0])
    out[0] =
        sum_to(t.trans_a ? product(b, g, t.trans_b, true, t.bf16) : product(g, b, false, !t.trans_b, t.bf16),
               a.shape());
  if (s.needs[1])
    out[1] =
        sum_to(t.trans_b ? product(g, a, true, t.trans_a, t.bf16) : product(a, g, !t.trans_a, false, t.bf16),
               b.shape());
  return out;
}

Outputs jvp_matmul(const JvpArgs& s) {
  Tensor y;
  if (s.tangents[0].defined()) y = apply1(ops::matmul, s.attrs, {s.tangents[0], s.inputs[1]});
  if (s.tangents[1].defined()) {
    const Tensor z = apply1(ops::matmul, s.attrs, {s.inputs[0], s.tangents[1]});
    y = y.defined() ? y + z : z;
  }
  return y;
}

void reference_matmul(const ReferenceArgs& s) {
  const auto t = s.attrs.as<MatmulAttrs>();
  const Shape &a = s.inputs[0].shape(), &b = s.inputs[1].shape(), &y = s.outputs[0].shape();
  const Sizes z = sizes(a, b, t);
  with_plain_type(s.outputs[0].dtype(), [&]<class T>() {
    const std::vector<T> va = values<T>(s.inputs[0]), vb = values<T>(s.inputs[1]);
    std::vector<T> out;
    for_each_index(batch_of(y), [&](const Shape& at) {
      const T* pa = va.data() + broadcast_offset(at, batch_of(a)) * z.m * z.ka;
      const T* pb = vb.data() + broadcast_offset(at, batch_of(b)) * z.ka * z.n;
      for (int64_t i = 0; i < z.m; ++i)
        for (int64_t j = 0; j < z.n; ++j) {
          T sum = 0;
          for (int64_t k = 0; k < z.ka; ++k)
            sum += pa[t.trans_a ? k * z.m + i : i * z.ka + k] * pb[t.trans_b ? j * z.ka + k : k * z.n + j];
          out.push_back(sum);
        }
    });
    store(s.outputs[0], out);
  });
}

// ---- linear

Tensor rows(const Tensor& x) {
  int64_t n = 1;
  for (int d = 0; d + 1 < x.ndim(); ++d) n *= x.shape()[d];
  return reshape(x, {n, x.shape().back()});
}

Specs infer_linear(SpecPtrs in, const Attrs&) {
  const Shape &x = in[0]->shape, &w = in[1]->shape;
  HEBB_CHECK(w.ndim() == 2, "[linear] expected a weight of 2 dimensions [out, in], got {}", w.str());
  HEBB_CHECK(x.ndim() >= 1 && x.back() == w[1],
             "[linear] expected an input with {} features (weight {}), got {}", w[1], w.str(), x.str());
  expect_same_type(*in[0], *in[1], "linear");
  if (in.size() == 3) {
    HEBB_CHECK(in[2]->shape == Shape({w[0]}), "[linear] expected a bias of shape {} (weight {}), got {}",
               w[0], w.str(), in[2]->shape.str());
    expect_same_type(*in[0], *in[2], "linear");
  }
  Shape out = x;
  out[x.ndim() - 1] = w[0];
  return TensorSpec(out, in[0]->dtype, in[0]->device);
}

void reference_linear(const ReferenceArgs& s) {
  const int64_t in = s.inputs[1].shape()[1], out = s.inputs[1].shape()[0];
  const int64_t n = s.outputs[0].numel() / std::max<int64_t>(1, out);
  with_plain_type(s.outputs[0].dtype(), [&]<class T>() {
    const std::vector<T> x = values<T>(s.inputs[0]), w = values<T>(s.inputs[1]);
    const std::vector<T> b =
        s.inputs.size() == 3 ? values<T>(s.inputs[2]) : std::vector<T>(static_cast<size_t>(out));
    std::vector<T> y;
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < out; ++j) {
        T sum = b[j];
        for (int64_t k = 0; k < in; ++k) sum += x[i * in + k] * w[j * in + k];
        y.push_back(sum);
      }
    store(s.outputs[0], y);
  });
}

}  // namespace

namespace ops {

const OpDef matmul{
    .name = "matmul",
    .kind = Kind::Contract,
    .doc = "matrix product of the last two dimensions",
    .infer = infer_matmul,
    .vjp = vjp_matmul,
    .jvp = jvp_matmul,
    .reference = reference_matmul,
    .samples = []() -> std::vector<Sample> {
      return {{"plain", {{{5, 7}}, {{7, 3}}}, MatmulAttrs{}},
              {"a_t", {{{7, 5}}, {{7, 3}}}, MatmulAttrs{true, false}},
              {"b_t", {{{5, 7}}, {{3, 7}}}, MatmulAttrs{false, true}},
              {"both_t", {{{7, 5}}, {{3, 7}}}, MatmulAttrs{true, true}},
              {"batch", {{{2, 1, 4, 3}}, {{5, 3, 2}}}, MatmulAttrs{}},
              {"inner_empty", {{{2, 0}}, {{0, 3}}}, MatmulAttrs{}}};
    },
    .error_samples = []() -> std::vector<ErrorSample> {
      return {{{{{2, 3}}, {{4, 2}}}, MatmulAttrs{}, "expected equal inner extents, got 3 and 4"},
              {{{{3}}, {{3, 2}}}, MatmulAttrs{}, "expected operands of at least 2 dimensions, got 3 and 3x2"},
              {{{{2, 3}}, {{3, 2}, -2, 2, f64}},
               MatmulAttrs{},
               "expected operands of one type, got f32 and f64"}};
    },
    .saves_inputs = 3,
    .multiply_adds =
        [](SpecPtrs in, const Specs& out, const Attrs& attrs) {
          const auto t = attrs.as<MatmulAttrs>();
          return out[0].shape.numel() * sizes(in[0]->shape, in[1]->shape, t).ka;
        }};

const OpDef linear{
    .name = "linear",
    .kind = Kind::Contract,
    .doc = "x W^T + b",
    .infer = infer_linear,
    .vjp = [](const VjpArgs& s) -> std::vector<Tensor> {
      const Tensor g = rows(s.grads[0]);
      const bool low = s.attrs.as<ProductAttrs>().bf16;
      std::vector<Tensor> out(s.inputs.size());
      if (s.needs[0]) out[0] = hebb::reshape(product(g, s.inputs[1], false, false, low), s.inputs[0].shape());
      if (s.needs[1]) out[1] = product(g, rows(s.inputs[0]), true, false, low);
      if (s.inputs.size() == 3 && s.needs[2]) out[2] = hebb::sum(g, {0});
      return out;
    },
    .jvp = [](const JvpArgs& s) -> Outputs {
      Tensor y;
      auto add_up = [&y](const Tensor& t) { y = y.defined() ? y + t : t; };
      if (s.tangents[0].defined()) add_up(apply1(linear, s.attrs, {s.tangents[0], s.inputs[1]}));
      if (s.tangents[1].defined()) add_up(apply1(linear, s.attrs, {s.inputs[0], s.tangents[1]}));
      if (s.inputs.size() == 3 && s.tangents[2].defined())
        add_up(hebb::expand(s.tangents[2], s.outputs[0].shape()));
      return y;
    },
    .reference = reference_linear,
    .samples = []() -> std::vector<Sample> {
      return {{"bias", {{{6, 5}}, {{4, 5}}, {{4}}}, ProductAttrs{}},
              {"plain", {{{3, 5}}, {{4, 5}}}, ProductAttrs{}},
              {"1d", {{{5}}, {{4, 5}}, {{4}}}, ProductAttrs{}},
              {"3d", {{{2, 3, 5}}, {{4, 5}}, {{4}}}, ProductAttrs{}},
              {"empty", {{{0, 5}}, {{4, 5}}, {{4}}}, ProductAttrs{}}};
    },
    .error_samples = []() -> std::vector<ErrorSample> {
      return {
          {{{{6, 5}}, {{4, 3}}}, ProductAttrs{}, "expected an input with 3 features (weight 4x3), got 6x5"},
          {{{{6, 5}}, {{5}}}, ProductAttrs{}, "expected a weight of 2 dimensions [out, in], got 5"},
          {{{{6, 5}}, {{4, 5}}, {{5}}}, ProductAttrs{}, "expected a bias of shape 4 (weight 4x5), got 5"}};
    },
    .saves_inputs = 3,
    .multiply_adds = [](SpecPtrs in, const Specs& out,
                        const Attrs&) { return out[0].shape.numel() * in[1]->shape[1]; }};

}  // namespace ops

Tensor matmul(const Tensor& a, const Tensor& b) {
  if (a.ndim() == 1) return squeeze(matmul(unsqueeze(a, 0), b), b.ndim() == 1 ? 0 : -2);
  if (b.ndim() == 1) return squeeze(matmul(a, unsqueeze(b, 1)), -1);
  // A transposed view is handed on as the dense matrix beneath it.
  auto beneath = [](const Tensor& t) -> std::optional<Tensor> {
    if (t.ndim() < 2 || t.is_contiguous()) return std::nullopt;
    Shape shape = t.shape();
    Strides strides = t.strides();
    std::swap(shape[t.ndim() - 1], shape[t.ndim() - 2]);
    std::swap(strides[t.ndim() - 1], strides[t.ndim() - 2]);
    return is_contiguous(shape, strides) ? std::optional(transpose(t)) : std::nullopt;
  };
  const auto ta = beneath(a), tb = beneath(b);
  return product(ta ? *ta : a, tb ? *tb : b, ta.has_value(), tb.has_value(), rounds(a));
}

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  const ProductAttrs attrs{rounds(x)};
  return bias.defined() ? apply1(ops::linear, attrs, {x, weight, bias})
                        : apply1(ops::linear, attrs, {x, weight});
}

}  // namespace hebb
