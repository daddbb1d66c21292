// How a call finds what runs it: backends, the cache of prepared kernels, the stack of interpreters, shapes
// without values. Each test of the cache runs on a thread of its own, whose cache is empty.
#include "hebb/op/dispatch.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "hebb/autograd/grad.h"
#include "hebb/core/parallel.h"
#include "hebb/core/storage.h"
#include "hebb/ops/conv.h"
#include "hebb/ops/creation.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/index.h"
#include "hebb/ops/matmul.h"
#include "hebb/ops/random.h"
#include "hebb/ops/reduce.h"
#include "hebb/ops/view.h"
#include "tests/support/op_driver.h"
#include "tests/support/threads.h"
#include "tests/support/throws.h"

namespace hebb {
namespace {

using detail::kernel_cache_stats;

// How many kernels `fn` makes the cache build.
template <class F>
int64_t built_by(F&& fn) {
  const int64_t before = kernel_cache_stats().built;
  fn();
  return kernel_cache_stats().built - before;
}
Tensor matrix(int64_t rows, int64_t columns, DType type = f32) {
  return test_support::direction({rows, columns}, static_cast<uint64_t>(rows), type);
}

TEST(KernelCache, BuildsOnceForEachCall) {
  test_support::on_fresh_thread([] {
    const Tensor a = matrix(4, 5), b = matrix(5, 3);
    EXPECT_EQ(built_by([&] { matmul(a, b); }), 1);
    const Tensor c = a * a, d = b * b;
    EXPECT_EQ(built_by([&] { matmul(a, b), matmul(c, d); }), 0) << "other values, same specs";
    EXPECT_EQ(built_by([&] { matmul(transpose(transpose(c)), d); }), 0);
    EXPECT_EQ(built_by([&] { matmul(matrix(6, 5), b); }), 1) << "another shape";
    EXPECT_EQ(built_by([&] { matmul(matrix(4, 5, f64), matrix(5, 3, f64)); }), 1) << "another type";
    EXPECT_EQ(built_by([&] { sum(a, {0}); }), 1);
    EXPECT_EQ(built_by([&] { sum(a, {1}); }), 1) << "other attributes";
    EXPECT_EQ(built_by([&] { sum(a, {1}, true), sum(a, {1}), sum(a, {0}); }), 1);
    EXPECT_EQ(kernel_cache_stats().size, 6);
  });
}

TEST(KernelCache, KeepsKernelsForEachNumberOfThreads) {
  test_support::on_fresh_thread([] {
    const Tensor a = matrix(4, 5);
    sum(a);
    EXPECT_EQ(built_by([&] {
                {
                  const test_support::Threads more(num_threads() + 1);
                  sum(a);
                }
                sum(a);
              }),
              1);
  });
}

TEST(KernelCache, IsBoundedAndStaysRight) {
  test_support::on_fresh_thread([] {
    const int64_t capacity = kernel_cache_stats().capacity;
    EXPECT_EQ(kernel_cache_stats().size, 0);
    const int64_t calls = 2 * capacity;
    for (int round = 0; round < 2; ++round)
      for (int64_t n = 1; n <= calls; ++n)
        ASSERT_EQ(sum(ones({n, 2}), {0}).to_vector<double>(), std::vector(2, double(n)));
    EXPECT_LE(kernel_cache_stats().size, capacity);
    EXPECT_GT(kernel_cache_stats().size, capacity / 2) << "keys spread over the slots";
    EXPECT_GE(kernel_cache_stats().built, calls) << "those that had no room were built again";
  });
}

TEST(KernelCache, BelongsToAThread) {
  test_support::on_fresh_thread([] {
    sum(matrix(2, 2));
    test_support::on_fresh_thread([] { EXPECT_EQ(kernel_cache_stats().size, 0); });
    EXPECT_EQ(kernel_cache_stats().size, 1);
  });
}

TEST(Backends, AreAnExplicitList) {
  std::vector<std::string_view> names;
  for (const Backend* b : backends()) names.push_back(b->name());
  EXPECT_EQ(names, (std::vector<std::string_view>{"cpu", "reference"}));
  EXPECT_ERROR(BackendScope("gpu"), "[BackendScope] expected one of cpu, reference, got \"gpu\"");
}

// The reference adds in double and rounds once; the cpu backend adds floats.
TEST(Backends, AreChosenByScopes) {
  const Tensor a = matrix(8, 1000), b = matrix(1000, 8);
  const auto exact = to(matmul(to(a, f64), to(b, f64)), f32).to_vector<float>();
  auto product = [&] { return matmul(a, b).to_vector<float>(); };
  EXPECT_NE(product(), exact);
  {
    const BackendScope outer("reference");
    EXPECT_EQ(product(), exact);
    {
      const BackendScope inner("cpu");
      EXPECT_NE(product(), exact);
    }
    EXPECT_EQ(product(), exact);
    test_support::on_fresh_thread([&] { EXPECT_NE(product(), exact) << "a scope holds for its thread"; });
    EXPECT_ERROR(BackendScope("none"), "[BackendScope] expected one of cpu, reference, got \"none\"");
    EXPECT_EQ(product(), exact) << "a name that is not known changes nothing";
  }
  EXPECT_NE(product(), exact);
}

// Writes down the ops that pass and lets those below run them.
struct Recorder : Interpreter {
  std::vector<std::string> names;
  Interpreter* below = top_interpreter();
  Outputs apply(const OpDef& op, const Attrs& attrs, std::span<const Tensor> inputs) override {
    names.emplace_back(op.name);
    const BelowScope scope(below);
    return hebb::apply(op, attrs, inputs);
  }
};

TEST(Interpreters, StandOnAStack) {
  const Tensor x = tensor({1, 2}).requires_grad_();
  Recorder outer;
  {
    const InterpreterScope first(outer, InterpreterScope::Place::top);
    Recorder inner;
    {
      const InterpreterScope second(inner, InterpreterScope::Place::top);
      EXPECT_EQ(top_interpreter(), &inner);
      EXPECT_TRUE(exp(x).requires_grad()) << "the tape stands below";
      test_support::on_fresh_thread([&] { EXPECT_EQ(top_interpreter(), nullptr); });
    }
    EXPECT_EQ(top_interpreter(), &outer);
    sum(x);
    EXPECT_EQ(inner.names, (std::vector<std::string>{"exp"}));
  }
  EXPECT_EQ(top_interpreter(), nullptr);
  tanh(x);
  EXPECT_EQ(outer.names, (std::vector<std::string>{"exp", "sum"}));
}

TEST(Interpreters, BelowTheTapeSeeWhatItRuns) {
  struct Base : Interpreter {
    std::vector<std::string> names;
    Interpreter& eager = base_interpreter();
    Outputs apply(const OpDef& op, const Attrs& attrs, std::span<const Tensor> inputs) override {
      names.emplace_back(op.name);
      return eager.apply(op, attrs, inputs);
    }
  } base;
  const Tensor x = tensor({1, 2}).requires_grad_();
  {
    const InterpreterScope scope(base, InterpreterScope::Place::base);
    const Tensor loss = sum(tanh(x));
    EXPECT_EQ(base.names, (std::vector<std::string>{"tanh", "sum"}));
    backward(loss);
  }
  EXPECT_EQ(std::count(base.names.begin(), base.names.end(), "tanh_grad"), 1);
  const size_t before = base.names.size();
  exp(x);
  EXPECT_EQ(base.names.size(), before);
}

TEST(Shapes, GoThroughOpsWithoutValues) {
  ShapeInterpreter shapes;
  const InterpreterScope scope(shapes, InterpreterScope::Place::base);
  const int64_t before = memory_stats().in_use;
  const Tensor x = Tensor::meta({{1 << 20, 3, 224, 224}, f32});
  const Tensor y = relu(conv2d(x, Tensor::meta({{64, 3, 7, 7}, f32}), {}, {.stride = 2, .padding = 3}));
  EXPECT_EQ(y.shape(), (Shape{1 << 20, 64, 112, 112}));
  EXPECT_FALSE(y.has_data());
  EXPECT_EQ(transpose(reshape(y, {-1, 64, 112 * 112})).shape(), (Shape{1 << 20, 112 * 112, 64}));
  EXPECT_EQ((y + zeros({1, 64, 1, 1}, f64)).dtype(), f64);
  EXPECT_EQ(memory_stats().in_use - before, 0) << "nothing is allocated";
}

TEST(Shapes, DrawNoRandomNumbers) {
  Generator g(5);
  const auto state = g.state().to_vector<int64_t>();
  ShapeInterpreter shapes;
  const InterpreterScope scope(shapes, InterpreterScope::Place::base);
  EXPECT_EQ(randn({5, 6}, f32, g).shape(), (Shape{5, 6}));
  EXPECT_EQ(dropout(Tensor::meta({{2, 3}, f32}), 0.5, true, g).shape(), (Shape{2, 3}));
  EXPECT_EQ(g.state().to_vector<int64_t>(), state);
}

TEST(Shapes, RecordOnTheTape) {
  const Tensor w = ones({3, 4}).requires_grad_();
  ShapeInterpreter shapes;
  const InterpreterScope scope(shapes, InterpreterScope::Place::base);
  const Tensor loss = sum(matmul(Tensor::meta({{2, 3}, f32}), w));
  EXPECT_TRUE(loss.requires_grad());
  EXPECT_EQ(grad(loss, w).shape(), (Shape{3, 4})) << "backward too is inferred";
  EXPECT_FALSE(grad(sum(w * 2), w).has_data());
}

TEST(Shapes, AreCheckedAsEver) {
  ShapeInterpreter shapes;
  const InterpreterScope scope(shapes, InterpreterScope::Place::base);
  EXPECT_ERROR(add(Tensor::meta({{2, 3}, f32}), Tensor::meta({{4}, f32})),
               "[add] expected shapes that broadcast together, got 2x3 and 4");
  EXPECT_ERROR(exp(Tensor()), "[exp] expected defined tensors, got an undefined one as input 0");
  EXPECT_ERROR(one_hot(Tensor::meta({{3}, i64})),
               "[data] expected a tensor with values, got only a shape (i64 scalar)");
}

TEST(Shapes, AreNotEnoughToCompute) {
  const Tensor x = Tensor::meta({{2, 3}, f32});
  EXPECT_ERROR(exp(x), "[exp] expected tensors with values, got only a shape (2x3)");
  EXPECT_ERROR(x.to_vector<float>(), "[data] expected a tensor with values, got only a shape (f32 2x3)");
  EXPECT_ERROR(Tensor::meta({{}, f32}).item<float>(),
               "[data] expected a tensor with values, got only a shape (f32 scalar)");
}

}  // namespace
}  // namespace hebb
