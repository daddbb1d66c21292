// Matrix products on raw pointers, the work horse under linear layers, attention and convolutions. Kernels
// stand in gemm-inl.h and pack-inl.h, written once and compiled for every instruction set; gemm.cpp blocks
// the loops, chooses the instruction set at run time and splits the work over threads.
#pragma once
#include <cstddef>
#include <cstdint>

namespace hebb::cpu {

/// C[m,n] = op(A)[m,k] op(B)[k,n] (+ C if accumulate) (+ row_bias[i]) (+ col_bias[j]), row-major.
/// op(A) is A, or its transpose when `trans_a` (A is then stored as [k,m]); B alike. Each leading dimension
/// counts elements from one stored row to the next. T is float or double. C must not overlap A or B.
template <class T>
struct Gemm {
  int64_t m, n, k;
  const T* a;
  int64_t lda;
  bool trans_a = false;
  const T* b;
  int64_t ldb;
  bool trans_b = false;
  T* c;
  int64_t ldc;
  bool accumulate = false;
  const T* row_bias = nullptr;  // m values
  const T* col_bias = nullptr;  // n values
};

/// Computes the product on as many threads as pay. The result is the same, bit for bit, for any number.
template <class T>
void gemm(const Gemm<T>& g);

/// Computes the product on the calling thread, with the same bits as gemm(): for use inside a parallel_for.
template <class T>
void gemm_serial(const Gemm<T>& g);

/// Who uses a thread's scratch memory; users that nest must differ.
enum class ScratchUse {
  kGemmA,
  kGemmB,
  kConvColumns,
  kConvPixels,
  kConvPlanes,
  kConvPartial,
  kRecurrentWeight,
  kRecurrentRow,
  kAttentionScores,
  kCount
};

/// At least `bytes` bytes of memory that belong to the calling thread, aligned to 64 and kept until it ends.
/// The contents last until the same thread asks again for the same use.
void* thread_scratch(ScratchUse use, size_t bytes);
/// The same for n elements.
template <class T>
T* scratch(ScratchUse use, int64_t n) {
  return static_cast<T*>(thread_scratch(use, static_cast<size_t>(n) * sizeof(T)));
}

}  // namespace hebb::cpu
