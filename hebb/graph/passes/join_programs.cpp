#include <algorithm>

#include "hebb/graph/passes.h"
#include "hebb/ops/fused_behind.h"
#include "hebb/ops/table.h"

namespace hebb::graph {

bool makes_rows_for_programs(const Graph& g, const Node& n) {
  if (!ops::with_program(*n.op) || g.values[n.outputs[0]].dtype != f32) return false;
  if (n.op != &ops::matmul) return true;
  return g.values[n.inputs[0]].shape.ndim() == 2 && g.values[n.inputs[1]].shape.ndim() == 2;  // one product
}

void join_programs(Graph& g) {
  const std::vector<int> uses = g.uses();
  const std::vector<bool> steady =
      steady_values(g);  // these are computed once: programs are not to delay them
  std::vector<size_t> maker(g.values.size(), SIZE_MAX);
  std::vector<bool> read(g.values.size());
  // The input of a program that sums are which nothing has read yet, made last of all: -1 if there is none.
  const auto sums = [&](const Node& n) {
    const FusedProgram& program = *n.attrs.as<FusedAttrs>().program;
    int found = -1;
    for (size_t i = 0; i < n.inputs.size(); ++i) {
      const ValueId v = n.inputs[i];
      if (program.inputs[i] != FusedOperand::dense || maker[v] == SIZE_MAX) continue;
      const Node& from = g.nodes[maker[v]];
      if (!from.op) continue;
      // Programs read slices where they lie; products want their operands dense.
      if (from.op->kind == Kind::View && from.op != &ops::reshape) return -1;
      if (makes_rows_for_programs(g, from) && !read[v] && !steady[v] &&
          std::count(n.inputs.begin(), n.inputs.end(), v) == 1 &&
          (found < 0 || maker[v] > maker[n.inputs[static_cast<size_t>(found)]]))
        found = static_cast<int>(i);
    }
    return found;
  };
  for (size_t i = 0; i < g.nodes.size(); ++i) {
    Node& n = g.nodes[i];
    const int at = n.op == &ops::fused ? sums(n) : -1;
    const FusedProgram* const program = at >= 0 ? n.attrs.as<FusedAttrs>().program : nullptr;
    // The program's results can lie in the place of sums that nothing else reads.
    const bool kept = at >= 0 && (uses[n.inputs[static_cast<size_t>(at)]] > 1 || program->successor(at) < 0);
    if (at >= 0 && n.outputs.size() + (kept ? 1 : 0) <= FusedProgram::kMostOutputs) {
      const ValueId v = n.inputs[static_cast<size_t>(at)];
      Node& product = g.nodes[maker[v]];
      n.attrs = ops::with_program(*product.op, product.attrs, product.inputs.size(), program, at, kept);
      n.op = ops::with_program(*product.op);
      n.inputs.erase(n.inputs.begin() + at);
      n.inputs.insert(n.inputs.begin(), product.inputs.begin(), product.inputs.end());
      if (kept) n.outputs.insert(n.outputs.begin(), v);
      product.op = nullptr;
    }
    for (const ValueId v : n.inputs) read[v] = true;
    for (const ValueId v : n.outputs) maker[v] = i;
  }
  std::erase_if(g.nodes, [](const Node& n) { return n.op == nullptr; });
}

}  // namespace hebb::graph
