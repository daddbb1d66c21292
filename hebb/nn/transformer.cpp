#include "hebb/nn/transformer.h"

#include <limits>

#include "hebb/nn/layer_support.h"
#include "hebb/ops/attention.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/join.h"
#include "hebb/ops/matmul.h"
#include "hebb/ops/norm.h"
#include "hebb/ops/reduce.h"
#include "hebb/ops/view.h"

namespace hebb::nn {

using detail::expect_at_least;
using detail::repr;

MultiheadAttention::MultiheadAttention(int64_t embed, int64_t heads, MultiheadAttentionOptions o)
    : embed_dim(embed),
      num_heads(heads),
      options(o),
      out_proj(std::max<int64_t>(1, embed), std::max<int64_t>(1, embed), {.bias = o.bias}) {
  expect_at_least(1, embed, "MultiheadAttention", "embed_dim");
  expect_at_least(1, heads, "MultiheadAttention", "num_heads");
  detail::expect_probability(o.dropout, "MultiheadAttention");
  HEBB_CHECK(embed % heads == 0, "[MultiheadAttention] expected num_heads to divide embed_dim, got {} and {}",
             heads, embed);
  in_proj_weight = Parameter(Tensor::empty({3 * embed, embed}));
  if (o.bias) in_proj_bias = Parameter(Tensor::empty({3 * embed}));
  reset_parameters();
}
void MultiheadAttention::reset_parameters() {
  init::xavier_uniform_(in_proj_weight);
  out_proj.reset_parameters();
  if (!options.bias) return;
  init::constant_(in_proj_bias, 0);
  init::constant_(out_proj.bias, 0);
}
AttentionOutput MultiheadAttention::forward(const Tensor& query, const Tensor& key, const Tensor& value,
                                            const AttentionCall& call) {
  const bool batched = query.ndim() == 3;
  for (const Tensor* t : {&query, &key, &value}) {
    HEBB_CHECK(
        (query.ndim() == 2 || batched) && t->ndim() == query.ndim() && t->size(-1) == embed_dim,
        "[MultiheadAttention] expected sequences of shape {} or [L, {}], got {}, {} and {}",
        options.batch_first ? fmt::format("[B, L, {}]", embed_dim) : fmt::format("[L, B, {}]", embed_dim),
        embed_dim, query.shape().str(), key.shape().str(), value.shape().str());
  }
  HEBB_CHECK(!call.mask.defined() || !call.is_causal,
             "[MultiheadAttention] expected a mask or is_causal, got both");
  // Each as [B, L, E], projected: a row holds the heads side by side.
  const auto batch_first = [&](const Tensor& x) {
    return !batched ? unsqueeze(x, 0) : options.batch_first ? x : transpose(x, 0, 1);
  };
  const auto is = [](const Tensor& a, const Tensor& b) { return a.impl() == b.impl(); };
  std::vector<Tensor> parts;
  if (is(query, key) && is(key, value)) {
    parts = split(linear(batch_first(query), in_proj_weight, in_proj_bias), embed_dim, -1);
  } else {
    const Tensor* from[] = {&query, &key, &value};
    for (int64_t i = 0; i < 3; ++i) {
      const Tensor bias =
          in_proj_bias.defined() ? narrow(in_proj_bias, 0, i * embed_dim, embed_dim) : Tensor();
      parts.push_back(
          linear(batch_first(*from[i]), narrow(in_proj_weight, 0, i * embed_dim, embed_dim), bias));
    }
  }
  const Tensor &q = parts[0], &k = parts[1], &v = parts[2];
  HEBB_CHECK(
      q.size(0) == k.size(0) && k.shape() == v.shape(),
      "[MultiheadAttention] expected sequences of one batch, keys as many as values, got {}, {} and {}",
      query.shape().str(), key.shape().str(), value.shape().str());
  const double p = is_training() ? options.dropout : 0;
  AttentionOutput result;
  const Tensor y = scaled_dot_product_attention(
      q, k, v, {.mask = call.mask, .dropout = p, .causal = call.is_causal, .heads = num_heads});
  if (call.need_weights) {
    // The attention of the values that are one for their own key and zero for all others.
    const auto heads = [&](const Tensor& x) {
      return transpose(reshape(x, {x.size(0), x.size(1), num_heads, embed_dim / num_heads}), 1, 2);
    };
    Tensor each_key = eye(k.size(-2), k.size(-2), q.dtype());
    each_key = expand(each_key, {k.size(0), num_heads, k.size(-2), k.size(-2)});
    result.weights = mean(scaled_dot_product_attention(heads(q), heads(k), each_key,
                                                       {.mask = call.mask, .causal = call.is_causal}),
                          {1});
    if (!batched) result.weights = squeeze(result.weights, 0);
  }
  const Tensor joined = out_proj(y);
  result.output = !batched ? squeeze(joined, 0) : options.batch_first ? joined : transpose(joined, 0, 1);
  return result;
}
std::string MultiheadAttention::extra_repr() const {
  std::string text = fmt::format("{}, {}", embed_dim, num_heads);
  if (options.dropout != 0) text += ", dropout=" + repr(options.dropout);
  if (!options.bias) text += ", bias=False";
  if (options.batch_first) text += ", batch_first=True";
  return text;
}

TransformerEncoderLayer::TransformerEncoderLayer(int64_t d_model, int64_t heads,
                                                 TransformerEncoderLayerOptions o)
    : options(std::move(o)),
      self_attn(d_model, heads,
                {.dropout = options.dropout, .bias = options.bias, .batch_first = options.batch_first}),
      linear1(d_model, options.dim_feedforward, {.bias = options.bias}),
      linear2(options.dim_feedforward, d_model, {.bias = options.bias}),
      norm1(d_model, {.eps = options.layer_norm_eps, .bias = options.bias}),
      norm2(d_model, {.eps = options.layer_norm_eps, .bias = options.bias}),
      dropout(options.dropout),
      dropout1(options.dropout),
      dropout2(options.dropout) {
  HEBB_CHECK(options.activation == "relu" || options.activation == "gelu",
             "[TransformerEncoderLayer] expected an activation of relu, gelu, got \"{}\"",
             options.activation);
}
Tensor TransformerEncoderLayer::forward(const Tensor& x, const AttentionCall& call) {
  const auto attend = [&](const Tensor& t) { return dropout1(self_attn(t, t, t, call).output); };
  const auto feed_forward = [&](const Tensor& t) {
    const Tensor h = linear1(t);
    return dropout2(linear2(dropout(options.activation == "relu" ? relu(h) : gelu(h))));
  };
  if (options.norm_first) {
    const Tensor y = x + attend(norm1(x));
    return y + feed_forward(norm2(y));
  }
  const Tensor y = norm1(x + attend(x));
  return norm2(y + feed_forward(y));
}

}  // namespace hebb::nn
