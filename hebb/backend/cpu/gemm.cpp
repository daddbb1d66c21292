// Blocking, threads and choice of instruction set for matrix products. Loops, from the outside: columns of C
// (B packed for them), blocks of k, blocks of rows (A packed, in the second-level cache), then panels of
// columns and tiles. Every block of k is summed from zero and added to C in order, and where the blocks are
// cut depends on k alone, so an element has the same bits whatever tile, thread or path computes it.
#include "hebb/backend/cpu/gemm.h"

#include <hwy/cache_control.h>

#include <algorithm>
#include <cstdlib>

#include "hebb/backend/cpu/targets.h"
#include "hebb/core/parallel.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hebb/backend/cpu/gemm.cpp"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "hebb/backend/cpu/gemm-inl.h"
#include "hebb/backend/cpu/pack-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hebb::cpu {
namespace HWY_NAMESPACE {

constexpr int64_t kBlockRows = 96;       // of A: with a block of k, a third of the second-level cache
constexpr int64_t kBlockColumns = 1024;  // of B packed at a time
template <class T>
constexpr int64_t kBlockDepth = 2048 / static_cast<int64_t>(sizeof(T));  // words
// Rows of packed A start an odd number of cache lines apart, panels of B too: powers of two would all fall
// on the same few sets of the first-level cache.
template <class T>
constexpr int64_t kLine = 64 / static_cast<int64_t>(sizeof(T));
template <class T>
constexpr int64_t kPackedRowStride = kBlockDepth<T> + kLine<T>;

/// The words of k cut into equal blocks, multiples of 16, at most kBlockDepth. Depends on k alone: sums do
/// too.
template <class F>
struct DepthBlocks {
  int64_t k, total, length, count;
  explicit DepthBlocks(int64_t elements) : k(elements), total(words<F>(elements)) {
    constexpr int64_t kMost = kBlockDepth<typename F::Type>;
    const int64_t least = std::max<int64_t>(1, (total + kMost - 1) / kMost);
    length = std::max<int64_t>(16, ((total + least - 1) / least + 15) / 16 * 16);
    count = std::max<int64_t>(1, (total + length - 1) / length);
  }
  int64_t begin(int64_t i) const { return i * length; }
  int64_t size(int64_t i) const { return std::min(length, total - i * length); }
  /// The same in elements of k.
  int64_t first(int64_t i) const { return begin(i) * F::kPerWord; }
  int64_t elements(int64_t i) const { return std::min(length * F::kPerWord, k - first(i)); }
};

/// All of B packed: for each block of k panels of kTileColumns columns, a line apart.
template <class F, class T = typename F::Type>
struct WholeB {
  int64_t panels;
  explicit WholeB(int64_t n) : panels((n + kTileColumns<T> - 1) / kTileColumns<T>) {}
  int64_t panel_stride(int64_t depth) const { return depth * kTileColumns<T> + kLine<T>; }
  int64_t begin(const DepthBlocks<F>& depths, int64_t block) const {
    return panels * (depths.begin(block) * kTileColumns<T> + block * kLine<T>);
  }
  int64_t size(const DepthBlocks<F>& depths) const {  // packing may write one panel more
    return panels * (depths.total * kTileColumns<T> + depths.count * kLine<T>)+panel_stride(depths.length);
  }
};

template <class T>
HWY_INLINE const T* a_at(const Gemm<T>& g, int64_t i, int64_t k) {
  return g.trans_a ? g.a + k * g.lda + i : g.a + i * g.lda + k;
}
template <class T>
HWY_INLINE const T* b_at(const Gemm<T>& g, int64_t k, int64_t j) {
  return g.trans_b ? g.b + j * g.ldb + k : g.b + k * g.ldb + j;
}

/// One vector wide or two, and how many columns the last vector of the panel at column j of n holds.
template <class T>
struct PanelShape {
  int vectors, last;
  explicit PanelShape(int64_t left) {
    const int n = static_cast<int>(std::min<int64_t>(kTileColumns<T>, left));
    vectors = n > kLanes<T> ? 2 : 1;
    last = n - (vectors - 1) * kLanes<T>;
  }
};

/// Rows in blocks of at most kBlockRows, all but the last one whole panels.
struct RowBlocks {
  int64_t rows;
  EqualPieces panels;
  int64_t count;
  explicit RowBlocks(int64_t m)
      : rows(m),
        panels((m + kPackedTileRows - 1) / kPackedTileRows, kBlockRows / kPackedTileRows),
        count(panels.count) {}
  int64_t begin(int64_t i) const { return panels.begin(i) * kPackedTileRows; }
  int64_t size(int64_t i) const { return std::min(panels.size(i) * kPackedTileRows, rows - begin(i)); }
};

/// Rows [m0, m1) by columns [n0, n1) of a product, computed by one thread.
template <class F>
class BlockedProduct {
  using T = typename F::Type;
  static constexpr bool kMustPack = F::kPerWord > 1;

 public:
  BlockedProduct(const Gemm<T>& g, int64_t m0, int64_t m1, int64_t n0, int64_t n1)
      : g_(g), m0_(m0), m1_(m1), n0_(n0), n1_(n1), depths_(g.k), row_blocks_(m1 - m0) {
    // Packing pays when many panels of columns reuse it, or when rows a multiple of 4 KiB apart would
    // evict each other.
    const int64_t panels = (n1 - n0 + kTileColumns<T> - 1) / kTileColumns<T>;
    const bool a_aliases = g.lda * sizeof(T) % 4096 == 0, b_aliases = g.ldb * sizeof(T) % 4096 == 0;
    pack_a_ = kMustPack || g.a_rows || a_aliases || panels > (g.trans_a ? 8 : 3);
    // A panel of B in place is short pieces of rows. Where they are a single cache line, an even number of
    // lines apart, they fill only some sets of the first-level cache, which costs unless few tiles read them.
    const bool spread = kTileColumns<T> * sizeof(T) > 64 || g.ldb * sizeof(T) % 128 == 64;
    const bool few_tiles = m1 - m0 <= 4 * kMaxTileRows;
    pack_b_ = kMustPack || g.b_rows || g.b_packed || g.trans_b || g.n % kLanes<T> != 0 || b_aliases ||
              !(spread || few_tiles);
    tile_rows_ = pack_a_ ? kPackedTileRows : n1 - n0 <= kLanes<T> ? kMaxNarrowRows : kMaxTileRows;
    layout_ = g.trans_a ? ALayout::kColumns : ALayout::kRows;
    constexpr int64_t kLarge = 1 << 19;
    large_a_ = !g.a_rows && g.m * g.k * static_cast<int64_t>(sizeof(T)) >= kLarge;
    large_b_ = !g.b_rows && !g.b_packed && g.n * g.k * static_cast<int64_t>(sizeof(T)) >= kLarge;
    large_c_ = g.m * g.n * static_cast<int64_t>(sizeof(T)) >= 8 * kLarge;
    streamed_ = !g.ready && streams(g.c, g.m * g.n, g.ldc);
  }

  void run() {
    for (int64_t j = n0_; j < n1_; j += kBlockColumns) {
      for (int64_t block = 0; block < depths_.count; ++block) run_columns(j, block);
    }
    if (streamed_) hwy::FlushStream();
  }

 private:
  // Columns [j0_, j0_ + columns_) and one block of k.
  void run_columns(int64_t j, int64_t block) {
    j0_ = j;
    columns_ = std::min(kBlockColumns, n1_ - j);
    panels_ = (columns_ + kTileColumns<T> - 1) / kTileColumns<T>;
    k0_ = depths_.first(block);
    depth_ = depths_.size(block);
    elements_ = depths_.elements(block);
    if (g_.b_packed) {
      const WholeB<F> whole(g_.n);
      b_panel_stride_ = whole.panel_stride(depth_);
      b_ = g_.b_packed + whole.begin(depths_, block) + j / kTileColumns<T> * b_panel_stride_;
    } else if (pack_b_) {
      b_panel_stride_ = depth_ * kTileColumns<T> + kLine<T>;
      T* out = static_cast<T*>(thread_scratch(
          ScratchUse::kGemmB, sizeof(T) * static_cast<size_t>((panels_ + 1) * b_panel_stride_)));
      if (g_.b_rows) {
        constexpr int64_t kStride = kBlockColumns + kLanes<T>;
        alignas(64) T lines[F::kPerWord * kStride];
        for (int64_t k = 0; k < depth_; ++k) {
          const int64_t row = k * F::kPerWord, left = std::min<int64_t>(F::kPerWord, elements_ - row);
          gather_rows(*g_.b_rows, k0_ + row, left, j0_, columns_, lines, kStride);
          pack_b_row<F>(lines, kStride, left, columns_, k, out, b_panel_stride_);
        }
      } else if (g_.trans_b) {
        pack_b_transposed<F>(b_at(g_, k0_, j0_), g_.ldb, columns_, elements_, out, b_panel_stride_);
      } else {
        pack_b<F>(b_at(g_, k0_, j0_), g_.ldb, columns_, elements_, out, b_panel_stride_);
      }
      b_ = out;
    } else {
      b_ = b_at(g_, k0_, j0_);
      b_panel_stride_ = kTileColumns<T>;
    }
    const bool last_block = block == depths_.count - 1;
    end_.accumulate = g_.accumulate || block > 0;
    end_.stream = !end_.accumulate && last_block && streamed_;
    end_.fetch_c = !end_.stream && (end_.accumulate || large_c_);
    end_.relu = last_block && g_.relu;
    col_bias_ = last_block ? g_.col_bias : nullptr;
    row_bias_ = last_block ? g_.row_bias : nullptr;
    residual_ = last_block ? g_.residual : nullptr;
    ready_ = last_block ? g_.ready : nullptr;
    for (int64_t i = 0; i < row_blocks_.count; ++i) run_rows(i, block);
  }

  void run_rows(int64_t row_block, int64_t block) {
    const int64_t i0 = m0_ + row_blocks_.begin(row_block);
    const EqualPieces pieces(row_blocks_.size(row_block), tile_rows_);
    plan_prefetch(row_block, block, pieces.count * panels_);
    const int64_t b_bytes = columns_ * depth_ * static_cast<int64_t>(sizeof(T));
    const bool a_panels_once = pack_a_ && !g_.trans_a && m1_ - m0_ >= 512 && b_bytes <= (512 << 10);
    T* packed = nullptr;
    int64_t panel_stride = 0;
    if (pack_a_) {
      packed = static_cast<T*>(thread_scratch(ScratchUse::kGemmA, kPackedABytes));
      if (g_.trans_a) {
        const int64_t lines = (kPackedTileRows * depth_ + kLanes<T>) / kLine<T> + 1;
        panel_stride = (lines | 1) * kLine<T>;
        pack_a_columns<F>(a_at(g_, i0, k0_), g_.lda, pieces, elements_, packed, panel_stride);
      } else {
        panel_stride = kPackedTileRows * kPackedRowStride<T>;
        if (!a_panels_once) {
          for (int64_t p = 0; p < pieces.count; ++p) {
            pack_rows(i0 + pieces.begin(p), pieces.size(p), packed + p * panel_stride);
          }
        }
      }
    }
    const int64_t a_stride = !pack_a_ ? g_.lda : g_.trans_a ? kPackedTileRows : kPackedRowStride<T>;
    const bool by_rows = depth_ <= (g_.trans_a ? 128 : 32) && b_bytes <= (256 << 10);
    if (a_panels_once) {  // many rows, B in the second-level cache: a panel of A is packed just before use
      for (int64_t p = 0; p < pieces.count; ++p) {
        pack_rows(i0 + pieces.begin(p), pieces.size(p), packed);
        const int64_t next = i0 + pieces.begin(p + 1);
        if (g_.a_rows && next < m1_) {
          fetch_pixels(0, *g_.a_rows, next, std::min<int64_t>(kPackedTileRows, m1_ - next), k0_, elements_,
                       panels_);
        }
        for (int64_t j = 0; j < panels_; ++j) tile(i0 + pieces.begin(p), pieces.size(p), j, packed, a_stride);
      }
    } else if (by_rows) {  // short sums are bound by writing C: write it by whole rows
      for (int64_t p = 0; p < pieces.count; ++p) {
        const int64_t i = i0 + pieces.begin(p);
        const T* a = pack_a_ ? packed + p * panel_stride : a_at(g_, i, k0_);
        for (int64_t j = 0; j < panels_; ++j) tile(i, pieces.size(p), j, a, a_stride);
      }
    } else {  // a panel of B stays near while A streams by
      for (int64_t j = 0; j < panels_; ++j) {
        for (int64_t p = 0; p < pieces.count; ++p) {
          const int64_t i = i0 + pieces.begin(p);
          tile(i, pieces.size(p), j, pack_a_ ? packed + p * panel_stride : a_at(g_, i, k0_), a_stride);
        }
      }
    }
    if (ready_) ready_->ready(i0, row_blocks_.size(row_block), columns_);
  }

  void pack_rows(int64_t i, int64_t rows, T* out) {
    if (!g_.a_rows) {
      pack_a_rows<F>(a_at(g_, i, k0_), g_.lda, rows, elements_, out, kPackedRowStride<T>);
    } else if (F::kPerWord == 1) {
      gather_rows(*g_.a_rows, i, rows, k0_, elements_, out, kPackedRowStride<T>);
    } else {
      alignas(64) T line[F::kPerWord * kBlockDepth<T> + kLanes<T>];
      for (int64_t r = 0; r < rows; ++r) {
        gather_rows(*g_.a_rows, i + r, 1, k0_, elements_, line, 0);
        pack_a_rows<F>(line, 0, 1, elements_, out + r * kPackedRowStride<T>, 0);
      }
    }
  }

  HWY_INLINE void tile(int64_t i, int64_t rows, int64_t panel, const T* a, int64_t a_stride) {
    const int64_t j = panel * kTileColumns<T>;
    const PanelShape<T> shape(columns_ - j);
    TileEnd<T> end = end_;
    if (col_bias_) end.col_bias = col_bias_ + j0_ + j;
    if (row_bias_) end.row_bias = row_bias_ + i;
    if (residual_) end.residual = residual_ + i * g_.ldc + j0_ + j;
    end.next = &next_;
    const int64_t b_stride = pack_b_ ? shape.vectors * kLanes<T> : g_.ldb;
    tile_kernel<T, F>(layout_, rows, shape.vectors)(depth_, a, a_stride, b_ + panel * b_panel_stride_,
                                                    b_stride, g_.c + i * g_.ldc + j0_ + j, g_.ldc, shape.last,
                                                    end);
  }

  // While this block is computed, the next block of A comes nearer; with the last block of rows, B's too.
  void plan_prefetch(int64_t row_block, int64_t block, int64_t tiles) {
    next_ = Prefetcher();
    const bool last_rows = row_block + 1 == row_blocks_.count;
    const int64_t next_rows = last_rows ? 0 : row_block + 1, next_block = last_rows ? block + 1 : block;
    if (next_block == depths_.count) return;
    constexpr int64_t kSize = sizeof(T);
    const int64_t k = depths_.first(next_block), depth = depths_.elements(next_block);
    if (large_a_ && (row_blocks_.count > 1 || last_rows)) {
      const T* a = a_at(g_, m0_ + row_blocks_.begin(next_rows), k);
      const int64_t rows = row_blocks_.size(next_rows);
      next_.set(0, a, g_.lda * kSize, g_.trans_a ? depth : rows, (g_.trans_a ? rows : depth) * kSize, tiles,
                depth_);
    }
    if (!last_rows) return;
    if (g_.b_rows) {
      fetch_pixels(1, *g_.b_rows, k, depth, j0_, columns_, tiles);
    } else if (large_b_) {
      next_.set(1, b_at(g_, k, j0_), g_.ldb * kSize, g_.trans_b ? columns_ : depth,
                (g_.trans_b ? depth : columns_) * kSize, tiles, depth_);
    }
  }

  // The pixels under elements [first, first + count) of rows [i, i + rows): within a line of places those
  // under each line of taps, else whole lines of the image.
  void fetch_pixels(int piece, const PixelRows<T>& p, int64_t i, int64_t rows, int64_t first, int64_t count,
                    int64_t tiles) {
    const int64_t length = p.run * p.channels, line = p.w * p.channels;
    const auto &from = p.taps[static_cast<size_t>(first / length)],
               &to = p.taps[static_cast<size_t>((first + count - 1) / length)];
    const int64_t row = i / p.columns, column = i % p.columns, taps = std::abs(to[0] - from[0]) + 1;
    const int64_t h = std::max<int64_t>(0, row % p.rows * p.step_h + std::min(from[0], to[0]));
    const T* const at = p.images + (row / p.rows * p.h + h) * line;
    constexpr int64_t kSize = sizeof(T);
    if (column + rows <= p.columns) {
      const int64_t w = std::max<int64_t>(0, column * p.step_w + from[1]);
      next_.set(piece, at + w * p.channels, line * kSize, taps,
                ((rows - 1) * p.step_w + p.run) * p.channels * kSize, tiles, depth_);
    } else {
      next_.set(piece, at, p.step_h * line * kSize, (i + rows - 1) / p.columns - row + 1,
                std::min(p.step_h, taps) * line * kSize, tiles, depth_);
    }
  }

  // Enough panels for kBlockRows rows in either layout, however the pieces fall.
  static constexpr size_t kPackedABytes =
      sizeof(T) * static_cast<size_t>((kBlockRows / kPackedTileRows + 2) * (kPackedTileRows + 1) *
                                      (kPackedRowStride<T> + kLine<T>));

  const Gemm<T>& g_;
  const int64_t m0_, m1_, n0_, n1_;
  const DepthBlocks<F> depths_;
  const RowBlocks row_blocks_;
  bool pack_a_, pack_b_, large_a_, large_b_, large_c_, streamed_;
  int64_t tile_rows_;
  ALayout layout_;
  // Of the columns and the block of k at hand; depth_ counts words.
  int64_t j0_, columns_, panels_, k0_, elements_, depth_, b_panel_stride_;
  const T* b_;
  const T *row_bias_, *col_bias_, *residual_;
  RowsReady* ready_;
  TileEnd<T> end_;
  Prefetcher next_;
};

/// A product too small to be worth packing or planning: A in place, B in place unless it must be turned or
/// padded.
template <class T>
void multiply_small(const Gemm<T>& g) {
  using F = Elements<T>;
  const DepthBlocks<F> depths(g.k);
  const EqualPieces pieces(g.m, g.n <= kLanes<T> ? kMaxNarrowRows : kMaxTileRows);
  const ALayout layout = g.trans_a ? ALayout::kColumns : ALayout::kRows;
  alignas(64) T panel[kBlockDepth<T> * kTileColumns<T>];
  for (int64_t j = 0; j < g.n; j += kTileColumns<T>) {
    const PanelShape<T> shape(g.n - j);
    const bool pack = g.trans_b || (!kMaskedTileLoads && shape.last < kLanes<T>);
    for (int64_t block = 0; block < depths.count; ++block) {
      const int64_t k0 = depths.begin(block), depth = depths.size(block);
      const T* b = b_at(g, k0, j);
      int64_t b_stride = g.ldb;
      if (pack) {
        const int64_t n = std::min<int64_t>(kTileColumns<T>, g.n - j);
        if (g.trans_b) {
          pack_b_transposed<F>(b, g.ldb, n, depth, panel, 0);
        } else {
          pack_b<F>(b, g.ldb, n, depth, panel, 0);
        }
        b = panel;
        b_stride = shape.vectors * kLanes<T>;
      }
      const bool last_block = block == depths.count - 1;
      TileEnd<T> end;
      end.accumulate = g.accumulate || block > 0;
      end.relu = last_block && g.relu;
      end.col_bias = last_block && g.col_bias ? g.col_bias + j : nullptr;
      for (int64_t p = 0; p < pieces.count; ++p) {
        const int64_t i = pieces.begin(p);
        end.row_bias = last_block && g.row_bias ? g.row_bias + i : nullptr;
        tile_kernel<T>(layout, pieces.size(p), shape.vectors)(depth, a_at(g, i, k0), g.lda, b, b_stride,
                                                              g.c + i * g.ldc + j, g.ldc, shape.last, end);
      }
    }
  }
}

template <class F>
int64_t whole_b_size(int64_t n, int64_t k) {
  return WholeB<F>(n).size(DepthBlocks<F>(k));
}
template <class F, class T = typename F::Type>
void pack_whole_b(const Gemm<T>& g, T* out) {
  const DepthBlocks<F> depths(g.k);
  const WholeB<F> whole(g.n);
  for (int64_t block = 0; block < depths.count; ++block) {
    const int64_t elements = depths.elements(block), stride = whole.panel_stride(depths.size(block));
    const T* const b = b_at(g, depths.first(block), 0);
    T* const to = out + whole.begin(depths, block);
    if (g.trans_b) pack_b_transposed<F>(b, g.ldb, g.n, elements, to, stride);
    else pack_b<F>(b, g.ldb, g.n, elements, to, stride);
  }
}

#if defined(HEBB_EMULATE_BF16)
using Narrow = PairsOfBf16;
bool multiplies_bf16() { return true; }
#elif HEBB_PAIRS_OF_BF16
using Narrow = PairsOfBf16;
bool multiplies_bf16() { return __builtin_cpu_supports("avx512bf16"); }
#else
using Narrow = Elements<float>;
bool multiplies_bf16() { return false; }
#endif

// Highway exports plain functions, so each type has its own.
void multiply_small_f32(const Gemm<float>& g) { multiply_small(g); }
void multiply_small_f64(const Gemm<double>& g) { multiply_small(g); }
int64_t packed_b_size_f32(int64_t n, int64_t k) { return whole_b_size<Elements<float>>(n, k); }
int64_t packed_b_size_f64(int64_t n, int64_t k) { return whole_b_size<Elements<double>>(n, k); }
void pack_b_whole_f32(const Gemm<float>& g, float* out) {
  if (g.bf16 && multiplies_bf16()) pack_whole_b<Narrow>(g, out);
  else pack_whole_b<Elements<float>>(g, out);
}
void pack_b_whole_f64(const Gemm<double>& g, double* out) { pack_whole_b<Elements<double>>(g, out); }
void multiply_range_f32(const Gemm<float>& g, int64_t m0, int64_t m1, int64_t n0, int64_t n1) {
  if (g.bf16 && multiplies_bf16()) BlockedProduct<Narrow>(g, m0, m1, n0, n1).run();
  else BlockedProduct<Elements<float>>(g, m0, m1, n0, n1).run();
}
void multiply_range_f64(const Gemm<double>& g, int64_t m0, int64_t m1, int64_t n0, int64_t n1) {
  BlockedProduct<Elements<double>>(g, m0, m1, n0, n1).run();
}

}  // namespace HWY_NAMESPACE
}  // namespace hebb::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hebb::cpu {
namespace {

HWY_EXPORT(multiply_small_f32);
HWY_EXPORT(multiply_small_f64);
HWY_EXPORT(multiply_range_f32);
HWY_EXPORT(multiply_range_f64);
HWY_EXPORT(packed_b_size_f32);
HWY_EXPORT(packed_b_size_f64);
HWY_EXPORT(pack_b_whole_f32);
HWY_EXPORT(pack_b_whole_f64);
HWY_EXPORT(multiplies_bf16);

void multiply_small(const Gemm<float>& g) { HWY_DYNAMIC_DISPATCH(multiply_small_f32)(g); }
void multiply_small(const Gemm<double>& g) { HWY_DYNAMIC_DISPATCH(multiply_small_f64)(g); }
void multiply_range(const Gemm<float>& g, int64_t m0, int64_t m1, int64_t n0, int64_t n1) {
  HWY_DYNAMIC_DISPATCH(multiply_range_f32)(g, m0, m1, n0, n1);
}
void multiply_range(const Gemm<double>& g, int64_t m0, int64_t m1, int64_t n0, int64_t n1) {
  HWY_DYNAMIC_DISPATCH(multiply_range_f64)(g, m0, m1, n0, n1);
}

constexpr double kSmallProduct = 40000;    // multiplications that are done before a plan is made
constexpr double kThreadWork = 50000;      // multiplications that pay for one more thread
constexpr int64_t kColumnUnit = 128;       // bytes of a row of C: threads share no cache line
constexpr double kPackCost = 1;            // of an element read or packed, in units of ...
constexpr double kMultiplyCost = 1. / 16;  // ... which a multiplication takes this much
constexpr double kSplitRowCost = 64;       // of cutting a row of C between threads

template <class T>
double multiplications(const Gemm<T>& g) {
  return static_cast<double>(g.m) * static_cast<double>(g.n) * static_cast<double>(g.k);
}

/// How rows and columns are dealt to threads: never k, since sums must not depend on the threads.
struct Grid {
  int64_t rows = 1, columns = 1;
};

template <class T>
Grid choose_grid(const Gemm<T>& g, int64_t threads) {
  const int64_t unit = kColumnUnit / static_cast<int64_t>(sizeof(T));
  const int64_t units = (g.n + unit - 1) / unit;
  Grid best;
  double best_cost = -1;
  for (int64_t rows = 1; rows <= std::min(threads, g.m); ++rows) {
    const int64_t columns = std::min(threads / rows, units);
    const auto m = static_cast<double>((g.m + rows - 1) / rows);
    const auto n = static_cast<double>((units + columns - 1) / columns * unit);
    const auto k = static_cast<double>(g.k);
    const double cost =
        m * n * k * kMultiplyCost + (m + n) * k * kPackCost + (columns > 1 ? m * kSplitRowCost : 0);
    if (best_cost < 0 || cost < best_cost) {
      best_cost = cost;
      best = {rows, columns};
    }
  }
  return best;
}

}  // namespace

bool is_small_product(int64_t m, int64_t n, int64_t k) {
  return static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k) <= kSmallProduct;
}
bool multiplies_bf16() { return HWY_DYNAMIC_DISPATCH(multiplies_bf16)(); }

template <>
int64_t packed_b_size<float>(int64_t n, int64_t k) {
  return HWY_DYNAMIC_DISPATCH(packed_b_size_f32)(n, k);
}
template <>
int64_t packed_b_size<double>(int64_t n, int64_t k) {
  return HWY_DYNAMIC_DISPATCH(packed_b_size_f64)(n, k);
}
template <>
void pack_b_whole<float>(const Gemm<float>& g, float* out) {
  HWY_DYNAMIC_DISPATCH(pack_b_whole_f32)(g, out);
}
template <>
void pack_b_whole<double>(const Gemm<double>& g, double* out) {
  HWY_DYNAMIC_DISPATCH(pack_b_whole_f64)(g, out);
}

/// Whether multiply_small() serves it.
template <class T>
bool is_small(const Gemm<T>& g) {
  const bool plain = !g.a_rows && !g.b_rows && !g.b_packed && !g.residual && !g.bf16;
  return plain && multiplications(g) <= kSmallProduct;
}

template <class T>
void gemm_serial(const Gemm<T>& g) {
  if (g.m <= 0 || g.n <= 0) return;
  if (is_small(g)) return multiply_small(g);
  multiply_range(g, 0, g.m, 0, g.n);
}

template <class T>
void gemm(const Gemm<T>& g) {
  if (g.m <= 0 || g.n <= 0) return;
  if (is_small(g)) return multiply_small(g);
  const auto threads =
      static_cast<int64_t>(std::min<double>(num_threads(), multiplications(g) / kThreadWork));
  if (threads <= 1) return multiply_range(g, 0, g.m, 0, g.n);
  const Grid grid = choose_grid(g, threads);
  const int64_t unit = kColumnUnit / static_cast<int64_t>(sizeof(T));
  const int64_t units = (g.n + unit - 1) / unit;
  parallel_for(grid.rows * grid.columns, 1, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) {
      const int64_t row = part / grid.columns, column = part % grid.columns;
      multiply_range(g, g.m * row / grid.rows, g.m * (row + 1) / grid.rows,
                     units * column / grid.columns * unit,
                     std::min(g.n, units * (column + 1) / grid.columns * unit));
    }
  });
}

template void gemm<float>(const Gemm<float>&);
template void gemm<double>(const Gemm<double>&);
template void gemm_serial<float>(const Gemm<float>&);
template void gemm_serial<double>(const Gemm<double>&);

}  // namespace hebb::cpu
#endif  // HWY_ONCE
