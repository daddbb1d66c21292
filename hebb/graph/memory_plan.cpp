#include "hebb/graph/memory_plan.h"

#include <algorithm>
#include <numeric>

namespace hebb::graph {
namespace {

constexpr int64_t kAlignment = 64;

// The steps during which a root's memory is taken: from the one that makes it to the last that reads it.
struct Life {
  size_t first = SIZE_MAX, last = 0;
  bool meets(const Life& o) const { return first <= o.last && o.first <= last; }
};

int64_t bytes_of(const TensorSpec& s) {
  const int64_t n = s.shape.numel() * size_of(s.dtype);
  return std::max(kAlignment, (n + kAlignment - 1) / kAlignment * kAlignment);
}

// Whether output i of a node may be written over the values of an input, which the graph needs no more.
bool may_overwrite(const Graph& g, const Node& n, size_t i, size_t input) {
  const TensorSpec &from = g.values[n.inputs[input]], &to = g.values[n.outputs[i]];
  // Elementwise ops read an element before they write the same one.
  if (n.op->elementwise >= 0) return from.shape == to.shape && from.dtype == to.dtype;
  if (n.op->overwrites_last) return input == n.inputs.size() - n.outputs.size() + i;
  return i < n.op->overwrites.size() && n.op->overwrites[i] == static_cast<int>(input);
}

// Whether a node reads the memory of one of its inputs as another value, too.
bool is_also_viewed(const MemoryPlan& plan, const Node& n, ValueId input) {
  return std::any_of(n.inputs.begin(), n.inputs.end(),
                     [&](ValueId v) { return v != input && plan.places[v].root == plan.places[input].root; });
}

// What outlives a run, or was there before it: these roots are not in the arena.
std::vector<bool> kept_outside(const Graph& g, const MemoryPlan& plan) {
  const std::vector<MemoryPlan::Place>& places = plan.places;
  std::vector<bool> outside = plan.steady;
  for (const ValueId v : g.arguments) outside[v] = true;
  for (const Constant& c : g.constants) outside[c.value] = true;
  for (const ValueId v : g.results) outside[places[v].root] = true;
  for (const State& s : g.states) outside[s.before] = outside[places[s.after].root] = true;
  return outside;
}

}  // namespace

MemoryPlan plan_memory(const Graph& g) {
  MemoryPlan plan;
  plan.steady = steady_values(g);
  for (size_t v = 0; v < g.values.size(); ++v)
    plan.places.push_back({static_cast<ValueId>(v), {g.values[v], 0}});
  for (const Node& n : g.nodes) {
    if (!n.op->view) continue;
    const MemoryPlan::Place& of = plan.places[n.inputs[0]];
    if (const auto view = n.op->view(of.view.spec, n.attrs))
      plan.places[n.outputs[0]] = {of.root, {view->spec, of.view.offset + view->offset}};
  }
  const std::vector<bool> outside = kept_outside(g, plan);
  std::vector<Life> lives(g.values.size());
  std::vector<ValueId> roots;
  for (size_t i = 0; i < g.nodes.size(); ++i) {
    for (const ValueId v : g.nodes[i].inputs) lives[plan.places[v].root].last = i;
    for (const ValueId v : g.nodes[i].outputs) {
      if (plan.places[v].root != v || outside[v]) continue;
      lives[v] = {i, i};
      roots.push_back(v);
    }
  }
  // Outputs that take over the memory of an input whose last reader makes them: both are one block.
  std::vector<ValueId> block(g.values.size());
  std::iota(block.begin(), block.end(), 0);
  std::vector<Life> used = lives;  // by block
  std::vector<bool> taken = outside;
  for (size_t i = 0; i < g.nodes.size(); ++i) {
    const Node& n = g.nodes[i];
    for (size_t out = 0; out < n.outputs.size(); ++out) {
      const ValueId to = n.outputs[out];
      if (plan.places[to].root != to || outside[to]) continue;
      for (size_t input = 0; input < n.inputs.size() && block[to] == to; ++input) {
        const ValueId from = n.inputs[input];
        if (!may_overwrite(g, n, out, input) || plan.places[from].root != from || taken[from] ||
            lives[from].last != i || is_also_viewed(plan, n, from))
          continue;
        taken[from] = true;
        block[to] = block[from];
        used[block[to]].last = lives[to].last;
      }
    }
  }
  // The largest first; each at the lowest place that is free for as long as it lives.
  std::stable_sort(roots.begin(), roots.end(),
                   [&](ValueId a, ValueId b) { return bytes_of(g.values[a]) > bytes_of(g.values[b]); });
  std::vector<ValueId> placed;  // by offset
  for (const ValueId v : roots) {
    if (block[v] != v) continue;
    const int64_t size = bytes_of(g.values[v]);
    int64_t at = 0;
    for (const ValueId other : placed) {
      if (!used[v].meets(used[other])) continue;
      const int64_t begin = plan.places[other].offset;
      if (at + size <= begin) break;
      at = std::max(at, begin + bytes_of(g.values[other]));
    }
    plan.places[v].offset = at;
    plan.arena_bytes = std::max(plan.arena_bytes, at + size);
    placed.insert(std::upper_bound(placed.begin(), placed.end(), at,
                                   [&](int64_t x, ValueId o) { return x < plan.places[o].offset; }),
                  v);
  }
  for (const ValueId v : roots) {
    plan.places[v].in_arena = true;
    plan.places[v].offset = plan.places[block[v]].offset;
  }
  return plan;
}

std::vector<int> plan_in_place(const Graph& g, const MemoryPlan& memory) {
  std::vector<int> state_of(g.values.size(), -1), in_place(g.values.size(), -1);
  for (size_t s = 0; s < g.states.size(); ++s) state_of[g.states[s].before] = static_cast<int>(s);
  std::vector<bool> read_later(g.values.size());  // by root: by a later node or as a result
  for (const ValueId v : g.results) read_later[memory.places[v].root] = true;
  for (const State& s : g.states)
    if (s.after != s.before) read_later[memory.places[s.after].root] = true;
  const std::vector<bool> throwing = may_throw(g);
  for (auto n = g.nodes.rbegin(); n != g.nodes.rend(); ++n) {
    if (throwing[static_cast<size_t>(&*n - g.nodes.data())]) break;
    for (size_t i = 0; i < n->outputs.size(); ++i) {
      const ValueId out = n->outputs[i];
      for (size_t input = 0; input < n->inputs.size(); ++input) {
        if (!may_overwrite(g, *n, i, input)) continue;
        const ValueId old = n->inputs[input];
        const int s = state_of[old];
        if (s >= 0 && !is_also_viewed(memory, *n, old) && g.states[s].after == out && !read_later[old])
          in_place[out] = s;
      }
    }
    for (const ValueId v : n->inputs) read_later[memory.places[v].root] = true;
  }
  return in_place;
}

}  // namespace hebb::graph
