// The pool of memory: alignment, reuse, counting.
#include "hebb/core/storage.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "hebb/core/tensor.h"

namespace hebb {
namespace {

TEST(Storage, IsAlignedTo64Bytes) {
  for (const size_t bytes : {0, 1, 63, 64, 65, 1000, 4097, 1 << 20}) {
    const Ref<Storage> s = make_ref<Storage>(bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(s->data()) % 64, 0u) << bytes;
    EXPECT_EQ(s->bytes(), bytes);
  }
}

TEST(Storage, LiesInLargePagesWhereTheyPay) {
  for (const size_t bytes : {detail::kLargePage, detail::kLargePage + 1, 5 * detail::kLargePage / 2}) {
    const Ref<Storage> s = make_ref<Storage>(bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(s->data()) % detail::kLargePage, 0u) << bytes;
    static_cast<char*>(s->data())[bytes - 1] = 1;
  }
  const Ref<Storage> huge = make_ref<Storage>(129 * detail::kLargePage);  // only aligned as all are
  EXPECT_EQ(reinterpret_cast<uintptr_t>(huge->data()) % 64, 0u);
}

TEST(Storage, IsSharedByCounting) {
  Ref<Storage> a = make_ref<Storage>(size_t{8});
  EXPECT_EQ(a->use_count(), 1);
  {
    const Ref<Storage> b = a;
    EXPECT_EQ(a->use_count(), 2);
    EXPECT_TRUE(a == b);
  }
  EXPECT_EQ(a->use_count(), 1);
  Ref<Storage> moved = std::move(a);
  EXPECT_FALSE(a);
  EXPECT_EQ(moved->use_count(), 1);
}

TEST(Pool, CountsWhatIsInUseAndThePeak) {
  empty_cache();
  const MemoryStats before = memory_stats();
  EXPECT_EQ(before.cached, 0);
  reset_peak_memory();
  {
    const Tensor a = Tensor::empty({1 << 20}, f32);
    EXPECT_EQ(memory_stats().in_use - before.in_use, 4 << 20);
    { const Tensor b = Tensor::empty({1 << 18}, f64); }
    const Tensor view = a.detach();
    EXPECT_EQ(memory_stats().in_use - before.in_use, 4 << 20) << "views take no memory";
  }
  const MemoryStats after = memory_stats();
  EXPECT_EQ(after.in_use, before.in_use);
  EXPECT_EQ(after.peak - before.in_use, (4 << 20) + (2 << 20));
  EXPECT_EQ(after.cached, (4 << 20) + (2 << 20));
  reset_peak_memory();
  EXPECT_EQ(memory_stats().peak, before.in_use);
  empty_cache();
  EXPECT_EQ(memory_stats().cached, 0);
}

TEST(Pool, ReusesFreedBlocksOfTheSameClass) {
  const void* first;
  {
    const Ref<Storage> s = make_ref<Storage>(size_t{100'000});
    first = s->data();
  }
  EXPECT_EQ(make_ref<Storage>(size_t{100'001})->data(), first) << "sizes are rounded to classes";
}

TEST(Pool, WastesAtMostAFifth) {
  for (size_t bytes = 1; bytes < 40'000'000; bytes = bytes * 9 / 8 + 1) {
    const int64_t before = memory_stats().in_use;
    const Ref<Storage> s = make_ref<Storage>(bytes);
    const int64_t taken = memory_stats().in_use - before;
    EXPECT_GE(taken, static_cast<int64_t>(bytes));
    EXPECT_EQ(taken % 64, 0);
    if (bytes >= 1024) {
      EXPECT_LE(taken, static_cast<int64_t>(bytes) * 5 / 4 + 64) << bytes;
    }
  }
}

TEST(Pool, ServesManyThreads) {
  const int64_t before = memory_stats().in_use;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([t] {
      for (int i = 0; i < 500; ++i) {
        Tensor x = Tensor::empty({64 + 7 * i + t}, i32);
        x.mutable_data<int32_t>()[0] = t;
        EXPECT_EQ(x.data<int32_t>()[0], t);
      }
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(memory_stats().in_use, before);
}

}  // namespace
}  // namespace hebb
