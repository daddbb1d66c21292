// A function as a graph: what one call of it computed, op by op. The tracer makes it, passes improve it, the
// plan runs it.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "hebb/graph/cost.h"
#include "hebb/op/op.h"

namespace hebb::graph {

/// The place of a value in Graph::values.
using ValueId = int32_t;

/// A call of an op.
struct Node {
  const OpDef* op;
  Attrs attrs;
  std::vector<ValueId> inputs, outputs;
  std::string module;  ///< the path of the module that called it, "LeNet.conv1"; empty outside of any
};

/// A value that is known before the function runs.
struct Constant {
  ValueId value;
  Tensor tensor;
};

/// State: a tensor that the function reads and may assign. `after` is its value when the function ends;
/// equal to `before` if it is only read.
struct State {
  ValueId before, after;
};

/// A function in static single assignment: every value is made once, by an argument, a state, a constant or
/// a node, and nodes stand in an order in which they can run. All values are dense.
struct Graph {
  std::vector<TensorSpec> values;
  std::vector<Node> nodes;
  std::vector<ValueId> arguments;
  std::vector<State> states;
  std::vector<Constant> constants;
  std::vector<ValueId> results;

  /// Appends a value.
  ValueId add_value(const TensorSpec& spec);
  /// How often each value is read: by nodes, as a result, as what a state becomes.
  std::vector<int> uses() const;
  /// As text, a line a node: "%5 f32 64x6x28x28 = conv2d(%0, %1, %2) stride=(1, 1) in LeNet.conv1".
  std::string str() const;
  /// For Graphviz.
  std::string dot() const;
};

/// Of the elements of a dense value.
inline int64_t size_in_bytes(const TensorSpec& s) { return s.shape.numel() * size_of(s.dtype); }
/// Of one run of the node, by what its op says; 0 for ops that are no products.
int64_t multiply_adds(const Graph& graph, const Node& node);
/// Of the whole graph.
Needs needs_of(const Graph& graph);

/// Which values stay the same from run to run as long as nobody assigns the state: constants, state that the
/// function does not assign, and what is computed from these alone and does not leave the function.
std::vector<bool> steady_values(const Graph& graph);

/// Throws Error if the graph is not well formed: a value made twice or read before it is made, a node whose
/// outputs are not what its op infers. Says which pass left it so.
void verify(const Graph& graph, const std::string& after);

}  // namespace hebb::graph
