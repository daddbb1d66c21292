// What the kinds of `hebb bench` share, and those that stand in files of their own.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "cli/app.h"

namespace hebb::cli {

/// A clock that never goes back.
double now_ms();
double median(std::vector<double> v);

/// What runs of the same work took, in milliseconds.
struct Times {
  double median_ms = 0, min_ms = 0;
};
/// Runs work again and again for so many seconds, at least once.
Times repeat_for(double seconds, const std::function<void()>& work);

/// How fast so many floats are copied, counting what is read and what is written, by all threads.
double copy_gb_s(int64_t floats, double seconds);

/// hebb bench machine: the fastest of large matrix products, and copies of what no cache holds.
int run_machine(const App& app);

/// The groups of hebb bench kernels.
inline constexpr const char *kProducts = "products", *kConvolutions = "convolutions", *kSmall = "small",
                            *kMemory = "memory";
struct KernelOptions {
  std::vector<std::string> only{kProducts, kConvolutions, kSmall, kMemory};
  int64_t batch = 0;     ///< samples; 0: as many as the kernel's network has
  double seconds = 0.1;  ///< for each kernel
};
/// hebb bench kernels: single ops, each in a compiled function of its own.
int run_kernels(const App& app, const KernelOptions& options);

}  // namespace hebb::cli
