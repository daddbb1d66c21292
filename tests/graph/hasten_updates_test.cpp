// Updates that run as soon as their gradients are there.
#include <gmock/gmock.h>

#include "hebb/graph/memory_plan.h"
#include "hebb/graph/passes.h"
#include "hebb/hebb.h"
#include "tests/graph/graphs.h"

namespace hebb::graph {
namespace {

using namespace test;

// A step of SGD on layers of 100x100; the loss is that of `loss` on their output.
Graph traced_step(const std::function<Tensor(const Tensor&)>& loss) {
  manual_seed(2);
  Tensors weights;
  for (int i = 0; i < 6; ++i) weights.push_back((randn({100, 100}) * 0.1).detach().requires_grad_());
  optim::SGD sgd(weights, {.lr = 0.1});
  CompiledState state = sgd;
  state.refresh();
  Tensors held = state.tensors();
  std::erase_if(held, [](const Tensor& t) { return !t.defined(); });
  return trace(
      [&](Args a) -> Tensors {
        sgd.zero_grad();
        Tensor x = a[0];
        for (const Tensor& w : weights) x = tanh(matmul(x, w));
        const Tensor l = loss(x);
        backward(l);
        sgd.step();
        return {l.detach()};
      },
      Tensors{randn({10, 100})}, held);
}
// How many nodes that are no updates stand behind the first update.
ptrdiff_t left(const Graph& g) {
  const auto updates = [](const Node& n) { return n.op->overwrites_last; };
  const auto first = std::find_if(g.nodes.begin(), g.nodes.end(), updates);
  return std::count_if(first, g.nodes.end(), [&](const Node& n) { return !updates(n); });
}
size_t in_place(const Graph& g) {
  const std::vector<int> states = plan_in_place(g, plan_memory(g));
  return static_cast<size_t>(std::count_if(states.begin(), states.end(), [](int s) { return s >= 0; }));
}

TEST(HastenUpdates, FreesGradientsAndStillChangesWeightsInPlace) {
  Graph g = traced_step([](const Tensor& x) { return sum(square(x)); });
  ASSERT_EQ(count(g, "sgd_update"), 6u);
  EXPECT_EQ(left(g), 0);
  const int64_t before = plan_memory(g).arena_bytes;
  EXPECT_EQ(in_place(g), 12u) << "weights and counts of steps";
  hasten_updates(g);
  verify(g, "hasten_updates");
  EXPECT_GE(left(g), 5) << "at least the products of the layers before";
  EXPECT_EQ(in_place(g), 12u) << "weights and counts of steps";
  EXPECT_LT(plan_memory(g).arena_bytes, before / 2) << "one gradient of six at a time";
}

TEST(HastenUpdates, WaitsForWhatMayThrow) {
  Graph g = traced_step([](const Tensor& x) { return sum(square(x)); });
  const auto last = std::find_if(g.nodes.rbegin(), g.nodes.rend(),
                                 [](const Node& n) { return std::string_view(n.op->name) == "matmul"; });
  ASSERT_NE(last, g.nodes.rend());
  const OpDef checks{.name = "checks", .infer = last->op->infer};
  last->op = &checks;
  hasten_updates(g);
  verify(g, "hasten_updates");
  for (const Node& n : g.nodes) {  // all updates stand behind it
    if (n.op == &checks) break;
    EXPECT_FALSE(n.op->overwrites_last);
  }
  EXPECT_EQ(in_place(g), 12u) << "weights and counts of steps";
}

// What the way back reads again was checked on the way: rows of a table, classes, places of a maximum.
TEST(HastenUpdates, DoesNotWaitForIndicesThatHaveBeenChecked) {
  manual_seed(3);
  const auto weight = [](const Shape& s) { return (randn(s) * 0.1).detach().requires_grad_(); };
  const Tensors weights{weight({10, 64}), weight({8, 1, 3, 3}), weight({32, 5})};
  optim::SGD sgd(weights, {.lr = 0.1});
  const auto loss_of = [&](Args a) {
    const Tensor images = reshape(embedding(a[0], weights[0]), {-1, 1, 8, 8});
    const Tensor pooled = max_pool2d(conv2d(images, weights[1], {}, {.padding = 1}), 4);
    return cross_entropy(matmul(reshape(pooled, {-1, 32}), weights[2]), a[1]);
  };
  const auto step = compile(
      [&](Args a) -> Tensors {
        sgd.zero_grad();
        const Tensor l = loss_of(a);
        backward(l);
        sgd.step();
        return {l.detach()};
      },
      {sgd});
  const PassesOff one_update_each("join_updates");
  const auto indices = [](std::vector<int64_t> v) { return Tensor::from(v); };
  const Tensor words = indices({1, 9, 0}), classes = indices({4, 0, 2});
  step(Tensors{words, classes});
  const std::string text = step.graph();
  for (const char* op : {"index_add", "max_pool2d_grad", "cross_entropy_grad"})
    EXPECT_NE(text.find(op), std::string::npos) << text;
  EXPECT_LT(text.find("sgd_update"), text.find("index_add")) << text;
  // A wrong one is refused before anything has changed.
  const auto values = [&] {
    std::vector<std::vector<float>> all;
    for (const Tensor& w : weights) all.push_back(w.to_vector<float>());
    return all;
  };
  const auto before = values();
  EXPECT_THROW(step(Tensors{words, indices({4, 5, 2})}), Error);
  EXPECT_THROW(step(Tensors{indices({1, 10, 0}), classes}), Error);
  EXPECT_EQ(values(), before);
}

TEST(MayThrow, IndicesOfOtherBoundsAreCheckedAgain) {
  const Tensors arguments{ones({4, 3}), ones({9, 3}), Tensor::from(std::vector<int64_t>{0, 3})};
  const Graph g = traced(
      [](Args a) -> Tensors {
        return {index_select(a[0], 0, a[2]), index_select(a[1], 0, a[2]), index_select(a[0], 0, a[2])};
      },
      arguments);
  EXPECT_EQ(may_throw(g), (std::vector<bool>{true, true, false}));
  // A part tells nothing of another part, nor of the whole; the whole tells of its parts.
  const Graph parts = traced(
      [](Args a) -> Tensors {
        const Tensor first = slice(a[2], 0, 0, 1), second = slice(a[2], 0, 1, 2);
        const Tensor again = reshape(reshape(first, {1, 1}), {1});
        return {index_select(a[0], 0, first), index_select(a[0], 0, second), index_select(a[0], 0, a[2]),
                index_select(a[0], 0, again), index_select(a[0], 0, slice(a[2], 0, 1, 2))};
      },
      arguments);
  std::vector<bool> throwing;
  for (size_t i = 0; i < parts.nodes.size(); ++i)
    if (parts.nodes[i].op->name == std::string_view("index_select")) throwing.push_back(may_throw(parts)[i]);
  EXPECT_EQ(throwing, (std::vector<bool>{true, true, true, false, false}));
}

}  // namespace
}  // namespace hebb::graph
