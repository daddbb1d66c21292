// Work on blocks of rows that another kernel writes, each as soon as it is complete.
#pragma once
#include <algorithm>
#include <atomic>
#include <memory>

#include "hebb/backend/cpu/gemm.h"
#include "hebb/backend/cpu/kernel_support.h"
#include "hebb/core/parallel.h"

namespace hebb::cpu {

/// Blocks of `each` rows of `columns` elements, the last one shorter. Each is run once: by the thread that
/// completes it, which sees what all others wrote, or by finish().
class BlocksReady : public RowsReady {
 public:
  BlocksReady(int64_t rows, int64_t columns, int64_t each)
      : rows_(rows),
        each_(each),
        count_((rows + each - 1) / each),
        missing_(new std::atomic<int64_t>[static_cast<size_t>(count_)]) {
    for (int64_t b = 0; b < count_; ++b) missing_[b] = rows_of(b) * columns;
  }
  void ready(int64_t first, int64_t rows, int64_t columns) final {
    for (const int64_t end = first + rows; first < end;) {
      const int64_t block = first / each_, next = std::min(end, (block + 1) * each_),
                    more = (next - first) * columns;
      if (missing_[block].fetch_sub(more, std::memory_order_acq_rel) == more) run(block);
      first = next;
    }
  }

 protected:
  ~BlocksReady() = default;
  /// Uses the rows of a block.
  virtual void run(int64_t block) = 0;
  /// Runs the blocks that are left, each worth so many nanoseconds. All rows must be there.
  void finish_blocks(double ns) {
    parallel_for(count_, grain(ns), [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b)
        if (missing_[b] != 0) run(b);
    });
  }
  int64_t rows_of(int64_t block) const { return std::min(each_, rows_ - block * each_); }

  const int64_t rows_, each_, count_;

 private:
  std::unique_ptr<std::atomic<int64_t>[]> missing_;  // how many elements of each block
};

}  // namespace hebb::cpu
