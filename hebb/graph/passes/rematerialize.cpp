#include <algorithm>

#include "hebb/graph/passes.h"
#include "hebb/ops/fused.h"
#include "hebb/ops/table.h"

namespace hebb::graph {
namespace {

constexpr int64_t kLeastBytes = 1 << 20;  // below this, memory is not what a network lacks
constexpr size_t kLeastShare = 8;         // of all nodes, that the value would wait for its next reader

// Whether the node is a program of one output and one large input. (With more, chains of sums would be made
// again from their beginning.)
bool is_cheap(const Graph& g, const Node& n) {
  if (n.op != &ops::fused || n.outputs.size() != 1 || size_in_bytes(g.values[n.outputs[0]]) < kLeastBytes)
    return false;
  const FusedProgram& program = *n.attrs.as<FusedAttrs>().program;
  return !program.maker(program.outputs[0]).is_sum() &&
         std::count(program.inputs.begin(), program.inputs.end(), FusedOperand::dense) == 1 &&
         std::count(program.inputs.begin(), program.inputs.end(), FusedOperand::column) == 0;
}
ValueId large_input(const Node& n) {
  const auto& kinds = n.attrs.as<FusedAttrs>().program->inputs;
  return n.inputs[static_cast<size_t>(std::find(kinds.begin(), kinds.end(), FusedOperand::dense) -
                                      kinds.begin())];
}

}  // namespace

void rematerialize(Graph& g) {
  std::vector<std::vector<size_t>> readers(g.values.size());
  for (size_t i = 0; i < g.nodes.size(); ++i)
    for (const ValueId v : g.nodes[i].inputs) readers[v].push_back(i);
  std::vector<bool> stays(g.values.size());  // leaves the function, or is read under another shape
  for (const ValueId v : g.results) stays[v] = true;
  for (const State& s : g.states) stays[s.after] = true;
  for (const Node& n : g.nodes)
    if (n.op->kind == Kind::View) stays[n.inputs[0]] = true;

  std::vector<std::vector<Node>> before(g.nodes.size());  // what is to run right before each node
  const size_t nodes = g.nodes.size();
  for (size_t i = 0; i < nodes; ++i) {
    const Node n = g.nodes[i];
    if (!is_cheap(g, n)) continue;
    const ValueId made = n.outputs[0], from = large_input(n);
    if (stays[made] || readers[made].empty()) continue;
    // The longest wait between two readers.
    size_t next = SIZE_MAX, longest = 0;
    for (size_t k = 1; k < readers[made].size(); ++k) {
      const size_t wait = readers[made][k] - readers[made][k - 1];
      if (wait > longest) longest = wait, next = readers[made][k];
    }
    // It must not keep its input longer than it is kept anyway.
    if (longest < nodes / kLeastShare || readers[from].back() < next) continue;
    Node again = detail::new_node(g, *n.op, n.attrs, n.inputs, n.module);
    for (size_t k = next; k < nodes; ++k)
      std::replace(g.nodes[k].inputs.begin(), g.nodes[k].inputs.end(), made, again.outputs[0]);
    before[next].push_back(std::move(again));
  }
  std::vector<Node> all;
  for (size_t i = 0; i < nodes; ++i) {
    for (Node& n : before[i]) all.push_back(std::move(n));
    all.push_back(std::move(g.nodes[i]));
  }
  g.nodes = std::move(all);
}

}  // namespace hebb::graph
