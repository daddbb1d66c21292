// Training equal to PyTorch, step by step: the same networks, weights and batches as in
// tools/golden/training.py, whose losses in f64 are the golden values.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "hebb/autograd/grad.h"
#include "hebb/nn/conv.h"
#include "hebb/nn/linear.h"
#include "hebb/nn/norm.h"
#include "hebb/ops/creation.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/loss.h"
#include "hebb/ops/pool.h"
#include "hebb/ops/view.h"
#include "tests/optim/support.h"

namespace hebb {
namespace {

constexpr int kSteps = 50, kBatches = 5;

struct Mlp : nn::Module {
  static Shape batch_shape() { return {4, 12}; }
  static constexpr int64_t kClasses = 5;
  nn::Linear fc1{12, 16}, fc2{16, 16}, fc3{16, 5};
  Tensor forward(const Tensor& x) { return fc3(relu(fc2(tanh(fc1(x))))); }
  HEBB_MEMBERS(fc1, fc2, fc3)
};

struct LeNet5 : nn::Module {
  static Shape batch_shape() { return {4, 1, 28, 28}; }
  static constexpr int64_t kClasses = 10;
  nn::Conv2d conv1{1, 6, {.kernel_size = 5, .padding = 2}}, conv2{6, 16, {.kernel_size = 5}};
  nn::Linear fc1{400, 120}, fc2{120, 84}, fc3{84, 10};
  Tensor forward(const Tensor& x) {
    Tensor h = max_pool2d(relu(conv1(x)), 2);
    h = max_pool2d(relu(conv2(h)), 2);
    return fc3(relu(fc2(relu(fc1(flatten(h, 1))))));
  }
  HEBB_MEMBERS(conv1, conv2, fc1, fc2, fc3)
};

/// Source: He et al., 2015.
struct Block : nn::Module {
  nn::Conv2d conv1;
  nn::BatchNorm2d bn1;
  nn::Conv2d conv2;
  nn::BatchNorm2d bn2;
  nn::Conv2d down;
  nn::BatchNorm2d bn3;
  Block(int64_t in, int64_t out, int64_t stride)
      : conv1(in, out, {.kernel_size = 3, .stride = stride, .padding = 1, .bias = false}),
        bn1(out),
        conv2(out, out, {.kernel_size = 3, .padding = 1, .bias = false}),
        bn2(out),
        down(in, out, {.kernel_size = 1, .stride = stride, .bias = false}),
        bn3(out) {}
  Tensor forward(const Tensor& x) {
    const Tensor y = bn2(conv2(relu(bn1(conv1(x)))));
    return relu(y + bn3(down(x)));
  }
  HEBB_MEMBERS(conv1, bn1, conv2, bn2, down, bn3)
};

struct ResNet : nn::Module {
  static Shape batch_shape() { return {8, 3, 8, 8}; }
  static constexpr int64_t kClasses = 4;
  nn::Conv2d conv{3, 6, {.kernel_size = 3, .padding = 1, .bias = false}};
  nn::BatchNorm2d bn{6};
  Block block{6, 8, 2};
  nn::Linear fc{8, 4};
  Tensor forward(const Tensor& x) { return fc(flatten(global_avg_pool2d(block(relu(bn(conv(x))))), 1)); }
  HEBB_MEMBERS(conv, bn, block, fc)
};

/// 32 random bits for i (lowbias32, https://nullprogram.com/blog/2018/07/31/).
uint32_t hashed(int64_t i, uint32_t seed) {
  uint32_t x = static_cast<uint32_t>(i) + seed * 0x9E3779B9u;
  x = (x ^ x >> 16) * 0x7FEB352Du;
  x = (x ^ x >> 15) * 0x846CA68Bu;
  return x ^ x >> 16;
}

/// Values in [-bound, bound) that f32 holds exactly.
Tensor uniform(const Shape& shape, uint32_t seed, double bound, DType type) {
  std::vector<float> v(static_cast<size_t>(shape.numel()));
  for (size_t i = 0; i < v.size(); ++i)
    v[i] = static_cast<float>((hashed(static_cast<int64_t>(i), seed) / 2147483648.0 - 1) * bound);
  return to(Tensor::from(v, shape), type);
}

void set_weights(nn::Module& model, DType type) {
  uint32_t number = 0;
  for (auto& [path, p] : model.named_parameters()) {
    if (p.ndim() > 1) {
      const double bound = std::sqrt(3.0 * static_cast<double>(p.size(0)) / static_cast<double>(p.numel()));
      p.assign_(uniform(p.shape(), number, bound, type));
    } else {
      p.assign_(full(p.shape(), path.ends_with("weight") ? 1 : 0, type));
    }
    ++number;
  }
}

template <class Model>
Tensor loss_of(Model& model, int batch, DType type) {
  const uint32_t number = static_cast<uint32_t>(batch);
  std::vector<int64_t> labels(static_cast<size_t>(Model::batch_shape()[0]));
  for (size_t i = 0; i < labels.size(); ++i)
    labels[i] = hashed(static_cast<int64_t>(i), 200 + number) % Model::kClasses;
  const Tensor x = uniform(Model::batch_shape(), 100 + number, 1, type);
  return cross_entropy(model(x), Tensor::from(labels, {Model::batch_shape()[0]}));
}

template <class Model>
std::vector<double> losses(const std::string& optimizer_name, const optim::OptionMap& options, DType type) {
  Model model;
  model.to(type);
  set_weights(model, type);
  const auto optimizer = optim::make_optimizer(optimizer_name, model.parameters(), options);
  std::vector<double> found;
  for (int step = 0; step < kSteps; ++step) {
    const Tensor loss = loss_of(model, step % kBatches, type);
    EXPECT_EQ(loss.dtype(), type);
    found.push_back(loss.to_vector<double>()[0]);
    optimizer->zero_grad();
    backward(loss);
    optimizer->step();
  }
  model.eval();
  found.push_back(loss_of(model, 0, type).template to_vector<double>()[0]);
  return found;
}

/// Compares the losses for each optimizer; a loss may differ by relative * (loss + offset).
template <class Model>
void expect_pytorch(const std::string& model, DType type, double relative, double offset) {
  const auto golden = optim::test::golden("training.safetensors");
  ASSERT_EQ(golden.metadata.size(), 5u);
  for (const auto& [optimizer, text] : golden.metadata) {
    const auto options = optim::test::options_from(nlohmann::json::parse(text));
    const Tensor* expected = golden.find(model + "." + optimizer);
    ASSERT_TRUE(expected) << model << "." << optimizer;
    const auto want = expected->to_vector<double>(), got = losses<Model>(optimizer, options, type);
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < want.size(); ++i)
      ASSERT_NEAR(got[i], want[i], relative * (want[i] + offset)) << optimizer << ", step " << i;
  }
}

TEST(PyTorchTrainingTest, MlpInF64) { expect_pytorch<Mlp>("mlp", f64, 1e-8, 0); }
TEST(PyTorchTrainingTest, MlpInF32) { expect_pytorch<Mlp>("mlp", f32, 2e-3, 0.05); }
TEST(PyTorchTrainingTest, LeNet5InF64) { expect_pytorch<LeNet5>("lenet5", f64, 1e-8, 0); }
TEST(PyTorchTrainingTest, LeNet5InF32) { expect_pytorch<LeNet5>("lenet5", f32, 2e-3, 0.05); }
TEST(PyTorchTrainingTest, ResNetInF64) { expect_pytorch<ResNet>("resnet", f64, 1e-8, 0); }
TEST(PyTorchTrainingTest, ResNetInF32) { expect_pytorch<ResNet>("resnet", f32, 2e-3, 0.05); }

}  // namespace
}  // namespace hebb
