// The worked examples that courses print, in one table: each is run through ops, layers or the summary and
// must give the numbers that a student works out by hand.
#include <gtest/gtest.h>

#include "hebb/autograd/grad.h"
#include "hebb/nn/activation.h"
#include "hebb/nn/container.h"
#include "hebb/nn/conv.h"
#include "hebb/nn/linear.h"
#include "hebb/nn/pooling.h"
#include "hebb/ops/conv.h"
#include "hebb/ops/creation.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/matmul.h"
#include "hebb/ops/minmax.h"
#include "hebb/ops/reduce.h"
#include "hebb/ops/view.h"
#include "hebb/train/summary.h"

namespace hebb {
namespace {

using Values = std::vector<double>;

struct Example {
  const char* name;
  Values (*run)();
  Values expected;
  double tolerance = 0;
};
void PrintTo(const Example& e, std::ostream* out) { *out << e.name; }

Tensor image(const Tensor& rows) { return reshape(rows, {1, 1, rows.size(0), rows.size(1)}); }
Values list(const Tensor& t) { return t.to_vector<double>(); }
Values joined(std::initializer_list<Tensor> tensors) {
  Values all;
  for (const Tensor& t : tensors)
    for (const double v : list(t)) all.push_back(v);
  return all;
}

const Tensor& picture() {
  static const Tensor t =
      image(tensor({{3, 3, 2, 1, 0}, {0, 0, 1, 3, 1}, {3, 1, 2, 2, 3}, {2, 0, 0, 2, 2}, {2, 0, 0, 0, 1}}));
  return t;
}
const Tensor& kernel() {
  static const Tensor t = image(tensor({{0, 1, 2}, {2, 2, 0}, {0, 1, 2}}));
  return t;
}

// Height and width that one output value sees, and the number of parameters.
template <class... Layers>
Values seen_and_parameters(int64_t channels, Layers&&... layers) {
  nn::Sequential net(std::forward<Layers>(layers)...);
  const train::Summary s = train::summarize(net, {1, channels, 16, 16});
  return {double(s.receptive_field[0]), double(s.receptive_field[1]), double(s.parameters)};
}
nn::Conv2d conv(int64_t in, int64_t out, Size2 size) { return {in, out, {.kernel_size = size}}; }

// The slope of ten layers sigmoid(x - 0.5): each is at its steepest when the first gets 0.5.
Tensor slope_of_ten_sigmoids(const Tensor& at) {
  nn::Sequential net;
  for (int i = 0; i < 10; ++i) {
    nn::Linear shift{1, 1};
    shift.weight.assign_(ones({1, 1}));
    shift.bias.assign_(full({1}, -0.5));
    net.push_back(std::move(shift));
    net.push_back(nn::Sigmoid{});
  }
  const Tensor x = reshape(at, {-1, 1}).requires_grad_();
  return grad(sum(net(x)), x);
}

Tensor sigmoid_slope(const Tensor& at) {
  const Tensor x = at.detach().requires_grad_();
  return grad(sum(sigmoid(x)), x);
}

// F(x) = tanh(x) W^T + b on single numbers, alone and with a shortcut around it.
nn::Graph block(bool shortcut) {
  nn::Linear fc{1, 1};
  fc.weight.assign_(full({1, 1}, 3));
  fc.bias.assign_(full({1}, 0.25));
  nn::Graph g;
  g.add("tanh", nn::Tanh{});
  g.add("fc", std::move(fc));
  if (shortcut) g.add("sum", nn::Add{}, {"fc", nn::Graph::kInput});
  return g;
}
Tensor slope_of_block(bool shortcut) {
  nn::Graph net = block(shortcut);
  const Tensor x = reshape(tensor({-2, -0.5, 0, 1, 3}), {5, 1}).requires_grad_();
  return grad(sum(net(x)), x);
}

const Example kExamples[] = {
    {"Convolution", [] { return list(conv2d(picture(), kernel())); }, {12, 12, 17, 10, 17, 19, 9, 6, 14}},
    {"ConvolutionLayer",
     [] {
       nn::Conv2d layer{1, 1, {.kernel_size = 3, .bias = false}};
       layer.weight.assign_(kernel());
       return list(layer(picture()));
     },
     {12, 12, 17, 10, 17, 19, 9, 6, 14}},
    {"TransposedConvolution",
     [] {
       nn::ConvTranspose2d layer{
           1, 1, {.kernel_size = 3, .stride = 2, .padding = 1, .output_padding = 1, .bias = false}};
       layer.weight.assign_(ones({1, 1, 3, 3}));
       return list(layer(image(tensor({{1, 2}, {3, 4}}))));
     },
     {1, 3, 2, 2, 4, 10, 6, 6, 3, 7, 4, 4, 3, 7, 4, 4}},

    // s'(x) = s (1 - s) is largest at 0, where s = 1/2.
    {"LargestSlopeOfTheSigmoid",
     [] {
       const Tensor slopes = sigmoid_slope(linspace(-8, 8, 1601));
       return joined({max(slopes), argmax(slopes)});
     },
     {0.25, 800}},
    {"TenSigmoidsAtTheirSteepest",
     [] { return list(slope_of_ten_sigmoids(tensor({0.5}))); },
     {9.5367431640625e-7}},
    {"TenSigmoidsPassNoMoreAnywhere",
     [] {
       const Tensor slopes = slope_of_ten_sigmoids(linspace(-8, 8, 161));
       return Values{max(slopes).item<double>() <= 9.54e-7 ? 1. : 0.,
                     min(slopes).item<double>() > 0 ? 1. : 0.};
     },
     {1, 1}},

    {"Two3x3See5x5With20Parameters",
     [] { return seen_and_parameters(1, conv(1, 1, 3), conv(1, 1, 3)); },
     {5, 5, 20}},
    {"One5x5Has26", [] { return seen_and_parameters(1, conv(1, 1, 5)); }, {5, 5, 26}},
    {"FourNarrowOnesHave16",
     [] {
       return seen_and_parameters(1, conv(1, 1, {1, 3}), conv(1, 1, {3, 1}), conv(1, 1, {1, 3}),
                                  conv(1, 1, {3, 1}));
     },
     {5, 5, 16}},
    {"PoolingBetweenSees8x8",
     [] { return seen_and_parameters(1, conv(1, 1, 3), nn::MaxPool2d{2}, conv(1, 1, 3)); },
     {8, 8, 20}},
    {"From16To32ChannelsBy3x3", [] { return seen_and_parameters(16, conv(16, 32, 3)); }, {3, 3, 4640}},
    {"TheSameThrough1x1To8Channels",
     [] { return seen_and_parameters(16, conv(16, 8, 1), conv(8, 32, 3)); },
     {3, 3, 2472}},

    // Without an activation between them, W2 (W1 x + b1) + b2 = (W2 W1) x + (W2 b1 + b2).
    {"TwoLinearLayersAreOne",
     [] {
       nn::Linear first{2, 2}, second{2, 2}, one{2, 2};
       first.weight.assign_(tensor({{1, 2}, {3, 4}}));
       first.bias.assign_(tensor({1, 1}));
       second.weight.assign_(tensor({{1, -1}, {2, 0}}));
       second.bias.assign_(tensor({0, 5}));
       one.weight.assign_(matmul(second.weight, first.weight));
       one.bias.assign_(matmul(second.weight, first.bias) + second.bias);
       const Tensor x = tensor({{1, 1}, {-2, 3}});
       return joined({one.weight, one.bias, second(first(x)), one(x)});
     },
     {-2, -2, 2, 4, 0, 7, -4, 13, -2, 15, -4, 13, -2, 15}},

    {"AShortcutAdds1ToTheGradient",
     [] { return list(slope_of_block(true) - slope_of_block(false)); },
     {1, 1, 1, 1, 1},
     1e-6},
    // F'(x) = 3 (1 - tanh(x)^2), from tables.
    {"TheGradientWithoutTheShortcut",
     [] { return list(slope_of_block(false)); },
     {0.211952, 2.359343, 3, 1.259923, 0.029598},
     1e-5},
};

class Textbook : public testing::TestWithParam<Example> {};

TEST_P(Textbook, Prints) {
  const Example& e = GetParam();
  const Values got = e.run();
  ASSERT_EQ(got.size(), e.expected.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], e.expected[i], e.tolerance) << "number " << i;
}

INSTANTIATE_TEST_SUITE_P(Examples, Textbook, testing::ValuesIn(kExamples),
                         [](const auto& example) { return std::string(example.param.name); });

}  // namespace
}  // namespace hebb
