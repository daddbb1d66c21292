// Runs the program hebb as a user would: in a folder of its own, with stdout, stderr and exit code caught.
#pragma once
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "tests/io/files.h"
#include "tests/support/idx_files.h"

namespace hebb::cli::test {

using test_support::idx_bytes;
using test_support::Pictures;
using test_support::write_bytes;
using test_support::write_idx_folder;

inline std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> out;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, at);) out.push_back(part);
  return out;
}

struct Result {
  int code = -1;  ///< the exit code; 128 + the signal that ended it
  std::string out, err;

  /// The object in the last line of stdout.
  nlohmann::json json() const {
    const auto lines = split(out, '\n');
    return lines.empty() ? nlohmann::json() : nlohmann::json::parse(lines.back(), nullptr, false);
  }
};

struct Limits {
  rlim_t file_size = RLIM_INFINITY;  ///< writes beyond it fail, as on a full disk
  std::map<std::string, std::string> environment = {};
  std::string out = {};  ///< the file that stdout goes to; empty: it is caught
};

/// A running hebb.
class Program {
 public:
  Program(const std::vector<std::string>& arguments, const std::string& folder, const Limits& limits = {}) {
    int out[2], err[2];
    if (::pipe2(out, O_CLOEXEC) != 0 || ::pipe2(err, O_CLOEXEC) != 0) std::abort();
    std::vector<const char*> argv{std::getenv("HEBB_CLI")};
    for (const auto& a : arguments) argv.push_back(a.c_str());
    argv.push_back(nullptr);
    child_ = ::fork();
    if (child_ == 0) {
      ::dup2(limits.out.empty() ? out[1] : ::open(limits.out.c_str(), O_WRONLY), 1);
      ::dup2(err[1], 2);
      ::signal(SIGXFSZ, SIG_IGN);  // so that a write fails and does not kill
      const rlimit size{limits.file_size, limits.file_size};
      ::setrlimit(RLIMIT_FSIZE, &size);
      for (const auto& [name, value] : limits.environment) ::setenv(name.c_str(), value.c_str(), 1);
      if (::chdir(folder.c_str()) == 0) ::execv(argv[0], const_cast<char**>(argv.data()));
      ::_exit(126);
    }
    ::close(out[1]);
    ::close(err[1]);
    out_ = out[0], err_ = err[0];
  }
  ~Program() {
    if (child_ > 0) {
      send(SIGKILL);
      wait();
    }
  }
  Program(const Program&) = delete;

  void send(int signal) const { ::kill(child_, signal); }

  /// Reads until stderr holds the text. False if the program ended before.
  bool wait_for(const std::string& text) {
    while (result_.err.find(text) == std::string::npos)
      if (!read_some()) return false;
    return true;
  }
  /// Reads for this long, or until the program ends.
  void read_for(int milliseconds) { read_some(milliseconds); }

  Result wait() {
    while (read_some()) {
    }
    int status = 0;
    ::waitpid(std::exchange(child_, -1), &status, 0);
    ::close(out_);
    ::close(err_);
    result_.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return result_;
  }

 private:
  // False when both pipes are at their end.
  bool read_some(int timeout = -1) {
    if (!out_open_ && !err_open_) return false;
    pollfd ends[] = {{out_open_ ? out_ : -1, POLLIN, 0}, {err_open_ ? err_ : -1, POLLIN, 0}};
    if (::poll(ends, 2, timeout) <= 0) return out_open_ || err_open_;
    auto take = [](const pollfd& end, bool& open, std::string& text) {
      if (!end.revents) return;
      char part[4096];
      const ssize_t n = ::read(end.fd, part, sizeof part);
      if (n > 0) text.append(part, static_cast<size_t>(n));
      else open = false;
    };
    take(ends[0], out_open_, result_.out);
    take(ends[1], err_open_, result_.err);
    return out_open_ || err_open_;
  }

  pid_t child_ = -1;
  int out_ = -1, err_ = -1;
  bool out_open_ = true, err_open_ = true;
  Result result_;
};

/// A network for the small pictures, with all that makes a run hard to repeat: shuffling, momentum, dropout.
constexpr char kNet[] = R"([model]
input = [1, 8, 8]
[[model.layer]]
type = "Conv2d"
out_channels = 4
kernel_size = 3
[[model.layer]]
type = "ReLU"
[[model.layer]]
type = "MaxPool2d"
kernel_size = 2
[[model.layer]]
type = "Flatten"
[[model.layer]]
type = "Dropout"
p = 0.2
[[model.layer]]
type = "Linear"
out_features = 4
[optimizer]
type = "SGD"
lr = 0.02
momentum = 0.9
[schedule]
type = "CosineAnnealingLR"
[data]
name = "digits"
[train]
epochs = 2
batch_size = 10
)";

/// A folder with the recipe net.toml and small pictures in digits/; the program runs in it.
class CliTest : public io::test::IoTest {
 protected:
  void SetUp() override {
    if (!std::getenv("HEBB_CLI")) GTEST_SKIP() << "HEBB_CLI does not name the program";
    IoTest::SetUp();
    file("net.toml", kNet);
    write_idx_folder(path("digits"), Pictures{.count = 200}, Pictures{.count = 60, .seed = 1});
  }
  void TearDown() override {
    if (!folder_.empty()) IoTest::TearDown();
  }

  /// Runs "hebb" with these words, which spaces part.
  Result hebb(const std::string& words, const Limits& limits = {}) const {
    return Program(split(words, ' '), folder_, limits).wait();
  }
  /// The same, which must succeed.
  Result ok(const std::string& words, const Limits& limits = {}) const {
    const Result r = hebb(words, limits);
    EXPECT_EQ(r.code, 0) << "hebb " << words << "\n" << r.err;
    return r;
  }
  /// What stderr says of a run that must fail with `code` and print nothing on stdout.
  std::string error(const std::string& words, int code = 1, const Limits& limits = {}) const {
    const Result r = hebb(words, limits);
    EXPECT_EQ(r.code, code) << "hebb " << words << "\n" << r.err;
    EXPECT_EQ(r.out, "") << "hebb " << words;
    EXPECT_THAT(r.err, testing::StartsWith("hebb: ")) << "hebb " << words;
    return r.err;
  }

  std::string read(const std::string& name) const { return io::test::bytes_of_file(path(name)); }
  std::vector<std::string> lines(const std::string& name) const { return split(read(name), '\n'); }
  nlohmann::json json_file(const std::string& name) const { return nlohmann::json::parse(read(name)); }
  bool exists(const std::string& name) const { return std::filesystem::exists(path(name)); }

  /// Every file below a folder, with its bytes.
  std::map<std::string, std::string> snapshot(const std::string& name) const {
    std::map<std::string, std::string> all;
    for (const auto& e : std::filesystem::recursive_directory_iterator(path(name)))
      if (e.is_regular_file())
        all[e.path().lexically_relative(path(name))] = io::test::bytes_of_file(e.path());
    return all;
  }
};

}  // namespace hebb::cli::test
