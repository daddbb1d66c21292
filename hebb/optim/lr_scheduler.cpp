#include "hebb/optim/lr_scheduler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <unordered_map>

#include "hebb/core/check.h"

namespace hebb::optim {

using detail::check_option;
using std::numbers::pi;

// ---- what all share ----------------------------------------------------------------------------

LRScheduler::LRScheduler(std::string name, Optimizer& optimizer)
    : name_(std::move(name)), optimizer_(optimizer) {
  for (size_t g = 0; g < optimizer.num_groups(); ++g) base_lrs_.push_back(optimizer.initial_lr(g));
}
LRScheduler::~LRScheduler() = default;

void LRScheduler::set_lrs(double (LRScheduler::*rate)(size_t)) {
  for (size_t g = 0; g < base_lrs_.size(); ++g) optimizer_.set_lr(g, (this->*rate)(g));
}
void LRScheduler::start() {
  initial_ = true;
  last_epoch_ = 0;
  set_lrs(&LRScheduler::next_lr);
  initial_ = false;
}
void LRScheduler::step() {
  ++last_epoch_;
  set_lrs(&LRScheduler::next_lr);
}
void LRScheduler::step(double) { step(); }

std::vector<double> LRScheduler::last_lr() const {
  std::vector<double> out;
  for (size_t g = 0; g < base_lrs_.size(); ++g) out.push_back(lr(g));
  return out;
}

std::vector<LRScheduler::StateField> LRScheduler::state_fields() {
  std::vector<StateField> out{{"last_epoch", &last_epoch_}};
  for (size_t g = 0; g < base_lrs_.size(); ++g) {
    out.push_back({fmt::format("base_lr.{}", g), &base_lrs_[g]});
    out.push_back({fmt::format("lr.{}", g), optimizer_.option(g, "lr")});
  }
  return out;
}

NamedValues LRScheduler::state() {
  NamedValues out;
  for (const StateField& f : state_fields()) out.emplace_back(f.name, *f.value);
  return out;
}

void LRScheduler::load_state(const NamedValues& state) {
  std::unordered_map<std::string, double> given(state.begin(), state.end());
  const auto fields = state_fields();
  std::vector<std::string> problems;
  std::unordered_map<std::string, double*> known;
  for (const StateField& f : fields) {
    known.emplace(f.name, f.value);
    if (!given.contains(f.name)) problems.push_back("missing " + f.name);
  }
  for (const auto& [name, value] : state)
    if (!known.contains(name)) problems.push_back("unexpected " + name);
  HEBB_CHECK(problems.empty(), "[{}] the state does not fit this schedule:\n  {}", name_,
             detail::joined(problems, "\n  "));
  for (const StateField& f : fields) *f.value = given.at(f.name);
}

// ---- schedules of time -------------------------------------------------------------------------

StepLR::StepLR(Optimizer& optimizer, const StepLROptions& options)
    : LRScheduler("StepLR", optimizer), options_(options) {
  check_option(options.step_size >= 1, name(), "step_size", "at least 1", options.step_size);
  check_option(options.gamma > 0, name(), "gamma", "more than 0", options.gamma);
  start();
}
double StepLR::next_lr(size_t group) {
  const bool falls = last_epoch_ > 0 && std::fmod(last_epoch_, static_cast<double>(options_.step_size)) == 0;
  return falls ? lr(group) * options_.gamma : lr(group);
}
double StepLR::closed_lr(size_t group) {
  return base_lrs_[group] *
         std::pow(options_.gamma, std::floor(last_epoch_ / static_cast<double>(options_.step_size)));
}

MultiStepLR::MultiStepLR(Optimizer& optimizer, const MultiStepLROptions& options)
    : LRScheduler("MultiStepLR", optimizer), options_(options) {
  check_option(!options.milestones.empty(), name(), "milestones", "at least one step",
               std::vector<double>(options.milestones.begin(), options.milestones.end()));
  check_option(options.gamma > 0, name(), "gamma", "more than 0", options.gamma);
  start();
}
double MultiStepLR::next_lr(size_t group) {
  const auto& m = options_.milestones;
  const auto times = std::count(m.begin(), m.end(), static_cast<int64_t>(last_epoch_));
  return times == 0 ? lr(group) : lr(group) * std::pow(options_.gamma, static_cast<double>(times));
}
double MultiStepLR::closed_lr(size_t group) {
  const auto& m = options_.milestones;
  const auto passed = std::count_if(m.begin(), m.end(), [&](int64_t at) { return at <= last_epoch_; });
  return base_lrs_[group] * std::pow(options_.gamma, static_cast<double>(passed));
}

ExponentialLR::ExponentialLR(Optimizer& optimizer, const ExponentialLROptions& options)
    : LRScheduler("ExponentialLR", optimizer), options_(options) {
  check_option(options.gamma > 0, name(), "gamma", "more than 0", options.gamma);
  start();
}
double ExponentialLR::next_lr(size_t group) { return initial_ ? lr(group) : lr(group) * options_.gamma; }
double ExponentialLR::closed_lr(size_t group) {
  return base_lrs_[group] * std::pow(options_.gamma, last_epoch_);
}

CosineAnnealingLR::CosineAnnealingLR(Optimizer& optimizer, const CosineAnnealingLROptions& options)
    : LRScheduler("CosineAnnealingLR", optimizer), options_(options) {
  check_option(options.T_max >= 1, name(), "T_max", "at least 1", options.T_max);
  check_option(options.eta_min >= 0, name(), "eta_min", "at least 0", options.eta_min);
  start();
}
double CosineAnnealingLR::next_lr(size_t group) {
  if (initial_) return lr(group);
  const double t_max = static_cast<double>(options_.T_max), low = options_.eta_min;
  if (std::fmod(last_epoch_ - 1 - t_max, 2 * t_max) == 0)  // at the bottom the quotient below is 0 / 0
    return lr(group) + (base_lrs_[group] - low) * (1 - std::cos(pi / t_max)) / 2;
  return (1 + std::cos(pi * last_epoch_ / t_max)) / (1 + std::cos(pi * (last_epoch_ - 1) / t_max)) *
             (lr(group) - low) +
         low;
}
double CosineAnnealingLR::closed_lr(size_t group) {
  const double t_max = static_cast<double>(options_.T_max), low = options_.eta_min;
  return low + (base_lrs_[group] - low) * (1 + std::cos(pi * last_epoch_ / t_max)) / 2;
}

LinearLR::LinearLR(Optimizer& optimizer, const LinearLROptions& options)
    : LRScheduler("LinearLR", optimizer), options_(options) {
  check_option(options.start_factor > 0 && options.start_factor <= 1, name(), "start_factor",
               "a number in (0, 1]", options.start_factor);
  check_option(options.end_factor >= 0 && options.end_factor <= 1, name(), "end_factor", "a number in [0, 1]",
               options.end_factor);
  check_option(options.total_iters >= 1, name(), "total_iters", "at least 1", options.total_iters);
  start();
}
double LinearLR::next_lr(size_t group) {
  const double total = static_cast<double>(options_.total_iters);
  if (last_epoch_ == 0) return lr(group) * options_.start_factor;
  if (last_epoch_ > total) return lr(group);
  const double rise = options_.end_factor - options_.start_factor;
  return lr(group) * (1 + rise / (total * options_.start_factor + (last_epoch_ - 1) * rise));
}
double LinearLR::closed_lr(size_t group) {
  const double total = static_cast<double>(options_.total_iters);
  return base_lrs_[group] * (options_.start_factor + (options_.end_factor - options_.start_factor) *
                                                         std::min(total, last_epoch_) / total);
}

// ---- one cycle -----------------------------------------------------------------------------------

namespace {
void check_per_group(const PerGroup& v, const std::string& owner, const char* name, size_t groups) {
  check_option(v.values().size() == 1 || v.values().size() == groups, owner, name,
               fmt::format("one number or {}, one for each parameter group", groups).c_str(), v.values());
}
enum Place { kFirst, kHighest, kLast };
}  // namespace

OneCycleLR::OneCycleLR(Optimizer& optimizer, const OneCycleLROptions& options)
    : LRScheduler("OneCycleLR", optimizer), options_(options) {
  const OneCycleLROptions& o = options_;
  const size_t groups = base_lrs_.size();
  check_per_group(o.max_lr, name(), "max_lr", groups);
  check_per_group(o.base_momentum, name(), "base_momentum", groups);
  check_per_group(o.max_momentum, name(), "max_momentum", groups);
  for (const double v : o.max_lr.values()) check_option(v > 0, name(), "max_lr", "more than 0", v);
  total_steps_ = o.total_steps != 0 ? o.total_steps : o.epochs * o.steps_per_epoch;
  check_option(total_steps_ >= 1, name(), "total_steps", "at least 1 (or epochs and steps_per_epoch)",
               total_steps_);
  check_option(o.pct_start >= 0 && o.pct_start <= 1, name(), "pct_start", "a number in [0, 1]", o.pct_start);
  check_option(o.anneal_strategy == "cos" || o.anneal_strategy == "linear", name(), "anneal_strategy",
               "\"cos\" or \"linear\"", o.anneal_strategy);
  check_option(o.div_factor > 0, name(), "div_factor", "more than 0", o.div_factor);
  check_option(o.final_div_factor > 0, name(), "final_div_factor", "more than 0", o.final_div_factor);

  const double total = static_cast<double>(total_steps_), rise = o.pct_start * total;
  phases_.push_back({rise - 1, kFirst, kHighest, true, false});
  if (o.three_phase) {
    phases_.push_back({2 * o.pct_start * total - 2, kHighest, kFirst, false, true});
    phases_.push_back({total - 1, kFirst, kLast, true, true});
  } else {
    phases_.push_back({total - 1, kHighest, kLast, false, true});
  }
  if (o.cycle_momentum) {
    momentum_ = optimizer.option(0, "betas.0") ? "betas.0" : "momentum";
    HEBB_CHECK(optimizer.option(0, momentum_),
               "[OneCycleLR] cycle_momentum: expected an optimizer with momentum or betas, got {}; set it to "
               "false",
               optimizer.name());
  }
  for (size_t g = 0; g < groups; ++g) {
    base_lrs_[g] = o.max_lr[g] / o.div_factor;
    optimizer.set_initial_lr(g, base_lrs_[g]);
  }
  start();
}

double OneCycleLR::anneal(double start, double end, double share) const {
  if (options_.anneal_strategy == "linear") return (end - start) * share + start;
  return end + (start - end) / 2 * (std::cos(pi * share) + 1);
}

double OneCycleLR::next_lr(size_t group) {
  HEBB_CHECK(last_epoch_ <= static_cast<double>(total_steps_),
             "[OneCycleLR] expected at most {} steps (total_steps), got {}", total_steps_, last_epoch_);
  double start_step = 0;
  size_t i = 0;
  for (; i + 1 < phases_.size() && last_epoch_ > phases_[i].end_step; ++i) start_step = phases_[i].end_step;
  const Phase& phase = phases_[i];
  const double length = phase.end_step - start_step;
  const double share = length == 0 ? 1 : (last_epoch_ - start_step) / length;  // a phase of no steps is over
  if (momentum_) {
    const double high = options_.max_momentum[group], low = options_.base_momentum[group];
    *optimizer().option(group, momentum_) =
        anneal(phase.start_high_momentum ? high : low, phase.end_high_momentum ? high : low, share);
  }
  const double first = base_lrs_[group];
  const double places[] = {first, options_.max_lr[group], first / options_.final_div_factor};
  return anneal(places[phase.start_lr], places[phase.end_lr], share);
}

std::vector<LRScheduler::StateField> OneCycleLR::state_fields() {
  auto out = LRScheduler::state_fields();
  for (size_t g = 0; momentum_ && g < base_lrs_.size(); ++g)
    out.push_back({fmt::format("momentum.{}", g), optimizer().option(g, momentum_)});
  return out;
}

// ---- by a metric -----------------------------------------------------------------------------------

ReduceLROnPlateau::ReduceLROnPlateau(Optimizer& optimizer, const ReduceLROnPlateauOptions& options)
    : LRScheduler("ReduceLROnPlateau", optimizer), options_(options) {
  const ReduceLROnPlateauOptions& o = options_;
  check_option(o.mode == "min" || o.mode == "max", name(), "mode", "\"min\" or \"max\"", o.mode);
  check_option(o.threshold_mode == "rel" || o.threshold_mode == "abs", name(), "threshold_mode",
               "\"rel\" or \"abs\"", o.threshold_mode);
  check_option(o.factor >= 0 && o.factor < 1, name(), "factor", "a number in [0, 1)", o.factor);
  check_option(o.patience >= 0, name(), "patience", "at least 0", o.patience);
  check_option(o.cooldown >= 0, name(), "cooldown", "at least 0", o.cooldown);
  check_per_group(o.min_lr, name(), "min_lr", base_lrs_.size());
  last_epoch_ = 0;
}

bool ReduceLROnPlateau::is_better(double metric) const {
  const bool falls = options_.mode == "min";
  if (has_best_ == 0) {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    return falls ? metric < infinity : metric > -infinity;
  }
  const double t = options_.threshold;
  if (options_.threshold_mode == "rel") return falls ? metric < best_ * (1 - t) : metric > best_ * (t + 1);
  return falls ? metric < best_ - t : metric > best_ + t;
}

void ReduceLROnPlateau::step() {
  hebb::detail::fail("[ReduceLROnPlateau] expected a metric: step(validation_loss)");
}

void ReduceLROnPlateau::step(double metric) {
  ++last_epoch_;
  if (is_better(metric)) {
    best_ = metric;
    has_best_ = 1;
    bad_epochs_ = 0;
  } else {
    ++bad_epochs_;
  }
  if (cooldown_left_ > 0) {
    --cooldown_left_;
    bad_epochs_ = 0;
  }
  if (bad_epochs_ <= static_cast<double>(options_.patience)) return;
  for (size_t g = 0; g < base_lrs_.size(); ++g) {
    const double lower = std::max(lr(g) * options_.factor, options_.min_lr[g]);
    if (lr(g) - lower > options_.eps) optimizer().set_lr(g, lower);
  }
  cooldown_left_ = static_cast<double>(options_.cooldown);
  bad_epochs_ = 0;
}

std::vector<LRScheduler::StateField> ReduceLROnPlateau::state_fields() {
  auto out = LRScheduler::state_fields();
  out.insert(out.end(), {{"best", &best_},
                         {"has_best", &has_best_},
                         {"bad_epochs", &bad_epochs_},
                         {"cooldown_left", &cooldown_left_}});
  return out;
}

// ---- schedules of schedules ------------------------------------------------------------------------

namespace {
LRScheduler& first_of(const std::vector<std::shared_ptr<LRScheduler>>& schedulers, const char* owner) {
  HEBB_CHECK(!schedulers.empty(), "[{}] expected at least one schedule, got none", owner);
  for (size_t i = 0; i < schedulers.size(); ++i) {
    HEBB_CHECK(schedulers[i], "[{}] expected schedules, number {} is null", owner, i);
    HEBB_CHECK(!schedulers[i]->needs_metric(), "[{}] expected schedules of time, number {} is {}", owner, i,
               schedulers[i]->name());
    HEBB_CHECK(&schedulers[i]->optimizer() == &schedulers[0]->optimizer(),
               "[{}] expected schedules of one optimizer, number {} is of another", owner, i);
  }
  return *schedulers[0];
}
}  // namespace

SequentialLR::SequentialLR(Optimizer& optimizer, std::vector<std::shared_ptr<LRScheduler>> schedulers,
                           std::vector<int64_t> milestones)
    : LRScheduler("SequentialLR", optimizer),
      schedulers_(std::move(schedulers)),
      milestones_(std::move(milestones)) {
  HEBB_CHECK(&first_of(schedulers_, "SequentialLR").optimizer() == &optimizer,
             "[SequentialLR] expected schedules of the optimizer given, got schedules of another");
  for (const auto& s : schedulers_)
    HEBB_CHECK(!s->composite(), "[SequentialLR] expected plain schedules, got {}", s->name());
  HEBB_CHECK(milestones_.size() + 1 == schedulers_.size(),
             "[SequentialLR] milestones: expected {} for {} schedules, got {}", schedulers_.size() - 1,
             schedulers_.size(), milestones_.size());
  for (size_t i = 0; i < milestones_.size(); ++i)
    HEBB_CHECK(milestones_[i] > (i == 0 ? 0 : milestones_[i - 1]),
               "[SequentialLR] milestones: expected rising steps above 0, got {}", milestones_[i]);
  // The schedules have each set the rates of their step 0: only that of the first may stand.
  for (size_t g = 0; g < base_lrs_.size(); ++g) optimizer.set_lr(g, optimizer.initial_lr(g));
  for (const auto& s : schedulers_) s->last_epoch_ = -1;
  schedulers_[0]->start();
  last_epoch_ = 0;
}

size_t SequentialLR::current() const {
  const auto passed = std::upper_bound(milestones_.begin(), milestones_.end(), last_epoch_,
                                       [](double t, int64_t at) { return t < static_cast<double>(at); });
  return static_cast<size_t>(passed - milestones_.begin());
}

void SequentialLR::step() {
  ++last_epoch_;
  const size_t i = current();
  LRScheduler& scheduler = *schedulers_[i];
  if (i > 0 && static_cast<double>(milestones_[i - 1]) == last_epoch_) {
    scheduler.last_epoch_ = 0;
    scheduler.set_lrs(&LRScheduler::closed_lr);
  } else {
    scheduler.step();
  }
}

std::vector<LRScheduler::StateField> SequentialLR::state_fields() {
  auto out = LRScheduler::state_fields();
  for (size_t i = 0; i < schedulers_.size(); ++i)
    for (const StateField& f : schedulers_[i]->state_fields())
      out.push_back({fmt::format("{}.{}", i, f.name), f.value});
  return out;
}

ChainedScheduler::ChainedScheduler(std::vector<std::shared_ptr<LRScheduler>> schedulers)
    : LRScheduler("ChainedScheduler", first_of(schedulers, "ChainedScheduler").optimizer()),
      schedulers_(std::move(schedulers)) {
  last_epoch_ = 0;
}

void ChainedScheduler::step() {
  ++last_epoch_;
  for (const auto& s : schedulers_) s->step();
}

std::vector<LRScheduler::StateField> ChainedScheduler::state_fields() {
  auto out = LRScheduler::state_fields();
  for (size_t i = 0; i < schedulers_.size(); ++i)
    for (const StateField& f : schedulers_[i]->state_fields())
      out.push_back({fmt::format("{}.{}", i, f.name), f.value});
  return out;
}

}  // namespace hebb::optim
