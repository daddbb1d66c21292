// The program hebb: data to stdout, messages to stderr; exit 0, 1 (failed), 2 (usage), 130 (interrupted).
#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "cli/app.h"
#include "hebb/core/error.h"
#include "hebb/core/parallel.h"
#include "hebb/core/version.h"
#include "hebb/ops/conv.h"
#include "hebb/optim/options.h"

namespace hebb::cli {
namespace {

constexpr int kFailed = 1, kUsage = 2;

// "did you mean" for the first word or option that no command knows.
std::string suggestion(const CLI::App& app, const std::vector<std::string>& words) {
  const CLI::App* command = &app;
  for (const std::string& word : words) {
    std::vector<std::string> known;
    if (word.starts_with("-")) {
      const std::string name = word.substr(0, word.find('='));
      for (const CLI::Option* o : command->get_options())
        for (const std::string& l : o->get_lnames()) known.push_back("--" + l);
      if (std::find(known.begin(), known.end(), name) != known.end() || name.size() < 3) continue;
      if (const std::string* near = optim::detail::nearest(name, known)) return *near;
    } else if (const auto inner = command->get_subcommands({}); !inner.empty()) {
      for (const CLI::App* c : inner) known.push_back(c->get_name());
      if (std::find(known.begin(), known.end(), word) == known.end()) {
        const std::string* near = optim::detail::nearest(word, known);
        return near ? *near : "";
      }
      command = command->get_subcommand(word);
    }
  }
  return "";
}

int run(int argc, char** argv) {
  App app;
  app.app.set_version_flag("--version", std::string("hebb ") + version());
  app.app.require_subcommand(1);
  app.app.footer("Examples:\n  hebb train lenet5 --data mnist\n  hebb COMMAND --help");
  add_train(app);
  add_eval(app);
  add_predict(app);
  add_summary(app);
  add_data(app);
  add_doctor(app);
  add_bench(app);
  try {
    app.app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.app.exit(e);  // --help, --version
    const bool unknown = app.app.get_subcommands().empty() && argc > 1 && argv[1][0] != '-';
    if (unknown) fmt::print(stderr, "hebb: unknown command {}\n", argv[1]);
    else fmt::print(stderr, "hebb: {}\n", e.what());
    const std::string near = suggestion(app.app, {argv + 1, argv + argc});
    if (!near.empty()) fmt::print(stderr, "Did you mean {}?\n", near);
    const CLI::App* command = app.app.get_subcommands().empty() ? &app.app : app.app.get_subcommands()[0];
    fmt::print(stderr, "See hebb{} --help\n", command == &app.app ? "" : " " + command->get_name());
    return kUsage;
  }
  try {
    if (app.threads > 0) set_num_threads(app.threads);
    set_exact_conv(app.exact_conv);
    const int code = app.run();
    if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return code;
    fmt::print(stderr, "hebb: expected to write to stdout, could not: {}\n", std::strerror(errno));
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "hebb: not enough memory\n");
  } catch (const std::exception& e) {
    fmt::print(stderr, "hebb: {}\n", e.what());
  }
  return kFailed;
}

}  // namespace

CLI::App* App::command(const char* name, const char* description, const char* examples) {
  CLI::App* c = app.add_subcommand(name, description);
  c->footer(std::string("Examples:\n") + examples);
  c->add_flag("--json", json, "Print one JSON object as the last line of stdout");
  c->add_flag("--quiet", quiet, "No progress and no messages");
  c->add_option("--threads", threads,
                "Threads that kernels may use (default: all cores); results do not depend on it")
      ->check(CLI::Range(1, 1024));
  c->add_flag("--exact-conv", exact_conv,
              "Convolutions without Winograd's algorithm: slower, with a third of its rounding errors");
  return c;
}

void say(const App& app, const std::string& text) {
  if (!app.quiet) fmt::print(stderr, "{}\n", text);
}
void print_json(const nlohmann::json& object) { fmt::print("{}\n", object.dump()); }
nlohmann::json number(double v) { return v != v ? nlohmann::json(nullptr) : nlohmann::json(v); }

}  // namespace hebb::cli

int main(int argc, char** argv) { return hebb::cli::run(argc, argv); }
