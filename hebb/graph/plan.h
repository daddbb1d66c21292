// A graph made ready to run again and again: kernels are prepared, and what lives only within a run has its
// place in one block of memory.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "hebb/graph/graph.h"
#include "hebb/op/dispatch.h"

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
/// For each value, the place in graph.states of the state whose memory it may be written to while the state's
/// old value is read; -1 for none. Only where nothing after it may throw: else a run that fails would leave
/// some of the states changed.
std::vector<int> plan_in_place(const Graph& graph, const MemoryPlan& memory);

/// Runs one graph. Not to be run by two threads at once.
class Plan {
 public:
  /// Takes the kernels of this thread's backend, for this thread's number of threads. `states` are the
  /// tensors behind graph.states.
  explicit Plan(Graph graph, std::vector<Tensor> states = {});

  /// The results for these arguments, which must be of the traced shapes and types; then the states are what
  /// the function made of them. If a kernel throws (an index out of range), the states stay as they were.
  /// With `times`, so many runs with the same arguments, each from the states that the one before it left;
  /// the results are the last one's. With `costs`, what each node took is appended to it.
  std::vector<Tensor> run(std::span<const Tensor> arguments, int64_t times = 1,
                          std::vector<NodeCost>* costs = nullptr);

  const Graph& graph() const { return graph_; }
  /// Of memory that lives only within a run.
  int64_t arena_bytes() const { return memory_.arena_bytes; }

 private:
  // Where a root lies: always at the same place (in the arena, a constant, a steady value), where an argument
  // is, in memory that is new in each run, or in a state's memory, whose tensor is then the value's.
  enum class Root : uint8_t { fixed, argument, fresh, state };
  // A node with its operands, which are handles of values_: no run makes any.
  struct Step {
    const Node* node = nullptr;
    std::vector<Tensor> inputs, outputs;
    bool as_they_lie = true;  // no input is copied to be dense
    bool fixed = true;        // `in` and `out` always hold
    bool prepared = false, by_reference = false;
    Kernel kernel;
    std::vector<const void*> in;
    std::vector<void*> out;
    std::vector<uint64_t> stamps;  // of the inputs; see ExecContext
  };
  void place_outputs();
  void make_steps();
  void bind(ValueId root, const Ref<Storage>& storage, int64_t offset);
  void bind_new(ValueId root);
  void release();
  void release_views();
  void ready_states();
  void refresh_steady();
  void assign_states();
  static void point(Step& step);
  void prepare(Step& step);
  void run_step(Step& step);
  void run_kernel(Step& step);
  NodeCost timed_step(Step& step);

  Graph graph_;
  MemoryPlan memory_;
  Backend& backend_;
  int threads_;
  Ref<Storage> arena_;
  std::vector<Tensor> states_;
  std::vector<Tensor> values_;               // by value
  std::vector<ValueId> fresh_;               // the roots of that kind
  std::vector<int> in_place_;                // by value: the state whose memory it takes over; -1: none
  std::vector<Root> roots_;                  // by value
  std::vector<std::vector<ValueId>> views_;  // of each root outside of the arena
  std::vector<std::pair<ValueId, size_t>> viewed_;  // the roots in a state's memory that have views
  std::vector<Step> steps_;
  // What is computed from steady values alone runs only when they have changed.
  std::vector<Step> steady_steps_;
  std::vector<size_t> steady_states_;          // places in graph_.states
  std::vector<uint64_t> steady_state_stamps_;  // when the steady steps ran last
};

}  // namespace hebb::graph
