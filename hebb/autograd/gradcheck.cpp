// A check for gradients that users write: against central differences in f64.
#include <cmath>

#include "hebb/autograd/grad.h"
#include "hebb/core/check.h"
#include "hebb/core/rng.h"

namespace hebb {
namespace {

// Weights of the results, so that one number stands for all: fixed, and none near 0.
std::vector<Tensor> weights_for(const std::vector<Tensor>& results, uint64_t stream) {
  std::vector<Tensor> weights;
  for (const Tensor& t : results) {
    const RandomStream random{2026, stream++};
    std::vector<double> v(static_cast<size_t>(t.numel()));
    for (size_t i = 0; i < v.size(); ++i)
      v[i] = (random.bits(2 * i) & 1 ? 1 : -1) * (0.5 + random.uniform(2 * i + 1));
    weights.push_back(Tensor::from(v, t.shape()));
  }
  return weights;
}

double weighted_sum(const std::vector<Tensor>& results, const std::vector<Tensor>& weights) {
  double sum = 0;
  for (size_t k = 0; k < weights.size(); ++k) {
    const auto x = results[k].to_vector<double>(), w = weights[k].to_vector<double>();
    for (size_t i = 0; i < x.size(); ++i) sum += x[i] * w[i];
  }
  return sum;
}

std::string position(const Shape& shape, int64_t flat) {
  std::string text;
  for (int d = shape.ndim() - 1; d >= 0; --d) {
    text = fmt::format("{}{}{}", flat % shape[d], text.empty() ? "" : ", ", text);
    flat /= shape[d];
  }
  return "[" + text + "]";
}

// Copies that the check may change in place.
std::vector<Tensor> copies_of(std::span<const Tensor> args) {
  std::vector<Tensor> copies;
  for (const Tensor& t : args)
    copies.push_back(Tensor::from(t.to_vector<double>(), t.shape()).requires_grad_());
  return copies;
}

std::string check(const TensorFn& fn, std::span<const Tensor> args, const GradcheckOptions& o,
                  const char* what) {
  std::vector<Tensor> x = copies_of(args), all, results;
  {
    const EnableGrad enable;
    all = fn(x);
  }
  std::vector<bool> counts;
  for (const Tensor& t : all) {
    counts.push_back(t.defined() && t.requires_grad());
    if (counts.back()) results.push_back(t);
  }
  if (results.empty()) return fmt::format("no result of the {} depends on an argument", what);
  for (const Tensor& t : results)
    if (t.dtype() != f64) return fmt::format("expected results of f64, got {}", name_of(t.dtype()));
  const std::vector<Tensor> weights = weights_for(results, 1);
  const std::vector<Tensor> gradients = grad(results, x, weights, {}, true);

  std::vector<Tensor> moved = copies_of(args);
  auto value = [&] {
    std::vector<Tensor> values = fn(moved), counted;
    for (size_t i = 0; i < counts.size(); ++i)
      if (counts[i]) counted.push_back(values[i]);
    return weighted_sum(counted, weights);
  };
  for (size_t k = 0; k < moved.size(); ++k) {
    double* v = moved[k].mutable_data<double>();
    const std::vector<double> found = gradients[k].defined()
                                          ? gradients[k].to_vector<double>()
                                          : std::vector<double>(static_cast<size_t>(moved[k].numel()));
    for (int64_t i = 0; i < moved[k].numel(); ++i) {
      const double before = v[i];
      v[i] = before + o.eps;
      const double above = value();
      v[i] = before - o.eps;
      const double below = value();
      v[i] = before;
      const double expected = (above - below) / (2 * o.eps);
      if (std::abs(found[i] - expected) <= o.atol + o.rtol * std::abs(expected)) continue;
      return fmt::format("argument {} at {}: expected a {} of {:.9g}, got {:.9g} (difference {:.3g})", k,
                         position(moved[k].shape(), i), what, expected, found[i], found[i] - expected);
    }
  }
  return {};
}

}  // namespace

std::string gradcheck(const TensorFn& fn, std::span<const Tensor> args, GradcheckOptions options) {
  HEBB_CHECK(!args.empty(), "[gradcheck] expected arguments, got none");
  for (size_t i = 0; i < args.size(); ++i)
    HEBB_CHECK(args[i].defined() && args[i].dtype() == f64, "[gradcheck] expected argument {} of f64, got {}",
               i, args[i].defined() ? name_of(args[i].dtype()) : "an undefined tensor");
  if (std::string text = check(fn, args, options, "gradient"); !text.empty() || !options.second) return text;

  const TensorFn gradient = [&](std::span<const Tensor> x) {
    const EnableGrad enable;
    std::vector<Tensor> results;
    for (const Tensor& t : fn(x))
      if (t.defined() && t.requires_grad()) results.push_back(t);
    std::vector<Tensor> found =
        grad(results, x, weights_for(results, 1), {.create_graph = true}, /*allow_unused=*/true);
    for (size_t i = 0; i < found.size(); ++i)
      if (!found[i].defined()) found[i] = Tensor::from(std::vector<double>(x[i].numel()), x[i].shape());
    return found;
  };
  const std::vector<Tensor> x = copies_of(args);
  bool constant = true;  // a linear function's gradient depends on nothing
  for (const Tensor& t : gradient(x)) constant = constant && !t.requires_grad();
  return constant ? std::string() : check(gradient, args, options, "second gradient");
}

}  // namespace hebb
