// Mean and variance of the columns of a matrix, as batch normalisation needs them: over blocks of rows that
// stay in the second-level cache, and over each as soon as it is there while a product writes the matrix.
#pragma once
#include <atomic>
#include <memory>
#include <vector>

#include "hebb/backend/cpu/gemm.h"

namespace hebb::cpu {

/// The rows of a matrix in blocks of about so many elements, cut by the shape alone.
struct RowBlocks {
  int64_t rows, channels, each, count;
  RowBlocks(int64_t height, int64_t width, int64_t elements);
  int64_t size(int64_t block) const;
};

/// Mean and variance of each column of x [rows, channels]. T is float or double. The bits do not depend on
/// the number of threads, nor on which rows are told of.
template <class T>
class RowMoments final : public RowsReady {
 public:
  RowMoments(const T* x, int64_t rows, int64_t channels);
  /// Sums the blocks that these results complete.
  void ready(int64_t first, int64_t rows, int64_t columns) override;
  /// Sums the blocks that are left, on as many threads as pay, and joins all.
  void finish(T* mean, T* var);

 private:
  void sum(int64_t block);

  const T* const x_;
  const RowBlocks blocks_;
  std::vector<T> means_, squares_;                   // of each block
  std::unique_ptr<std::atomic<int64_t>[]> missing_;  // how many elements of each block
};

}  // namespace hebb::cpu
