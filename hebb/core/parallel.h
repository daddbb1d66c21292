// The one place where hebb starts threads for kernels: a pool of its own, OpenMP or none, chosen when the
// library is built (-DHEBB_THREADS=std|omp|serial). Nothing else in the project may spell a pragma or own a
// worker, so that the browser build and the thread sanitizer see every thread there is.
#pragma once
#include <cstdint>
#include <memory>
#include <type_traits>

namespace hebb {

/// Number of threads that kernels may use; at least 1. Starts at the number of cores, or HEBB_NUM_THREADS.
int num_threads();

/// Sets the number of threads that kernels may use. Results do not depend on it, bit for bit.
/// Throws Error if `n` is below 1.
void set_num_threads(int n);

/// How this build runs threads: "omp", "std" or "serial".
const char* threading_model();

namespace detail {
using RangeFn = void (*)(void* context, int64_t begin, int64_t end);
void parallel_ranges(int64_t n, int64_t grain, void* context, RangeFn fn);
}  // namespace detail

/// Calls fn(begin, end) on disjoint ranges that cover [0, n), on as many threads as pay: no range but the
/// last holds fewer than `grain` items, and a single range runs on the calling thread. Choose `grain` so
/// that a range is worth some 10 microseconds. Nested calls run serially. Where a range is cut depends on
/// the number of threads, so fn must compute each item alike wherever its range begins. An exception thrown
/// by fn is rethrown on the calling thread.
template <class F>
void parallel_for(int64_t n, int64_t grain, F&& fn) {
  using Fn = std::remove_reference_t<F>;
  detail::parallel_ranges(n, grain, const_cast<void*>(static_cast<const void*>(std::addressof(fn))),
                          [](void* f, int64_t begin, int64_t end) { (*static_cast<Fn*>(f))(begin, end); });
}

}  // namespace hebb
