#include "hebb/core/parallel.h"

#include <algorithm>
#include <atomic>
#include <chrono>
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
#include <unistd.h>
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

// Work shared by `threads` threads, in `each` chunks for each: chunk i covers [n*i/chunks, n*(i+1)/chunks).
struct Job {
  static constexpr int kMostQueues = 16;  // with more threads, several share one

  int64_t n;
  int threads, each;
  void* context;
  detail::RangeFn fn;
  std::atomic<int> next = 0;  // the first of single chunks that nobody has taken
  std::exception_ptr error = {};
  std::mutex error_mutex = {};
  struct alignas(64) Queue {
    std::atomic<int> next = 0;
  };
  Queue queues[kMostQueues] = {};

  void run_chunk(int64_t i) {
    const int64_t chunks = int64_t{threads} * each;
    const bool outer = std::exchange(inside_parallel, true);
    try {
      fn(context, n * i / chunks, n * (i + 1) / chunks);
    } catch (...) {
      const std::lock_guard lock(error_mutex);
      if (!error) error = std::current_exception();
    }
    inside_parallel = outer;
  }
  void run(int thread) {
    if (each > 1) return run_queues(thread);
    for (int i = next++; i < threads; i = next++) run_chunk(i);
  }
  // A thread takes its own chunks in order, neighbours side by side, so that it finds in its cache what it
  // wrote a kernel ago; then those that others have not come to: no two cores are equally fast all the time.
  void run_queues(int thread) {
    const int count = std::min(threads, kMostQueues);
    for (int q = 0; q < count; ++q) {
      const int owner = (thread + q) % count;
      const int begin = threads * owner / count * each, end = threads * (owner + 1) / count * each;
      std::atomic<int>& taken = queues[owner].next;
      for (int i = begin + taken++; i < end; i = begin + taken++) run_chunk(i);
    }
  }
};

#if defined(HEBB_THREADS_STD)

void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

// Waits for a short while without giving up the processor. True if `done` came true.
template <class F>
bool spin_until(F done) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::microseconds(100);
  do {
    for (int i = 0; i < 64; ++i) {
      if (done()) return true;
      pause();
    }
  } while (Clock::now() < end);
  return false;
}

// Threads that take chunks of the job at hand, as does the one that brings it: a worker that comes late finds
// nothing left to do, and nobody waits for it. Between jobs workers look out for the next one for a while,
// for kernels follow closely upon each other, and then sleep.
class Pool {
 public:
  ~Pool() {
    if (getpid() != process_) {  // a fork has no workers: their handles are left alone
      new std::vector<std::thread>(std::move(threads_));
      return;
    }
    stop_ = true;
    ++generation_;
    generation_.notify_all();
    for (auto& t : threads_) t.join();
  }

  void run(Job& job) {
    const std::unique_lock only(submit_, std::try_to_lock);
    if (!only) return job.run(0);  // another thread's job has the workers
    while (static_cast<int>(threads_.size()) < job.threads - 1)
      threads_.emplace_back([this, number = static_cast<int>(threads_.size()) + 1] { work(number); });
    job_ = &job;
    ++generation_;
    if (sleeping_ > 0) generation_.notify_all();
    job.run(0);
    job_ = nullptr;
    const auto left = [this] { return busy_ == 0; };
    while (!spin_until(left)) std::this_thread::yield();
  }

 private:
  void work(int number) {
    uint32_t seen = 0;
    for (;;) {
      if (!spin_until([&] { return generation_ != seen; })) {
        ++sleeping_;
        generation_.wait(seen);
        --sleeping_;
      }
      if (stop_) return;
      seen = generation_;
      ++busy_;  // from here on the job stays, if it is still there
      if (Job* job = job_; job && number < job->threads) job->run(number);
      --busy_;
    }
  }

  const pid_t process_ = getpid();
  std::mutex submit_;
  std::vector<std::thread> threads_;
  std::atomic<Job*> job_ = nullptr;
  std::atomic<uint32_t> generation_ = 0;
  std::atomic<int> busy_ = 0, sleeping_ = 0;
  std::atomic<bool> stop_ = false;
};

Pool& pool() {
  static Pool p;
  return p;
}

#endif

void run_job(Job& job) {
#if defined(HEBB_THREADS_OMP)
#pragma omp parallel num_threads(job.threads)  // or fewer: they take the chunks of those that are missing
  job.run(omp_get_thread_num());
#elif defined(HEBB_THREADS_STD)
  pool().run(job);
#else
  job.run(0);
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
  constexpr int64_t kChunksEach = 16, kGrainsOfChunk = 4;  // small jobs are over before threads drift apart
  const int64_t most = std::max<int64_t>(1, n / std::max<int64_t>(1, grain));
  const int threads = inside_parallel ? 1 : static_cast<int>(std::min<int64_t>(num_threads(), most));
  if (threads == 1) return fn(context, 0, n);
  const int each = static_cast<int>(std::clamp<int64_t>(most / (threads * kGrainsOfChunk), 1, kChunksEach));
  Job job{.n = n, .threads = threads, .each = each, .context = context, .fn = fn};
  run_job(job);
  if (job.error) std::rethrow_exception(job.error);
}

}  // namespace detail
}  // namespace hebb
