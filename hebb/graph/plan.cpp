#include "hebb/graph/plan.h"

#include <algorithm>
#include <chrono>
#include <numeric>

#include "hebb/autograd/grad.h"
#include "hebb/core/check.h"
#include "hebb/core/parallel.h"
#include "hebb/ops/fused.h"

namespace hebb::graph {
namespace {

constexpr int64_t kAlignment = 64;

// The steps during which a root's memory is taken: from the one that makes it to the last that reads it.
struct Life {
  size_t first = SIZE_MAX, last = 0;
  bool meets(const Life& o) const { return first <= o.last && o.first <= last; }
};

bool is_half(const Tensor& t) { return t.dtype() == bf16 || t.dtype() == f16; }

int64_t bytes_of(const TensorSpec& s) {
  const int64_t n = s.shape.numel() * size_of(s.dtype);
  return std::max(kAlignment, (n + kAlignment - 1) / kAlignment * kAlignment);
}

/// Whether output i of a node may be written over the values of an input, which the graph needs no more.
bool may_overwrite(const Graph& g, const Node& n, size_t i, size_t input) {
  const TensorSpec &from = g.values[n.inputs[input]], &to = g.values[n.outputs[i]];
  // Elementwise ops read an element before they write the same one.
  if (n.op->elementwise >= 0) return from.shape == to.shape && from.dtype == to.dtype;
  return n.op->overwrites[i] == static_cast<int>(input);
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
  for (auto n = g.nodes.rbegin(); n != g.nodes.rend(); ++n) {
    const auto& takes = n->op->overwrites;
    const bool updates = std::any_of(takes.begin(), takes.end(), [](int input) { return input >= 0; });
    if (!updates && n->op->kind == Kind::Opaque) break;  // it may throw
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

Plan::Plan(Graph graph, std::vector<Tensor> states)
    : graph_(std::move(graph)),
      memory_(plan_memory(graph_)),
      backend_(current_backend()),
      threads_(num_threads()),
      arena_(make_ref<Storage>(static_cast<size_t>(memory_.arena_bytes))),
      states_(std::move(states)),
      in_place_(plan_in_place(graph_, memory_)),
      roots_(graph_.values.size(), Root::fixed),
      views_(graph_.values.size()) {
  HEBB_CHECK(states_.size() == graph_.states.size(), "[Plan] expected {} states, got {}",
             graph_.states.size(), states_.size());
  for (size_t v = 0; v < graph_.values.size(); ++v) {
    const MemoryPlan::Place& p = memory_.places[v];
    const MemoryPlan::Place& root = memory_.places[p.root];
    const int64_t first = root.offset / size_of(p.view.spec.dtype);
    values_.push_back(root.in_arena ? Tensor::view(arena_, p.view.spec, first + p.view.offset)
                                    : Tensor::view(nullptr, p.view.spec, p.view.offset));
  }
  for (const ValueId v : graph_.arguments) roots_[v] = Root::argument;
  for (size_t s = 0; s < states_.size(); ++s) {
    const ValueId before = graph_.states[s].before;
    values_[before] = states_[s];
    roots_[before] = Root::state;
  }
  place_outputs();
  make_steps();
  for (const Constant& c : graph_.constants) bind(c.value, c.tensor.impl()->storage, c.tensor.impl()->offset);
  for (auto* steps : {&steps_, &steady_steps_})
    for (Step& step : *steps)
      if (step.fixed) point(step);
}

// Where the outputs of nodes lie that are not in the arena.
void Plan::place_outputs() {
  std::vector<ValueId> steady;
  for (const Node& n : graph_.nodes) {
    for (const ValueId v : n.outputs) {
      const ValueId root = memory_.places[v].root;
      if (memory_.places[root].in_arena) continue;
      if (root != v) {
        views_[root].push_back(v);
      } else if (memory_.steady[v]) {
        steady.push_back(v);
      } else if (in_place_[v] >= 0) {
        values_[v] = states_[static_cast<size_t>(in_place_[v])];
        roots_[v] = Root::state;
      } else {
        fresh_.push_back(v);
        roots_[v] = Root::fresh;
      }
    }
  }
  for (const ValueId v : steady) bind_new(v);
  for (size_t s = 0; s < states_.size(); ++s) {
    const auto& [before, after] = graph_.states[s];
    if (!views_[before].empty()) viewed_.emplace_back(before, s);
    if (in_place_[after] == static_cast<int>(s) && !views_[after].empty()) viewed_.emplace_back(after, s);
  }
}

void Plan::make_steps() {
  for (const Node& n : graph_.nodes) {
    if (memory_.places[n.outputs[0]].root != n.outputs[0]) continue;  // a view: nothing to do in a run
    Step& step = (memory_.steady[n.outputs[0]] ? steady_steps_ : steps_).emplace_back();
    step.node = &n;
    const auto add = [&](ValueId v, std::vector<Tensor>& operands) {
      operands.push_back(values_[v]);
      step.fixed = step.fixed && roots_[memory_.places[v].root] == Root::fixed;
    };
    for (const ValueId v : n.inputs) {
      add(v, step.inputs);
      step.as_they_lie = step.as_they_lie && (values_[v].is_contiguous() ||
                                              (n.op->takes_rows && rows_lie_apart(values_[v].spec())));
    }
    for (const ValueId v : n.outputs) add(v, step.outputs);
    step.fixed = step.fixed && step.as_they_lie;
    step.in.resize(n.inputs.size());
    step.out.resize(n.outputs.size());
    step.stamps.resize(n.inputs.size());
  }
  for (size_t s = 0; s < graph_.states.size(); ++s)
    if (memory_.steady[graph_.states[s].before]) steady_states_.push_back(s);
}

// Brings up to date what is computed from steady values alone, and what kernels are told of them.
void Plan::refresh_steady() {
  std::vector<uint64_t>& seen = steady_state_stamps_;
  const auto stamp = [&](size_t i) { return states_[steady_states_[i]].impl()->storage->stamp(); };
  bool same = seen.size() == steady_states_.size() + 1;  // (one more: there may be none)
  for (size_t i = 0; same && i < steady_states_.size(); ++i) same = seen[i] == stamp(i);
  if (same) return;
  seen.clear();
  const auto tell = [&](Step& step) {
    for (size_t i = 0; i < step.stamps.size(); ++i) {
      const ValueId v = step.node->inputs[i];
      step.stamps[i] = memory_.steady[v] ? values_[v].impl()->storage->stamp() : 0;
    }
  };
  for (Step& step : steady_steps_) {
    tell(step);
    run_step(step);
    for (const Tensor& t : step.outputs) t.impl()->storage->touch();
  }
  for (Step& step : steps_) tell(step);
  for (size_t i = 0; i < steady_states_.size(); ++i) seen.push_back(stamp(i));
  seen.push_back(0);
}

// Of a state only its views: its own tensor says where it is.
void Plan::bind(ValueId root, const Ref<Storage>& storage, int64_t offset) {
  const auto place = [&](ValueId v, int64_t at) {
    values_[v].impl()->storage = storage;
    values_[v].impl()->offset = at;
  };
  if (roots_[root] != Root::state) place(root, offset);
  for (const ValueId view : views_[root]) place(view, offset + memory_.places[view].view.offset);
}

void Plan::bind_new(ValueId root) {
  bind(root, make_ref<Storage>(static_cast<size_t>(size_in_bytes(graph_.values[root]))), 0);
}

// What leaves is not held here as well: its owner may change it in place.
void Plan::release() {
  for (const ValueId v : graph_.arguments) bind(v, nullptr, 0);
  for (const ValueId v : fresh_) bind(v, nullptr, 0);
  release_views();
}
void Plan::release_views() {
  for (const auto& [root, state] : viewed_) bind(root, nullptr, 0);
}

void Plan::point(Step& step) {
  const auto data = [](const Tensor& t) {
    const hebb::detail::TensorImpl& i = *t.impl();
    return static_cast<char*>(i.storage->data()) + i.offset * size_of(i.spec.dtype);
  };
  for (size_t i = 0; i < step.in.size(); ++i) step.in[i] = data(step.inputs[i]);
  for (size_t i = 0; i < step.out.size(); ++i) step.out[i] = data(step.outputs[i]);
}

void Plan::run_kernel(Step& step) {
  std::vector<Tensor> copies;
  if (!step.fixed) point(step);
  for (size_t i = 0; i < step.in.size() && !step.as_they_lie; ++i)
    step.in[i] = copies.emplace_back(hebb::detail::dense(step.inputs[i])).raw_data();
  ExecContext context{threads_, step.stamps.data()};
  step.kernel(context, step.in.data(), step.out.data());
}

void Plan::prepare(Step& step) {
  const Node& n = *step.node;
  step.by_reference =
      !n.op->decompose && n.op->reference && std::none_of(step.inputs.begin(), step.inputs.end(), is_half);
  if (!step.as_they_lie && n.op->elementwise >= 0) return;  // they run at once, with any strides
  std::vector<TensorSpec> specs;
  std::vector<const TensorSpec*> in, out;
  for (const Tensor& t : step.inputs)
    specs.push_back(step.as_they_lie ? t.spec() : TensorSpec(t.shape(), t.dtype(), t.device()));
  for (const TensorSpec& s : specs) in.push_back(&s);
  for (const Tensor& t : step.outputs) out.push_back(&t.spec());
  step.kernel = backend_.prepare(*n.op, n.attrs, in, out);
}

void Plan::run_step(Step& step) {
  const Node& n = *step.node;
  if (!std::exchange(step.prepared, true)) prepare(step);
  if (step.kernel) return run_kernel(step);
  if (backend_.run(*n.op, n.attrs, step.inputs, step.outputs)) return;
  if (step.by_reference) return n.op->reference({n.attrs, step.inputs, step.outputs});
  // No kernel for these types: as an eager call finds a way.
  const Outputs values = base_interpreter().apply(*n.op, n.attrs, step.inputs);
  for (int i = 0; i < values.size(); ++i) {
    const Tensor& v = values[i];
    hebb::detail::copy_values(v.spec(), v.raw_data(), step.outputs[i].spec(), step.outputs[i].raw_data());
  }
}

NodeCost Plan::timed_step(Step& step) {
  const Node& n = *step.node;
  NodeCost cost{std::string(n.op->name), n.module, "", 0, multiply_adds(graph_, n), 0};
  for (const auto* values : {&n.inputs, &n.outputs})
    for (const ValueId v : *values) cost.bytes += size_in_bytes(graph_.values[v]);
  for (const ValueId v : n.inputs)
    cost.shapes += (cost.shapes.empty() ? "" : ", ") + graph_.values[v].shape.str();
  const auto began = std::chrono::steady_clock::now();
  run_step(step);
  cost.ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began).count();
  return cost;
}

// Each state dense, and alone in its memory where that is written to; new memory for what leaves the run.
void Plan::ready_states() {
  release_views();  // those of the run before this one
  for (size_t i = 0; i < states_.size(); ++i) {
    hebb::detail::TensorImpl& state = *states_[i].impl();
    const State& s = graph_.states[i];
    const bool written = s.after != s.before && in_place_[s.after] == static_cast<int>(i);
    if (!state.spec.contiguous || (written && state.storage->use_count() != 1)) {
      const Tensor copy = Tensor::empty(state.spec.shape, state.spec.dtype);
      hebb::detail::copy_values(state.spec, states_[i].raw_data(), copy.spec(), copy.raw_data());
      state.spec = copy.spec();
      state.storage = copy.impl()->storage;
      state.offset = 0;
    }
  }
  for (const auto& [root, state] : viewed_)
    bind(root, states_[state].impl()->storage, states_[state].impl()->offset);
  for (const ValueId v : fresh_) bind_new(v);
}

void Plan::assign_states() {
  std::vector<std::pair<size_t, Tensor>> others;  // held: they may be values of states that change as well
  for (size_t i = 0; i < states_.size(); ++i) {
    const State& s = graph_.states[i];
    if (s.after == s.before) continue;
    if (in_place_[s.after] == static_cast<int>(i)) states_[i].impl()->storage->touch();
    else others.emplace_back(i, values_[s.after].detach());
  }
  for (auto& [i, value] : others) {
    if (roots_[graph_.states[i].after] == Root::fresh) {  // its memory was made for the state
      value.impl()->storage->touch();
      states_[i].impl()->spec = value.spec();
      states_[i].impl()->storage = value.impl()->storage;
      states_[i].impl()->offset = value.impl()->offset;
    } else {  // the value of another state, an argument, a view
      states_[i].assign_(value);
    }
  }
}

std::vector<Tensor> Plan::run(std::span<const Tensor> arguments, int64_t times,
                              std::vector<NodeCost>* costs) {
  const NoGrad no_grad;
  struct Releases {
    Plan& plan;
    ~Releases() { plan.release(); }
  } releases{*this};
  std::vector<Tensor> results;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const Tensor t = hebb::detail::dense(arguments[i]);
    bind(graph_.arguments[i], t.impl()->storage, t.impl()->offset);
  }
  for (int64_t i = 0; i < times; ++i) {
    ready_states();
    refresh_steady();
    for (Step& s : steps_) {
      if (costs) costs->push_back(timed_step(s));
      else run_step(s);
    }
    if (i == times - 1)
      for (const ValueId v : graph_.results) results.push_back(values_[v].detach());
    assign_states();
  }
  return results;
}

}  // namespace hebb::graph
