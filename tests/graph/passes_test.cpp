// Graphs, what passes make of them, and where plans put values.
#include "hebb/graph/passes.h"

#include <gmock/gmock.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "hebb/graph/plan.h"
#include "hebb/graph/trace.h"
#include "hebb/hebb.h"
#include "tests/graph/graphs.h"
#include "tests/io/files.h"
#include "tests/support/throws.h"

namespace hebb::graph {
namespace {

using namespace test;
using test_support::error_of;
using ::testing::HasSubstr;

TEST(Graph, PrintsALineANode) {
  const Graph g = traced([](Args a) -> Tensors { return {sum(relu(a[0]), 1)}; }, {ones({2, 3})});
  EXPECT_THAT(g.str(),
              ::testing::MatchesRegex("%0 f32 2x3 = argument 0\n%1 f32 2x3 = relu\\(%0\\)[^\n]*\n%2 f32 2 = "
                                      "sum\\(%1\\) [^\n]*\nreturn %2\n"));
  EXPECT_THAT(g.dot(), HasSubstr("n0 -> n1"));
}

TEST(Verify, FindsWhatIsNotWellFormed) {
  const Graph good = traced([](Args a) -> Tensors { return {exp(a[0]) + a[0]}; }, {ones({2})});
  verify(good, "trace");
  Graph g = good;
  std::swap(g.nodes[0], g.nodes[1]);
  EXPECT_THAT(error_of([&] { verify(g, "swap"); }),
              HasSubstr("after swap: add reads %1, which is not made before it"));
  g = good;
  g.nodes[1].outputs = g.nodes[0].outputs;
  EXPECT_THAT(error_of([&] { verify(g, "p"); }), HasSubstr("expected %1 to be made once"));
  g = good;
  g.values[2] = TensorSpec({3}, f32);
  EXPECT_THAT(error_of([&] { verify(g, "p"); }), HasSubstr("expected %2 to be f32 2, got f32 3"));
  g = good;
  g.results = {7};
  EXPECT_ANY_THROW(verify(g, "p"));
}

TEST(FoldConstants, RunsWhatIsKnown) {
  Graph g = traced([](Args a) -> Tensors { return {a[0] * exp(ones({3}) + 1)}; }, {ones({3})});
  fold_constants(g);
  drop_dead(g);
  verify(g, "test");
  EXPECT_EQ(g.nodes.size(), 1u);
  ASSERT_EQ(g.constants.size(), 1u);
  EXPECT_FLOAT_EQ(g.constants[0].tensor.to_vector<float>()[2], std::exp(2.0f));
  Graph large = traced([](Args) -> Tensors { return {ones({100, 100})}; }, {});
  fold_constants(large);
  EXPECT_EQ(large.nodes.size(), 1u) << "large ones are made when they are needed";
}

TEST(Simplify, DropsWhatChangesNothing) {
  const auto nodes_of = [](const Function& fn) {
    Graph g = traced(fn, {ones({2, 3})});
    fold_constants(g);
    simplify(g);
    drop_dead(g);
    verify(g, "test");
    return g.nodes.size();
  };
  EXPECT_EQ(nodes_of([](Args a) -> Tensors { return {a[0] * 1}; }), 0u);
  EXPECT_EQ(nodes_of([](Args a) -> Tensors { return {a[0] / 1}; }), 0u);
  EXPECT_EQ(nodes_of([](Args a) -> Tensors { return {a[0] - 0}; }), 0u);
  EXPECT_EQ(nodes_of([](Args a) -> Tensors { return {-(-a[0])}; }), 0u);
  EXPECT_EQ(nodes_of([](Args a) -> Tensors { return {alias(clone(a[0]))}; }), 0u);
  EXPECT_EQ(nodes_of([](Args a) -> Tensors { return {reshape(reshape(a[0], {6}), {2, 3})}; }), 0u);
  EXPECT_EQ(nodes_of([](Args a) -> Tensors { return {reshape(reshape(a[0], {6}), {3, 2})}; }), 1u);
  EXPECT_EQ(nodes_of([](Args a) -> Tensors { return {a[0] + 0}; }), 1u) << "-0 + 0 is 0";
  EXPECT_EQ(nodes_of([](Args a) -> Tensors { return {a[0] * ones({4, 2, 3})}; }), 1u) << "it broadcasts";
  EXPECT_EQ(nodes_of([](Args a) -> Tensors { return {a[0] * scalar(1, f64)}; }), 0u)
      << "0-d numbers do not promote";
}

TEST(Simplify, JoinsTheGradientsOfSlices) {
  const auto joined = [](const std::vector<std::array<int64_t, 2>>& parts) {
    Graph g = traced(
        [&](Args a) -> Tensors {
          const Tensor x = a[0].detach().requires_grad_();
          Tensor loss = scalar(0);
          for (const auto& [start, stop] : parts) loss = loss + sum(exp(slice(x, 1, start, stop)));
          return {grad(std::vector{loss}, std::vector{x})[0]};
        },
        {ones({2, 6})});
    simplify(g);
    drop_dead(g);
    verify(g, "test");
    return std::pair(count(g, "cat"), count(g, "slice_grad"));
  };
  EXPECT_EQ(joined({{0, 2}, {2, 5}, {5, 6}}), std::pair(size_t{1}, size_t{0}));
  EXPECT_EQ(joined({{2, 6}, {0, 2}}), std::pair(size_t{1}, size_t{0}));
  EXPECT_EQ(joined({{0, 2}, {2, 5}}).first, 0u) << "a part is missing";
  EXPECT_EQ(joined({{0, 3}, {2, 6}}).first, 0u) << "they overlap";
}

TEST(Simplify, ProductsReadWhatIsTransposed) {
  manual_seed(0);
  const Tensors arguments{randn({2, 5, 3}), randn({2, 4, 3}), randn({6, 5}), randn({7, 6})};
  const auto fn = [](Args a) -> Tensors {
    return {matmul(a[0], transpose(a[1])), matmul(transpose(a[2]), transpose(a[3])),
            matmul(permute(a[0], {1, 0, 2}), reshape(a[1], {1, 3, 8}))};
  };
  Graph g = traced(fn, arguments);
  simplify(g);
  drop_dead(g);
  verify(g, "test");
  EXPECT_EQ(count(g, "permute"), 1u) << "other dimensions than the last two";
  const Tensors want = fn(arguments), got = Plan(g).run(arguments);
  for (size_t i = 0; i < want.size(); ++i) EXPECT_TRUE(all(got[i] == want[i]).item<bool>()) << i;
}

TEST(ShareCommon, MakesOneOfEquals) {
  Graph g = traced(
      [](Args a) -> Tensors {
        return {exp(a[0]) + exp(a[0]), sum(a[0], 0), sum(a[0], 1)};
      },
      {ones({2, 2})});
  share_common(g);
  drop_dead(g);
  verify(g, "test");
  EXPECT_EQ(count(g, "exp"), 1u);
  EXPECT_EQ(count(g, "sum"), 2u) << "other attributes";
}

TEST(DropDead, DropsWhatNothingReads) {
  Graph g = traced(
      [](Args a) -> Tensors {
        exp(sqrt(a[0]));
        return {a[0] + 1};
      },
      {ones({2})});
  drop_dead(g);
  verify(g, "test");
  EXPECT_EQ(count(g, "exp") + count(g, "sqrt"), 0u);
  EXPECT_EQ(count(g, "add"), 1u);
}

// ---- Channels last

TEST(PoolFirst, PoolsBeforeReluOnBothWays) {
  manual_seed(2);
  const auto step = [](Args a) -> Tensors {
    const Tensor x = a[0].detach().requires_grad_(true);
    const Tensor y = max_pool2d(relu(x), 3, {.stride = 2, .padding = 1});
    backward(sum(y * a[1]));
    return {y.detach(), x.grad()};
  };
  Tensor x = randn({3, 2, 9, 12}) - 0.5;  // some windows of which are negative throughout
  const Tensors arguments{x, randn({3, 2, 5, 6})};
  Graph g = traced(step, arguments);
  simplify(g);
  drop_dead(g);
  Graph changed = g;
  pool_first(changed);
  verify(changed, "pool_first");
  const auto input_of = [](const Graph& graph, const char* op) {
    for (const Node& n : graph.nodes)
      if (op == std::string(n.op->name)) return graph.values[n.inputs[0]].shape;
    return Shape{};
  };
  EXPECT_EQ(input_of(g, "relu"), Shape({3, 2, 9, 12}));
  EXPECT_EQ(input_of(changed, "relu"), Shape({3, 2, 5, 6}));
  EXPECT_EQ(input_of(changed, "relu_grad"), Shape({3, 2, 5, 6}));
  Plan before(g), after(changed);
  const Tensors want = before.run(arguments), got = after.run(arguments);
  EXPECT_EQ(got[0].to_vector<float>(), want[0].to_vector<float>());
  EXPECT_EQ(got[1].to_vector<float>(), want[1].to_vector<float>());
  EXPECT_GT(std::ranges::count(want[0].to_vector<float>(), 0.0f), 0) << "a window without a positive input";
}

TEST(PoolFirst, LeavesAloneWhatOthersRead) {
  const Tensors x{randn({1, 1, 4, 4})};
  const auto unchanged = [&](auto fn) {
    Graph g = traced(fn, x);
    const std::string before = g.str();
    pool_first(g);
    return g.str() == before;
  };
  EXPECT_TRUE(unchanged([](Args a) -> Tensors {
    const Tensor y = relu(a[0]);
    return {max_pool2d(y, 2), y};
  })) << "a result";
  EXPECT_TRUE(unchanged([](Args a) -> Tensors {
    const Tensor y = relu(a[0]);
    return {max_pool2d(y, 2), sum(y)};
  })) << "another reader";
  EXPECT_TRUE(unchanged([](Args a) -> Tensors {
    const auto [y, places] = max_pool2d_with_indices(relu(a[0]), 2);
    return {y, places};
  })) << "the places";
  EXPECT_TRUE(unchanged([](Args a) -> Tensors { return {max_pool2d(tanh(a[0]), 2)}; }));
  EXPECT_FALSE(unchanged([](Args a) -> Tensors { return {max_pool2d(relu(a[0]), 2)}; }));
}

// A residual network of every op that follows convolutions, with its gradients.
struct Residual : nn::Module {
  nn::Conv2d stem{3, 16, {.kernel_size = 7, .stride = 2, .padding = 3, .bias = false}};
  nn::BatchNorm2d bn1{16};
  nn::Conv2d conv1{16, 32, {.kernel_size = 3, .stride = 2, .padding = 1}};
  nn::Conv2d shortcut{16, 32, {.kernel_size = 1, .stride = 2, .bias = false}};
  nn::BatchNorm2d bn2{32};
  nn::Conv2d conv2{32, 24, {.kernel_size = 3, .padding = 1}};
  nn::ConvTranspose2d up{24, 24, {.kernel_size = 2, .stride = 2}};
  nn::Conv2d conv3{40, 20, {.kernel_size = 3, .padding = 2, .dilation = 2}};
  nn::Conv2d head{20, 1, {.kernel_size = 1}};
  nn::Linear fc{20, 5};
  Tensor forward(const Tensor& image) {
    Tensor x = max_pool2d(relu(bn1(stem(image))), 3, {.stride = 2, .padding = 1});
    const Tensor early = x;
    x = relu(bn2(conv1(x)) + shortcut(x));
    x = tanh(up(conv2(x)));
    x = avg_pool2d(conv3(cat({x, early}, 1)), 3, {.stride = 2, .padding = 1}) * 0.5;
    return fc(mean(x, {2, 3})) + fc.bias * mean(square(head(x)));
  }
  HEBB_MEMBERS(stem, bn1, conv1, shortcut, bn2, conv2, up, conv3, head, fc)
};

struct ChannelsLast : ::testing::Test {
  ChannelsLast() { manual_seed(3); }
  // Loss, output and gradients.
  static Tensors step(Residual& net, const Tensor& x, const Tensor& y) {
    net.zero_grad();
    const Tensor out = net(x), loss = cross_entropy(out, y);
    backward(loss);
    Tensors all{loss.detach(), out.detach()};
    for (const Tensor& p : net.parameters()) all.push_back(p.grad());
    return all;
  }
};

TEST_F(ChannelsLast, ComputesTheSame) {
  Residual net;
  const Tensors arguments{randn({2, 3, 64, 64}), randint(0, 5, {2})};
  Tensors state;
  for (const auto& [name, t] : net.state_dict()) state.push_back(t);
  Graph g = trace([&](Args a) { return step(net, a[0], a[1]); }, arguments, state);
  Graph changed = g;
  channels_last(changed);
  verify(changed, "channels_last");
  for (const char* op : {"conv2d", "conv2d_input_grad", "conv2d_weight_grad", "max_pool2d", "avg_pool2d"})
    EXPECT_EQ(count(changed, op), 0u) << op;
  EXPECT_EQ(count(changed, "conv2d_nhwc"), count(g, "conv2d"));
  EXPECT_EQ(count(changed, "nchw_to_nhwc"), 2u) << "the image, and the gradient that the mean spreads";
  EXPECT_EQ(count(changed, "nhwc_to_nchw"), 0u);
  Plan before(g, state), after(changed, state);
  const Tensors want = before.run(arguments), got = after.run(arguments);
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    const double largest = max(abs(want[i])).item<double>();
    EXPECT_LT(max(abs(got[i] - want[i])).item<double>(), 2e-4 * largest + 1e-6) << "result " << i;
  }
}

TEST_F(ChannelsLast, LeavesAloneWhatWouldNotGain) {
  for (const int64_t channels : {4, 16}) {  // too few channels; too little work for what is turned
    nn::Conv2d conv(channels, channels, {.kernel_size = 1});
    const Tensors state = conv.parameters();
    Graph g = trace([&](Args a) -> Tensors { return {relu(conv(a[0]))}; },
                    Tensors{ones({1, channels, 32, 32})}, state);
    const std::string before = g.str();
    channels_last(g);
    EXPECT_EQ(g.str(), before);
  }
}

TEST(Optimize, UnknownPassesAreRefused) {
  const PassesOff wrong("simplify,simplfy");
  Graph g = traced([](Args a) -> Tensors { return {a[0]}; }, {ones({2})});
  EXPECT_EQ(error_of([&] { optimize(g, "f"); }),
            "HEBB_DISABLE_PASS: expected names of fold_constants, simplify, share_common, drop_dead, "
            "fold_linear, pool_first, channels_last, join_pool, join_relu, split_norms, join_moments, fuse, "
            "rematerialize, join_programs, join_updates, hasten_updates, got \"simplfy\"");
}

class Dump : public io::test::IoTest {};

TEST_F(Dump, WritesTheGraphAfterEachPass) {
  const PassesOff none("");
  ::setenv("HEBB_DUMP_GRAPH", path("graphs").c_str(), 1);
  Graph g = traced([](Args a) -> Tensors { return {a[0] * 1}; }, {ones({2})});
  optimize(g, "f");
  ::unsetenv("HEBB_DUMP_GRAPH");
  EXPECT_THAT(io::test::bytes_of_file(path("graphs/f-0-trace.txt")), HasSubstr("mul(%0"));
  EXPECT_EQ(io::test::bytes_of_file(path("graphs/f-4-drop_dead.txt")), "%0 f32 2 = argument 0\nreturn %0\n");
  EXPECT_THAT(io::test::bytes_of_file(path("graphs/f-4-drop_dead.dot")), HasSubstr("digraph"));
}

// ---- Random graphs

// A function of two arguments made of `n` random ops on what came before.
Tensors random_function(const std::vector<uint32_t>& choices, Args arguments) {
  Tensors values(arguments.begin(), arguments.end());
  auto pick = [&](uint32_t c) { return values[c % values.size()]; };
  for (const uint32_t c : choices) {
    const Tensor x = pick(c >> 8), y = pick(c >> 16);
    switch (c % 12) {
      case 0: values.push_back(x + y); break;
      case 1: values.push_back(x * y); break;
      case 2: values.push_back(tanh(x)); break;
      case 3: values.push_back(matmul(x, y)); break;
      case 4: values.push_back(transpose(x, 0, 1)); break;
      case 5: values.push_back(x - mean(y, 1, true)); break;
      case 6: values.push_back(softmax(x, 1)); break;
      case 7: values.push_back(reshape(reshape(x, {16}), {4, 4})); break;
      case 8: values.push_back(relu(x) * 1); break;
      case 9: values.push_back(cat({slice(x, 0, 0, 2), slice(y, 0, 2, 4)}, 0)); break;
      case 10: values.push_back(where(x > y, x, y)); break;
      default: values.push_back(clamp(x, -1, 1) / (ones({4, 4}) + 1)); break;
    }
  }
  return {values.back(), transpose(values[values.size() / 2], 0, 1), sum(values.back())};
}

// But for the sign of zeros.
bool same_bits(const Tensor& a, const Tensor& b) {
  const auto x = a.to_vector<float>(), y = b.to_vector<float>();
  return a.shape() == b.shape() && std::equal(x.begin(), x.end(), y.begin(), [](float p, float q) {
           return p == q || std::memcmp(&p, &q, sizeof p) == 0;
         });
}

RC_GTEST_PROP(RandomGraphs, CompiledEqualsEager, (const std::vector<uint32_t>& choices)) {
  const Tensors arguments{
      Tensor::from(std::vector<float>{1, -2, 3, .5f, 0, .25f, -1, 2, 4, -.5f, 1, 1, -3, 2, .1f, .2f}, {4, 4}),
      Tensor::from(std::vector<float>{0, 1, 0, -1, 2, .5f, 1, 3, -2, 1, .3f, 0, 1, 1, -1, .7f}, {4, 4})};
  const Function fn = [&](Args a) -> Tensors {
    Tensor x = a[0].detach().requires_grad_();
    Tensors out = random_function(choices, std::vector{x, a[1]});
    const Tensors g = grad(std::vector{out[2]}, std::vector{x}, {}, {}, true);
    Tensors all;
    for (const Tensor& t : out) all.push_back(t.detach());
    if (g[0].defined()) all.push_back(g[0]);
    return all;
  };
  const bool differentiable =
      random_function(choices, std::vector{arguments[0].detach().requires_grad_(), arguments[1]})[2]
          .requires_grad();
  RC_PRE(differentiable);
  const Tensors want = fn(arguments);
  Graph g = traced(fn, arguments);
  Plan plain(g);
  optimize(g, "random");
  verify(g, "all passes");
  Plan improved(g);
  for (Plan* plan : {&plain, &improved}) {
    const Tensors got = plan->run(arguments);
    RC_ASSERT(got.size() == want.size());
    for (size_t i = 0; i < got.size(); ++i) RC_ASSERT(same_bits(got[i], want[i]));
  }
}

TEST(MemoryPlan, ValuesThatLiveTogetherLieApart) {
  nn::Sequential net{nn::Conv2d(1, 8, {.kernel_size = 3}),
                     nn::ReLU(),
                     nn::Conv2d(8, 8, {.kernel_size = 3}),
                     nn::ReLU(),
                     nn::Flatten(),
                     nn::Linear(8 * 16, 10)};
  const Tensors state = net.parameters();
  Graph g = trace(
      [&](Args a) -> Tensors {
        net.zero_grad();
        const Tensor loss = sum(net(a[0]));
        backward(loss);
        Tensors out{loss.detach()};
        for (const Tensor& p : net.parameters()) out.push_back(p.grad());
        return out;
      },
      Tensors{ones({2, 1, 8, 8})}, state);
  optimize(g, "net");
  const MemoryPlan plan = plan_memory(g);
  // When each root is made and last read, found anew.
  std::vector<std::pair<size_t, size_t>> lives(g.values.size(), {SIZE_MAX, 0});
  for (size_t i = 0; i < g.nodes.size(); ++i) {
    for (const ValueId v : g.nodes[i].outputs) {
      auto& life = lives[plan.places[v].root];
      life.first = std::min(life.first, i);
      life.second = std::max(life.second, i);
    }
    for (const ValueId v : g.nodes[i].inputs) lives[plan.places[v].root].second = i;
  }
  int64_t together = 0;
  size_t pairs = 0;
  for (size_t a = 0; a < g.values.size(); ++a) {
    const auto& pa = plan.places[a];
    if (!pa.in_arena) continue;
    const int64_t bytes = g.values[a].shape.numel() * size_of(g.values[a].dtype);
    together += bytes;
    EXPECT_EQ(pa.offset % 64, 0);
    EXPECT_LE(pa.offset + bytes, plan.arena_bytes);
    for (size_t b = 0; b < a; ++b) {
      const auto& pb = plan.places[b];
      // (Where one ends as the other begins, the second may take over the memory of the first.)
      const bool follows = lives[a].first == lives[b].second && pa.offset == pb.offset;
      if (!pb.in_arena || follows || lives[a].first > lives[b].second || lives[b].first > lives[a].second)
        continue;
      ++pairs;
      const int64_t other = g.values[b].shape.numel() * size_of(g.values[b].dtype);
      EXPECT_TRUE(pa.offset + bytes <= pb.offset || pb.offset + other <= pa.offset)
          << "%" << a << " and %" << b;
    }
  }
  EXPECT_GT(pairs, 5u);
  EXPECT_LT(plan.arena_bytes, together) << "memory is used again";
}

TEST(MemoryPlan, OutputsTakeOverInputsThatNothingReadsLater) {
  const auto arena_of = [](const Function& fn) {
    return plan_memory(trace(fn, Tensors{ones({16, 16})}, {})).arena_bytes;
  };
  constexpr int64_t kBlock = 16 * 16 * sizeof(float);
  const auto product = [](const Tensor& x) { return matmul(x, x); };
  EXPECT_EQ(arena_of([&](Args a) -> Tensors { return {product(exp(product(a[0])))}; }), kBlock);
  EXPECT_EQ(arena_of([&](Args a) -> Tensors { return {product(product(product(a[0])))}; }), 2 * kBlock)
      << "a product reads its operands while it writes";
  EXPECT_EQ(arena_of([&](Args a) -> Tensors {
              const Tensor x = product(a[0]);
              return {product(exp(x)) + x};
            }),
            3 * kBlock)
      << "x is read later, and the product reads its operand";
  EXPECT_EQ(arena_of([&](Args a) -> Tensors {
              const Tensor x = product(a[0]);
              return {product(x + transpose(x, 0, 1))};
            }),
            2 * kBlock)
      << "x is read in another order, too";
}

}  // namespace
}  // namespace hebb::graph
