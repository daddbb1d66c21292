// The tensor: values in and out, handles and views, errors.
#include "hebb/core/tensor.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>

#include "hebb/ops/creation.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/norm.h"
#include "hebb/ops/view.h"
#include "tests/support/throws.h"

namespace hebb {
namespace {

using Values = std::vector<double>;

Values list(const Tensor& t) { return t.to_vector<double>(); }

TEST(Tensor, ComesFromVectorsAndSpans) {
  const std::vector<int32_t> numbers = {1, -2, 3, 4, 5, 6};
  const Tensor t = Tensor::from(numbers, {2, 3});
  EXPECT_EQ(t.shape(), (Shape{2, 3}));
  EXPECT_EQ(t.dtype(), i32);
  EXPECT_EQ(t.to_vector<int32_t>(), numbers);
  EXPECT_EQ(Tensor::from(numbers).shape(), (Shape{6}));

  const std::array<bool, 3> flags = {true, false, true};
  const Tensor b = Tensor::from(std::span<const bool>(flags), {3, 1});
  EXPECT_EQ(b.dtype(), boolean);
  EXPECT_EQ(b.to_vector<uint8_t>(), (std::vector<uint8_t>{1, 0, 1}));
  EXPECT_EQ(Tensor::from(std::vector<double>(), {0, 4}).numel(), 0);
  EXPECT_EQ(Tensor::from(std::vector<float>{2.5f}, {}).ndim(), 0);
}

TEST(Tensor, CopiesWhatItIsMadeFrom) {
  std::vector<float> numbers = {1, 2};
  const Tensor t = Tensor::from(numbers);
  numbers[0] = 9;
  EXPECT_EQ(list(t), (Values{1, 2}));
}

TEST(Tensor, GivesItsValuesAsAnyType) {
  const Tensor t = tensor({-1.75, 0, 300.5});
  EXPECT_EQ(t.to_vector<int64_t>(), (std::vector<int64_t>{-1, 0, 300}));
  EXPECT_EQ(t.to_vector<uint8_t>(), (std::vector<uint8_t>{255, 0, 44})) << "as a cast in PyTorch wraps";
  EXPECT_EQ(static_cast<float>(t.to_vector<BFloat16>()[2]), 300);
  EXPECT_EQ(list(transpose(tensor({{1, 2}, {3, 4}}))), (Values{1, 3, 2, 4}))
      << "row-major whatever the strides";
}

TEST(Tensor, KeepsEveryBitOfIntegers) {
  const std::vector<int64_t> large = {std::numeric_limits<int64_t>::max(),
                                      std::numeric_limits<int64_t>::min(), (int64_t{1} << 53) + 1};
  const Tensor t = Tensor::from(large);
  EXPECT_EQ(t.to_vector<int64_t>(), large);
  EXPECT_EQ(select(t, 0, 0).item<int64_t>(), large[0]);
  EXPECT_EQ(clone(t).to_vector<int64_t>(), large);
}

TEST(Tensor, GivesItsOneElement) {
  EXPECT_EQ(scalar(2.75).item<float>(), 2.75f);
  EXPECT_EQ(scalar(2.75).item<int>(), 2);
  EXPECT_EQ(scalar(0.5).item<bool>(), true);
  EXPECT_EQ(scalar(0).item<bool>(), false);
  EXPECT_EQ(full({1, 1, 1}, -3, i8).item<int64_t>(), -3);
  EXPECT_EQ(select(tensor({{1, 2}, {3, 4}}), 0, 1).ndim(), 1);
  EXPECT_EQ(select(select(tensor({{1, 2}, {3, 4}}), 0, 1), 0, 0).item<double>(), 3);
  EXPECT_TRUE(std::isnan(scalar(NAN, f64).item<double>()));
}

TEST(Tensor, IsAHandle) {
  const Tensor a = tensor({1, 2, 3}), b = a, c = clone(a);
  EXPECT_TRUE(a.is_same(b));
  EXPECT_FALSE(a.is_same(c));
  EXPECT_EQ(a.raw_data(), b.raw_data());
  EXPECT_NE(a.raw_data(), c.raw_data());
  EXPECT_FALSE(Tensor().defined());
  EXPECT_EQ(Tensor().raw_data(), nullptr);
  EXPECT_FALSE(Tensor().requires_grad());
}

TEST(Tensor, SharesStorageWithItsViews) {
  Tensor x = reshape(arange(0, 6, 1, f32), {2, 3});
  const Tensor views[] = {reshape(x, {6}), transpose(x),      slice(x, 1, 1),       select(x, 0, 1),
                          x.detach(),      alias(x),          expand(x, {4, 2, 3}), flip(x, {0, 1}),
                          unsqueeze(x, 0), narrow(x, 1, 0, 2)};
  for (const Tensor& v : views) EXPECT_EQ(v.impl()->storage, x.impl()->storage);
  x.mutable_data<float>()[4] = 100;  // [1, 1]
  EXPECT_EQ(list(views[0]), (Values{0, 1, 2, 3, 100, 5}));
  EXPECT_EQ(list(views[1]), (Values{0, 3, 1, 100, 2, 5}));
  EXPECT_EQ(list(views[2]), (Values{1, 2, 100, 5}));
  EXPECT_EQ(list(views[3]), (Values{3, 100, 5}));
  EXPECT_EQ(list(views[7]), (Values{5, 100, 3, 2, 1, 0}));
  EXPECT_NE(clone(x).impl()->storage, x.impl()->storage);
}

TEST(Tensor, TellsWhetherItIsDense) {
  const Tensor x = zeros({2, 3, 4});
  EXPECT_TRUE(x.is_contiguous());
  EXPECT_TRUE(slice(x, 0, 1).is_contiguous());
  EXPECT_FALSE(slice(x, 1, 0, 2).is_contiguous());
  EXPECT_FALSE(transpose(x).is_contiguous());
  EXPECT_TRUE(contiguous(x).is_same(x)) << "nothing to do";
  EXPECT_TRUE(contiguous(transpose(x)).is_contiguous());
}

TEST(Tensor, CountsDimensionsFromBothEnds) {
  const Tensor x = zeros({2, 3, 4});
  EXPECT_EQ(x.size(0), 2);
  EXPECT_EQ(x.size(-1), 4);
  EXPECT_EQ(x.size(-3), 2);
  EXPECT_ERROR(x.size(3), "[size] expected a dimension in [-3, 2], got 3");
}

TEST(Tensor, HasUpToEightDimensions) {
  const Shape shape{1, 2, 1, 2, 1, 2, 1, 2};
  const Tensor x = reshape(arange(16), shape);
  EXPECT_EQ(list(sub(x, transpose(x, 1, 7)))[1], 1 - 8);
  EXPECT_ERROR(unsqueeze(x, 0), "[Shape] expected at most 8 dimensions, got one more than 1x2x1x2x1x2x1x2");
}

TEST(Tensor, AnUndefinedOneSaysSo) {
  const Tensor none, w = ones({2});
  const char* const said =
      "[Tensor] expected a defined tensor, got an undefined one (such as a gradient that no backward() has "
      "given, or "
      "a tensor that was moved from)";
  EXPECT_ERROR(none.shape(), said);
  EXPECT_ERROR(none.dtype(), said);
  EXPECT_ERROR(none.numel(), said);
  EXPECT_ERROR(none.detach(), said);
  EXPECT_ERROR(none.is_leaf(), said);
  EXPECT_ERROR(none.to_vector<float>(), said);
  EXPECT_ERROR(Tensor().zero_grad(), said);
  EXPECT_ERROR(none * 2, said);
  EXPECT_ERROR(w - 0.1 * w.grad(), said);
  EXPECT_ERROR(reshape(none, {2}), said);
  EXPECT_ERROR(softmax(none, 0), said);
  Tensor moved = w;
  const Tensor taken = std::move(moved);
  EXPECT_ERROR(moved + 1, said);
}

TEST(Tensor, RefusesMoreThanThereIs) {
  const int64_t big = int64_t{1} << 31;
  EXPECT_ERROR(zeros({big, big}, f64),
               "[empty] expected a tensor of fewer than 2^63 bytes, got f64 2147483648x2147483648");
  EXPECT_ERROR(Tensor::empty({big, big / 4}),
               "[empty] expected 4611686018427387904 bytes of memory for f32 2147483648x536870912, there are "
               "not as many");
}

TEST(Tensor, RefusesWhatItCannotDo) {
  const std::vector<float> two = {1, 2};
  EXPECT_ERROR(Tensor::from(two, {3}), "[Tensor::from] expected 3 values for shape 3, got 2");
  EXPECT_ERROR(Tensor::from(two, {2, 2}), "[Tensor::from] expected 4 values for shape 2x2, got 2");
  EXPECT_ERROR(Tensor::empty({2, -1}), "[empty] expected extents of at least 0, got 2x-1");
  EXPECT_ERROR(tensor({1, 2}).item<float>(), "[item] expected a tensor of one element, got shape 2");
  EXPECT_ERROR(zeros({0}).item<float>(), "[item] expected a tensor of one element, got shape 0");
  EXPECT_ERROR(Tensor().item<float>(), "[item] expected a tensor of one element, got an undefined tensor");
  EXPECT_ERROR(tensor({1, 2}).data<double>(), "[data] expected element type f64, got a tensor of f32");
  EXPECT_ERROR(Tensor().data<float>(), "[data] expected a tensor with values, got an undefined tensor");
}

}  // namespace
}  // namespace hebb
