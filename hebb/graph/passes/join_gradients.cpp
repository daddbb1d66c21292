#include "hebb/graph/passes.h"
#include "hebb/ops/conv_fused.h"
#include "hebb/ops/table.h"

namespace hebb::graph {

void join_gradients(Graph& g) {
  const std::vector<int> uses = g.uses();
  std::vector<size_t> maker(g.values.size(), SIZE_MAX);
  // The input of a program that is such a gradient, made last of all: the program's results can then lie in
  // its place. -1 if there is none.
  const auto gradient = [&](const Node& n) {
    const FusedProgram& program = *n.attrs.as<FusedAttrs>().program;
    int found = -1;
    for (size_t i = 0; i < n.inputs.size(); ++i) {
      const ValueId v = n.inputs[i];
      if (program.inputs[i] != FusedOperand::dense || maker[v] == SIZE_MAX) continue;
      const Node& from = g.nodes[maker[v]];
      // Programs read slices where they lie; convolutions want their operands dense.
      if (from.op && from.op->kind == Kind::View && from.op != &ops::reshape) return -1;
      if (from.op == &ops::conv2d_input_grad_nhwc && uses[v] == 1 &&
          program.successor(static_cast<int>(i)) >= 0 &&
          (found < 0 || maker[v] > maker[n.inputs[static_cast<size_t>(found)]]))
        found = static_cast<int>(i);
    }
    return found;
  };
  for (size_t i = 0; i < g.nodes.size(); ++i) {
    Node& n = g.nodes[i];
    if (const int at = n.op == &ops::fused ? gradient(n) : -1; at >= 0) {
      Node& conv = g.nodes[maker[n.inputs[static_cast<size_t>(at)]]];
      n.attrs = ConvFusedAttrs{conv.attrs.as<Conv2dAttrs>(), n.attrs.as<FusedAttrs>().program, at};
      n.op = &ops::conv2d_input_grad_fused_nhwc;
      n.inputs.erase(n.inputs.begin() + at);
      n.inputs.insert(n.inputs.begin(), conv.inputs.begin(), conv.inputs.end());
      conv.op = nullptr;
    }
    for (const ValueId v : n.outputs) maker[v] = i;
  }
  std::erase_if(g.nodes, [](const Node& n) { return n.op == nullptr; });
}

}  // namespace hebb::graph
