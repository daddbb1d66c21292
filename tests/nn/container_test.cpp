// Sequential and Graph: the same network as a struct, a chain and a graph; slices; joins; mistakes.
#include "hebb/nn/container.h"

#include <gtest/gtest.h>

#include "hebb/autograd/grad.h"
#include "hebb/nn/activation.h"
#include "hebb/nn/conv.h"
#include "hebb/nn/linear.h"
#include "hebb/nn/pooling.h"
#include "hebb/ops/creation.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/random.h"
#include "hebb/ops/reduce.h"
#include "hebb/ops/view.h"
#include "tests/support/throws.h"

namespace hebb::nn {
namespace {

struct SmallLeNet : Module {
  Conv2d conv1{1, 2, {.kernel_size = 3, .padding = 1}};
  Conv2d conv2{2, 4, {.kernel_size = 3}};
  MaxPool2d pool{2};
  Linear fc1{16, 8}, fc2{8, 3};
  Tensor forward(const Tensor& x) {
    const Tensor y = pool(relu(conv2(pool(relu(conv1(x))))));
    return fc2(relu(fc1(flatten(y, 1))));
  }
  HEBB_MEMBERS(conv1, conv2, pool, fc1, fc2)
};

Sequential chain() {
  return Sequential{Conv2d{1, 2, {.kernel_size = 3, .padding = 1}},
                    ReLU{},
                    MaxPool2d{2},
                    Conv2d{2, 4, {.kernel_size = 3}},
                    ReLU{},
                    MaxPool2d{{.kernel_size = 2, .stride = 2}},
                    Flatten{},
                    Linear{16, 8},
                    ReLU{},
                    Linear{8, 3}};
}

Graph graph() {
  Graph g;
  g.add("conv1", Conv2d{1, 2, {.kernel_size = 3, .padding = 1}});
  g.add("relu1", ReLU{});
  g.add("pool1", MaxPool2d{2});
  g.add("conv2", Conv2d{2, 4, {.kernel_size = 3}}, {"pool1"});
  g.add("relu2", ReLU{});
  g.add("pool2", MaxPool2d{2});
  g.add("flat", Flatten{});
  g.add("fc1", Linear{16, 8});
  g.add("relu3", ReLU{});
  g.add("fc2", Linear{8, 3});
  return g;
}

// The tensors of `from`, in order, under the names of `to`.
void load_in_order(Module& to, Module& from) {
  NamedTensors values = to.state_dict();
  const NamedTensors source = from.state_dict();
  ASSERT_EQ(values.size(), source.size());
  for (size_t i = 0; i < values.size(); ++i) {
    EXPECT_EQ(values[i].second.shape(), source[i].second.shape()) << values[i].first;
    values[i].second = source[i].second;
  }
  to.load_state_dict(values);
}

TEST(Container, StructChainAndGraphAreOneNetwork) {
  manual_seed(1);
  SmallLeNet net;
  Sequential seq = chain();
  Graph g = graph();
  load_in_order(seq, net);
  load_in_order(g, net);
  EXPECT_EQ(seq.state_dict().front().first, "0.weight");
  EXPECT_EQ(seq.state_dict().back().first, "9.bias");
  for (const auto& [name, t] : g.state_dict())
    EXPECT_TRUE(net.state_dict().size() == 8 && name.find('.') != std::string::npos);
  EXPECT_EQ(g.state_dict()[0].first, net.state_dict()[0].first);
  EXPECT_EQ(g.num_parameters(), net.num_parameters());
  const Tensor x = randn({3, 1, 12, 12});
  const std::vector<float> expected = net(x).to_vector<float>();
  EXPECT_EQ(seq(x).to_vector<float>(), expected);
  EXPECT_EQ(g(x).to_vector<float>(), expected);
  EXPECT_EQ(g.clone()(x).to_vector<float>(), expected);

  backward(sum(square(net(x))));
  backward(sum(square(seq(x))));
  backward(sum(square(g(x))));
  for (size_t i = 0; i < net.parameters().size(); ++i) {
    EXPECT_EQ(seq.parameters()[i].grad().to_vector<float>(), net.parameters()[i].grad().to_vector<float>());
    EXPECT_EQ(g.parameters()[i].grad().to_vector<float>(), net.parameters()[i].grad().to_vector<float>());
  }
}

TEST(Container, GraphsBranchAndJoin) {
  Graph g;
  g.add("a", Linear{2, 3}, {"input"});
  g.add("b", Linear{2, 3}, {"input"});
  g.add("sum", Add{}, {"a", "b", "b"});
  g.add("all", Concat{}, {"sum", "input"});
  const Tensor x = tensor({{1, 2}, {3, 4}});
  const Tensor y = g(x);
  EXPECT_EQ(y.shape(), Shape({2, 5}));
  EXPECT_EQ(slice(y, 1, 3).to_vector<float>(), x.to_vector<float>());
  const Tensor a = dynamic_cast<Linear&>(g[0])(x), b = dynamic_cast<Linear&>(g[1])(x);
  EXPECT_EQ(slice(y, 1, 0, 3).to_vector<float>(), (a + b + b).to_vector<float>());
}

TEST(Container, LayersOfTwoInputsTakeTwo) {
  Graph g;
  g.add("a", Linear{2, 3});
  g.add("both", Bilinear{2, 3, 4}, {"input", "a"});
  EXPECT_EQ(g(ones({5, 2})).shape(), Shape({5, 4}));
  Sequential wrong{Bilinear{2, 3, 4}};
  EXPECT_ERROR(wrong(ones({5, 2})), "[Bilinear] expected 2 inputs, got 1, in Sequential");
  Graph many;
  many.add("relu", ReLU{}, {"input", "input"});
  EXPECT_ERROR(many(ones({1})), "[ReLU] expected 1 input, got 2, in Graph");
}

TEST(Container, SlicesShareNothing) {
  Sequential net = chain();
  Sequential features = net.slice(0, 6);
  EXPECT_EQ(features.size(), 6u);
  EXPECT_EQ(features.state_dict().back().first, "3.bias");
  const Tensor x = ones({1, 1, 12, 12});
  EXPECT_EQ(features(x).shape(), Shape({1, 4, 2, 2}));
  const std::vector<float> before = net(x).to_vector<float>();
  features.parameters()[0].assign_(zeros({2, 1, 3, 3}));
  EXPECT_EQ(net(x).to_vector<float>(), before);
  EXPECT_ERROR(net.slice(3, 11), "[Sequential] expected a range within 10 layers, got 3 to 11");
}

TEST(Container, NamesAreUniqueAndInputsExist) {
  Sequential net;
  net.push_back("fc", Linear{1, 1});
  EXPECT_EQ(net.state_dict()[0].first, "fc.weight");
  EXPECT_ERROR(net.push_back("fc", ReLU{}), "[Sequential] expected each name once, got \"fc\" twice");
  Graph g;
  g.add("a", ReLU{});
  EXPECT_ERROR(g.add("a", ReLU{}), "[Graph] expected each name once, got \"a\" twice");
  EXPECT_ERROR(g.add("b", ReLU{}, {"c"}),
               "[Graph] expected inputs of \"b\" among the nodes before it, got \"c\"");
  EXPECT_ERROR(g.add("input", ReLU{}),
               "[Graph] expected a name other than \"input\", which is the network's input");
  EXPECT_ERROR(Graph()(ones({1})), "[Graph] expected at least one node, in Graph");
}

}  // namespace
}  // namespace hebb::nn
