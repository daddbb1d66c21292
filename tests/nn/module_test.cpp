// What one member list gives: state dict, loading, clone, freezing, modes, conversion, printing, error paths.
#include "hebb/nn/module.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "hebb/autograd/grad.h"
#include "hebb/nn/activation.h"
#include "hebb/nn/container.h"
#include "hebb/nn/conv.h"
#include "hebb/nn/dropout.h"
#include "hebb/nn/linear.h"
#include "hebb/nn/norm.h"
#include "hebb/nn/pooling.h"
#include "hebb/ops/creation.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/random.h"
#include "hebb/ops/reduce.h"
#include "hebb/ops/view.h"
#include "hebb/optim/sgd.h"
#include "tests/support/throws.h"

namespace hebb::nn {
namespace {

struct Block : Module {
  Conv2d conv{2, 4, {.kernel_size = 3, .padding = 1}};
  BatchNorm2d bn{4};
  Tensor forward(const Tensor& x) { return relu(bn(conv(x))); }
  HEBB_MEMBERS(conv, bn)
};

struct LeNet : Module {
  Conv2d conv1{1, 6, {.kernel_size = 5, .padding = 2}};
  Conv2d conv2{6, 16, {.kernel_size = 5}};
  MaxPool2d pool{2};
  Linear fc1{400, 120}, fc2{120, 84}, fc3{84, 10};
  Tensor forward(const Tensor& x) {
    Tensor y = pool(relu(conv2(pool(relu(conv1(x))))));
    return fc3(relu(fc2(relu(fc1(flatten(y, 1))))));
  }
  HEBB_MEMBERS(conv1, conv2, pool, fc1, fc2, fc3)
};

// Input and output share one table, as in language models.
struct Tied : Module {
  Embedding in{5, 3};
  Linear out{3, 5};
  Tied() { out.weight = in.weight.share(); }
  Tensor forward(const Tensor& i) { return out(in(i)); }
  HEBB_MEMBERS(in, out)
};

// All kinds of members.
struct Members : Module {
  Parameter scale{ones({2})};
  Buffer seen{zeros({}, i64)};
  std::vector<Linear> layers;
  std::optional<Linear> absent, present{Linear{2, 2, {.bias = false}}};
  Members() {
    layers.emplace_back(2, 2);
    layers.emplace_back(2, 2, LinearOptions{.bias = false});
  }
  Tensor forward(const Tensor& x) { return layers[1](layers[0](x)) * scale; }
  HEBB_MEMBERS(scale, seen, layers, absent, present)
};

struct Forgetful : Module {
  Linear named{2, 3}, unnamed{3, 4};
  Tensor forward(const Tensor& x) { return unnamed(named(x)); }
  HEBB_MEMBERS(named)
};

struct Owner : Module {
  std::unique_ptr<Linear> fc = std::make_unique<Linear>(2, 2);
  Tensor forward(const Tensor& x) { return (*fc)(x); }
  HEBB_MEMBERS(fc)
};

std::vector<std::string> names(const NamedTensors& tensors) {
  std::vector<std::string> out;
  for (const auto& [name, t] : tensors) out.push_back(name);
  return out;
}
using Names = std::vector<std::string>;

TEST(Module, StateDictHasPytorchsNamesInOrder) {
  Block block;
  EXPECT_EQ(names(block.state_dict()),
            (Names{"conv.weight", "conv.bias", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var",
                   "bn.num_batches_tracked"}));
  EXPECT_EQ(names(block.named_parameters()), (Names{"conv.weight", "conv.bias", "bn.weight", "bn.bias"}));
  EXPECT_EQ(names(block.named_buffers()),
            (Names{"bn.running_mean", "bn.running_var", "bn.num_batches_tracked"}));
  EXPECT_EQ(block.state_dict().back().second.dtype(), i64);
  EXPECT_EQ(block.state_dict().back().second.ndim(), 0);
  EXPECT_EQ(LeNet().num_parameters(), 61706);
}

TEST(Module, ListsAndOptionalsAreNumberedAndSkipped) {
  Members m;
  EXPECT_EQ(names(m.state_dict()), (Names{"scale", "seen", "layers.0.weight", "layers.0.bias",
                                          "layers.1.weight", "present.weight"}));
}

TEST(Module, LoadAssignsToTheSameTensors) {
  Block a, b;
  const Tensor held = a.conv.weight;
  a.load_state_dict(b.state_dict());
  EXPECT_EQ(held.to_vector<float>(), b.conv.weight.to_vector<float>());
  EXPECT_TRUE(a.conv.weight.requires_grad());
  const Tensor x = ones({1, 2, 4, 4});
  EXPECT_EQ(a(x).to_vector<float>(), b(x).to_vector<float>());
}

TEST(Module, StrictLoadListsAllProblemsAtOnceAndAssignsNothing) {
  Block block;
  const std::vector<float> before = block.conv.bias.to_vector<float>();
  NamedTensors given = block.state_dict();
  given.erase(given.begin() + 2);
  given[0].second = zeros({4, 2, 5, 5});
  given[1].second = zeros({4});
  given.emplace_back("head.weight", zeros({2}));
  EXPECT_ERROR(block.load_state_dict(given),
               "[load_state_dict] expected the weights of Block; missing: bn.weight; unexpected: "
               "head.weight; wrong shape: conv.weight (expected 4x2x3x3, got 4x2x5x5)");
  EXPECT_EQ(block.conv.bias.to_vector<float>(), before);
  EXPECT_ERROR(block.load_state_dict(given, false),
               "[load_state_dict] expected the weights of Block; wrong shape: conv.weight (expected 4x2x3x3, "
               "got 4x2x5x5)");
  given.erase(given.begin());
  block.load_state_dict(given, false);
  EXPECT_EQ(block.conv.bias.to_vector<float>(), std::vector<float>(4, 0));
}

TEST(Module, CloneIsDeep) {
  Block a;
  a.eval();
  a.conv.weight.requires_grad_(false);
  Block b = a.clone();
  EXPECT_FALSE(b.is_training());
  EXPECT_FALSE(b.bn.is_training());
  EXPECT_FALSE(b.conv.weight.requires_grad());
  EXPECT_TRUE(b.conv.bias.requires_grad());
  EXPECT_EQ(a.conv.weight.to_vector<float>(), b.conv.weight.to_vector<float>());
  b.conv.weight.assign_(zeros(b.conv.weight.shape()));
  b.bn.running_mean.assign_(ones({4}));
  EXPECT_NE(a.conv.weight.to_vector<float>(), b.conv.weight.to_vector<float>());
  EXPECT_EQ(a.bn.running_mean.to_vector<float>(), std::vector<float>(4, 0));
}

TEST(Module, CloneAndConversionKeepTiedTensorsTied) {
  Tied a;
  EXPECT_TRUE(a.in.weight.is_same(a.out.weight));
  EXPECT_EQ(names(a.named_parameters()), (Names{"in.weight", "out.bias"}));
  EXPECT_EQ(names(a.state_dict()), (Names{"in.weight", "out.weight", "out.bias"}));
  EXPECT_EQ(a.num_parameters(), 20);
  Tied b = a.clone();
  EXPECT_TRUE(b.in.weight.is_same(b.out.weight));
  EXPECT_FALSE(b.in.weight.is_same(a.in.weight));
  b.to(f64);
  EXPECT_TRUE(b.in.weight.is_same(b.out.weight));
  EXPECT_EQ(b.in.weight.dtype(), f64);
}

TEST(Module, CopyingByAccidentThrows) {
  const Block a;
  EXPECT_ERROR(Block(a), "[Module] expected a reference: modules are not copied by accident; use clone()");
  Block moved = Block();
  moved = Block();
  EXPECT_EQ(moved.parameters().size(), 4u);
}

TEST(Module, ModulesThatCannotBeCopiedWorkButDoNotClone) {
  Owner owner;
  EXPECT_EQ(names(owner.state_dict()), (Names{"fc.weight", "fc.bias"}));
  EXPECT_EQ(owner(ones({1, 2})).shape(), Shape({1, 2}));
  EXPECT_ERROR(owner.clone_boxed(),
               "[clone] expected Owner to be copyable: a member of it (such as a unique_ptr) is not");
}

TEST(Module, AnUnnamedParameterIsFound) {
  Forgetful net;
  const std::string message = hebb::test_support::error_of([&] { net.parameters(); });
  EXPECT_NE(message.find("[Forgetful] expected every parameter and buffer in HEBB_MEMBERS"),
            std::string::npos)
      << message;
}

struct WithoutDropout : Module {
  Linear fc{2, 2};
  Dropout drop;
  Tensor forward(const Tensor& x) { return drop(fc(x)); }
  HEBB_MEMBERS(fc)
};

TEST(Module, AnUnnamedModuleIsFound) {
  WithoutDropout net;
  EXPECT_NE(test_support::error_of([&] {
              net.parameters();
            }).find("[WithoutDropout] expected every module inside it in HEBB_MEMBERS"),
            std::string::npos);
}

TEST(Module, ALayerWithANameIsClonedIntoAContainer) {
  Linear layer{2, 3};
  Sequential net(layer, ReLU());
  EXPECT_FALSE(net.parameters()[0].is_same(layer.weight));
  EXPECT_EQ(net.parameters()[0].to_vector<float>(), layer.weight.to_vector<float>());
}

TEST(Module, AnOptimizerGoesOnAfterAConversion) {
  Linear layer{2, 1};
  optim::SGD sgd(layer.parameters(), {.lr = 0.5, .momentum = 0.9});
  const auto before = layer.bias.to_vector<double>();
  layer.to(f64);
  backward(sum(layer(ones({1, 2}, f64))));
  sgd.step();
  EXPECT_EQ(layer.bias.dtype(), f64);
  EXPECT_DOUBLE_EQ(layer.bias.item<double>(), before[0] - 0.5);
}

TEST(Module, ModeReachesChildren) {
  Sequential net{Dropout{0.5}, Sequential{Dropout{0.5}, ReLU{}}};
  EXPECT_TRUE(net[0].is_training());
  net.eval();
  EXPECT_FALSE(net.is_training());
  EXPECT_FALSE(net[0].is_training());
  EXPECT_FALSE(dynamic_cast<Sequential&>(net[1])[0].is_training());
  const Tensor x = ones({4});
  EXPECT_EQ(net(x).to_vector<float>(), std::vector<float>(4, 1));
  net.train();
  EXPECT_TRUE(dynamic_cast<Sequential&>(net[1])[0].is_training());
}

TEST(Module, FrozenPartsGetNoGradient) {
  LeNet net;
  net.conv1.requires_grad_(false);
  net.conv2.requires_grad_(false);
  backward(sum(net(ones({2, 1, 28, 28}))));
  EXPECT_FALSE(net.conv1.weight.grad().defined());
  EXPECT_FALSE(net.conv2.bias.grad().defined());
  ASSERT_TRUE(net.fc1.weight.grad().defined());
  net.zero_grad();
  EXPECT_FALSE(net.fc1.weight.grad().defined());
  net.requires_grad_(true);
  EXPECT_TRUE(net.conv1.weight.requires_grad());
}

TEST(Module, ToConvertsFloatsAndLeavesIntegers) {
  Block block;
  block.conv.weight.requires_grad_(false);
  block.to(f64);
  for (const auto& [name, t] : block.state_dict())
    EXPECT_EQ(t.dtype(), name == "bn.num_batches_tracked" ? i64 : f64) << name;
  EXPECT_FALSE(block.conv.weight.requires_grad());
  EXPECT_TRUE(block.conv.bias.requires_grad());
  EXPECT_EQ(block(ones({2, 2, 3, 3}, f64)).dtype(), f64);
}

TEST(Module, PrintsAsPytorchDoes) {
  Block block;
  EXPECT_EQ(block.str(),
            "Block(\n"
            "  (conv): Conv2d(2, 4, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))\n"
            "  (bn): BatchNorm2d(4, eps=1e-05, momentum=0.1, affine=True, bias=True, "
            "track_running_stats=True)\n"
            ")");
  Sequential net{Linear{1, 2}, Sequential{ReLU{}, Dropout{}}};
  EXPECT_EQ(net.str(),
            "Sequential(\n"
            "  (0): Linear(in_features=1, out_features=2, bias=True)\n"
            "  (1): Sequential(\n"
            "    (0): ReLU()\n"
            "    (1): Dropout(p=0.5, inplace=False)\n"
            "  )\n"
            ")");
}

TEST(Module, ErrorsSayWhereInTheNetwork) {
  LeNet net;
  const std::string message = hebb::test_support::error_of([&] { net(ones({2, 3, 28, 28})); });
  EXPECT_TRUE(message.ends_with(", in LeNet.conv1")) << message;
  EXPECT_TRUE(message.starts_with("[conv2d] expected ")) << message;
  Sequential chain{Sequential{Linear{2, 3}, BatchNorm2d{4}}, ReLU{}};
  EXPECT_ERROR(chain(ones({2, 2})),
               "[BatchNorm2d] expected an input of 4 dimensions [N, C, H, W], got 2x3, in Sequential.0.1");
  // Outside of calls there is no path, also after an error.
  EXPECT_EQ(detail::call_path(), "");
}

TEST(Module, ObserversSeeEachCall) {
  struct Log : detail::CallObserver {
    std::vector<std::string> events;
    void enter(Module& m) override { events.push_back("+" + m.type_name()); }
    void leave(Module& m) override { events.push_back("-" + m.type_name()); }
  } log;
  Sequential net{Linear{2, 2}, ReLU{}};
  {
    const detail::ObserverScope scope(log);
    net(ones({1, 2}));
  }
  net(ones({1, 2}));
  EXPECT_EQ(log.events, (Names{"+Sequential", "+Linear", "-Linear", "+ReLU", "-ReLU", "-Sequential"}));
}

}  // namespace
}  // namespace hebb::nn
