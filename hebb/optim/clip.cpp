#include "hebb/optim/clip.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "hebb/autograd/grad.h"
#include "hebb/core/check.h"
#include "hebb/core/parallel.h"
#include "hebb/op/dispatch.h"
#include "hebb/ops/creation.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/join.h"

namespace hebb::optim {
namespace {

// Sums are split into chunks of this many elements, whatever the number of threads: the order is fixed.
constexpr int64_t kChunk = 8192;
constexpr int kLanes = 8;  // independent sums within a chunk, so that additions need not wait for each other

template <class T, class Term>
double chunk_sum(const T* g, int64_t n, const Term& term) {
  double lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int k = 0; k < kLanes; ++k) lanes[k] += term(static_cast<double>(g[i + k]));
  for (; i < n; ++i) lanes[i % kLanes] += term(static_cast<double>(g[i]));
  double total = 0;
  for (const double lane : lanes) total += lane;
  return total;
}

template <class T>
double chunk_max(const T* g, int64_t n) {
  double most = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double a = std::abs(static_cast<double>(g[i]));
    if (!(a <= most)) most = a;   // a NaN enters…
    if (std::isnan(most)) break;  // …and stays
  }
  return most;
}

// Folds a tensor into one f64: the sum of |g|^norm_type, or the largest |g|.
double fold(const Tensor& grad, double norm_type) {
  const DType type = grad.dtype() == f64 ? f64 : f32;
  const Tensor dense = hebb::detail::dense(grad, type);
  const int64_t n = grad.numel();
  std::vector<double> parts(static_cast<size_t>((n + kChunk - 1) / kChunk));
  const auto fold_chunks = [&]<class T>(const T* values) {
    parallel_for(static_cast<int64_t>(parts.size()), 4, [&](int64_t begin, int64_t end) {
      for (int64_t c = begin; c < end; ++c) {
        const T* g = values + c * kChunk;
        const int64_t count = std::min(kChunk, n - c * kChunk);
        double& part = parts[static_cast<size_t>(c)];
        if (std::isinf(norm_type)) part = chunk_max(g, count);
        else if (norm_type == 2) part = chunk_sum(g, count, [](double x) { return x * x; });
        else if (norm_type == 1) part = chunk_sum(g, count, [](double x) { return std::abs(x); });
        else part = chunk_sum(g, count, [&](double x) { return std::pow(std::abs(x), norm_type); });
      }
    });
  };
  if (type == f64) fold_chunks(dense.data<double>());
  else fold_chunks(dense.data<float>());
  if (std::isinf(norm_type)) return chunk_max(parts.data(), static_cast<int64_t>(parts.size()));
  return chunk_sum(parts.data(), static_cast<int64_t>(parts.size()), [](double x) { return x; });
}

struct FoldAttrs {
  double norm_type;
  HEBB_FIELDS(norm_type)
};

const OpDef kFold{.name = "grad_norm_fold",
                  .kind = Kind::Reduce,
                  .doc = "The sum of |x|^norm_type over a tensor, in f64; the largest |x| for infinity.",
                  .infer = [](SpecPtrs, const Attrs&) -> Specs { return TensorSpec({}, f64); },
                  .reference =
                      [](const ReferenceArgs& a) {
                        *a.outputs[0].mutable_data<double>() =
                            fold(a.inputs[0], a.attrs.as<FoldAttrs>().norm_type);
                      },
                  .gradient = Gradient::None};

Tensor folded(const Tensor& t, double norm_type) { return apply1(kFold, FoldAttrs{norm_type}, {t}); }

// Gives a parameter fn(gradient) in place of its gradient.
template <class Fn>
void map_grad(Tensor param, const Fn& fn) {
  if (const Tensor g = param.grad(); g.defined()) param.set_grad(fn(g));
}

}  // namespace

Tensor clip_grad_norm_(std::span<const Tensor> params, double max_norm, double norm_type,
                       bool error_if_nonfinite) {
  HEBB_CHECK(max_norm >= 0, "[clip_grad_norm_] max_norm: expected at least 0, got {}", max_norm);
  HEBB_CHECK(norm_type > 0, "[clip_grad_norm_] norm_type: expected more than 0, got {}", norm_type);
  const NoGrad no_grad;
  std::vector<Tensor> parts;
  for (const Tensor& p : params)
    if (const Tensor g = p.grad(); g.defined()) parts.push_back(folded(g, norm_type));
  if (parts.empty()) return zeros({}, f64);
  Tensor norm = folded(stack(parts), std::isinf(norm_type) ? norm_type : 1);
  if (norm_type == 2) norm = sqrt(norm);
  else if (norm_type != 1 && !std::isinf(norm_type)) norm = pow(norm, 1 / norm_type);
  HEBB_CHECK(!error_if_nonfinite || std::isfinite(norm.item<double>()),
             "[clip_grad_norm_] expected gradients with a finite norm, got {}", norm.item<double>());

  const Tensor scale = clamp(max_norm / (norm + 1e-6), 0, 1);
  if (!scale.is_traced() && scale.item<double>() == 1) return norm;
  for (const Tensor& p : params) map_grad(p, [&](const Tensor& g) { return g * scale; });
  return norm;
}

void clip_grad_value_(std::span<const Tensor> params, double clip_value) {
  HEBB_CHECK(clip_value >= 0, "[clip_grad_value_] clip_value: expected at least 0, got {}", clip_value);
  const NoGrad no_grad;
  for (const Tensor& p : params)
    map_grad(p, [&](const Tensor& g) { return clamp(g, -clip_value, clip_value); });
}

}  // namespace hebb::optim
