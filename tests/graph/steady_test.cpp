// Values that stay from run to run: what is folded into them, kept and computed again.
#include <gmock/gmock.h>

#include "hebb/graph/passes.h"
#include "hebb/graph/plan.h"
#include "hebb/graph/trace.h"
#include "hebb/hebb.h"
#include "hebb/op/dispatch.h"
#include "hebb/ops/conv_attrs.h"
#include "hebb/ops/table.h"
#include "tests/graph/graphs.h"

namespace hebb::graph {
namespace {

using namespace test;

// The function of a network in evaluation, with the network's tensors as state, before and after the pass.
struct Evaluation {
  Tensors state;
  Graph before, after;
  template <class Net>
  Evaluation(Net& net, const Tensor& x) {
    net.eval();
    for (const auto& [name, t] : net.state_dict()) state.push_back(t);
    const NoGrad no_grad;
    before = trace([&](Args a) -> Tensors { return {net(a[0])}; }, Tensors{x}, state);
    fold_constants(before);
    share_common(before);
    drop_dead(before);
    after = before;
    fold_linear(after);
    verify(after, "fold_linear");
  }
  void expect_same(const Tensor& x) const {
    const Tensors want = Plan(before, state).run(Tensors{x}), got = Plan(after, state).run(Tensors{x});
    const double largest = max(abs(want[0])).item<double>();
    EXPECT_LT(max(abs(got[0] - want[0])).item<double>(), 1e-5 * largest);
  }
};

TEST(FoldLinear, TakesBatchNormalizationIntoConvolutions) {
  manual_seed(5);
  nn::Sequential net{nn::Conv2d(3, 8, {.kernel_size = 3, .bias = false}), nn::BatchNorm2d(8), nn::ReLU(),
                     nn::Conv2d(8, 6, {.kernel_size = 3, .groups = 2}), nn::BatchNorm2d(6)};
  for (const auto& [name, t] : net.state_dict())
    if (is_float(t.dtype()) && t.ndim() == 1) Tensor(t).assign_(rand(t.shape()) + 0.5);
  const Tensor x = randn({2, 3, 9, 9});
  const Evaluation e(net, x);
  e.expect_same(x);
  const std::vector<bool> steady = steady_values(e.after);
  for (const Node& n : e.after.nodes) {
    if (steady[n.outputs[0]]) continue;
    EXPECT_THAT(n.op->name, ::testing::AnyOf("conv2d", "relu")) << e.after.str();
  }
}

TEST(FoldLinear, MakesOneOfLinearLayersWhereThatIsLessWork) {
  manual_seed(5);
  nn::Sequential wide{nn::Linear(6, 50), nn::Linear(50, 4, {.bias = false}), nn::ReLU()};
  nn::Sequential narrow{nn::Linear(60, 3), nn::Linear(3, 40)};
  const Tensor x = randn({5, 6}), y = randn({5, 60});
  const Evaluation folded(wide, x), kept(narrow, y);
  folded.expect_same(x);
  const std::vector<bool> steady = steady_values(folded.after);
  EXPECT_EQ(std::count_if(folded.after.nodes.begin(), folded.after.nodes.end(),
                          [&](const Node& n) { return n.op->name == "linear" && !steady[n.outputs[0]]; }),
            1);
  EXPECT_EQ(count(kept.after, "linear"), 2u) << "a narrow middle";
}

TEST(FoldLinear, LeavesWhatIsReadTwiceOrChanges) {
  nn::Linear a(3, 3), b(3, 3);
  const Tensors state{a.weight, b.weight};
  const auto folded = [&](const Function& fn, const Tensors& arguments) {
    Graph g = trace(fn, arguments, state);
    fold_linear(g);
    return count(g, "mul");
  };
  const Tensor x = ones({2, 3}), v = ones({3});
  const NoGrad no_grad;
  EXPECT_EQ(folded([&](Args in) -> Tensors { return {linear(in[0], a.weight) * in[1]}; }, {x, v}), 1u);
  const Function twice = [&](Args in) -> Tensors {
    const Tensor y = linear(in[0], a.weight);
    return {y * select(b.weight, 0, 0), y};
  };
  Graph g = trace(twice, Tensors{x}, state);
  const size_t nodes = g.nodes.size();
  fold_linear(g);
  EXPECT_EQ(g.nodes.size(), nodes);
}

TEST(Plan, ComputesSteadyValuesWhenTheirStateChanges) {
  Tensor w = tensor({2, 3});
  const Graph g = trace(
      [&](Args a) -> Tensors {
        return {a[0] * exp(w), exp(w) + 0};
      },
      Tensors{ones({2})}, Tensors{w});
  Graph shared = g;
  share_common(shared);
  Plan plan(shared, {w});
  const auto run = [&] { return plan.run(Tensors{ones({2})})[0].to_vector<float>(); };
  const auto want = [&] { return exp(w).to_vector<float>(); };
  EXPECT_EQ(run(), want());
  EXPECT_EQ(run(), want());
  w.assign_(tensor({4, 5}));
  EXPECT_EQ(run(), want());
  w.mutable_data<float>()[0] = 1;
  EXPECT_EQ(run(), want());
}

TEST(Plan, PacksWeightsThatStayUntilTheyChange) {
  const NoGrad no_grad;
  Tensor w = randn({48, 40});
  const Conv2dAttrs attrs{.stride = {2, 2}, .size = {6, 6}};
  Tensor filters = randn({24, 16, 2, 2});
  const Function fn = [&](Args in) -> Tensors {
    return {matmul(in[0], w), linear(in[1], w), apply1(ops::conv2d_input_grad_nhwc, attrs, {in[2], filters})};
  };
  const Compiled run = compile(fn, {w, filters});
  for (int change = 0; change < 2; ++change) {
    for (int call = 0; call < 2; ++call) {
      const Tensors in{randn({64, 48}), randn({64, 40}), randn({5, 3, 3, 24})};
      const Tensors got = run(in), want = fn(in);
      for (size_t i = 0; i < want.size(); ++i)
        EXPECT_EQ(got[i].to_vector<float>(), want[i].to_vector<float>()) << i << ", change " << change;
    }
    w.assign_(w * 2);
    filters.mutable_data<float>()[7] += 1;
  }
}

TEST(Plan, ElementwiseOpsWriteStateInPlaceUnlessItIsReadElsewhere) {
  const auto place_of = [](const Function& fn) {
    const Tensor w = ones({2, 2});
    Graph g = trace(
        [&](Args a) {
          return Tensor(w).assign_(fn(std::vector{w, a[0]})[0]), Tensors{a[0] + a[0]};
        },
        Tensors{ones({2, 2})}, Tensors{w});
    return plan_in_place(g, plan_memory(g))[g.states[0].after];
  };
  EXPECT_EQ(place_of([](Args a) -> Tensors { return {a[0] + a[1]}; }), 0);
  EXPECT_EQ(place_of([](Args a) -> Tensors { return {a[1] * a[0]}; }), 0);
  EXPECT_EQ(place_of([](Args a) -> Tensors { return {a[0] + transpose(a[0], 0, 1)}; }), -1);
  EXPECT_EQ(place_of([](Args a) -> Tensors { return {matmul(a[0], a[1])}; }), -1);
}

TEST(Plan, WritesStateOnlyWhereNobodyElseHoldsItsMemory) {
  const Tensor a = tensor({1, 2}), b = tensor({3, 4}), c = tensor({5, 6});
  const Graph g = trace(
      [&](Args x) -> Tensors {
        const Tensor was_a = a + 0;
        Tensor(a).assign_(b);  // states that change places,
        Tensor(b).assign_(was_a);
        Tensor(c).assign_(c + x[0]);  // and one that is written in place
        return {neg(c)};
      },
      Tensors{ones({2})}, Tensors{a, b, c});
  Plan plan(g, {a, b, c});
  const auto run = [&](const Tensor& x) { return plan.run(Tensors{x})[0].to_vector<float>(); };
  using Floats = std::vector<float>;
  const Tensor held = c.detach();
  EXPECT_EQ(run(ones({2})), (Floats{-6, -7}));
  EXPECT_EQ(held.to_vector<float>(), (Floats{5, 6}));
  EXPECT_EQ(a.to_vector<float>(), (Floats{3, 4}));
  EXPECT_EQ(b.to_vector<float>(), (Floats{1, 2}));
  const void* const place = c.raw_data();
  EXPECT_EQ(run(c), (Floats{-12, -14}));  // its own argument
  EXPECT_EQ(c.to_vector<float>(), (Floats{12, 14}));
  EXPECT_NE(c.raw_data(), place);
  const void* const next = c.raw_data();
  EXPECT_EQ(plan.run(Tensors{ones({2})}, 3)[0].to_vector<float>(), (Floats{-15, -17}));
  EXPECT_EQ(c.raw_data(), next);
  EXPECT_EQ(a.to_vector<float>(), (Floats{3, 4}));
  EXPECT_EQ(b.to_vector<float>(), (Floats{1, 2}));
}

TEST(Plan, WritesStateInPlaceInEachOfManyRunsThoughAViewOfItIsRead) {
  const Tensor w = tensor({1, 2, 3, 4});
  const Graph g = trace(
      [&](Args x) -> Tensors {
        const Tensor y = reshape(w, {2, 2}) * x[0];
        Tensor(w).assign_(w + w);
        return {y};
      },
      Tensors{ones({2, 2})}, Tensors{w});
  Plan plan(g, {w});
  const void* const place = w.raw_data();
  EXPECT_EQ(plan.run(Tensors{ones({2, 2})}, 3)[0].to_vector<float>(), (std::vector<float>{4, 8, 12, 16}));
  EXPECT_EQ(w.to_vector<float>(), (std::vector<float>{8, 16, 24, 32}));
  EXPECT_EQ(w.raw_data(), place);
}

TEST(Rematerialize, ComputesCheapValuesAgainForTheWayBack) {
  manual_seed(7);
  const auto conv = [](int64_t in) {
    return nn::Conv2d(in, 16, {.kernel_size = 3, .padding = 1, .bias = false});
  };
  nn::Sequential net{conv(3),  nn::BatchNorm2d(16), nn::ReLU(), conv(16), nn::BatchNorm2d(16), nn::ReLU(),
                     conv(16), nn::BatchNorm2d(16), nn::ReLU(), conv(16), nn::BatchNorm2d(16), nn::ReLU()};
  Tensors state;
  for (const auto& [name, t] : net.state_dict()) state.push_back(t);
  const Tensor x = randn({4, 3, 80, 80});
  Graph g = trace(
      [&](Args a) -> Tensors {
        net.zero_grad();
        backward(mean(square(net(a[0]))));
        Tensors out;
        for (const Tensor& p : net.parameters()) out.push_back(p.grad());
        return out;
      },
      Tensors{x}, state);
  {
    const PassesOff kept("rematerialize");
    optimize(g, "net");
  }
  Graph again = g;
  rematerialize(again);
  verify(again, "rematerialize");
  EXPECT_GE(count(again, "fused"), count(g, "fused") + 2);
  EXPECT_LT(plan_memory(again).arena_bytes, plan_memory(g).arena_bytes * 4 / 5);
  Tensors copy;
  for (const Tensor& t : state) copy.push_back(clone(t.detach()));
  const Tensors want = Plan(g, state).run(Tensors{x}), got = Plan(again, copy).run(Tensors{x});
  for (size_t i = 0; i < want.size(); ++i)
    EXPECT_EQ(got[i].to_vector<float>(), want[i].to_vector<float>()) << i;
}

}  // namespace
}  // namespace hebb::graph
