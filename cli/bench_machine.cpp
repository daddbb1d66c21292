// hebb bench machine: what this machine can do, and how that and all else is timed.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "cli/bench.h"
#include "hebb/autograd/grad.h"
#include "hebb/core/parallel.h"
#include "hebb/ops/creation.h"
#include "hebb/ops/matmul.h"
#include "hebb/ops/random.h"

namespace hebb::cli {

double now_ms() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  const size_t half = v.size() / 2;
  return v.size() % 2 ? v[half] : (v[half - 1] + v[half]) / 2;
}

Times repeat_for(double seconds, const std::function<void()>& work) {
  std::vector<double> times;
  for (const double end = now_ms() + 1000 * seconds; times.empty() || now_ms() < end;) {
    const double began = now_ms();
    work();
    times.push_back(now_ms() - began);
  }
  return {median(times), *std::min_element(times.begin(), times.end())};
}

double copy_gb_s(int64_t floats, double seconds) {
  Tensor from = ones({floats}), to = zeros({floats});
  const float* const source = from.data<float>();
  float* const target = to.mutable_data<float>();
  const auto copy = [&] {
    parallel_for(floats, 1 << 14, [&](int64_t begin, int64_t end) {
      std::copy(source + begin, source + end, target + begin);
    });
  };
  copy();
  return 2e-6 * sizeof(float) * static_cast<double>(floats) / repeat_for(seconds, copy).min_ms;
}

int run_machine(const App& app) {
  constexpr double kSeconds = 1.5;
  constexpr int64_t kSide = 1536, kFloats = 1 << 26;
  const NoGrad no_grad;
  const Tensor a = randn({kSide, kSide}), b = randn({kSide, kSide});
  const double gflops = 2e-6 * kSide * kSide * kSide / repeat_for(kSeconds, [&] { matmul(a, b); }).min_ms;
  const double bandwidth = copy_gb_s(kFloats, kSeconds);
  if (app.json) print_json({{"threads", num_threads()}, {"peak_gflops", gflops}, {"copy_gb_s", bandwidth}});
  else
    fmt::print(
        "{} threads: products of {}x{} f32 at {:.1f} GFLOP/s, copies at {:.1f} GB/s (read and written)\n",
        num_threads(), kSide, kSide, gflops, bandwidth);
  return 0;
}

}  // namespace hebb::cli
