// hebb doctor: what this build is, what this machine offers it, and whether it works here.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "cli/app.h"
#include "hebb/autograd/grad.h"
#include "hebb/backend/cpu/cpu_backend.h"
#include "hebb/core/parallel.h"
#include "hebb/core/version.h"
#include "hebb/data/sources.h"
#include "hebb/op/dispatch.h"
#include "hebb/ops/conv.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/matmul.h"
#include "hebb/ops/random.h"
#include "hebb/ops/reduce.h"

namespace hebb::cli {
namespace {

// Files of shared libraries that the process has loaded.
std::vector<std::string> loaded_libraries() {
  std::vector<std::string> paths;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    const size_t at = line.find('/');
    if (at == std::string::npos || line.find(".so") == std::string::npos) continue;
    const std::string path = line.substr(at);
    if (paths.empty() || paths.back() != path) paths.push_back(path);
  }
  return paths;
}

// Largest difference between the cpu kernels and the plain ones on a convolution, its gradients and an
// exponential.
double self_test() {
  Generator g(1);
  const Tensor x = randn({2, 3, 12, 12}, f32, g), w = randn({8, 3, 3, 3}, f32, g);
  auto run = [&](const char* backend) {
    const BackendScope scope(backend);
    const Tensor a = x.detach().requires_grad_(), b = w.detach().requires_grad_();
    const Tensor loss = sum(exp(conv2d(a, b, {}, {.padding = 1}) * 0.1));
    const Tensor inputs[] = {a, b};
    std::vector<Tensor> out = grad({&loss, 1}, inputs);
    out.push_back(loss.detach());
    return out;
  };
  const auto got = run("cpu"), expected = run("reference");
  double worst = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const auto p = got[i].to_vector<double>(), q = expected[i].to_vector<double>();
    double scale = 0, error = 0;
    for (size_t k = 0; k < p.size(); ++k)
      scale = std::max(scale, std::abs(q[k])), error = std::max(error, std::abs(p[k] - q[k]));
    worst = std::max(worst, error / scale);
  }
  return worst;
}

double product_gflops(double seconds) {
  Generator g(2);
  const NoGrad no_grad;
  const Tensor a = randn({512, 512}, f32, g), b = randn({512, 512}, f32, g);
  matmul(a, b);
  using Clock = std::chrono::steady_clock;
  const auto began = Clock::now();
  int64_t n = 0;
  double elapsed = 0;
  for (; elapsed < seconds; ++n) {
    matmul(a, b);
    elapsed = std::chrono::duration<double>(Clock::now() - began).count();
  }
  return static_cast<double>(n) * 2 * 512 * 512 * 512 / elapsed * 1e-9;
}

int doctor(const App& app) {
  constexpr double kTolerance = 1e-5;
  const double error = self_test(), gflops = product_gflops(1.0);
  const bool ok = error < kTolerance;
  std::string library;
  for (const auto& path : loaded_libraries())
    if (path.find("libhebb") != std::string::npos) library = path;
  if (library.empty()) library = "linked into the program";
  const std::string program = std::filesystem::read_symlink("/proc/self/exe").string();
  nlohmann::json sets = nlohmann::json::array();
  for (const auto& s : data::list_sources())
    sets.push_back({{"name", s.name}, {"available", s.available}, {"path", s.path}});
  if (app.json) {
    print_json({{"version", version()},
                {"compiler", __VERSION__},
                {"cpu", cpu_name()},
                {"cores", std::thread::hardware_concurrency()},
                {"threads", num_threads()},
                {"threading", threading_model()},
                {"targets", cpu_targets()},
                {"program", program},
                {"library", library},
                {"libraries", loaded_libraries()},
                {"data", sets},
                {"self_test", {{"ok", ok}, {"error", error}, {"product_gflops", gflops}}}});
    return ok ? 0 : 1;
  }
  fmt::print("hebb        {} ({})\n", version(), __VERSION__);
  fmt::print("processor   {}, {} cores\n", cpu_name(), std::thread::hardware_concurrency());
  fmt::print("kernels     {} (first is used)\n", fmt::join(cpu_targets(), ", "));
  fmt::print("threads     {} ({})\n", num_threads(), threading_model());
  fmt::print("program     {}\nlibrary     {}\n", program, library);
  for (const auto& path : loaded_libraries()) fmt::print("  {}\n", path);
  fmt::print("data\n");
  for (const auto& s : data::list_sources())
    fmt::print("  {:<9} {}\n", s.name,
               s.path.empty() ? (s.available ? "by formula" : "files not found") : s.path);
  fmt::print("self test   {}: kernels differ from the plain ones by {:.1e}; matrix product {:.0f} GFLOP/s\n",
             ok ? "passed" : "FAILED", error, gflops);
  return ok ? 0 : 1;
}

}  // namespace

void add_doctor(App& app) {
  CLI::App* c = app.command("doctor", "Versions, CPU features, threads, data sets, and a 2-second self test",
                            "  hebb doctor\n  hebb doctor --json");
  c->callback([&app] { app.run = [&app] { return doctor(app); }; });
}

}  // namespace hebb::cli
