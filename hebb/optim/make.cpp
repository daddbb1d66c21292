#include "hebb/optim/make.h"

#include <algorithm>
#include <cctype>

#include "hebb/core/check.h"
#include "hebb/optim/adam.h"
#include "hebb/optim/adaptive.h"
#include "hebb/optim/sgd.h"

namespace hebb::optim {
namespace {

struct OptimizerEntry {
  std::string name;
  std::unique_ptr<Optimizer> (*make)(const std::string& owner, const std::vector<ParamGroup>&,
                                     const OptionMap&);
};
template <class O>
std::unique_ptr<Optimizer> make_as(const std::string& owner, const std::vector<ParamGroup>& groups,
                                   const OptionMap& values) {
  typename O::Options options;
  read_options(owner, values, options.option_fields());
  return std::make_unique<O>(groups, options);
}
const std::vector<OptimizerEntry>& optimizers() {
  static const std::vector<OptimizerEntry> all{{"SGD", make_as<SGD>},
                                               {"RMSprop", make_as<RMSprop>},
                                               {"Adagrad", make_as<Adagrad>},
                                               {"Adam", make_as<Adam>},
                                               {"AdamW", make_as<AdamW>}};
  return all;
}

struct SchedulerEntry {
  std::string name;
  std::unique_ptr<LRScheduler> (*make)(const std::string& owner, Optimizer&, const OptionMap&);
};
template <class S, class Options>
std::unique_ptr<LRScheduler> make_as(const std::string& owner, Optimizer& optimizer,
                                     const OptionMap& values) {
  Options options;
  read_options(owner, values, options.option_fields());
  return std::make_unique<S>(optimizer, options);
}
const std::vector<SchedulerEntry>& schedulers() {
  static const std::vector<SchedulerEntry> all{
      {"StepLR", make_as<StepLR, StepLROptions>},
      {"MultiStepLR", make_as<MultiStepLR, MultiStepLROptions>},
      {"ExponentialLR", make_as<ExponentialLR, ExponentialLROptions>},
      {"CosineAnnealingLR", make_as<CosineAnnealingLR, CosineAnnealingLROptions>},
      {"LinearLR", make_as<LinearLR, LinearLROptions>},
      {"OneCycleLR", make_as<OneCycleLR, OneCycleLROptions>},
      {"ReduceLROnPlateau", make_as<ReduceLROnPlateau, ReduceLROnPlateauOptions>}};
  return all;
}

template <class Entry>
std::vector<std::string> names_of(const std::vector<Entry>& entries) {
  std::vector<std::string> out;
  for (const Entry& e : entries) out.push_back(e.name);
  return out;
}

// Lower case without underscores and without PyTorch's LR: "ReduceLROnPlateau" and "reduce_on_plateau" are
// one.
std::string plain(const std::string& name) {
  std::string out;
  for (const char c : name)
    if (c != '_') out += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (const size_t at = out.find("lr"); at != std::string::npos && out != "lr") out.erase(at, 2);
  return out;
}

template <class Entry>
const Entry& find(const std::vector<Entry>& entries, const std::string& name, const char* kind) {
  const std::string wanted = plain(name);
  const auto found =
      std::find_if(entries.begin(), entries.end(), [&](const Entry& e) { return plain(e.name) == wanted; });
  if (found != entries.end()) return *found;
  // The nearest by plain names, shown by its real one.
  std::vector<std::string> plain_names;
  for (const Entry& e : entries) plain_names.push_back(plain(e.name));
  const std::string* near = detail::nearest(wanted, plain_names);
  hebb::detail::fail(
      "unknown {} '{}'{} Expected one of: {}", kind, name,
      near ? fmt::format(", did you mean '{}'?", entries[near - plain_names.data()].name) : ".",
      detail::joined(names_of(entries)));
}

}  // namespace

const std::vector<std::string>& optimizer_names() {
  static const std::vector<std::string> names = names_of(optimizers());
  return names;
}
const std::vector<std::string>& scheduler_names() {
  static const std::vector<std::string> names = names_of(schedulers());
  return names;
}

std::unique_ptr<Optimizer> make_optimizer(const std::string& name, const std::vector<ParamGroup>& groups,
                                          const OptionMap& options) {
  const OptimizerEntry& entry = find(optimizers(), name, "optimizer");
  return entry.make(entry.name, groups, options);
}
std::unique_ptr<Optimizer> make_optimizer(const std::string& name, const std::vector<Tensor>& params,
                                          const OptionMap& options) {
  return make_optimizer(name, std::vector{ParamGroup{params}}, options);
}

std::unique_ptr<LRScheduler> make_scheduler(const std::string& name, Optimizer& optimizer,
                                            const OptionMap& options) {
  const SchedulerEntry& entry = find(schedulers(), name, "schedule");
  return entry.make(entry.name, optimizer, options);
}

}  // namespace hebb::optim
