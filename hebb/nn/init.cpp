#include "hebb/nn/init.h"

#include <cmath>

#include "hebb/core/check.h"
#include "hebb/core/rng.h"
#include "hebb/ops/creation.h"
#include "hebb/ops/elementwise.h"

namespace hebb::nn::init {
namespace {

double fan_of(const Tensor& t, FanMode mode) {
  const Fans f = fans(t);
  return static_cast<double>(mode == FanMode::fan_in ? f.in : f.out);
}

}  // namespace

Fans fans(const Tensor& t) {
  HEBB_CHECK(t.ndim() >= 2, "[init] expected a tensor of at least 2 dimensions, got {}", t.shape().str());
  int64_t field = 1;
  for (int d = 2; d < t.ndim(); ++d) field *= t.shape()[d];
  return {t.shape()[1] * field, t.shape()[0] * field};
}

double gain(const std::string& f, double a) {
  if (f == "linear" || f == "sigmoid" || f == "conv1d" || f == "conv2d") return 1;
  if (f == "tanh") return 5.0 / 3;
  if (f == "relu") return std::sqrt(2.0);
  if (f == "leaky_relu") return std::sqrt(2 / (1 + a * a));
  if (f == "selu") return 0.75;
  hebb::detail::fail("[init.gain] expected linear, sigmoid, tanh, relu, leaky_relu or selu, got \"{}\"", f);
}

void constant_(Tensor t, double value) { t.assign_(full(t.shape(), value, t.dtype())); }
void uniform_(Tensor t, double low, double high, Generator& g) {
  t.assign_(rand(t.shape(), t.dtype(), g) * (high - low) + low);
}
void normal_(Tensor t, double mean, double std, Generator& g) {
  t.assign_(randn(t.shape(), t.dtype(), g) * std + mean);
}

void trunc_normal_(Tensor t, double mean, double std, double low, double high, Generator& g) {
  HEBB_CHECK(low < high, "[trunc_normal_] expected low < high, got {} and {}", low, high);
  const auto key = g.next_key().to_vector<int64_t>();
  const RandomStream random{static_cast<uint64_t>(key[0]), static_cast<uint64_t>(key[1])};
  // By the inverse of the distribution function, found by bisection: exact for any bounds, however unlikely.
  auto phi = [](double x) { return 0.5 * std::erfc(-x * 0.7071067811865476); };
  const double from = phi((low - mean) / std), to = phi((high - mean) / std);
  std::vector<double> v(static_cast<size_t>(t.numel()));
  for (size_t i = 0; i < v.size(); ++i) {
    const double u = from + (to - from) * random.uniform(i);
    double a = (low - mean) / std, b = (high - mean) / std;
    for (int step = 0; step < 60; ++step) (phi(0.5 * (a + b)) < u ? a : b) = 0.5 * (a + b);
    v[i] = mean + std * 0.5 * (a + b);
  }
  t.assign_(Tensor::from(v, t.shape()));
}

void xavier_uniform_(Tensor t, double gain, Generator& g) {
  const Fans f = fans(t);
  const double a = gain * std::sqrt(6.0 / static_cast<double>(f.in + f.out));
  uniform_(t, -a, a, g);
}
void xavier_normal_(Tensor t, double gain, Generator& g) {
  const Fans f = fans(t);
  normal_(t, 0, gain * std::sqrt(2.0 / static_cast<double>(f.in + f.out)), g);
}
void kaiming_uniform_(Tensor t, double a, FanMode mode, const std::string& nonlinearity, Generator& g) {
  const double b = gain(nonlinearity, a) * std::sqrt(3 / fan_of(t, mode));
  uniform_(t, -b, b, g);
}
void kaiming_normal_(Tensor t, double a, FanMode mode, const std::string& nonlinearity, Generator& g) {
  normal_(t, 0, gain(nonlinearity, a) / std::sqrt(fan_of(t, mode)), g);
}
void lecun_normal_(Tensor t, Generator& g) { normal_(t, 0, 1 / std::sqrt(fan_of(t, FanMode::fan_in)), g); }
void lecun_uniform_(Tensor t, Generator& g) {
  const double b = std::sqrt(3 / fan_of(t, FanMode::fan_in));
  uniform_(t, -b, b, g);
}

void orthogonal_(Tensor t, double gain, Generator& g) {
  fans(t);
  const int64_t rows = t.shape()[0], cols = t.numel() / std::max<int64_t>(1, rows), n = std::min(rows, cols),
                m = std::max(rows, cols);
  // Modified Gram-Schmidt, twice, on n random vectors of length m.
  std::vector<double> v = randn({n, m}, f64, g).to_vector<double>();
  for (int pass = 0; pass < 2; ++pass) {
    for (int64_t i = 0; i < n; ++i) {
      double* a = &v[i * m];
      for (int64_t j = 0; j < i; ++j) {
        const double* b = &v[j * m];
        double dot = 0;
        for (int64_t k = 0; k < m; ++k) dot += a[k] * b[k];
        for (int64_t k = 0; k < m; ++k) a[k] -= dot * b[k];
      }
      double norm = 0;
      for (int64_t k = 0; k < m; ++k) norm += a[k] * a[k];
      for (int64_t k = 0; k < m; ++k) a[k] /= std::sqrt(norm);
    }
  }
  std::vector<double> w(static_cast<size_t>(rows * cols));
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < cols; ++c) w[r * cols + c] = gain * (rows <= cols ? v[r * m + c] : v[c * m + r]);
  t.assign_(Tensor::from(w, t.shape()));
}

}  // namespace hebb::nn::init
