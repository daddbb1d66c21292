// Tensors from nothing: values, types, and what is refused.
#include "hebb/ops/creation.h"

#include <cmath>

#include <gtest/gtest.h>

#include "hebb/ops/elementwise.h"
#include "tests/support/throws.h"

namespace hebb {
namespace {

using Values = std::vector<double>;

Values list(const Tensor& t) { return t.to_vector<double>(); }

TEST(Creation, Constants) {
  EXPECT_EQ(list(full({2, 2}, 1.5)), (Values{1.5, 1.5, 1.5, 1.5}));
  EXPECT_EQ(list(full({2}, -3.7, i32)), (Values{-3, -3}));
  EXPECT_EQ(list(full({1}, 0.5, boolean)), (Values{1}));
  EXPECT_EQ(ones({2, 3}).dtype(), f32);
  EXPECT_EQ(zeros({}).numel(), 1);
  const Tensor like = tensor({{1, 2}, {3, 4}}, f64);
  EXPECT_EQ(full_like(like, 7).dtype(), f64);
  EXPECT_EQ(list(ones_like(like)), (Values{1, 1, 1, 1}));
  EXPECT_EQ(list(zeros_like(like)), (Values{0, 0, 0, 0}));
  EXPECT_FALSE(zeros_like(Tensor(like).requires_grad_()).requires_grad());
}

TEST(Creation, Ranges) {
  EXPECT_EQ(list(arange(4)), (Values{0, 1, 2, 3}));
  EXPECT_EQ(arange(4).dtype(), i64);
  EXPECT_EQ(list(arange(2, 11, 3)), (Values{2, 5, 8}));
  EXPECT_EQ(list(arange(5, 0, -2)), (Values{5, 3, 1}));
  EXPECT_EQ(list(arange(0, 1, 0.25, f32)), (Values{0, 0.25, 0.5, 0.75}));
  EXPECT_EQ(arange(0).numel(), 0);
  EXPECT_EQ(arange(3, 3).numel(), 0);
  EXPECT_ERROR(arange(0, 3, 0), "[arange] expected a step that leads from 0 to 3, got 0");
  EXPECT_ERROR(arange(0, 3, -1), "[arange] expected a step that leads from 0 to 3, got -1");
}

TEST(Creation, EvenSpacing) {
  EXPECT_EQ(list(linspace(-1, 1, 5)), (Values{-1, -0.5, 0, 0.5, 1}));
  EXPECT_EQ(list(linspace(3, 9, 1)), (Values{3}));
  EXPECT_EQ(linspace(3, 9, 0).numel(), 0);
  EXPECT_EQ(list(linspace(0, 0.7, 8, f64)).back(), 0.7) << "the end is met exactly";
  EXPECT_ERROR(linspace(0, 1, -1), "[linspace] expected a count of at least 0, got -1");
}

TEST(Creation, Identity) {
  EXPECT_EQ(list(eye(2)), (Values{1, 0, 0, 1}));
  EXPECT_EQ(list(eye(2, 3)), (Values{1, 0, 0, 0, 1, 0}));
  EXPECT_EQ(eye(3, 0).shape(), (Shape{3, 0}));
  EXPECT_EQ(eye(1, 1, i64).dtype(), i64);
}

TEST(Creation, RangesOfFractionsAreFloating) {
  EXPECT_EQ(list(arange(0, 1, 0.25)), (Values{0, 0.25, 0.5, 0.75}));
  EXPECT_EQ(arange(0, 1, 0.25).dtype(), f32);
  EXPECT_EQ(list(arange(2.5)), (Values{0, 1, 2}));
  EXPECT_EQ(arange(2.5).dtype(), f32);
  EXPECT_EQ(arange(3).dtype(), i64);
  EXPECT_EQ(arange(1, 7, 2).dtype(), i64);
}

TEST(Creation, LiteralsFitTheirType) {
  EXPECT_ERROR(tensor({300, -1}, u8), "[tensor] expected values from 0 to 255 for u8, got 300");
  EXPECT_ERROR(tensor({1, -1}, u8), "[tensor] expected values from 0 to 255 for u8, got -1");
  EXPECT_ERROR(tensor({NAN}, i64),
               "[tensor] expected values from -9223372036854775808 to 9223372036854775807 for i64, got nan");
  EXPECT_EQ(list(tensor({-128, 127}, i8)), (Values{-128, 127}));
}

TEST(Creation, Literals) {
  EXPECT_EQ(tensor({1, 2, 3}).shape(), (Shape{3}));
  EXPECT_EQ(tensor({{1, 2, 3}, {4, 5, 6}}).shape(), (Shape{2, 3}));
  EXPECT_EQ(tensor({1.5, 2}, i64).dtype(), i64);
  EXPECT_EQ(tensor({{1}, {2}}).shape(), (Shape{2, 1}));
  EXPECT_EQ(tensor({7}).shape(), (Shape{1}));
  EXPECT_EQ(tensor({{{1, 2}, {3, 4}, {5, 6}}}).shape(), (Shape{1, 3, 2}));
  EXPECT_EQ(list(tensor({{{1, 2}, {3, 4}}, {{5, 6}, {7, 8}}})), (Values{1, 2, 3, 4, 5, 6, 7, 8}));
  EXPECT_EQ(tensor({}).shape(), (Shape{0}));
  EXPECT_EQ(tensor({{}, {}}).shape(), (Shape{2, 0}));
  EXPECT_EQ(tensor(3).ndim(), 0);
  EXPECT_EQ(scalar(2).ndim(), 0);
  EXPECT_ERROR(tensor({{1, 2}, {3}}), "[tensor] expected rows of 2 values, got one of 1");
  EXPECT_ERROR(tensor({{1, 2}, 3}), "[tensor] expected a list beside the others, got a number");
  EXPECT_ERROR(tensor({3, {1, 2}}), "[tensor] expected a number beside the others, got a list");
  EXPECT_ERROR(tensor({{{{{{{{{1}}}}}}}}}), "[tensor] expected at most 8 dimensions, got more braces");
}

TEST(Creation, RefusesNegativeExtents) {
  EXPECT_ERROR(zeros({2, -1}), "[full] expected extents of at least 0, got 2x-1");
  EXPECT_ERROR(eye(-1), "[eye] expected extents of at least 0, got -1x-1");
}

}  // namespace
}  // namespace hebb
