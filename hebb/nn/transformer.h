// Attention layers (Vaswani et al., 2017).
#pragma once
#include <cstdint>
#include <string>

#include "hebb/nn/dropout.h"
#include "hebb/nn/linear.h"
#include "hebb/nn/norm.h"

namespace hebb::nn {

/// Options of MultiheadAttention.
struct MultiheadAttentionOptions {
  double dropout = 0;  ///< in training, drops attention weights with this probability
  bool bias = true;
  bool batch_first = false;  ///< sequences are [B, L, E] in place of [L, B, E]
};
/// Options of its call.
struct AttentionCall {
  Tensor mask =
      {};  ///< broadcasts to [B, heads, L, S]: bool, true where a key may be seen, or numbers to add
  bool is_causal = false;     ///< query i sees the keys 0 to i only
  bool need_weights = false;  ///< whether the weights are given too; slower
};
/// What it gives.
struct AttentionOutput {
  Tensor output;   ///< of the shape of the queries
  Tensor weights;  ///< [B, L, S], averaged over the heads, if asked for; else undefined
};
/// Each of `num_heads` heads attends, with its part of the projected queries, to its part of the projected
/// keys and values; all heads together are projected once more. Queries [L, B, E], keys and values [S, B, E],
/// or without B. The projections in in_proj_weight start Glorot uniform, biases as zeros. Parameters are
/// named as PyTorch's. Scores are computed in blocks and never kept whole, but with a mask, with dropout in
/// training or where the weights are asked for, which take [B, heads, L, S] of memory. A bool mask means the
/// opposite of PyTorch's attn_mask here (and the same as in its scaled_dot_product_attention and in Keras).
/// Throws Error unless num_heads divides embed_dim, and for inputs of other shapes.
struct MultiheadAttention : Module {
  int64_t embed_dim, num_heads;
  MultiheadAttentionOptions options;
  Parameter in_proj_weight;  ///< [3 embed_dim, embed_dim]: for queries, keys, values
  Parameter in_proj_bias;    ///< [3 embed_dim], or undefined
  Linear out_proj;

  MultiheadAttention(int64_t embed_dim, int64_t num_heads, MultiheadAttentionOptions options = {});
  /// Draws all parameters anew.
  void reset_parameters();
  /// What the queries find; self-attention (one tensor three times) takes one product for all projections.
  AttentionOutput forward(const Tensor& query, const Tensor& key, const Tensor& value,
                          const AttentionCall& call = {});
  std::string extra_repr() const override;
  HEBB_MEMBERS(in_proj_weight, in_proj_bias, out_proj)
};

/// Options of TransformerEncoderLayer.
struct TransformerEncoderLayerOptions {
  int64_t dim_feedforward = 2048;
  double dropout = 0.1;
  std::string activation = "relu";  ///< or "gelu"
  double layer_norm_eps = 1e-5;
  bool batch_first = false;
  bool norm_first = false;  ///< normalise before attention and feed-forward in place of behind them
  bool bias = true;
};
/// Self-attention and a feed-forward network of two layers, each with a shortcut and layer normalisation: [L,
/// B, d_model] -> the same shape.
struct TransformerEncoderLayer : Module {
  TransformerEncoderLayerOptions options;
  MultiheadAttention self_attn;
  Linear linear1, linear2;
  LayerNorm norm1, norm2;
  Dropout dropout, dropout1, dropout2;

  TransformerEncoderLayer(int64_t d_model, int64_t num_heads, TransformerEncoderLayerOptions options = {});
  Tensor forward(const Tensor& x, const AttentionCall& call = {});
  HEBB_MEMBERS(self_attn, linear1, dropout, linear2, norm1, norm2, dropout1, dropout2)
};

}  // namespace hebb::nn
