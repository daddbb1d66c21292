// Products and convolutions that run the fused program behind them.
#include <gtest/gtest.h>

#include "hebb/core/parallel.h"
#include "hebb/graph/passes.h"
#include "hebb/graph/plan.h"
#include "hebb/hebb.h"
#include "hebb/ops/conv_attrs.h"
#include "hebb/ops/fused.h"
#include "hebb/ops/op_support.h"
#include "hebb/ops/table.h"
#include "tests/graph/graphs.h"

namespace hebb::graph {
namespace {

using namespace test;

struct Case {
  Shape gy, w, x;
  int64_t stride = 1, pad = 0, dilation = 1;
  Conv2dAttrs attrs() const {
    return {.stride = {stride, stride},
            .padding = {pad, pad, pad, pad},
            .dilation = {dilation, dilation},
            .size = {x[1], x[2]}};
  }
};

// Fuses the graph and joins its programs, which changes no bit for any number of threads.
void expect_joined_alike(Graph& g, const Tensors& arguments) {
  Plan before(g);
  const Tensors want = before.run(arguments);
  fuse(g);
  join_programs(g);
  verify(g, "join_programs");
  Plan after(g);
  for (const int n : {1, 2, 3}) {
    const Threads threads(n);
    const Tensors got = after.run(arguments);
    for (size_t i = 0; i < want.size(); ++i)
      EXPECT_EQ(got[i].to_vector<float>(), want[i].to_vector<float>())
          << "result " << i << ", " << n << " threads";
  }
}

// Products in place, whose rows are final at once or late, in blocks that end within rows of channels;
// Winograd by tiles and by outputs; phases of strides, windows side by side, gathered pixels. To the same
// bits for any number of threads, whichever operand of the program the gradient is.
TEST(JoinPrograms, RunTheProgramBehindThem) {
  manual_seed(8);
  const Case cases[] = {{{8, 24, 24, 96}, {96, 64, 1, 1}, {8, 24, 24, 64}},
                        {{2, 19, 17, 1200}, {1200, 40, 1, 1}, {2, 19, 17, 40}},
                        {{2, 9, 7, 40}, {40, 1100, 1, 1}, {2, 9, 7, 1100}},
                        {{4, 38, 37, 32}, {32, 48, 3, 3}, {4, 38, 37, 48}, 1, 1},
                        {{1, 8, 8, 64}, {64, 96, 3, 3}, {1, 8, 8, 96}, 1, 1},
                        {{4, 17, 17, 32}, {32, 16, 3, 3}, {4, 34, 33, 16}, 2, 1},
                        {{2, 10, 11, 20}, {20, 32, 2, 2}, {2, 20, 22, 32}, 2},
                        {{2, 20, 21, 20}, {20, 24, 3, 3}, {2, 24, 25, 24}, 1, 0, 2}};
  const std::function<Tensors(const Tensor&, const Tensor&)> programs[] = {
      [](const Tensor& g, const Tensor& x) -> Tensors { return {relu(x + g) * 0.5}; },
      [](const Tensor& g, const Tensor& x) -> Tensors {
        const Tensor masked = reshape(relu(x) * g, {-1, x.size(3)});
        return {masked, sum(masked, 0), sum(masked * reshape(x, masked.shape()), 0)};
      }};
  for (const Case& c : cases) {
    for (const auto& program : programs) {
      SCOPED_TRACE(c.gy.str() + " " + c.w.str());
      const Tensors arguments{randn(c.gy), randn(c.w), randn(c.x)};
      Graph g = traced(
          [&](Args a) {
            return program(apply1(ops::conv2d_input_grad_nhwc, c.attrs(), {a[0], a[1]}), a[2]);
          },
          arguments);
      expect_joined_alike(g, arguments);
      EXPECT_EQ(count(g, "conv2d_input_grad_fused_nhwc"), 1u);
      EXPECT_EQ(count(g, "conv2d_input_grad_nhwc") + count(g, "fused"), 0u);
    }
  }
}

// Of a product of m x k and k x n: rows of whole tiles and others, blocks that end within rows of programs.
TEST(JoinPrograms, OfProductsGiveTheSameBits) {
  manual_seed(8);
  struct Sizes {
    int64_t m, n, k;
  };
  const std::function<Tensor(const Tensor&, const Tensor&, bool)> products[] = {
      [](const Tensor& a, const Tensor& b, bool) { return matmul(a, b); },
      [](const Tensor& a, const Tensor& b, bool by_columns) {
        return linear(reshape(a, {2, -1, a.size(1)}), transpose(b, 0, 1) * 1,
                      by_columns ? select(b, 0, 0) * 2 : Tensor());
      }};
  for (const auto& [m, n, k] : {Sizes{700, 100, 64}, {300, 256, 300}, {90, 1030, 20}, {40, 48, 30}}) {
    for (size_t kind = 0; kind < std::size(products); ++kind) {
      for (const bool others : {false, true}) {  // whether others read the sums
        SCOPED_TRACE(fmt::format("{}x{}x{}, {}, {}", m, n, k, kind, others));
        const Tensors arguments{randn({m, k}), randn({k, n}) * 0.1, randn({m, n})};
        const auto fn = [&, n = n](Args a) -> Tensors {
          const Tensor sums = products[kind](a[0], a[1], others);
          const Tensor y = gelu(reshape(sums, {-1, n})) * 2 + a[2];
          Tensors out{y, sum(y, 0)};
          if (others) out.push_back(softmax(sums, -1));
          return out;
        };
        Graph g = traced(fn, arguments);
        fold_constants(g);
        expect_joined_alike(g, arguments);
        EXPECT_EQ(count(g, kind == 0 ? "matmul_fused" : "linear_fused"), 1u) << g.str();
        EXPECT_EQ(count(g, kind == 0 ? "matmul" : "linear"), 0u);
      }
    }
  }
}

// An activation alone, or what is added alone, is a program where enough of it is near.
TEST(JoinPrograms, SingleOpsJoinLargeResults) {
  manual_seed(8);
  const auto layer = [](Args a) -> Tensors { return {gelu(linear(a[0], a[1], a[2]))}; };
  const auto step = [](Args a) -> Tensors {
    const Tensor x = a[0].detach().requires_grad_(), hidden = gelu(linear(x, a[1], a[2]));
    const Tensor y = x + linear(hidden, transpose(a[1], 0, 1) * 1);
    return {y.detach(), grad(sum(y * y), x)};
  };
  const auto conv = [](Args a) -> Tensors {
    return {silu(apply1(ops::conv2d_nhwc, Conv2dAttrs{}, {a[0], a[1]}))};
  };
  const auto check = [](const Function& fn, const Tensors& arguments, const char* op, size_t joined) {
    SCOPED_TRACE(op);
    Graph g = traced(fn, arguments);
    expect_joined_alike(g, arguments);
    EXPECT_EQ(count(g, op), joined) << g.str();
  };
  const Tensors large{randn({1000, 40}), randn({160, 40}) * 0.1, randn({160})},
      small{randn({10, 40}), randn({160, 40}) * 0.1, randn({160})};
  check(layer, large, "linear_fused", 1);
  check(layer, small, "linear_fused", 0);
  check(step, {randn({2000, 40}), randn({160, 40}) * 0.1, randn({160})}, "linear_fused", 2);
  check(step, {randn({2000, 40}), randn({160, 40}) * 0.1, randn({160})}, "matmul_fused", 2);
  check(conv, {randn({2, 40, 40, 32}), randn({48, 32, 1, 1}) * 0.1}, "conv2d_fused_nhwc", 1);
  check(conv, {randn({2, 40, 40, 32}), randn({48, 32, 3, 3}) * 0.1}, "conv2d_fused_nhwc", 1);
  check(conv, {randn({2, 80, 80, 3}), randn({32, 3, 3, 3}) * 0.1}, "conv2d_fused_nhwc", 1);
}

TEST(JoinPrograms, KeepTheSumsThatOthersReadOrThatHaveNoSuccessor) {
  const Conv2dAttrs attrs{.size = {3, 3}};
  const auto gradient = [&](Args a) { return apply1(ops::conv2d_input_grad_nhwc, attrs, {a[0], a[1]}); };
  const Tensors arguments{randn({2, 3, 3, 8}), randn({8, 16, 1, 1})};
  const Function fns[] = {[&](Args a) -> Tensors {
                            const Tensor g = gradient(a);
                            return {relu(g) * 2.0, g};
                          },
                          [&](Args a) -> Tensors {
                            return {sum(reshape(square(gradient(a)), {18, 16}), 0)};
                          }};
  for (const Function& fn : fns) {
    Graph g = traced(fn, arguments);
    expect_joined_alike(g, arguments);
    EXPECT_EQ(count(g, "conv2d_input_grad_fused_nhwc"), 1u);
  }
}

TEST(JoinPrograms, LeaveAloneWhatIsReadBeforeOrBesideASlice) {
  const Conv2dAttrs attrs{.size = {3, 3}};
  const auto gradient = [&](Args a) { return apply1(ops::conv2d_input_grad_nhwc, attrs, {a[0], a[1]}); };
  const Tensors arguments{ones({2, 3, 3, 8}), ones({8, 16, 1, 1}), ones({2, 3, 3, 32})};
  const Function others[] = {[&](Args a) -> Tensors {
                               const Tensor g = gradient(a), sums = cumsum(g, 0);
                               return {relu(g) * 2.0, sums};
                             },
                             // A slice, which the program reads where it lies.
                             [&](Args a) -> Tensors { return {relu(gradient(a) + slice(a[2], 3, 8, 24))}; }};
  for (const Function& fn : others) {
    Graph g = traced(fn, arguments);
    fuse(g);
    const std::string before = g.str();
    EXPECT_EQ(count(g, "fused"), 1u);
    join_programs(g);
    EXPECT_EQ(g.str(), before);
  }
  // Of products of several matrices each is one of its own.
  Graph g = traced([](Args a) -> Tensors { return {relu(matmul(a[0], a[1])) * 2}; },
                   {ones({3, 4, 5}), ones({3, 5, 32})});
  fuse(g);
  join_programs(g);
  EXPECT_EQ(count(g, "fused"), 1u);
}

// Results that are made while the input is still needed cannot lie in its place.
TEST(FusedProgram, ItsSuccessorIsMadeWhenTheInputIsReadNoMore) {
  using K = FusedOperand;
  const int relu = static_cast<int>(hebb::detail::Expr::relu),
            add = static_cast<int>(hebb::detail::Expr::add);
  // t2 = relu(x0), t3 = t2 + x1, t4 = sum of t3
  const FusedProgram p{
      {K::dense, K::dense}, {{relu, {0, -1, -1}}, {add, {2, 1, -1}}, {kColumnSum, {3, -1, -1}}}, {4, 2, 3}};
  EXPECT_EQ(p.successor(0), 1);
  EXPECT_EQ(p.successor(1), 2);
  const FusedProgram late{{K::dense, K::dense}, {{relu, {1, -1, -1}}, {kColumnSum, {0, -1, -1}}}, {2, 3}};
  EXPECT_EQ(late.successor(0), -1);
}

}  // namespace
}  // namespace hebb::graph
