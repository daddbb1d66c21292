#include <algorithm>

#include "hebb/graph/passes.h"
#include "hebb/ops/conv_attrs.h"
#include "hebb/ops/pool_attrs.h"
#include "hebb/ops/table.h"

namespace hebb::graph {
namespace {

// Whether it has a kernel of its own: few channels, whose images are turned so that lanes run over the batch.
bool is_narrow(const Graph& g, const Node& conv) {
  const Shape &x = g.values[conv.inputs[0]].shape, &w = g.values[conv.inputs[1]].shape;
  return conv.attrs.as<Conv2dAttrs>().groups == 1 && std::min(w[0], w[1]) <= 8 && w[2] * w[3] > 1 &&
         x[0] >= 8 && x[1] * x[2] * x[3] <= 4096 && g.values[conv.inputs[0]].dtype == f32;
}

bool is_2x2(const Node& pool) {
  const auto& a = pool.attrs.as<MaxPoolAttrs>();
  const std::array<int64_t, 2> two{2, 2}, one{1, 1}, none{0, 0};
  return a.kernel == two && a.stride == two && a.padding == none && a.dilation == one && !a.ceil_mode;
}

}  // namespace

void join_pool(Graph& g) {
  const std::vector<int> uses = g.uses();
  std::vector<size_t> maker(g.values.size(), SIZE_MAX);
  std::vector<Node> nodes;
  for (Node& n : g.nodes) {
    const ValueId x = n.inputs.empty() ? -1 : n.inputs[0];
    if (n.op == &ops::max_pool2d && maker[x] != SIZE_MAX && uses[x] == 1 && is_2x2(n)) {
      Node& conv = nodes[maker[x]];
      if (conv.op == &ops::conv2d && is_narrow(g, conv)) {
        const bool places = uses[n.outputs[1]] > 0;
        conv.op = places ? &ops::conv2d_max_pool2d : &ops::conv2d_max_pool2d_values;
        conv.outputs = n.outputs;
        if (!places) conv.outputs.pop_back();
        continue;
      }
    }
    for (const ValueId v : n.outputs) maker[v] = nodes.size();
    nodes.push_back(std::move(n));
  }
  g.nodes = std::move(nodes);
}

}  // namespace hebb::graph
