// Runs a function once on tensors without values and writes down, as a graph, the ops that it calls.
#pragma once
#include <functional>
#include <span>
#include <vector>

#include "hebb/graph/graph.h"

namespace hebb::graph {

/// What can be compiled.
using Function = std::function<std::vector<Tensor>(std::span<const Tensor>)>;

/// The graph of fn(arguments), backward included if fn calls it. `state` are the tensors that fn may read and
/// assign beside its arguments; they are as before when this returns or throws. Throws Error for any other
/// tensor that fn reads, for a value that it looks at, and for state that it assigns a known value.
Graph trace(const Function& fn, std::span<const Tensor> arguments, std::span<const Tensor> state);

}  // namespace hebb::graph
