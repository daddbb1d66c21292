// Data sets in memory: what a batch holds, and how pixels become numbers.
#include "hebb/data/dataset.h"

#include "hebb/ops/view.h"
#include "tests/io/files.h"

namespace hebb::data {
namespace {

using io::test::error_of;
using ::testing::ElementsAre;
using ::testing::FloatEq;
using ::testing::FloatNear;
using ::testing::HasSubstr;
using ::testing::Pointwise;

std::vector<float> values(const Tensor& t) { return t.to_vector<float>(); }

TEST(Normalize, ScalesBytesThenEachChannel) {
  const Tensor x = Tensor::from(std::vector<uint8_t>{0, 255, 51, 102, 0, 255, 51, 102}, {2, 2, 2});
  const Tensor y = normalize(x, {{0.5, 0.2}, {0.25, 0.1}});
  EXPECT_EQ(y.dtype(), f32);
  EXPECT_EQ(y.shape(), x.shape());
  EXPECT_THAT(values(y), Pointwise(FloatNear(1e-6), {-2.f, 2.f, 0.f, 2.f, -2.f, 2.f, 0.f, 2.f}));
  EXPECT_THAT(values(normalize(x, {})), Pointwise(FloatEq(), {0.f, 1.f, .2f, .4f, 0.f, 1.f, .2f, .4f}));
  EXPECT_THAT(values(normalize(x, {{0.2}, {0.4}})),
              Pointwise(FloatNear(1e-6), {-.5f, 2.f, 0.f, .5f, -.5f, 2.f, 0.f, .5f}))
      << "one value serves all channels";
}

TEST(Normalize, ScalesOnlyBytes) {
  EXPECT_THAT(values(normalize(Tensor::from(std::vector<float>{1, 2, 3}, {3, 1}), {{2}, {0.5}})),
              ElementsAre(-2, 0, 2));
  EXPECT_THAT(values(normalize(Tensor::from(std::vector<int64_t>{7, 255}, {2, 1}), {})), ElementsAre(7, 255));
}

TEST(Normalize, TakesAnyStrides) {
  const Tensor x = Tensor::from(std::vector<float>{1, 2, 3, 4, 5, 6}, {2, 3});
  EXPECT_THAT(values(normalize(transpose(x, 0, 1), {{1, 4}, {1, 2}})), ElementsAre(0, 0, 1, .5, 2, 1));
}

TEST(Normalize, WantsAValueForEachChannel) {
  const Tensor x = Tensor::from(std::vector<float>(6), {1, 3, 2});
  EXPECT_EQ(error_of([&] {
              normalize(x, {{0, 0}, {1, 1}});
            }),
            "[normalize] expected one mean and std, or one for each of 3 channels, got 2 and 2");
  EXPECT_THAT(error_of([&] { normalize(x, {{0, 0, 0}, {1}}); }), HasSubstr("got 3 and 1"));
}

ArrayDataset counting_set() {
  return {Tensor::from(std::vector<float>{0, 1, 2, 3, 4, 5}, {3, 2}),
          Tensor::from(std::vector<int64_t>{7, 8, 9})};
}

TEST(ArrayDataset, GivesSamplesInTheOrderAsked) {
  const ArrayDataset set = counting_set();
  EXPECT_EQ(set.size(), 3);
  const int64_t order[] = {2, 0, 2};
  const Batch b = set.batch(order);
  EXPECT_EQ(b.size(), 3);
  EXPECT_EQ(b.x.shape(), (Shape{3, 2}));
  EXPECT_THAT(values(b.x), ElementsAre(4, 5, 0, 1, 4, 5));
  EXPECT_THAT(b.y.to_vector<int64_t>(), ElementsAre(9, 7, 9));
  EXPECT_EQ(b.y.dtype(), i64);
}

TEST(ArrayDataset, NormalisesBatchesAndKeepsWhatItHolds) {
  ArrayDataset set = counting_set();
  set.set_normalization({{1}, {2}});
  const int64_t last[] = {2};
  EXPECT_THAT(values(set.batch(last).x), ElementsAre(1.5, 2));
  EXPECT_THAT(values(set.x()), ElementsAre(0, 1, 2, 3, 4, 5));
}

TEST(ArrayDataset, RefusesWhatDoesNotFit) {
  const Tensor x = Tensor::from(std::vector<float>(6), {3, 2});
  EXPECT_EQ(error_of([&] {
              ArrayDataset(x, Tensor::from(std::vector<int64_t>{1, 2}));
            }),
            "[ArrayDataset] expected as many targets as inputs, got x 3x2 and y 2");
  EXPECT_EQ(error_of([&] {
              ArrayDataset(transpose(x, 0, 1), Tensor::from(std::vector<int64_t>{1, 2}));
            }),
            "[ArrayDataset] expected dense tensors");
  EXPECT_EQ(error_of([&] {
              counting_set().set_normalization({{0}, {0}});
            }),
            "[ArrayDataset] expected a std above 0, got 0");
  for (const int64_t wrong : {-1, 3})
    EXPECT_EQ(error_of([&] {
                counting_set().batch({&wrong, 1});
              }),
              "[dataset] expected a sample in [0, 3), got " + std::to_string(wrong));
}

TEST(Subset, CountsItsOwnSamples) {
  const auto whole = std::make_shared<ArrayDataset>(counting_set());
  const Subset part(whole, {2, 0});
  EXPECT_EQ(part.size(), 2);
  const int64_t order[] = {1, 0};
  EXPECT_THAT(part.batch(order).y.to_vector<int64_t>(), ElementsAre(7, 9));
  const int64_t beyond[] = {2};
  EXPECT_EQ(error_of([&] { part.batch(beyond); }), "[Subset] expected a sample in [0, 2), got 2");
  EXPECT_EQ(error_of([&] { Subset(whole, {0, 3}); }), "[Subset] expected samples in [0, 3), got 3");
}

}  // namespace
}  // namespace hebb::data
