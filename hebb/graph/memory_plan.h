// Where the values of a graph lie while it runs.
#pragma once
#include <vector>

#include "hebb/core/tensor.h"
#include "hebb/graph/graph.h"
#include "hebb/op/op.h"

namespace hebb::graph {

/// Where each value of a graph is kept while it runs.
struct MemoryPlan {
  /// A value is a root, with memory of its own, or a view of one: the same memory by other strides.
  struct Place {
    ValueId root;
    ViewSpec view;          ///< relative to the root's first element
    bool in_arena = false;  ///< roots: for results, arguments, state and constants this is false
    int64_t offset = 0;     ///< bytes from the start of the arena
  };
  std::vector<Place> places;  ///< by value
  int64_t arena_bytes = 0;
  std::vector<bool> steady;  ///< by value, see steady_values(): these keep memory of their own
};
/// Values that are never needed at the same time may share memory, and so may an output and an input that it
/// may overwrite (see OpDef::overwrites) and that nothing reads later. Offsets are multiples of 64.
MemoryPlan plan_memory(const Graph& graph);
/// For each node, whether its kernel may refuse values of the right shapes and types, such as an index out of
/// range. What an earlier node has checked, or made, is refused no more: indices that a gradient reads again.
std::vector<bool> may_throw(const Graph& graph);
/// For each value, the place in graph.states of the state whose memory it may be written to while the state's
/// old value is read; -1 for none. Only where nothing after it may throw: else a run that fails would leave
/// some of the states changed.
std::vector<int> plan_in_place(const Graph& graph, const MemoryPlan& memory);

}  // namespace hebb::graph
