// hebb train: a recipe to a run's folder.
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <filesystem>

#include "cli/app.h"
#include "hebb/core/check.h"
#include "hebb/train/run.h"

namespace hebb::cli {
namespace {

constexpr int kInterrupted = 130;

std::atomic<int> interrupts = 0;
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler may touch nothing else");

// The first Ctrl-C lets the step finish and saves; the second stops at once.
void on_interrupt(int) {
  if (interrupts.fetch_add(1) > 0) _exit(kInterrupted);
}

// Options that change the recipe are kept as text: the recipe checks them as it checks its own file.
struct TrainOptions {
  std::string recipe, data, epochs, batch_size, lr, optimizer, seed, precision;
  std::vector<std::string> set;
  bool no_shuffle = false, eager = false;
  train::RunOptions run;
};

std::string quoted(const std::string& text) {
  return nlohmann::json(text).dump();  // a JSON string is a TOML string
}

// Sets a key of the recipe to an option's value, if it is given. What is wrong with it names the option.
void set(train::Recipe& recipe, const char* option, const char* key, const std::string& value) {
  if (value.empty()) return;
  try {
    recipe.set(key, value);
  } catch (const train::RecipeError& e) {
    throw Error(fmt::format("{}: {}", option, e.message));
  }
}

void apply(const TrainOptions& o, train::Recipe& recipe) {
  set(recipe, "--data", "data.name", o.data.empty() ? "" : quoted(o.data));
  set(recipe, "--optimizer", "optimizer.type", o.optimizer.empty() ? "" : quoted(o.optimizer));
  set(recipe, "--lr", "optimizer.lr", o.lr);
  set(recipe, "--epochs", "train.epochs", o.epochs);
  set(recipe, "--batch-size", "train.batch_size", o.batch_size);
  set(recipe, "--seed", "train.seed", o.seed);
  set(recipe, "--no-shuffle", "train.shuffle", o.no_shuffle ? "false" : "");
  set(recipe, "--eager", "train.compile", o.eager ? "false" : "");
  set(recipe, "--precision", "train.precision", o.precision.empty() ? "" : quoted(o.precision));
  for (const std::string& pair : o.set) {
    const size_t at = pair.find('=');
    HEBB_CHECK(at != std::string::npos && at > 0, "--set: expected KEY=VALUE, got {}", pair);
    recipe.set(pair.substr(0, at), pair.substr(at + 1));
  }
  recipe.check();
}

// What is to be trained: the recipe that a resumed run recorded, or the given one, with the options. A recipe
// given beside --resume must have the recorded one's network.
train::Recipe resolve(const TrainOptions& o) {
  std::optional<train::Recipe> recipe;
  if (!o.run.resume.empty()) recipe = train::recorded_recipe(o.run.resume);
  HEBB_CHECK(recipe || !o.recipe.empty(), "expected a recipe: {} {}; give the one that the run began with",
             o.run.resume, std::filesystem::exists(o.run.resume) ? "has none recorded yet" : "is no folder");
  if (!o.recipe.empty()) {
    train::Recipe given = train::Recipe::load(o.recipe);
    if (recipe) {
      recipe->input = given.input;
      recipe->layers = std::move(given.layers);
    } else {
      recipe = std::move(given);
    }
  }
  apply(o, *recipe);
  return *recipe;
}

int run(const App& app, const TrainOptions& o) {
  const train::Recipe recipe = resolve(o);
  train::RunOptions options = o.run;
  options.quiet = app.quiet;
  options.signal = &interrupts;
  options.say = [&app](const std::string& text) { say(app, text); };
  struct sigaction action = {};
  action.sa_handler = on_interrupt;
  sigaction(SIGINT, &action, nullptr);

  const train::RunResult r = train::train(recipe, options);
  if (r.was_finished) say(app, fmt::format("{} is finished: nothing to do", r.folder));
  if (r.interrupted) say(app, fmt::format("interrupted; go on with: hebb train --resume {}", r.folder));
  if (app.json) {
    nlohmann::json j = nlohmann::json::parse(train::to_json(r));
    j["run"] = r.folder;
    print_json(j);
  } else if (!r.interrupted) {
    if (!std::isnan(r.test_accuracy)) fmt::print("test accuracy {:.2f} %\n", r.test_accuracy * 100);
    else if (!std::isnan(r.test_loss)) fmt::print("test loss {:.6g}\n", r.test_loss);
    else if (!std::isnan(r.val_accuracy)) fmt::print("validation accuracy {:.2f} %\n", r.val_accuracy * 100);
    else if (!std::isnan(r.val_loss)) fmt::print("validation loss {:.6g}\n", r.val_loss);
    else fmt::print("train loss {:.6g}\n", r.train_loss);
    say(app, "run " + r.folder);
  }
  return r.interrupted ? kInterrupted : 0;
}

}  // namespace

void add_train(App& app) {
  auto o = std::make_shared<TrainOptions>();
  CLI::App* c =
      app.command("train", "Train a network by a recipe",
                  "  hebb train lenet5 --data mnist\n"
                  "  hebb train mlp --epochs 3 --optimizer AdamW --set model.layer.1.out_features=256\n"
                  "  hebb train my.toml --out runs/mine --json\n"
                  "  hebb train --resume runs/mine");
  std::string recipes;
  for (const auto& [name, line] : train::builtin_recipes()) recipes += (recipes.empty() ? "" : ", ") + name;
  c->add_option("recipe", o->recipe, fmt::format("A built-in recipe ({}) or a TOML file", recipes));
  c->add_option("--data", o->data, "A data set's name, a folder of IDX files, or a CSV file");
  c->add_option("--epochs", o->epochs, "Passes over the training data");
  c->add_option("--batch-size", o->batch_size, "Samples in a step");
  c->add_option("--lr", o->lr, "Learning rate");
  c->add_option("--optimizer", o->optimizer, "SGD, RMSprop, Adagrad, Adam or AdamW, with its defaults");
  c->add_option("--seed", o->seed, "Draws the weights, the order and the held-out samples");
  CLI::Option* out =
      c->add_option("--out", o->run.out, "The new folder of the run (default: runs/RECIPE-TIME)");
  c->add_option("--resume", o->run.resume,
                "Go on with the run in this folder, with the options that it began with")
      ->excludes(out);
  c->add_option("--init", o->run.init, "Weights to start from (.safetensors)");
  c->add_flag("--no-shuffle", o->no_shuffle, "Take the samples in their order");
  c->add_option(
       "--precision", o->precision,
       "f32, or bf16: products round what they multiply where the processor is faster so (default: f32)")
      ->check(CLI::IsMember({"f32", "bf16"}));
  c->add_flag("--eager", o->eager, "Run op by op instead of compiled, to debug");
  c->add_flag("--log-steps", o->run.log_steps, "Write the loss of every step to steps.csv");
  c->add_option("--set", o->set, "Change a key of the recipe: --set train.clip_norm=1")
      ->type_name("KEY=VALUE");
  c->callback([&app, c, o] {
    if (o->run.resume.empty() && c->count("--resume") > 0)
      throw CLI::ValidationError("--resume", "expected a folder");
    if (o->recipe.empty() && o->run.resume.empty()) throw CLI::RequiredError("recipe");
    app.run = [&app, o] { return run(app, *o); };
  });
}

}  // namespace hebb::cli
