// What all optimizers share: parameters in groups, one state per parameter, saving and loading it exactly.
#pragma once
#include <algorithm>
#include <array>
#include <initializer_list>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "hebb/graph/compile.h"
#include "hebb/op/op.h"
#include "hebb/optim/options.h"

namespace hebb::optim {

/// Tensors by name, in a fixed order.
using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

/// Parameters that share options; those not named take the optimizer's.
///   optim::SGD opt({optim::ParamGroup{body, {{"lr", 1e-3}}}, optim::ParamGroup{head}}, {.lr = 1e-2});
struct ParamGroup {
  std::vector<Tensor> params;
  OptionMap options = {};
};

/// One update of one parameter: its gradient, its values and its state, dense and all of one type.
struct Update {
  static constexpr size_t kMaxSlots = 3;
  /// Where new values go, and where the old ones are: often the same place.
  struct Values {
    void* now = nullptr;
    const void* before = nullptr;
  };

  DType type = f32;   ///< f64 for f64 parameters, f32 for all others
  int64_t n = 0;      ///< elements
  int64_t count = 0;  ///< of updates, this one included
  const void* grad = nullptr;
  Values value;
  Values slots[kMaxSlots];  ///< null for those that the options do not ask for
};

/// A tensor of state that each parameter has, of its shape, if the options ask for it.
struct Slot {
  const char* name;
  double initial = 0;
  bool used = true;
};
/// The slots of an optimizer, Update::kMaxSlots or fewer, without memory of their own.
class Slots {
 public:
  Slots(std::initializer_list<Slot> slots) : size_(slots.size()) {
    std::copy(slots.begin(), slots.end(), slots_.begin());
  }
  size_t size() const { return size_; }
  const Slot& operator[](size_t i) const { return slots_[i]; }
  const Slot* begin() const { return slots_.data(); }
  const Slot* end() const { return slots_.data() + size_; }

 private:
  std::array<Slot, Update::kMaxSlots> slots_;
  size_t size_;
};

/// Changes parameters by their gradients. The rules and defaults are PyTorch's.
///
/// Parameters are handles: the optimizer shares them with the module. Values saved for backward, views taken
/// before and tensors from state() keep what they held; see Tensor::assign_. Parameters and state of f64 are
/// computed in f64, all others in f32 (PyTorch keeps the state of bf16 and f16 parameters in their own type).
///
/// step() may be part of a compiled function, `compile(fn, {net, optimizer})`. Options are then read at each
/// call, so that schedules work as always.
class Optimizer {
 public:
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;
  virtual ~Optimizer();

  /// One update of every parameter that has a grad(). Throws Error if a gradient is not of its parameter's
  /// shape.
  void step();
  /// Forgets the gradients of all parameters.
  void zero_grad();
  /// Everything that step() reads and changes but gradients, for compile().
  operator CompiledState();

  /// "SGD", "Adam", …
  const std::string& name() const { return name_; }
  size_t num_groups() const { return num_groups_; }
  /// Handles of a group's parameters.
  std::vector<Tensor> params(size_t group) const;
  /// The learning rate of a group.
  double lr(size_t group = 0) const { return *option(group, "lr"); }
  /// Sets the learning rate of one group.
  void set_lr(size_t group, double lr) { *option(group, "lr") = lr; }
  /// Sets the learning rate of every group.
  void set_lr(double lr);
  /// Where a number of a group's options is ("lr", "momentum", "betas.0"); null if there is none of the name.
  double* option(size_t group, std::string_view name) const;

  /// The options of all groups: "0.lr", "0.betas.0", "1.lr"; truth values as 0 and 1.
  NamedValues options() const;
  /// Moments and step counts as they are now (later steps do not change the tensors returned), by the
  /// parameter's place over all groups: "0.step", "0.exp_avg", "1.step". `step` is i64.
  NamedTensors state();
  /// Takes what options() and state() gave. Element types are converted. Throws Error, listing together all
  /// names that are missing, unexpected or of the wrong shape, and then changes nothing.
  void load_state(const NamedTensors& state, const NamedValues& options);

  /// The learning rate that schedules start from: that of the group when the first schedule was made.
  double initial_lr(size_t group);
  /// Sets the rate that later schedules start from.
  void set_initial_lr(size_t group, double lr);

 protected:
  /// A parameter with its state.
  struct Param {
    Tensor value;
    size_t group;
    Tensor step;  // i64, 0-d: the number of updates
    std::vector<Tensor> slots;
  };

  /// Throws Error for no parameters, one that occurs twice, is not of a floating type or is a result.
  Optimizer(std::string name, std::span<const ParamGroup> groups);
  /// Makes the state that the options ask for and that is not there yet.
  void create_state();

  /// The fields of a group's options.
  virtual std::vector<OptionField> option_fields(size_t group) const = 0;
  /// Throws Error for options that make no sense.
  virtual void check_options(size_t group) const = 0;
  /// All slots that there may be; names and order never change.
  virtual Slots slots(size_t group) const = 0;
  /// One update by a group's options.
  virtual void update(size_t group, const Update& u) const = 0;
  /// The same as an op, see detail::update_specs().
  virtual const OpDef& update_op() const = 0;

 private:
  void create_state(Param& p, const Slots& slots);
  void step_in_place(Param& p, const Tensor& grad);
  void step_traced(Param& p, const Tensor& grad);
  void refresh_numbers();
  void load_options(const NamedValues& options, std::vector<std::string>& problems);
  std::vector<std::pair<Tensor*, Tensor>> match_state(const NamedTensors& state,
                                                      std::vector<std::string>& problems);

  std::string name_;
  size_t num_groups_;
  std::vector<Param> params_;  // group by group
  std::vector<double> initial_lr_;
  std::vector<Tensor> numbers_;  // f64, each group's options: what compiled functions read
};

namespace detail {

// Updates as an op, of parameters that share their options. Inputs: the group's numbers (f64, as
// number_fields orders them), the gradient of each parameter, and of each its values, the count of updates
// before (i64) and the slots in use. Outputs: what these become.
Specs update_specs(SpecPtrs inputs, const Attrs&);
void run_updates(const ReferenceArgs& args, const Slots& slots,
                 const std::function<void(const Update&)>& update);

}  // namespace detail

/// An optimizer whose groups have options of the aggregate O. The class D that derives from this gives, to it
/// as a friend,
///   static constexpr const char* kName;                      // "SGD"
///   static constexpr const char* kUpdate;                    // what its op is called: "sgd_update"
///   static Slots slots_of(const O& options);                 // all that there may be, in a fixed order
///   static void update_by(const O& options, const Update&);  // the rule, by update_each() of update.h
template <class D, class O>
class OptimizerOf : public Optimizer {
 public:
  /// The optimizer's options.
  using Options = O;

  /// The options of each group, to read and to change: opt.groups()[0].lr = 0.01.
  std::span<O> groups() { return options_; }

 protected:
  OptimizerOf(std::span<const ParamGroup> groups, const O& defaults) : Optimizer(D::kName, groups) {
    for (const ParamGroup& g : groups) {
      O& options = options_.emplace_back(defaults);
      read_options(D::kName, g.options, options.option_fields());
    }
    for (const O& options : options_) options.check(D::kName);
    create_state();
  }

 private:
  Slots slots(size_t group) const final { return D::slots_of(options_[group]); }
  void update(size_t group, const Update& u) const final { D::update_by(options_[group], u); }
  const OpDef& update_op() const final {
    static const OpDef op{.name = D::kUpdate,
                          .doc = "One update of parameters by an optimizer.",
                          .infer = detail::update_specs,
                          .reference =
                              [](const ReferenceArgs& args) {
                                thread_local O options;
                                thread_local const auto fields = options.option_fields();
                                detail::set_numbers(fields, args.inputs[0].data<double>());
                                detail::run_updates(args, D::slots_of(options),
                                                    [&](const Update& u) { D::update_by(options, u); });
                              },
                          .gradient = Gradient::None,
                          .overwrites_last = true};
    return op;
  }
  std::vector<OptionField> option_fields(size_t group) const final {
    return const_cast<O&>(options_[group]).option_fields();
  }
  void check_options(size_t group) const final { options_[group].check(D::kName); }

  std::vector<O> options_;
};

}  // namespace hebb::optim
