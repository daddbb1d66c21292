#include "hebb/train/checkpoint.h"

#include <nlohmann/json.hpp>

#include "hebb/core/check.h"
#include "hebb/core/storage.h"
#include "hebb/io/safetensors.h"
#include "hebb/ops/random.h"
#include "hebb/ops/view.h"

namespace hebb::train {
namespace {

using nlohmann::json;

constexpr int kVersion = 1;

json values_to_json(const optim::NamedValues& values) {
  json j = json::array();
  for (const auto& [name, v] : values) j.push_back({name, v});
  return j;
}
optim::NamedValues values_from_json(const json& j) {
  optim::NamedValues values;
  for (const auto& item : j)
    values.emplace_back(item.at(0), item.at(1).is_null() ? kNone : item.at(1).get<double>());
  return values;
}

// JSON has no NaN: null stands for it.
json number(double v) { return v != v ? json(nullptr) : json(v); }
double number(const json& j) { return j.is_null() ? kNone : j.get<double>(); }

json progress_to_json(const Progress& p) {
  json history = json::array();
  for (const EpochLog& e : p.history)
    history.push_back({e.epoch, number(e.train_loss), number(e.val_loss), number(e.val_accuracy), e.lr,
                       e.seconds, e.samples_per_s});
  return {{"epoch", p.epoch},
          {"batch", p.batch},
          {"step", p.step},
          {"loss_sum", number(p.loss_sum)},
          {"loss_count", p.loss_count},
          {"epoch_seconds", p.epoch_seconds},
          {"best_epoch", p.best_epoch},
          {"history", history}};
}
Progress progress_from_json(const json& j) {
  Progress p;
  p.epoch = j.at("epoch");
  p.batch = j.at("batch");
  p.step = j.at("step");
  p.loss_sum = number(j.at("loss_sum"));
  p.loss_count = j.at("loss_count");
  p.epoch_seconds = j.at("epoch_seconds");
  p.best_epoch = j.at("best_epoch");
  for (const auto& e : j.at("history"))
    p.history.push_back(
        {e.at(0), number(e.at(1)), number(e.at(2)), number(e.at(3)), e.at(4), e.at(5), e.at(6)});
  return p;
}

void append(io::NamedTensors& to, const std::string& prefix, const io::NamedTensors& from) {
  for (const auto& [name, t] : from) to.emplace_back(prefix + name, t);
}
io::NamedTensors with_prefix(const io::NamedTensors& all, const std::string& prefix) {
  io::NamedTensors out;
  for (const auto& [name, t] : all)
    if (name.starts_with(prefix)) out.emplace_back(name.substr(prefix.size()), t);
  return out;
}

// Schedule, weights and optimizer; all of them or, if one does not fit, none.
void load_parts(Trainer& trainer, const io::SafeTensors& file, const json& state) {
  optim::LRScheduler* const schedule = trainer.scheduler();
  const optim::NamedValues old_schedule = schedule ? schedule->state() : optim::NamedValues();
  io::NamedTensors old_weights;
  for (const auto& [name, t] : trainer.net().state_dict()) old_weights.emplace_back(name, clone(t.detach()));
  const optim::NamedValues options = values_from_json(state.at("optimizer").at("options"));
  try {
    if (schedule) schedule->load_state(values_from_json(state.at("schedule").at("state")));
    trainer.net().load_state_dict(with_prefix(file.tensors, "model."));
    trainer.optimizer().load_state(with_prefix(file.tensors, "optimizer."), options);
  } catch (const Error&) {
    trainer.net().load_state_dict(old_weights);
    if (schedule) schedule->load_state(old_schedule);
    throw;
  }
}

/// A file of tensors. Their memory goes back when they have done: training needs other sizes.
struct Loaded {
  io::SafeTensors file;
  explicit Loaded(const std::string& path) : file(io::load_safetensors(path)) {}
  ~Loaded() {
    file = {};
    empty_cache();
  }
};

}  // namespace

void save_checkpoint(const std::string& path, Trainer& trainer) {
  io::NamedTensors tensors;
  append(tensors, "model.", trainer.net().state_dict());
  append(tensors, "optimizer.", trainer.optimizer().state());
  tensors.emplace_back("generator", default_generator().state());
  json state{
      {"version", kVersion},
      {"optimizer",
       {{"name", trainer.optimizer().name()}, {"options", values_to_json(trainer.optimizer().options())}}},
      {"progress", progress_to_json(trainer.progress())}};
  if (optim::LRScheduler* s = trainer.scheduler())
    state["schedule"] = {{"name", s->name()}, {"state", values_to_json(s->state())}};
  io::save_safetensors(path, tensors, {{"hebb", state.dump()}});
}

void load_checkpoint(const std::string& path, Trainer& trainer) {
  const Loaded loaded(path);
  const io::SafeTensors& file = loaded.file;
  const auto meta = file.metadata.find("hebb");
  HEBB_CHECK(meta != file.metadata.end(),
             "[load_checkpoint] {}: expected a checkpoint of hebb, got a file without its state", path);
  try {
    const json state = json::parse(meta->second);
    HEBB_CHECK(state.at("version") == kVersion, "expected version {}, got {}", kVersion,
               state.at("version").dump());
    HEBB_CHECK(state.at("optimizer").at("name") == trainer.optimizer().name(),
               "expected the state of {}, got that of {}", trainer.optimizer().name(),
               state.at("optimizer").at("name").dump());
    HEBB_CHECK(state.contains("schedule") == (trainer.scheduler() != nullptr),
               "expected {} schedule, found {}", trainer.scheduler() ? "a" : "no",
               state.contains("schedule") ? "one" : "none");
    if (optim::LRScheduler* s = trainer.scheduler())
      HEBB_CHECK(state.at("schedule").at("name") == s->name(), "expected the state of {}, got that of {}",
                 s->name(), state.at("schedule").at("name").dump());
    const Tensor* generator = file.find("generator");
    HEBB_CHECK(generator, "expected the tensor \"generator\", found none");
    load_parts(trainer, file, state);
    default_generator().state().assign_(*generator);
    trainer.progress() = progress_from_json(state.at("progress"));
  } catch (const json::exception& e) {
    hebb::detail::fail("[load_checkpoint] {}: expected the state of a run, got {}", path, e.what());
  } catch (const Error& e) {
    throw Error(fmt::format("[load_checkpoint] {}: {}", path, e.what()));
  }
}

void save_weights(const std::string& path, nn::Module& net) { io::save_safetensors(path, net.state_dict()); }

void load_weights(const std::string& path, nn::Module& net) {
  const Loaded loaded(path);
  try {
    net.load_state_dict(loaded.file.tensors);
  } catch (const Error& e) {
    throw Error(fmt::format("{}: {}", path, e.what()));
  }
}

}  // namespace hebb::train
