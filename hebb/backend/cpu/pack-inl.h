// Packing: pieces of A and B copied into the order in which the micro-kernel reads them, so that it walks
// memory in one stream. Transposed operands are turned in registers. Compiled for every instruction set.
#if defined(HEBB_BACKEND_CPU_PACK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HEBB_BACKEND_CPU_PACK_INL_H_
#undef HEBB_BACKEND_CPU_PACK_INL_H_
#else
#define HEBB_BACKEND_CPU_PACK_INL_H_
#endif

#include <algorithm>

#include "hebb/backend/cpu/gemm-inl.h"
#include "hebb/backend/cpu/gemm.h"

HWY_BEFORE_NAMESPACE();
namespace hebb::cpu {
namespace HWY_NAMESPACE {

/// `count` lines cut into equal pieces of at most `most`: the first `longer` ones hold one line more.
struct EqualPieces {
  int64_t count, length, longer;
  EqualPieces(int64_t total, int64_t most)
      : count((total + most - 1) / most),
        length(count ? total / count : 0),
        longer(count ? total % count : 0) {}
  int64_t begin(int64_t i) const { return i * length + std::min(i, longer); }
  int64_t size(int64_t i) const { return length + (i < longer ? 1 : 0); }
};

/// Turns kLanes rows of kLanes elements into columns, in place: v[k] lane i becomes what v[i] lane k was.
/// 128-bit blocks are transposed inside first, then as elements of a square of blocks.
template <class T>
HWY_INLINE void transpose_square([[maybe_unused]] Vec<T> (&v)[kLanes<T>]) {
#if HWY_TARGET != HWY_SCALAR
  constexpr int kInBlock = 16 / sizeof(T), kBlocks = kLanes<T> / kInBlock;
  const Tag<T> d;
  Vec<T> t[kInBlock][kBlocks];  // t[i][g] block b: element kInBlock * b + i of the rows of group g
  HEBB_UNROLL for (int g = 0; g < kBlocks; ++g) {
    const int r = g * kInBlock;
    if constexpr (kInBlock == 4) {
      const hn::Repartition<double, Tag<T>> pairs;
      const auto lo01 = hn::BitCast(pairs, hn::InterleaveLower(d, v[r], v[r + 1]));
      const auto hi01 = hn::BitCast(pairs, hn::InterleaveUpper(d, v[r], v[r + 1]));
      const auto lo23 = hn::BitCast(pairs, hn::InterleaveLower(d, v[r + 2], v[r + 3]));
      const auto hi23 = hn::BitCast(pairs, hn::InterleaveUpper(d, v[r + 2], v[r + 3]));
      t[0][g] = hn::BitCast(d, hn::InterleaveLower(pairs, lo01, lo23));
      t[1][g] = hn::BitCast(d, hn::InterleaveUpper(pairs, lo01, lo23));
      t[2][g] = hn::BitCast(d, hn::InterleaveLower(pairs, hi01, hi23));
      t[3][g] = hn::BitCast(d, hn::InterleaveUpper(pairs, hi01, hi23));
    } else {
      t[0][g] = hn::InterleaveLower(d, v[r], v[r + 1]);
      t[1][g] = hn::InterleaveUpper(d, v[r], v[r + 1]);
    }
  }
  HEBB_UNROLL for (int i = 0; i < kInBlock; ++i) {
    if constexpr (kBlocks == 1) {
      v[i] = t[i][0];
    } else if constexpr (kBlocks == 2) {
      v[i] = hn::ConcatLowerLower(d, t[i][1], t[i][0]);
      v[kInBlock + i] = hn::ConcatUpperUpper(d, t[i][1], t[i][0]);
    } else {
      static_assert(kBlocks == 4);
      const auto even01 = hn::OddEvenBlocks(hn::SwapAdjacentBlocks(t[i][1]), t[i][0]);
      const auto odd01 = hn::OddEvenBlocks(t[i][1], hn::SwapAdjacentBlocks(t[i][0]));
      const auto even23 = hn::OddEvenBlocks(hn::SwapAdjacentBlocks(t[i][3]), t[i][2]);
      const auto odd23 = hn::OddEvenBlocks(t[i][3], hn::SwapAdjacentBlocks(t[i][2]));
      v[i] = hn::ConcatLowerLower(d, even23, even01);
      v[kInBlock + i] = hn::ConcatLowerLower(d, odd23, odd01);
      v[2 * kInBlock + i] = hn::ConcatUpperUpper(d, even23, even01);
      v[3 * kInBlock + i] = hn::ConcatUpperUpper(d, odd23, odd01);
    }
  }
#endif
}

/// Elements of up to kLanes lines, `stride` apart, as vectors over the lines: [line][n] to [n][kLanes]. Lanes
/// without a line are 0.
template <class T>
void lines_to_lanes(const T* x, int64_t stride, int64_t lines, int64_t n, T* out) {
  constexpr int64_t L = kLanes<T>;
  const Tag<T> d;
  for (int64_t p = 0; p < n; p += L) {
    const int64_t count = std::min(L, n - p);
    Vec<T> v[L];
    if (count == L && lines == L) {
      HEBB_UNROLL for (int64_t i = 0; i < L; ++i) v[i] = hn::LoadU(d, x + i * stride + p);
    } else {
      HEBB_UNROLL for (int64_t i = 0; i < L; ++i) {
        v[i] = i < lines ? load_first(x + i * stride + p, count) : hn::Zero(d);
      }
    }
    transpose_square<T>(v);
    HEBB_UNROLL for (int64_t i = 0; i < L; ++i) {
      if (i < count) hn::StoreU(v[i], d, out + (p + i) * L);
    }
  }
}

/// The lines of up to kLanes vectors over lines, with zeros behind them.
template <class T>
HWY_INLINE void lines_of_lanes(const T* x, int64_t count, Vec<T> (&v)[kLanes<T>]) {
  const Tag<T> d;
  HEBB_UNROLL for (int64_t i = 0; i < kLanes<T>; ++i) {
    v[i] = i < count ? hn::LoadU(d, x + i * kLanes<T>) : hn::Zero(d);
  }
  transpose_square<T>(v);
}

/// The way back.
template <class T>
void lanes_to_lines(const T* x, int64_t n, int64_t lines, T* out, int64_t stride) {
  constexpr int64_t L = kLanes<T>;
  const Tag<T> d;
  for (int64_t p = 0; p < n; p += L) {
    const int64_t count = std::min(L, n - p);
    Vec<T> v[L];
    lines_of_lanes(x + p * L, count, v);
    if (count == L && lines == L) {
      HEBB_UNROLL for (int64_t i = 0; i < L; ++i) hn::StoreU(v[i], d, out + i * stride + p);
    } else {
      HEBB_UNROLL for (int64_t i = 0; i < L; ++i) {
        if (i < lines) store_first(v[i], out + i * stride + p, count);
      }
    }
  }
}

/// Rows of `depth` elements as words; row i goes to out + i * out_stride.
template <class F, class T = typename F::Type>
void pack_a_rows(const T* a, int64_t lda, int64_t rows, int64_t depth, T* out, int64_t out_stride) {
  constexpr int L = kLanes<T>, kStep = L * F::kPerWord;
  const Tag<T> d;
  for (int64_t i = 0; i < rows; ++i) {
    const T* s = a + i * lda;
    T* q = out + i * out_stride;
    int64_t k = 0;
    for (; k + kStep <= depth; k += kStep, q += L) hn::StoreU(F::along_k(s + k, kStep), d, q);
    if (k < depth) store_first(F::along_k(s + k, depth - k), q, words<F>(depth - k));
  }
}

/// A stored as [k][m]: the rows of each piece become a panel [k][kPackedTileRows]. Whole vectors are written,
/// over the row of the next k, which is written afterwards: a panel needs kLanes elements behind its end.
template <class F, class T = typename F::Type>
void pack_a_columns(const T* a, int64_t lda, const EqualPieces& pieces, int64_t depth, T* out,
                    int64_t panel_stride) {
  const Tag<T> d;
  const int64_t m = pieces.begin(pieces.count);
  for (int64_t k = 0; k < words<F>(depth); ++k) {
    const T* s = a + k * F::kPerWord * lda;
    const int64_t rows_left = depth - k * F::kPerWord;
    int64_t p = 0;
    // Two panels to a vector: each half is written to its own.
#if HWY_TARGET != HWY_SCALAR
    if constexpr (kLanes<T> == 2 * kPackedTileRows) {
      if (pieces.longer == 0 && pieces.length == kPackedTileRows) {
        const hn::Half<Tag<T>> half;
        for (; p + 2 <= pieces.count; p += 2) {
          T* q = out + p * panel_stride + k * kPackedTileRows;
          const Vec<T> v = F::across_k(s + p * kPackedTileRows, lda, rows_left, kLanes<T>);
          hn::StoreU(hn::LowerHalf(half, v), half, q);
          hn::StoreU(hn::UpperHalf(half, v), half, q + panel_stride);
        }
      }
    }
#endif
    for (; p < pieces.count; ++p) {
      const int64_t first = pieces.begin(p), rows = pieces.size(p);
      T* q = out + p * panel_stride + k * kPackedTileRows;
      for (int64_t i = 0; i < rows; i += kLanes<T>) {
        hn::StoreU(F::across_k(s + first + i, lda, rows_left, m - first - i), d, q + i);
      }
    }
  }
}

/// Word k of B, from s on, of n columns, in panels of kTileColumns: out[panel][k][width], where the last
/// panel is one vector wide if that holds its columns. `left` rows of B, ldb apart, are there. Lanes behind
/// the last column are padding whose values do not matter.
template <class F, class T = typename F::Type>
HWY_INLINE void pack_b_row(const T* s, int64_t ldb, int64_t left, int64_t n, int64_t k, T* out,
                           int64_t panel_stride) {
  constexpr int L = kLanes<T>;
  const Tag<T> d;
  const int64_t whole = n / (2 * L), rest = n - whole * 2 * L;
  for (int64_t p = 0; p < whole; ++p) {
    T* q = out + p * panel_stride + k * 2 * L;
    hn::StoreU(F::across_k(s + p * 2 * L, ldb, left, L), d, q);
    hn::StoreU(F::across_k(s + p * 2 * L + L, ldb, left, L), d, q + L);
  }
  T* const tail = out + whole * panel_stride;
  s += whole * 2 * L;
  if (rest > L) {
    hn::StoreU(F::across_k(s, ldb, left, L), d, tail + k * 2 * L);
    hn::StoreU(F::across_k(s + L, ldb, left, rest - L), d, tail + k * 2 * L + L);
  } else if (rest > 0) {
    hn::StoreU(F::across_k(s, ldb, left, rest), d, tail + k * L);
  }
}

/// All rows of B.
template <class F, class T = typename F::Type>
void pack_b(const T* b, int64_t ldb, int64_t n, int64_t depth, T* out, int64_t panel_stride) {
  for (int64_t k = 0; k < words<F>(depth); ++k) {
    const int64_t row = k * F::kPerWord;
    pack_b_row<F>(b + row * ldb, ldb, depth - row, n, k, out, panel_stride);
  }
}

/// Copies n elements, or writes zeros where s is null.
template <class T>
HWY_INLINE void copy_or_zero(const T* s, int64_t n, T* q) {
  const Tag<T> d;
  int64_t k = 0;
  for (; k + kLanes<T> <= n; k += kLanes<T>) hn::StoreU(s ? hn::LoadU(d, s + k) : hn::Zero(d), d, q + k);
  if (k < n) store_first(s ? load_first(s + k, n - k) : hn::Zero(d), q + k, n - k);
}

/// Elements [first, first + count) of `rows` rows from `row` on; row i goes to out + i * out_stride. Less
/// than a vector may be written behind each row.
template <class T>
void gather_rows(const PixelRows<T>& p, int64_t row, int64_t rows, int64_t first, int64_t count, T* out,
                 int64_t out_stride) {
  constexpr int L = kLanes<T>;
  const Tag<T> d;
  const int64_t length = p.run * p.channels, line = p.w * p.channels;  // of a tap, of the image
  int64_t column = row % p.columns, row_of_grid = row / p.columns % p.rows;
  const T* image = p.images + row / (p.columns * p.rows) * p.h * line;
  const auto first_tap = static_cast<size_t>(first / length);
  const int64_t within = first % length;
  for (int64_t i = 0; i < rows; ++i, out += out_stride) {
    const int64_t y = row_of_grid * p.step_h, x = column * p.step_w;
    size_t tap = first_tap;
    int64_t begin = within;
    T* q = out;
    for (int64_t left = count; left > 0; ++tap, begin = 0) {
      const int64_t end = std::min(length, begin + left), h = y + p.taps[tap][0], w = x + p.taps[tap][1];
      if (end - begin == length && w >= 0 && w + p.run <= p.w && h >= 0 && h + 1 < p.h && line >= L) {
        // All inside. Vectors may read on into the next line, and write on into what the next tap, or
        // nobody, will have.
        const T* const from = image + h * line + w * p.channels;
        for (int64_t c = 0; c < length; c += L) hn::StoreU(hn::LoadU(d, from + c), d, q + c);
      } else {
        // What of the tap lies within the image.
        const bool inside = h >= 0 && h < p.h;
        const int64_t lo = inside ? std::clamp(-w * p.channels, begin, end) : end;
        const int64_t hi = std::clamp((p.w - w) * p.channels, lo, end);
        if (lo > begin) copy_or_zero<T>(nullptr, lo - begin, q);
        if (hi > lo) copy_or_zero(image + h * line + w * p.channels + lo, hi - lo, q + (lo - begin));
        if (end > hi) copy_or_zero<T>(nullptr, end - hi, q + (hi - begin));
      }
      q += end - begin;
      left -= end - begin;
    }
    if (++column < p.columns) continue;
    column = 0;
    if (++row_of_grid < p.rows) continue;
    row_of_grid = 0;
    image += p.h * line;
  }
}

/// The same panels from B stored as [n][k].
template <class F, class T = typename F::Type>
void pack_b_transposed(const T* b, int64_t ldb, int64_t n, int64_t depth, T* out, int64_t panel_stride) {
  constexpr int L = kLanes<T>;
  const Tag<T> d;
  for (int64_t j = 0; j < n; j += L) {
    const int64_t panel = j / (2 * L);
    const int64_t width = n - panel * 2 * L > L ? 2 * L : L;
    T* q = out + panel * panel_stride + j % (2 * L);
    const T* rows[L];  // behind the last column the last one repeats, as padding
    for (int i = 0; i < L; ++i) rows[i] = b + std::min<int64_t>(j + i, n - 1) * ldb;
    Vec<T> v[L];
    for (int64_t k = 0; k < words<F>(depth); k += L) {
      const int64_t at = k * F::kPerWord, left = depth - at, count = words<F>(left);
      if (left >= L * F::kPerWord) {
        HEBB_UNROLL for (int i = 0; i < L; ++i) v[i] = F::along_k(rows[i] + at, L * F::kPerWord);
        transpose_square<T>(v);
        HEBB_UNROLL for (int i = 0; i < L; ++i) hn::StoreU(v[i], d, q + (k + i) * width);
      } else {
        HEBB_UNROLL for (int i = 0; i < L; ++i) v[i] = F::along_k(rows[i] + at, left);
        transpose_square<T>(v);
        HEBB_UNROLL for (int i = 0; i < L; ++i) {
          if (i < count) hn::StoreU(v[i], d, q + (k + i) * width);
        }
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace hebb::cpu
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
