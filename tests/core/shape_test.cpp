// Shapes, strides, broadcasting.
#include "hebb/core/shape.h"

#include <gtest/gtest.h>

#include "hebb/core/error.h"
#include "tests/support/throws.h"

namespace hebb {
namespace {

TEST(Shape, HoldsUpToEightExtentsInline) {
  const Shape s{1, 2, 3, 4, 5, 6, 7, 8};
  EXPECT_EQ(s.ndim(), 8);
  EXPECT_EQ(s.numel(), 40320);
  EXPECT_EQ(s.str(), "1x2x3x4x5x6x7x8");
  EXPECT_ERROR((Shape{1, 2, 3, 4, 5, 6, 7, 8, 9}), "[Shape] expected at most 8 dimensions, got 9");
  Shape full = s;
  EXPECT_ERROR(full.push_back(1), "[Shape] expected at most 8 dimensions, got one more than 1x2x3x4x5x6x7x8");
}

TEST(Shape, OfAScalarHasOneElement) {
  const Shape s{};
  EXPECT_TRUE(s.empty());
  EXPECT_EQ(s.numel(), 1);
  EXPECT_EQ(s.str(), "scalar");
}

TEST(Shape, WithAnExtentOf0HasNone) { EXPECT_EQ((Shape{3, 0, 5}).numel(), 0); }

TEST(Shape, CountsDimensionsFromBothEnds) {
  Shape s{2, 3, 4};
  EXPECT_EQ(s[-1], 4);
  EXPECT_EQ(s[-3], 2);
  s[-1] = 5;
  EXPECT_EQ(s, (Shape{2, 3, 5}));
  EXPECT_ERROR(s[3], "[Shape] expected a dimension in [-3, 2] of 2x3x5, got 3");
  EXPECT_ERROR(s[-4], "[Shape] expected a dimension in [-3, 2] of 2x3x5, got -4");
  EXPECT_ERROR(s.erase(3), "[Shape] expected a dimension in [0, 2] of 2x3x5, got 3");
  EXPECT_ERROR(s.insert(5, 1), "[Shape] expected a place in [0, 3] of 2x3x5, got 5");
}

TEST(Shape, RefusesMoreElementsThan63Bits) {
  const int64_t big = int64_t{1} << 32;
  EXPECT_ERROR((Shape{big, big}).numel(),
               "[Shape] expected fewer than 2^63 elements, got 4294967296x4294967296");
  EXPECT_EQ((Shape{big, big, 0}).numel(), 0);
}

TEST(Shape, IsEditedInPlace) {
  Shape s{2, 4};
  s.insert(1, 3);
  EXPECT_EQ(s, (Shape{2, 3, 4}));
  s.insert(0, 1);
  s.push_back(5);
  EXPECT_EQ(s, (Shape{1, 2, 3, 4, 5}));
  s.erase(0);
  s.erase(3);
  EXPECT_EQ(s, (Shape{2, 3, 4}));
  EXPECT_EQ(s.back(), 4);
  EXPECT_EQ(Shape::filled(3, 7), (Shape{7, 7, 7}));
}

TEST(Shape, EqualityNeedsTheSameNumberOfDimensions) {
  EXPECT_FALSE((Shape{2, 3}) == (Shape{2, 3, 1}));
  EXPECT_FALSE((Shape{2, 3}) == (Shape{3, 2}));
  EXPECT_EQ(Shape(), Shape());
}

TEST(Strides, AreRowMajor) {
  EXPECT_EQ(contiguous_strides({2, 3, 4}), (Strides{12, 4, 1}));
  EXPECT_EQ(contiguous_strides({}), Strides());
  EXPECT_EQ(contiguous_strides({2, 0, 4}), (Strides{4, 4, 1})) << "an extent of 0 counts as 1";
}

TEST(Strides, AreContiguousWhereOnlyExtentsOf1Differ) {
  EXPECT_TRUE(is_contiguous({2, 3}, {3, 1}));
  EXPECT_FALSE(is_contiguous({2, 3}, {1, 2}));
  EXPECT_TRUE(is_contiguous({2, 1, 3}, {3, 99, 1}));
  EXPECT_TRUE(is_contiguous({1, 1}, {-5, 0}));
  EXPECT_FALSE(is_contiguous({3}, {-1}));
  EXPECT_FALSE(is_contiguous({3}, {0}));
  EXPECT_TRUE(is_contiguous({}, {}));
  EXPECT_TRUE(is_contiguous({4, 0}, {7, 9})) << "nothing to walk";
}

TEST(Dimensions, CountFromBothEnds) {
  EXPECT_EQ(normalize_dim(-1, 3, "f"), 2);
  EXPECT_EQ(normalize_dim(-3, 3, "f"), 0);
  EXPECT_EQ(normalize_dim(2, 3, "f"), 2);
  EXPECT_EQ(normalize_dim(0, 0, "f"), 0) << "a 0-d tensor accepts 0 and -1";
  EXPECT_EQ(normalize_dim(-1, 0, "f"), 0);
  EXPECT_ERROR(normalize_dim(3, 3, "f"), "[f] expected a dimension in [-3, 2], got 3");
  EXPECT_ERROR(normalize_dim(-4, 3, "f"), "[f] expected a dimension in [-3, 2], got -4");
  EXPECT_ERROR(normalize_dim(1, 0, "f"), "[f] expected a dimension in [-1, 0], got 1");
}

TEST(Broadcasting, FollowsNumPy) {
  EXPECT_EQ(broadcast_shapes({2, 3}, {2, 3}, "f"), (Shape{2, 3}));
  EXPECT_EQ(broadcast_shapes({2, 3}, {3}, "f"), (Shape{2, 3}));
  EXPECT_EQ(broadcast_shapes({3}, {2, 1}, "f"), (Shape{2, 3}));
  EXPECT_EQ(broadcast_shapes({7, 1}, {1, 6}, "f"), (Shape{7, 6}));
  EXPECT_EQ(broadcast_shapes({}, {4, 5}, "f"), (Shape{4, 5}));
  EXPECT_EQ(broadcast_shapes({}, {}, "f"), Shape());
  EXPECT_EQ(broadcast_shapes({0, 3}, {1, 3}, "f"), (Shape{0, 3})) << "1 stretches to 0";
  EXPECT_EQ(broadcast_shapes({1}, {0}, "f"), (Shape{0}));
  EXPECT_ERROR(broadcast_shapes({2, 3}, {2, 4}, "f"),
               "[f] expected shapes that broadcast together, got 2x3 and 2x4");
  EXPECT_ERROR(broadcast_shapes({0}, {2}, "f"), "[f] expected shapes that broadcast together, got 0 and 2");
}

}  // namespace
}  // namespace hebb
