// A graph made ready to run again and again: kernels are prepared, and what lives only within a run has its
// place in one block of memory.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "hebb/graph/memory_plan.h"
#include "hebb/op/dispatch.h"

namespace hebb::graph {

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
