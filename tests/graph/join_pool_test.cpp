// Convolutions that pool their own outputs.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "hebb/graph/passes.h"
#include "hebb/graph/plan.h"
#include "hebb/hebb.h"
#include "hebb/ops/op_support.h"
#include "tests/graph/graphs.h"

namespace hebb::graph {
namespace {

using namespace test;

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() &&
         std::memcmp(a.raw_data(), b.raw_data(), static_cast<size_t>(a.numel() * size_of(a.dtype()))) == 0;
}

// Whole numbers from -2 to 2: many outputs are alike.
Tensor few_values(const Shape& shape) { return to(randint(-2, 3, shape), f32); }

// Kernels 5 wide and others, rows and columns that no window has, several blocks of images; equal values and
// not a number among them.
TEST(JoinPool, PoolsToTheSameBitsAsTheOpsApart) {
  manual_seed(3);
  struct Case {
    Shape x, w;
    Conv2dOptions options;
  };
  const Case cases[] = {{{20, 1, 28, 28}, {6, 1, 5, 5}, {.padding = 2}},
                        {{64, 6, 14, 14}, {16, 6, 5, 5}, {}},
                        {{9, 3, 11, 8}, {5, 3, 3, 3}, {.padding = 1}},
                        {{8, 12, 7, 9}, {4, 12, 2, 3}, {.stride = 2}}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.x.str());
    Tensor x = few_values(c.x);
    x.mutable_data<float>()[c.x.numel() / 3] = NAN;
    const Tensors arguments{x, few_values(c.w), few_values({c.w[0]})};
    for (const bool places : {false, true}) {
      Graph g = traced(
          [&](Args a) -> Tensors {
            const auto [values, at] = max_pool2d_with_indices(conv2d(a[0], a[1], a[2], c.options), 2);
            return places ? Tensors{values, at} : Tensors{values};
          },
          arguments);
      Graph joined = g;
      join_pool(joined);
      verify(joined, "join_pool");
      EXPECT_EQ(count(joined, places ? "conv2d_max_pool2d" : "conv2d_max_pool2d_values"), 1u);
      EXPECT_EQ(count(joined, "conv2d"), 0u);
      const Tensors want = Plan(g).run(arguments), got = Plan(joined).run(arguments);
      ASSERT_EQ(got.size(), want.size());
      EXPECT_TRUE(same_bits(got[0], want[0]));
      if (places) {
        EXPECT_TRUE(same_bits(got[1], want[1]));
      }
      std::vector<float> values = got[0].to_vector<float>();
      EXPECT_GT(std::count_if(values.begin(), values.end(), [](float v) { return std::isnan(v); }), 0);
      std::sort(values.begin(),
                std::remove_if(values.begin(), values.end(), [](float v) { return std::isnan(v); }));
      EXPECT_NE(std::adjacent_find(values.begin(), values.end()), values.end()) << "no equal values";
    }
  }
}

TEST(JoinPool, LeavesApartWhatOthersReadAndWhatHasNoKernel) {
  struct Case {
    const char* why;
    Function fn;
    Tensors arguments;
  };
  const Tensors narrow{ones({8, 2, 9, 9}), ones({4, 2, 3, 3})};
  const Case cases[] = {
      {"the outputs are a result",
       [&](Args a) -> Tensors {
         const Tensor y = conv2d(a[0], a[1]);
         return {y, max_pool2d(y, 2)};
       },
       narrow},
      {"windows overlap",
       [&](Args a) -> Tensors { return {max_pool2d(conv2d(a[0], a[1]), 2, {.stride = 1})}; }, narrow},
      {"windows of 3x3", [&](Args a) -> Tensors { return {max_pool2d(conv2d(a[0], a[1]), 3)}; }, narrow},
      {"few images",
       [&](Args a) -> Tensors { return {max_pool2d(conv2d(a[0], a[1]), 2)}; },
       {ones({7, 2, 9, 9}), ones({4, 2, 3, 3})}},
      {"many channels",
       [&](Args a) -> Tensors { return {max_pool2d(conv2d(a[0], a[1]), 2)}; },
       {ones({8, 9, 9, 9}), ones({9, 9, 3, 3})}}};
  for (const Case& c : cases) {
    Graph g = traced(c.fn, c.arguments);
    const std::string before = g.str();
    join_pool(g);
    EXPECT_EQ(g.str(), before) << c.why;
  }
}

}  // namespace
}  // namespace hebb::graph
