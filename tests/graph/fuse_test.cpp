// Fused programs: what joins them, and that they give the same bits.
#include <gmock/gmock.h>

#include "hebb/core/parallel.h"
#include "hebb/graph/passes.h"
#include "hebb/graph/plan.h"
#include "hebb/hebb.h"
#include "hebb/ops/fused.h"
#include "hebb/ops/table.h"
#include "tests/graph/graphs.h"

namespace hebb::graph {
namespace {

using namespace test;

const FusedProgram& program_of(const Node& n) { return *n.attrs.as<FusedAttrs>().program; }
// The graph after the pass; its plan gives the same bits as before.
Graph fused_alike(const Function& fn, const Tensors& arguments) {
  Graph g = traced(fn, arguments);
  Plan before(g);
  fold_constants(g);
  fuse(g);
  drop_dead(g);
  verify(g, "fuse");
  Plan after(g);
  const Tensors want = before.run(arguments), got = after.run(arguments);
  for (size_t i = 0; i < want.size(); ++i) {
    EXPECT_EQ(got[i].shape(), want[i].shape());
    EXPECT_EQ(got[i].to_vector<float>(), want[i].to_vector<float>());
  }
  return g;
}

TEST(Fuse, MakesOneProgramOfAChain) {
  manual_seed(1);
  const Tensors xs{randn({3, 1000}), randn({1000}), randn({3, 1})};
  const Graph g = fused_alike(
      [](Args a) -> Tensors {
        const Tensor y = relu(leaky_relu(a[0], 0.1) * a[1] - a[2]);
        return {y + a[0] * 2};
      },
      xs);
  ASSERT_EQ(g.nodes.size(), 1u);
  EXPECT_EQ(program_of(g.nodes[0]).str(),
            "(x0, x1: row, x2: column, x3: scalar) t4 = leaky_relu(x0; 0.1, 0); t5 = mul(t4, x1); "
            "t6 = sub(t5, x2); t7 = relu(t6); t8 = mul(x0, x3); t9 = add(t7, t8); return t9");
}

TEST(Fuse, LooksThroughReshapesAndWholeExpansions) {
  manual_seed(1);
  const Graph g = fused_alike(
      [](Args a) -> Tensors {
        const Tensor y = reshape(exp(a[0]), {6, 4}) * a[1];
        return {reshape(y, {24}) + expand(a[2], {24}), y};
      },
      {randn({2, 3, 4}), randn({4}), randn({1})});
  EXPECT_EQ(count(g, "fused"), 1u);
  EXPECT_EQ(count(g, "exp") + count(g, "mul") + count(g, "add") + count(g, "expand"), 0u);
}

TEST(Fuse, LargeResultsAreWrittenPastTheCaches) {
  manual_seed(1);
  // Of rows that are whole vectors and of others, one result read on, and of no rows with a rest.
  for (const int64_t columns : {48, 50}) {
    const Graph g = fused_alike(
        [](Args a) -> Tensors {
          const Tensor y = relu(a[0] * a[1]);
          return {y, y + a[0]};
        },
        {randn({(2 << 20) / columns + 1, columns}), randn({columns})});
    EXPECT_EQ(count(g, "fused"), 1u);
  }
  const Graph g =
      fused_alike([](Args a) -> Tensors { return {relu(a[0] * a[0] - a[0])}; }, {randn({(2 << 20) + 7})});
  EXPECT_EQ(count(g, "fused"), 1u);
}

TEST(Fuse, SumsOverRowsJoinWhatTheySum) {
  manual_seed(1);
  const Tensors arguments{randn({4, 300, 32}), randn({4, 300, 32}), randn({32, 5})};
  const Graph g = fused_alike(
      [](Args a) -> Tensors {
        const Tensor y = relu(a[0] + a[1]);
        const Tensor product = matmul(y, a[2]);  // reads y before the sum does
        return {product, sum(y, {0, 1}), sum(y, {0, 1}, true)};
      },
      arguments);
  ASSERT_EQ(count(g, "fused"), 1u);
  EXPECT_EQ(count(g, "sum") + count(g, "relu"), 0u);
  EXPECT_EQ(program_of(g.nodes[0]).str(),
            "(x0, x1) t2 = add(x0, x1); t3 = relu(t2); t4 = column_sum(t3); t5 = column_sum(t3); return t3, "
            "t4, t5");
  // Other dimensions, few columns, a row that is no operand's, and sums of what no program makes stay.
  const Graph other = fused_alike(
      [](Args a) -> Tensors {
        const Tensor y = exp(a[0]), z = reshape(a[0], {1200, 32}) * 2;
        return {sum(y, 1), sum(exp(reshape(a[0], {4, 2400, 4})), {0, 1}), sum(matmul(z, a[2]), 0),
                sum(reshape(exp(a[1]), {4, 9600}), 0), sum(a[1], {0, 1})};
      },
      arguments);
  EXPECT_EQ(count(other, "sum"), 5u);
}

TEST(Fuse, RowSumsMeansAndTotalsJoinWhatTheySum) {
  manual_seed(1);
  const auto sums = [](Args a) -> Tensors {
    const Tensor y = tanh(a[0] * a[1]);
    return {sum(y, 1), mean(y, 1, true), sum(y), mean(y)};
  };
  const auto furthest = [](const Tensor& a, const Tensor& b) {
    return amax(abs(to(a, f64) - b)).item<double>();
  };
  const auto left = [](const Graph& g) { return count(g, "sum") + count(g, "mean"); };
  // Short rows, rows of one tile, blocks that end within rows or are not full; one element for each row.
  const Shape shapes[] = {{700, 64}, {70, 512}, {3, 2}, {5000, 16}};
  for (const Shape& s : shapes) {
    const Tensors arguments{randn(s), randn({s[1]})};
    const Graph g = fused_alike(sums, arguments);
    EXPECT_EQ(count(g, "fused"), 1u) << s.str();
    EXPECT_EQ(left(g), 0u) << s.str();
    const Tensors got = Plan(g).run(arguments);
    const Tensor y = to(tanh(arguments[0] * arguments[1]), f64);
    for (const auto& [sums_got, want] :
         {std::pair(got[0], sum(y, 1)), {got[1], mean(y, 1, true)}, {got[2], sum(y)}, {got[3], mean(y)}})
      EXPECT_LT(furthest(sums_got, want), 1e-4) << s.str();
  }
  // The program itself, on rows of several tiles.
  const FusedProgram program{
      {FusedOperand::dense}, {{kRowSum, {0, -1, -1}, 2}, {kTotal, {0, -1, -1}}}, {1, 2}};
  const Tensor x = randn({40, 1300});
  const Outputs made = apply(ops::fused, FusedAttrs{kept(program)}, {{x}});
  EXPECT_LT(furthest(made[0], sum(to(x, f64), 1) / 2), 2e-5);
  EXPECT_LT(furthest(made[1], sum(to(x, f64))), 2e-4);
  // Long rows stay; so do totals where rows of the program would change the order of addition.
  EXPECT_EQ(left(fused_alike(sums, {randn({70, 513}), randn({513})})), 4u);
  EXPECT_EQ(left(fused_alike(sums, {randn({70, 48}), randn({48})})), 2u);
  EXPECT_EQ(left(fused_alike(sums, {randn({9, 1024}), randn({1024})})), 2u);
  // Without rows, totals take any shape.
  EXPECT_EQ(left(fused_alike([](Args a) -> Tensors { return {mean(square(a[0] - a[1]))}; },
                             {randn({70, 513}), randn({70, 513})})),
            0u);
}

TEST(Fuse, KeepsWhatOthersReadBetween) {
  manual_seed(1);
  const Graph g = fused_alike(
      [](Args a) -> Tensors {
        const Tensor y = exp(a[0]), s = amax(y, 1, true);
        return {sqrt(y / s), cumsum(y, 0)};
      },
      {rand({5, 7})});
  EXPECT_EQ(count(g, "exp"), 1u) << "the maximum needs it whole";
  EXPECT_EQ(count(g, "fused"), 1u);
  const Graph strided =
      fused_alike([](Args a) -> Tensors { return {exp(transpose(a[0], 0, 1)) + 1}; }, {rand({5, 7})});
  EXPECT_EQ(count(strided, "exp"), 1u) << "it reads other strides where they lie";
  const Graph whole =
      fused_alike([](Args a) -> Tensors { return {exp(a[0]) + a[1]}; }, {rand({4, 3, 2}), rand({3, 1})});
  EXPECT_EQ(count(whole, "fused"), 0u) << "neither rows nor columns";
}

// A join of channels hands back slices of rows: what reads them is a program, sums alone too.
TEST(Fuse, ReadsSlicesOfRowsWhereTheyLie) {
  manual_seed(1);
  struct Case {
    int64_t rows, width, start, columns;
  };
  for (const auto [rows, width, start, columns] :
       {Case{300, 64, 16, 24}, {70, 128, 64, 64}, {40, 1500, 7, 1100}, {9, 8, 5, 3}, {1, 40, 1, 20}}) {
    const auto piece = [=](const Tensor& t, int64_t from) { return slice(t, -1, from, from + columns); };
    const Graph g = fused_alike(
        [&](Args a) -> Tensors {
          const Tensor x = piece(a[0], start), y = relu(x + a[1]) * a[2];
          return {y, sum(y, {0, 1}), sum(piece(a[0], 0), {0, 1})};
        },
        {randn({rows, 5, width}), randn({rows, 5, columns}), randn({columns})});
    EXPECT_EQ(count(g, "add") + count(g, "relu") + count(g, "mul"), 0u) << columns;
    EXPECT_EQ(count(g, "fused"), columns >= 16 ? 2u : 1u) << columns;
    EXPECT_EQ(count(g, "sum"), columns >= 16 ? 0u : 2u) << columns;
  }
  // Slices of other dimensions, and of every second element, are read as before.
  const Graph g = fused_alike(
      [](Args a) -> Tensors {
        return {exp(slice(a[0], 0, 1, 3)) * 2, exp(slice(a[0], 1, 0, 32, 2)) * 2};
      },
      {randn({4, 32})});
  EXPECT_EQ(count(g, "exp"), 2u);
}

TEST(Fuse, SumsAreNotReadWithinTheirProgram) {
  const PassesOff none("");
  manual_seed(1);
  const Tensors xs{randn({1, 5}), randn({5}), randn({5})};
  Graph g = traced(
      [](Args a) -> Tensors {
        const Tensor x = a[0].detach().requires_grad_();
        Tensor m = zeros({5}), v = ones({5});
        const Tensor y = batch_norm(cat({x, x * 2}, 0), m, v, a[1], a[2], true);
        return {grad(std::vector{sum(tanh(y))}, std::vector{x})[0] * 2};
      },
      xs);
  const Tensors want = Plan(g).run(xs);
  optimize(g, "norm");
  verify(g, "all passes");
  EXPECT_GT(count(g, "fused"), 1u);
  EXPECT_EQ(Plan(g).run(xs)[0].to_vector<float>(), want[0].to_vector<float>());
}

// A residual block's work on rows: what stands around batch normalisation joins it, to the same bits, on any
// number of threads.
TEST(SplitNorms, WithFuseLeavesNoElementwiseOpsAlone) {
  const PassesOff none("");
  manual_seed(1);
  const Tensors xs{randn({5000, 48}) * 3 + 7, randn({5000, 48}), rand({48}), randn({48})};
  const Function fn = [](Args a) -> Tensors {
    Tensors leaves;
    for (const Tensor& t : a) leaves.push_back(t.detach().requires_grad_());
    Tensor m = zeros({48}), v = ones({48});
    const Tensor y = relu(batch_norm(leaves[0], m, v, leaves[2], leaves[3], true) + leaves[1]);
    Tensors all = grad(std::vector{sum(y * y)}, leaves);
    all.push_back(y.detach());
    return all;
  };
  Graph g = traced(fn, xs);
  const Tensors want = Plan(g).run(xs);
  optimize(g, "block");
  verify(g, "all passes");
  EXPECT_EQ(count(g, "batch_norm") + count(g, "batch_norm_grad"), 0u);
  for (const char* op : {"add", "relu", "relu_grad", "mul"})
    EXPECT_EQ(count(g, op), 0u) << op << "\n" << g.str();
  for (const int n : {1, 2, 3}) {
    const Threads threads(n);
    const Tensors got = Plan(g).run(xs);
    for (size_t i = 0; i < want.size(); ++i)
      EXPECT_EQ(got[i].to_vector<float>(), want[i].to_vector<float>()) << "result " << i << ", threads " << n;
  }
}

}  // namespace
}  // namespace hebb::graph
