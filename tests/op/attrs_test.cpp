// Attributes: equality, hash and text from one list of fields, and the value that forgets the type.
#include "hebb/op/attrs.h"

#include <gtest/gtest.h>

#include <set>

namespace hebb {
namespace {

struct All {
  bool on = false;
  int64_t count = 3;
  double scale = 0.5;
  Shape shape{2, 3};
  DType dtype = f32;
  std::array<int64_t, 2> pair{1, 2};
  std::array<double, 3> weights{0.25, 1, -2};
  HEBB_FIELDS(on, count, scale, shape, dtype, pair, weights)
};
struct Twin {  // the fields of Pair under another type
  int64_t a = 1, b = 2;
  HEBB_FIELDS(a, b)
};
struct Pair {
  int64_t a = 1, b = 2;
  HEBB_FIELDS(a, b)
};

// One change to each field.
std::vector<All> variants() {
  std::vector<All> v(11);
  v[1].on = true;
  v[2].count = -3;
  v[3].scale = 0.5000001;
  v[4].shape = {3, 2};
  v[5].shape = {2, 3, 1};
  v[6].dtype = bf16;
  v[7].pair = {2, 1};
  v[8].pair = {1, 3};
  v[9].weights[0] = 0;
  v[10].weights[2] = 2;
  return v;
}

TEST(Attrs, AreEqualWhenEveryFieldIs) {
  const auto all = variants();
  for (size_t i = 0; i < all.size(); ++i)
    for (size_t j = 0; j < all.size(); ++j)
      EXPECT_EQ(Attrs(all[i]) == Attrs(All(all[j])), i == j) << i << " and " << j;
}

TEST(Attrs, HashEachField) {
  std::set<size_t> hashes;
  for (const All& a : variants()) {
    hashes.insert(Attrs(a).hash());
    EXPECT_EQ(Attrs(a).hash(), Attrs(All(a)).hash());
  }
  EXPECT_EQ(hashes.size(), variants().size());
}

TEST(Attrs, HashTheOrderOfNumbers) {
  EXPECT_NE(Attrs(Pair{1, 2}).hash(), Attrs(Pair{2, 1}).hash());
  std::set<size_t> hashes;
  for (int64_t a = -30; a < 30; ++a)
    for (int64_t b = -30; b < 30; ++b) hashes.insert(Attrs(Pair{a, b}).hash());
  EXPECT_EQ(hashes.size(), 3600u);
}

TEST(Attrs, EqualOnesHashAlike) {
  All plus, minus;
  plus.scale = 0.0;
  minus.scale = -0.0;
  EXPECT_TRUE(Attrs(plus) == Attrs(minus));
  EXPECT_EQ(Attrs(plus).hash(), Attrs(minus).hash());
  // A shape compares and hashes by the extents in use, not by what lies behind them.
  All longer;
  longer.shape = {2, 3, 7};
  longer.shape.erase(2);
  EXPECT_TRUE(Attrs(longer) == Attrs(All{}));
  EXPECT_EQ(Attrs(longer).hash(), Attrs(All{}).hash());
}

TEST(Attrs, OfDifferentTypesDiffer) {
  EXPECT_FALSE(Attrs(Pair{}) == Attrs(Twin{}));
  EXPECT_FALSE(Attrs(Pair{}) == Attrs());
  EXPECT_TRUE(Attrs() == Attrs());
}

TEST(Attrs, PrintTheirFields) {
  const std::string rest = "count=3, scale=0.5, shape=2x3, dtype=f32, pair=(1, 2), weights=(0.25, 1, -2)";
  EXPECT_EQ(Attrs(All{}).str(), rest);  // what is false is left out
  EXPECT_EQ(Attrs(All{.on = true}).str(), "on=true, " + rest);
  EXPECT_EQ(Attrs().str(), "");
}

TEST(Attrs, AreCopiedByValue) {
  All original;
  original.count = 41;
  Attrs a = original;
  original.count = 0;
  EXPECT_EQ(a.as<All>().count, 41);
  Attrs b = a;
  EXPECT_TRUE(a == b);
  a = Attrs(Pair{5, 6});
  EXPECT_EQ(b.as<All>().count, 41);
  EXPECT_EQ(a.as<Pair>().b, 6);
  a = Attrs();
  EXPECT_TRUE(a == Attrs());
}

}  // namespace
}  // namespace hebb
