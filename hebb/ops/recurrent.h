// Recurrent layers over whole sequences.
#pragma once
#include "hebb/core/tensor.h"

namespace hebb {

/// What lstm gives: h of every step [T, B, H], and h and c after the last one, each [B, H].
struct LstmSequence {
  Tensor output, h, c;
};

/// One layer of long short-term memory over x [T, B, I], from h and c [B, H]. For each step
///   i, f, g, o = x_t w_ih^T + b_ih + h w_hh^T + b_hh,
///   c = sigmoid(f) c + sigmoid(i) tanh(g),  h = sigmoid(o) tanh(c).
/// w_ih is [4H, I] and w_hh [4H, H], rows in the order i, f, g, o; the biases are [4H] or undefined. All of
/// one floating type. Throws Error for other shapes and types and for a sequence of no step. Source:
/// Hochreiter and Schmidhuber, 1997, with the forget gate of Gers et al., 2000, as in PyTorch.
LstmSequence lstm(const Tensor& x, const Tensor& h, const Tensor& c, const Tensor& w_ih, const Tensor& w_hh,
                  const Tensor& b_ih = {}, const Tensor& b_hh = {});

}  // namespace hebb
