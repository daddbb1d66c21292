#include "hebb/train/run.h"

#include <fmt/chrono.h>

#include <chrono>
#include <ctime>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "hebb/backend/cpu/cpu_backend.h"
#include "hebb/core/check.h"
#include "hebb/core/parallel.h"
#include "hebb/core/version.h"
#include "hebb/io/file.h"
#include "hebb/io/safetensors.h"
#include "hebb/op/dispatch.h"
#include "hebb/ops/random.h"
#include "hebb/train/callbacks.h"
#include "hebb/train/checkpoint.h"
#include "hebb/train/losses.h"

namespace hebb::train {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// The files of a run.
struct Folder {
  fs::path path;
  std::string recipe() const { return (path / "recipe.toml").string(); }
  std::string info() const { return (path / "run.json").string(); }
  std::string metrics() const { return (path / "metrics.csv").string(); }
  std::string steps() const { return (path / "steps.csv").string(); }
  std::string best() const { return (path / "best.safetensors").string(); }
  std::string last() const { return (path / "last" / "checkpoint.safetensors").string(); }
};

json number(double v) { return v != v ? json(nullptr) : json(v); }
double number(const json& j) { return j.is_null() ? kNone : j.get<double>(); }

json read_info(const Folder& folder) {
  if (!fs::exists(folder.info())) return json::object();
  try {
    return json::parse(io::read_file(folder.info(), "run"));
  } catch (const json::exception& e) {
    hebb::detail::fail("[run] {}: expected JSON, got {}", folder.info(), e.what());
  }
}

RunResult result_from_json(const json& j, const std::string& folder) {
  RunResult r;
  r.folder = folder;
  r.epochs = j.at("epochs");
  r.train_loss = number(j.at("train_loss"));
  r.val_loss = number(j.at("val_loss"));
  r.val_accuracy = number(j.at("val_accuracy"));
  r.test_loss = number(j.at("test_loss"));
  r.test_accuracy = number(j.at("test_accuracy"));
  r.seconds = j.at("seconds");
  r.samples_per_s = j.at("samples_per_s");
  return r;
}

// Says where two resolved recipes first differ.
void expect_same_recipe(const std::string& recorded, const std::string& wanted, const std::string& file) {
  std::istringstream a(recorded), b(wanted);
  std::string line_a, line_b;
  for (int n = 1;; ++n) {
    const bool more_a = static_cast<bool>(std::getline(a, line_a)),
               more_b = static_cast<bool>(std::getline(b, line_b));
    if (!more_a && !more_b) return;
    HEBB_CHECK(more_a == more_b && line_a == line_b,
               "[train] {}:{}: expected the options of the run that is resumed ({}), got {}", file, n,
               more_a ? line_a : "nothing more", more_b ? line_b : "nothing more");
  }
}

// A new folder, or the one to go on in.
Folder open_folder(const Recipe& recipe, const RunOptions& o) {
  if (!o.resume.empty()) {
    const Folder folder{o.resume};
    if (const auto recorded = recorded_recipe(o.resume))
      expect_same_recipe(recorded->to_toml(), recipe.to_toml(), folder.recipe());
    else
      HEBB_CHECK(!fs::exists(folder.path) || fs::is_empty(folder.path) || fs::exists(folder.info()),
                 "[train] expected a run's folder to resume, {} holds other files", o.resume);
    return folder;
  }
  std::string path = o.out;
  if (path.empty()) {
    const std::time_t now = std::time(nullptr);
    const std::string stem = fmt::format("runs/{}-{:%Y%m%d-%H%M%S}", recipe.name, fmt::localtime(now));
    path = stem;
    for (int i = 2; fs::exists(path); ++i) path = fmt::format("{}-{}", stem, i);
  }
  HEBB_CHECK(!fs::exists(path),
             "[train] expected a new folder for the run, {} exists (go on in it with --resume)", path);
  return {path};
}

// Options beside the recipe: a resumed run takes the recorded ones, which the given ones must equal.
void resume_options(RunOptions& o, const json& info, const std::string& file) {
  if (!info.contains("options")) return;
  const json& recorded = info["options"];
  const std::string init = recorded.value("init", "");
  HEBB_CHECK(o.init.empty() || o.init == init,
             "[train] {}: expected the init of the run that is resumed ({}), got {}", file,
             init.empty() ? "none" : init, o.init);
  o.init = init;
  HEBB_CHECK(!o.log_steps || recorded.value("log_steps", false),
             "[train] {}: expected no log_steps, as in the run that is resumed", file);
  o.log_steps = recorded.value("log_steps", false);
}

// Whether there is a complete checkpoint to go on from. One that a failing disk has cut is none: training is
// repeatable, so that starting over loses nothing but time.
bool has_checkpoint(const Folder& folder, const RunOptions& o) {
  if (!fs::exists(folder.last())) return false;
  try {
    io::load_safetensors(folder.last());
    return true;
  } catch (const Error& e) {
    if (o.say) o.say(fmt::format("no complete checkpoint, starting over ({})", e.what()));
    return false;
  }
}

void make_folder(const Folder& folder) {
  std::error_code error;
  fs::create_directories(folder.path / "last", error);
  HEBB_CHECK(!error, "[train] {}: expected to make the folder, got {}", folder.path.string(),
             error.message());
}

// What a killed run left half written.
void remove_leftovers(const Folder& folder) {
  for (const fs::path& place : {folder.path, folder.path / "last"})
    for (const auto& entry : fs::directory_iterator(place))
      if (entry.path().extension() == ".tmp") fs::remove(entry.path());
}

// The network's output for one sample must fit loss and data; found out before the first step.
void check_fit(nn::AnyModule& net, const Recipe& recipe, const data::Splits& data, Task task) {
  const std::string& loss = recipe.loss.type;
  HEBB_CHECK(!recipe.data.regression || (loss != "CrossEntropyLoss" && loss != "NLLLoss" &&
                                         loss != "BCEWithLogitsLoss" && loss != "HingeLoss"),
             "[train] loss.type: expected a loss of numbers, such as MSELoss, for the targets of {} "
             "(data.regression = true), got {}",
             data.name, loss);
  HEBB_CHECK(data.input == recipe.input,
             "[train] expected samples of shape {} (model.input of {}), got {} from {}", recipe.input.str(),
             recipe.name, data.input.str(), data.name);
  ShapeInterpreter shapes;
  const InterpreterScope scope(shapes, InterpreterScope::Place::base);
  net->eval();
  Shape batch = recipe.input;
  batch.insert(0, 2);
  const Tensor x = Tensor::meta(TensorSpec(batch, recipe.input_dtype()));
  const Shape out = net({&x, 1}).shape();
  net->train();
  HEBB_CHECK(task != Task::regression || (loss != "CrossEntropyLoss" && loss != "NLLLoss") ||
                 (out.ndim() >= 2 && out[1] >= 2),
             "[train] loss.type: expected a loss of numbers, such as MSELoss, for outputs of shape {} and "
             "the targets "
             "of {}, got {}",
             out.str(), data.name, loss);
  const int64_t first[] = {0};
  const DType given = data.train->batch(first).x.dtype();
  HEBB_CHECK(given == recipe.input_dtype(), "[train] expected inputs of {} for {}, got {} from {}",
             name_of(recipe.input_dtype()), recipe.name, name_of(given), data.name);
  if (task == Task::classes)
    HEBB_CHECK(out.ndim() == 2 && out[1] >= data.num_classes,
               "[train] expected at least {} outputs for the classes of {}, got outputs of shape {}",
               data.num_classes, data.name, out.str());
  if (task == Task::binary)
    HEBB_CHECK(
        out.numel() == 2 && data.num_classes <= 2,
        "[train] expected one output and 2 classes for {}, got outputs of shape {} and {} classes of {}",
        recipe.loss.type, out.str(), data.num_classes, data.name);
}

}  // namespace

std::string to_json(const RunResult& r) {
  return json{{"epochs", r.epochs},
              {"train_loss", number(r.train_loss)},
              {"val_loss", number(r.val_loss)},
              {"val_accuracy", number(r.val_accuracy)},
              {"test_loss", number(r.test_loss)},
              {"test_accuracy", number(r.test_accuracy)},
              {"seconds", r.seconds},
              {"samples_per_s", r.samples_per_s}}
      .dump();
}

data::Splits load_data(const Recipe& recipe, const data::Normalization* normalization) {
  const auto& d = recipe.data;
  data::SourceOptions o{.val_fraction = d.val_fraction,
                        .seed = recipe.train.seed,
                        .target = d.target,
                        .regression = d.regression};
  if (normalization) o.normalization = *normalization;
  else if (!d.mean.empty() || !d.std.empty()) o.normalization = data::Normalization{d.mean, d.std};
  return d.x.empty() ? data::load_source(d.name, o) : data::load_arrays(d.x, d.y, o);
}

std::optional<Recipe> recorded_recipe(const std::string& path) {
  const Folder folder{path};
  if (!fs::exists(folder.recipe())) return std::nullopt;
  return Recipe::load(folder.recipe());
}

RunResult train(const Recipe& recipe, const RunOptions& given) {
  RunOptions options = given;
  if (!options.init.empty()) options.init = fs::absolute(options.init).lexically_normal().string();
  const Folder folder = open_folder(recipe, options);
  json info = options.resume.empty() ? json::object() : read_info(folder);
  resume_options(options, info, folder.info());
  if (info.value("finished", false)) {
    RunResult done = result_from_json(info.at("result"), folder.path.string());
    done.was_finished = true;
    return done;
  }

  manual_seed(recipe.train.seed);
  nn::AnyModule net = recipe.build();
  const bool goes_on = !options.resume.empty() && has_checkpoint(folder, options);
  if (options.say && !options.resume.empty() && !fs::exists(folder.recipe()))
    options.say(fmt::format("{} holds no run yet: starting one", folder.path.string()));
  if (!options.init.empty() && !goes_on) load_weights(options.init, *net);
  const data::Splits data = load_data(recipe);
  const Task task = task_of(recipe.loss.type, data.num_classes > 0);
  check_fit(net, recipe, data, task);

  const int workers = static_cast<int>(recipe.data.workers);
  const int64_t batch_size = recipe.train.batch_size, eval_batch = std::max<int64_t>(batch_size, 500);
  data::DataLoader train_set(data.train, {.batch_size = batch_size,
                                          .shuffle = recipe.train.shuffle,
                                          .seed = recipe.train.seed,
                                          .workers = workers});
  std::optional<data::DataLoader> val_set;
  if (data.val) val_set.emplace(data.val, data::LoaderOptions{.batch_size = eval_batch, .workers = workers});

  const auto optimizer = recipe.make_optimizer(net->parameters());
  const auto scheduler = recipe.make_scheduler(*optimizer, train_set.num_batches());
  Trainer trainer(*net,
                  [&net](const Tensor& x) {
                    return net({&x, 1});
                  },
                  make_loss(recipe.loss.type, recipe.loss.args), *optimizer,
                  {.epochs = recipe.train.epochs,
                   .task = task,
                   .clip_norm = recipe.train.clip_norm,
                   .schedule_each_step = recipe.schedule_each_step(),
                   .compile = recipe.train.compile,
                   .precision = recipe.train.precision == "bf16" ? bf16 : f32});
  trainer.set_scheduler(scheduler.get());
  if (goes_on) load_checkpoint(folder.last(), trainer);

  make_folder(folder);
  remove_leftovers(folder);
  info = {{"hebb", version()},
          {"recipe", recipe.name},
          {"data", data.name},
          {"seed", recipe.train.seed},
          {"cpu", cpu_name()},
          {"threads", num_threads()},
          {"threading", threading_model()},
          {"cores", std::thread::hardware_concurrency()},
          {"compiler", __VERSION__},
          {"parameters", net->num_parameters()},
          {"train_samples", data.train->size()},
          {"val_samples", data.val ? data.val->size() : 0},
          {"test_samples", data.test ? data.test->size() : 0},
          {"normalization", {{"mean", data.normalization.mean}, {"std", data.normalization.std}}},
          {"classes", data.class_names},
          {"options", {{"init", options.init}, {"log_steps", options.log_steps}}},
          {"finished", false}};
  io::write_file_atomic(folder.info(), info.dump(2) + "\n", "train");
  io::write_file_atomic(folder.recipe(), recipe.to_toml(),
                        "train");  // last: all that a resumed run needs is there
  if (options.say)
    options.say(fmt::format(
        "{} on {}: {} parameters, {} training, {} validation and {} test samples, {} thread{}", recipe.name,
        data.name, net->num_parameters(), data.train->size(), data.val ? data.val->size() : 0,
        data.test ? data.test->size() : 0, num_threads(), num_threads() == 1 ? "" : "s"));

  trainer.add_callback(std::make_shared<StopOnNaN>());
  if (options.log_steps) trainer.add_callback(std::make_shared<StepLog>(folder.steps()));
  trainer.add_callback(std::make_shared<CsvLog>(folder.metrics()));
  if (recipe.train.early_stopping > 0)
    trainer.add_callback(std::make_shared<EarlyStopping>(recipe.train.early_stopping));
  if (options.signal) trainer.add_callback(std::make_shared<StopOnSignal>(*options.signal));
  if (!options.quiet) trainer.add_callback(std::make_shared<ProgressBar>());
  trainer.add_callback(
      std::make_shared<Checkpoint>(folder.last(), folder.best(), recipe.train.checkpoint_seconds));
  const bool finished = trainer.fit(train_set, val_set ? &*val_set : nullptr);

  RunResult r;
  r.folder = folder.path.string();
  r.interrupted = !finished;
  const Progress& p = trainer.progress();
  r.epochs = p.epoch;
  double samples = 0;
  for (const EpochLog& e : p.history) {
    r.seconds += e.seconds;
    samples += e.seconds * e.samples_per_s;
  }
  r.samples_per_s = r.seconds > 0 ? samples / r.seconds : 0;
  if (p.best_epoch > 0) {
    const EpochLog& best = p.history[p.best_epoch - 1];
    r.train_loss = best.train_loss;
    r.val_loss = best.val_loss;
    r.val_accuracy = best.val_accuracy;
  }
  if (r.interrupted) return r;
  if (data.test && p.best_epoch > 0) {
    load_weights(folder.best(), *net);
    data::DataLoader test_set(data.test, {.batch_size = eval_batch, .workers = workers});
    const Metrics m = trainer.evaluate(test_set);
    r.test_loss = m.loss;
    r.test_accuracy = m.accuracy;
  }
  info["finished"] = true;
  info["best_epoch"] = p.best_epoch;
  info["result"] = json::parse(to_json(r));
  io::write_file_atomic(folder.info(), info.dump(2) + "\n", "train");
  return r;
}

LoadedRun load_run(const std::string& path) {
  const Folder folder{path};
  HEBB_CHECK(fs::is_directory(path), "[run] expected a run's folder, found none at {}", path);
  HEBB_CHECK(fs::exists(folder.recipe()), "[run] {}: expected recipe.toml in the run's folder, found none",
             path);
  HEBB_CHECK(fs::exists(folder.best()),
             "[run] {}: expected best.safetensors in the run's folder, found none (no epoch is finished)",
             path);
  LoadedRun run = load_run(folder.recipe(), folder.best());
  const json info = read_info(folder);
  if (info.contains("normalization"))
    run.normalization = {info["normalization"]["mean"], info["normalization"]["std"]};
  if (info.contains("classes")) {
    run.class_names = info["classes"].get<std::vector<std::string>>();
    run.classifies = !run.class_names.empty();
  }
  return run;
}

LoadedRun load_run(const std::string& recipe_name, const std::string& weights) {
  Recipe recipe = Recipe::load(recipe_name);
  nn::AnyModule net = recipe.build();
  load_weights(weights, *net);
  net->eval();
  data::Normalization normalization{recipe.data.mean, recipe.data.std};
  const bool classifies = !recipe.data.regression;
  return {std::move(recipe), std::move(net), std::move(normalization), {}, classifies};
}

Evaluation evaluate(LoadedRun& run, std::shared_ptr<const data::Dataset> dataset) {
  // Counts each class's predictions as the trainer goes through the batches.
  struct Confusion : Callback {
    Task task = Task::classes;
    std::vector<std::vector<int64_t>> counts;
    void on_evaluate_batch_end(Trainer&, const data::Batch& b, const Tensor& output) override {
      if (task == Task::regression) return;
      const auto predicted = predicted_classes(output, task).to_vector<int64_t>(),
                 wanted = b.y.to_vector<int64_t>();
      for (size_t i = 0; i < predicted.size(); ++i) {
        const auto n = static_cast<size_t>(std::max(predicted[i], wanted[i]) + 1);
        if (counts.size() < n) counts.resize(n);
        for (auto& row : counts) row.resize(counts.size());
        ++counts[wanted[i]][predicted[i]];
      }
    }
  };
  data::DataLoader loader(dataset, {.batch_size = 500});
  const int64_t first[] = {0};
  const bool classes = !is_float(dataset->batch(first).y.dtype());
  const auto confusion = std::make_shared<Confusion>();
  confusion->task = task_of(run.recipe.loss.type, classes);
  const auto optimizer = run.recipe.make_optimizer(run.net->parameters());
  Trainer trainer(*run.net,
                  [&](const Tensor& x) {
                    return run.net({&x, 1});
                  },
                  make_loss(run.recipe.loss.type, run.recipe.loss.args), *optimizer,
                  {.task = confusion->task});
  trainer.add_callback(confusion);
  Evaluation e{trainer.evaluate(loader), confusion->counts, {}};
  for (size_t c = 0; c < e.confusion.size(); ++c) {
    int64_t n = 0;
    for (const int64_t k : e.confusion[c]) n += k;
    e.class_accuracy.push_back(n ? static_cast<double>(e.confusion[c][c]) / static_cast<double>(n) : kNone);
  }
  return e;
}

}  // namespace hebb::train
