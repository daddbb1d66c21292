// hebb bench: what a step of a network costs.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "cli/bench.h"
#include "cli/bench_networks.h"
#include "hebb/autograd/grad.h"
#include "hebb/core/check.h"
#include "hebb/core/parallel.h"
#include "hebb/graph/compile.h"
#include "hebb/io/npy.h"
#include "hebb/op/autocast.h"
#include "hebb/ops/random.h"
#include "hebb/train/checkpoint.h"

namespace hebb::cli {
namespace {

struct BenchOptions {
  std::string name, mode = "compiled", precision = "f32", init, x, y, out;
  int64_t batch = 0, losses = 0, steps = 1;
  std::optional<double> seconds;
  std::vector<std::string> only;
  bool infer = false, profile = false;
};

// The most memory that this process has had; NaN where the system does not say. (getrusage counts the process
// that this one was forked from, too.)
double peak_mb() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) return std::stod(line.substr(6)) / 1024;  // kilobytes
  return std::nan("");
}

const WorkloadType* find_type(const std::string& name) {
  for (const WorkloadType& t : workload_types())
    if (name == t.name) return &t;
  return nullptr;
}
std::string all_names() {
  std::string all;
  for (const WorkloadType& t : workload_types()) all += (all.empty() ? "" : ", ") + std::string(t.name);
  return all;
}

using Step = std::function<std::vector<Tensor>(std::span<const Tensor>)>;

Step make_step(Workload& w, const BenchOptions& o) {
  if (o.infer) {
    w.net->eval();
    return [&w](auto a) { return std::vector{w.net(a.first(1))}; };
  }
  return [&w](auto a) {
    w.optimizer->zero_grad();
    const Tensor loss = w.loss(w.net(a.first(1)), a[1]);
    backward(loss);
    w.optimizer->step();
    return std::vector{loss};
  };
}

// What the calls of one op on operands of the same shapes took together.
struct Share {
  std::string op, shapes;
  int64_t calls = 0;
  double ms = 0, gflop = 0, gb = 0;
};
// The costliest first, medians of some runs.
std::vector<Share> shares_of(const Compiled& step, std::span<const Tensor> batch) {
  constexpr int kRuns = 5;
  std::vector<std::vector<NodeCost>> runs;
  for (int i = 0; i < kRuns; ++i) runs.push_back(step.profile(batch));
  std::vector<Share> shares;
  for (size_t n = 0; n < runs[0].size(); ++n) {
    const NodeCost& cost = runs[0][n];
    std::vector<double> times;
    for (const auto& run : runs) times.push_back(run[n].ms);
    auto share = std::find_if(shares.begin(), shares.end(),
                              [&](const Share& s) { return s.op == cost.op && s.shapes == cost.shapes; });
    if (share == shares.end()) share = shares.insert(share, {cost.op, cost.shapes});
    ++share->calls;
    share->ms += median(times);
    share->gflop += 2e-9 * static_cast<double>(cost.multiply_adds);
    share->gb += 1e-9 * static_cast<double>(cost.bytes);
  }
  std::sort(shares.begin(), shares.end(), [](const Share& a, const Share& b) { return a.ms > b.ms; });
  return shares;
}
void print_shares(const std::vector<Share>& shares) {
  double total = 0;
  for (const Share& s : shares) total += s.ms;
  fmt::print("{:>9} {:>6} {:>6} {:>8} {:>6}  op and the shapes of its operands\n", "ms", "%", "calls",
             "GFLOP/s", "GB/s");
  for (const Share& s : shares)
    fmt::print("{:9.4g} {:6.2f} {:6} {:>8} {:6.1f}  {} {}\n", s.ms, 100 * s.ms / total, s.calls,
               s.gflop > 0 ? fmt::format("{:.1f}", 1e3 * s.gflop / s.ms) : "", 1e3 * s.gb / s.ms, s.op,
               s.shapes);
}

Tensor load_batch(const char* option, const std::string& path, const Tensor& like) {
  Tensor t = io::load_npy(path);
  HEBB_CHECK(t.shape() == like.shape() && t.dtype() == like.dtype(), "{}: expected {} {}, got {} {} in {}",
             option, name_of(like.dtype()), like.shape().str(), name_of(t.dtype()), t.shape().str(), path);
  return t;
}

// What --precision asks for; f32, with a word on stderr, where the processor cannot.
DType autocast_of(const BenchOptions& o) {
  const DType wanted = o.precision == "bf16" ? bf16 : f32;
  const Autocast products(wanted);
  if (autocast_dtype() != wanted)
    fmt::print(stderr, "hebb: this processor has no products of bf16 that hebb uses: f32\n");
  return autocast_dtype();
}

int run(const App& app, const BenchOptions& o) {
  const double seconds = o.seconds.value_or(3);
  const WorkloadType* type = find_type(o.name);
  manual_seed(0);
  Workload w = type->make(o.batch ? o.batch : type->batch);
  if (!o.init.empty()) train::load_weights(o.init, *w.net);
  if (!o.x.empty()) w.x = load_batch("--x", o.x, w.x);
  if (!o.y.empty()) w.y = load_batch("--y", o.y, w.y);

  const Autocast products(autocast_of(o));
  const std::string precision(name_of(autocast_dtype()));
  std::optional<NoGrad> no_grad;
  if (o.infer) no_grad.emplace();
  const Step plain = make_step(w, o);
  const Compiled compiled = compile(plain, {*w.net, *w.optimizer}, {.name = o.name});
  const Tensor batch[] = {w.x, w.y};
  const auto step = [&] { return o.mode == "eager" ? plain(batch) : compiled(batch); };
  std::vector<double> losses, times;
  double first = 0;
  for (int64_t i = 0; i < std::max<int64_t>(seconds > 0 ? 4 : 1, o.losses); ++i) {  // also warms up
    const double began = now_ms();
    const Tensor result = step()[0];
    if (i == 0) first = now_ms() - began;
    if (i < o.losses) losses.push_back(result.item<double>());
    if (i == 0 && !o.out.empty()) io::save_npy(o.out, result);
  }
  const size_t least_runs = seconds > 0 ? 5 : 1;
  for (const double end = now_ms() + 1000 * seconds; now_ms() < end || times.size() < least_runs;) {
    const double began = now_ms();
    if (o.steps == 1) step();
    else compiled.repeat(o.steps, batch);
    times.push_back((now_ms() - began) / static_cast<double>(o.steps));
  }
  const double middle = median(times), least = *std::min_element(times.begin(), times.end());
  std::vector<Share> shares;
  if (o.profile) shares = shares_of(compiled, batch);
  const Needs needs = compiled.needs();
  if (app.json) {
    nlohmann::json j{{"name", o.name},
                     {"precision", precision},
                     {"mode", o.mode},
                     {"threads", num_threads()},
                     {"batch", w.x.size(0)},
                     {"parameters", w.net->num_parameters()},
                     {"steps", times.size() * static_cast<size_t>(o.steps)},
                     {"steps_per_call", o.steps},
                     {"median_ms", middle},
                     {"min_ms", least},
                     {"first_ms", first},
                     {"peak_mb", number(peak_mb())}};
    if (o.mode == "compiled") {
      j["gflop"] = 2e-9 * static_cast<double>(needs.multiply_adds);
      j["floor_mb"] = 1e-6 * static_cast<double>(needs.bytes);
    }
    if (o.losses > 0) j["losses"] = losses;
    for (const Share& s : shares)
      j["profile"].push_back({{"op", s.op},
                              {"shapes", s.shapes},
                              {"calls", s.calls},
                              {"ms", s.ms},
                              {"gflop", s.gflop},
                              {"gb", s.gb}});
    print_json(j);
    return 0;
  }
  for (const double loss : losses) fmt::print("loss {}\n", loss);
  fmt::print(
      "{} {} {} {}, batch {}, {} thread{}: median {:.4g} ms, min {:.4g}, first {:.4g}, peak {:.0f} MB\n",
      o.name, precision, o.mode, o.infer ? "inference" : "training step", w.x.size(0), num_threads(),
      num_threads() == 1 ? "" : "s", middle, least, first, peak_mb());
  if (o.profile) print_shares(shares);
  return 0;
}

}  // namespace

void add_bench(App& app) {
  auto o = std::make_shared<BenchOptions>();
  CLI::App* c = app.command("bench", "Time a training step, or inference, of a network",
                            "  hebb bench lenet-b64\n"
                            "  hebb bench resnet18-cifar-b64 --infer --batch 1 --threads 1 --json\n"
                            "  hebb bench lenet-b64 --profile\n"
                            "  hebb bench machine\n"
                            "  hebb bench kernels --only products,convolutions --seconds 0.5\n"
                            "  hebb bench lenet-b64 --init w.safetensors --x x.npy --y y.npy --losses 5");
  std::string list =
      "\nmachine (how fast large products and copies are here)"
      "\nkernels (single products, convolutions, small products and ops that move memory)";
  for (const WorkloadType& t : workload_types()) list += fmt::format("\n{} ({})", t.name, t.description);
  c->add_option("name", o->name, "One of:" + list)->required();
  c->add_option("--batch", o->batch, "Samples in a step (default: the name's)")
      ->check(CLI::Range(1, 1 << 20));
  c->add_option("--mode", o->mode, "compiled or eager (op by op)")
      ->check(CLI::IsMember({"compiled", "eager"}));
  c->add_option("--precision", o->precision, "f32, or bf16 for products where that is faster")
      ->check(CLI::IsMember({"f32", "bf16"}));
  c->add_flag("--infer", o->infer, "Time outputs alone, in evaluation mode");
  c->add_option("--only", o->only,
                "Of kernels: products, convolutions, small, memory; with commas (default: all)")
      ->delimiter(',')
      ->check(CLI::IsMember({kProducts, kConvolutions, kSmall, kMemory}));
  c->add_option("--seconds", o->seconds,
                "How long to repeat it, after 4 steps that warm up (default: 3; each kernel 0.1)")
      ->check(CLI::Range(0.0, 3600.0));
  c->add_option("--init", o->init, "Weights to start from (.safetensors)");
  c->add_option("--x", o->x, "Inputs (.npy) in place of random ones");
  c->add_option("--y", o->y, "Targets (.npy)");
  c->add_option("--steps-per-call", o->steps, "Steps that each call makes; times are still of one step")
      ->check(CLI::Range(1, 1 << 20));
  c->add_option("--losses", o->losses, "Print the losses of the first N steps")->check(CLI::Range(0, 100000));
  c->add_option("--out", o->out, "Write the first outputs (with --infer) or loss to this file (.npy)");
  c->add_flag("--profile", o->profile, "Print what each op took, the costliest first");
  c->callback([&app, o, c] {
    if (o->seconds && std::isnan(*o->seconds))
      throw CLI::ValidationError("--seconds", "expected 0 to 3600, got nan");
    const auto refuse = [&](std::initializer_list<const char*> options) {
      for (const char* name : options)
        if (c->count(name))
          throw CLI::ValidationError(name, "expected the name of a network, got " + o->name);
    };
    if (o->name == "machine" || o->name == "kernels")
      refuse({"--mode", "--infer", "--init", "--x", "--y", "--steps-per-call", "--losses", "--out",
              "--profile"});
    if (o->name == "machine") refuse({"--batch", "--precision", "--only", "--seconds"});
    if (o->name == "machine") {
      app.run = [&app] { return run_machine(app); };
      return;
    }
    if (o->name == "kernels") {
      KernelOptions kernels{.batch = o->batch};
      if (!o->only.empty()) kernels.only = o->only;
      if (o->seconds) kernels.seconds = *o->seconds;
      app.run = [&app, kernels, o] {
        const Autocast products(autocast_of(*o));
        return run_kernels(app, kernels);
      };
      return;
    }
    if (!o->only.empty()) throw CLI::ValidationError("--only", "expected the name kernels, got " + o->name);
    if (o->steps > 1 && o->mode == "eager")
      throw CLI::ValidationError("--steps-per-call", "expected --mode compiled");
    if (o->profile && o->mode == "eager") throw CLI::ValidationError("--profile", "expected --mode compiled");
    if (!find_type(o->name))
      throw CLI::ValidationError(
          "name", fmt::format("expected one of machine, kernels, {}, got {}", all_names(), o->name));
    for (const char* name : {"--losses", "--y"})
      if (o->infer && c->count(name))
        throw CLI::ValidationError(name, "expected a training step, not --infer");
    app.run = [&app, o] { return run(app, *o); };
  });
}

}  // namespace hebb::cli
