// LSTM and LSTMCell beyond their values (tests/ops/functions_golden_test.cpp): names, starts, modes, errors,
// training.
#include "hebb/nn/recurrent.h"

#include <gmock/gmock.h>

#include "hebb/autograd/grad.h"
#include "hebb/graph/compile.h"
#include "hebb/nn/linear.h"
#include "hebb/ops/creation.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/loss.h"
#include "hebb/ops/minmax.h"
#include "hebb/ops/random.h"
#include "hebb/ops/recurrent.h"
#include "hebb/ops/reduce.h"
#include "hebb/ops/view.h"
#include "hebb/optim/adam.h"
#include "tests/support/threads.h"
#include "tests/support/throws.h"

namespace hebb::nn {
namespace {

using test_support::error_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> names(Module& m) {
  std::vector<std::string> out;
  for (const auto& [name, value] : m.state_dict()) out.push_back(name + " " + value.shape().str());
  return out;
}

TEST(LSTM, NamesAndShapesArePyTorchs) {
  LSTM two(3, 2, {.num_layers = 2});
  EXPECT_THAT(names(two),
              ElementsAre("weight_ih_l0 8x3", "weight_hh_l0 8x2", "bias_ih_l0 8", "bias_hh_l0 8",
                          "weight_ih_l1 8x2", "weight_hh_l1 8x2", "bias_ih_l1 8", "bias_hh_l1 8"));
  LSTM plain(3, 2, {.bias = false});
  EXPECT_THAT(names(plain), ElementsAre("weight_ih_l0 8x3", "weight_hh_l0 8x2"));
  LSTMCell cell(3, 2);
  EXPECT_THAT(names(cell), ElementsAre("weight_ih 8x3", "weight_hh 8x2", "bias_ih 8", "bias_hh 8"));
  EXPECT_EQ(LSTM(3, 2, {.num_layers = 2, .batch_first = true, .dropout = 0.5}).extra_repr(),
            "3, 2, num_layers=2, batch_first=True, dropout=0.5");
  EXPECT_EQ(LSTMCell(3, 2, {.bias = false}).extra_repr(), "3, 2, bias=False");
}

TEST(LSTM, StartsUniformWithinOneOverTheRootOfItsSize) {
  LSTM net(50, 100);
  for (const Tensor& p : net.parameters()) {
    EXPECT_LE(amax(abs(p)).item<float>(), 0.1f);
    EXPECT_NEAR(mean(p * p).item<float>(), 0.1 * 0.1 / 3, 4e-4) << p.shape().str();
  }
}

TEST(LSTM, GivesTheStateThatGoesOn) {
  LSTM net(3, 4, {.num_layers = 2});
  const Tensor x = randn({6, 2, 3});
  const LSTMOutput whole = net(x), first = net(narrow(x, 0, 0, 2)),
                   rest = net(narrow(x, 0, 2, 4), first.state);
  EXPECT_EQ(narrow(whole.output, 0, 2, 4).to_vector<float>(), rest.output.to_vector<float>());
  EXPECT_EQ(whole.state.c.to_vector<float>(), rest.state.c.to_vector<float>());
  EXPECT_EQ(select(whole.state.h, 0, 1).to_vector<float>(), select(whole.output, 0, -1).to_vector<float>());
}

TEST(LSTM, ACellIsOneStep) {
  LSTM net(3, 4);
  LSTMCell cell(3, 4);
  const std::vector<Tensor> weights = net.parameters();
  for (size_t i = 0; i < weights.size(); ++i) cell.parameters()[i].assign_(weights[i].detach());
  const Tensor x = randn({5, 2, 3});
  std::optional<LSTMState> state;
  for (int64_t t = 0; t < 5; ++t) state = cell(select(x, 0, t), state);
  EXPECT_EQ(state->h.to_vector<float>(), select(net(x).output, 0, -1).to_vector<float>());
}

TEST(LSTM, DropsBetweenLayersInTrainingOnly) {
  LSTM net(3, 64, {.num_layers = 2, .dropout = 0.5});
  const Tensor x = randn({4, 2, 3});
  const auto run = [&] { return net(x).output.to_vector<float>(); };
  EXPECT_NE(run(), run());
  net.eval();
  EXPECT_EQ(run(), run());
}

// Batches of many rows are shared out over threads, row by row.
TEST(LSTM, GivesTheSameBitsOnAnyNumberOfThreads) {
  const Tensor x = randn({9, 37, 24}), h = randn({37, 40}), c = randn({37, 40}),
               w_ih = randn({160, 24}) * 0.1, w_hh = randn({160, 40}) * 0.1;
  std::vector<Tensor> leaves;
  for (const Tensor& t : {h, c, w_ih, w_hh}) leaves.push_back(t.detach().requires_grad_());
  test_support::expect_same_bits_for_threads([&] {
    const LstmSequence y = lstm(x, leaves[0], leaves[1], leaves[2], leaves[3]);
    return grad(std::vector{sum(y.output * y.output) + sum(y.c)}, leaves);
  });
}

struct Adder : Module {
  LSTM lstm{2, 16};
  Linear out{16, 1};
  Tensor forward(const Tensor& x) { return squeeze(out(lstm(x).output), -1); }
  HEBB_MEMBERS(lstm, out)
};

// The sum of two bits and a carry: what a network without memory cannot learn.
TEST(LSTM, LearnsToAddBinaryNumbers) {
  manual_seed(1);
  Adder net;
  optim::Adam adam(net.parameters(), {.lr = 0.02});
  auto step = compile(
      [&](std::span<const Tensor> in) -> std::vector<Tensor> {
        adam.zero_grad();
        const Tensor loss = binary_cross_entropy_with_logits(net(in[0]), in[1]);
        backward(loss);
        adam.step();
        return {loss};
      },
      {net, adam});
  const auto batch = [](int64_t steps, int64_t count) {
    std::vector<float> x, y;
    std::vector<int> carry(static_cast<size_t>(count));
    const auto bits = randint(0, 2, {steps, count, 2}).to_vector<int64_t>();
    for (size_t i = 0; i < bits.size(); i += 2) {
      const size_t row = i / 2 % static_cast<size_t>(count);
      const auto sum = static_cast<int>(bits[i] + bits[i + 1]) + carry[row];
      x.insert(x.end(), {static_cast<float>(bits[i]), static_cast<float>(bits[i + 1])});
      y.push_back(static_cast<float>(sum % 2));
      carry[row] = sum / 2;
    }
    return std::vector<Tensor>{Tensor::from(x, {steps, count, 2}), Tensor::from(y, {steps, count})};
  };
  for (int i = 0; i < 300; ++i) step(batch(8, 32));
  const auto test = batch(20, 100);  // longer numbers than it was taught
  const Tensor right = to(net(test[0]) > 0.0, f32) == test[1];
  EXPECT_GT(mean(to(right, f32)).item<float>(), 0.99f);
}

TEST(LSTM, RefusesWhatDoesNotFit) {
  LSTM net(3, 4, {.num_layers = 2}), first(3, 4, {.batch_first = true});
  EXPECT_THAT(error_of([] { LSTM(0, 4); }), HasSubstr("[LSTM] expected input_size of at least 1, got 0"));
  EXPECT_THAT(error_of([] { LSTM(3, 4, {.num_layers = 0}); }),
              HasSubstr("expected num_layers of at least 1, got 0"));
  EXPECT_THAT(error_of([] { LSTM(3, 4, {.dropout = 1.5}); }),
              HasSubstr("[LSTM] expected a probability p in [0, 1]"));
  EXPECT_THAT(error_of([&] {
                net(zeros({5, 2, 4}));
              }),
              HasSubstr("[LSTM] expected an input of shape [steps, batch, 3] or [steps, 3], got 5x2x4"));
  EXPECT_THAT(error_of([&] { first(zeros({3})); }),
              HasSubstr("[LSTM] expected an input of shape [batch, steps, 3] or [steps, 3], got 3"));
  EXPECT_THAT(error_of([&] { net(zeros({0, 2, 3})); }), HasSubstr("expected a sequence of one step or more"));
  EXPECT_THAT(error_of([&] {
                net(zeros({5, 2, 3}), LSTMState{zeros({1, 2, 4}), zeros({2, 2, 4})});
              }),
              HasSubstr("[LSTM] expected a state h of shape 2x2x4, got 1x2x4"));
  EXPECT_THAT(error_of([&] {
                net(zeros({5, 2, 3}), LSTMState{zeros({2, 2, 4}), {}});
              }),
              HasSubstr("[LSTM] expected a state c of shape 2x2x4, got an undefined tensor"));
  LSTMCell cell(3, 4);
  EXPECT_THAT(error_of([&] {
                cell(zeros({2, 2}));
              }),
              HasSubstr("[LSTMCell] expected an input of shape [batch, 3] or [3], got 2x2"));
  EXPECT_THAT(error_of([&] {
                lstm(zeros({2, 3}), zeros({2, 4}), zeros({2, 4}), zeros({16, 3}), zeros({16, 4}));
              }),
              HasSubstr("[lstm] expected a sequence [steps, batch, features], got 2x3"));
}

}  // namespace
}  // namespace hebb::nn
