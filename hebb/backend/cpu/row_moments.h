// Mean and variance of the columns of a matrix, as batch normalisation needs them.
#pragma once
#include "hebb/backend/cpu/blocks_ready.h"

namespace hebb::cpu {

/// Mean and variance of each column of x [rows, columns]. T is float or double. Sums are cut by the shape
/// alone: the bits do not depend on the number of threads, nor on which rows are told of. One at a time in a
/// thread: it holds that thread's scratch memory.
template <class T>
class RowMoments final : public BlocksReady {
 public:
  RowMoments(const T* x, int64_t rows, int64_t columns);
  /// Writes them, when all rows are there.
  void finish(T* mean, T* var);

 private:
  void run(int64_t block) override;

  const T* const x_;
  const int64_t columns_;
  const Temporary<T> memory_;
  T *const means_, *const squares_;  // of each block
};

}  // namespace hebb::cpu
