// Printing: what NumPy prints, with at most four decimals:
// "tensor(" + numpy.array2string(a, separator=", ", prefix="tensor(", precision=4) + ")".
#include <gtest/gtest.h>

#include <cmath>
#include <sstream>

#include "hebb/core/tensor.h"
#include "hebb/ops/creation.h"
#include "hebb/ops/view.h"

namespace hebb {
namespace {

TEST(Print, ReadsOnlyWhatItShows) {
  // Three dimensions of which only the edges have values that differ; strides are followed.
  const Tensor x = permute(reshape(arange(24000), {20, 30, 40}), {2, 0, 1});
  const std::string text = x.str();
  EXPECT_NE(text.find("[[[    0,    40,    80, ...,  1080,  1120,  1160],"), std::string::npos) << text;
  EXPECT_NE(text.find("[22839, 22879, 22919, ..., 23919, 23959, 23999]]])"), std::string::npos) << text;
}

TEST(Print, AsNumPy) {
  const struct {
    Tensor tensor;
    const char* text;
  } cases[] = {
      {tensor({1, 2, 3}), "tensor([1., 2., 3.])"},
      {tensor({{1, -20}, {300, 4}}, i64),
       "tensor([[  1, -20],\n"
       "        [300,   4]])"},
      {tensor({1, 1.5, -2.25}), "tensor([ 1.  ,  1.5 , -2.25])"},
      {tensor({0.1, 1. / 3, 100}), "tensor([  0.1   ,   0.3333, 100.    ])"},
      {tensor({123456.789, 0.001}), "tensor([1.2346e+05, 1.0000e-03])"},
      {tensor({1e-5, 2}), "tensor([1.e-05, 2.e+00])"},
      {tensor({1001, 1, 0}), "tensor([1.001e+03, 1.000e+00, 0.000e+00])"},
      {tensor({INFINITY, -INFINITY, NAN, 1.25}), "tensor([ inf, -inf,  nan, 1.25])"},
      {tensor({1, 0, 1}, boolean), "tensor([ True, False,  True])"},
      {tensor({1, 1}, boolean), "tensor([ True,  True])"},
      {scalar(3.5), "tensor(3.5)"},
      {scalar(-2), "tensor(-2.)"},
      {reshape(arange(24), {2, 3, 4}),
       "tensor([[[ 0,  1,  2,  3],\n"
       "         [ 4,  5,  6,  7],\n"
       "         [ 8,  9, 10, 11]],\n"
       "\n"
       "        [[12, 13, 14, 15],\n"
       "         [16, 17, 18, 19],\n"
       "         [20, 21, 22, 23]]])"},
      {zeros({2, 1, 2, 2}),
       "tensor([[[[0., 0.],\n"
       "          [0., 0.]]],\n"
       "\n"
       "\n"
       "        [[[0., 0.],\n"
       "          [0., 0.]]]])"},
      {arange(40),
       "tensor([ 0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14, 15, 16,\n"
       "        17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33,\n"
       "        34, 35, 36, 37, 38, 39])"},
      {linspace(0, 1, 21),
       "tensor([0.  , 0.05, 0.1 , 0.15, 0.2 , 0.25, 0.3 , 0.35, 0.4 , 0.45, 0.5 ,\n"
       "        0.55, 0.6 , 0.65, 0.7 , 0.75, 0.8 , 0.85, 0.9 , 0.95, 1.  ])"},
      {arange(1001), "tensor([   0,    1,    2, ...,  998,  999, 1000])"},
      {reshape(arange(2000), {40, 50}),
       "tensor([[   0,    1,    2, ...,   47,   48,   49],\n"
       "        [  50,   51,   52, ...,   97,   98,   99],\n"
       "        [ 100,  101,  102, ...,  147,  148,  149],\n"
       "        ...,\n"
       "        [1850, 1851, 1852, ..., 1897, 1898, 1899],\n"
       "        [1900, 1901, 1902, ..., 1947, 1948, 1949],\n"
       "        [1950, 1951, 1952, ..., 1997, 1998, 1999]])"},
      {reshape(arange(12), {1, 12}), "tensor([[ 0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11]])"},
  };
  for (const auto& c : cases) EXPECT_EQ(c.tensor.str(), c.text);
}

TEST(Print, RowsInAnyLayout) {
  EXPECT_EQ(transpose(tensor({{1, 2}, {3, 4}})).str(),
            "tensor([[1., 3.],\n"
            "        [2., 4.]])");
}

TEST(Print, TypesThatAreNotTheUsualOnes) {
  EXPECT_EQ(tensor({1, 2}, f64).str(), "tensor([1., 2.], dtype=f64)");
  EXPECT_EQ(tensor({1, 2}, u8).str(), "tensor([1, 2], dtype=u8)");
  EXPECT_EQ(tensor({1, 2.5}, bf16).str(), "tensor([1. , 2.5], dtype=bf16)");
  EXPECT_EQ(tensor({1, 2}).requires_grad_().str(), "tensor([1., 2.], requires_grad=true)");
}

TEST(Print, WhatHasNoValues) {
  EXPECT_EQ(zeros({0, 3}).str(), "tensor([], shape=0x3)");
  EXPECT_EQ(zeros({2, 0}, i32).str(), "tensor([], shape=2x0, dtype=i32)");
  EXPECT_EQ(Tensor().str(), "tensor(undefined)");
  EXPECT_EQ(Tensor::meta({{2, 3}, f32}).str(), "tensor(no values, shape=2x3, dtype=f32)");
}

TEST(Print, ToAStream) {
  std::ostringstream out;
  out << tensor({1, 2}) << '!';
  EXPECT_EQ(out.str(), "tensor([1., 2.])!");
}

}  // namespace
}  // namespace hebb
