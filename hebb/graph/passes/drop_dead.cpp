#include <algorithm>

#include "hebb/graph/passes.h"

namespace hebb::graph {

void drop_dead(Graph& g) {
  std::vector<int> uses = g.uses();
  // Backwards: what a dropped node reads has one reader fewer.
  std::vector<bool> dead(g.nodes.size());
  for (size_t i = g.nodes.size(); i-- > 0;) {
    const Node& n = g.nodes[i];
    dead[i] = std::all_of(n.outputs.begin(), n.outputs.end(), [&](ValueId v) { return uses[v] == 0; });
    if (!dead[i]) continue;
    for (const ValueId v : n.inputs) --uses[v];
  }
  size_t i = 0;
  std::erase_if(g.nodes, [&](const Node&) { return dead[i++]; });
  std::erase_if(g.constants, [&](const Constant& c) { return uses[c.value] == 0; });
}

}  // namespace hebb::graph
