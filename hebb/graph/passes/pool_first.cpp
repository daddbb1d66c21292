#include <utility>

#include "hebb/graph/passes.h"
#include "hebb/ops/table.h"

namespace hebb::graph {
namespace {

// Nodes by what they read and make.
struct Links {
  std::vector<std::vector<Node*>> readers;
  std::vector<Node*> maker;
  std::vector<bool> leaves;  // the function, with its results or state

  explicit Links(Graph& g) : readers(g.values.size()), maker(g.values.size()), leaves(g.values.size()) {
    for (Node& n : g.nodes) {
      for (const ValueId v : n.inputs)
        if (readers[v].empty() || readers[v].back() != &n) readers[v].push_back(&n);
      for (const ValueId v : n.outputs) maker[v] = &n;
    }
    for (const ValueId v : g.results) leaves[v] = true;
    for (const State& s : g.states) leaves[s.after] = true;
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
  if (links.leaves[between] || links.leaves[places] || links.readers[places].size() > 1) return {};
  if (!links.readers[places].empty()) {
    p.pool_grad = links.readers[places][0];
    if (p.pool_grad->op != &ops::max_pool2d_grad) return {};
    const ValueId spread = p.pool_grad->outputs[0];
    if (links.leaves[spread] || links.readers[spread].size() != 1) return {};
    p.relu_grad = links.readers[spread][0];
    if (p.relu_grad->op != &ops::relu_grad ||
        p.relu_grad->inputs != std::vector<ValueId>{spread, spread, between})
      return {};
  }
  for (const Node* reader : links.readers[between])
    if (reader != p.pool && reader != p.relu_grad) return {};
  return p;
}

}  // namespace

// Larger inputs have larger rectified ones, so the same place wins, unless all of a window are 0 or less:
// then the value is 0 both ways, and so is what flows back.
void pool_first(Graph& g) {
  const Links links(g);
  for (Node& n : g.nodes) {
    if (n.op != &ops::max_pool2d) continue;
    const Pair p = pair_of(n, links);
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
