#include "hebb/core/parallel.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "hebb/core/check.h"

#if defined(HEBB_THREADS_OMP)
#include <omp.h>
#elif defined(HEBB_THREADS_STD)
#include <condition_variable>
#endif

namespace hebb {
namespace {

int initial_threads() {
  if (const char* text = std::getenv("HEBB_NUM_THREADS")) {
    const int n = std::atoi(text);
    if (n >= 1) return n;
  }
#if defined(HEBB_THREADS_SERIAL)
  return 1;
#else
  return std::max(1u, std::thread::hardware_concurrency());
#endif
}

std::atomic<int>& thread_setting() {
  static std::atomic<int> n{initial_threads()};
  return n;
}

thread_local bool inside_parallel = false;

// Work shared by the threads of one parallel_for: part i of `parts` covers [n*i/parts, n*(i+1)/parts).
struct Job {
  int64_t n;
  int parts;
  void* context;
  detail::RangeFn fn;
  std::exception_ptr error;
  std::mutex error_mutex;

  void run_part(int i) {
    const bool outer = std::exchange(inside_parallel, true);
    try {
      fn(context, n * i / parts, n * (i + 1) / parts);
    } catch (...) {
      const std::lock_guard lock(error_mutex);
      if (!error) error = std::current_exception();
    }
    inside_parallel = outer;
  }
};

#if defined(HEBB_THREADS_STD)

// Workers sleep on a condition variable; a job is handed to parts 1.. while the caller runs part 0.
class Pool {
 public:
  ~Pool() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    for (auto& t : threads_) t.join();
  }

  void run(Job& job) {
    const std::lock_guard one_job(submit_);
    {
      const std::lock_guard lock(mutex_);
      while (static_cast<int>(threads_.size()) < job.parts - 1)
        threads_.emplace_back([this, id = static_cast<int>(threads_.size()) + 1] { work(id); });
      job_ = &job;
      pending_ = job.parts - 1;
      ++generation_;
    }
    wake_.notify_all();
    job.run_part(0);
    std::unique_lock lock(mutex_);
    done_.wait(lock, [this] { return pending_ == 0; });
    job_ = nullptr;
  }

 private:
  void work(int id) {
    uint64_t seen = 0;
    for (;;) {
      Job* job;
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return stop_ || (generation_ != seen && job_ != nullptr); });
        if (stop_) return;
        seen = generation_;
        job = id < job_->parts ? job_ : nullptr;
      }
      if (!job) continue;
      job->run_part(id);
      const std::lock_guard lock(mutex_);
      if (--pending_ == 0) done_.notify_all();
    }
  }

  std::mutex submit_, mutex_;
  std::condition_variable wake_, done_;
  std::vector<std::thread> threads_;
  Job* job_ = nullptr;
  int pending_ = 0;
  uint64_t generation_ = 0;
  bool stop_ = false;
};

Pool& pool() {
  static Pool p;
  return p;
}

#endif

void run_job(Job& job) {
#if defined(HEBB_THREADS_OMP)
#pragma omp parallel num_threads(job.parts)
  {
    // The runtime may grant fewer threads than asked for: each takes every k-th part.
    for (int i = omp_get_thread_num(); i < job.parts; i += omp_get_num_threads()) job.run_part(i);
  }
#elif defined(HEBB_THREADS_STD)
  pool().run(job);
#else
  for (int i = 0; i < job.parts; ++i) job.run_part(i);
#endif
}

}  // namespace

int num_threads() { return thread_setting().load(std::memory_order_relaxed); }

void set_num_threads(int n) {
  HEBB_CHECK(n >= 1, "[set_num_threads] expected at least 1 thread, got {}", n);
  thread_setting().store(n, std::memory_order_relaxed);
}

const char* threading_model() {
#if defined(HEBB_THREADS_OMP)
  return "omp";
#elif defined(HEBB_THREADS_STD)
  return "std";
#else
  return "serial";
#endif
}

namespace detail {

void parallel_ranges(int64_t n, int64_t grain, void* context, RangeFn fn) {
  if (n <= 0) return;
  const int64_t most = std::max<int64_t>(1, n / std::max<int64_t>(1, grain));
  const int parts = inside_parallel ? 1 : static_cast<int>(std::min<int64_t>(num_threads(), most));
  if (parts == 1) return fn(context, 0, n);
  Job job{n, parts, context, fn, nullptr, {}};
  run_job(job);
  if (job.error) std::rethrow_exception(job.error);
}

}  // namespace detail
}  // namespace hebb
