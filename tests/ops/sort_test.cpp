// Sorting: NaN, ties, 0-d and empty tensors, both directions. The numbers are PyTorch's.
#include "hebb/ops/sort.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "hebb/autograd/grad.h"
#include "hebb/ops/creation.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/reduce.h"
#include "tests/support/throws.h"

namespace hebb {
namespace {

using test_support::error_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsNan;

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

std::vector<double> list(const Tensor& t) { return t.to_vector<double>(); }

TEST(Sort, NanIsLargest) {
  const Tensor x = tensor({3, kNaN, 1, -kInf, kNaN, kInf});
  const auto up = sort(x), down = sort(x, 0, true);
  EXPECT_THAT(list(up.values), ElementsAre(-kInf, 1, 3, kInf, IsNan(), IsNan()));
  EXPECT_THAT(list(up.indices), ElementsAre(3, 2, 0, 5, 1, 4));
  EXPECT_THAT(list(down.values), ElementsAre(IsNan(), IsNan(), kInf, 3, 1, -kInf));
  EXPECT_THAT(list(down.indices), ElementsAre(1, 4, 5, 0, 2, 3));
  EXPECT_THAT(list(topk(x, 3).indices), ElementsAre(1, 4, 5));
  EXPECT_THAT(list(topk(x, 5, -1, false).values), ElementsAre(-kInf, 1, 3, kInf, IsNan()));
}

TEST(Sort, TiesKeepTheirOrder) {
  const Tensor x = tensor({2, 1, 2, 1, 0, -0.0}, f64);
  EXPECT_THAT(list(argsort(x)), ElementsAre(4, 5, 1, 3, 0, 2));
  EXPECT_THAT(list(argsort(x, 0, true)), ElementsAre(0, 2, 1, 3, 4, 5));
  EXPECT_THAT(list(topk(x, 3).indices), ElementsAre(0, 2, 1));
}

TEST(Sort, OtherDimensionsAndTypes) {
  const Tensor x = tensor({{3, 1}, {2, 5}, {9, 4}}, i64);
  EXPECT_THAT(list(sort(x, 0).values), ElementsAre(2, 1, 3, 4, 9, 5));
  EXPECT_THAT(list(sort(x, -2).indices), ElementsAre(1, 0, 0, 2, 2, 1));
  EXPECT_EQ(sort(x).values.dtype(), i64);
  EXPECT_THAT(list(sort(tensor({1, 0, 1}, boolean)).indices), ElementsAre(1, 0, 2));
}

TEST(Sort, ScalarsAndNothing) {
  EXPECT_EQ(sort(scalar(3)).indices.item<int64_t>(), 0);
  EXPECT_EQ(topk(scalar(3), 1).values.item<float>(), 3);
  EXPECT_EQ(sort(zeros({0, 3}), 0).values.shape(), (Shape{0, 3}));
  EXPECT_EQ(topk(zeros({3, 0}), 1, 0).values.shape(), (Shape{1, 0}));
  EXPECT_EQ(topk(zeros({3}), 0).values.shape(), Shape{0});
  EXPECT_THAT(error_of([] { topk(zeros({3}), 4); }),
              HasSubstr("[topk] expected k in [0, 3] along dimension 0"));
  EXPECT_THAT(error_of([] { topk(scalar(3), 2); }), HasSubstr("[topk] expected k in [1, 1]"));
  EXPECT_THAT(error_of([] { sort(zeros({3}), 1); }),
              HasSubstr("[sort] expected a dimension in [-1, 0], got 1"));
}

TEST(Sort, GradientsGoBackToWhereValuesCameFrom) {
  Tensor x = tensor({3, 1, 2}, f64).requires_grad_();
  const Tensor weights = tensor({10, 20, 30}, f64);
  EXPECT_THAT(list(grad(sum(sort(x).values * weights), x)), ElementsAre(30, 10, 20));
  EXPECT_THAT(list(grad(sum(topk(x, 2).values), x)), ElementsAre(1, 0, 1));
  EXPECT_FALSE(sort(x).indices.requires_grad());
  const Tensor y[] = {scalar(2, f64)};
  EXPECT_EQ(gradcheck([](auto in) { return std::vector<Tensor>{sort(in[0]).values}; }, y), "");
}

}  // namespace
}  // namespace hebb
