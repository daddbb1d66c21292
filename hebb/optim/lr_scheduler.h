// Learning-rate schedules. Values equal PyTorch's step by step: where PyTorch computes a rate from the one
// before, so do these, and schedules can therefore be chained.
#pragma once
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "hebb/optim/optimizer.h"

namespace hebb::optim {

/// Changes the learning rates of an optimizer's groups, which must outlive it. Making a schedule sets the
/// rates of step 0; each step() goes on by one: call it after Optimizer::step(), once an epoch or once a
/// batch, as the schedule's lengths are meant.
class LRScheduler {
 public:
  LRScheduler(const LRScheduler&) = delete;
  LRScheduler& operator=(const LRScheduler&) = delete;
  virtual ~LRScheduler();

  virtual void step();
  /// For ReduceLROnPlateau, a step with the metric to watch; others ignore it.
  virtual void step(double metric);
  /// True if step() needs a metric.
  virtual bool needs_metric() const { return false; }

  /// "StepLR", …
  const std::string& name() const { return name_; }
  Optimizer& optimizer() const { return optimizer_; }
  /// The rates of all groups.
  std::vector<double> last_lr() const;

  /// All that later steps depend on, the rates themselves included.
  NamedValues state();
  /// Takes what state() gave and sets the optimizer's rates (and momentum, where cycled) by it. Throws Error,
  /// listing together all names that are missing or unexpected, and then changes nothing.
  void load_state(const NamedValues& state);

 protected:
  LRScheduler(std::string name, Optimizer& optimizer);

  /// Sets the rates of step 0; constructors of schedules end with it.
  void start();
  /// The rate of a group at last_epoch_, given the group's present one.
  virtual double next_lr(size_t group) = 0;
  /// The same as a formula of last_epoch_ alone: SequentialLR enters a schedule by it.
  virtual double closed_lr(size_t group) { return next_lr(group); }
  /// True if this is a schedule of schedules.
  virtual bool composite() const { return false; }

  /// A number of the state, by reference.
  struct StateField {
    std::string name;
    double* value;
  };
  /// The numbers that state() gives and load_state() takes.
  virtual std::vector<StateField> state_fields();

  /// The present rate of a group.
  double lr(size_t group) const { return optimizer_.lr(group); }

  double last_epoch_ = -1;  // whole; a double because state is
  bool initial_ = false;    // within start()
  std::vector<double> base_lrs_;

 private:
  friend class SequentialLR;
  friend class ChainedScheduler;
  void set_lrs(double (LRScheduler::*rate)(size_t));

  std::string name_;
  Optimizer& optimizer_;
};

/// Options of StepLR.
struct StepLROptions {
  int64_t step_size = 0;  ///< steps between two falls, at least 1; must be given
  double gamma = 0.1;     ///< factor at each

  HEBB_OPTIONS(step_size, gamma)
};
/// lr = lr0 * gamma^floor(t / step_size).
class StepLR final : public LRScheduler {
 public:
  StepLR(Optimizer& optimizer, const StepLROptions& options);

 private:
  double next_lr(size_t group) override;
  double closed_lr(size_t group) override;
  StepLROptions options_;
};

/// Options of MultiStepLR.
struct MultiStepLROptions {
  std::vector<int64_t> milestones;  ///< steps at which the rate falls; must be given
  double gamma = 0.1;               ///< factor at each

  HEBB_OPTIONS(milestones, gamma)
};
/// lr = lr0 * gamma^(number of milestones reached). A milestone named twice counts twice.
class MultiStepLR final : public LRScheduler {
 public:
  MultiStepLR(Optimizer& optimizer, const MultiStepLROptions& options);

 private:
  double next_lr(size_t group) override;
  double closed_lr(size_t group) override;
  MultiStepLROptions options_;
};

/// Options of ExponentialLR.
struct ExponentialLROptions {
  double gamma = 0;  ///< factor at each step, more than 0; must be given

  HEBB_OPTIONS(gamma)
};
/// lr = lr0 * gamma^t.
class ExponentialLR final : public LRScheduler {
 public:
  ExponentialLR(Optimizer& optimizer, const ExponentialLROptions& options);

 private:
  double next_lr(size_t group) override;
  double closed_lr(size_t group) override;
  ExponentialLROptions options_;
};

/// Options of CosineAnnealingLR.
struct CosineAnnealingLROptions {
  int64_t T_max = 0;   ///< steps of half a period, at least 1; must be given
  double eta_min = 0;  ///< the lowest rate

  HEBB_OPTIONS(T_max, eta_min)
};
/// lr = eta_min + (lr0 - eta_min) (1 + cos(pi t / T_max)) / 2; after T_max it rises again. Source: Loshchilov
/// and Hutter, 2017 (SGDR, without the restarts).
class CosineAnnealingLR final : public LRScheduler {
 public:
  CosineAnnealingLR(Optimizer& optimizer, const CosineAnnealingLROptions& options);

 private:
  double next_lr(size_t group) override;
  double closed_lr(size_t group) override;
  CosineAnnealingLROptions options_;
};

/// Options of LinearLR.
struct LinearLROptions {
  double start_factor = 1.0 / 3;  ///< factor at step 0, in (0, 1]
  double end_factor = 1;          ///< factor from step total_iters on, in [0, 1]
  int64_t total_iters = 5;        ///< steps between the two, at least 1

  HEBB_OPTIONS(start_factor, end_factor, total_iters)
};
/// lr = lr0 * (a factor that goes straight from start_factor to end_factor in total_iters steps): warm-up.
/// Source: Goyal et al., 2017.
class LinearLR final : public LRScheduler {
 public:
  explicit LinearLR(Optimizer& optimizer, const LinearLROptions& options = {});

 private:
  double next_lr(size_t group) override;
  double closed_lr(size_t group) override;
  LinearLROptions options_;
};

/// Options of OneCycleLR.
struct OneCycleLROptions {
  PerGroup max_lr = 0.0;                ///< the highest rate, more than 0; must be given
  int64_t total_steps = 0;              ///< steps of the whole cycle; else epochs * steps_per_epoch
  int64_t epochs = 0;                   ///< with steps_per_epoch, in place of total_steps
  int64_t steps_per_epoch = 0;          ///< with epochs, in place of total_steps
  double pct_start = 0.3;               ///< share of the steps on which the rate rises, in [0, 1]
  std::string anneal_strategy = "cos";  ///< "cos" or "linear"
  bool cycle_momentum = true;           ///< move momentum (SGD, RMSprop) or betas[0] (Adam) against the rate
  PerGroup base_momentum = 0.85;        ///< the lowest momentum
  PerGroup max_momentum = 0.95;         ///< the highest momentum
  double div_factor = 25;               ///< the first rate is max_lr / div_factor
  double final_div_factor = 1e4;        ///< the last rate is the first / final_div_factor
  bool three_phase = false;  ///< fall back to the first rate as slowly as it rose, then to the last

  HEBB_OPTIONS(max_lr, total_steps, epochs, steps_per_epoch, pct_start, anneal_strategy, cycle_momentum,
               base_momentum, max_momentum, div_factor, final_div_factor, three_phase)
};
/// One rise of the rate to max_lr and one fall far below the first rate; step once a batch. Throws Error when
/// stepped more than total_steps times, and, with cycle_momentum, for an optimizer without momentum or betas.
/// Source: Smith and Topin, 2019.
class OneCycleLR final : public LRScheduler {
 public:
  OneCycleLR(Optimizer& optimizer, const OneCycleLROptions& options);

 private:
  struct Phase {
    double end_step;
    int start_lr, end_lr;  // places in {first, highest, last}
    bool start_high_momentum, end_high_momentum;
  };
  double next_lr(size_t group) override;
  std::vector<StateField> state_fields() override;
  double anneal(double start, double end, double share) const;

  OneCycleLROptions options_;
  int64_t total_steps_ = 0;
  std::vector<Phase> phases_;
  const char* momentum_ = nullptr;  // the option that is cycled
};

/// Options of ReduceLROnPlateau.
struct ReduceLROnPlateauOptions {
  std::string mode = "min";            ///< "min": the metric should fall; "max": it should rise
  double factor = 0.1;                 ///< what the rate is multiplied by, below 1
  int64_t patience = 10;               ///< bad epochs that are borne, at least 0
  double threshold = 1e-4;             ///< how much better is better
  std::string threshold_mode = "rel";  ///< "rel": a share of the best value; "abs": a difference
  int64_t cooldown = 0;                ///< epochs after a fall that do not count
  PerGroup min_lr = 0.0;               ///< the lowest rate
  double eps = 1e-8;                   ///< smaller falls are left out

  HEBB_OPTIONS(mode, factor, patience, threshold, threshold_mode, cooldown, min_lr, eps)
};
/// Lets the rate fall when a metric has not become better for more than `patience` epochs. Keras: its
/// min_delta is an absolute threshold, and it has no eps.
class ReduceLROnPlateau final : public LRScheduler {
 public:
  explicit ReduceLROnPlateau(Optimizer& optimizer, const ReduceLROnPlateauOptions& options = {});
  /// Throws Error: there is nothing to watch.
  void step() override;
  void step(double metric) override;
  bool needs_metric() const override { return true; }

 private:
  double next_lr(size_t group) override { return lr(group); }
  std::vector<StateField> state_fields() override;
  bool is_better(double metric) const;

  ReduceLROnPlateauOptions options_;
  double best_ = 0, has_best_ = 0, bad_epochs_ = 0, cooldown_left_ = 0;
};

/// One schedule after another: schedulers[i] rules from milestones[i - 1] on. All are of this optimizer; they
/// must be made just before, in this order. Throws Error for a number of milestones other than that of
/// schedulers less one, milestones that do not rise, and for ReduceLROnPlateau or schedules of schedules.
class SequentialLR final : public LRScheduler {
 public:
  SequentialLR(Optimizer& optimizer, std::vector<std::shared_ptr<LRScheduler>> schedulers,
               std::vector<int64_t> milestones);
  using LRScheduler::step;
  void step() override;

 private:
  bool composite() const override { return true; }
  double next_lr(size_t group) override { return lr(group); }
  std::vector<StateField> state_fields() override;
  size_t current() const;

  std::vector<std::shared_ptr<LRScheduler>> schedulers_;
  std::vector<int64_t> milestones_;
};

/// Several schedules at once: each step() steps all, one upon the other's rate. Throws Error for
/// ReduceLROnPlateau and for schedules of different optimizers.
class ChainedScheduler final : public LRScheduler {
 public:
  explicit ChainedScheduler(std::vector<std::shared_ptr<LRScheduler>> schedulers);
  using LRScheduler::step;
  void step() override;

 private:
  bool composite() const override { return true; }
  double next_lr(size_t group) override { return lr(group); }
  std::vector<StateField> state_fields() override;

  std::vector<std::shared_ptr<LRScheduler>> schedulers_;
};

}  // namespace hebb::optim
