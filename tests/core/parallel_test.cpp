// parallel_for: every index once, exceptions come back, nesting, the number of threads.
#include "hebb/core/parallel.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/threads.h"
#include "tests/support/throws.h"

namespace hebb {
namespace {

class Parallel : public ::testing::Test {
 private:
  test_support::Threads put_back_;
};

TEST_F(Parallel, VisitsEachIndexOnceForAnyNumberOfThreads) {
  for (const int threads : {1, 2, 3, 5, 16, 40}) {
    set_num_threads(threads);
    for (const int64_t n : {0, 1, 2, 7, 1000}) {
      for (const int64_t grain : {0, 1, 3, 5000}) {
        std::vector<std::atomic<int>> visits(static_cast<size_t>(n));
        parallel_for(n, grain, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) ++visits[static_cast<size_t>(i)];
        });
        for (const auto& v : visits) ASSERT_EQ(v.load(), 1) << threads << " " << n << " " << grain;
      }
    }
  }
}

TEST_F(Parallel, NeverMoreThreadsThanAskedFor) {
  set_num_threads(6);
  parallel_for(1000, 1, [](int64_t, int64_t) {});  // now there are as many
  set_num_threads(2);
  std::mutex mutex;
  std::set<std::thread::id> seen;
  parallel_for(1000, 1, [&](int64_t, int64_t) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    const std::lock_guard lock(mutex);
    seen.insert(std::this_thread::get_id());
  });
  EXPECT_LE(seen.size(), 2u);
}

TEST_F(Parallel, SmallWorkStaysOnTheCallingThread) {
  set_num_threads(4);
  int calls = 0;
  parallel_for(99, 100, [&](int64_t begin, int64_t end) {
    ++calls;
    EXPECT_EQ(begin, 0);
    EXPECT_EQ(end, 99);
  });
  EXPECT_EQ(calls, 1);
  parallel_for(-3, 1, [&](int64_t, int64_t) { ++calls; });
  EXPECT_EQ(calls, 1) << "nothing to do";
}

TEST_F(Parallel, RangesHoldAtLeastTheGrain) {
  set_num_threads(5);
  std::atomic<int> ranges{0};
  parallel_for(103, 25, [&](int64_t begin, int64_t end) {
    EXPECT_GE(end - begin, 25);
    ++ranges;
  });
  EXPECT_LE(ranges.load(), 4);
}

TEST_F(Parallel, AnExceptionComesBackToTheCaller) {
  for (const int threads : {1, 3}) {
    set_num_threads(threads);
    for (const int64_t at : {0, 50, 99}) {
      EXPECT_THROW(parallel_for(100, 1,
                                [&](int64_t begin, int64_t end) {
                                  if (begin <= at && at < end) throw std::invalid_argument("here");
                                }),
                   std::invalid_argument);
    }
    std::atomic<int64_t> sum{0};
    parallel_for(100, 1, [&](int64_t begin, int64_t end) { sum += end - begin; });
    EXPECT_EQ(sum.load(), 100) << "the threads are fit for work again";
  }
}

TEST_F(Parallel, NestedCallsRunSerially) {
  set_num_threads(3);
  std::atomic<int64_t> visits{0};
  parallel_for(6, 1, [&](int64_t begin, int64_t end) {
    const auto outer = std::this_thread::get_id();
    for (int64_t i = begin; i < end; ++i)
      parallel_for(10, 1, [&](int64_t b, int64_t e) {
        EXPECT_EQ(std::this_thread::get_id(), outer);
        visits += e - b;
      });
  });
  EXPECT_EQ(visits.load(), 60);
}

TEST_F(Parallel, CallersOnSeveralThreadsDoNotDisturbEachOther) {
  set_num_threads(3);
  std::vector<std::thread> callers;
  for (int c = 0; c < 3; ++c)
    callers.emplace_back([] {
      for (int i = 0; i < 50; ++i) {
        std::atomic<int64_t> sum{0};
        parallel_for(1000, 10, [&](int64_t begin, int64_t end) {
          for (int64_t k = begin; k < end; ++k) sum += k;
        });
        EXPECT_EQ(sum.load(), 499500);
      }
    });
  for (auto& t : callers) t.join();
}

TEST_F(Parallel, TheNumberOfThreadsIsAtLeastOne) {
  EXPECT_GE(num_threads(), 1);
  set_num_threads(7);
  EXPECT_EQ(num_threads(), 7);
  EXPECT_ERROR(set_num_threads(0), "[set_num_threads] expected at least 1 thread, got 0");
  EXPECT_EQ(num_threads(), 7);
  const std::string model = threading_model();
  EXPECT_TRUE(model == "omp" || model == "std" || model == "serial") << model;
}

TEST_F(Parallel, AForkedChildWorks) {
  if (std::string(threading_model()) == "omp") GTEST_SKIP() << "OpenMP does not outlive a fork";
  set_num_threads(3);
  const auto sum_of = [] {
    std::atomic<int64_t> sum{0};
    parallel_for(100, 1, [&](int64_t begin, int64_t end) { sum += end - begin; });
    return sum.load();
  };
  EXPECT_EQ(sum_of(), 100);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::alarm(20);  // ends a child that hangs
    ::_exit(sum_of() == 100 ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

}  // namespace
}  // namespace hebb
