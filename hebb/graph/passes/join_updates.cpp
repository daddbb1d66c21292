#include <algorithm>

#include "hebb/graph/passes.h"

namespace hebb::graph {
namespace {

// Elements of a parameter, at most: larger updates take longer than a call, and each waits for its gradient
// only, which is then needed no more.
constexpr int64_t kSmall = 4096;

// Of update ops, see optim::detail::update_specs(): the options, gradients, then what is changed.
size_t gradients(const Node& n) { return n.inputs.size() - n.outputs.size() - 1; }

bool is_small_update(const Graph& g, const Node& n) {
  if (!n.op->overwrites_last || gradients(n) != 1) return false;
  const TensorSpec& values = g.values[n.outputs[0]];
  return values.dtype == f32 && values.shape.numel() <= kSmall;
}

// Updates that wait to become one: by the same rule, with the same options.
struct Waiting {
  std::vector<Node> updates;

  bool takes(const Node& n) const {
    return updates.empty() || (updates[0].op == n.op && updates[0].inputs[0] == n.inputs[0] &&
                               updates[0].outputs.size() == n.outputs.size());
  }
  void leave(std::vector<Node>& nodes) {
    if (updates.empty()) return;
    Node joined{updates[0].op, updates[0].attrs, {updates[0].inputs[0]}, {}, updates[0].module};
    for (const Node& n : updates) joined.inputs.push_back(n.inputs[1]);
    for (const Node& n : updates) {
      joined.inputs.insert(joined.inputs.end(), n.inputs.begin() + 2, n.inputs.end());
      joined.outputs.insert(joined.outputs.end(), n.outputs.begin(), n.outputs.end());
      if (n.module != joined.module) joined.module.clear();
    }
    nodes.push_back(std::move(joined));
    updates.clear();
  }
};

}  // namespace

void join_updates(Graph& g) {
  std::vector<Node> nodes;
  std::vector<bool> waits(g.values.size());
  Waiting waiting;
  for (Node& n : g.nodes) {
    const bool small = is_small_update(g, n);
    const bool reads = std::any_of(n.inputs.begin(), n.inputs.end(), [&](ValueId v) { return waits[v]; });
    if (reads || (small && !waiting.takes(n))) {
      waiting.leave(nodes);
      std::fill(waits.begin(), waits.end(), false);
    }
    if (small) {
      for (const ValueId v : n.outputs) waits[v] = true;
      waiting.updates.push_back(std::move(n));
    } else {
      nodes.push_back(std::move(n));
    }
  }
  waiting.leave(nodes);
  g.nodes = std::move(nodes);
}

}  // namespace hebb::graph
