// Losses. All but the class losses expect input and target of one shape and throw Error otherwise (PyTorch
// broadcasts with a warning, which hides mistakes). Targets are constants for the gradient only where said.
#pragma once
#include <cstdint>

#include "hebb/core/tensor.h"

namespace hebb {

/// What becomes of the losses of the elements: kept, averaged or added. The mean over nothing is NaN.
enum class Reduction : uint8_t { none, mean, sum };

/// (x - target)^2.
Tensor mse_loss(const Tensor& x, const Tensor& target, Reduction reduction = Reduction::mean);
/// |x - target|; slope 0 at 0.
Tensor l1_loss(const Tensor& x, const Tensor& target, Reduction reduction = Reduction::mean);
/// d^2 / 2 where d = |x - target| <= delta, else delta (d - delta / 2). Throws Error unless delta > 0.
/// Source: Huber, 1964.
Tensor huber_loss(const Tensor& x, const Tensor& target, double delta = 1,
                  Reduction reduction = Reduction::mean);
/// huber_loss with delta = beta, divided by beta; l1_loss for beta 0. Throws Error if beta < 0. Source:
/// Girshick, 2015.
Tensor smooth_l1_loss(const Tensor& x, const Tensor& target, double beta = 1,
                      Reduction reduction = Reduction::mean);

/// Options of cross_entropy.
struct CrossEntropyOptions {
  Tensor weight;                ///< of each class, [C]; undefined: 1
  int64_t ignore_index = -100;  ///< positions with this target count for nothing
  double label_smoothing = 0;   ///< share of the target that is spread evenly over all classes, 0 to 1
  Reduction reduction = Reduction::mean;
};
/// Negative log-likelihood of `target` under softmax(logits). Logits are [N, C], [N, C, d1, ...] or [C].
/// Targets are class indices (i64 or i32, of the logits' shape without C) or probabilities (of the logits'
/// type and shape). The mean over indices is weighted by the targets' weights. Throws Error for an index
/// outside 0 .. C-1 other than ignore_index. No gradient flows to `weight`. Keras' categorical_crossentropy
/// takes probabilities by default, not logits.
Tensor cross_entropy(const Tensor& logits, const Tensor& target, const CrossEntropyOptions& options = {});

/// Options of nll_loss.
struct NllLossOptions {
  Tensor weight;                ///< of each class, [C]; undefined: 1
  int64_t ignore_index = -100;  ///< positions with this target count for nothing
  Reduction reduction = Reduction::mean;
};
/// cross_entropy for log-probabilities, as log_softmax gives, and class indices.
Tensor nll_loss(const Tensor& log_probabilities, const Tensor& target, const NllLossOptions& options = {});

/// Options of binary_cross_entropy.
struct BinaryCrossEntropyOptions {
  Tensor weight;  ///< factor of each element, broadcast; undefined: 1
  Reduction reduction = Reduction::mean;
};
/// -(y log x + (1 - y) log(1 - x)) for probabilities x; logarithms are held above -100. Gradients flow to
/// both. Throws Error for x outside [0, 1].
Tensor binary_cross_entropy(const Tensor& x, const Tensor& target,
                            const BinaryCrossEntropyOptions& options = {});

/// Options of binary_cross_entropy_with_logits.
struct BceWithLogitsOptions {
  Tensor weight;      ///< factor of each element, broadcast; undefined: 1
  Tensor pos_weight;  ///< factor of positive targets, broadcast (one for each class); undefined: 1
  Reduction reduction = Reduction::mean;
};
/// binary_cross_entropy of sigmoid(logits), exact for large logits. Gradients flow to both.
Tensor binary_cross_entropy_with_logits(const Tensor& logits, const Tensor& target,
                                        const BceWithLogitsOptions& options = {});

/// Options of kl_div.
struct KlDivOptions {
  bool log_target = false;  ///< the target holds log-probabilities too
  Reduction reduction = Reduction::mean;
};
/// Kullback-Leibler divergence of `log_probabilities` from `target`: target (log target - x), 0 where target
/// is 0. The mean runs over all elements; the mathematical divergence of a batch is the sum over its size.
/// Gradients flow to both.
Tensor kl_div(const Tensor& log_probabilities, const Tensor& target, const KlDivOptions& options = {});

/// max(0, 1 - y x) for labels y of -1 and 1: the loss of support vector machines.
Tensor hinge_loss(const Tensor& x, const Tensor& y, Reduction reduction = Reduction::mean);
/// x where y is 1, max(0, margin - x) where y is -1.
Tensor hinge_embedding_loss(const Tensor& x, const Tensor& y, double margin = 1,
                            Reduction reduction = Reduction::mean);
/// 1 - cos(a, b) where y is 1, max(0, cos(a, b) - margin) where y is -1. a and b are [N, D] and y is [N], or
/// [D] and a scalar.
Tensor cosine_embedding_loss(const Tensor& a, const Tensor& b, const Tensor& y, double margin = 0,
                             Reduction reduction = Reduction::mean);

/// Options of triplet_margin_loss.
struct TripletMarginOptions {
  double margin = 1;
  double p = 2;       ///< the norm's degree, above 0
  double eps = 1e-6;  ///< added to each difference, so that the distance has a slope at 0
  bool swap = false;  ///< use the negative's distance to the positive where that is smaller (Balntas, 2016)
  Reduction reduction = Reduction::mean;
};
/// max(0, margin + |anchor - positive| - |anchor - negative|), distances over the last dimension. Source:
/// Schroff et al., 2015.
Tensor triplet_margin_loss(const Tensor& anchor, const Tensor& positive, const Tensor& negative,
                           const TripletMarginOptions& options = {});

}  // namespace hebb
