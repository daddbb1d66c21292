// Convolutions that sum up the mean and variance of their own outputs.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "hebb/core/parallel.h"
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

Tensors conv_and_moments(Args a, const Conv2dAttrs& attrs, const Shape& rows) {
  const Tensor y = apply1(ops::conv2d_nhwc, attrs, {a[0], a[1], a[2]});
  const auto moments = apply(ops::batch_norm_moments, hebb::detail::NoAttrs{}, {{reshape(y, rows)}});
  return {y, moments[0], moments[1]};
}

// Products small and large, in place and gathered, of many columns and of long sums, whose rows are final
// late; Winograd of both strides, by tiles that hang over and by outputs; a first layer. To the same bits
// for any number of threads, not a number among them.
TEST(JoinMoments, SumsOutputsUpAsTheOpBehindThemDoes) {
  manual_seed(6);
  struct Case {
    Shape x, w;
    int64_t stride, pad;
  };
  const Case cases[] = {{{1, 2, 2, 8}, {8, 8, 1, 1}, 1, 0},        {{2, 19, 17, 40}, {33, 40, 1, 1}, 1, 0},
                        {{8, 24, 24, 64}, {96, 64, 1, 1}, 1, 0},   {{2, 9, 7, 70}, {1100, 70, 1, 1}, 1, 0},
                        {{2, 8, 8, 1200}, {64, 1200, 1, 1}, 1, 0}, {{2, 13, 12, 20}, {24, 20, 3, 3}, 2, 1},
                        {{4, 38, 37, 32}, {48, 32, 3, 3}, 1, 1},   {{1, 8, 8, 64}, {96, 64, 3, 3}, 1, 1},
                        {{4, 34, 33, 16}, {32, 16, 3, 3}, 2, 1},   {{2, 20, 21, 3}, {32, 3, 3, 3}, 1, 1}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.x.str() + " " + c.w.str());
    const Conv2dAttrs attrs{.stride = {c.stride, c.stride}, .padding = {c.pad, c.pad, c.pad, c.pad}};
    Tensor x = randn(c.x);
    x.mutable_data<float>()[1] = NAN;
    const Tensors clean{randn(c.x), randn(c.w), randn({c.w[0]})}, holed{x, clean[1], clean[2]};
    const Shape y = apply1(ops::conv2d_nhwc, attrs, {clean[0], clean[1], clean[2]}).shape();
    const Shape rows{y[0] * y[1] * y[2], y[3]};
    Graph g = traced([&](Args a) { return conv_and_moments(a, attrs, rows); }, clean);
    Graph joined = g;
    join_moments(joined);
    drop_dead(joined);
    verify(joined, "join_moments");
    EXPECT_EQ(joined.nodes.size(), 1u);
    EXPECT_EQ(count(joined, "conv2d_moments_nhwc"), 1u);
    Plan before(g), after(joined);
    for (const Tensors& arguments : {clean, holed}) {
      const Tensors want = before.run(arguments);
      for (const int n : {1, 2, 3}) {
        const Threads threads(n);
        const Tensors got = after.run(arguments);
        for (size_t i = 0; i < 3; ++i)
          EXPECT_TRUE(same_values(got[i], want[i])) << "output " << i << ", " << n << " threads";
      }
    }
  }
}

TEST(JoinMoments, LeavesOtherRowsAlone) {
  const Tensors arguments{ones({2, 3, 3, 8}), ones({8, 8, 1, 1}), ones({8})};
  const Function others[] = {
      // Rows that are no pixels.
      [](Args a) {
        return conv_and_moments(a, {}, {36, 4});
      },
      // Rows of something else, and of sums that are changed before.
      [](Args a) -> Tensors {
        return {apply1(ops::batch_norm_moments, hebb::detail::NoAttrs{}, {reshape(a[0], {18, 8})})};
      },
      [](Args a) -> Tensors {
        const Tensor y = relu(apply1(ops::conv2d_nhwc, Conv2dAttrs{}, {a[0], a[1], a[2]}));
        return {apply1(ops::batch_norm_moments, hebb::detail::NoAttrs{}, {reshape(y, {18, 8})})};
      }};
  for (const Function& fn : others) {
    Graph g = traced(fn, arguments);
    const std::string before = g.str();
    join_moments(g);
    EXPECT_EQ(g.str(), before);
  }
}

}  // namespace
}  // namespace hebb::graph
