// Losses as modules: ops/loss.h with options kept. Called with the network's output, then the target.
#pragma once
#include "hebb/nn/module.h"
#include "hebb/ops/loss.h"

namespace hebb::nn {

/// Softmax and negative log-likelihood in one: logits [N, C, ...] and class indices or probabilities. Takes
/// logits, not probabilities (Keras' default is from_logits=False).
struct CrossEntropyLoss : Module {
  CrossEntropyOptions options;  ///< but for the weight
  Buffer weight;                ///< of each class, [C], or undefined

  explicit CrossEntropyLoss(CrossEntropyOptions options = {});
  Tensor forward(const Tensor& logits, const Tensor& target);
  HEBB_MEMBERS(weight)
};
/// CrossEntropyLoss for log-probabilities, as LogSoftmax gives.
struct NLLLoss : Module {
  NllLossOptions options;  ///< but for the weight
  Buffer weight;           ///< of each class, [C], or undefined

  explicit NLLLoss(NllLossOptions options = {});
  Tensor forward(const Tensor& log_probabilities, const Tensor& target);
  HEBB_MEMBERS(weight)
};

/// (x - target)^2.
struct MSELoss : Module {
  Reduction reduction;

  explicit MSELoss(Reduction r = Reduction::mean);
  Tensor forward(const Tensor& x, const Tensor& target);
  HEBB_MEMBERS()
};
/// |x - target|.
struct L1Loss : Module {
  Reduction reduction;

  explicit L1Loss(Reduction r = Reduction::mean);
  Tensor forward(const Tensor& x, const Tensor& target);
  HEBB_MEMBERS()
};

/// Options of HuberLoss.
struct HuberLossOptions {
  double delta = 1;
  Reduction reduction = Reduction::mean;
};
/// Quadratic below delta, linear above.
struct HuberLoss : Module {
  HuberLossOptions options;

  explicit HuberLoss(HuberLossOptions options = {});
  Tensor forward(const Tensor& x, const Tensor& target);
  HEBB_MEMBERS()
};
/// Options of SmoothL1Loss.
struct SmoothL1LossOptions {
  double beta = 1;
  Reduction reduction = Reduction::mean;
};
/// HuberLoss divided by beta.
struct SmoothL1Loss : Module {
  SmoothL1LossOptions options;

  explicit SmoothL1Loss(SmoothL1LossOptions options = {});
  Tensor forward(const Tensor& x, const Tensor& target);
  HEBB_MEMBERS()
};

/// Binary cross entropy of probabilities.
struct BCELoss : Module {
  Reduction reduction;
  Buffer weight;  ///< factor of each element, broadcast, or undefined

  explicit BCELoss(BinaryCrossEntropyOptions options = {});
  Tensor forward(const Tensor& x, const Tensor& target);
  HEBB_MEMBERS(weight)
};
/// Binary cross entropy of logits, exact where they are large.
struct BCEWithLogitsLoss : Module {
  Reduction reduction;
  Buffer weight;      ///< factor of each element, broadcast, or undefined
  Buffer pos_weight;  ///< factor of positive targets, broadcast, or undefined

  explicit BCEWithLogitsLoss(BceWithLogitsOptions options = {});
  Tensor forward(const Tensor& logits, const Tensor& target);
  HEBB_MEMBERS(weight, pos_weight)
};

/// Kullback-Leibler divergence of log-probabilities from a target distribution.
struct KLDivLoss : Module {
  KlDivOptions options;

  explicit KLDivLoss(KlDivOptions options = {});
  Tensor forward(const Tensor& log_probabilities, const Tensor& target);
  HEBB_MEMBERS()
};

/// max(0, 1 - y x) for labels y of -1 and 1.
struct HingeLoss : Module {
  Reduction reduction;

  explicit HingeLoss(Reduction r = Reduction::mean);
  Tensor forward(const Tensor& x, const Tensor& y);
  HEBB_MEMBERS()
};
/// Options of HingeEmbeddingLoss.
struct HingeEmbeddingLossOptions {
  double margin = 1;
  Reduction reduction = Reduction::mean;
};
/// x where y is 1, max(0, margin - x) where y is -1.
struct HingeEmbeddingLoss : Module {
  HingeEmbeddingLossOptions options;

  explicit HingeEmbeddingLoss(HingeEmbeddingLossOptions options = {});
  Tensor forward(const Tensor& x, const Tensor& y);
  HEBB_MEMBERS()
};
/// Options of CosineEmbeddingLoss.
struct CosineEmbeddingLossOptions {
  double margin = 0;
  Reduction reduction = Reduction::mean;
};
/// 1 - cos(a, b) where y is 1, max(0, cos(a, b) - margin) where y is -1.
struct CosineEmbeddingLoss : Module {
  CosineEmbeddingLossOptions options;

  explicit CosineEmbeddingLoss(CosineEmbeddingLossOptions options = {});
  Tensor forward(const Tensor& a, const Tensor& b, const Tensor& y);
  HEBB_MEMBERS()
};
/// max(0, margin + |anchor - positive| - |anchor - negative|). Source: Schroff et al., 2015.
struct TripletMarginLoss : Module {
  TripletMarginOptions options;

  explicit TripletMarginLoss(TripletMarginOptions options = {});
  Tensor forward(const Tensor& anchor, const Tensor& positive, const Tensor& negative);
  HEBB_MEMBERS()
};

}  // namespace hebb::nn
