// Attention without mask or dropout as one op with its gradient, which computes the weights again from the
// scores and the logarithm of their sums.
#include "hebb/ops/attention.h"

#include <cmath>
#include <limits>

#include "hebb/op/autocast.h"
#include "hebb/ops/attention_attrs.h"
#include "hebb/ops/creation.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/join.h"
#include "hebb/ops/matmul.h"
#include "hebb/ops/norm.h"
#include "hebb/ops/op_support.h"
#include "hebb/ops/random.h"
#include "hebb/ops/reduce.h"
#include "hebb/ops/table.h"
#include "hebb/ops/view.h"

namespace hebb {

using namespace detail;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

Shape leading(const Shape& s, int dims = 2) {
  return Shape(std::span<const int64_t>(s.begin(), static_cast<size_t>(s.ndim() - dims)));
}
Shape with(Shape s, std::initializer_list<int64_t> more) {
  for (const int64_t n : more) s.insert(s.ndim(), n);
  return s;
}

void check_operands(const TensorSpec& q, const TensorSpec& k, const TensorSpec& v, int64_t heads,
                    const char* op) {
  expect_float(q, op, "queries");
  expect_same_type(q, k, op);
  expect_same_type(q, v, op);
  const int n = q.shape.ndim();
  HEBB_CHECK(n >= 2 && k.shape.ndim() == n && v.shape.ndim() == n && leading(q.shape) == leading(k.shape) &&
                 leading(q.shape) == leading(v.shape) && q.shape[n - 1] == k.shape[n - 1] &&
                 k.shape[n - 2] == v.shape[n - 2],
             "[{}] expected queries [..., L, E], keys [..., S, E] and values [..., S, V], got {}, {} and {}",
             op, q.shape.str(), k.shape.str(), v.shape.str());
  HEBB_CHECK(k.shape[n - 2] > 0, "[{}] expected at least one key, got {}", op, k.shape.str());
  HEBB_CHECK(heads >= 1 && q.shape[n - 1] % heads == 0 && v.shape[n - 1] % heads == 0,
             "[{}] expected rows that divide by {} heads, got {} and {} elements", op, heads, q.shape[n - 1],
             v.shape[n - 1]);
}

// Extents of a call: `count` heads of l queries and s keys of e elements, values of v. A row of an operand
// holds `heads` of them.
struct Extents {
  int64_t count, heads, l, s, e, v;
  Extents(const Shape& q, const Shape& values, const AttentionAttrs& a)
      : count(a.heads),
        heads(a.heads),
        l(q[q.ndim() - 2]),
        s(values[values.ndim() - 2]),
        e(q.back() / heads),
        v(values.back() / heads) {
    for (int d = 0; d < q.ndim() - 2; ++d) count *= q[d];
  }
  // The place of line i of head b, of `lines` lines of `width` elements.
  int64_t at(int64_t b, int64_t i, int64_t lines, int64_t width) const {
    return ((b / heads * lines + i) * heads + b % heads) * width;
  }
};
// Of the logarithms of sums: [..., L], or [..., heads, L].
Shape lse_shape(const Shape& q, int64_t heads) {
  return heads == 1 ? leading(q, 1) : with(leading(q), {heads, q[q.ndim() - 2]});
}

// The scaled scores of query i of head b with keys [0, n).
struct Scores {
  std::vector<double> values;
  Scores(const Extents& x, const AttentionAttrs& a, const std::vector<double>& q,
         const std::vector<double>& k, int64_t b, int64_t i) {
    const int64_t n = a.causal ? std::min(x.s, i + 1) : x.s;
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (int64_t c = 0; c < x.e; ++c) sum += q[x.at(b, i, x.l, x.e) + c] * k[x.at(b, j, x.s, x.e) + c];
      values.push_back(sum * a.scale);
    }
  }
};

void reference_attention(const ReferenceArgs& s) {
  const auto& a = s.attrs.as<AttentionAttrs>();
  const Extents x(s.inputs[0].shape(), s.inputs[2].shape(), a);
  const std::vector<double> q = values<double>(s.inputs[0]), k = values<double>(s.inputs[1]),
                            v = values<double>(s.inputs[2]);
  std::vector<double> y(static_cast<size_t>(x.count * x.l * x.v)), lse;
  for (int64_t b = 0; b < x.count; ++b) {
    for (int64_t i = 0; i < x.l; ++i) {
      const Scores scores(x, a, q, k, b, i);
      double largest = -kInf, sum = 0;
      for (const double z : scores.values) largest = std::max(largest, z);
      for (const double z : scores.values) sum += std::exp(z - largest);
      lse.push_back(largest + std::log(sum));
      for (size_t j = 0; j < scores.values.size(); ++j)
        for (int64_t c = 0; c < x.v; ++c)
          y[x.at(b, i, x.l, x.v) + c] +=
              std::exp(scores.values[j] - largest) / sum * v[x.at(b, static_cast<int64_t>(j), x.s, x.v) + c];
    }
  }
  store(s.outputs[0], y);
  store(s.outputs[1], lse);
}

// Inputs: gradients of y and lse; q, k, v; y, lse.
void reference_attention_grad(const ReferenceArgs& s) {
  const auto& a = s.attrs.as<AttentionAttrs>();
  const Extents x(s.inputs[2].shape(), s.inputs[4].shape(), a);
  std::vector<double> in[7];
  for (int i = 0; i < 7; ++i) in[i] = values<double>(s.inputs[i]);
  const auto &gy = in[0], &g_lse = in[1], &q = in[2], &k = in[3], &v = in[4], &y = in[5], &lse = in[6];
  std::vector<double> gq(q.size(), 0.0), gk(k.size(), 0.0), gv(v.size(), 0.0);
  for (int64_t b = 0; b < x.count; ++b) {
    for (int64_t i = 0; i < x.l; ++i) {
      const Scores scores(x, a, q, k, b, i);
      const int64_t out = x.at(b, i, x.l, x.v), query = x.at(b, i, x.l, x.e);
      double mean = -g_lse[b * x.l + i];
      for (int64_t c = 0; c < x.v; ++c) mean += gy[out + c] * y[out + c];
      for (size_t j = 0; j < scores.values.size(); ++j) {
        const int64_t key = x.at(b, static_cast<int64_t>(j), x.s, x.e),
                      value = x.at(b, static_cast<int64_t>(j), x.s, x.v);
        const double p = std::exp(scores.values[j] - lse[b * x.l + i]);
        double gp = 0;
        for (int64_t c = 0; c < x.v; ++c) {
          gp += gy[out + c] * v[value + c];
          gv[value + c] += p * gy[out + c];
        }
        const double g = p * (gp - mean) * a.scale;
        for (int64_t c = 0; c < x.e; ++c) {
          gq[query + c] += g * k[key + c];
          gk[key + c] += g * q[query + c];
        }
      }
    }
  }
  store(s.outputs[0], gq);
  store(s.outputs[1], gk);
  store(s.outputs[2], gv);
}

// [..., L, heads E] as [..., heads, L, E], and back.
Tensor apart(const Tensor& x, int64_t heads) {
  if (heads == 1) return x;
  return transpose(reshape(x, with(leading(x.shape(), 1), {heads, x.size(-1) / heads})), -3, -2);
}
Tensor joined(const Tensor& x, int64_t heads) {
  if (heads == 1) return x;
  const Tensor rows = transpose(x, -3, -2);
  return reshape(rows, with(leading(rows.shape()), {heads * x.size(-1)}));
}

// Whether each query sees each key, [L, S].
Tensor seen(int64_t l, int64_t s) { return tril(ones({l, s})) != 0.0; }

Outputs decompose_attention_grad(const Attrs& attrs, std::span<const Tensor> in) {
  const auto& a = attrs.as<AttentionAttrs>();
  const auto heads = [&](int i) { return apart(in[i], a.heads); };
  const Tensor gy = heads(0), q = heads(2), k = heads(3), v = heads(4), y = heads(5);
  const Tensor &g_lse = in[1], &lse = in[6];
  const Autocast products(a.bf16 ? bf16 : f32);
  Tensor scores = matmul(q, transpose(k)) * a.scale;
  if (a.causal) scores = where(seen(q.size(-2), k.size(-2)), scores, -kInf);
  const Tensor p = exp(scores - unsqueeze(lse, -1));
  const Tensor mean = sum(gy * y, {-1}, true) - unsqueeze(g_lse, -1);
  const Tensor g = p * (matmul(gy, transpose(v)) - mean) * a.scale;
  return {joined(matmul(g, k), a.heads), joined(matmul(transpose(g), q), a.heads),
          joined(matmul(transpose(p), gy), a.heads)};
}

}  // namespace

namespace ops {

const OpDef attention{
    .name = "attention",
    .doc = "softmax(scale q k^T) v, and the logarithm of each query's sum of exponentials",
    .infer =
        [](SpecPtrs in, const Attrs& a) {
          const int64_t heads = a.as<AttentionAttrs>().heads;
          check_operands(*in[0], *in[1], *in[2], heads, "attention");
          const Shape& q = in[0]->shape;
          return Specs{{with(leading(q, 1), {in[2]->shape.back()}), in[0]->dtype, in[0]->device},
                       {lse_shape(q, heads), in[0]->dtype, in[0]->device}};
        },
    .vjp = [](const VjpArgs& s) -> std::vector<Tensor> {
      const Tensor in[] = {s.grads[0],  s.grads[1],   s.inputs[0], s.inputs[1],
                           s.inputs[2], s.outputs[0], s.outputs[1]};
      const Outputs g = apply(attention_grad, s.attrs, in);
      return {g[0], g[1], g[2]};
    },
    .reference = reference_attention,
    .samples = []() -> std::vector<Sample> {
      return {{"plain", {{{2, 3, 4}}, {{2, 5, 4}}, {{2, 5, 3}}}, AttentionAttrs{0.5, false}},
              {"causal", {{{2, 2, 6, 3}}, {{2, 2, 6, 3}}, {{2, 2, 6, 3}}}, AttentionAttrs{0.7, true}},
              {"heads", {{{2, 4, 6}}, {{2, 5, 6}}, {{2, 5, 4}}}, AttentionAttrs{0.6, true, 2}},
              {"causal_few_keys", {{{5, 4}}, {{3, 4}}, {{3, 4}}}, AttentionAttrs{1, true}},
              {"empty", {{{0, 3, 4}}, {{0, 5, 4}}, {{0, 5, 4}}}, AttentionAttrs{1, false}}};
    },
    .error_samples = []() -> std::vector<ErrorSample> {
      const AttentionAttrs a;
      return {
          {{{{3, 4}}, {{5, 3}}, {{5, 4}}}, a, "values [..., S, V], got 3x4, 5x3 and 5x4"},
          {{{{3, 4}}, {{5, 4}}, {{4, 4}}}, a, "values [..., S, V], got 3x4, 5x4 and 4x4"},
          {{{{2, 3, 4}}, {{1, 5, 4}}, {{2, 5, 4}}}, a, "got 2x3x4, 1x5x4 and 2x5x4"},
          {{{{4}}, {{4}}, {{4}}}, a, "expected queries [..., L, E]"},
          {{{{3, 4}}, {{0, 4}}, {{0, 4}}}, a, "expected at least one key, got 0x4"},
          {{{{3, 4}}, {{5, 4}}, {{5, 4}}},
           AttentionAttrs{1, false, 3},
           "expected rows that divide by 3 heads, got 4 and 4 elements"},
          {{{{3, 4}, 0, 5, i64}, {{5, 4}}, {{5, 4}}}, a, "expected queries of a floating type, got i64"},
          {{{{3, 4}}, {{5, 4}, -2, 2, f64}, {{5, 4}}}, a, "expected operands of one type, got f32 and f64"}};
    },
    .saves_outputs = 0b11,
    .never_throws = true,
    .multiply_adds =
        [](SpecPtrs in, const Specs&, const Attrs& a) {
          const Extents x(in[0]->shape, in[2]->shape, a.as<AttentionAttrs>());
          return x.count * x.l * x.s * (x.e + x.v) / (a.as<AttentionAttrs>().causal ? 2 : 1);
        }};

const OpDef attention_grad{
    .name = "attention_grad",
    .doc = "gradients of attention for queries, keys and values",
    .infer =
        [](SpecPtrs in, const Attrs& a) {
          const TensorSpec &q = *in[2], &k = *in[3], &v = *in[4];
          const int64_t heads = a.as<AttentionAttrs>().heads;
          check_operands(q, k, v, heads, "attention_grad");
          const Shape lse = lse_shape(q.shape, heads), y = with(leading(q.shape, 1), {v.shape.back()});
          for (const int i : {0, 1, 5, 6}) {
            const Shape& want = i == 0 || i == 5 ? y : lse;
            expect_same_type(q, *in[i], "attention_grad");
            HEBB_CHECK(in[i]->shape == want, "[attention_grad] expected operand {} of shape {}, got {}", i,
                       want.str(), in[i]->shape.str());
          }
          return Specs{
              {q.shape, q.dtype, q.device}, {k.shape, k.dtype, k.device}, {v.shape, v.dtype, v.device}};
        },
    .decompose = decompose_attention_grad,
    .reference = reference_attention_grad,
    .samples = []() -> std::vector<Sample> {
      return {
          {"plain",
           {{{2, 3, 3}}, {{2, 3}}, {{2, 3, 4}}, {{2, 5, 4}}, {{2, 5, 3}}, {{2, 3, 3}}, {{2, 3}, 2, 4}},
           AttentionAttrs{0.5, false}},
          {"causal",
           {{{4, 3}}, {{4}}, {{4, 3}}, {{4, 3}}, {{4, 3}}, {{4, 3}}, {{4}, 2, 4}},
           AttentionAttrs{0.7, true}},
          {"heads",
           {{{2, 3, 4}}, {{2, 2, 3}}, {{2, 3, 6}}, {{2, 5, 6}}, {{2, 5, 4}}, {{2, 3, 4}}, {{2, 2, 3}, 2, 4}},
           AttentionAttrs{0.5, false, 2}}};
    },
    .error_samples = []() -> std::vector<ErrorSample> {
      return {{{{{4, 3}}, {{4}}, {{4, 3}}, {{4, 3}}, {{4, 3}}, {{4, 2}}, {{4}}},
               AttentionAttrs{},
               "expected operand 5 of shape 4x3, got 4x2"},
              {{{{4, 3}}, {{4, 3}}, {{4, 3}}, {{4, 3}}, {{4, 3}}, {{4, 3}}, {{4}}},
               AttentionAttrs{},
               "expected operand 1 of shape 4, got 4x3"}};
    },
    .never_throws = true,
    .multiply_adds =
        [](SpecPtrs in, const Specs&, const Attrs& a) {
          const Extents x(in[2]->shape, in[4]->shape, a.as<AttentionAttrs>());
          return x.count * x.l * x.s * (3 * x.e + 2 * x.v) / (a.as<AttentionAttrs>().causal ? 2 : 1);
        }};

}  // namespace ops

Tensor scaled_dot_product_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                                    const AttentionOptions& o) {
  constexpr const char* kName = "scaled_dot_product_attention";
  check_operands(q.spec(), k.spec(), v.spec(), o.heads, kName);
  HEBB_CHECK(!o.mask.defined() || !o.causal, "[{}] expected a mask or causal, got both", kName);
  HEBB_CHECK(o.dropout >= 0 && o.dropout <= 1, "[{}] expected a dropout in [0, 1], got {}", kName, o.dropout);
  const double scale = o.scale.value_or(1 / std::sqrt(static_cast<double>(q.size(-1) / o.heads)));
  if (!o.mask.defined() && o.dropout == 0) {
    const Tensor in[] = {q, k, v};
    return apply(ops::attention, AttentionAttrs{scale, o.causal, o.heads, rounds(q)}, in)[0];
  }
  Tensor scores = matmul(apart(q, o.heads), transpose(apart(k, o.heads))) * scale;
  if (o.causal) scores = where(seen(q.size(-2), k.size(-2)), scores, -kInf);
  if (o.mask.defined()) scores = o.mask.dtype() == boolean ? where(o.mask, scores, -kInf) : scores + o.mask;
  return joined(matmul(dropout(softmax(scores, -1), o.dropout), apart(v, o.heads)), o.heads);
}

}  // namespace hebb
