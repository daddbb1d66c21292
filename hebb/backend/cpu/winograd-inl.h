// The loops of Winograd convolutions: the transforms of tiles, lanes over channels, and the products of their
// points. Compiled once for every instruction set.
#if defined(HEBB_BACKEND_CPU_WINOGRAD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HEBB_BACKEND_CPU_WINOGRAD_INL_H_
#undef HEBB_BACKEND_CPU_WINOGRAD_INL_H_
#else
#define HEBB_BACKEND_CPU_WINOGRAD_INL_H_
#endif

#include <algorithm>
#include <limits>

#include "hebb/backend/cpu/pack-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hebb::cpu {
namespace HWY_NAMESPACE {

using V = Vec<float>;
constexpr int64_t kChannels = kLanes<float>;  // in a vector

HWY_INLINE V load(const float* p) { return hn::LoadU(Tag<float>(), p); }
HWY_INLINE void store(V v, float* p) { hn::StoreU(v, Tag<float>(), p); }
HWY_INLINE V times(double k, V x) { return hn::Mul(hn::Set(Tag<float>(), static_cast<float>(k)), x); }
/// c + k x and c - k x.
HWY_INLINE V plus(V c, double k, V x) {
  return hn::MulAdd(hn::Set(Tag<float>(), static_cast<float>(k)), x, c);
}
HWY_INLINE V minus(V c, double k, V x) {
  return hn::NegMulAdd(hn::Set(Tag<float>(), static_cast<float>(k)), x, c);
}

// The points are 0, +-P, +-Q and infinity. With P Q = 1 some factors of the general formulas are 1.
constexpr double P = 0.70710678118654752440, Q = 2 * P;
constexpr double P2 = 0.5, Q2 = 2, P3 = P / 2, Q3 = 2 * Q, kSum = P2 + Q2;
constexpr double kP = -1.5, kQ = 6;  // 2 p^2 (p^2 - q^2) for each: what the filters are divided by

/// Six inputs of a line, d, to the six points: B^T d.
HWY_INLINE void input_points(const V (&d)[6], V (&t)[6]) {
  t[0] = minus(hn::Add(d[0], d[4]), kSum, d[2]);
  const V a = minus(d[4], Q2, d[2]), b = minus(d[3], Q2, d[1]);
  t[1] = plus(a, P, b);
  t[2] = minus(a, P, b);
  const V c = minus(d[4], P2, d[2]), e = minus(d[3], P2, d[1]);
  t[3] = plus(c, Q, e);
  t[4] = minus(c, Q, e);
  t[5] = minus(hn::Add(d[1], d[5]), kSum, d[3]);
}

/// Products at six points to four outputs of a line: A^T m.
HWY_INLINE void outputs_of_points(const V (&m)[6], V (&y)[4]) {
  const V s1 = hn::Add(m[1], m[2]), d1 = hn::Sub(m[1], m[2]);
  const V s2 = hn::Add(m[3], m[4]), d2 = hn::Sub(m[3], m[4]);
  y[0] = hn::Add(hn::Add(m[0], s1), s2);
  y[1] = plus(times(P, d1), Q, d2);
  y[2] = plus(times(P2, s1), Q2, s2);
  y[3] = plus(plus(m[5], P3, d1), Q3, d2);
}

/// Four gradients of outputs to the six points: A y.
HWY_INLINE void gradient_points(const V (&y)[4], V (&t)[6]) {
  t[0] = y[0];
  const V a = plus(y[0], P2, y[2]), b = plus(y[1], P2, y[3]);
  t[1] = plus(a, P, b);
  t[2] = minus(a, P, b);
  const V c = plus(y[0], Q2, y[2]), e = plus(y[1], Q2, y[3]);
  t[3] = plus(c, Q, e);
  t[4] = minus(c, Q, e);
  t[5] = y[3];
}

/// Three taps of a filter to the six points: G g.
HWY_INLINE void filter_points(const V (&g)[3], V (&t)[6]) {
  t[0] = g[0];
  const V a = times(1 / kP, plus(g[0], P2, g[2])), b = times(P / kP, g[1]);
  t[1] = hn::Add(a, b);
  t[2] = hn::Sub(a, b);
  const V c = times(1 / kQ, plus(g[0], Q2, g[2])), e = times(Q / kQ, g[1]);
  t[3] = hn::Add(c, e);
  t[4] = hn::Sub(c, e);
  t[5] = g[2];
}

/// Sums at six points to the gradients of three taps: G^T u.
HWY_INLINE void taps_of_points(const V (&u)[6], V (&g)[3]) {
  const V s1 = times(1 / kP, hn::Add(u[1], u[2])), d1 = times(P / kP, hn::Sub(u[1], u[2]));
  const V s2 = times(1 / kQ, hn::Add(u[3], u[4])), d2 = times(Q / kQ, hn::Sub(u[3], u[4]));
  g[0] = hn::Add(hn::Add(u[0], s1), s2);
  g[1] = hn::Add(d1, d2);
  g[2] = plus(plus(u[5], P2, s1), Q2, s2);
}

/// The same pointer, of which the compiler knows nothing: it then reaches neighbouring rows or columns by an
/// index, in place of keeping a pointer to each of 36 streams, which it would spill.
template <class T>
HWY_INLINE T* pinned(T* p) {
  asm("" : "+r"(p));
  return p;
}

/// The second half of a transform of squares to points: the lines across, transformed and stored.
template <int Size, auto Line>
HWY_INLINE void store_points(const V (&columns)[6][Size], float* to, int64_t to_row, int64_t to_column) {
  HEBB_UNROLL for (int i = 0; i < 6; ++i) {
    V out[6];
    float* const row = pinned(to + i * to_row);
    Line(columns[i], out);
    HEBB_UNROLL for (int j = 0; j < 6; ++j) store(out[j], row + j * to_column);
  }
}

/// A transform of lines as one of squares: Size x Size vectors, rows `from_row` apart and columns
/// `from_column` apart, to 6 x 6 ones.
template <int Size, auto Line>
HWY_INLINE void square(const float* from, int64_t from_row, int64_t from_column, float* to, int64_t to_row,
                       int64_t to_column) {
  V columns[6][Size];
  HEBB_UNROLL for (int j = 0; j < Size; ++j) {
    V in[Size], out[6];
    const float* const column = pinned(from + j * from_column);
    HEBB_UNROLL for (int i = 0; i < Size; ++i) in[i] = load(column + i * from_row);
    Line(in, out);
    HEBB_UNROLL for (int i = 0; i < 6; ++i) columns[i][j] = out[i];
  }
  store_points<Size, Line>(columns, to, to_row, to_column);
}

/// The way back: a tile's products, matrices `point` apart, to its 4 x 4 outputs, to which the bias is added;
/// none is less than the floor. Streamed ones are written past the caches, whole lines at a time.
template <bool Streamed>
HWY_INLINE void outputs_of_tile(const float* from, int64_t point, V bias, V floor, float* to, int64_t row,
                                int64_t pixel) {
  V columns[4][6];
  HEBB_UNROLL for (int j = 0; j < 6; ++j) {
    V in[6], out[4];
    const float* const column = pinned(from + j * point);
    HEBB_UNROLL for (int i = 0; i < 6; ++i) in[i] = load(column + 6 * i * point);
    outputs_of_points(in, out);
    HEBB_UNROLL for (int i = 0; i < 4; ++i) columns[i][j] = out[i];
  }
  HEBB_UNROLL for (int i = 0; i < 4; ++i) {
    V out[4];
    float* const line = pinned(to + i * row);
    outputs_of_points(columns[i], out);
    HEBB_UNROLL for (int j = 0; j < 4; ++j) {
      const V y = hn::Max(floor, hn::Add(out[j], bias));
      if constexpr (Streamed) hn::Stream(y, Tag<float>(), line + j * pixel);
      else store(y, line + j * pixel);
    }
  }
}

/// Which rows and columns of a square lie within an image.
struct Inside {
  int64_t top, bottom, left, right;
  bool all(int64_t size) const { return top == 0 && left == 0 && bottom == size && right == size; }
};

/// square() of a tile that hangs over the edge of its image, whose first pixel is at x[offset]: what lies
/// outside is zero, and is not read.
template <int Size, auto Line>
void square_at_edge(const float* x, int64_t offset, int64_t row, int64_t pixel, const Inside& inside,
                    float* to, int64_t to_row, int64_t to_column) {
  const V zero = hn::Zero(Tag<float>());
  V columns[6][Size];
  HEBB_UNROLL for (int j = 0; j < Size; ++j) {
    V in[Size], out[6];
    const bool here = j >= inside.left && j < inside.right;
    const float* const column = pinned(x) + (offset + j * pixel);
    HEBB_UNROLL for (int i = 0; i < Size; ++i) {
      in[i] = here && i >= inside.top && i < inside.bottom ? load(column + i * row) : zero;
    }
    Line(in, out);
    HEBB_UNROLL for (int i = 0; i < 6; ++i) columns[i][j] = out[i];
  }
  store_points<Size, Line>(columns, to, to_row, to_column);
}

/// Calls fn(image, row, column, count) for each run of neighbouring tiles among [first, end).
template <class F>
HWY_INLINE void for_each_run(const TileGrid& g, int64_t first, int64_t end, F fn) {
  while (first < end) {
    const int64_t column = first % g.columns, row = first / g.columns % g.rows;
    const int64_t count = std::min({end - first, g.columns - column, kRun});
    fn(first / (g.columns * g.rows), row, column, count);
    first += count;
  }
}

/// `rows` rows of `width` pixels from (y, x) on, of up to kChannels channels from `image` on:
/// [row][pixel][lane], zeros outside of the images of h x w.
HWY_INLINE void load_strip(const ImageLayout& l, const float* image, int64_t channels, int64_t y, int64_t x,
                           int64_t rows, int64_t width, float* strip) {
  const int64_t begin = std::clamp<int64_t>(-x, 0, width), end = std::clamp<int64_t>(l.w - x, begin, width);
  for (int64_t r = 0; r < rows; ++r, strip += width * kChannels) {
    const bool inside = y + r >= 0 && y + r < l.h;
    const int64_t b = inside ? begin : width, e = inside ? end : width;
    std::fill(strip, strip + b * kChannels, 0.0f);
    const float* const row = image + (y + r) * l.row + (x + b) * l.pixel;
    if (l.channel == 1) {
      for (int64_t i = b; i < e; ++i)
        store(load_first(row + (i - b) * l.pixel, channels), strip + i * kChannels);
    } else if (e > b) {
      lines_to_lanes(row, l.channel, channels, e - b, strip + b * kChannels);
    }
    std::fill(strip + e * kChannels, strip + width * kChannels, 0.0f);
  }
}

/// Tiles [first, end) of images to their points, for channels [c0, c1), where c0 is a multiple of kChannels.
/// Tile t's square of Size x Size pixels begins at 4 t - pad in each direction.
template <int Size, auto Line>
HWY_INLINE void tiles_to_points(const TileGrid& g, const ImageLayout& l, const float* x, int64_t pad_top,
                                int64_t pad_left, int64_t first, int64_t end, int64_t c0, int64_t c1,
                                const Points& to) {
  alignas(64) float strip[Size * (4 * kRun + Size - 4) * kChannels];
  int64_t tile = first;
  for_each_run(g, first, end, [&](int64_t image, int64_t row, int64_t column, int64_t count) HWY_ATTR {
    const int64_t width = 4 * count + Size - 4, top = 4 * row - pad_top, left = 4 * column - pad_left;
    const float* const from = x + image * l.image;
    int64_t c = c0;
    if (l.channel == 1) {  // pixels are lines of channels, which are read as they lie
      const int64_t whole = c0 + (std::min(c1, l.channels) - c0) / kChannels * kChannels;
      for (int64_t i = 0; i < count; ++i) {
        const int64_t x0 = left + 4 * i, offset = top * l.row + x0 * l.pixel;
        const Inside inside{std::clamp<int64_t>(-top, 0, Size), std::clamp<int64_t>(l.h - top, 0, Size),
                            std::clamp<int64_t>(-x0, 0, Size), std::clamp<int64_t>(l.w - x0, 0, Size)};
        float* const points = to.at(0, tile - first + i);
        if (inside.all(Size)) {
          for (c = c0; c < whole; c += kChannels)
            square<Size, Line>(from + offset + c, l.row, l.pixel, points + c, 6 * to.point, to.point);
        } else {
          for (c = c0; c < whole; c += kChannels)
            square_at_edge<Size, Line>(from + c, offset, l.row, l.pixel, inside, points + c, 6 * to.point,
                                       to.point);
        }
      }
    }
    for (; c < c1; c += kChannels) {
      load_strip(l, from + c * l.channel, std::min(kChannels, l.channels - c), top, left, Size, width, strip);
      for (int64_t i = 0; i < count; ++i) {
        square<Size, Line>(strip + 4 * i * kChannels, width * kChannels, kChannels,
                           to.at(0, tile - first + i) + c, 6 * to.point, to.point);
      }
    }
    tile += count;
  });
}

void inputs_to_points(const ConvShape& s, const TileGrid& g, const float* x, int64_t first, int64_t end,
                      int64_t c0, int64_t c1, const Points& to) {
  tiles_to_points<6, input_points>(g, inputs_of(s), x, s.pad_top, s.pad_left, first, end, c0, c1, to);
}
void gradients_to_points(const ConvShape& s, const TileGrid& g, const float* gy, int64_t first, int64_t end,
                         int64_t c0, int64_t c1, const Points& to) {
  tiles_to_points<4, gradient_points>(g, outputs_of(s), gy, 0, 0, first, end, c0, c1, to);
}

constexpr int64_t kStreamedOutputs = 2 << 20;  // elements: no cache holds more until they are read

/// The products of tiles [first, end) to outputs of channels [k0, k1).
void points_to_outputs(const ConvShape& s, const TileGrid& g, const Points& from, int64_t first, int64_t end,
                       int64_t k0, int64_t k1, const float* bias, float* y) {
  alignas(64) float strip[4 * 4 * kRun * kChannels];
  const ImageLayout l = outputs_of(s);
  // A streamed vector is to be a whole line of the cache.
  const bool streamed = kChannels == 16 && l.channels % kChannels == 0 &&
                        s.batch * l.image >= kStreamedOutputs && reinterpret_cast<uintptr_t>(y) % 64 == 0;
  const V floor = hn::Set(Tag<float>(), s.relu ? 0.0f : -std::numeric_limits<float>::infinity());
  int64_t tile = first;
  for_each_run(g, first, end, [&](int64_t image, int64_t row, int64_t column, int64_t count) HWY_ATTR {
    const int64_t width = 4 * count, pixels = std::min(width, s.out_w - 4 * column);
    const int64_t rows = std::min<int64_t>(4, s.out_h - 4 * row);
    for (int64_t k = k0; k < k1; k += kChannels) {
      const int64_t channels = std::min(kChannels, k1 - k);
      const V add = bias ? load_first(bias + k, channels) : hn::Zero(Tag<float>());
      const bool in_place = l.channel == 1 && channels == kChannels && rows == 4 && pixels == width;
      float* out = y + image * l.image + k * l.channel + 4 * row * l.row + 4 * column * l.pixel;
      for (int64_t i = 0; i < count; ++i) {
        const float* const points = from.at(0, tile - first + i) + (k - k0);
        if (!in_place)
          outputs_of_tile<false>(points, from.point, add, floor, strip + 4 * i * kChannels, width * kChannels,
                                 kChannels);
        else if (streamed)
          outputs_of_tile<true>(points, from.point, add, floor, out + 4 * i * l.pixel, l.row, l.pixel);
        else outputs_of_tile<false>(points, from.point, add, floor, out + 4 * i * l.pixel, l.row, l.pixel);
      }
      for (int64_t r = 0; r < rows && !in_place; ++r, out += l.row) {
        const float* const line = strip + r * width * kChannels;
        if (l.channel == 1) {
          for (int64_t i = 0; i < pixels; ++i)
            store_first(load(line + i * kChannels), out + i * l.pixel, channels);
        } else {
          lanes_to_lines(line, pixels, channels, out, l.channel);
        }
      }
    }
    tile += count;
  });
  if (streamed) hwy::FlushStream();
}

/// What products in words of F take: rows of `channels` rounded along themselves.
template <class F>
void round_rows(const Points& at, int64_t first, int64_t end, int64_t channels) {
  for (int64_t i = first; i < end; ++i)
    for (int64_t p = 0; p < kPoints; ++p) pack_a_rows<F>(at.at(p, i), 0, 1, channels, at.at(p, i), 0);
}
/// Pairs of rows rounded to words.
template <class F>
void round_row_pairs(const Points& at, int64_t rows, int64_t c0, int64_t c1) {
  for (int64_t i = 0; i < rows; i += F::kPerWord) {
    for (int64_t p = 0; p < kPoints; ++p) {
      float* const row = at.at(p, i);
      for (int64_t c = c0; c < c1; c += kChannels)
        store_first(F::across_k(row + c, at.row, rows - i, c1 - c), row + c, c1 - c);
    }
  }
}
/// The rows that round_row_pairs() leaves.
template <class F>
HWY_INLINE Points words_of(const Points& at) {
  return {at.data, at.point, F::kPerWord * at.row};
}

/// Filters to their points, for output channels [k0, k1), one or two vectors of them.
template <class F>
void filters_to_points(const Filters& f, int64_t k0, int64_t k1, const Points& to) {
  constexpr int64_t kAtOnce = 16;  // input channels
  alignas(64) float lanes[kAtOnce * 9 * kChannels], turned[9 * kChannels];
  for (int64_t k = k0; k < k1; k += kChannels) {
    const int64_t lines = std::min(kChannels, k1 - k);
    for (int64_t c0 = 0; c0 < f.in_channels; c0 += kAtOnce) {
      const int64_t count = std::min(kAtOnce, f.in_channels - c0);
      if (!f.turned)
        lines_to_lanes(f.w + (k * f.in_channels + c0) * 9, f.in_channels * 9, lines, count * 9, lanes);
      for (int64_t i = 0; i < count; ++i) {
        const float* taps = lanes + i * 9 * kChannels;
        if (f.turned) {
          lines_to_lanes(f.w + ((c0 + i) * f.out_channels + k) * 9, 9, lines, 9, lanes);
          for (int t = 0; t < 9; ++t) store(load(lanes + t * kChannels), turned + (8 - t) * kChannels);
          taps = turned;
        }
        V columns[6][3];
        HEBB_UNROLL for (int j = 0; j < 3; ++j) {
          const V in[3] = {load(taps + j * kChannels), load(taps + (3 + j) * kChannels),
                           load(taps + (6 + j) * kChannels)};
          V out[6];
          filter_points(in, out);
          HEBB_UNROLL for (int t = 0; t < 6; ++t) columns[t][j] = out[t];
        }
        float* u = to.at(0, c0 + i) + (k - k0);
        HEBB_UNROLL for (int t = 0; t < 6; ++t) {
          V out[6];
          filter_points(columns[t], out);
          float* const row = pinned(u + 6 * t * to.point);
          HEBB_UNROLL for (int j = 0; j < 6; ++j) store(out[j], row + j * to.point);
        }
      }
      if constexpr (F::kPerWord > 1)
        round_row_pairs<F>({to.at(0, c0), to.point, to.row}, count, k - k0, k - k0 + kChannels);
    }
  }
}

/// The way back for gradients: sums at the points, for input channels [c0, c1) and output channels [k0, k1).
/// They are the sums of `ranges` such matrices, `range` elements apart.
void points_to_filters(const Points& from, int64_t ranges, int64_t range, int64_t in_channels, int64_t c0,
                       int64_t c1, int64_t k0, int64_t k1, float* gw) {
  constexpr int64_t kAtOnce = 16;
  alignas(64) float lanes[kAtOnce * 9 * kChannels];
  for (int64_t k = k0; k < k1; k += kChannels) {
    for (int64_t c = c0; c < c1; c += kAtOnce) {
      const int64_t count = std::min(kAtOnce, c1 - c);
      for (int64_t i = 0; i < count; ++i) {
        const float* u = from.at(0, c - c0 + i) + (k - k0);
        V columns[3][6];
        HEBB_UNROLL for (int j = 0; j < 6; ++j) {
          V in[6], out[3];
          const float* const column = pinned(u + j * from.point);
          HEBB_UNROLL for (int t = 0; t < 6; ++t) in[t] = load(column + 6 * t * from.point);
          for (int64_t r = 1; r < ranges; ++r) {
            HEBB_UNROLL for (int t = 0; t < 6; ++t) in[t] =
                hn::Add(in[t], load(column + r * range + 6 * t * from.point));
          }
          taps_of_points(in, out);
          HEBB_UNROLL for (int t = 0; t < 3; ++t) columns[t][j] = out[t];
        }
        HEBB_UNROLL for (int t = 0; t < 3; ++t) {
          V out[3];
          taps_of_points(columns[t], out);
          HEBB_UNROLL for (int j = 0; j < 3; ++j) store(out[j], lanes + ((i * 3 + t) * 3 + j) * kChannels);
        }
      }
      lanes_to_lines(lanes, count * 9, std::min(kChannels, k1 - k), gw + (k * in_channels + c) * 9,
                     in_channels * 9);
    }
  }
}

// Longest sum without a pause: each is summed from zero and added to those before, which keeps the errors of
// long sums near those of the direct way.
constexpr int64_t kSumLength = 48;

/// out[point] = in[point] * filters[point] for all points: `tiles` rows, a panel of `width` output channels.
template <class F>
void multiply_points(const Points& in, int64_t tiles, int64_t in_channels, const Points& filter_rows,
                     int64_t width, const Points& out, NextTiles* next) {
  const EqualPieces rows(tiles, kMaxTileRows), depths(words<F>(in_channels), kSumLength);
  const Points filters = words_of<F>(filter_rows);
  const int vectors = width > kChannels ? 2 : 1;
  TileEnd<float> end;
  for (int64_t p = 0; p < kPoints; ++p) {
    for (int64_t j = 0; j < depths.count; ++j) {
      const int64_t c = depths.begin(j);
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

/// sums[p] (+)= in[p]^T * gradients[p] for points [p0, p1): over `tiles`, of input channels [c0, c1) and
/// output channels [k0, k1). Rows of sums are whole vectors. While it runs it brings nearer what comes next:
/// the pixels of `next`, or without them its own operands, which then lie in a far cache.
template <class F>
void add_products(const Points& in_rows, const Points& gradient_rows, int64_t tiles, int64_t p0, int64_t p1,
                  int64_t c0, int64_t c1, int64_t k0, int64_t k1, bool accumulate, const Points& sums,
                  NextTiles* next) {
  const EqualPieces rows(c1 - c0, kMaxTileRows), depths(words<F>(tiles), kSumLength);
  const Points in = words_of<F>(in_rows), gradients = words_of<F>(gradient_rows);
  TileEnd<float> end;
  const int64_t panels = (k1 - k0 + 2 * kChannels - 1) / (2 * kChannels);
  for (int64_t p = p0; p < p1; ++p) {
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

template <class F>
WinogradKernels winograd_kernels_of() {
  constexpr bool kRounds = F::kPerWord > 1;
  return {.lanes = kChannels,
          .tile_rows = kMaxTileRows,
          .round_rows = kRounds ? round_rows<F> : nullptr,
          .round_row_pairs = kRounds ? round_row_pairs<F> : nullptr,
          .inputs_to_points = inputs_to_points,
          .gradients_to_points = gradients_to_points,
          .points_to_outputs = points_to_outputs,
          .filters_to_points = filters_to_points<F>,
          .points_to_filters = points_to_filters,
          .multiply_points = multiply_points<F>,
          .add_products = add_products<F>};
}
WinogradKernels winograd_kernels([[maybe_unused]] bool bf16) {
#if HEBB_PAIRS_OF_BF16
  if (bf16) return winograd_kernels_of<PairsOfBf16>();
#endif
  return winograd_kernels_of<Elements<float>>();
}

}  // namespace HWY_NAMESPACE
}  // namespace hebb::cpu
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
