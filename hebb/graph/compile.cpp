#include "hebb/graph/compile.h"

#include <algorithm>
#include <cstdio>
#include <mutex>
#include <unordered_set>

#include "hebb/autograd/grad.h"
#include "hebb/core/check.h"
#include "hebb/core/parallel.h"
#include "hebb/graph/passes.h"
#include "hebb/graph/plan.h"
#include "hebb/graph/trace.h"
#include "hebb/op/autocast.h"
#include "hebb/ops/random.h"

namespace hebb {
namespace {

constexpr size_t kMaxPlans = 16;

// What a plan was made for, of each tensor.
struct Traits {
  Shape shape;
  DType dtype;
  bool requires_grad;

  explicit Traits(const Tensor& t) : shape(t.shape()), dtype(t.dtype()), requires_grad(t.requires_grad()) {}
  bool fits(const Tensor& t) const {
    return t.shape() == shape && t.dtype() == dtype && t.requires_grad() == requires_grad;
  }
};
std::vector<Traits> traits_of(std::span<const Tensor> tensors) { return {tensors.begin(), tensors.end()}; }
bool fit(const std::vector<Traits>& traits, std::span<const Tensor> tensors) {
  if (traits.size() != tensors.size()) return false;
  for (size_t i = 0; i < traits.size(); ++i)
    if (!traits[i].fits(tensors[i])) return false;
  return true;
}

// What is set on this thread.
struct Mode {
  bool grad = grad_enabled();
  int threads = num_threads();
  DType autocast = autocast_dtype();
  const Backend* backend = &current_backend();
  bool operator==(const Mode&) const = default;
};

}  // namespace

struct Compiled::Impl {
  struct Entry {
    Mode mode;
    std::string key;
    std::vector<Tensor> state;
    std::vector<Traits> argument_traits, state_traits;
    std::string traced;  // the graph as it was before the passes
    std::unique_ptr<graph::Plan> plan;

    bool fits(const Mode& m, const std::string& k, std::span<const Tensor> arguments) const {
      return mode == m && key == k && fit(argument_traits, arguments) && fit(state_traits, state);
    }
  };
  graph::Function fn;
  std::vector<CompiledState> state;
  CompileOptions options;
  std::mutex mutex;
  std::vector<Entry> entries;
  Entry* last = nullptr;
  bool warned = false;
  std::string key_;

  // Holds until it is asked for again.
  const std::string& key() {
    key_.clear();
    for (const CompiledState& s : state) {
      if (!s.key) continue;
      s.key(key_);
      key_ += ';';
    }
    return key_;
  }
  std::vector<Tensor> tensors() const {
    std::vector<Tensor> all;
    std::unordered_set<const void*> seen;
    const auto add = [&](const Tensor& t) {
      if (t.defined() && seen.insert(t.impl()).second) all.push_back(t);
    };
    for (const CompiledState& s : state)
      if (s.tensors)
        for (const Tensor& t : s.tensors()) add(t);
    add(default_generator().state());
    return all;
  }

  graph::Graph traced(std::span<const Tensor> arguments, std::span<const Tensor> tensors) const {
    // While it is traced, state holds no values. That of the default generator is everybody's: this thread
    // has another one meanwhile.
    Generator generator;
    std::vector<Tensor> state_here(tensors.begin(), tensors.end());
    for (Tensor& t : state_here)
      if (t.is_same(default_generator().state())) t = generator.state();
    const GeneratorScope scope(generator);
    try {
      return graph::trace(fn, arguments, state_here);
    } catch (const Error& e) {
      throw CompileError(e.what());
    }
  }

  // Null if there is none.
  Entry* find(const Mode& mode, const std::string& k, std::span<const Tensor> arguments) {
    if (last && last->fits(mode, k, arguments)) return last;
    for (Entry& e : entries)
      if (e.fits(mode, k, arguments)) return &e;
    return nullptr;
  }
  // Null if there are too many.
  Entry* find_or_make(std::span<const Tensor> arguments) {
    const Mode mode;
    const std::string& k = key();
    if (Entry* e = find(mode, k, arguments)) return e;
    if (entries.size() == kMaxPlans) return nullptr;
    Entry e{mode, k, tensors(), traits_of(arguments), {}, {}, nullptr};
    e.state_traits = traits_of(e.state);
    plan(e, traced(arguments, e.state), entries.size() + 1);
    entries.reserve(kMaxPlans);  // `last` stays where it is
    return &entries.emplace_back(std::move(e));
  }
  // The plan for a call, with the state brought up to date; null if there are too many.
  graph::Plan* ready(std::span<const Tensor> arguments) {
    for (size_t i = 0; i < arguments.size(); ++i)
      HEBB_CHECK(arguments[i].defined() && arguments[i].has_data(),
                 "[compile] expected arguments with values, argument {} has none", i);
    for (const CompiledState& s : state)
      if (s.refresh) s.refresh();
    last = find_or_make(arguments);
    return last ? last->plan.get() : nullptr;
  }
  void plan(Entry& e, graph::Graph g, size_t number) const {
    e.traced = g.str();
    graph::optimize(g, number == 1 ? options.name : fmt::format("{}-{}", options.name, number));
    e.plan = std::make_unique<graph::Plan>(std::move(g), e.state);
  }
  bool retrace(std::span<const Tensor> arguments) {
    Entry* e = find(Mode(), key(), arguments);
    if (!e) return false;
    std::vector<Tensor> now = tensors();
    graph::Graph g = traced(arguments, now);
    const bool same_state = std::equal(now.begin(), now.end(), e->state.begin(), e->state.end(),
                                       [](const Tensor& a, const Tensor& b) { return a.is_same(b); });
    if (same_state && g.str() == e->traced) return false;
    e->state = std::move(now);
    e->state_traits = traits_of(e->state);
    plan(*e, std::move(g), static_cast<size_t>(e - entries.data()) + 1);
    return true;
  }
};

Compiled compile(graph::Function fn, std::vector<CompiledState> state, CompileOptions options) {
  HEBB_CHECK(fn, "[compile] expected a function, got none");
  auto impl = std::make_shared<Compiled::Impl>();
  impl->fn = std::move(fn);
  impl->state = std::move(state);
  impl->options = std::move(options);
  return Compiled(std::move(impl));
}

std::vector<Tensor> Compiled::operator()(std::span<const Tensor> arguments) const {
  return repeat(1, arguments);
}

std::vector<Tensor> Compiled::repeat(int64_t times, std::span<const Tensor> arguments) const {
  HEBB_CHECK(times >= 1, "[repeat] expected at least 1 call, got {}", times);
  const auto plain = [&] {
    for (int64_t i = 1; i < times; ++i) impl_->fn(arguments);
    return impl_->fn(arguments);
  };
  // Within a function that is being compiled, or in forward mode, this one is a part of the whole.
  if (!is_eager()) return plain();
  const std::lock_guard lock(impl_->mutex);
  if (graph::Plan* plan = impl_->ready(arguments)) return plan->run(arguments, times);
  if (!impl_->warned)
    std::fprintf(
        stderr,
        "hebb: %s was called in more than %zu ways: further ones are not compiled. Pad or bucket the "
        "arguments to fewer shapes\n",
        impl_->options.name.c_str(), kMaxPlans);
  impl_->warned = true;
  return plain();
}

bool Compiled::retrace(std::span<const Tensor> arguments) const {
  if (!is_eager()) return false;
  const std::lock_guard lock(impl_->mutex);
  return impl_->retrace(arguments);
}

std::vector<NodeCost> Compiled::profile(std::span<const Tensor> arguments) const {
  HEBB_CHECK(is_eager(), "[profile] expected a call outside of functions that are being compiled");
  const std::lock_guard lock(impl_->mutex);
  graph::Plan* const plan = impl_->ready(arguments);
  HEBB_CHECK(plan, "[profile] expected a call of a kind that has a plan, {} plans of other kinds are kept",
             kMaxPlans);
  std::vector<NodeCost> costs;
  plan->run(arguments, 1, &costs);
  return costs;
}

Needs Compiled::needs() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->last ? graph::needs_of(impl_->last->plan->graph()) : Needs{};
}

size_t Compiled::num_plans() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->entries.size();
}
std::string Compiled::graph() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->last ? impl_->last->plan->graph().str() : "";
}

}  // namespace hebb
