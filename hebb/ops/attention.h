// Scaled dot-product attention.
#pragma once
#include <cstdint>
#include <optional>

#include "hebb/core/tensor.h"

namespace hebb {

/// Options of scaled_dot_product_attention.
struct AttentionOptions {
  Tensor mask = {};                  ///< broadcasts to [..., L, S]: bool (true: seen), or added numbers
  double dropout = 0;                ///< drops weights with this probability
  bool causal = false;               ///< query i sees the keys 0 to i only
  std::optional<double> scale = {};  ///< of the products; 1/sqrt(E) if not given
  int64_t heads = 1;                 ///< side by side in the rows: q [..., L, heads E] and so on
};
/// softmax(scale q k^T + mask) v over the keys: q [..., L, E], k [..., S, E], v [..., S, V] -> [..., L, V].
/// With several heads side by side each is attended on its own; masks then broadcast to [..., heads, L, S].
/// Without mask and dropout the scores are computed in blocks of queries, forward and backward, and never
/// kept. Throws Error unless leading dimensions, extents and types agree, and for a mask together with
/// causal. Source: Vaswani et al., "Attention Is All You Need", 2017; in blocks: Dao et al.,
/// "FlashAttention", 2022.
Tensor scaled_dot_product_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                                    const AttentionOptions& options = {});

}  // namespace hebb
