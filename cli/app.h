// What the commands of the program share.
#pragma once
#include <CLI/CLI.hpp>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

namespace hebb::cli {

/// Options that every command takes, and what the chosen one will do.
struct App {
  CLI::App app{"hebb: define, train, look inside and ship neural networks", "hebb"};
  bool json = false, quiet = false, exact_conv = false;
  int threads = 0;
  std::function<int()> run;

  /// Adds a command with an example for its help.
  CLI::App* command(const char* name, const char* description, const char* examples);
};

void add_train(App& app);
void add_eval(App& app);
void add_predict(App& app);
void add_summary(App& app);
void add_data(App& app);
void add_doctor(App& app);
void add_bench(App& app);

/// A message for the person at the terminal, on stderr; silent with --quiet.
void say(const App& app, const std::string& text);
/// The machine's answer: one object, the last line of stdout.
void print_json(const nlohmann::json& object);
/// JSON has no NaN: null stands for it.
nlohmann::json number(double v);

}  // namespace hebb::cli
