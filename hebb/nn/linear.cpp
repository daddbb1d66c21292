#include "hebb/nn/linear.h"

#include "hebb/nn/layer_support.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/index.h"
#include "hebb/ops/matmul.h"
#include "hebb/ops/minmax.h"
#include "hebb/ops/view.h"

namespace hebb::nn {

using detail::expect_at_least;
using detail::repr;

Linear::Linear(int64_t in, int64_t out, LinearOptions options) : in_features(in), out_features(out) {
  expect_at_least(1, in, "Linear", "in_features");
  expect_at_least(1, out, "Linear", "out_features");
  weight = Parameter(Tensor::empty({out, in}));
  if (options.bias) bias = Parameter(Tensor::empty({out}));
  reset_parameters();
}
void Linear::reset_parameters() { detail::reset_weight_and_bias(weight, bias); }
Tensor Linear::forward(const Tensor& x) { return linear(x, weight, bias); }
std::string Linear::extra_repr() const {
  return fmt::format("in_features={}, out_features={}, bias={}", in_features, out_features,
                     repr(bias.defined()));
}

Tensor Identity::forward(const Tensor& x) { return x; }

Flatten::Flatten(int64_t start, int64_t end) : start_dim(start), end_dim(end) {}
Tensor Flatten::forward(const Tensor& x) { return flatten(x, start_dim, end_dim); }
std::string Flatten::extra_repr() const {
  return fmt::format("start_dim={}, end_dim={}", start_dim, end_dim);
}

Unflatten::Unflatten(int64_t dimension, const Shape& size) : dim(dimension), unflattened_size(size) {}
Tensor Unflatten::forward(const Tensor& x) { return unflatten(x, dim, unflattened_size); }
std::string Unflatten::extra_repr() const {
  return fmt::format("dim={}, unflattened_size={}", dim, detail::tuple(unflattened_size));
}

Bilinear::Bilinear(int64_t in1, int64_t in2, int64_t out, BilinearOptions options)
    : in1_features(in1), in2_features(in2), out_features(out) {
  expect_at_least(1, in1, "Bilinear", "in1_features");
  expect_at_least(1, in2, "Bilinear", "in2_features");
  expect_at_least(1, out, "Bilinear", "out_features");
  weight = Parameter(Tensor::empty({out, in1, in2}));
  if (options.bias) bias = Parameter(Tensor::empty({out}));
  reset_parameters();
}
void Bilinear::reset_parameters() {
  const double bound = 1 / std::sqrt(static_cast<double>(in1_features));
  init::uniform_(weight, -bound, bound);
  if (bias.defined()) init::uniform_(bias, -bound, bound);
}
Tensor Bilinear::forward(const Tensor& x1, const Tensor& x2) {
  HEBB_CHECK(x1.ndim() > 0 && x1.size(-1) == in1_features,
             "[Bilinear] expected {} features in the first input, got {}", in1_features, x1.shape().str());
  HEBB_CHECK(x2.ndim() > 0 && x2.size(-1) == in2_features,
             "[Bilinear] expected {} features in the second input, got {}", in2_features, x2.shape().str());
  HEBB_CHECK(std::equal(x1.shape().begin(), x1.shape().end() - 1, x2.shape().begin(), x2.shape().end() - 1),
             "[Bilinear] expected inputs that agree but for the last dimension, got {} and {}",
             x1.shape().str(), x2.shape().str());
  Shape shape = x1.shape();
  shape[shape.ndim() - 1] = out_features;
  const int64_t rows = x1.numel() / in1_features;
  // [rows, out * in2] x x2: the first input is contracted by one product, the second by sums over rows.
  const Tensor w = reshape(permute(weight, {1, 0, 2}), {in1_features, out_features * in2_features});
  const Tensor left =
      reshape(matmul(reshape(x1, {rows, in1_features}), w), {rows, out_features, in2_features});
  Tensor y = reshape(matmul(left, reshape(x2, {rows, in2_features, 1})), shape);
  return bias.defined() ? y + bias : y;
}
std::string Bilinear::extra_repr() const {
  return fmt::format("in1_features={}, in2_features={}, out_features={}, bias={}", in1_features, in2_features,
                     out_features, repr(bias.defined()));
}

Embedding::Embedding(int64_t count, int64_t dim, EmbeddingOptions options)
    : num_embeddings(count), embedding_dim(dim), padding_idx(options.padding_idx) {
  expect_at_least(1, count, "Embedding", "num_embeddings");
  expect_at_least(1, dim, "Embedding", "embedding_dim");
  if (padding_idx) {
    HEBB_CHECK(*padding_idx >= -count && *padding_idx < count,
               "[Embedding] expected padding_idx within {} rows, got {}", count, *padding_idx);
    if (*padding_idx < 0) *padding_idx += count;
  }
  weight = Parameter(Tensor::empty({count, dim}));
  reset_parameters();
}
void Embedding::reset_parameters() {
  init::normal_(weight);
  if (!padding_idx) return;
  const Tensor row = reshape(arange(num_embeddings), {num_embeddings, 1});
  weight.assign_(where(row == *padding_idx, zeros_like(weight), weight.detach()));
}
Tensor Embedding::forward(const Tensor& indices) { return embedding(indices, weight, padding_idx); }
std::string Embedding::extra_repr() const {
  std::string text = fmt::format("{}, {}", num_embeddings, embedding_dim);
  if (padding_idx) text += fmt::format(", padding_idx={}", *padding_idx);
  return text;
}

Maxout::Maxout(int64_t in, int64_t out, MaxoutOptions options)
    : in_features(in), out_features(out), pieces(options.pieces) {
  expect_at_least(1, in, "Maxout", "in_features");
  expect_at_least(1, out, "Maxout", "out_features");
  expect_at_least(1, pieces, "Maxout", "pieces");
  weight = Parameter(Tensor::empty({out * pieces, in}));
  if (options.bias) bias = Parameter(Tensor::empty({out * pieces}));
  reset_parameters();
}
void Maxout::reset_parameters() { detail::reset_weight_and_bias(weight, bias); }
Tensor Maxout::forward(const Tensor& x) {
  return max(unflatten(linear(x, weight, bias), -1, {out_features, pieces}), -1).values;
}
std::string Maxout::extra_repr() const {
  return fmt::format("in_features={}, out_features={}, pieces={}, bias={}", in_features, out_features, pieces,
                     repr(bias.defined()));
}

}  // namespace hebb::nn
