#include "hebb/optim/optimizer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_map>

#include "hebb/autograd/grad.h"
#include "hebb/core/check.h"
#include "hebb/ops/creation.h"
#include "hebb/optim/update.h"

namespace hebb::optim {

Optimizer::~Optimizer() = default;

Optimizer::Optimizer(std::string name, std::span<const ParamGroup> groups)
    : name_(std::move(name)),
      num_groups_(groups.size()),
      initial_lr_(groups.size(), std::numeric_limits<double>::quiet_NaN()) {
  std::unordered_map<const void*, size_t> seen;
  for (size_t g = 0; g < groups.size(); ++g) {
    for (const Tensor& t : groups[g].params) {
      const size_t i = params_.size();
      HEBB_CHECK(t.defined() && t.has_data(), "[{}] expected parameters with values, parameter {} has none",
                 name_, i);
      HEBB_CHECK(is_float(t.dtype()), "[{}] expected parameters of a floating type, parameter {} is {}",
                 name_, i, name_of(t.dtype()));
      HEBB_CHECK(t.is_leaf(), "[{}] expected parameters, parameter {} is the result of a recorded op", name_,
                 i);
      const auto [first, is_new] = seen.emplace(t.impl(), i);
      HEBB_CHECK(is_new, "[{}] expected each parameter once, parameter {} is parameter {} again", name_, i,
                 first->second);
      params_.push_back({t, g, {}, {}});
    }
  }
  HEBB_CHECK(!params_.empty(), "[{}] expected at least one parameter, got none", name_);
}

void Optimizer::create_state(Param& p, const std::vector<Slot>& slots) {
  if (!p.step.defined()) p.step = zeros({}, i64);
  p.slots.resize(slots.size());
  const DType type = p.value.dtype() == f64 ? f64 : f32;
  for (size_t s = 0; s < slots.size(); ++s)
    if (slots[s].used && !p.slots[s].defined()) p.slots[s] = full(p.value.shape(), slots[s].initial, type);
}

void Optimizer::create_state() {
  for (Param& p : params_) create_state(p, slots(p.group));
}

void Optimizer::step() {
  const NoGrad no_grad;
  std::vector<Slot> group_slots;
  size_t group = num_groups_;  // the one that group_slots is of
  for (size_t i = 0; i < params_.size(); ++i) {
    Param& p = params_[i];
    const Tensor grad = p.value.grad();
    if (!grad.defined()) continue;
    HEBB_CHECK(
        !grad.is_traced(),
        "[{}] expected to be called outside of a function that is being compiled: return the gradients, "
        "and step after the call",
        name_);
    HEBB_CHECK(grad.shape() == p.value.shape(),
               "[{}] expected a gradient of shape {} for parameter {}, got {}", name_, p.value.shape().str(),
               i, grad.shape().str());
    if (p.group != group) group_slots = slots(group = p.group);
    create_state(p, group_slots);
    detail::OpenValues<int64_t> step(p.step);
    const int64_t count = ++*step.values();
    step.commit();
    update(p, grad, count);
  }
}

void Optimizer::zero_grad() {
  for (Param& p : params_) p.value.zero_grad();
}

std::vector<Tensor> Optimizer::params(size_t group) const {
  std::vector<Tensor> out;
  for (const Param& p : params_)
    if (p.group == group) out.push_back(p.value);
  return out;
}

void Optimizer::set_lr(double lr) {
  for (size_t g = 0; g < num_groups_; ++g) set_lr(g, lr);
}

double* Optimizer::option(size_t group, std::string_view name) const {
  HEBB_CHECK(group < num_groups_, "[{}] expected a group below {}, got {}", name_, num_groups_, group);
  for (const auto& f : detail::number_fields(option_fields(group)))
    if (double* const* value = std::get_if<double*>(&f.value); value && f.name == name) return *value;
  return nullptr;
}

double Optimizer::initial_lr(size_t group) {
  if (std::isnan(initial_lr_.at(group))) initial_lr_[group] = lr(group);
  return initial_lr_[group];
}
void Optimizer::set_initial_lr(size_t group, double lr) { initial_lr_.at(group) = lr; }

NamedValues Optimizer::options() const {
  NamedValues out;
  for (size_t g = 0; g < num_groups_; ++g)
    for (const auto& f : detail::number_fields(option_fields(g)))
      out.emplace_back(fmt::format("{}.{}", g, f.name), f.get());
  return out;
}

NamedTensors Optimizer::state() {
  create_state();
  NamedTensors out;
  for (size_t i = 0; i < params_.size(); ++i) {
    const Param& p = params_[i];
    const auto all = slots(p.group);
    // Handles that share the storage: the next update finds it shared and goes to fresh storage.
    out.emplace_back(fmt::format("{}.step", i), p.step.detach());
    for (size_t s = 0; s < all.size(); ++s)
      if (p.slots[s].defined()) out.emplace_back(fmt::format("{}.{}", i, all[s].name), p.slots[s].detach());
  }
  return out;
}

void Optimizer::load_options(const NamedValues& options, std::vector<std::string>& problems) {
  std::unordered_map<std::string, double> given(options.begin(), options.end());
  for (size_t g = 0; g < num_groups_; ++g) {
    for (const auto& f : detail::number_fields(option_fields(g))) {
      const std::string name = fmt::format("{}.{}", g, f.name);
      const auto found = given.find(name);
      if (found == given.end()) {
        problems.push_back("missing option " + name);
      } else {
        f.set(found->second);
        given.erase(found);
      }
    }
    try {
      check_options(g);
    } catch (const Error& e) {
      problems.emplace_back(e.what());
    }
  }
  for (const auto& [name, value] : options)
    if (given.contains(name)) problems.push_back("unexpected option " + name);
}

std::vector<std::pair<Tensor*, Tensor>> Optimizer::match_state(const NamedTensors& state,
                                                               std::vector<std::string>& problems) {
  std::unordered_map<std::string, Tensor> given(state.begin(), state.end());
  std::vector<std::pair<Tensor*, Tensor>> found;
  const auto match = [&](const std::string& name, const Shape& shape, Tensor& target, bool required) {
    const auto it = given.find(name);
    if (it == given.end()) {
      if (required) problems.push_back("missing " + name);
      return;
    }
    if (!it->second.defined() || it->second.shape() != shape)
      problems.push_back(fmt::format("{}: expected shape {}, got {}", name, shape.str(),
                                     it->second.defined() ? it->second.shape().str() : "nothing"));
    else found.emplace_back(&target, it->second);
    given.erase(it);
  };
  for (size_t i = 0; i < params_.size(); ++i) {
    Param& p = params_[i];
    const auto all = slots(p.group);
    p.slots.resize(all.size());
    match(fmt::format("{}.step", i), {}, p.step, true);
    for (size_t s = 0; s < all.size(); ++s)
      match(fmt::format("{}.{}", i, all[s].name), p.value.shape(), p.slots[s], all[s].used);
  }
  for (const auto& [name, tensor] : state)
    if (given.contains(name)) problems.push_back("unexpected " + name);
  return found;
}

void Optimizer::load_state(const NamedTensors& state, const NamedValues& options) {
  const NamedValues before = this->options();
  std::vector<std::string> problems;
  load_options(options, problems);  // first: which state there must be follows from the options
  const auto found = match_state(state, problems);
  if (!problems.empty()) {
    std::vector<std::string> none;
    load_options(before, none);
    hebb::detail::fail("[{}] the state does not fit this optimizer:\n  {}", name_,
                       detail::joined(problems, "\n  "));
  }
  create_state();
  for (auto& [target, source] : found) {
    // A slot that these options do not use may come along: it was used before an option changed.
    if (!target->defined()) *target = Tensor::empty(source.shape(), source.dtype());
    target->assign_(source);
  }
}

}  // namespace hebb::optim
