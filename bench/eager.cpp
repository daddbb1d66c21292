// What a call costs, run op by op: small ops, a LeNet-5 training step, an optimizer's pass.
// Its peer is eager_torch.py. Run both on a quiet machine, with the same number of threads:
//   cmake --preset release -DHEBB_BUILD_BENCH=ON && cmake --build build/release --target bench_eager
//   build/release/bench/eager && python3 bench/eager_torch.py
#include <benchmark/benchmark.h>
#include <hebb/hebb.h>

using namespace hebb;

namespace {

void add_8(benchmark::State& state) {
  const Tensor a = randn({8}), b = randn({8});
  for (auto _ : state) benchmark::DoNotOptimize(add(a, b));
}
BENCHMARK(add_8);

void add_8_recorded(benchmark::State& state) {
  const Tensor a = randn({8}).requires_grad_(), b = randn({8});
  for (auto _ : state) benchmark::DoNotOptimize(add(a, b));
}
BENCHMARK(add_8_recorded);

struct LeNet : nn::Module {
  nn::Conv2d conv1{1, 6, {.kernel_size = 5, .padding = 2}}, conv2{6, 16, {.kernel_size = 5}};
  nn::Linear fc1{400, 120}, fc2{120, 84}, fc3{84, 10};
  Tensor forward(const Tensor& x) {
    const Tensor h = max_pool2d(relu(conv2(max_pool2d(relu(conv1(x)), 2))), 2);
    return fc3(relu(fc2(relu(fc1(flatten(h, 1))))));
  }
  HEBB_MEMBERS(conv1, conv2, fc1, fc2, fc3)
};

void lenet_forward(benchmark::State& state) {
  const Tensor x = randn({64, 1, 28, 28});
  LeNet net;
  const NoGrad no_grad;
  for (auto _ : state) benchmark::DoNotOptimize(net(x));
}
BENCHMARK(lenet_forward)->Unit(benchmark::kMicrosecond)->UseRealTime();

void lenet_step(benchmark::State& state) {
  const Tensor x = randn({64, 1, 28, 28}), y = randint(0, 10, {64});
  LeNet net;
  optim::SGD sgd(net.parameters(), {.lr = 0.01, .momentum = 0.9});
  for (auto _ : state) {
    sgd.zero_grad();
    backward(cross_entropy(net(x), y));
    sgd.step();
  }
}
BENCHMARK(lenet_step)->Unit(benchmark::kMicrosecond)->UseRealTime();

// 20 matrices of 512x512, 5.2 million values, with their gradients.
std::vector<Tensor> weights() {
  std::vector<Tensor> all;
  for (int i = 0; i < 20; ++i) {
    all.push_back(randn({512, 512}).requires_grad_());
    all.back().set_grad(randn({512, 512}));
  }
  return all;
}

void sgd_momentum(benchmark::State& state) {
  optim::SGD optimizer(weights(), {.lr = 1e-4, .momentum = 0.9});
  for (auto _ : state) optimizer.step();
}
BENCHMARK(sgd_momentum)->Unit(benchmark::kMicrosecond)->UseRealTime();

void adam(benchmark::State& state) {
  optim::Adam optimizer(weights(), {.lr = 1e-4});
  for (auto _ : state) optimizer.step();
}
BENCHMARK(adam)->Unit(benchmark::kMicrosecond)->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
