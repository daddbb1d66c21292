// Random networks for images train alike however their steps are run.
#include <rapidcheck/gtest.h>

#include <cmath>

#include "hebb/hebb.h"
#include "hebb/op/dispatch.h"
#include "tests/graph/graphs.h"

namespace hebb {
namespace {

using namespace graph::test;

struct Residual : nn::Module {
  nn::Conv2d conv;
  nn::BatchNorm2d bn;
  explicit Residual(int64_t channels)
      : conv(channels, channels, {.kernel_size = 3, .padding = 1, .bias = false}), bn(channels) {}
  Tensor forward(const Tensor& x) { return relu(bn(conv(x)) + x); }
  HEBB_MEMBERS(conv, bn)
};

// A layer for each of the first six choices, and a linear one.
nn::Sequential random_net(const std::vector<uint32_t>& choices, int64_t channels, int64_t size) {
  nn::Sequential net;
  for (size_t i = 0; i < std::min<size_t>(6, choices.size()); ++i) {
    const uint32_t c = choices[i];
    const int64_t out = (c >> 8) % 3 == 0 ? 6 : 16 * ((c >> 8) % 3);
    const auto conv = [&](int64_t kernel, int64_t stride) {
      net.push_back(
          nn::Conv2d(channels, out, {.kernel_size = kernel, .stride = stride, .padding = kernel / 2}));
      channels = out;
      size = (size + stride - 1) / stride;
    };
    switch (c % 9) {
      case 0: conv(3, 1); break;
      case 1: conv(3, 2); break;
      case 2: conv(1, 1); break;
      case 3: conv(5, 1); break;
      case 4: net.push_back(nn::BatchNorm2d(channels)); break;
      case 5: net.push_back(nn::ReLU()); break;
      case 6: net.push_back(nn::GELU()); break;
      case 7: net.push_back(Residual(channels)); break;
      default:
        if (size % 2 == 0) net.push_back(nn::MaxPool2d(2)), size /= 2;
    }
  }
  net.push_back(nn::Flatten());
  net.push_back(nn::Linear(channels * size * size, 5));
  return net;
}

// The loss of a step, the gradients, and all weights and statistics behind it.
Tensors step(nn::Sequential& net, optim::Optimizer& optimizer, const Tensor& x, const Tensor& y) {
  net.zero_grad();
  const Tensor loss = cross_entropy(net(x), y);
  backward(loss);
  Tensors out{loss.detach()};
  for (const Tensor& p : net.parameters()) out.push_back(p.grad());
  optimizer.step();
  return out;
}

// The distance of b from a, as a part of a's length; sums of many numbers that cancel count as zero.
double distance(const Tensor& a, const Tensor& b) {
  const auto x = a.to_vector<double>(), y = b.to_vector<double>();
  double difference = 0, length = 0;
  for (size_t i = 0; i < x.size(); ++i) difference += (x[i] - y[i]) * (x[i] - y[i]), length += x[i] * x[i];
  return std::sqrt(difference) / (std::sqrt(length) + 0.01);
}

// With all passes, none, and all but one in turns; op by op; by the plain kernels. (Rounding may carry a
// value over a kink of ReLU or to another maximum: a pixel of a few hundred.)
RC_GTEST_PROP(RandomNets, TrainAlike, (const std::vector<uint32_t>& choices, bool many)) {
  manual_seed(3);
  const int64_t channels = many ? 16 : 3, batch = many ? 4 : 8;
  const nn::Sequential start = random_net(choices, channels, 8);
  const Tensor x = randn({batch, channels, 8, 8}), y = randint(0, 5, {batch});
  Tensors want;
  const auto check = [&](const std::string& how, nn::Sequential& net, const Tensors& out) {
    Tensors got = out;
    for (const auto& [name, t] : net.state_dict()) got.push_back(t.detach());
    if (want.empty()) want = got;
    RC_ASSERT(got.size() == want.size());
    for (size_t i = 0; i < got.size(); ++i) {
      const double d = distance(to(want[i], f64), to(got[i], f64));
      if (!(d <= 0.02)) RC_FAIL(how + ": result " + std::to_string(i) + " is off by " + std::to_string(d));
    }
  };
  for (const char* backend : {"reference", "cpu"}) {
    const BackendScope by(backend);
    nn::Sequential net = start.clone();
    optim::SGD sgd(net.parameters(), {.lr = 0.1, .momentum = 0.9});
    check(backend, net, step(net, sgd, x, y));
  }
  static size_t next = 0;
  const auto passes = graph::passes();
  const std::string one = passes[next++ % passes.size()].name;
  for (const std::string& off : {std::string(), all_passes(), one}) {
    const PassesOff without(off);
    nn::Sequential net = start.clone();
    optim::SGD sgd(net.parameters(), {.lr = 0.1, .momentum = 0.9});
    const Compiled run = compile([&](Args a) { return step(net, sgd, a[0], a[1]); }, {net, sgd});
    check("compiled without " + off, net, run({x, y}));
  }
}

}  // namespace
}  // namespace hebb
