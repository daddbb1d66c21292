#include "hebb/nn/module.h"

#include <cxxabi.h>

#include <map>
#include <mutex>
#include <ostream>
#include <set>
#include <typeinfo>
#include <unordered_map>
#include <unordered_set>

#include "hebb/core/check.h"

namespace hebb::nn {
namespace {

// Addresses of all living parameters and buffers, and of modules. Kept for ever: modules may be static.
struct Registry {
  std::mutex mutex;
  std::set<const void*> addresses, modules;
};
Registry& registry() {
  static Registry& r = *new Registry;
  return r;
}

struct CloneState {
  int depth = 0;
  std::unordered_map<const void*, Tensor> copies;
};
thread_local CloneState clone_state;

thread_local std::vector<Module*> running;
thread_local detail::CallObserver* observer = nullptr;

// Calls a function for every parameter and buffer beneath a module, with its path.
class Walker final : public MemberVisitor {
 public:
  using Fn = std::function<void(const std::string& path, Tensor& t, bool trained)>;
  explicit Walker(Fn fn) : fn_(std::move(fn)) {}

  void walk(Module& m) {
    seen_.insert(detail::TrackedModule::of(m));
    m.visit_members(*this);
    check_complete(m);
  }
  void parameter(std::string_view name, Parameter& p) override { leaf(name, p, &p, true); }
  void buffer(std::string_view name, Buffer& b) override { leaf(name, b, &b, false); }
  void module(std::string_view name, Module& m) override {
    const size_t length = prefix_.size();
    prefix_ += std::string(name) + ".";
    walk(m);
    prefix_.resize(length);
  }

 private:
  void leaf(std::string_view name, Tensor& t, const void* address, bool trained) {
    seen_.insert(address);
    if (t.defined()) fn_(prefix_ + std::string(name), t, trained);
  }
  // Any parameter or module that lives inside the object must have been seen.
  void check_complete(const Module& m) {
    const char* begin = static_cast<const char*>(dynamic_cast<const void*>(&m));
    const std::lock_guard lock(registry().mutex);
    const auto& all = registry().addresses;
    for (auto it = all.lower_bound(begin); it != all.end() && *it < begin + m.object_size(); ++it)
      HEBB_CHECK(
          seen_.contains(tracked_owner(*it)),
          "[{}] expected every parameter and buffer in HEBB_MEMBERS, but one at byte {} of {} is not named",
          m.type_name(), static_cast<const char*>(*it) - begin, m.object_size());
    const auto& modules = registry().modules;
    for (auto it = modules.lower_bound(begin); it != modules.end() && *it < begin + m.object_size(); ++it)
      HEBB_CHECK(
          seen_.contains(*it),
          "[{}] expected every module inside it in HEBB_MEMBERS, but one at byte {} of {} is not named",
          m.type_name(),
          static_cast<const char*>(*it) - static_cast<const char*>(detail::TrackedModule::of(m)),
          m.object_size());
  }
  // A Tracked stands behind the Tensor of its Parameter or Buffer.
  static const void* tracked_owner(const void* tracked) {
    return static_cast<const char*>(tracked) - sizeof(Tensor);
  }

  Fn fn_;
  std::string prefix_;
  std::unordered_set<const void*> seen_;
};

// Finds the name under which a module holds another.
class Finder final : public MemberVisitor {
 public:
  explicit Finder(const Module* wanted) : wanted_(wanted) {}
  void parameter(std::string_view, Parameter&) override {}
  void buffer(std::string_view, Buffer&) override {}
  void module(std::string_view name, Module& m) override {
    if (&m == wanted_) found_ = name;
  }
  const std::string& found() const { return found_; }

 private:
  const Module* wanted_;
  std::string found_;
};

// The mode of a module and all inside it, as text.
class Modes final : public MemberVisitor {
 public:
  explicit Modes(std::string& text) : text_(text) {}
  void parameter(std::string_view, Parameter&) override {}
  void buffer(std::string_view, Buffer&) override {}
  void module(std::string_view, Module& m) override {
    text_ += m.is_training() ? 't' : 'e';
    m.visit_members(*this);
  }

 private:
  std::string& text_;
};

class Children final : public MemberVisitor {
 public:
  void parameter(std::string_view, Parameter&) override {}
  void buffer(std::string_view, Buffer&) override {}
  void module(std::string_view name, Module& m) override { list.emplace_back(name, &m); }
  std::vector<std::pair<std::string, Module*>> list;
};

const bool path_installed = (hebb::detail::module_path = detail::call_path, true);

}  // namespace

namespace detail {

Tracked::Tracked() {
  const std::lock_guard lock(registry().mutex);
  registry().addresses.insert(this);
}
Tracked::~Tracked() {
  const std::lock_guard lock(registry().mutex);
  registry().addresses.erase(this);
}

TrackedModule::TrackedModule() {
  const std::lock_guard lock(registry().mutex);
  registry().modules.insert(this);
}
TrackedModule::~TrackedModule() {
  const std::lock_guard lock(registry().mutex);
  registry().modules.erase(this);
}
const void* TrackedModule::of(const Module& m) { return &m.tracked_; }

CloneScope::CloneScope() { ++clone_state.depth; }
CloneScope::~CloneScope() {
  if (--clone_state.depth == 0) clone_state.copies.clear();
}
Tensor CloneScope::copy_of(const Tensor& t) {
  HEBB_CHECK(clone_state.depth > 0,
             "[Module] expected a reference: modules are not copied by accident; use clone()");
  if (!t.defined()) return t;
  Tensor& copy = clone_state.copies[t.impl()];
  if (!copy.defined()) {
    copy = Tensor::empty(t.shape(), t.dtype(), t.device());
    copy.assign_(t.detach());
    if (t.requires_grad()) copy.requires_grad_();
  }
  return copy;
}

CallScope::CallScope(Module& m) {
  running.push_back(&m);
  if (observer) observer->enter(m);
}
CallScope::~CallScope() {
  if (observer) observer->leave(*running.back());
  running.pop_back();
}

std::string call_path() {
  (void)path_installed;
  std::string path;
  for (size_t i = 0; i < running.size(); ++i) {
    if (i == 0) {
      path = running[i]->type_name();
      continue;
    }
    Finder finder(running[i]);
    running[i - 1]->visit_members(finder);
    path += "." + (finder.found().empty() ? running[i]->type_name() : finder.found());
  }
  return path;
}

ObserverScope::ObserverScope(CallObserver& o) : previous_(std::exchange(observer, &o)) {}
ObserverScope::~ObserverScope() { observer = previous_; }

void not_copyable(const Module& m) {
  hebb::detail::fail("[clone] expected {} to be copyable: a member of it (such as a unique_ptr) is not",
                     m.type_name());
}

}  // namespace detail

void Module::train(bool on) {
  training_ = on;
  Children children;
  visit_members(children);
  for (auto& [name, m] : children.list) m->train(on);
}

EvalScope::EvalScope(Module& m) {
  modes_.emplace_back(&m, m.is_training());
  for (size_t i = 0; i < modes_.size(); ++i) {
    Children children;
    modes_[i].first->visit_members(children);
    for (auto& [name, child] : children.list) modes_.emplace_back(child, child->is_training());
  }
  m.eval();
}
EvalScope::~EvalScope() {
  for (auto& [m, training] : modes_) m->train(training);  // outer ones first: their mode spreads inwards
}

Module::operator CompiledState() {
  CompiledState s;
  s.tensors = [this] {
    std::vector<Tensor> all;
    for (const auto& [name, t] : state_dict()) all.push_back(t);
    return all;
  };
  s.key = [this](std::string& text) { Modes(text).module("", *this); };
  return s;
}

NamedTensors Module::named_parameters() {
  NamedTensors out;
  std::unordered_set<const void*> seen;
  Walker([&](const std::string& path, Tensor& t, bool trained) {
    if (trained && seen.insert(t.impl()).second) out.emplace_back(path, t);
  }).walk(*this);
  return out;
}
std::vector<Tensor> Module::parameters() {
  std::vector<Tensor> out;
  for (auto& [name, t] : named_parameters()) out.push_back(t);
  return out;
}
NamedTensors Module::named_buffers() {
  NamedTensors out;
  Walker([&](const std::string& path, Tensor& t, bool trained) {
    if (!trained) out.emplace_back(path, t);
  }).walk(*this);
  return out;
}
NamedTensors Module::state_dict() {
  NamedTensors out;
  Walker([&](const std::string& path, Tensor& t, bool) { out.emplace_back(path, t); }).walk(*this);
  return out;
}

void Module::load_state_dict(const NamedTensors& values, bool strict) {
  std::map<std::string, Tensor> given(values.begin(), values.end());
  const NamedTensors own = state_dict();
  std::vector<std::string> missing, wrong, unexpected;
  for (const auto& [name, t] : own) {
    const auto it = given.find(name);
    if (it == given.end()) {
      missing.push_back(name);
    } else if (!(it->second.shape() == t.shape())) {
      wrong.push_back(
          fmt::format("{} (expected {}, got {})", name, t.shape().str(), it->second.shape().str()));
    }
  }
  for (const auto& [name, value] : given) {
    const bool known =
        std::any_of(own.begin(), own.end(), [&n = name](const auto& o) { return o.first == n; });
    if (!known) unexpected.push_back(name);
  }
  std::string problems;
  auto list = [&](const char* what, const std::vector<std::string>& names) {
    if (!names.empty()) problems += fmt::format("; {}: {}", what, fmt::join(names, ", "));
  };
  if (strict) {
    list("missing", missing);
    list("unexpected", unexpected);
  }
  list("wrong shape", wrong);
  HEBB_CHECK(problems.empty(), "[load_state_dict] expected the weights of {}{}", type_name(), problems);
  for (auto& [name, t] : own) {
    if (const auto it = given.find(name); it != given.end()) Tensor(t).assign_(it->second.detach());
  }
}

void Module::requires_grad_(bool on) {
  for (Tensor& t : parameters()) t.requires_grad_(on);
}
void Module::zero_grad() {
  for (Tensor& t : parameters()) t.zero_grad();
}
void Module::to(DType dtype) {
  std::vector<Tensor> all;  // a shared one is converted once: then it has the type
  Walker([&](const std::string&, Tensor& t, bool) { all.push_back(t); }).walk(*this);
  for (Tensor& t : all) {
    if (!is_float(t.dtype()) || t.dtype() == dtype) continue;
    // In place, so that whoever holds the parameter, such as an optimizer, holds it still.
    Tensor converted = Tensor::empty(t.shape(), dtype, t.device());
    converted.assign_(t.detach());
    hebb::detail::TensorImpl &mine = *t.impl(), &theirs = *converted.impl();
    mine.spec = theirs.spec;
    mine.storage = theirs.storage;
    mine.offset = 0;
    t.zero_grad();
  }
}
int64_t Module::num_parameters() {
  int64_t n = 0;
  for (const Tensor& t : parameters()) n += t.numel();
  return n;
}

std::string Module::type_name() const {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> text(
      abi::__cxa_demangle(typeid(*this).name(), nullptr, nullptr, &status), std::free);
  std::string name = status == 0 ? text.get() : typeid(*this).name();
  const size_t template_start = name.find('<');
  const size_t colon = name.rfind("::", template_start);
  return colon == std::string::npos ? name : name.substr(colon + 2);
}

std::string Module::str() {
  Children children;
  visit_members(children);
  std::string out = type_name() + "(" + extra_repr();
  for (auto& [name, m] : children.list) {
    std::string inner = m->str();
    for (size_t at = 0; (at = inner.find('\n', at)) != std::string::npos; at += 3)
      inner.replace(at, 1, "\n  ");
    out += "\n  (" + name + "): " + inner;
  }
  return out + (children.list.empty() ? ")" : "\n)");
}

std::ostream& operator<<(std::ostream& out, Module& m) { return out << m.str(); }

}  // namespace hebb::nn
