#include "hebb/graph/plan.h"

#include <algorithm>
#include <numeric>

#include "hebb/autograd/grad.h"
#include "hebb/core/check.h"
#include "hebb/core/parallel.h"

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

// What outlives a run, or was there before it: these roots are not in the arena.
std::vector<bool> kept_outside(const Graph& g, const std::vector<MemoryPlan::Place>& places) {
  std::vector<bool> outside(g.values.size());
  for (const ValueId v : g.arguments) outside[v] = true;
  for (const Constant& c : g.constants) outside[c.value] = true;
  for (const ValueId v : g.results) outside[places[v].root] = true;
  for (const State& s : g.states) outside[s.before] = outside[places[s.after].root] = true;
  return outside;
}

}  // namespace

MemoryPlan plan_memory(const Graph& g) {
  MemoryPlan plan;
  for (size_t v = 0; v < g.values.size(); ++v)
    plan.places.push_back({static_cast<ValueId>(v), {g.values[v], 0}});
  for (const Node& n : g.nodes) {
    if (!n.op->view) continue;
    const MemoryPlan::Place& of = plan.places[n.inputs[0]];
    if (const auto view = n.op->view(of.view.spec, n.attrs))
      plan.places[n.outputs[0]] = {of.root, {view->spec, of.view.offset + view->offset}};
  }
  const std::vector<bool> outside = kept_outside(g, plan.places);
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
  // The largest first; each at the lowest place that is free for as long as it lives.
  std::stable_sort(roots.begin(), roots.end(),
                   [&](ValueId a, ValueId b) { return bytes_of(g.values[a]) > bytes_of(g.values[b]); });
  std::vector<ValueId> placed;  // by offset
  for (const ValueId v : roots) {
    const int64_t size = bytes_of(g.values[v]);
    int64_t at = 0;
    for (const ValueId other : placed) {
      if (!lives[v].meets(lives[other])) continue;
      const int64_t begin = plan.places[other].offset;
      if (at + size <= begin) break;
      at = std::max(at, begin + bytes_of(g.values[other]));
    }
    plan.places[v].in_arena = true;
    plan.places[v].offset = at;
    plan.arena_bytes = std::max(plan.arena_bytes, at + size);
    placed.insert(std::upper_bound(placed.begin(), placed.end(), at,
                                   [&](int64_t x, ValueId o) { return x < plan.places[o].offset; }),
                  v);
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
    const bool updates = n->op->overwrites[0] >= 0;
    if (!updates && n->op->kind == Kind::Opaque) break;  // it may throw
    for (size_t i = 0; i < n->outputs.size(); ++i) {
      const ValueId out = n->outputs[i];
      const int input = updates ? n->op->overwrites[i] : -1;
      if (input < 0 || static_cast<size_t>(input) >= n->inputs.size()) continue;
      const ValueId old = n->inputs[static_cast<size_t>(input)];
      const int s = state_of[old];
      if (s >= 0 && g.states[s].after == out && !read_later[old]) in_place[out] = s;
    }
    for (const ValueId v : n->inputs) read_later[memory.places[v].root] = true;
  }
  return in_place;
}

Plan::Plan(Graph graph)
    : graph_(std::move(graph)),
      memory_(plan_memory(graph_)),
      backend_(current_backend()),
      threads_(num_threads()),
      arena_(make_ref<Storage>(static_cast<size_t>(memory_.arena_bytes))),
      slots_(graph_.values.size()),
      fresh_(graph_.values.size()),
      in_place_(plan_in_place(graph_, memory_)),
      views_(graph_.values.size()) {
  std::vector<bool> given(graph_.values.size());
  for (const ValueId v : graph_.arguments) given[v] = true;
  for (const State& s : graph_.states) given[s.before] = true;
  for (const Constant& c : graph_.constants) given[c.value] = true;
  for (const Node& n : graph_.nodes) {
    for (const ValueId v : n.outputs) {
      const MemoryPlan::Place& p = memory_.places[v];
      const MemoryPlan::Place& root = memory_.places[p.root];
      if (root.in_arena)
        slots_[v] =
            Tensor::view(arena_, p.view.spec, root.offset / size_of(p.view.spec.dtype) + p.view.offset);
      else if (p.root != v) views_[p.root].push_back(v);
      else fresh_[v] = !given[v];
    }
    steps_.push_back({&n, memory_.places[n.outputs[0]].root != n.outputs[0], false, {}});
  }
  for (const Constant& c : graph_.constants) bind(c.value, c.tensor);
}

void Plan::bind(ValueId root, const Tensor& tensor) {
  slots_[root] = tensor;
  for (const ValueId view : views_[root]) {
    const ViewSpec& s = memory_.places[view].view;
    slots_[view] = Tensor::view(tensor.impl()->storage, s.spec, tensor.impl()->offset + s.offset);
  }
}

void Plan::release() {
  inputs_.clear();
  outputs_.clear();
  auto let_go = [&](ValueId root) {
    slots_[root] = Tensor();
    for (const ValueId view : views_[root]) slots_[view] = Tensor();
  };
  for (const ValueId v : graph_.arguments) let_go(v);
  for (const State& s : graph_.states) let_go(s.before);
  for (size_t v = 0; v < fresh_.size(); ++v)
    if (fresh_[v]) let_go(static_cast<ValueId>(v));
}

void Plan::run_step(Step& step) {
  const Node& n = *step.node;
  inputs_.clear();
  outputs_.clear();
  for (const ValueId v : n.inputs) inputs_.push_back(slots_[v]);
  for (const ValueId v : n.outputs) outputs_.push_back(slots_[v]);
  if (backend_.run(*n.op, n.attrs, inputs_, outputs_)) return;

  if (!step.prepared) {
    std::vector<TensorSpec> dense;
    std::vector<const TensorSpec*> in, out;
    for (const Tensor& t : inputs_) dense.emplace_back(t.shape(), t.dtype(), t.device());
    for (const TensorSpec& s : dense) in.push_back(&s);
    for (const Tensor& t : outputs_) out.push_back(&t.spec());
    step.kernel = backend_.prepare(*n.op, n.attrs, in, out);
    step.prepared = true;
  }
  if (step.kernel) {
    std::vector<const void*> in;
    std::vector<void*> out;
    for (Tensor& t : inputs_) in.push_back((t = hebb::detail::dense(t)).raw_data());
    for (const Tensor& t : outputs_) out.push_back(t.raw_data());
    ExecContext context{threads_};
    step.kernel(context, in.data(), out.data());
    return;
  }
  if (!n.op->decompose && n.op->reference && !std::any_of(inputs_.begin(), inputs_.end(), is_half)) {
    n.op->reference({n.attrs, inputs_, outputs_});
    return;
  }
  // No kernel for these types: as an eager call finds a way.
  const Outputs values = base_interpreter().apply(*n.op, n.attrs, inputs_);
  for (int i = 0; i < values.size(); ++i) {
    const Tensor& v = values[i];
    hebb::detail::copy_values(v.spec(), v.raw_data(), outputs_[i].spec(), outputs_[i].raw_data());
  }
}

std::vector<Tensor> Plan::run(std::span<const Tensor> arguments, std::span<const Tensor> states) {
  const NoGrad no_grad;
  std::vector<bool> unshared;
  for (const Tensor& t : states) unshared.push_back(t.is_contiguous() && t.impl()->storage->use_count() == 1);
  for (size_t i = 0; i < arguments.size(); ++i)
    bind(graph_.arguments[i], hebb::detail::dense(arguments[i].detach()));
  for (size_t i = 0; i < states.size(); ++i)
    bind(graph_.states[i].before, hebb::detail::dense(states[i].detach()));
  for (size_t v = 0; v < fresh_.size(); ++v) {
    if (!fresh_[v]) continue;
    const TensorSpec& spec = graph_.values[v];
    const int state = in_place_[v];
    bind(static_cast<ValueId>(v),
         state >= 0 && unshared[state] ? states[state].detach() : Tensor::empty(spec.shape, spec.dtype));
  }
  for (Step& s : steps_)
    if (!s.is_view) run_step(s);

  std::vector<Tensor> results, after;
  for (const ValueId v : graph_.results) results.push_back(slots_[v].detach());
  for (const State& s : graph_.states) after.push_back(s.after == s.before ? Tensor() : slots_[s.after]);
  release();  // what leaves is not held here as well: its owner may change it in place
  for (size_t i = 0; i < states.size(); ++i) {
    if (!after[i].defined()) continue;
    hebb::detail::TensorImpl& impl = *states[i].impl();
    if (fresh_[graph_.states[i].after]) {  // its memory was made for the state
      impl.spec = after[i].spec();
      impl.storage = after[i].impl()->storage;
      impl.offset = after[i].impl()->offset;
    } else {
      Tensor(states[i]).assign_(after[i]);
    }
  }
  return results;
}

}  // namespace hebb::graph
