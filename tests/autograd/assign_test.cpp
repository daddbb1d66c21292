// assign_, the one mutation: it shows through every handle of a tensor, never through views taken or values
// saved for backward before.
#include <gtest/gtest.h>

#include "hebb/autograd/grad.h"
#include "hebb/ops/creation.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/reduce.h"
#include "hebb/ops/view.h"
#include "tests/support/throws.h"

namespace hebb {
namespace {

using Values = std::vector<double>;

Values list(const Tensor& t) { return t.to_vector<double>(); }

TEST(Assign, ShowsThroughEveryHandle) {
  Tensor x = tensor({1, 2, 3});
  const Tensor same = x;
  x.assign_(tensor({4, 5, 6}));
  EXPECT_EQ(list(same), (Values{4, 5, 6}));
  EXPECT_TRUE(same.is_same(x));
}

TEST(Assign, IsInPlaceWhileNothingSharesTheStorage) {
  Tensor x = tensor({1, 2, 3});
  const void* place = x.raw_data();
  x.assign_(tensor({4, 5, 6}));
  EXPECT_EQ(x.raw_data(), place);
  const Tensor view = slice(x, 0, 1);
  x.assign_(tensor({7, 8, 9}));
  EXPECT_NE(x.raw_data(), place);
  EXPECT_EQ(list(view), (Values{5, 6}));
}

TEST(Assign, DoesNotShowThroughViewsNorDetachedValues) {
  Tensor x = tensor({{1, 2}, {3, 4}});
  const Tensor row = select(x, 0, 1), turned = transpose(x), cut = x.detach();
  x.assign_(zeros({2, 2}));
  EXPECT_EQ(list(row), (Values{3, 4}));
  EXPECT_EQ(list(turned), (Values{1, 3, 2, 4}));
  EXPECT_EQ(list(cut), (Values{1, 2, 3, 4}));
}

TEST(Assign, ToAViewLeavesTheRestAlone) {
  const Tensor x = tensor({{1, 2}, {3, 4}});
  Tensor column = select(x, 1, 0);
  column.assign_(tensor({9, 9}));
  EXPECT_EQ(list(column), (Values{9, 9}));
  EXPECT_EQ(list(x), (Values{1, 2, 3, 4}));
}

TEST(Assign, OfATensorsOwnView) {
  Tensor x = tensor({1, 2, 3});
  x.assign_(flip(x, {0}));
  EXPECT_EQ(list(x), (Values{3, 2, 1}));
  x.assign_(expand(slice(x, 0, 0, 1), {3}));
  EXPECT_EQ(list(x), (Values{3, 3, 3}));
  x.assign_(x);
  EXPECT_EQ(list(x), (Values{3, 3, 3}));
}

TEST(Assign, ConvertsTypesAndCopiesValues) {
  Tensor x = zeros({2}, i64);
  Tensor source = tensor({1.9, -2.9});
  x.assign_(source);
  EXPECT_EQ(list(x), (Values{1, -2}));
  EXPECT_EQ(x.dtype(), i64);
  Tensor y = tensor({0, 0});
  y.assign_(source);
  source.assign_(tensor({5, 5}));
  EXPECT_EQ(y.to_vector<float>(), (std::vector<float>{1.9f, -2.9f}));
}

TEST(Assign, DoesNotChangeValuesSavedForBackward) {
  Tensor w = tensor({2, 3}, f64).requires_grad_(), x = tensor({5, 7}, f64);
  const Tensor loss = sum(w * w * x);
  w.assign_(tensor({100, 100}, f64));
  x.assign_(tensor({0, 0}, f64));
  backward(loss);
  EXPECT_EQ(list(w.grad()), (Values{20, 42})) << "2 w x with the values of the forward pass";
  backward(sum(w * w));
  EXPECT_EQ(list(w.grad()), (Values{220, 242})) << "and with the new ones after";
}

TEST(Assign, GivesSavedValuesTheirPlaceInHigherDerivatives) {
  Tensor w = tensor({2, 3}, f64).requires_grad_();
  const Tensor loss = sum(w * w * w);
  w.assign_(tensor({10, 10}, f64));
  const Tensor g = grad(loss, w, {}, {.create_graph = true});
  EXPECT_EQ(list(g), (Values{12, 27}));
  EXPECT_EQ(list(grad(sum(g), w)), (Values{12, 18})) << "6 w at the values before";
}

TEST(Assign, KeepsLeavesLeaves) {
  Tensor w = tensor({1, 2}).requires_grad_();
  backward(sum(w * 3));
  w.assign_(w * 2);
  EXPECT_TRUE(w.is_leaf());
  EXPECT_TRUE(w.requires_grad());
  EXPECT_EQ(list(w.grad()), (Values{3, 3})) << "the gradient stays until it is zeroed";
  EXPECT_EQ(list(w), (Values{2, 4}));
}

TEST(Assign, RefusesWhatDoesNotFit) {
  Tensor x = tensor({1, 2}), undefined, meta = Tensor::meta({{2}, f32});
  EXPECT_ERROR(x.assign_(tensor({1, 2, 3})), "[assign_] expected shape 2, got 3");
  EXPECT_ERROR(x.assign_(scalar(1)), "[assign_] expected shape 2, got scalar");
  EXPECT_ERROR(x.assign_(undefined), "[assign_] expected two defined tensors");
  EXPECT_ERROR(undefined.assign_(x), "[assign_] expected two defined tensors");
  EXPECT_ERROR(x.assign_(meta), "[data] expected a tensor with values, got only a shape (f32 2)");
  Tensor w = tensor({1, 2}).requires_grad_(), result = w * 2;
  EXPECT_ERROR(result.assign_(x),
               "[assign_] expected state (a parameter or a buffer), got the result of a recorded op");
  EXPECT_EQ(list(x), (Values{1, 2}));
  meta.assign_(x);
  EXPECT_EQ(list(meta), (Values{1, 2})) << "a shape is given values";
}

}  // namespace
}  // namespace hebb
