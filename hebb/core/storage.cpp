#include "hebb/core/storage.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace hebb {
namespace {

constexpr size_t kAlignment = 64;
// No processor gives a program a larger address space.
constexpr size_t kMostBytes = static_cast<size_t>(std::min<uint64_t>(uint64_t{1} << 47, SIZE_MAX / 2));
// A training step frees and takes the same sizes again and again. Above this the system is asked each time it
// would be slower by page faults, so everything is cached; the bound is on what may lie unused.
constexpr int64_t kMaxCached = int64_t{2} << 30;

// Block sizes: four steps to each power of two, so that at most a fifth of a block is unused.
struct SizeClass {
  int index;
  size_t bytes;
};
SizeClass size_class(size_t bytes) {
  const size_t n = std::max(bytes, kAlignment);
  const int power = std::bit_width(n - 1) - 1;  // 2^power < n <= 2^(power+1), for n > 64
  if (n == kAlignment) return {0, kAlignment};
  const size_t base = size_t{1} << power, step = std::max(kAlignment, base / 4);
  const size_t steps = (n - base + step - 1) / step;
  return {(power - 6) * 4 + static_cast<int>(steps * step / (base / 4)), base + steps * step};
}

class Pool {
 public:
  void* take(size_t bytes) {
    if (bytes > kMostBytes) throw std::bad_alloc();
    const SizeClass c = size_class(bytes);
    {
      const std::lock_guard lock(mutex_);
      auto& list = free_[c.index];
      if (!list.empty()) {
        void* p = list.back();
        list.pop_back();
        cached_ -= static_cast<int64_t>(c.bytes);
        return counted(p, c);
      }
    }
    void* p = detail::aligned_memory(c.bytes);
    if (!p) {
      empty();
      p = detail::aligned_memory(c.bytes);
    }
    if (!p) throw std::bad_alloc();
    const std::lock_guard lock(mutex_);
    return counted(p, c);
  }

  void give(void* p, size_t bytes) {
    const SizeClass c = size_class(bytes);
    {
      const std::lock_guard lock(mutex_);
      in_use_ -= static_cast<int64_t>(c.bytes);
      if (cached_ + static_cast<int64_t>(c.bytes) <= kMaxCached) {
        cached_ += static_cast<int64_t>(c.bytes);
        free_[c.index].push_back(p);
        return;
      }
    }
    std::free(p);
  }

  void empty() {
    const std::lock_guard lock(mutex_);
    for (auto& list : free_) {
      for (void* p : list) std::free(p);
      list.clear();
    }
    cached_ = 0;
  }

  MemoryStats stats() {
    const std::lock_guard lock(mutex_);
    return {in_use_, peak_, cached_};
  }

  void reset_peak() {
    const std::lock_guard lock(mutex_);
    peak_ = in_use_;
  }

 private:
  // With the lock held.
  void* counted(void* p, const SizeClass& c) {
    in_use_ += static_cast<int64_t>(c.bytes);
    peak_ = std::max(peak_, in_use_);
    return p;
  }

  std::mutex mutex_;
  std::vector<void*> free_[240];
  int64_t in_use_ = 0, peak_ = 0, cached_ = 0;
};

// Never destroyed: tensors with static storage duration may outlive any order of destruction.
Pool& pool() {
  static Pool& p = *new Pool;
  return p;
}

}  // namespace

Storage::Storage(size_t bytes, Device device) : data_(pool().take(bytes)), bytes_(bytes), device_(device) {
  touch();
}
void Storage::touch() {
  static std::atomic<uint64_t> last{0};
  stamp_ = last.fetch_add(1, std::memory_order_relaxed) + 1;
}
Storage::~Storage() {
  if (data_) pool().give(data_, bytes_);
}

void* detail::aligned_memory(size_t bytes) {
  const bool large = bytes >= kLargePage && bytes <= 128 * kLargePage;
  const size_t unit = large ? kLargePage : kAlignment;
  void* const p = std::aligned_alloc(unit, (bytes + unit - 1) / unit * unit);  // whole units, as it demands
#if defined(__linux__)
  if (p && large) madvise(p, bytes, MADV_HUGEPAGE);
#endif
  return p;
}

MemoryStats memory_stats() { return pool().stats(); }
void reset_peak_memory() { pool().reset_peak(); }
void empty_cache() { pool().empty(); }

}  // namespace hebb
