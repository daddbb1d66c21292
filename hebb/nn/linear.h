// Layers that are one matrix product or none: linear maps, embeddings, maxout, changes of shape.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "hebb/nn/module.h"

namespace hebb::nn {

/// Options of Linear.
struct LinearOptions {
  bool bias = true;
};
/// x W^T + b: [..., in_features] -> [..., out_features]. Weight and bias start uniform within
/// 1/sqrt(in_features) (Keras' Dense: Glorot uniform and zeros). Throws Error for features below 1.
struct Linear : Module {
  int64_t in_features, out_features;
  Parameter weight;  ///< [out_features, in_features]
  Parameter bias;    ///< [out_features], or undefined

  Linear(int64_t in, int64_t out, LinearOptions options = {});
  /// Draws weight and bias anew.
  void reset_parameters();
  Tensor forward(const Tensor& x);
  std::string extra_repr() const override;
  HEBB_MEMBERS(weight, bias)
};

/// Its input.
struct Identity : Module {
  Tensor forward(const Tensor& x);
  HEBB_MEMBERS()
};

/// Merges dimensions start_dim to end_dim into one: by default all but the batch's.
struct Flatten : Module {
  int64_t start_dim, end_dim;

  explicit Flatten(int64_t start = 1, int64_t end = -1);
  Tensor forward(const Tensor& x);
  std::string extra_repr() const override;
  HEBB_MEMBERS()
};

/// Splits dimension `dim` into `unflattened_size`, of which one extent may be -1.
struct Unflatten : Module {
  int64_t dim;
  Shape unflattened_size;

  Unflatten(int64_t dimension, const Shape& size);
  Tensor forward(const Tensor& x);
  std::string extra_repr() const override;
  HEBB_MEMBERS()
};

/// Options of Bilinear.
struct BilinearOptions {
  bool bias = true;
};
/// x1^T A_k x2 + b_k for each output k: [..., in1] and [..., in2] -> [..., out]. Weight and bias start
/// uniform within 1/sqrt(in1_features).
struct Bilinear : Module {
  int64_t in1_features, in2_features, out_features;
  Parameter weight;  ///< [out_features, in1_features, in2_features]
  Parameter bias;    ///< [out_features], or undefined

  Bilinear(int64_t in1, int64_t in2, int64_t out, BilinearOptions options = {});
  void reset_parameters();
  Tensor forward(const Tensor& x1, const Tensor& x2);
  std::string extra_repr() const override;
  HEBB_MEMBERS(weight, bias)
};

/// Options of Embedding.
struct EmbeddingOptions {
  std::optional<int64_t> padding_idx;  ///< this row starts as zeros and gets no gradient; may be negative
};
/// A row of the weight for each index: i64 or i32 [...] -> [..., embedding_dim]. Rows start standard normal
/// (Keras: uniform within 0.05). Throws Error for an index outside the table.
struct Embedding : Module {
  int64_t num_embeddings, embedding_dim;
  std::optional<int64_t> padding_idx;  ///< counted from the front
  Parameter weight;                    ///< [num_embeddings, embedding_dim]

  Embedding(int64_t count, int64_t dim, EmbeddingOptions options = {});
  void reset_parameters();
  Tensor forward(const Tensor& indices);
  std::string extra_repr() const override;
  HEBB_MEMBERS(weight)
};

/// Options of Maxout.
struct MaxoutOptions {
  int64_t pieces = 2;
  bool bias = true;
};
/// The largest of `pieces` linear maps for each output: [..., in_features] -> [..., out_features]. Its slope
/// is that of the first piece among equals. Initialised as Linear. Source: Goodfellow et al., 2013.
struct Maxout : Module {
  int64_t in_features, out_features, pieces;
  Parameter weight;  ///< [out_features * pieces, in_features]; the pieces of an output are neighbours
  Parameter bias;    ///< [out_features * pieces], or undefined

  Maxout(int64_t in, int64_t out, MaxoutOptions options = {});
  void reset_parameters();
  Tensor forward(const Tensor& x);
  std::string extra_repr() const override;
  HEBB_MEMBERS(weight, bias)
};

}  // namespace hebb::nn
