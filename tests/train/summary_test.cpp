// Summaries: the numbers that courses work out by hand.
#include "hebb/train/summary.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "hebb/nn/activation.h"
#include "hebb/nn/conv.h"
#include "hebb/nn/dropout.h"
#include "hebb/nn/linear.h"
#include "hebb/nn/norm.h"
#include "hebb/nn/pooling.h"
#include "hebb/ops/conv.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/pool.h"
#include "hebb/ops/random.h"
#include "hebb/train/recipe.h"

namespace hebb {
namespace {

using nn::Conv2d;
using train::summarize;
using train::Summary;

TEST(Summary, TwoLayersOf3x3SeeWhatOne5x5Does) {
  nn::Sequential two{Conv2d{1, 1, {.kernel_size = 3}}, Conv2d{1, 1, {.kernel_size = 3}}};
  const Summary s = summarize(two, {1, 1, 8, 8});
  EXPECT_EQ(s.receptive_field, (Shape{5, 5}));
  EXPECT_EQ(s.parameters, 20);
  EXPECT_EQ(s.rows[0].receptive_field, (Shape{3, 3}));

  nn::Sequential one{Conv2d{1, 1, {.kernel_size = 5}}};
  const Summary t = summarize(one, {1, 1, 8, 8});
  EXPECT_EQ(t.receptive_field, (Shape{5, 5}));
  EXPECT_EQ(t.parameters, 26);
}

TEST(Summary, FourNarrowLayersSee5x5With16Parameters) {
  nn::Sequential net{Conv2d{1, 1, {.kernel_size = {1, 3}}}, Conv2d{1, 1, {.kernel_size = {3, 1}}},
                     Conv2d{1, 1, {.kernel_size = {1, 3}}}, Conv2d{1, 1, {.kernel_size = {3, 1}}}};
  const Summary s = summarize(net, {1, 1, 8, 8});
  EXPECT_EQ(s.receptive_field, (Shape{5, 5}));
  EXPECT_EQ(s.rows[0].receptive_field, (Shape{1, 3}));
  EXPECT_EQ(s.parameters, 16);
}

TEST(Summary, PoolingDoublesTheStepsBehindIt) {
  nn::Sequential net{Conv2d{1, 1, {.kernel_size = 3}}, nn::MaxPool2d{2}, Conv2d{1, 1, {.kernel_size = 3}}};
  EXPECT_EQ(summarize(net, {1, 1, 16, 16}).receptive_field, (Shape{8, 8}));
}

TEST(Summary, StrideAndDilation) {
  nn::Sequential net{Conv2d{1, 1, {.kernel_size = 3, .stride = 2, .padding = 1}},
                     Conv2d{1, 1, {.kernel_size = 3, .dilation = 2}}};
  // 3, then 2 * 2 steps of 2 more.
  EXPECT_EQ(summarize(net, {1, 1, 32, 32}).receptive_field, (Shape{11, 11}));
}

TEST(Summary, BottleneckSavesParameters) {
  nn::Sequential plain{Conv2d{16, 32, {.kernel_size = 3}}};
  EXPECT_EQ(summarize(plain, {1, 16, 8, 8}).parameters, 4640);
  nn::Sequential narrow{Conv2d{16, 8, {.kernel_size = 1}}, Conv2d{8, 32, {.kernel_size = 3}}};
  EXPECT_EQ(summarize(narrow, {1, 16, 8, 8}).parameters, 136 + 2336);
}

TEST(Summary, Lenet5) {
  nn::AnyModule net = train::Recipe::load("lenet5").build();
  const Summary s = summarize(net, {1, 1, 28, 28});
  EXPECT_EQ(s.parameters, 61706);
  EXPECT_EQ(s.trainable_parameters, 61706);
  EXPECT_EQ(s.multiply_adds, 28 * 28 * 6 * 25 + 10 * 10 * 16 * 150 + 400 * 120 + 120 * 84 + 84 * 10);
  EXPECT_EQ(s.output, (Shape{1, 10}));
  ASSERT_EQ(s.rows.size(), 12u);
  EXPECT_EQ(s.rows[0].path, "0");
  EXPECT_EQ(s.rows[0].type, "Conv2d");
  EXPECT_EQ(s.rows[0].output, (Shape{1, 6, 28, 28}));
  EXPECT_EQ(s.rows[0].parameters, 156);
  EXPECT_EQ(s.rows[0].multiply_adds, 117600);
  EXPECT_EQ(s.rows[3].receptive_field, (Shape{14, 14}));
  EXPECT_EQ(s.rows[5].receptive_field, (Shape{16, 16}));
  EXPECT_EQ(s.rows[7].receptive_field, (Shape{28, 28})) << "a linear layer sees the whole image";
  EXPECT_EQ(s.receptive_field, (Shape{28, 28}));
}

TEST(Summary, WorkGrowsWithTheBatchAndMemoryIsForItsOwn) {
  nn::AnyModule net = train::Recipe::load("lenet5").build();
  const Summary one = summarize(net, {1, 1, 28, 28}), four = summarize(net, {4, 1, 28, 28});
  EXPECT_EQ(four.multiply_adds, 4 * one.multiply_adds);
  EXPECT_EQ(four.activation_bytes, 4 * one.activation_bytes);
  const Summary planned = summarize(net, {1, 1, 28, 28}, {.batch_size = 64, .optimizer_moments = 2});
  EXPECT_EQ(planned.activation_bytes, 64 * one.activation_bytes);
  EXPECT_EQ(planned.parameter_bytes, 61706 * 4);
  EXPECT_EQ(planned.gradient_bytes, 61706 * 4);
  EXPECT_EQ(planned.optimizer_bytes, 2 * 61706 * 4);
  EXPECT_EQ(planned.training_bytes(), 4 * 61706 * 4 + planned.activation_bytes);
}

TEST(Summary, SavedActivationsAreThoseThatBackwardReads) {
  // A linear layer reads its input; nothing reads its result.
  nn::Sequential one{nn::Linear{3, 5}};
  EXPECT_EQ(summarize(one, {2, 3}).activation_bytes, 2 * 3 * 4);
  // Flattening shares the storage of what it flattens.
  nn::Sequential flat{nn::Flatten{}, nn::Linear{12, 5}};
  EXPECT_EQ(summarize(flat, {2, 3, 4}).activation_bytes, 2 * 12 * 4);
  // What no gradient flows through is not saved.
  one.requires_grad_(false);
  EXPECT_EQ(summarize(one, {2, 3}).activation_bytes, 0);
}

// Calls ops as well as layers, one layer twice.
struct Mixed : nn::Module {
  Conv2d stem{3, 8, {.kernel_size = 3, .padding = 1}};
  Conv2d shared{8, 8, {.kernel_size = 3, .padding = 1}};
  nn::BatchNorm2d bn{8};
  nn::Dropout drop{0.5};
  nn::Parameter scale{rand({8, 1, 1})};
  Tensor forward(const Tensor& x) {
    const Tensor y = relu(bn(stem(x)));
    return max_pool2d(drop(y + shared(shared(y))) * scale, 2);
  }
  HEBB_MEMBERS(stem, shared, bn, drop, scale)
};

TEST(Summary, OfAStruct) {
  Mixed net;
  const Summary s = summarize(net, {2, 3, 8, 8});
  EXPECT_EQ(s.name, "Mixed");
  std::vector<std::string> paths;
  for (const auto& r : s.rows) paths.push_back(r.path);
  EXPECT_EQ(paths, (std::vector<std::string>{"", "stem", "bn", "shared", "shared", "drop"}));
  EXPECT_EQ(s.rows[0].parameters, 8) << "a container's own";
  EXPECT_EQ(s.rows[3].parameters, 8 * 8 * 9 + 8);
  EXPECT_EQ(s.rows[4].parameters, 0) << "counted once";
  EXPECT_EQ(s.rows[4].multiply_adds, 2 * 8 * 64 * 72) << "worked twice";
  EXPECT_EQ(s.parameters, net.num_parameters());
  EXPECT_EQ(s.output, (Shape{2, 8, 4, 4}));
  // 3x3, the sum of it and 7x7, and a window of 2.
  EXPECT_EQ(s.receptive_field, (Shape{8, 8}));
}

TEST(Summary, LeavesTheModuleAsItWas) {
  Mixed net;
  net.drop.eval();
  manual_seed(7);
  const std::vector<float> mean = net.bn.running_mean.to_vector<float>();
  const float expected = rand({}).item<float>();
  manual_seed(7);
  summarize(net, {2, 3, 8, 8});
  EXPECT_EQ(rand({}).item<float>(), expected) << "no random number is drawn";
  EXPECT_TRUE(net.is_training());
  EXPECT_TRUE(net.bn.is_training());
  EXPECT_FALSE(net.drop.is_training());
  EXPECT_EQ(net.bn.running_mean.to_vector<float>(), mean);
  EXPECT_EQ(net.bn.num_batches_tracked.item<int64_t>(), 0);
  EXPECT_THROW(summarize(net, {2, 4, 8, 8}), Error);
  EXPECT_TRUE(net.is_training());
}

TEST(Summary, BranchesSeeTheUnion) {
  nn::Graph g;
  g.add("a", Conv2d{1, 2, {.kernel_size = 3, .padding = 1}}, {"input"});
  g.add("b", Conv2d{1, 2, {.kernel_size = 7, .padding = 3}}, {"input"});
  g.add("join", nn::Concat{}, {"a", "b"});
  const Summary s = summarize(g, {1, 1, 8, 8});
  EXPECT_EQ(s.rows[0].receptive_field, (Shape{3, 3}));
  EXPECT_EQ(s.rows[2].path, "join");
  EXPECT_EQ(s.rows[2].output, (Shape{1, 4, 8, 8}));
  EXPECT_EQ(s.receptive_field, (Shape{7, 7}));
}

TEST(Summary, GlobalPoolingSeesAll) {
  nn::Sequential net{Conv2d{1, 4, {.kernel_size = 3}}, nn::AdaptiveAvgPool2d{1}, nn::Flatten{}};
  EXPECT_EQ(summarize(net, {1, 1, 9, 7}).receptive_field, (Shape{9, 7}));
  nn::Sequential pooled{Conv2d{1, 4, {.kernel_size = 3}}, nn::Flatten{}};
  EXPECT_EQ(summarize(pooled, {1, 1, 9, 7}).receptive_field, (Shape{3, 3}))
      << "flattening alone mixes nothing";
}

TEST(Summary, UpsamplingSeesNoMore) {
  nn::Sequential net{nn::MaxPool2d{2}, nn::ConvTranspose2d{1, 1, {.kernel_size = 2, .stride = 2}}};
  EXPECT_EQ(summarize(net, {1, 1, 8, 8}).receptive_field, (Shape{2, 2}));
}

TEST(Summary, LinesAndFeatures) {
  nn::Sequential line{nn::Conv1d{2, 4, {.kernel_size = 5}}, nn::Conv1d{4, 4, {.kernel_size = 3}}};
  const Summary s = summarize(line, {1, 2, 20});
  EXPECT_EQ(s.receptive_field, (Shape{7}));
  EXPECT_EQ(s.output, (Shape{1, 4, 14}));
  nn::Sequential mlp{nn::Linear{2, 8}, nn::ReLU{}, nn::Linear{8, 1}};
  EXPECT_EQ(summarize(mlp, {1, 2}).receptive_field, (Shape{2}));
  EXPECT_EQ(summarize(mlp, {1, 2}).multiply_adds, 24);
}

TEST(Summary, FrozenParametersHaveNoGradients) {
  nn::Sequential net{nn::Linear{4, 4}, nn::Linear{4, 2}};
  net[0].requires_grad_(false);
  const Summary s = summarize(net, {1, 4});
  EXPECT_EQ(s.parameters, 30);
  EXPECT_EQ(s.trainable_parameters, 10);
  EXPECT_EQ(s.gradient_bytes, 40);
  EXPECT_NE(to_text(s).find("10 of the parameters are trained"), std::string::npos);
}

TEST(Summary, Text) {
  nn::Sequential net{Conv2d{1, 6, {.kernel_size = 5, .padding = 2}}, nn::ReLU{}, nn::Flatten{},
                     nn::Linear{4704, 10}};
  // Saved: the convolution's input (784 values) and the activation's output (4704), which the last layer
  // shares.
  EXPECT_EQ(train::to_text(summarize(net, {1, 1, 28, 28})),
            "Sequential, input 1x1x28x28\n"
            "layer  type     output     parameters  multiply-adds   sees\n"
            "-----------------------------------------------------------\n"
            "0      Conv2d   1x6x28x28         156        117,600    5x5\n"
            "1      ReLU     1x6x28x28           -              -    5x5\n"
            "2      Flatten  1x4704              -              -    5x5\n"
            "3      Linear   1x10           47,050         47,040  28x28\n"
            "-----------------------------------------------------------\n"
            "total           1x10           47,206        164,640  28x28\n"
            "memory to train, batch of 1: 574.6 KiB = parameters 184.4 KiB + gradients 184.4 KiB + optimizer "
            "184.4 KiB + activations 21.4 KiB\n");
}

TEST(Summary, Json) {
  nn::Sequential net{Conv2d{1, 6, {.kernel_size = 5}}};
  const auto j = nlohmann::json::parse(train::to_json(summarize(net, {1, 1, 28, 28})));
  EXPECT_EQ(j["parameters"], 156);
  EXPECT_EQ(j["multiply_adds"], 24 * 24 * 150);
  EXPECT_EQ(j["layers"][0]["type"], "Conv2d");
  EXPECT_EQ(j["layers"][0]["output"], (std::vector<int>{1, 6, 24, 24}));
  EXPECT_EQ(j["receptive_field"], (std::vector<int>{5, 5}));
  EXPECT_EQ(j["memory"]["parameters"], 624);
}

}  // namespace
}  // namespace hebb
