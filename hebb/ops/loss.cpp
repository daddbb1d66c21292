// Losses of elements and of pairs: plain functions over ops.
#include "hebb/ops/loss.h"

#include <cmath>
#include <limits>

#include "hebb/ops/elementwise.h"
#include "hebb/ops/op_support.h"
#include "hebb/ops/reduce.h"
#include "hebb/ops/table.h"
#include "hebb/ops/view.h"

namespace hebb {

using namespace detail;

namespace {

Tensor reduce(const Tensor& loss, Reduction reduction) {
  return reduction == Reduction::none ? loss : reduction == Reduction::mean ? mean(loss) : sum(loss);
}

void expect_same_shape(const Tensor& x, const Tensor& target, const char* op) {
  HEBB_CHECK(x.defined() && target.defined(), "[{}] expected defined tensors", op);
  HEBB_CHECK(x.shape() == target.shape(), "[{}] expected input and target of one shape, got {} and {}", op,
             x.shape().str(), target.shape().str());
}

// max(0, x) with slope 1 at 0, as PyTorch's losses have it.
Tensor positive_part(const Tensor& x) { return clamp(x, 0, std::numeric_limits<double>::infinity()); }

constexpr double kLeastLog = -100;  // PyTorch's bound for the logarithms of binary cross entropy

}  // namespace

namespace ops {

// An op of its own for its gradient, which stays finite where a probability is exactly 0 or 1.
const OpDef binary_cross_entropy{
    .name = "binary_cross_entropy",
    .doc = "-(y log x + (1 - y) log(1 - x)) of each element, logarithms held above -100",
    .infer =
        [](SpecPtrs in, const Attrs&) {
          const char* op = "binary_cross_entropy";
          expect_float(*in[0], op, "probabilities");
          expect_same_type(*in[0], *in[1], op);
          HEBB_CHECK(in[0]->shape == in[1]->shape,
                     "[{}] expected input and target of one shape, got {} and {}", op, in[0]->shape.str(),
                     in[1]->shape.str());
          return Specs(TensorSpec(in[0]->shape, in[0]->dtype, in[0]->device));
        },
    .vjp = [](const VjpArgs& s) -> std::vector<Tensor> {
      const Tensor &g = s.grads[0], &x = s.inputs[0], &y = s.inputs[1];
      std::vector<Tensor> out(2);
      if (s.needs[0]) out[0] = g * (x - y) / hebb::maximum((1 - x) * x, 1e-12);
      if (s.needs[1])
        out[1] = g * (hebb::maximum(hebb::log1p(-x), kLeastLog) - hebb::maximum(hebb::log(x), kLeastLog));
      return out;
    },
    .reference =
        [](const ReferenceArgs& s) {
          std::vector<double> x = values<double>(s.inputs[0]);
          const std::vector<double> y = values<double>(s.inputs[1]);
          for (size_t i = 0; i < x.size(); ++i) {
            HEBB_CHECK(!(x[i] < 0 || x[i] > 1),
                       "[binary_cross_entropy] expected probabilities from 0 to 1, got {} at position {}",
                       x[i], i);
            const double yes = std::log(x[i]), no = std::log1p(-x[i]);
            x[i] = -(y[i] * (yes < kLeastLog ? kLeastLog : yes) +
                     (1 - y[i]) * (no < kLeastLog ? kLeastLog : no));
          }
          store(s.outputs[0], x);
        },
    .samples = []() -> std::vector<Sample> {
      return {{"2d", {{{3, 17}, 0.1, 0.9}, {{3, 17}, 0, 1}}, NoAttrs{}},
              {"0d", {{{}, 0.1, 0.9}, {{}, 0, 1}}, NoAttrs{}}};
    },
    .error_samples = []() -> std::vector<ErrorSample> {
      return {
          {{{{2}, 0, 5, i64}, {{2}, 0, 1}}, NoAttrs{}, "expected probabilities of a floating type, got i64"},
          {{{{2}, 0, 1}, {{2}, 0, 1, f64}}, NoAttrs{}, "expected operands of one type, got f32 and f64"},
          {{{{2}, 0, 1}, {{2, 1}, 0, 1}}, NoAttrs{}, "expected input and target of one shape, got 2 and 2x1"},
          {{{{2}, 1.2, 1.3}, {{2}, 0, 1}}, NoAttrs{}, "expected probabilities from 0 to 1, got 1.2"}};
    },
    .saves_inputs = 3};

}  // namespace ops

Tensor mse_loss(const Tensor& x, const Tensor& target, Reduction reduction) {
  expect_same_shape(x, target, "mse_loss");
  return reduce(square(x - target), reduction);
}

Tensor l1_loss(const Tensor& x, const Tensor& target, Reduction reduction) {
  expect_same_shape(x, target, "l1_loss");
  return reduce(abs(x - target), reduction);
}

namespace {

// d^2 / 2 within [-delta, delta], where it is smooth, and a line beyond: with c = d held within these bounds
// both are c (d - c / 2).
Tensor huber(const Tensor& d, double delta) {
  const Tensor near = clamp(d, -delta, delta);
  return near * (d - 0.5 * near);
}

}  // namespace

Tensor huber_loss(const Tensor& x, const Tensor& target, double delta, Reduction reduction) {
  expect_same_shape(x, target, "huber_loss");
  HEBB_CHECK(delta > 0, "[huber_loss] expected a delta above 0, got {}", delta);
  return reduce(huber(x - target, delta), reduction);
}

Tensor smooth_l1_loss(const Tensor& x, const Tensor& target, double beta, Reduction reduction) {
  expect_same_shape(x, target, "smooth_l1_loss");
  HEBB_CHECK(beta >= 0, "[smooth_l1_loss] expected a beta of at least 0, got {}", beta);
  if (beta == 0) return l1_loss(x, target, reduction);
  return reduce(huber(x - target, beta) * (1 / beta), reduction);
}

Tensor binary_cross_entropy(const Tensor& x, const Tensor& target, const BinaryCrossEntropyOptions& o) {
  Tensor loss = apply1(ops::binary_cross_entropy, NoAttrs{}, {x, target});
  if (o.weight.defined()) loss = loss * o.weight;
  return reduce(loss, o.reduction);
}

Tensor binary_cross_entropy_with_logits(const Tensor& logits, const Tensor& target,
                                        const BceWithLogitsOptions& o) {
  expect_same_shape(logits, target, "binary_cross_entropy_with_logits");
  Tensor log_likelihood = log_sigmoid(logits);  // of a positive target
  if (o.pos_weight.defined()) log_likelihood = log_likelihood * ((o.pos_weight - 1) * target + 1);
  Tensor loss = (1 - target) * logits - log_likelihood;
  if (o.weight.defined()) loss = loss * o.weight;
  return reduce(loss, o.reduction);
}

Tensor kl_div(const Tensor& x, const Tensor& target, const KlDivOptions& o) {
  expect_same_shape(x, target, "kl_div");
  if (o.log_target) return reduce(exp(target) * (target - x), o.reduction);
  // The logarithm of 1 instead of 0 keeps values and gradients finite where the product is 0.
  const Tensor positive = where(target == 0, 1, target);
  return reduce(target * (log(positive) - x), o.reduction);
}

Tensor hinge_loss(const Tensor& x, const Tensor& y, Reduction reduction) {
  expect_same_shape(x, y, "hinge_loss");
  return reduce(positive_part(1 - y * x), reduction);
}

Tensor hinge_embedding_loss(const Tensor& x, const Tensor& y, double margin, Reduction reduction) {
  expect_same_shape(x, y, "hinge_embedding_loss");
  return reduce(where(y != 1, positive_part(margin - x), 0) + where(y != -1, x, 0), reduction);
}

Tensor cosine_embedding_loss(const Tensor& a, const Tensor& b, const Tensor& y, double margin,
                             Reduction reduction) {
  expect_same_shape(a, b, "cosine_embedding_loss");
  HEBB_CHECK(a.ndim() == 1 || a.ndim() == 2, "[cosine_embedding_loss] expected vectors [D] or [N, D], got {}",
             a.shape().str());
  Shape expected = a.shape();
  expected.erase(a.ndim() - 1);
  HEBB_CHECK(y.shape() == expected,
             "[cosine_embedding_loss] expected labels of shape {} (vectors {}), got {}", expected.str(),
             a.shape().str(), y.shape().str());
  constexpr double kEps = 1e-12;  // PyTorch's
  const Tensor lengths = sqrt((sum(square(a), {-1}) + kEps) * (sum(square(b), {-1}) + kEps));
  const Tensor cosine = sum(a * b, {-1}) / lengths;
  return reduce(where(y == 1, 1 - cosine, 0) + where(y == -1, positive_part(cosine - margin), 0), reduction);
}

Tensor triplet_margin_loss(const Tensor& anchor, const Tensor& positive, const Tensor& negative,
                           const TripletMarginOptions& o) {
  expect_same_shape(anchor, positive, "triplet_margin_loss");
  expect_same_shape(anchor, negative, "triplet_margin_loss");
  HEBB_CHECK(anchor.ndim() >= 1, "[triplet_margin_loss] expected vectors, got scalars");
  HEBB_CHECK(o.p > 0 && std::isfinite(o.p), "[triplet_margin_loss] expected a finite p above 0, got {}", o.p);
  auto distance = [&](const Tensor& a, const Tensor& b) {
    const Tensor d = a - b + o.eps;
    if (o.p == 2) return sqrt(sum(square(d), {-1}));
    if (o.p == 1) return sum(abs(d), {-1});
    return pow(sum(pow(abs(d), o.p), {-1}), 1 / o.p);
  };
  const Tensor near = distance(anchor, positive);
  Tensor far = distance(anchor, negative);
  if (o.swap) far = minimum(far, distance(positive, negative));
  return reduce(positive_part(near - far + o.margin), o.reduction);
}

}  // namespace hebb
