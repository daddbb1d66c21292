// Layers by name: what is built, what is inferred from the input, and the message for each mistake.
#include "hebb/nn/registry.h"

#include <gtest/gtest.h>

#include <set>

#include "hebb/nn/activation.h"
#include "hebb/nn/conv.h"
#include "hebb/nn/dropout.h"
#include "hebb/nn/linear.h"
#include "hebb/nn/norm.h"
#include "hebb/nn/pooling.h"
#include "hebb/ops/creation.h"
#include "tests/support/throws.h"

namespace hebb::nn {
namespace {

using List = std::vector<int64_t>;

std::string built(const std::string& type, const LayerArgs& args, const Shape& input = {}) {
  return build_layer(type, args, input)->str();
}

TEST(Registry, BuildsWhatIsWritten) {
  EXPECT_EQ(built("Conv2d", {{"out_channels", 6}, {"kernel_size", 5}, {"padding", 2}}, {1, 1, 28, 28}),
            "Conv2d(1, 6, kernel_size=(5, 5), stride=(1, 1), padding=(2, 2))");
  EXPECT_EQ(built("Conv2d", {{"in_channels", 4},
                             {"out_channels", 6},
                             {"kernel_size", List{3, 5}},
                             {"stride", List{1, 1}},
                             {"padding", "same"},
                             {"dilation", 2},
                             {"groups", 2},
                             {"bias", false},
                             {"padding_mode", "reflect"}}),
            "Conv2d(4, 6, kernel_size=(3, 5), stride=(1, 1), padding=same, dilation=(2, 2), groups=2, "
            "bias=False, padding_mode=reflect)");
  EXPECT_EQ(built("MaxPool2d", {{"kernel_size", 3}, {"stride", List{2, 1}}, {"ceil_mode", true}}),
            "MaxPool2d(kernel_size=3, stride=(2, 1), padding=0, dilation=1, ceil_mode=True)");
  EXPECT_EQ(built("LeakyReLU", {{"negative_slope", 0.2}, {"inplace", true}}),
            "LeakyReLU(negative_slope=0.2)");
  EXPECT_EQ(built("LeakyReLU", {{"negative_slope", 1}}), "LeakyReLU(negative_slope=1.0)");
  EXPECT_EQ(built("LayerNorm", {{"normalized_shape", List{2, 3}}, {"eps", 0.001}}),
            "LayerNorm((2, 3), eps=0.001, elementwise_affine=True, bias=True)");
  EXPECT_EQ(built("Upsample", {{"scale_factor", 2}, {"mode", "bilinear"}}),
            "Upsample(scale_factor=2.0, mode='bilinear')");
  EXPECT_EQ(built("Embedding", {{"num_embeddings", 9}, {"embedding_dim", 2}, {"padding_idx", 0}}),
            "Embedding(9, 2, padding_idx=0)");
}

TEST(Registry, DefaultsAreThoseOfTheLayers) {
  const LayerArgs channels{{"in_channels", 2}, {"out_channels", 4}, {"kernel_size", 3}};
  EXPECT_EQ(built("Conv1d", channels), Conv1d(2, 4, {.kernel_size = 3}).str());
  EXPECT_EQ(built("Conv2d", channels), Conv2d(2, 4, {.kernel_size = 3}).str());
  EXPECT_EQ(built("ConvTranspose1d", channels), ConvTranspose1d(2, 4, {.kernel_size = 3}).str());
  EXPECT_EQ(built("ConvTranspose2d", channels), ConvTranspose2d(2, 4, {.kernel_size = 3}).str());
  EXPECT_EQ(built("MaxPool1d", {{"kernel_size", 2}}), MaxPool1d(2).str());
  EXPECT_EQ(built("MaxPool2d", {{"kernel_size", 2}}), MaxPool2d(2).str());
  EXPECT_EQ(built("AvgPool1d", {{"kernel_size", 2}}), AvgPool1d(2).str());
  EXPECT_EQ(built("AvgPool2d", {{"kernel_size", 2}}), AvgPool2d(2).str());
  EXPECT_EQ(built("BatchNorm1d", {{"num_features", 2}}), BatchNorm1d(2).str());
  EXPECT_EQ(built("BatchNorm2d", {{"num_features", 2}}), BatchNorm2d(2).str());
  EXPECT_EQ(built("InstanceNorm2d", {{"num_features", 2}}), InstanceNorm2d(2).str());
  EXPECT_EQ(built("GroupNorm", {{"num_groups", 2}, {"num_channels", 4}}), GroupNorm(2, 4).str());
  EXPECT_EQ(built("LayerNorm", {{"normalized_shape", 4}}), LayerNorm(4).str());
  EXPECT_EQ(built("LocalResponseNorm", {{"size", 5}}), LocalResponseNorm(5).str());
  EXPECT_EQ(built("Linear", {{"in_features", 2}, {"out_features", 3}}), Linear(2, 3).str());
  EXPECT_EQ(built("Maxout", {{"in_features", 2}, {"out_features", 3}}), Maxout(2, 3).str());
  EXPECT_EQ(built("Flatten", {}), Flatten().str());
  EXPECT_EQ(built("Dropout", {}), Dropout().str());
  EXPECT_EQ(built("Dropout2d", {}), Dropout2d().str());
  EXPECT_EQ(built("ZeroFillUnpool2d", {}), ZeroFillUnpool2d().str());
  EXPECT_EQ(built("LeakyReLU", {}), LeakyReLU().str());
  EXPECT_EQ(built("PReLU", {}), PReLU().str());
  EXPECT_EQ(built("ELU", {}), ELU().str());
  EXPECT_EQ(built("GELU", {}), GELU().str());
  EXPECT_EQ(built("Softplus", {}), Softplus().str());
  EXPECT_EQ(built("Hardtanh", {}), Hardtanh().str());
  EXPECT_EQ(built("Step", {}), Step().str());
  EXPECT_EQ(built("Softmax", {}), Softmax().str());
  EXPECT_EQ(built("Concat", {}), Concat().str());
}

TEST(Registry, SizesAreInferredFromTheInput) {
  EXPECT_EQ(built("Linear", {{"out_features", 10}}, {1, 84}),
            "Linear(in_features=84, out_features=10, bias=True)");
  EXPECT_EQ(built("BatchNorm1d", {}, {1, 7}), BatchNorm1d(7).str());
  EXPECT_EQ(built("BatchNorm2d", {}, {1, 7, 2, 2}), BatchNorm2d(7).str());
  EXPECT_EQ(built("GroupNorm", {{"num_groups", 2}}, {1, 8, 2, 2}), GroupNorm(2, 8).str());
  EXPECT_EQ(built("ConvTranspose2d", {{"out_channels", 1}, {"kernel_size", 2}, {"stride", 2}}, {1, 3, 2, 2}),
            "ConvTranspose2d(3, 1, kernel_size=(2, 2), stride=(2, 2))");
}

TEST(Registry, BuiltLayersRun) {
  AnyModule conv = build_layer("Conv2d", {{"out_channels", 6}, {"kernel_size", 5}}, {1, 1, 28, 28});
  const Tensor x[] = {ones({2, 1, 28, 28})};
  EXPECT_EQ(conv(x).shape(), Shape({2, 6, 24, 24}));
  AnyModule add = build_layer("Add", {}, {});
  const Tensor both[] = {ones({2}), ones({2})};
  EXPECT_EQ(add(both).to_vector<float>(), (std::vector<float>{2, 2}));
}

struct Mistake {
  std::string type;
  LayerArgs args;
  Shape input;
  std::string key, expected, found;
};

TEST(Registry, EachMistakeNamesTheKeyWhatIsExpectedAndWhatWasFound) {
  const LayerArgs conv{{"out_channels", 6}, {"kernel_size", 5}};
  const auto with = [&](const char* key, LayerArg value) {
    LayerArgs args = conv;
    args.insert_or_assign(key, std::move(value));
    return args;
  };
  const Shape image{1, 1, 28, 28};
  const Mistake mistakes[] = {
      {"Conv2D", conv, image, "type", "a layer type", "\"Conv2D\" (did you mean Conv2d?)"},
      {"MaxPooling2d", {}, image, "type", "a layer type", "\"MaxPooling2d\" (did you mean MaxPool2d?)"},
      {"Frobnicate", {}, image, "type", "a layer type", "\"Frobnicate\""},
      {"Conv2d", with("kernal_size", 3), image, "kernal_size",
       "one of in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode",
       "kernal_size (did you mean kernel_size?)"},
      {"Sigmoid", {{"dim", 1}}, image, "dim", "no arguments", "dim"},
      {"Conv2d", {{"kernel_size", 5}}, image, "out_channels", "a whole number, at least 1", "nothing"},
      {"Conv2d", conv, {}, "in_channels", "a whole number, at least 1", "nothing"},
      {"Conv2d", with("out_channels", 6.0), image, "out_channels", "a whole number, at least 1", "6.0"},
      {"Conv2d", with("out_channels", 0), image, "out_channels", "a whole number, at least 1", "0"},
      {"Conv2d", with("kernel_size", List{3, 3, 3}), image, "kernel_size",
       "a whole number or a list of two, at least 1", "[3, 3, 3]"},
      {"Conv2d", with("kernel_size", 2.5), image, "kernel_size",
       "a whole number or a list of two, at least 1", "2.5"},
      {"Conv2d", with("stride", List{1, 0}), image, "stride", "a whole number or a list of two, at least 1",
       "[1, 0]"},
      {"Conv2d", with("padding", "some"), image, "padding",
       "a whole number, a list of two, \"same\" or \"valid\", at least 0", "\"some\""},
      {"Conv2d", with("bias", 1), image, "bias", "true or false", "1"},
      {"Conv2d", with("padding_mode", "mirror"), image, "padding_mode",
       "\"zeros\" or \"reflect\" or \"replicate\" or \"circular\"", "\"mirror\""},
      {"Conv2d", with("in_channels", 3), image, "in_channels", "1, as in the input 1x1x28x28", "3"},
      {"Conv2d", conv, {1, 784}, "type", "an input of 4 dimensions, the batch's included", "1x784"},
      {"Conv1d",
       with("padding", List{1, 1}),
       {1, 2, 9},
       "padding",
       "a whole number, \"same\" or \"valid\", at least 0",
       "[1, 1]"},
      {"BatchNorm1d", {}, {4}, "type", "an input of at least 2 dimensions, the batch's included", "4"},
      {"Dropout", {{"p", "half"}}, {1, 4}, "p", "a number", "\"half\""},
      {"LayerNorm",
       {{"normalized_shape", List{}}},
       {1, 4},
       "normalized_shape",
       "a list of whole numbers, at least 1",
       "[]"},
  };
  for (const Mistake& m : mistakes) {
    try {
      build_layer(m.type, m.args, m.input);
      ADD_FAILURE() << m.type << " " << m.key << ": nothing was thrown";
    } catch (const LayerArgError& e) {
      EXPECT_EQ(e.key, m.key);
      EXPECT_EQ(e.expected, m.expected);
      EXPECT_EQ(e.found, m.found);
    }
  }
  EXPECT_ERROR(build_layer("Conv2d", with("bias", 1), image), "[Conv2d] bias: expected true or false, got 1");
  EXPECT_ERROR(build_layer("Dropout", {{"p", 1.5}}, {}),
               "[Dropout] expected a probability p in [0, 1], got 1.5");
  EXPECT_ERROR(build_layer("Conv2d", with("groups", 4), {1, 4, 8, 8}),
               "[Conv2d] expected in_channels and out_channels divisible by groups = 4, got 4 and 6");
}

TEST(Registry, TheTableIsSound) {
  std::set<std::string_view> seen;
  for (const LayerType& type : layer_types()) {
    EXPECT_TRUE(seen.insert(type.name).second) << type.name;
    EXPECT_FALSE(type.doc.empty()) << type.name;
    EXPECT_EQ(find_layer_type(type.name), &type);
    std::set<std::string_view> args;
    for (const LayerArgSpec& arg : type.args) {
      EXPECT_TRUE(args.insert(arg.name).second) << type.name << " " << arg.name;
      EXPECT_EQ(arg.kind == LayerArgKind::text, !arg.choices.empty()) << type.name << " " << arg.name;
      EXPECT_TRUE(!arg.fallback || arg.presence == LayerArgSpec::Presence::optional);
      EXPECT_FALSE(describe(arg.kind).empty());
    }
  }
  EXPECT_EQ(find_layer_type("conv2d"), nullptr);
}

}  // namespace
}  // namespace hebb::nn
