// The products of Winograd convolutions, a matrix product for each point, and the rounding of what they
// multiply. Compiled once for every instruction set.
#if defined(HEBB_BACKEND_CPU_WINOGRAD_PRODUCTS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HEBB_BACKEND_CPU_WINOGRAD_PRODUCTS_INL_H_
#undef HEBB_BACKEND_CPU_WINOGRAD_PRODUCTS_INL_H_
#else
#define HEBB_BACKEND_CPU_WINOGRAD_PRODUCTS_INL_H_
#endif

#include <algorithm>

#include "hebb/backend/cpu/pack-inl.h"
#include "hebb/backend/cpu/winograd_lines-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hebb::cpu {
namespace HWY_NAMESPACE {

/// What products in words of F take: rows rounded along themselves.
template <class F>
void round_rows(const Side& s, const Points& at, int64_t first, int64_t end) {
  for (int64_t i = first; i < end; ++i) {
    for (int64_t p = 0; p < s.scheme.points(); ++p) {
      const int64_t c = s.begin(p);
      pack_a_rows<F>(at.at(p, i) + c, 0, 1, s.end(p) - c, at.at(p, i) + c / F::kPerWord, 0);
    }
  }
}
/// Pairs of rows rounded to words, those of a point.
template <class F>
HWY_INLINE void round_point_pairs(const Points& at, int64_t p, int64_t rows, int64_t c0, int64_t c1) {
  for (int64_t i = 0; i < rows; i += F::kPerWord) {
    float* const row = at.at(p, i);
    for (int64_t c = c0; c < c1; c += kChannels)
      store_first(F::across_k(row + c, at.row, rows - i, c1 - c), row + c, c1 - c);
  }
}
template <class F>
void round_row_pairs(const Side& s, const Points& at, int64_t rows, int64_t c0, int64_t c1) {
  for (int64_t p = 0; p < s.scheme.points(); ++p)
    round_point_pairs<F>(at, p, rows, std::max(c0, s.begin(p)), std::min(c1, s.end(p)));
}
/// The rows that round_row_pairs() leaves.
template <class F>
HWY_INLINE Points words_of(const Points& at) {
  return {at.data, at.point, F::kPerWord * at.row};
}

/// out[point] = in[point] * filters[point] for all points that the phase of the outputs has.
template <class F>
void multiply_points(const TiledConv& conv, int64_t phase, const Points& in, int64_t tiles,
                     const Points& filter_rows, int64_t width, const Points& out, NextTiles* next) {
  const EqualPieces rows(tiles, kMaxTileRows);
  const Points filters = words_of<F>(filter_rows);
  const int vectors = width > kChannels ? 2 : 1;
  TileEnd<float> end;
  for (int64_t p = 0; p < conv.in.scheme.points(); ++p) {
    if (!conv.out.has(phase * conv.out.phase_channels, p)) continue;
    const int64_t c0 = conv.in.begin(p);
    const EqualPieces depths(words<F>(conv.in.end(p) - c0), conv.longest_sum);
    for (int64_t j = 0; j < depths.count; ++j) {
      const int64_t c = c0 / F::kPerWord + depths.begin(j);
      end.accumulate = j > 0;
      for (int64_t i = 0; i < rows.count; ++i) {
        const int64_t t = rows.begin(i);
        if (next && j == 0) next->step();
        tile_kernel<float, F>(ALayout::kRows, rows.size(i), vectors)(depths.size(j), in.at(p, t) + c, in.row,
                                                                     filters.at(p, c), filters.row,
                                                                     out.at(p, t), out.row, kChannels, end);
      }
    }
  }
}

/// Asks for `count` rows of a point's matrix from row `first` on, columns [begin, end).
HWY_INLINE void fetch_rows(const Points& from, int64_t p, int64_t first, int64_t count, int64_t begin,
                           int64_t end) {
  constexpr int64_t kLine = 16;
  for (int64_t r = first; r < first + count; ++r)
    for (int64_t c = begin; c < end; c += kLine) __builtin_prefetch(from.at(p, r) + c);
}

/// sums[p] (+)= in[p]^T * gradients[p] for those of points [p0, p1) that the inputs have: over `tiles`, of
/// input channels [c0, c1), of one phase, and output channels [k0, k1). Rows of sums are whole vectors. While
/// it runs it brings nearer what comes next: the pixels of `next`, or without them its own operands, which
/// then lie in a far cache.
template <class F>
void add_products(const Side& side, const Points& in_rows, const Points& gradient_rows, int64_t tiles,
                  int64_t p0, int64_t p1, int64_t c0, int64_t c1, int64_t k0, int64_t k1, bool accumulate,
                  const Points& sums, NextTiles* next) {
  const EqualPieces rows(c1 - c0, kMaxTileRows), depths(words<F>(tiles), kGradientSum);
  const Points in = words_of<F>(in_rows), gradients = words_of<F>(gradient_rows);
  TileEnd<float> end;
  const int64_t panels = (k1 - k0 + 2 * kChannels - 1) / (2 * kChannels);
  for (int64_t p = p0; p < p1; ++p) {
    if (!side.has(c0, p)) continue;
    for (int64_t j = 0; j < depths.count; ++j) {
      const int64_t t = depths.begin(j);
      end.accumulate = accumulate || j > 0;
      // What the next sum reads lies in a far cache: it is fetched meanwhile, a few rows with each tile.
      const int64_t next_j = (j + 1) % depths.count, next_p = p + (next_j == 0),
                    next_t = depths.begin(next_j);
      const EqualPieces fetches(next_p < p1 && !next ? depths.size(next_j) : 0,
                                1 + depths.size(next_j) / (panels * rows.count));
      int64_t tile = 0;
      for (int64_t k = k0; k < k1; k += 2 * kChannels) {
        for (int64_t i = 0; i < rows.count; ++i, ++tile) {
          const int64_t c = rows.begin(i);
          if (tile < fetches.count) {
            const int64_t row = next_t + fetches.begin(tile);
            fetch_rows(in, next_p, row, fetches.size(tile), c0, c1);
            fetch_rows(gradients, next_p, row, fetches.size(tile), k0, k1);
          }
          if (next) next->step();
          tile_kernel<float, F>(ALayout::kColumns, rows.size(i), k1 - k > kChannels ? 2 : 1)(
              depths.size(j), in.at(p, t) + c0 + c, in.row, gradients.at(p, t) + k, gradients.row,
              sums.at(p, c) + (k - k0), sums.row, kChannels, end);
        }
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace hebb::cpu
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
