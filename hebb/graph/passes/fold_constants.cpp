#include <algorithm>
#include <unordered_map>

#include "hebb/autograd/grad.h"
#include "hebb/graph/passes.h"
#include "hebb/op/dispatch.h"

namespace hebb::graph {

namespace {
constexpr int64_t kLargest =
    4096;  // elements of a folded constant: larger ones are made when they are needed
}

void fold_constants(Graph& g) {
  std::unordered_map<ValueId, Tensor> known;
  for (const Constant& c : g.constants) known.emplace(c.value, c.tensor);
  const NoGrad no_grad;
  std::vector<Node> kept;
  for (Node& n : g.nodes) {
    const bool folds =
        n.op->kind != Kind::Random &&
        std::all_of(n.inputs.begin(), n.inputs.end(), [&](ValueId v) { return known.contains(v); }) &&
        std::all_of(n.outputs.begin(), n.outputs.end(),
                    [&](ValueId v) { return g.values[v].shape.numel() <= kLargest; });
    if (!folds) {
      kept.push_back(std::move(n));
      continue;
    }
    std::vector<Tensor> inputs;
    for (const ValueId v : n.inputs) inputs.push_back(known.at(v));
    const Outputs out = base_interpreter().apply(*n.op, n.attrs, inputs);
    for (size_t i = 0; i < n.outputs.size(); ++i) {
      const Tensor value = hebb::detail::dense(out[static_cast<int>(i)]);
      known.emplace(n.outputs[i], value);
      g.constants.push_back({n.outputs[i], value});
    }
  }
  g.nodes = std::move(kept);
}

}  // namespace hebb::graph
