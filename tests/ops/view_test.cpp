// Shapes of the same values: the rules of indexes, what is shared, and what is refused. That every view
// equals a plain model is tested over random shapes in properties_test.cpp.
#include "hebb/ops/view.h"

#include <gtest/gtest.h>

#include "hebb/autograd/grad.h"
#include "hebb/ops/creation.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/reduce.h"
#include "tests/support/throws.h"

namespace hebb {
namespace {

using Values = std::vector<double>;

Values list(const Tensor& t) { return t.to_vector<double>(); }

TEST(Slice, FollowsPython) {
  const Tensor x = arange(5);
  EXPECT_EQ(list(slice(x, 0, -3, -1)), (Values{2, 3}));
  EXPECT_EQ(list(slice(x, 0, -100, 2)), (Values{0, 1})) << "positions beyond the ends are cut";
  EXPECT_EQ(list(slice(x, 0, 3, 100)), (Values{3, 4}));
  EXPECT_EQ(list(slice(x, 0, 4, 1)), (Values{})) << "nothing between";
  EXPECT_EQ(list(slice(x, 0, 5)), (Values{}));
  EXPECT_EQ(list(slice(x, 0, -1)), (Values{4}));
  EXPECT_EQ(list(slice(x, 0, 0, INT64_MAX, 2)), (Values{0, 2, 4}));
  EXPECT_EQ(list(slice(x, 0, 1, INT64_MAX, 10)), (Values{1}));
  const Tensor m = reshape(arange(6), {2, 3});
  EXPECT_EQ(list(slice(m, -1, -2)), (Values{1, 2, 4, 5}));
  EXPECT_EQ(slice(m, 0, 2).shape(), (Shape{0, 3}));
}

TEST(Slice, Refuses) {
  EXPECT_ERROR(slice(arange(5), 0, 0, 5, 0), "[slice] expected a step of at least 1, got 0");
  EXPECT_ERROR(slice(arange(5), 0, 4, 0, -1), "[slice] expected a step of at least 1, got -1");
  EXPECT_ERROR(slice(arange(5), 1), "[slice] expected a dimension in [-1, 0], got 1");
  EXPECT_ERROR(slice(scalar(1), 0), "[slice] expected a tensor with dimensions, got a 0-d tensor");
}

TEST(Select, DropsADimension) {
  const Tensor m = reshape(arange(6), {2, 3});
  EXPECT_EQ(list(select(m, 0, -1)), (Values{3, 4, 5}));
  EXPECT_EQ(list(select(m, -1, 1)), (Values{1, 4}));
  EXPECT_ERROR(select(m, 1, 3), "[select] expected an index in [-3, 2] of dimension 1, got 3");
  EXPECT_ERROR(select(m, 1, -4), "[select] expected an index in [-3, 2] of dimension 1, got -4");
  EXPECT_ERROR(select(scalar(1), 0, 0), "[select] expected a tensor with dimensions, got a 0-d tensor");
}

TEST(Narrow, WantsWhatExists) {
  EXPECT_EQ(list(narrow(arange(5), 0, 1, 3)), (Values{1, 2, 3}));
  EXPECT_EQ(narrow(arange(5), 0, 5, 0).numel(), 0);
  EXPECT_ERROR(narrow(arange(5), 0, 3, 3), "[narrow] expected a range within 5 elements, got 3 from 3");
}

TEST(Split, GivesPieces) {
  const Tensor x = arange(7);
  const auto threes = split(x, 3);
  ASSERT_EQ(threes.size(), 3u);
  EXPECT_EQ(list(threes[1]), (Values{3, 4, 5}));
  EXPECT_EQ(list(threes[2]), (Values{6})) << "the last may be smaller";
  const auto named = split(x, std::vector<int64_t>{2, 0, 5});
  EXPECT_EQ(named[1].numel(), 0);
  EXPECT_EQ(list(named[2]), (Values{2, 3, 4, 5, 6}));
  const auto none = split(zeros({0, 3}), 2);
  ASSERT_EQ(none.size(), 1u) << "of nothing, one empty piece";
  EXPECT_EQ(none[0].shape(), (Shape{0, 3}));
  EXPECT_ERROR(split(x, 0), "[split] expected pieces of at least 1, got 0");
  EXPECT_ERROR(split(x, std::vector<int64_t>{2, 3}), "[split] expected sizes that add up to 7, got 5");
}

TEST(Reshape, WorksOutOneExtent) {
  const Tensor x = zeros({4, 6});
  EXPECT_EQ(reshape(x, {2, -1, 3}).shape(), (Shape{2, 4, 3}));
  EXPECT_EQ(reshape(zeros({0, 3}), {-1, 3}).shape(), (Shape{0, 3}));
  EXPECT_EQ(flatten(zeros({2, 3, 4, 5}), 1, 2).shape(), (Shape{2, 12, 5}));
  EXPECT_EQ(flatten(zeros({2, 3, 4}), -2).shape(), (Shape{2, 12}));
  EXPECT_EQ(unflatten(x, 1, {-1, 2}).shape(), (Shape{4, 3, 2}));
  EXPECT_EQ(unflatten(zeros({2, 0}), 0, {-1, 1}).shape(), (Shape{2, 1, 0}));
  EXPECT_ERROR(reshape(x, {5, -1}), "[reshape] expected a shape of 24 elements (input 4x6), got 5x-1");
  EXPECT_ERROR(reshape(x, {-1, -1}),
               "[reshape] expected extents of at least 0 and at most one -1, got -1x-1");
  EXPECT_ERROR(reshape(x, {-2, -12}),
               "[reshape] expected extents of at least 0 and at most one -1, got -2x-12");
  EXPECT_ERROR(reshape(zeros({0, 3}), {-1, 0}),
               "[reshape] expected a shape of 0 elements (input 0x3), got -1x0");
  EXPECT_ERROR(flatten(x, 1, 0), "[flatten] expected start_dim before end_dim, got 1 and 0");
}

TEST(Reshape, CopiesOnlyWhatStridesCannotSay) {
  const Tensor x = zeros({2, 3, 4}), turned = transpose(x);
  EXPECT_EQ(reshape(turned, {2, 2, 2, 3}).impl()->storage, x.impl()->storage) << "splits a dimension";
  EXPECT_NE(reshape(turned, {2, 12}).impl()->storage, x.impl()->storage)
      << "merges what does not lie together";
  EXPECT_EQ(reshape(slice(x, 0, 1), {12}).impl()->storage, x.impl()->storage);
}

TEST(Permute, WantsEachDimensionOnce) {
  const Tensor x = zeros({2, 3, 4});
  EXPECT_EQ(permute(x, {2, 0, 1}).shape(), (Shape{4, 2, 3}));
  EXPECT_EQ(permute(x, {-1, 0, 1}).shape(), (Shape{4, 2, 3}));
  EXPECT_EQ(transpose(x, 0, -1).shape(), (Shape{4, 3, 2}));
  EXPECT_ERROR(permute(x, {0, 1}), "[permute] expected 3 dimensions, got 2");
  EXPECT_ERROR(permute(x, {0, 1, 1}), "[permute] expected each dimension once, got 1 twice");
  EXPECT_ERROR(permute(x, {0, 1, 3}), "[permute] expected a dimension in [-3, 2], got 3");
  EXPECT_ERROR(transpose(tensor({1, 2})), "[transpose] expected a dimension in [-1, 0], got -2");
}

TEST(Expand, StretchesExtentsOf1) {
  const Tensor x = reshape(arange(3), {3, 1});
  EXPECT_EQ(list(expand(x, {3, 2})), (Values{0, 0, 1, 1, 2, 2}));
  EXPECT_EQ(expand(x, {5, -1, 4}).shape(), (Shape{5, 3, 4}));
  EXPECT_EQ(expand(zeros({1}), {0}).numel(), 0);
  EXPECT_ERROR(expand(x, {4, 2}), "[expand] expected a shape that 3x1 broadcasts to, got 4x2");
  EXPECT_ERROR(expand(x, {3}), "[expand] expected at least 2 dimensions, got 3");
  EXPECT_ERROR(expand(x, {-1, 3, 1}),
               "[expand] expected extents of at least 0, or -1 to keep one, got -1x3x1");
  EXPECT_ERROR(expand(zeros({1}), {-5}),
               "[expand] expected extents of at least 0, or -1 to keep one, got -5");
}

TEST(Squeeze, DropsAndInsertsExtentsOf1) {
  const Tensor x = zeros({1, 3, 1});
  EXPECT_EQ(squeeze(x).shape(), (Shape{3}));
  EXPECT_EQ(squeeze(x, 0).shape(), (Shape{3, 1}));
  EXPECT_EQ(squeeze(x, 1).shape(), x.shape()) << "others stay as they are";
  EXPECT_EQ(unsqueeze(x, -1).shape(), (Shape{1, 3, 1, 1}));
  EXPECT_EQ(unsqueeze(x, 1).shape(), (Shape{1, 1, 3, 1}));
  EXPECT_ERROR(unsqueeze(x, 4), "[unsqueeze] expected a dimension in [-4, 3], got 4");
}

TEST(Views, PassGradientsToWhatTheyShow) {
  const Tensor x = reshape(arange(0, 6, 1, f64), {2, 3}).requires_grad_();
  const Tensor picked = expand(unsqueeze(select(flip(transpose(x), {0}), 0, 0), 0), {4, 2});
  EXPECT_EQ(list(grad(sum(picked), x)), (Values{0, 0, 4, 0, 0, 4})) << "the last column, four times";
  EXPECT_EQ(list(grad(sum(slice(x, 1, 0, 3, 2) * 2), x)), (Values{2, 0, 2, 2, 0, 2}));
}

}  // namespace
}  // namespace hebb
