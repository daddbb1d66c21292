// Cross entropy and negative log-likelihood of class indices: fused ops, since every classifier's step runs
// them. Inputs are scores, target and, where given, a weight for each class. With t the smoothed and weighted
// target distribution of a position, its loss is the sum of -t log softmax(x), its gradient p sum(t) - t.
#include <cmath>

#include "hebb/ops/creation.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/loss.h"
#include "hebb/ops/loss_attrs.h"
#include "hebb/ops/norm.h"
#include "hebb/ops/op_support.h"
#include "hebb/ops/reduce.h"
#include "hebb/ops/table.h"
#include "hebb/ops/view.h"

namespace hebb {

using namespace detail;

namespace {

constexpr auto kNone = static_cast<int64_t>(Reduction::none);
constexpr auto kMean = static_cast<int64_t>(Reduction::mean);

int class_dim(const Shape& scores) { return scores.ndim() > 1 ? 1 : 0; }

// The target's shape: the scores' without the classes.
Shape positions_of(Shape scores) {
  scores.erase(class_dim(scores));
  return scores;
}

// Checks scores, target and weight; gives the loss' spec.
TensorSpec check_class_loss(const TensorSpec& scores, const TensorSpec& target, const TensorSpec* weight,
                            const Attrs& attrs, const char* op) {
  const auto& a = attrs.as<ClassLossAttrs>();
  expect_float(scores, op, "scores");
  expect_index(target, op, "a target");
  HEBB_CHECK(scores.shape.ndim() >= 1,
             "[{}] expected scores of at least 1 dimension (C or NC...), got a scalar", op);
  HEBB_CHECK(target.shape == positions_of(scores.shape),
             "[{}] expected a target of shape {} (scores {}), got {}", op, positions_of(scores.shape).str(),
             scores.shape.str(), target.shape.str());
  const int64_t classes = scores.shape[class_dim(scores.shape)];
  if (weight) {
    expect_same_type(*weight, scores, op);
    HEBB_CHECK(weight->shape == Shape({classes}), "[{}] expected a weight of shape {} (scores {}), got {}",
               op, classes, scores.shape.str(), weight->shape.str());
  }
  HEBB_CHECK(a.label_smoothing >= 0 && a.label_smoothing <= 1,
             "[{}] expected label_smoothing from 0 to 1, got {}", op, a.label_smoothing);
  return TensorSpec(a.reduction == kNone ? target.shape : Shape(), scores.dtype, scores.device);
}
void check_loss_grad(const TensorSpec& g, const TensorSpec& loss, const char* op) {
  expect_same_type(g, loss, op);
  HEBB_CHECK(g.shape == loss.shape, "[{}] expected a gradient of shape {}, got {}", op, loss.shape.str(),
             g.shape.str());
}

// What the plain kernels share: targets and weights as numbers.
struct Targets {
  const ClassLossAttrs& a;
  ClassLayout layout;
  std::vector<int64_t> target;
  std::vector<double> weight;
  double weight_sum = 0, target_weight_sum = 0;

  Targets(const char* op, const Attrs& attrs, const Shape& scores, std::span<const Tensor> target_and_weight)
      : a(attrs.as<ClassLossAttrs>()), layout(scores), target(values<int64_t>(target_and_weight[0])) {
    weight = target_and_weight.size() > 1 ? values<double>(target_and_weight[1])
                                          : std::vector<double>(static_cast<size_t>(layout.classes), 1.0);
    for (const double w : weight) weight_sum += w;
    for (size_t i = 0; i < target.size(); ++i) {
      if (ignored(i)) continue;
      check_class(op, target[i], static_cast<int64_t>(i), layout.classes);
      target_weight_sum += weight[target[i]];
    }
  }
  bool ignored(size_t i) const { return target[i] == a.ignore_index; }
  // Of class c at position i.
  double share(size_t i, int64_t c) const {
    return weight[c] * ((c == target[i] ? 1 - a.label_smoothing : 0) +
                        a.label_smoothing / static_cast<double>(layout.classes));
  }
  void store_loss(Tensor& out, const std::vector<double>& loss) const {
    if (a.reduction == kNone) return store(out, loss);
    double sum = 0;
    for (const double v : loss) sum += v;
    store(out, std::vector<double>{a.reduction == kMean ? sum / target_weight_sum : sum});
  }
  double gradient(const std::vector<double>& g, size_t i) const {
    return a.reduction == kNone ? g[i] : a.reduction == kMean ? g[0] / target_weight_sum : g[0];
  }
};

double log_sum_exp(const double* x, int64_t n, int64_t stride) {
  double largest = x[0], sum = 0;
  for (int64_t c = 0; c < n; ++c) largest = std::max(largest, x[c * stride]);
  for (int64_t c = 0; c < n; ++c) sum += std::exp(x[c * stride] - largest);
  return largest + std::log(sum);
}

void reference_cross_entropy(const ReferenceArgs& s) {
  const Targets t("cross_entropy", s.attrs, s.inputs[0].shape(), s.inputs.subspan(1));
  const std::vector<double> x = values<double>(s.inputs[0]);
  std::vector<double> loss(t.target.size(), 0.0);
  for (size_t i = 0; i < loss.size(); ++i) {
    if (t.ignored(i)) continue;
    const double* line = x.data() + t.layout.first(static_cast<int64_t>(i));
    const double lse = log_sum_exp(line, t.layout.classes, t.layout.inner);
    for (int64_t c = 0; c < t.layout.classes; ++c)
      if (const double share = t.share(i, c); share != 0) loss[i] += share * (lse - line[c * t.layout.inner]);
  }
  t.store_loss(s.outputs[0], loss);
}

void reference_cross_entropy_grad(const ReferenceArgs& s) {
  const Targets t("cross_entropy_grad", s.attrs, s.inputs[1].shape(), s.inputs.subspan(2));
  const std::vector<double> g = values<double>(s.inputs[0]), x = values<double>(s.inputs[1]);
  std::vector<double> gx(x.size(), 0.0);
  for (size_t i = 0; i < t.target.size(); ++i) {
    if (t.ignored(i)) continue;
    const int64_t first = t.layout.first(static_cast<int64_t>(i)), inner = t.layout.inner;
    const double lse = log_sum_exp(x.data() + first, t.layout.classes, inner), gi = t.gradient(g, i);
    double total = 0;
    for (int64_t c = 0; c < t.layout.classes; ++c) total += t.share(i, c);
    for (int64_t c = 0; c < t.layout.classes; ++c)
      gx[first + c * inner] = gi * (std::exp(x[first + c * inner] - lse) * total - t.share(i, c));
  }
  store(s.outputs[0], gx);
}

void reference_nll(const ReferenceArgs& s) {
  const Targets t("nll_loss", s.attrs, s.inputs[0].shape(), s.inputs.subspan(1));
  const std::vector<double> x = values<double>(s.inputs[0]);
  std::vector<double> loss(t.target.size(), 0.0);
  for (size_t i = 0; i < loss.size(); ++i)
    if (!t.ignored(i))
      loss[i] =
          -t.weight[t.target[i]] * x[t.layout.first(static_cast<int64_t>(i)) + t.target[i] * t.layout.inner];
  t.store_loss(s.outputs[0], loss);
}

void reference_nll_grad(const ReferenceArgs& s) {
  const Targets t("nll_loss_grad", s.attrs, s.outputs[0].shape(), s.inputs.subspan(1));
  const std::vector<double> g = values<double>(s.inputs[0]);
  std::vector<double> gx(static_cast<size_t>(s.outputs[0].numel()), 0.0);
  for (size_t i = 0; i < t.target.size(); ++i)
    if (!t.ignored(i))
      gx[t.layout.first(static_cast<int64_t>(i)) + t.target[i] * t.layout.inner] =
          -t.weight[t.target[i]] * t.gradient(g, i);
  store(s.outputs[0], gx);
}

// Inputs: gradient of the loss, scores, target, weight.
Outputs decompose_cross_entropy_grad(const Attrs& attrs, std::span<const Tensor> in) {
  const auto& a = attrs.as<ClassLossAttrs>();
  const Tensor &g = in[0], &x = in[1], &target = in[2];
  const int dim = class_dim(x.shape());
  const int64_t classes = x.shape()[dim];
  Shape along = Shape::filled(x.ndim(), 1);
  along[dim] = classes;
  const Tensor places = unsqueeze(target, dim);
  const Tensor valid = to(places != a.ignore_index, x.dtype());
  Tensor hit = to(places == reshape(arange(classes), along), x.dtype()) * valid;
  Tensor share = hit * (1 - a.label_smoothing) + valid * (a.label_smoothing / static_cast<double>(classes));
  if (in.size() > 3) {
    const Tensor weight = reshape(in[3], along);
    hit = hit * weight;
    share = share * weight;
  }
  Tensor scale = a.reduction == kNone ? unsqueeze(g, dim) : g;
  if (a.reduction == kMean) {
    const Tensor total = sum(hit);
    scale = scale / where(total == 0, 1, total);  // all ignored: the gradient is 0
  }
  return (softmax(x, dim) * sum(share, {dim}, true) - share) * scale;
}

// The inputs of a gradient op: g, then those inputs of the op that it takes.
Tensor apply_grad(const OpDef& op, const Attrs& attrs, const Tensor& g, std::span<const Tensor> rest) {
  std::vector<Tensor> in{g};
  in.insert(in.end(), rest.begin(), rest.end());
  return apply(op, attrs, in)[0];
}

ClassLossAttrs attrs_of(Reduction reduction, int64_t ignore_index = -100, double smoothing = 0,
                        int64_t classes = 0) {
  return {static_cast<int64_t>(reduction), ignore_index, smoothing, classes};
}
SampleInput classes_below(Shape shape, int64_t classes) {
  return {shape, 0, static_cast<double>(classes), i64, SampleInput::Fill::integers};
}

// `before` is what stands before the scores: nothing, or the gradient.
std::vector<Sample> class_samples(bool smoothing, bool gradient) {
  std::vector<Sample> all{
      {"mean", {{{6, 19}}, classes_below({6}, 19)}, attrs_of(Reduction::mean)},
      {"sum_ignore", {{{7, 4}}, classes_below({7}, 4)}, attrs_of(Reduction::sum, 2)},
      {"none", {{{7, 4}}, classes_below({7}, 4)}, attrs_of(Reduction::none, 1)},
      {"weighted", {{{7, 4}}, classes_below({7}, 4), {{4}, 0.2, 2}}, attrs_of(Reduction::mean, 1)},
      {"places", {{{2, 4, 3, 5}}, classes_below({2, 3, 5}, 4), {{4}, 0.2, 2}}, attrs_of(Reduction::mean)},
      {"one", {{{5}}, classes_below({}, 5)}, attrs_of(Reduction::mean)}};
  if (smoothing) {
    all.push_back({"smooth", {{{7, 4}}, classes_below({7}, 4)}, attrs_of(Reduction::mean, 1, 0.1)});
    all.push_back({"smooth_weighted",
                   {{{2, 4, 3}}, classes_below({2, 3}, 4), {{4}, 0.2, 2}},
                   attrs_of(Reduction::none, 0, 0.3)});
  }
  for (Sample& s : all) {
    if (!gradient) continue;
    const bool none = s.attrs.as<ClassLossAttrs>().reduction == kNone;
    s.inputs.insert(s.inputs.begin(), SampleInput{none ? s.inputs[1].shape : Shape()});
  }
  return all;
}

std::vector<ErrorSample> class_errors() {
  const auto a = attrs_of(Reduction::mean);
  return {{{{{2, 3}, 0, 5, i64}, classes_below({2}, 3)}, a, "expected scores of a floating type, got i64"},
          {{{{2, 3}}, {{2}}}, a, "expected a target of i64 or i32, got f32"},
          {{{{}}, classes_below({}, 3)}, a, "expected scores of at least 1 dimension"},
          {{{{2, 3}}, classes_below({3}, 3)}, a, "expected a target of shape 2 (scores 2x3), got 3"},
          {{{{2, 3}}, classes_below({2}, 3), {{3}, 0, 1, f64}},
           a,
           "expected operands of one type, got f64 and f32"},
          {{{{2, 3}}, classes_below({2}, 3), {{2}}}, a, "expected a weight of shape 3 (scores 2x3), got 2"},
          {{{{2, 3}}, {{2}, 3, 4, i64}},
           a,
           "expected class indices from 0 to 2 (3 classes), got 3 at position 0"},
          {{{{2, 3}}, {{2}, -1, 0, i32, SampleInput::Fill::integers}}, a, "got -1 at position 0"}};
}

}  // namespace

namespace ops {

const OpDef cross_entropy{
    .name = "cross_entropy",
    .doc = "negative log-likelihood of class indices under softmax",
    .infer =
        [](SpecPtrs in, const Attrs& a) {
          return Specs(check_class_loss(*in[0], *in[1], in.size() > 2 ? in[2] : nullptr, a, "cross_entropy"));
        },
    .vjp = [](const VjpArgs& s) -> std::vector<Tensor> {
      std::vector<Tensor> out(s.inputs.size());
      if (s.needs[0]) out[0] = apply_grad(cross_entropy_grad, s.attrs, s.grads[0], s.inputs);
      return out;
    },
    .reference = reference_cross_entropy,
    .samples = [] { return class_samples(true, false); },
    .error_samples = []() -> std::vector<ErrorSample> {
      std::vector<ErrorSample> errors = class_errors();
      errors.push_back({{{{2, 3}}, classes_below({2}, 3)},
                        attrs_of(Reduction::mean, -100, 1.5),
                        "expected label_smoothing from 0 to 1, got 1.5"});
      return errors;
    },
    .constant_inputs = 4};  // the class weight

const OpDef cross_entropy_grad{
    .name = "cross_entropy_grad",
    .doc = "gradient of cross_entropy from g, scores, target and weight",
    .infer =
        [](SpecPtrs in, const Attrs& a) {
          const char* op = "cross_entropy_grad";
          check_loss_grad(*in[0], check_class_loss(*in[1], *in[2], in.size() > 3 ? in[3] : nullptr, a, op),
                          op);
          return Specs(TensorSpec(in[1]->shape, in[1]->dtype, in[1]->device));
        },
    .decompose = decompose_cross_entropy_grad,
    .reference = reference_cross_entropy_grad,
    .samples = [] { return class_samples(true, true); },
    .error_samples = []() -> std::vector<ErrorSample> {
      return {{{{{2}}, {{2, 3}}, classes_below({2}, 3)},
               attrs_of(Reduction::mean),
               "expected a gradient of shape scalar, got 2"}};
    }};

const OpDef nll_loss{
    .name = "nll_loss",
    .doc = "negative log-likelihood of class indices under log-probabilities",
    .infer =
        [](SpecPtrs in, const Attrs& a) {
          return Specs(check_class_loss(*in[0], *in[1], in.size() > 2 ? in[2] : nullptr, a, "nll_loss"));
        },
    .vjp = [](const VjpArgs& s) -> std::vector<Tensor> {
      ClassLossAttrs a = s.attrs.as<ClassLossAttrs>();
      a.classes = ClassLayout(s.inputs[0].shape()).classes;
      std::vector<Tensor> out(s.inputs.size());
      if (s.needs[0]) out[0] = apply_grad(nll_loss_grad, a, s.grads[0], s.inputs.subspan(1));
      return out;
    },
    .reference = reference_nll,
    .samples = [] { return class_samples(false, false); },
    .error_samples = class_errors,
    .saves_inputs = 6,
    .constant_inputs = 4};  // the class weight

const OpDef nll_loss_grad{
    .name = "nll_loss_grad",
    .doc = "gradient of nll_loss from g, target and weight",
    .infer =
        [](SpecPtrs in, const Attrs& attrs) {
          const char* op = "nll_loss_grad";
          Shape shape = in[1]->shape;
          shape.insert(std::min(1, shape.ndim()), attrs.as<ClassLossAttrs>().classes);
          const TensorSpec scores(shape, in[0]->dtype, in[0]->device);
          check_loss_grad(*in[0],
                          check_class_loss(scores, *in[1], in.size() > 2 ? in[2] : nullptr, attrs, op), op);
          return Specs(scores);
        },
    // The loss is linear in the scores.
    .vjp = [](const VjpArgs& s) -> std::vector<Tensor> {
      std::vector<Tensor> out(s.inputs.size());
      if (s.needs[0]) out[0] = apply_grad(nll_loss, s.attrs, s.grads[0], s.inputs.subspan(1));
      return out;
    },
    .reference = reference_nll_grad,
    .samples = []() -> std::vector<Sample> {
      return {{"mean", {{{}}, classes_below({6}, 3)}, attrs_of(Reduction::mean, 1, 0, 3)},
              {"none",
               {{{2, 5}}, classes_below({2, 5}, 4), {{4}, 0.2, 2}},
               attrs_of(Reduction::none, -100, 0, 4)}};
    },
    .error_samples = []() -> std::vector<ErrorSample> {
      return {{{{{2}}, classes_below({2}, 3)},
               attrs_of(Reduction::mean, -100, 0, 3),
               "expected a gradient of shape scalar, got 2"}};
    },
    .saves_inputs = 6,
    .constant_inputs = 4};  // the class weight

}  // namespace ops

namespace {

Tensor apply_class_loss(const OpDef& op, const ClassLossAttrs& a, const Tensor& scores, const Tensor& target,
                        const Tensor& weight) {
  return weight.defined() ? apply1(op, a, {scores, target, weight}) : apply1(op, a, {scores, target});
}

Tensor cross_entropy_of_probabilities(const Tensor& logits, const Tensor& target,
                                      const CrossEntropyOptions& o) {
  HEBB_CHECK(
      target.shape() == logits.shape() && logits.ndim() >= 1,
      "[cross_entropy] expected class indices (i64) or probabilities of the logits' shape {}, got {} {}",
      logits.shape().str(), name_of(target.dtype()), target.shape().str());
  HEBB_CHECK(o.label_smoothing >= 0 && o.label_smoothing <= 1,
             "[cross_entropy] expected label_smoothing from 0 to 1, got {}", o.label_smoothing);
  const int dim = class_dim(logits.shape());
  const int64_t classes = logits.shape()[dim];
  Tensor share = o.label_smoothing == 0
                     ? target
                     : target * (1 - o.label_smoothing) + o.label_smoothing / static_cast<double>(classes);
  if (o.weight.defined()) {
    HEBB_CHECK(o.weight.shape() == Shape({classes}), "[cross_entropy] expected a weight of shape {}, got {}",
               classes, o.weight.shape().str());
    Shape along = Shape::filled(logits.ndim(), 1);
    along[dim] = classes;
    share = share * reshape(o.weight, along);
  }
  const Tensor loss = -sum(share * log_softmax(logits, dim), {dim});
  return o.reduction == Reduction::none ? loss : o.reduction == Reduction::mean ? mean(loss) : sum(loss);
}

}  // namespace

Tensor cross_entropy(const Tensor& logits, const Tensor& target, const CrossEntropyOptions& o) {
  if (is_float(target.dtype())) return cross_entropy_of_probabilities(logits, target, o);
  return apply_class_loss(ops::cross_entropy, attrs_of(o.reduction, o.ignore_index, o.label_smoothing),
                          logits, target, o.weight);
}

Tensor nll_loss(const Tensor& log_probabilities, const Tensor& target, const NllLossOptions& o) {
  return apply_class_loss(ops::nll_loss, attrs_of(o.reduction, o.ignore_index), log_probabilities, target,
                          o.weight);
}

}  // namespace hebb
