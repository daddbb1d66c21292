#include "hebb/graph/plan.h"

#include <algorithm>
#include <chrono>

#include "hebb/autograd/grad.h"
#include "hebb/core/check.h"
#include "hebb/core/parallel.h"
#include "hebb/ops/fused.h"

namespace hebb::graph {
namespace {

bool is_half(const Tensor& t) { return t.dtype() == bf16 || t.dtype() == f16; }

}  // namespace

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
