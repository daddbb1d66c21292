// Convolutions and linear layers that rectify their own sums.
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>

#include "hebb/graph/passes.h"
#include "hebb/graph/plan.h"
#include "hebb/hebb.h"
#include "hebb/ops/conv_attrs.h"
#include "hebb/ops/op_support.h"
#include "hebb/ops/table.h"
#include "tests/graph/graphs.h"

namespace hebb::graph {
namespace {

using namespace test;

// Products by every kernel: packed and small ones, in place, Winograd with tiles that hang over, first
// layers, those kept from run to run; to the same bits, negative and not a number among them.
TEST(JoinRelu, RectifiesSumsWhereReluAloneReadsThem) {
  manual_seed(2);
  const auto conv = [](Args a, int64_t stride) {
    const Conv2dAttrs attrs{.stride = {stride, stride}, .padding = {1, 1, 1, 1}};
    return relu(apply1(ops::conv2d_nhwc, attrs, {a[0], a[1], a[2]}));
  };
  struct Case {
    const char* op;
    Function fn;
    Tensors arguments;
  };
  Tensor holed = randn({70, 90});
  holed.mutable_data<float>()[95] = NAN;
  const Case cases[] = {{"linear_relu",
                         [](Args a) -> Tensors { return {relu(linear(a[0], a[1], a[2]))}; },
                         {randn({3, 5}), randn({4, 5}), randn({4})}},
                        {"linear_relu",
                         [](Args a) -> Tensors { return {relu(linear(a[0], a[1]))}; },
                         {holed, randn({130, 90})}},
                        {"linear_relu",
                         [](Args a) -> Tensors { return {relu(linear(a[0], a[1]))}; },
                         {randn({9, 1100}), randn({70, 1100})}},
                        {"conv2d_relu_nhwc",
                         [=](Args a) -> Tensors { return {conv(a, 1)}; },
                         {randn({2, 27, 30, 32}), randn({48, 32, 3, 3}), randn({48})}},
                        {"conv2d_relu_nhwc",
                         [=](Args a) -> Tensors { return {conv(a, 2)}; },
                         {randn({2, 27, 30, 32}), randn({40, 32, 3, 3}), randn({40})}},
                        {"conv2d_relu_nhwc",
                         [=](Args a) -> Tensors { return {conv(a, 1)}; },
                         {randn({2, 40, 40, 3}), randn({32, 3, 3, 3}), randn({32})}},
                        {"conv2d_relu_nhwc",
                         [=](Args a) -> Tensors { return {conv(a, 1)}; },
                         {randn({2, 20, 20, 64}), randn({32, 64, 1, 1}), randn({32})}}};
  for (const Case& c : cases) {
    SCOPED_TRACE(std::string(c.op) + " " + c.arguments[0].shape().str());
    Graph g = traced(c.fn, c.arguments);
    Graph joined = g;
    join_relu(joined);
    verify(joined, "join_relu");
    EXPECT_EQ(count(joined, c.op), 1u);
    EXPECT_EQ(count(joined, "relu"), 0u);
    Plan before(g), after(joined);
    const Tensor want = before.run(c.arguments)[0], result = after.run(c.arguments)[0];
    EXPECT_TRUE(same_values(result, want));
    const auto got = result.to_vector<float>();
    EXPECT_GT(std::count(got.begin(), got.end(), 0.0f), 0);
  }
  // Something else reads the sums.
  Graph g = traced(
      [](Args a) -> Tensors {
        const Tensor y = linear(a[0], a[1]);
        return {relu(y), y};
      },
      {randn({3, 5}), randn({4, 5})});
  join_relu(g);
  EXPECT_EQ(count(g, "relu"), 1u);
}

// Products in place and gathered, Winograd of both strides with tiles that hang over; whatever comes first of
// the two that are added; not a number among them; to the same bits.
TEST(JoinRelu, ConvolutionsAddWhatIsAddedToThem) {
  manual_seed(4);
  struct Case {
    Shape x, w;
    int64_t stride, pad;
  };
  const Case cases[] = {{{2, 9, 7, 40}, {33, 40, 1, 1}, 1, 0},   {{2, 12, 11, 24}, {20, 24, 3, 3}, 1, 1},
                        {{2, 13, 12, 24}, {20, 24, 3, 3}, 2, 1}, {{4, 18, 17, 16}, {32, 16, 3, 3}, 2, 1},
                        {{1, 6, 5, 3}, {16, 3, 3, 3}, 1, 1},     {{1, 2, 2, 8}, {8, 8, 1, 1}, 1, 0}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.x.str());
    const Conv2dAttrs attrs{.stride = {c.stride, c.stride}, .padding = {c.pad, c.pad, c.pad, c.pad}};
    const Tensor x = randn(c.x), w = randn(c.w), bias = randn({c.w[0]});
    Tensor other = randn(apply1(ops::conv2d_nhwc, attrs, {x, w, bias}).shape());
    other.mutable_data<float>()[11] = NAN;
    for (const bool first : {false, true}) {
      const Tensors arguments{x, w, bias, other};
      Graph g = traced(
          [&](Args a) -> Tensors {
            const Tensor sums = apply1(ops::conv2d_nhwc, attrs, {a[0], a[1], a[2]}), more = neg(a[3]);
            return {relu(first ? sums + more : more + sums)};
          },
          arguments);
      Graph joined = g;
      join_relu(joined);
      verify(joined, "join_relu");
      EXPECT_EQ(count(joined, "conv2d_add_relu_nhwc"), 1u);
      EXPECT_EQ(count(joined, "relu") + count(joined, "add"), 0u);
      const Tensor want = Plan(g).run(arguments)[0], result = Plan(joined).run(arguments)[0];
      EXPECT_TRUE(same_values(result, want));
      const auto got = result.to_vector<float>();
      EXPECT_TRUE(std::isnan(got[11]));
      EXPECT_GT(std::count(got.begin(), got.end(), 0.0f), 0);
    }
  }
}

TEST(JoinRelu, LeavesAdditionsAloneWhoseSumsOthersRead) {
  const Conv2dAttrs attrs{};
  const Tensors arguments{ones({1, 2, 2, 8}), ones({8, 8, 1, 1}), ones({8})};
  const auto conv = [&](Args a) { return apply1(ops::conv2d_nhwc, attrs, {a[0], a[1], a[2]}); };
  const Function others[] = {[&](Args a) -> Tensors {
                               const Tensor sums = conv(a);
                               return {relu(sums + a[0]), sums};
                             },
                             [&](Args a) -> Tensors {
                               const Tensor both = conv(a) + a[0];
                               return {relu(both), both};
                             },
                             [&](Args a) -> Tensors { return {relu(conv(a) + a[2])}; }};
  for (const Function& fn : others) {
    Graph g = traced(fn, arguments);
    const std::string before = g.str();
    join_relu(g);
    EXPECT_EQ(g.str(), before);
  }
}

}  // namespace
}  // namespace hebb::graph
