#include "hebb/nn/loss.h"

#include <utility>

namespace hebb::nn {

CrossEntropyLoss::CrossEntropyLoss(CrossEntropyOptions o) : options(std::move(o)) {
  weight = Buffer(std::exchange(options.weight, Tensor()));
}
Tensor CrossEntropyLoss::forward(const Tensor& logits, const Tensor& target) {
  CrossEntropyOptions o = options;
  o.weight = weight;
  return cross_entropy(logits, target, o);
}

NLLLoss::NLLLoss(NllLossOptions o) : options(std::move(o)) {
  weight = Buffer(std::exchange(options.weight, Tensor()));
}
Tensor NLLLoss::forward(const Tensor& log_probabilities, const Tensor& target) {
  NllLossOptions o = options;
  o.weight = weight;
  return nll_loss(log_probabilities, target, o);
}

MSELoss::MSELoss(Reduction r) : reduction(r) {}
Tensor MSELoss::forward(const Tensor& x, const Tensor& target) { return mse_loss(x, target, reduction); }

L1Loss::L1Loss(Reduction r) : reduction(r) {}
Tensor L1Loss::forward(const Tensor& x, const Tensor& target) { return l1_loss(x, target, reduction); }

HuberLoss::HuberLoss(HuberLossOptions o) : options(o) {}
Tensor HuberLoss::forward(const Tensor& x, const Tensor& target) {
  return huber_loss(x, target, options.delta, options.reduction);
}

SmoothL1Loss::SmoothL1Loss(SmoothL1LossOptions o) : options(o) {}
Tensor SmoothL1Loss::forward(const Tensor& x, const Tensor& target) {
  return smooth_l1_loss(x, target, options.beta, options.reduction);
}

BCELoss::BCELoss(BinaryCrossEntropyOptions o) : reduction(o.reduction), weight(std::move(o.weight)) {}
Tensor BCELoss::forward(const Tensor& x, const Tensor& target) {
  return binary_cross_entropy(x, target, {weight, reduction});
}

BCEWithLogitsLoss::BCEWithLogitsLoss(BceWithLogitsOptions o)
    : reduction(o.reduction), weight(std::move(o.weight)), pos_weight(std::move(o.pos_weight)) {}
Tensor BCEWithLogitsLoss::forward(const Tensor& logits, const Tensor& target) {
  return binary_cross_entropy_with_logits(logits, target, {weight, pos_weight, reduction});
}

KLDivLoss::KLDivLoss(KlDivOptions o) : options(o) {}
Tensor KLDivLoss::forward(const Tensor& log_probabilities, const Tensor& target) {
  return kl_div(log_probabilities, target, options);
}

HingeLoss::HingeLoss(Reduction r) : reduction(r) {}
Tensor HingeLoss::forward(const Tensor& x, const Tensor& y) { return hinge_loss(x, y, reduction); }

HingeEmbeddingLoss::HingeEmbeddingLoss(HingeEmbeddingLossOptions o) : options(o) {}
Tensor HingeEmbeddingLoss::forward(const Tensor& x, const Tensor& y) {
  return hinge_embedding_loss(x, y, options.margin, options.reduction);
}

CosineEmbeddingLoss::CosineEmbeddingLoss(CosineEmbeddingLossOptions o) : options(o) {}
Tensor CosineEmbeddingLoss::forward(const Tensor& a, const Tensor& b, const Tensor& y) {
  return cosine_embedding_loss(a, b, y, options.margin, options.reduction);
}

TripletMarginLoss::TripletMarginLoss(TripletMarginOptions o) : options(o) {}
Tensor TripletMarginLoss::forward(const Tensor& anchor, const Tensor& positive, const Tensor& negative) {
  return triplet_margin_loss(anchor, positive, negative, options);
}

}  // namespace hebb::nn
