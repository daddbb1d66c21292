#include "hebb/graph/passes.h"
#include "hebb/ops/table.h"

namespace hebb::graph {

void join_moments(Graph& g) {
  std::vector<size_t> maker(g.values.size(), SIZE_MAX);
  const auto maker_of = [&](ValueId v) { return maker[v] == SIZE_MAX ? nullptr : &g.nodes[maker[v]]; };
  for (size_t i = 0; i < g.nodes.size(); ++i) {
    Node& n = g.nodes[i];
    if (n.op == &ops::batch_norm_moments) {
      const Node* const rows = maker_of(n.inputs[0]);
      Node* const conv = rows && rows->op == &ops::reshape ? maker_of(rows->inputs[0]) : nullptr;
      const int64_t channels = g.values[n.inputs[0]].shape[1];
      if (conv && conv->op == &ops::conv2d_nhwc && g.values[conv->outputs[0]].shape[3] == channels) {
        conv->op = &ops::conv2d_moments_nhwc;
        conv->outputs.insert(conv->outputs.end(), n.outputs.begin(), n.outputs.end());
        n.op = nullptr;
      }
    }
    for (const ValueId v : n.outputs) maker[v] = i;
  }
  std::erase_if(g.nodes, [](const Node& n) { return n.op == nullptr; });
}

}  // namespace hebb::graph
