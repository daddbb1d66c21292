#include "hebb/optim/optimizer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>
#include <unordered_map>

#include "hebb/autograd/grad.h"
#include "hebb/core/check.h"
#include "hebb/op/dispatch.h"
#include "hebb/ops/creation.h"
#include "hebb/ops/elementwise.h"

namespace hebb::optim {
namespace {

// A state tensor opened for an update, in the update's type.
class OpenValues {
 public:
  /// Of a tensor whose new values go where its old ones are, unless others hold them.
  static OpenValues of_owner(Tensor& t, DType type) {
    const bool own = t.impl()->storage->use_count() == 1 && t.is_contiguous();
    return {t, t, type, own, false};
  }
  /// Of an op's output, which takes the place of `before`.
  static OpenValues of_output(Tensor& t, const Tensor& before, DType type) {
    return {t, before, type, true, true};
  }
  Update::Values values() const {
    return {copy_.defined() ? copy_.raw_data() : target_->raw_data(), before_};
  }
  /// Takes over what was written.
  void commit() {
    if (output_ && copy_.defined())
      hebb::detail::copy_values(copy_.spec(), copy_.raw_data(), target_->spec(), target_->raw_data());
    else if (copy_.defined()) target_->assign_(copy_);
    else if (!output_) target_->impl()->storage->touch();  // (of an output the plan knows)
  }

 private:
  OpenValues(Tensor& target, const Tensor& before, DType type, bool writable, bool output)
      : target_(&target), output_(output) {
    if (!writable || target.dtype() != type) copy_ = Tensor::empty(target.shape(), type);
    Tensor& to = copy_.defined() ? copy_ : target;
    if (before.dtype() == type && before.is_contiguous()) {
      before_ = before.raw_data();
    } else {
      hebb::detail::copy_values(before.spec(), before.raw_data(), to.spec(), to.raw_data());
      before_ = to.raw_data();
    }
  }

  Tensor* target_;
  bool output_;
  Tensor copy_;
  const void* before_;
};

// What updates of parameters of this type are computed in.
DType update_type(DType t) { return t == f64 ? f64 : f32; }

}  // namespace

namespace detail {

Specs update_specs(SpecPtrs inputs, const Attrs&) {
  // The first count, the only kind of input that is i64, is the second value of the first parameter.
  const auto count =
      std::find_if(inputs.begin(), inputs.end(), [](const TensorSpec* s) { return s->dtype == i64; });
  Specs out;
  for (auto s = count - 1; s != inputs.end(); ++s) out.push_back(TensorSpec((*s)->shape, (*s)->dtype));
  return out;
}

void run_updates(const ReferenceArgs& args, const Slots& slots,
                 const std::function<void(const Update&)>& update) {
  const size_t outputs = args.outputs.size(), params = args.inputs.size() - outputs - 1,
               each = outputs / params;
  std::array<std::optional<OpenValues>, 1 + Update::kMaxSlots> open;
  for (size_t p = 0; p < params; ++p) {
    const std::span<const Tensor> before = args.inputs.subspan(1 + params + p * each, each);
    const std::span<Tensor> now = args.outputs.subspan(p * each, each);
    const DType type = update_type(before[0].dtype());
    const Tensor grad = hebb::detail::dense(args.inputs[1 + p], type);
    Update u{.type = type,
             .n = before[0].numel(),
             .count = *before[1].data<int64_t>() + 1,
             .grad = grad.raw_data()};
    u.value = open[0].emplace(OpenValues::of_output(now[0], before[0], type)).values();
    size_t k = 1;
    for (size_t s = 0; s < slots.size(); ++s) {
      if (!slots[s].used) continue;
      u.slots[s] = open[k].emplace(OpenValues::of_output(now[k + 1], before[k + 1], type)).values();
      ++k;
    }
    update(u);
    for (size_t i = 0; i < k; ++i) open[i]->commit();
    *static_cast<int64_t*>(now[1].raw_data()) = u.count;
  }
}

}  // namespace detail

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

void Optimizer::create_state(Param& p, const Slots& slots) {
  if (!p.step.defined()) p.step = zeros({}, i64);
  p.slots.resize(slots.size());
  const DType type = update_type(p.value.dtype());
  for (size_t s = 0; s < slots.size(); ++s)
    if (slots[s].used && !p.slots[s].defined()) p.slots[s] = full(p.value.shape(), slots[s].initial, type);
}

void Optimizer::create_state() {
  for (Param& p : params_) create_state(p, slots(p.group));
}

void Optimizer::step() {
  const NoGrad no_grad;
  for (size_t i = 0; i < params_.size(); ++i) {
    Param& p = params_[i];
    const Tensor grad = p.value.grad();
    if (!grad.defined()) continue;
    HEBB_CHECK(grad.shape() == p.value.shape(),
               "[{}] expected a gradient of shape {} for parameter {}, got {}", name_, p.value.shape().str(),
               i, grad.shape().str());
    if (grad.is_traced()) step_traced(p, grad);
    else step_in_place(p, grad);
  }
}

void Optimizer::step_in_place(Param& p, const Tensor& grad) {
  const Slots all = slots(p.group);
  create_state(p, all);
  const DType type = update_type(p.value.dtype());
  const Tensor dense = hebb::detail::dense(grad, type);
  Update u{.type = type, .n = grad.numel(), .grad = dense.raw_data()};
  OpenValues step = OpenValues::of_owner(p.step, i64), value = OpenValues::of_owner(p.value, type);
  u.count = p.step.item<int64_t>() + 1;
  *static_cast<int64_t*>(step.values().now) = u.count;
  u.value = value.values();
  std::vector<OpenValues> open;
  open.reserve(Update::kMaxSlots);
  for (size_t s = 0; s < all.size(); ++s)
    if (all[s].used) u.slots[s] = open.emplace_back(OpenValues::of_owner(p.slots[s], type)).values();
  update(p.group, u);
  step.commit();
  value.commit();
  for (OpenValues& slot : open) slot.commit();
}

void Optimizer::step_traced(Param& p, const Tensor& grad) {
  HEBB_CHECK(!numbers_.empty(),
             "[{}] expected to be named as state of the function that is being compiled: compile(fn, {{net, "
             "optimizer}})",
             name_);
  const Slots all = slots(p.group);
  std::vector<Tensor> inputs{numbers_[p.group], grad, p.value, p.step};
  for (size_t s = 0; s < all.size(); ++s)
    if (all[s].used) inputs.push_back(p.slots[s]);
  const Outputs now = apply(update_op(), {}, inputs);
  p.value.assign_(now[0]);
  p.step.assign_(now[1]);
  int next = 2;
  for (size_t s = 0; s < all.size(); ++s)
    if (all[s].used) p.slots[s].assign_(now[next++]);
}

Optimizer::operator CompiledState() {
  refresh_numbers();
  CompiledState s;
  s.tensors = [this] {
    create_state();
    std::vector<Tensor> all = numbers_;
    for (const Param& p : params_) {
      all.insert(all.end(), {p.value, p.step});
      all.insert(all.end(), p.slots.begin(), p.slots.end());
    }
    return all;
  };
  s.key = [this](std::string& text) {
    for (size_t g = 0; g < num_groups_; ++g)
      for (const Slot& slot : slots(g)) text += slot.used ? '1' : '0';
  };
  s.refresh = [this] { refresh_numbers(); };
  return s;
}

void Optimizer::refresh_numbers() {
  numbers_.resize(num_groups_);
  for (size_t g = 0; g < num_groups_; ++g) {
    const std::vector<double> now = detail::numbers_of(option_fields(g));
    Tensor& held = numbers_[g];
    if (!held.defined()) held = Tensor::from(now);
    else if (!std::equal(now.begin(), now.end(), held.data<double>())) held.assign_(Tensor::from(now));
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
