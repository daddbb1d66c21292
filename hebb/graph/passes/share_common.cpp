#include <unordered_map>

#include "hebb/graph/passes.h"

namespace hebb::graph {

void share_common(Graph& g) {
  std::vector<ValueId> to = detail::each_itself(g);
  std::unordered_multimap<size_t, const Node*> seen;
  for (Node& n : g.nodes) {
    size_t h = hebb::detail::mix(reinterpret_cast<size_t>(n.op), n.attrs.hash());
    for (ValueId& v : n.inputs) h = hebb::detail::mix(h, static_cast<size_t>(v = to[v]));
    const auto [begin, end] = seen.equal_range(h);
    auto it = begin;
    while (it != end &&
           !(it->second->op == n.op && it->second->inputs == n.inputs && it->second->attrs == n.attrs))
      ++it;
    if (it == end) {
      seen.emplace(h, &n);
      continue;
    }
    for (size_t i = 0; i < n.outputs.size(); ++i) to[n.outputs[i]] = it->second->outputs[i];
  }
  detail::replace_values(g, to);
}

}  // namespace hebb::graph
