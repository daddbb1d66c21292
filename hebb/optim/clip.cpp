#include "hebb/optim/clip.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "hebb/optim/update.h"

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

// Folds one gradient: the sum of |g|^norm_type, or the largest |g|.
template <class T>
double fold(const Tensor& grad, double norm_type) {
  const detail::DenseValues<T> dense(grad);
  const int64_t n = grad.numel();
  std::vector<double> parts(static_cast<size_t>((n + kChunk - 1) / kChunk));
  parallel_for(static_cast<int64_t>(parts.size()), 4, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      const T* g = dense.values() + c * kChunk;
      const int64_t count = std::min(kChunk, n - c * kChunk);
      double& part = parts[static_cast<size_t>(c)];
      if (std::isinf(norm_type)) part = chunk_max(g, count);
      else if (norm_type == 2) part = chunk_sum(g, count, [](double x) { return x * x; });
      else if (norm_type == 1) part = chunk_sum(g, count, [](double x) { return std::abs(x); });
      else part = chunk_sum(g, count, [&](double x) { return std::pow(std::abs(x), norm_type); });
    }
  });
  if (std::isinf(norm_type)) return chunk_max(parts.data(), static_cast<int64_t>(parts.size()));
  return chunk_sum(parts.data(), static_cast<int64_t>(parts.size()), [](double x) { return x; });
}

// Gives a parameter fn(g) in place of g. Two parameters may share one gradient tensor (that of a + b), so a
// gradient is never written.
template <class Fn>
void map_grad(Tensor param, const Fn& fn) {
  const Tensor grad = param.grad();
  const auto map = [&]<class T>(T) {
    const detail::DenseValues<T> dense(grad);
    Tensor out = Tensor::empty(grad.shape(), dtype_of<T>);
    T* to = out.mutable_data<T>();
    const T* from = dense.values();
    parallel_for(grad.numel(), detail::kUpdateGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) to[i] = fn(from[i]);
    });
    if (out.dtype() != grad.dtype()) {
      Tensor converted = Tensor::empty(grad.shape(), grad.dtype());
      converted.assign_(out);
      out = converted;
    }
    param.set_grad(out);
  };
  if (grad.dtype() == f64) map(double{});
  else map(float{});
}

}  // namespace

double clip_grad_norm_(std::span<const Tensor> params, double max_norm, double norm_type,
                       bool error_if_nonfinite) {
  HEBB_CHECK(max_norm >= 0, "[clip_grad_norm_] max_norm: expected at least 0, got {}", max_norm);
  HEBB_CHECK(norm_type > 0, "[clip_grad_norm_] norm_type: expected more than 0, got {}", norm_type);
  std::vector<double> parts;
  for (const Tensor& p : params)
    if (const Tensor g = p.grad(); g.defined())
      parts.push_back(g.dtype() == f64 ? fold<double>(g, norm_type) : fold<float>(g, norm_type));
  const int64_t count = static_cast<int64_t>(parts.size());
  double norm = 0;
  if (std::isinf(norm_type)) {
    norm = chunk_max(parts.data(), count);
  } else {
    const double sum = chunk_sum(parts.data(), count, [](double x) { return x; });
    norm = norm_type == 2 ? std::sqrt(sum) : std::pow(sum, 1 / norm_type);
  }
  HEBB_CHECK(!error_if_nonfinite || std::isfinite(norm),
             "[clip_grad_norm_] expected gradients with a finite norm, got {}", norm);

  const double scale = max_norm / (norm + 1e-6);
  if (scale >= 1) return norm;
  for (const Tensor& p : params)
    if (p.grad().defined()) map_grad(p, [&]<class T>(T g) { return g * static_cast<T>(scale); });
  return norm;
}

void clip_grad_value_(std::span<const Tensor> params, double clip_value) {
  HEBB_CHECK(clip_value >= 0, "[clip_grad_value_] clip_value: expected at least 0, got {}", clip_value);
  for (const Tensor& p : params) {
    if (!p.grad().defined()) continue;
    map_grad(p, [&]<class T>(T g) {
      const T limit = static_cast<T>(clip_value);
      return g < -limit ? -limit : g > limit ? limit : g;
    });
  }
}

}  // namespace hebb::optim
