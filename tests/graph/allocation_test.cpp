// What a call of a small plan asks the memory for: its results, and nothing for any of its ops.
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstdlib>
#include <new>

#include "hebb/graph/compile.h"
#include "hebb/hebb.h"
#include "tests/graph/graphs.h"

namespace {

std::atomic<int64_t> allocations = 0;

[[maybe_unused]] void* counted(size_t bytes) {
  ++allocations;
  if (void* const p = std::malloc(bytes)) return p;
  throw std::bad_alloc();
}

}  // namespace

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kCounts = false;  // sanitizers have allocators of their own
#else
constexpr bool kCounts = true;
// Of the whole test program. (Values of tensors are not allocated so, but Storage, which holds them, is.)
void* operator new(size_t bytes) { return counted(bytes); }
void* operator new[](size_t bytes) { return counted(bytes); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }
void operator delete[](void* p, size_t) noexcept { std::free(p); }
#endif

namespace hebb::graph {
namespace {

using namespace test;

// How many allocations a call of a training step makes that has been called before: `depth` layers of `width`
// by `width` neurons, of `times` steps at once.
int64_t allocations_of(int depth, int64_t width, int64_t times) {
  manual_seed(1);
  nn::Sequential net;
  for (int i = 0; i < depth; ++i) {
    net.push_back(nn::Linear(width, width));
    if (i % 2) net.push_back(nn::Tanh());
    else net.push_back(nn::ReLU());
  }
  optim::SGD sgd(net.parameters(), {.lr = 0.1});
  const Compiled step = compile(
      [&](Args a) -> Tensors {
        sgd.zero_grad();
        const Tensor loss = mse_loss(net(a[0]), a[1]);
        backward(loss);
        sgd.step();
        return {loss.detach()};
      },
      {net, sgd});
  const Tensors batch{randn({30, width}), randn({30, width})};
  for (int i = 0; i < 2; ++i) step.repeat(times, batch);
  const int64_t before = allocations;
  const Tensors results = step.repeat(times, batch);
  const int64_t after = allocations;
  EXPECT_TRUE(std::isfinite(results[0].item<double>()));
  return after - before;
}

TEST(Allocations, OfAPlanAreThoseOfItsResults) {
  if (!kCounts) GTEST_SKIP() << "sanitizers have allocators of their own";
  const Threads two(2);
  // The list of results, the storage and the handle of one of them, and what the optimizer's options are read
  // through.
  EXPECT_LE(allocations_of(2, 8, 1), 5);
  // However many ops there are, and however wide they are: with sums over rows that programs hold, too.
  EXPECT_EQ(allocations_of(8, 8, 1), allocations_of(2, 8, 1));
  EXPECT_EQ(allocations_of(4, 24, 1), allocations_of(2, 8, 1));
  // A step of many in one call makes the storage alone.
  EXPECT_EQ(allocations_of(4, 24, 101) - allocations_of(4, 24, 1), 100);
  EXPECT_GT(allocations, 1000) << "is anything counted?";
}

}  // namespace
}  // namespace hebb::graph
