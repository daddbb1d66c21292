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
#include "hebb/ops/random.h"

namespace hebb {
namespace {

constexpr size_t kMaxPlans = 16;

void append(std::string& key, const Tensor& t) {
  key += fmt::format("{} {}{};", name_of(t.dtype()), t.shape().str(), t.requires_grad() ? " grad" : "");
}

}  // namespace

struct Compiled::Impl {
  struct Entry {
    std::string key;
    std::unique_ptr<graph::Plan> plan;
  };
  graph::Function fn;
  std::vector<Tensor> state;
  CompileOptions options;
  std::mutex mutex;
  std::vector<Entry> entries;
  const graph::Plan* last = nullptr;
  bool warned = false;

  std::string key_of(std::span<const Tensor> arguments) const {
    std::string key = fmt::format("{} {} {}", grad_enabled(), num_threads(), current_backend().name());
    if (options.key) key += options.key();
    key += '|';
    for (const Tensor& t : arguments) append(key, t);
    key += '|';
    for (const Tensor& t : state) append(key, t);
    return key;
  }

  // Null if there are too many.
  graph::Plan* plan_for(std::span<const Tensor> arguments) {
    std::string key = key_of(arguments);
    for (Entry& e : entries)
      if (e.key == key) return e.plan.get();
    if (entries.size() == kMaxPlans) return nullptr;
    graph::Graph g = graph::trace(fn, arguments, state);
    graph::optimize(g,
                    entries.empty() ? options.name : fmt::format("{}-{}", options.name, entries.size() + 1));
    entries.push_back({std::move(key), std::make_unique<graph::Plan>(std::move(g))});
    return entries.back().plan.get();
  }
};

Compiled compile(graph::Function fn, std::span<const Tensor> state, CompileOptions options) {
  HEBB_CHECK(fn, "[compile] expected a function, got none");
  auto impl = std::make_shared<Compiled::Impl>();
  impl->fn = std::move(fn);
  impl->options = std::move(options);
  std::unordered_set<const void*> seen;
  auto add = [&](const Tensor& t) {
    if (t.defined() && seen.insert(t.impl()).second) impl->state.push_back(t);
  };
  for (const Tensor& t : state) add(t);
  add(default_generator().state());
  return Compiled(std::move(impl));
}

std::vector<Tensor> Compiled::operator()(std::span<const Tensor> arguments) const {
  for (size_t i = 0; i < arguments.size(); ++i)
    HEBB_CHECK(arguments[i].defined() && arguments[i].has_data(),
               "[compile] expected arguments with values, argument {} has none", i);
  // Within a function that is being compiled, this one is a part of it.
  if (std::any_of(arguments.begin(), arguments.end(), [](const Tensor& t) { return t.is_traced(); }) ||
      std::any_of(impl_->state.begin(), impl_->state.end(), [](const Tensor& t) { return t.is_traced(); }))
    return impl_->fn(arguments);
  const std::lock_guard lock(impl_->mutex);
  graph::Plan* plan = impl_->plan_for(arguments);
  impl_->last = plan;
  if (plan) return plan->run(arguments, impl_->state);
  if (!impl_->warned)
    std::fprintf(
        stderr,
        "hebb: %s was called in more than %zu ways: further ones are not compiled. Pad or bucket the "
        "arguments to fewer shapes\n",
        impl_->options.name.c_str(), kMaxPlans);
  impl_->warned = true;
  return impl_->fn(arguments);
}

size_t Compiled::num_plans() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->entries.size();
}
std::string Compiled::graph() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->last ? impl_->last->graph().str() : "";
}

}  // namespace hebb
