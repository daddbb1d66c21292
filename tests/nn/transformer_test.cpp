// Attention layers beyond their values (tests/ops/functions_golden_test.cpp): names, starts, masks, modes,
// errors.
#include "hebb/nn/transformer.h"

#include <gmock/gmock.h>

#include "hebb/autograd/grad.h"
#include "hebb/ops/attention.h"
#include "hebb/ops/creation.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/join.h"
#include "hebb/ops/minmax.h"
#include "hebb/ops/random.h"
#include "hebb/ops/reduce.h"
#include "hebb/ops/view.h"
#include "tests/support/threads.h"
#include "tests/support/throws.h"

namespace hebb::nn {
namespace {

using test_support::error_of;
using ::testing::ElementsAre;
using ::testing::FloatNear;
using ::testing::HasSubstr;
using ::testing::Pointwise;

std::vector<float> values(const Tensor& t) { return t.to_vector<float>(); }

TEST(MultiheadAttention, NamesShapesAndStartsArePyTorchs) {
  MultiheadAttention net(6, 2);
  std::vector<std::string> names;
  for (const auto& [name, value] : net.state_dict()) names.push_back(name + " " + value.shape().str());
  EXPECT_THAT(
      names, ElementsAre("in_proj_weight 18x6", "in_proj_bias 18", "out_proj.weight 6x6", "out_proj.bias 6"));
  const double bound = std::sqrt(6.0 / (18 + 6));
  EXPECT_LE(amax(abs(net.in_proj_weight)).item<float>(), bound);
  EXPECT_GT(amax(abs(net.in_proj_weight)).item<float>(), 0.9 * bound);
  EXPECT_EQ(values(net.in_proj_bias), std::vector<float>(18));
  EXPECT_EQ(values(net.out_proj.bias), std::vector<float>(6));
  EXPECT_EQ(MultiheadAttention(6, 2, {.dropout = 0.1, .bias = false, .batch_first = true}).extra_repr(),
            "6, 2, dropout=0.1, bias=False, batch_first=True");
}

TEST(MultiheadAttention, WeightsAreSharesOfTheKeysThatMayBeSeen) {
  MultiheadAttention net(8, 2);
  const Tensor x = randn({5, 3, 8});
  const Tensor w = net(x, x, x, AttentionCall{.is_causal = true, .need_weights = true}).weights;
  ASSERT_EQ(w.shape().str(), "3x5x5");
  EXPECT_THAT(values(sum(w, {-1})), Pointwise(FloatNear(1e-6f), std::vector<float>(15, 1)));
  EXPECT_EQ(values(triu(w, 1)), std::vector<float>(75));
  EXPECT_GT(amin(tril(w) + triu(ones({5, 5}), 1)).item<float>(), 0);
}

TEST(MultiheadAttention, AMaskIsTheSameAsCausal) {
  MultiheadAttention net(8, 4, {.batch_first = true});
  const Tensor x = randn({2, 70, 8});  // more than a block of queries
  const Tensor causal = net(x, x, x, AttentionCall{.is_causal = true}).output;
  const Tensor seen = tril(ones({70, 70}));
  const Tensor masked = net(x, x, x, AttentionCall{.mask = seen != 0.0}).output;
  EXPECT_THAT(values(masked), Pointwise(FloatNear(1e-5f), values(causal)));
  const Tensor added = net(x, x, x, AttentionCall{.mask = (seen - 1.0) * 1e9}).output;
  EXPECT_THAT(values(added), Pointwise(FloatNear(1e-5f), values(causal)));
}

TEST(MultiheadAttention, DropsWeightsInTrainingOnly) {
  MultiheadAttention net(8, 2, {.dropout = 0.5});
  const Tensor x = randn({5, 3, 8});
  EXPECT_NE(values(net(x, x, x).output), values(net(x, x, x).output));
  net.eval();
  EXPECT_EQ(values(net(x, x, x).output), values(net(x, x, x).output));
}

// Without the full score matrix, by blocks of queries: as with it, by plain ops.
TEST(Attention, GradientsOfManyBlocksAreThoseOfTheWholeScores) {
  std::vector<Tensor> leaves;
  for (int i = 0; i < 3; ++i) leaves.push_back(randn({2, 131, 20}).requires_grad_());
  const auto &q = leaves[0], &k = leaves[1], &v = leaves[2];
  const Tensor weights = randn({2, 131, 20}), unseen = triu(full({131, 131}, -INFINITY), 1);
  for (const bool causal : {false, true}) {
    const Tensor got = scaled_dot_product_attention(q, k, v, {.causal = causal});
    Tensor scores = matmul(q, transpose(k, 1, 2)) / std::sqrt(20.0);
    if (causal) scores = scores + unseen;
    const Tensor want = matmul(softmax(scores, 2), v);
    EXPECT_THAT(values(got.detach()), Pointwise(FloatNear(2e-6f), values(want.detach())));
    const auto a = grad(std::vector{sum(got * weights)}, leaves),
               b = grad(std::vector{sum(want * weights)}, leaves);
    for (size_t i = 0; i < 3; ++i) EXPECT_THAT(values(a[i]), Pointwise(FloatNear(1e-5f), values(b[i])));
  }
}

// Heads and blocks of queries are shared out over threads.
TEST(Attention, GivesTheSameBitsOnAnyNumberOfThreads) {
  std::vector<Tensor> leaves;
  for (int i = 0; i < 3; ++i) leaves.push_back(randn({3, 130, 20}).requires_grad_());
  test_support::expect_same_bits_for_threads([&] {
    const Tensor y = scaled_dot_product_attention(leaves[0], leaves[1], leaves[2], {.causal = true});
    std::vector<Tensor> results = grad(std::vector{sum(y * y)}, leaves);
    results.push_back(y.detach());
    return results;
  });
}

TEST(Attention, TakesScoresOfAnySize) {
  const Tensor q = full({1, 2}, 200.0), k = Tensor::from(std::vector<float>{100, 100, -100, -100}, {2, 2});
  EXPECT_THAT(values(scaled_dot_product_attention(q, k, Tensor::from(std::vector<float>{3, 4}, {2, 1}))),
              ElementsAre(3));
}

TEST(TransformerEncoderLayer, NamesArePyTorchs) {
  TransformerEncoderLayer net(4, 2, {.dim_feedforward = 8});
  std::vector<std::string> names;
  for (const auto& [name, value] : net.state_dict()) names.push_back(name);
  EXPECT_THAT(names,
              ElementsAre("self_attn.in_proj_weight", "self_attn.in_proj_bias", "self_attn.out_proj.weight",
                          "self_attn.out_proj.bias", "linear1.weight", "linear1.bias", "linear2.weight",
                          "linear2.bias", "norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"));
}

TEST(MultiheadAttention, RefusesWhatDoesNotFit) {
  EXPECT_THAT(error_of([] { MultiheadAttention(6, 4); }),
              HasSubstr("[MultiheadAttention] expected num_heads to divide embed_dim, got 4 and 6"));
  EXPECT_THAT(error_of([] { MultiheadAttention(0, 1); }),
              HasSubstr("expected embed_dim of at least 1, got 0"));
  EXPECT_THAT(error_of([] { TransformerEncoderLayer(4, 2, {.activation = "tanh"}); }),
              HasSubstr("expected an activation of relu, gelu, got \"tanh\""));
  MultiheadAttention net(6, 2);
  const Tensor x = zeros({5, 3, 6});
  EXPECT_THAT(error_of([&] {
                net(x, zeros({5, 3, 4}), x);
              }),
              HasSubstr("expected sequences of shape [L, B, 6] or [L, 6], got 5x3x6, 5x3x4 and 5x3x6"));
  EXPECT_THAT(error_of([&] {
                net(x, zeros({5, 2, 6}), zeros({5, 2, 6}));
              }),
              HasSubstr("expected sequences of one batch, keys as many as values"));
  EXPECT_THAT(error_of([&] {
                net(x, x, x, AttentionCall{.mask = ones({5, 5}), .is_causal = true});
              }),
              HasSubstr("expected a mask or is_causal, got both"));
  EXPECT_THAT(error_of([&] {
                scaled_dot_product_attention(x, x, zeros({5, 2, 6}));
              }),
              HasSubstr("[scaled_dot_product_attention] expected queries [..., L, E], keys [..., S, E]"));
}

}  // namespace
}  // namespace hebb::nn
