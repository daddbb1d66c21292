#include <utility>

#include "hebb/graph/passes.h"
#include "hebb/ops/table.h"

namespace hebb::graph {
namespace {

// Who makes each value, who reads it last, and how often it is read.
struct Links {
  std::vector<Node*> maker, reader;
  std::vector<int> uses;

  explicit Links(Graph& g) : maker(g.values.size()), reader(g.values.size()), uses(g.uses()) {
    for (Node& n : g.nodes) {
      for (const ValueId v : n.inputs) reader[v] = &n;
      for (const ValueId v : n.outputs) maker[v] = &n;
    }
  }
};

// ReLU and the pooling that alone reads it, and the way back: pooling's gradient, then ReLU's. Null where the
// function has none.
struct Pair {
  Node *relu = nullptr, *pool = nullptr, *pool_grad = nullptr, *relu_grad = nullptr;
};

// The pair of a pooling, if nothing else needs what lies between the two; else one of nulls.
Pair pair_of(Node& pool, const Links& links) {
  Pair p{links.maker[pool.inputs[0]], &pool};
  if (!p.relu || p.relu->op != &ops::relu) return {};
  const ValueId between = pool.inputs[0], places = pool.outputs[1];
  if (links.uses[places] == 0) return links.uses[between] == 1 ? p : Pair();
  p.pool_grad = links.reader[places];
  if (links.uses[places] > 1 || !p.pool_grad || p.pool_grad->op != &ops::max_pool2d_grad) return {};
  const ValueId spread = p.pool_grad->outputs[0];
  p.relu_grad = links.reader[spread];  // which reads it twice
  if (links.uses[spread] != 2 || !p.relu_grad || p.relu_grad->op != &ops::relu_grad ||
      p.relu_grad->inputs != std::vector<ValueId>{spread, spread, between} || links.uses[between] != 2)
    return {};
  return p;
}

}  // namespace

// Larger inputs have larger rectified ones, so the same place wins, unless all of a window are 0 or less:
// then the value is 0 both ways, and so is what flows back.
void pool_first(Graph& g) {
  for (Node& n : g.nodes) {
    if (n.op != &ops::max_pool2d) continue;
    const Pair p = pair_of(n, Links(g));
    if (!p.relu) continue;
    // The nodes change places; a value of the first of two is a new one, of the size that it has now.
    const ValueId pooled = p.pool->outputs[0], largest = g.add_value(g.values[pooled]);
    const ValueId x = p.relu->inputs[0];
    p.relu->inputs = {largest};
    p.relu->outputs = {pooled};
    p.pool->inputs = {x};
    p.pool->outputs[0] = largest;
    std::swap(*p.relu, *p.pool);
    if (!p.pool_grad) continue;
    const ValueId g_pooled = p.pool_grad->inputs[0], g_x = p.relu_grad->outputs[0];
    const ValueId rectified = g.add_value(g.values[g_pooled]);
    p.relu_grad->inputs = {g_pooled, g_pooled, pooled};
    p.relu_grad->outputs = {rectified};
    p.pool_grad->inputs[0] = rectified;
    p.pool_grad->outputs = {g_x};
    std::swap(*p.relu_grad, *p.pool_grad);
  }
}

}  // namespace hebb::graph
