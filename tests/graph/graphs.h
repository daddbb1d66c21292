// What tests of graphs share.
#pragma once
#include <algorithm>
#include <string_view>
#include <vector>

#include "hebb/graph/trace.h"

namespace hebb::graph::test {

using Tensors = std::vector<Tensor>;
using Args = std::span<const Tensor>;

/// The graph of a function without state.
inline Graph traced(const Function& fn, const Tensors& arguments) { return trace(fn, arguments, {}); }
/// How many nodes call the op of that name.
inline size_t count(const Graph& g, std::string_view op) {
  return static_cast<size_t>(
      std::count_if(g.nodes.begin(), g.nodes.end(), [&](const Node& n) { return n.op->name == op; }));
}

}  // namespace hebb::graph::test
