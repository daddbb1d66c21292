// Edge cases of indexing and joining: indices out of range, empty and 0-d tensors, repeated indices, padding
// rows, thread counts. The numbers are PyTorch's.
#include "hebb/ops/index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "hebb/autograd/grad.h"
#include "hebb/op/dispatch.h"
#include "hebb/ops/creation.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/random.h"
#include "hebb/ops/reduce.h"
#include "hebb/ops/view.h"
#include "tests/support/threads.h"
#include "tests/support/throws.h"

namespace hebb {
namespace {

using test_support::error_of;
using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pointwise;

std::vector<double> list(const Tensor& t) { return t.to_vector<double>(); }

TEST(Index, OutOfRangeNamesPositionAndValue) {
  const Tensor x = zeros({4, 3});
  for (const char* backend : {"cpu", "reference"}) {
    const BackendScope scope(backend);
    for (const DType t : {i32, i64}) {
      const Tensor high = tensor({0, 3, 4}, t), low = tensor({0, -1, 2}, t);
      EXPECT_THAT(error_of([&] { index_select(x, 0, high); }),
                  HasSubstr("[index_select] expected indices in [0, 4), got 4 at position 2"));
      EXPECT_THAT(error_of([&] { index_select(x, 1, low); }),
                  HasSubstr("[index_select] expected indices in [0, 3), got -1 at position 1"));
      EXPECT_THAT(error_of([&] { index_add(x, 0, high, zeros({3, 3})); }), HasSubstr("[index_add] expected"));
      EXPECT_THAT(error_of([&] {
                    gather(x, 0, reshape(high, {1, 3}));
                  }),
                  HasSubstr("[gather] expected indices in [0, 4), got 4 at position 2"));
      EXPECT_THAT(error_of([&] {
                    scatter_add(x, 1, reshape(low, {3, 1}), zeros({3, 1}));
                  }),
                  HasSubstr("[scatter_add] expected indices in [0, 3), got -1 at position 1"));
      EXPECT_THAT(error_of([&] { embedding(high, x); }), HasSubstr("[embedding] expected indices in [0, 4)"));
      EXPECT_THAT(error_of([&] { one_hot(low, 3); }),
                  HasSubstr("[one_hot] expected indices in [0, 3), got -1"));
      EXPECT_THAT(error_of([&] { index_select(zeros({0, 3}), 0, high); }), HasSubstr("in [0, 0), got 0"));
    }
  }
}

TEST(Index, GatherAndScatterAddAreEachOthersGradient) {
  Tensor x = reshape(arange(0, 6, 1, f64), {2, 3}).requires_grad_();
  const Tensor index = tensor({{2, 2, 0, 1}, {0, 1, 1, 1}}, i64);
  const Tensor y = gather(x, -1, index);
  EXPECT_THAT(list(y), ElementsAre(2, 2, 0, 1, 3, 4, 4, 4));
  EXPECT_THAT(list(grad(sum(y), x)), ElementsAre(1, 1, 2, 1, 3, 0));
  // An index smaller than both sides, and a source larger than the index.
  Tensor src = ones({3, 3}, f64).requires_grad_();
  const Tensor z = scatter_add(x, 0, tensor({{1, 0}}, i64), src);
  EXPECT_THAT(list(z), ElementsAre(0, 2, 2, 4, 4, 5));
  EXPECT_THAT(list(grad(sum(z * x.detach()), src, {}, {.retain_graph = true})),
              ElementsAre(3, 1, 0, 0, 0, 0, 0, 0, 0));
  EXPECT_THAT(list(grad(sum(z), x)), ElementsAre(1, 1, 1, 1, 1, 1));
}

TEST(Index, ScalarsAndNothing) {
  EXPECT_EQ(gather(scalar(5), 0, full({}, 0, i64)).item<float>(), 5);
  EXPECT_EQ(index_select(scalar(5), 0, tensor({0}, i64)).ndim(), 0);
  EXPECT_EQ(index_select(zeros({2, 3}), 1, full({}, 2, i64)).shape(), (Shape{2, 1}));
  EXPECT_EQ(index_select(zeros({2, 3}), 0, zeros({0}, i64)).shape(), (Shape{0, 3}));
  EXPECT_EQ(gather(zeros({2, 3}), 1, zeros({2, 0}, i64)).shape(), (Shape{2, 0}));
  EXPECT_EQ(embedding(zeros({0, 2}, i64), zeros({4, 3})).shape(), (Shape{0, 2, 3}));
  EXPECT_EQ(one_hot(zeros({0}, i64), 3).shape(), (Shape{0, 3}));
  EXPECT_THAT(list(scatter_add(tensor({1, 2}), 0, zeros({0}, i64), zeros({0}))), ElementsAre(1, 2));
  EXPECT_THAT(list(index_add(tensor({1, 2}), 0, zeros({0}, i64), zeros({0}))), ElementsAre(1, 2));
  Tensor x = ones({2}, f64).requires_grad_();
  EXPECT_THAT(list(grad(sum(index_select(x, 0, zeros({0}, i64))), x)), ElementsAre(0, 0));
}

TEST(Index, RepeatedIndicesAdd) {
  const Tensor index = tensor({1, 0, 1, 1}, i32);
  EXPECT_THAT(list(index_add(tensor({10, 20}), 0, index, tensor({1, 2, 3, 4}))), ElementsAre(12, 28));
  Tensor x = tensor({{1, 2}, {3, 4}}, f64).requires_grad_();
  EXPECT_THAT(list(index_select(x, 1, index)), ElementsAre(2, 1, 2, 2, 4, 3, 4, 4));
  EXPECT_THAT(list(grad(sum(index_select(x, 1, index)), x)), ElementsAre(1, 3, 1, 3));
}

TEST(Index, PaddingRowsGetNoGradient) {
  Tensor weight = ones({3, 2}, f64).requires_grad_();
  const Tensor words = tensor({{0, 2, 2}, {1, 0, 1}}, i64);
  EXPECT_THAT(list(grad(sum(embedding(words, weight)), weight)), ElementsAre(2, 2, 2, 2, 2, 2));
  EXPECT_THAT(list(grad(sum(embedding(words, weight, 0)), weight)), ElementsAre(0, 0, 2, 2, 2, 2));
  EXPECT_THAT(list(grad(sum(embedding(words, weight, -1)), weight)), ElementsAre(2, 2, 2, 2, 0, 0));
  EXPECT_THAT(error_of([&] { embedding(words, weight, 3); }),
              HasSubstr("expected a padding_idx in [-3, 2], got 3"));
}

TEST(Index, OneHotFindsItsClasses) {
  EXPECT_THAT(list(one_hot(tensor({2, 0}, i64))), ElementsAre(0, 0, 1, 1, 0, 0));
  EXPECT_EQ(one_hot(full({}, 1, i32), 4).shape(), Shape{4});
  EXPECT_THAT(error_of([] { one_hot(zeros({0}, i64)); }), HasSubstr("[one_hot] expected num_classes"));
}

TEST(Index, CatPromotesAndSkipsNothing) {
  const Tensor y = cat({tensor({1}, i64), tensor({1.5})});
  EXPECT_EQ(y.dtype(), f32);
  EXPECT_THAT(list(y), ElementsAre(1, 1.5));
  Tensor nothing = zeros({0}).requires_grad_(), x = ones({2, 2}).requires_grad_();
  const Tensor z = cat({nothing, x, x}, -1);
  EXPECT_EQ(z.shape(), (Shape{2, 4}));
  const Tensor wanted[] = {nothing, x}, total[] = {sum(z)};
  const std::vector<Tensor> g = grad(total, wanted);
  EXPECT_EQ(g[0].shape(), Shape{0});
  EXPECT_THAT(list(g[1]), ElementsAre(2, 2, 2, 2));
  EXPECT_EQ(cat({zeros({0}), zeros({0})}).shape(), Shape{0});
  EXPECT_THAT(error_of([] { cat({}); }), HasSubstr("[cat] expected at least one tensor, got none"));
  EXPECT_THAT(error_of([] {
                cat({scalar(1), scalar(2)});
              }),
              HasSubstr("[cat] expected tensors with dimensions"));
}

TEST(Index, StackMakesADimension) {
  const Tensor a = tensor({1, 2}), b = tensor({3, 4});
  EXPECT_THAT(list(stack({a, b}, -1)), ElementsAre(1, 3, 2, 4));
  EXPECT_EQ(stack({scalar(1), scalar(2)}).shape(), Shape{2});
  EXPECT_THAT(error_of([&] { stack({a, scalar(1)}); }), HasSubstr("[stack] expected tensors of one shape"));
}

TEST(Index, PadModes) {
  const Tensor x = reshape(arange(0, 4, 1, f64), {1, 4});
  EXPECT_THAT(list(pad(x, {1, 2}, PadMode::constant, 9)), ElementsAre(9, 0, 1, 2, 3, 9, 9));
  EXPECT_THAT(list(pad(x, {2, 3}, PadMode::reflect)), ElementsAre(2, 1, 0, 1, 2, 3, 2, 1, 0));
  EXPECT_THAT(list(pad(x, {2, 3}, PadMode::replicate)), ElementsAre(0, 0, 0, 1, 2, 3, 3, 3, 3));
  EXPECT_THAT(list(pad(x, {2, 3}, PadMode::circular)), ElementsAre(2, 3, 0, 1, 2, 3, 0, 1, 2));
  EXPECT_EQ(pad(x, {1, 2, 3, 4}).shape(), (Shape{8, 7}));
  EXPECT_EQ(list(pad(zeros({0}), {1, 1}, PadMode::constant, 2)), (std::vector<double>{2, 2}));
  const double inf = std::numeric_limits<double>::infinity();
  EXPECT_EQ(list(pad(x, {1, 0}, PadMode::constant, -inf))[0], -inf);
  EXPECT_THAT(error_of([&] {
                pad(x, {-1, 0});
              }),
              HasSubstr("[pad] expected amounts of at least 0, got -1 and 0"));
  EXPECT_THAT(error_of([&] { pad(x, {1}); }), HasSubstr("got 1 amounts"));
  EXPECT_THAT(error_of([&] { pad(x, {4, 0}, PadMode::reflect); }), HasSubstr("expected amounts in [0, 3]"));
  Tensor leaf = x.detach().requires_grad_();
  EXPECT_THAT(list(grad(sum(pad(leaf, {2, 3}, PadMode::reflect)), leaf)), ElementsAre(2, 3, 3, 1));
  EXPECT_THAT(list(grad(sum(pad(leaf, {2, 3}, PadMode::constant, 5)), leaf)), ElementsAre(1, 1, 1, 1));
}

TEST(Index, RollTurns) {
  const Tensor x = reshape(arange(6), {2, 3});
  EXPECT_THAT(list(roll(x, {1, -1}, {0, 1})), ElementsAre(4, 5, 3, 1, 2, 0));
  EXPECT_THAT(list(roll(x, 1)), ElementsAre(5, 0, 1, 2, 3, 4));
  EXPECT_THAT(list(roll(x, {-4}, {-1})), ElementsAre(1, 2, 0, 4, 5, 3));
  EXPECT_EQ(roll(zeros({0}), 3).shape(), Shape{0});
  EXPECT_EQ(roll(scalar(2), 3).item<float>(), 2);
}

TEST(Index, Triangles) {
  const Tensor x = reshape(arange(1, 7), {2, 3});
  EXPECT_THAT(list(tril(x)), ElementsAre(1, 0, 0, 4, 5, 0));
  EXPECT_THAT(list(tril(x, 1)), ElementsAre(1, 2, 0, 4, 5, 6));
  EXPECT_THAT(list(triu(x, -5)), ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_THAT(list(triu(x, 1)), ElementsAre(0, 2, 3, 0, 0, 6));
  EXPECT_THAT(list(tril(x, -9)), ElementsAre(0, 0, 0, 0, 0, 0));
  EXPECT_EQ(triu(zeros({2, 0, 3})).shape(), (Shape{2, 0, 3}));
}

TEST(Index, AnyNumberOfThreadsGivesTheSameBits) {
  const Tensor index = randint(0, 50, {3000});
  const Tensor rows = randn({3000, 40}), lines = randn({40, 3000});
  const Tensor each = randint(0, 50, {3000, 40});
  const auto results = [&]() -> std::vector<Tensor> {
    return {index_add(zeros({50, 40}), 0, index, rows),
            index_add(zeros({40, 50}), 1, index, lines),
            scatter_add(zeros({50, 40}), 0, each, rows),
            scatter_add(zeros({3000, 50}), 1, each, rows),
            index_select(rows, 0, index),
            gather(rows, 0, each),
            embedding(each, rows)};
  };
  test_support::expect_same_bits_for_threads(results);
  const std::vector<Tensor> fast = results();
  const BackendScope scope("reference");
  EXPECT_EQ(gather(rows, 0, each).to_vector<float>(), fast[5].to_vector<float>());
  EXPECT_THAT(list(scatter_add(zeros({50, 40}), 0, each, rows)), Pointwise(DoubleNear(1e-4), list(fast[2])));
}

}  // namespace
}  // namespace hebb
