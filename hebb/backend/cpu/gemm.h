// Matrix products on raw pointers, the work horse under linear layers, attention and convolutions. Kernels
// stand in gemm-inl.h and pack-inl.h, written once and compiled for every instruction set; gemm.cpp blocks
// the loops, chooses the instruction set at run time and splits the work over threads.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "hebb/backend/cpu/scratch.h"

namespace hebb::cpu {

/// The rows that a convolution of images [image][h][w][channels] multiplies. Row i belongs to place i of a
/// grid of [image][rows][columns] places and holds, tap after tap, the channels of the `run` neighbouring
/// pixels under the tap; zeros outside of the image.
template <class T>
struct PixelRows {
  const T* images;
  int64_t h, w, channels;
  int64_t rows, columns;                         // of the grid
  int64_t step_h, step_w;                        // pixels from one place to the next
  std::span<const std::array<int64_t, 2>> taps;  // pixels from the place to the first one under each tap
  int64_t run = 1;
};

/// Is told which rows of results are final, by the threads that wrote them, while they are near: work that
/// follows can begin. The results [rows][columns] of a product, or the pixels [image, row, column][channels]
/// of a convolution.
class RowsReady {
 public:
  /// So many columns of rows [first, first + rows) are. No result is told of twice; some may never be.
  virtual void ready(int64_t first, int64_t rows, int64_t columns) = 0;

 protected:
  ~RowsReady() = default;
};

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
  const T* residual = nullptr;  // added to what comes out, in rows as those of C
  bool relu = false;            // rectify what comes out, at last
  RowsReady* ready = nullptr;   // is told of rows of C
  /// In place of `a` or `b`: rows [m, k] or [k, n] that are gathered while they are packed. Not with trans_a,
  /// trans_b.
  const PixelRows<T>* a_rows = nullptr;
  const PixelRows<T>* b_rows = nullptr;
  /// What pack_b_whole() made of B, which is then not read: for a B that many products share.
  const T* b_packed = nullptr;
  /// Round elements of A and B to bf16 and multiply those, with sums in f32. For T = float, where
  /// multiplies_bf16(): twice as fast there.
  bool bf16 = false;
};

/// Whether this processor has instructions for products of bf16 that hebb uses: AVX512-BF16.
bool multiplies_bf16();

/// Whether a product of this shape is over before bf16, or a B that is packed before, could pay. Of parts of
/// a product, of which threads may make more or fewer, the whole decides.
bool is_small_product(int64_t m, int64_t n, int64_t k);

/// At most how many elements pack_b_whole() writes for a B of [k, n].
template <class T>
int64_t packed_b_size(int64_t n, int64_t k);
/// Brings the B of a product into the order in which this processor's kernels read it.
template <class T>
void pack_b_whole(const Gemm<T>& g, T* out);

/// Computes the product on as many threads as pay. The result is the same, bit for bit, for any number.
template <class T>
void gemm(const Gemm<T>& g);

/// Computes the product on the calling thread, with the same bits as gemm(): for use inside a parallel_for.
template <class T>
void gemm_serial(const Gemm<T>& g);

}  // namespace hebb::cpu
