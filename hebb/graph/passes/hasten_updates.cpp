#include <algorithm>

#include "hebb/graph/memory_plan.h"
#include "hebb/graph/passes.h"

namespace hebb::graph {
namespace {

constexpr ptrdiff_t kBefore = -1;  // the place of what no node makes or reads

// For each value, the one whose memory it may be read from: what it is a view of, or itself.
std::vector<ValueId> roots_of(const Graph& g) {
  std::vector<ValueId> roots = detail::each_itself(g);
  for (const Node& n : g.nodes)
    if (n.op->view) roots[n.outputs[0]] = roots[n.inputs[0]];
  return roots;
}

}  // namespace

void hasten_updates(Graph& g) {
  const std::vector<ValueId> roots = roots_of(g);
  const std::vector<bool> throwing = may_throw(g);
  std::vector<ptrdiff_t> made(g.values.size(), kBefore), read(g.values.size(), kBefore);  // by root: last
  std::vector<std::vector<Node>> behind(g.nodes.size() + 1);                              // node i - 1
  ptrdiff_t refuses = kBefore;  // the last node that may throw
  for (ptrdiff_t i = 0; i < std::ssize(g.nodes); ++i) {
    Node& n = g.nodes[static_cast<size_t>(i)];
    ptrdiff_t place = i;
    if (n.op->overwrites_last) {
      place = refuses;
      for (const ValueId v : n.inputs) place = std::max(place, made[v]);
      for (size_t k = n.inputs.size() - n.outputs.size(); k < n.inputs.size(); ++k)
        place = std::max(place, read[roots[n.inputs[k]]]);
    } else if (throwing[static_cast<size_t>(i)]) {
      refuses = i;
    }
    for (const ValueId v : n.inputs) read[roots[v]] = std::max(read[roots[v]], place);
    for (const ValueId v : n.outputs) made[v] = place;
    behind[static_cast<size_t>(place + 1)].push_back(std::move(n));
  }
  g.nodes.clear();
  for (std::vector<Node>& nodes : behind)
    g.nodes.insert(g.nodes.end(), std::make_move_iterator(nodes.begin()),
                   std::make_move_iterator(nodes.end()));
}

}  // namespace hebb::graph
