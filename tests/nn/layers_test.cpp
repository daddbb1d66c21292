// Every layer runs on a sample forward and backward and prints as PyTorch does; then what single layers do.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "hebb/autograd/grad.h"
#include "hebb/nn/activation.h"
#include "hebb/nn/container.h"
#include "hebb/nn/conv.h"
#include "hebb/nn/dropout.h"
#include "hebb/nn/linear.h"
#include "hebb/nn/loss.h"
#include "hebb/nn/norm.h"
#include "hebb/nn/pooling.h"
#include "hebb/ops/creation.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/random.h"
#include "hebb/ops/reduce.h"
#include "hebb/ops/view.h"
#include "tests/support/throws.h"

namespace hebb::nn {
namespace {

struct Case {
  AnyModule layer;
  Shape input, output;
  std::string printed;
};

std::vector<Case> cases() {
  const Shape image{2, 4, 6, 6}, line{2, 4, 9}, rows{3, 5};
  std::vector<Case> c;
  const auto add = [&](AnyModule layer, const Shape& in, const Shape& out, const char* printed) {
    c.push_back({std::move(layer), in, out, printed});
  };
  add(Linear{5, 2}, rows, {3, 2}, "Linear(in_features=5, out_features=2, bias=True)");
  add(Linear{5, 2, {.bias = false}}, {2, 3, 5}, {2, 3, 2},
      "Linear(in_features=5, out_features=2, bias=False)");
  add(Identity{}, rows, rows, "Identity()");
  add(Flatten{}, image, {2, 144}, "Flatten(start_dim=1, end_dim=-1)");
  add(Unflatten{1, {5, 1}}, rows, {3, 5, 1}, "Unflatten(dim=1, unflattened_size=(5, 1))");
  add(Maxout{5, 2, {.pieces = 3}}, rows, {3, 2},
      "Maxout(in_features=5, out_features=2, pieces=3, bias=True)");

  add(Conv1d{4, 6, {.kernel_size = 5}}, line, {2, 6, 5}, "Conv1d(4, 6, kernel_size=(5,), stride=(1,))");
  add(Conv1d{4, 6, {.kernel_size = 4, .padding = "same", .groups = 2, .bias = false}}, line, {2, 6, 9},
      "Conv1d(4, 6, kernel_size=(4,), stride=(1,), padding=same, groups=2, bias=False)");
  add(Conv2d{4, 6, {.kernel_size = 5, .padding = 2}}, image, {2, 6, 6, 6},
      "Conv2d(4, 6, kernel_size=(5, 5), stride=(1, 1), padding=(2, 2))");
  add(
      Conv2d{
          4, 6, {.kernel_size = {3, 2}, .padding = "same", .dilation = {1, 2}, .groups = 2, .bias = false}},
      image, {2, 6, 6, 6},
      "Conv2d(4, 6, kernel_size=(3, 2), stride=(1, 1), padding=same, dilation=(1, 2), groups=2, bias=False)");
  add(Conv2d{4, 6, {.kernel_size = 3, .stride = 2, .padding = {1, 0}}}, image, {2, 6, 3, 2},
      "Conv2d(4, 6, kernel_size=(3, 3), stride=(2, 2), padding=(1, 0))");
  add(Conv2d{4, 2, {.kernel_size = 3, .padding = 1, .padding_mode = PadMode::reflect}}, image, {2, 2, 6, 6},
      "Conv2d(4, 2, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), padding_mode=reflect)");
  add(ConvTranspose1d{4, 2, {.kernel_size = 3, .stride = 2, .output_padding = 1}}, line, {2, 2, 20},
      "ConvTranspose1d(4, 2, kernel_size=(3,), stride=(2,), output_padding=(1,))");
  add(ConvTranspose2d{4, 2, {.kernel_size = 3, .stride = 2, .padding = 1, .output_padding = 1}}, image,
      {2, 2, 12, 12},
      "ConvTranspose2d(4, 2, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), output_padding=(1, 1))");

  add(Sigmoid{}, rows, rows, "Sigmoid()");
  add(Tanh{}, rows, rows, "Tanh()");
  add(ReLU{}, rows, rows, "ReLU()");
  add(ReLU6{}, rows, rows, "ReLU6()");
  add(LeakyReLU{0.2}, rows, rows, "LeakyReLU(negative_slope=0.2)");
  add(PReLU{}, rows, rows, "PReLU(num_parameters=1)");
  add(PReLU{4}, image, image, "PReLU(num_parameters=4)");
  add(ELU{}, rows, rows, "ELU(alpha=1.0)");
  add(SELU{}, rows, rows, "SELU()");
  add(GELU{}, rows, rows, "GELU(approximate='none')");
  add(GELU{"tanh"}, rows, rows, "GELU(approximate='tanh')");
  add(SiLU{}, rows, rows, "SiLU()");
  add(Softplus{}, rows, rows, "Softplus(beta=1.0, threshold=20.0)");
  add(Softsign{}, rows, rows, "Softsign()");
  add(Sign{}, rows, rows, "Sign()");
  add(Hardtanh{}, rows, rows, "Hardtanh(min_val=-1.0, max_val=1.0)");
  add(Hardsigmoid{}, rows, rows, "Hardsigmoid()");
  add(Hardswish{}, rows, rows, "Hardswish()");
  add(LogSigmoid{}, rows, rows, "LogSigmoid()");
  add(Threshold{0.1, 20}, rows, rows, "Threshold(threshold=0.1, value=20.0)");
  add(Step{}, rows, rows, "Step(threshold=0.0)");
  add(Softmax{1}, rows, rows, "Softmax(dim=1)");
  add(LogSoftmax{}, rows, rows, "LogSoftmax(dim=-1)");

  add(MaxPool1d{2}, line, {2, 4, 4},
      "MaxPool1d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)");
  add(MaxPool2d{2}, image, {2, 4, 3, 3},
      "MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)");
  add(MaxPool2d{{.kernel_size = {3, 2}, .stride = {2, 1}, .padding = 1, .ceil_mode = true}}, image,
      {2, 4, 4, 7}, "MaxPool2d(kernel_size=(3, 2), stride=(2, 1), padding=1, dilation=1, ceil_mode=True)");
  add(AvgPool1d{2}, line, {2, 4, 4}, "AvgPool1d(kernel_size=(2,), stride=(2,), padding=(0,))");
  add(AvgPool2d{{.kernel_size = 3, .stride = 2, .padding = 1, .count_include_pad = false}}, image,
      {2, 4, 3, 3}, "AvgPool2d(kernel_size=3, stride=2, padding=1)");
  add(AdaptiveAvgPool2d{{2, 3}}, image, {2, 4, 2, 3}, "AdaptiveAvgPool2d(output_size=(2, 3))");
  add(AdaptiveMaxPool2d{4}, image, {2, 4, 4, 4}, "AdaptiveMaxPool2d(output_size=4)");
  add(GlobalAvgPool2d{}, image, {2, 4, 1, 1}, "GlobalAvgPool2d()");
  add(ZeroFillUnpool2d{}, image, {2, 4, 12, 12}, "ZeroFillUnpool2d(stride=2)");
  add(Upsample{{.scale_factor = 2}}, image, {2, 4, 12, 12}, "Upsample(scale_factor=2.0, mode='nearest')");
  add(Upsample{{.size = {4, 9}, .mode = Interpolation::bilinear}}, image, {2, 4, 4, 9},
      "Upsample(size=(4, 9), mode='bilinear')");
  add(LocalResponseNorm{3}, image, image, "LocalResponseNorm(3, alpha=0.0001, beta=0.75, k=1.0)");

  add(BatchNorm1d{5}, rows, rows,
      "BatchNorm1d(5, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)");
  add(BatchNorm1d{4}, line, line,
      "BatchNorm1d(4, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)");
  add(BatchNorm2d{4, {.affine = false}}, image, image,
      "BatchNorm2d(4, eps=1e-05, momentum=0.1, affine=False, bias=False, track_running_stats=True)");
  add(InstanceNorm2d{4}, image, image,
      "InstanceNorm2d(4, eps=1e-05, momentum=0.1, affine=False, bias=False, track_running_stats=False)");
  add(LayerNorm{5}, rows, rows, "LayerNorm((5,), eps=1e-05, elementwise_affine=True, bias=True)");
  add(LayerNorm{{6, 6}, {.bias = false}}, image, image,
      "LayerNorm((6, 6), eps=1e-05, elementwise_affine=True, bias=False)");
  add(GroupNorm{2, 4}, image, image, "GroupNorm(2, 4, eps=1e-05, affine=True, bias=True)");
  add(Dropout{0.5}, rows, rows, "Dropout(p=0.5, inplace=False)");
  add(Dropout2d{0.2}, image, image, "Dropout2d(p=0.2, inplace=False)");
  return c;
}

TEST(Layers, EachRunsForwardAndBackwardInBothModes) {
  manual_seed(5);
  for (Case& c : cases()) {
    SCOPED_TRACE(c.printed);
    EXPECT_EQ(c.layer->str(), c.printed);
    for (const bool training : {true, false}) {
      c.layer->train(training);
      Tensor x = randn(c.input);
      x.requires_grad_();
      const Tensor y = c.layer({&x, 1});
      EXPECT_EQ(y.shape(), c.output);
      c.layer->zero_grad();
      backward(sum(square(y)));
      ASSERT_TRUE(x.grad().defined());
      EXPECT_EQ(x.grad().shape(), c.input);
      for (const auto& [name, p] : c.layer->named_parameters()) {
        ASSERT_TRUE(p.grad().defined()) << name;
        EXPECT_EQ(p.grad().shape(), p.shape()) << name;
      }
    }
    // A clone gives the same values.
    Tensor x = randn(c.input);
    const AnyModule& original = c.layer;
    std::unique_ptr<Module> copy = original->clone_boxed();
    EXPECT_EQ(copy->str(), c.printed);
  }
}

TEST(Layers, EmbeddingLooksUpRowsAndLearnsAllButThePadding) {
  Embedding e{4, 2, {.padding_idx = 1}};
  EXPECT_EQ(e.str(), "Embedding(4, 2, padding_idx=1)");
  const Tensor indices = Tensor::from(std::vector<int64_t>{3, 1, 3}, {1, 3});
  const Tensor y = e(indices);
  EXPECT_EQ(y.shape(), Shape({1, 3, 2}));
  backward(sum(y));
  EXPECT_EQ(e.weight.grad().to_vector<float>(), (std::vector<float>{0, 0, 0, 0, 0, 0, 2, 2}));
  EXPECT_ERROR(Embedding(4, 2, {.padding_idx = 4}), "[Embedding] expected padding_idx within 4 rows, got 4");
}

TEST(Layers, BilinearIsTheSumOverBothInputs) {
  Bilinear b{2, 3, 2};
  const Tensor x1 = randn({4, 2}), x2 = randn({4, 3});
  const Tensor y = b(x1, x2);
  ASSERT_EQ(y.shape(), Shape({4, 2}));
  const auto w = b.weight.to_vector<double>(), bias = b.bias.to_vector<double>(), a = x1.to_vector<double>(),
             c = x2.to_vector<double>(), got = y.to_vector<double>();
  for (int n = 0; n < 4; ++n) {
    for (int k = 0; k < 2; ++k) {
      double expected = bias[k];
      for (int i = 0; i < 2; ++i)
        for (int j = 0; j < 3; ++j) expected += a[n * 2 + i] * w[(k * 2 + i) * 3 + j] * c[n * 3 + j];
      EXPECT_NEAR(got[n * 2 + k], expected, 1e-5);
    }
  }
}

TEST(Layers, MaxoutOfTwoPiecesIsTheAbsoluteValue) {
  Maxout m{1, 1, {.pieces = 2, .bias = false}};
  m.weight.assign_(reshape(tensor({1, -1}), {2, 1}));
  EXPECT_EQ(m(reshape(tensor({-3, 2}), {2, 1})).to_vector<float>(), (std::vector<float>{3, 2}));
}

TEST(Layers, StepIsTheUnitOfMcCullochAndPitts) {
  Sequential both{Linear{2, 1}, Step{}};
  both.load_state_dict({{"0.weight", tensor({{1, 1}})}, {"0.bias", tensor({-2})}});
  EXPECT_EQ(both(tensor({{0, 0}, {0, 1}, {1, 0}, {1, 1}})).to_vector<float>(),
            (std::vector<float>{0, 0, 0, 1}));
}

TEST(Layers, PaddingModesContinueTheImage) {
  Conv1d conv{1, 1, {.kernel_size = 3, .padding = 1, .bias = false, .padding_mode = PadMode::circular}};
  conv.weight.assign_(reshape(tensor({1, 0, 0}), {1, 1, 3}));
  const Tensor x = reshape(tensor({1, 2, 3}), {1, 1, 3});
  EXPECT_EQ(conv(x).to_vector<float>(), (std::vector<float>{3, 1, 2}));
  conv.options.padding_mode = PadMode::replicate;
  conv.options.padding = "same";
  EXPECT_EQ(conv(x).to_vector<float>(), (std::vector<float>{1, 1, 2}));
}

TEST(Layers, UnpoolingPutsValuesBack) {
  MaxPool2d pool{2};
  MaxUnpool2d unpool{2};
  EXPECT_EQ(unpool.str(), "MaxUnpool2d(kernel_size=(2, 2), stride=(2, 2), padding=(0, 0))");
  const Tensor x = reshape(tensor({1, 2, 0, 9, 4, 3, 5, 1}), {1, 1, 2, 4});
  const auto [y, where_from] = pool.forward_with_indices(x);
  EXPECT_EQ(y.to_vector<float>(), (std::vector<float>{4, 9}));
  EXPECT_EQ(unpool(y, where_from).to_vector<float>(), (std::vector<float>{0, 0, 0, 9, 4, 0, 0, 0}));
  EXPECT_EQ(unpool(y, where_from, Size2(3, 4)).shape(), Shape({1, 1, 3, 4}));
}

TEST(Layers, BatchNormTracksStatisticsInTrainingAlone) {
  BatchNorm1d bn{1};
  const Tensor x = reshape(tensor({1, 2, 6}), {3, 1});  // mean 3, unbiased variance 7
  bn(x);
  EXPECT_EQ(bn.num_batches_tracked.item<int64_t>(), 1);
  EXPECT_FLOAT_EQ(bn.running_mean.item<float>(), 0.3f);
  EXPECT_FLOAT_EQ(bn.running_var.item<float>(), 0.9f + 0.7f);
  bn.eval();
  const Tensor y = bn(x);
  EXPECT_EQ(bn.num_batches_tracked.item<int64_t>(), 1);
  EXPECT_NEAR(y.to_vector<float>()[0], 0.7 / std::sqrt(1.6 + 1e-5), 1e-6);
  EXPECT_ERROR(bn(ones({2, 3})),
               "[BatchNorm1d] expected 1 channels in dimension 1 (num_features), got 2x3, in "
               "BatchNorm1d");
}

TEST(Layers, DropoutKeepsTheMeanAndDropsWholeChannelsIn2d) {
  manual_seed(3);
  Dropout drop{0.25};
  const Tensor y = drop(ones({10000}));
  EXPECT_NEAR(mean(y).item<double>(), 1, 0.03);
  Dropout2d drop2d{0.5};
  const std::vector<float> planes = drop2d(ones({20, 10, 2, 2})).to_vector<float>();
  int dropped = 0;
  for (size_t i = 0; i < planes.size(); i += 4) {
    EXPECT_TRUE(planes[i] == 0 || planes[i] == 2);
    EXPECT_TRUE(planes[i] == planes[i + 1] && planes[i] == planes[i + 2] && planes[i] == planes[i + 3]);
    dropped += planes[i] == 0;
  }
  EXPECT_NEAR(dropped, 100, 30);
  Dropout2d all{1};
  EXPECT_EQ(sum(all(ones({2, 2, 2, 2}))).item<float>(), 0);
  EXPECT_ERROR(Dropout(1.5), "[Dropout] expected a probability p in [0, 1], got 1.5");
}

TEST(Layers, WrongArgumentsAreToldWhenALayerIsMade) {
  EXPECT_ERROR(Linear(0, 3), "[Linear] expected in_features of at least 1, got 0");
  EXPECT_ERROR(Conv2d(3, 4, {.kernel_size = 3, .groups = 2}),
               "[Conv2d] expected in_channels and out_channels divisible by groups = 2, got 3 and 4");
  EXPECT_ERROR(Conv2d(3, 4, {.kernel_size = {0, 3}}),
               "[Conv2d] expected kernel_size of at least 1, got (0, 3)");
  EXPECT_ERROR(GroupNorm(3, 4), "[GroupNorm] expected num_channels divisible by num_groups, got 4 and 3");
  EXPECT_ERROR(GELU("fast"), "[GELU] expected approximate \"none\" or \"tanh\", got \"fast\"");
  EXPECT_ERROR(Upsample(InterpolateOptions{}),
               "[Upsample] expected either size or scale_factor, got neither");
}

TEST(Losses, EachIsItsFunctionAndHasAGradient) {
  manual_seed(9);
  Tensor x = randn({4, 3});
  x.requires_grad_();
  const Tensor target = randn({4, 3}), classes = Tensor::from(std::vector<int64_t>{0, 2, 1, 2}),
               signs = tensor({1, -1, 1, -1}), bits = rand({4, 3});
  const Tensor weight = tensor({1, 2, 3});
  const auto check = [&](const char* name, const Tensor& got, const Tensor& expected) {
    SCOPED_TRACE(name);
    EXPECT_EQ(got.to_vector<float>(), expected.to_vector<float>());
    x.zero_grad();
    backward(sum(got));
    EXPECT_TRUE(x.grad().defined());
  };
  check("CrossEntropyLoss", CrossEntropyLoss()(x, classes), cross_entropy(x, classes));
  check("CrossEntropyLoss with options",
        CrossEntropyLoss({.weight = weight, .label_smoothing = 0.1})(x, classes),
        cross_entropy(x, classes, {.weight = weight, .label_smoothing = 0.1}));
  Sequential log_probabilities{LogSoftmax{1}};
  check("NLLLoss", NLLLoss({.weight = weight})(log_probabilities(x), classes),
        nll_loss(log_probabilities(x), classes, {.weight = weight}));
  check("MSELoss", MSELoss()(x, target), mse_loss(x, target));
  check("MSELoss, no reduction", MSELoss(Reduction::none)(x, target), mse_loss(x, target, Reduction::none));
  check("L1Loss", L1Loss(Reduction::sum)(x, target), l1_loss(x, target, Reduction::sum));
  check("HuberLoss", HuberLoss({.delta = 0.5})(x, target), huber_loss(x, target, 0.5));
  check("SmoothL1Loss", SmoothL1Loss({.beta = 0.5})(x, target), smooth_l1_loss(x, target, 0.5));
  check("BCELoss", BCELoss()(sigmoid(x), bits), binary_cross_entropy(sigmoid(x), bits));
  check("BCEWithLogitsLoss", BCEWithLogitsLoss({.pos_weight = weight})(x, bits),
        binary_cross_entropy_with_logits(x, bits, {.pos_weight = weight}));
  check("KLDivLoss", KLDivLoss()(log_probabilities(x), bits), kl_div(log_probabilities(x), bits));
  const Tensor labels = sign(target);
  check("HingeLoss", HingeLoss()(x, labels), hinge_loss(x, labels));
  check("HingeEmbeddingLoss", HingeEmbeddingLoss({.margin = 2})(x, labels),
        hinge_embedding_loss(x, labels, 2));
  check("CosineEmbeddingLoss", CosineEmbeddingLoss({.margin = 0.1})(x, target, signs),
        cosine_embedding_loss(x, target, signs, 0.1));
  check("TripletMarginLoss", TripletMarginLoss({.margin = 2})(x, target, bits),
        triplet_margin_loss(x, target, bits, {.margin = 2}));
}

TEST(Losses, WeightsAreBuffers) {
  CrossEntropyLoss loss({.weight = ones({3})});
  ASSERT_EQ(loss.state_dict().size(), 1u);
  EXPECT_EQ(loss.state_dict()[0].first, "weight");
  EXPECT_TRUE(loss.parameters().empty());
  EXPECT_TRUE(BCEWithLogitsLoss().state_dict().empty());
  EXPECT_EQ(loss.str(), "CrossEntropyLoss()");
}

}  // namespace
}  // namespace hebb::nn
