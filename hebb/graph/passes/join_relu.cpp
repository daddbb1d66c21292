#include "hebb/graph/passes.h"
#include "hebb/ops/table.h"

namespace hebb::graph {
namespace {

// The op that computes this one and ReLU; null if there is none.
const OpDef* rectified(const OpDef* op) {
  if (op == &ops::linear) return &ops::linear_relu;
  if (op == &ops::conv2d_nhwc) return &ops::conv2d_relu_nhwc;
  return nullptr;
}

}  // namespace

void join_relu(Graph& g) {
  const std::vector<int> uses = g.uses();
  std::vector<size_t> maker(g.values.size(), SIZE_MAX);
  std::vector<Node> nodes;
  for (Node& n : g.nodes) {
    const ValueId x = n.inputs.empty() ? -1 : n.inputs[0];
    if (n.op == &ops::relu && maker[x] != SIZE_MAX && uses[x] == 1) {
      Node& sums = nodes[maker[x]];
      if (const OpDef* op = rectified(sums.op)) {
        sums.op = op;
        sums.outputs = n.outputs;
        maker[n.outputs[0]] = maker[x];
        continue;
      }
    }
    for (const ValueId v : n.outputs) maker[v] = nodes.size();
    nodes.push_back(std::move(n));
  }
  g.nodes = std::move(nodes);
}

}  // namespace hebb::graph
