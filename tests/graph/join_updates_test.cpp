// Updates of small parameters as one call.
#include <gtest/gtest.h>

#include <memory>

#include "hebb/graph/passes.h"
#include "hebb/hebb.h"
#include "tests/graph/graphs.h"

namespace hebb::graph {
namespace {

using namespace test;

// Parameters of several sizes, one of them large and one of f64, and a loss of them all.
struct Weights {
  Tensors all;
  Weights() {
    manual_seed(5);
    for (const Shape& shape : {Shape{3, 4}, Shape{7}, Shape{80, 60}, Shape{}, Shape{33}})
      all.push_back(randn(shape).requires_grad_());
    all.push_back(randn({5}, f64).requires_grad_());
  }
  Tensor loss(const Tensor& x) const {
    Tensor total = sum(x);
    for (const Tensor& w : all) total = total + to(sum(cos(w) * mean(x)), f32);
    return total;
  }
};

using Optimizers = std::vector<std::shared_ptr<optim::Optimizer>>;
Optimizers optimizers_of(const Tensors& p) {
  return {std::make_shared<optim::SGD>(p, optim::SGDOptions{.lr = 0.1}),
          std::make_shared<optim::SGD>(p, optim::SGDOptions{.lr = 0.1, .momentum = 0.9, .nesterov = true}),
          std::make_shared<optim::Adam>(p, optim::AdamOptions{.lr = 0.05, .amsgrad = true}),
          std::make_shared<optim::RMSprop>(p, optim::RMSpropOptions{.lr = 0.05, .momentum = 0.5})};
}

Graph traced_step(const Weights& w, optim::Optimizer& optimizer, int steps) {
  CompiledState state = optimizer;
  state.refresh();
  const auto fn = [&](Args a) -> Tensors {
    Tensor loss;
    for (int i = 0; i < steps; ++i) {
      optimizer.zero_grad();
      loss = w.loss(a[0]);
      backward(loss);
      optimizer.step();
    }
    return {loss};
  };
  Tensors held = state.tensors();
  std::erase_if(held, [](const Tensor& t) { return !t.defined(); });
  return trace(fn, Tensors{ones({4})}, held);
}

TEST(JoinUpdates, MakesOneOfThoseOfSmallParameters) {
  for (const size_t kind : {0, 1, 2, 3}) {
    const Weights w;
    const auto optimizer = optimizers_of(w.all)[kind];
    Graph g = traced_step(w, *optimizer, 1);
    const auto updates = [&] {
      return static_cast<size_t>(
          std::count_if(g.nodes.begin(), g.nodes.end(), [](const Node& n) { return n.op->overwrites_last; }));
    };
    ASSERT_EQ(updates(), 6u);
    join_updates(g);
    verify(g, "join_updates");
    EXPECT_EQ(updates(), 3u) << "four small ones, the large one, that of f64";
  }
}

TEST(JoinUpdates, KeepsStepsApartOfWhichOneReadsTheOthersResults) {
  const Weights w;
  optim::SGD optimizer(w.all, {.lr = 0.1});
  Graph g = traced_step(w, optimizer, 2);
  ASSERT_EQ(count(g, "sgd_update"), 12u);
  join_updates(g);
  verify(g, "join_updates");
  EXPECT_EQ(count(g, "sgd_update"), 6u);
}

TEST(JoinUpdates, KeepsGroupsOfOtherOptionsApart) {
  const Weights w;
  optim::SGD optimizer({optim::ParamGroup{{w.all[0], w.all[1]}, {{"lr", 0.5}}},
                        optim::ParamGroup{{w.all[3], w.all[4]}}, optim::ParamGroup{{w.all[2], w.all[5]}}},
                       {.lr = 0.1});
  Graph g = traced_step(w, optimizer, 1);
  join_updates(g);
  verify(g, "join_updates");
  EXPECT_EQ(count(g, "sgd_update"), 4u) << "two of small ones, the large one, that of f64";
}

TEST(JoinUpdates, TrainsAsEagerDoes) {
  for (const size_t kind : {0, 1, 2, 3}) {
    const Weights eager, compiled;
    const auto a = optimizers_of(eager.all)[kind], b = optimizers_of(compiled.all)[kind];
    const auto step_of = [](const Weights& w, optim::Optimizer& o) {
      return [&](Args x) -> Tensors {
        o.zero_grad();
        const Tensor loss = w.loss(x[0]);
        backward(loss);
        o.step();
        return {loss};
      };
    };
    const Compiled run = compile(step_of(compiled, *b), {compiled.all, *b});
    for (int i = 0; i < 4; ++i) {
      const Tensors x{randn({4})};
      if (i == 2) a->set_lr(0.01), b->set_lr(0.01);
      step_of(eager, *a)(x);
      run(x);
      for (size_t p = 0; p < eager.all.size(); ++p)
        EXPECT_EQ(to(compiled.all[p], f64).to_vector<double>(), to(eager.all[p], f64).to_vector<double>())
            << a->name() << ", step " << i << ", parameter " << p;
    }
    const auto want = a->state(), got = b->state();
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < want.size(); ++i) {
      EXPECT_EQ(got[i].first, want[i].first);
      EXPECT_EQ(to(got[i].second, f64).to_vector<double>(), to(want[i].second, f64).to_vector<double>())
          << a->name() << " " << want[i].first;
    }
  }
}

}  // namespace
}  // namespace hebb::graph
