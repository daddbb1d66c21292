// The transforms of Winograd convolutions: tiles, products and filters to points and back, lanes over
// channels. Compiled once for every instruction set.
#if defined(HEBB_BACKEND_CPU_WINOGRAD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HEBB_BACKEND_CPU_WINOGRAD_INL_H_
#undef HEBB_BACKEND_CPU_WINOGRAD_INL_H_
#else
#define HEBB_BACKEND_CPU_WINOGRAD_INL_H_
#endif

#include <algorithm>
#include <limits>

#include "hebb/backend/cpu/pack-inl.h"
#include "hebb/backend/cpu/winograd_products-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hebb::cpu {
namespace HWY_NAMESPACE {

/// The same pointer, of which the compiler knows nothing: it then reaches neighbouring rows or columns by an
/// index, in place of keeping a pointer to each of 36 streams, which it would spill.
template <class T>
HWY_INLINE T* pinned(T* p) {
  asm("" : "+r"(p));
  return p;
}

/// The second half of a transform of squares: the lines across, transformed and stored.
template <class Across, int Rows>
HWY_INLINE void store_lines(const V (&lines)[Rows][Across::kIn], float* to, int64_t to_row,
                            int64_t to_column) {
  HEBB_UNROLL for (int i = 0; i < Rows; ++i) {
    V out[Across::kOut];
    float* const row = pinned(to + i * to_row);
    Across::apply(lines[i], out);
    HEBB_UNROLL for (int j = 0; j < Across::kOut; ++j) store(out[j], row + j * to_column);
  }
}

/// Two transforms of lines as one of squares: vectors, rows `from_row` apart and columns `from_column` apart.
template <class Down, class Across>
HWY_INLINE void square(const float* from, int64_t from_row, int64_t from_column, float* to, int64_t to_row,
                       int64_t to_column) {
  V lines[Down::kOut][Across::kIn];
  HEBB_UNROLL for (int j = 0; j < Across::kIn; ++j) {
    V in[Down::kIn], out[Down::kOut];
    const float* const column = pinned(from + j * from_column);
    HEBB_UNROLL for (int i = 0; i < Down::kIn; ++i) in[i] = load(column + i * from_row);
    Down::apply(in, out);
    HEBB_UNROLL for (int i = 0; i < Down::kOut; ++i) lines[i][j] = out[i];
  }
  store_lines<Across>(lines, to, to_row, to_column);
}

/// The way back: a tile's products, rows of points `points_row` apart and points `point`, to its 4 x 4
/// outputs, to which the bias is added, and the residual, which lies as they do, unless it is null; none is
/// less than the floor. Streamed ones are written past the caches, whole lines at a time.
template <class Down, class Across, bool Streamed>
HWY_INLINE void outputs_of_tile(const float* from, int64_t points_row, int64_t point, V bias,
                                const float* residual, V floor, float* to, int64_t row, int64_t pixel) {
  V lines[4][Across::kIn];
  HEBB_UNROLL for (int j = 0; j < Across::kIn; ++j) {
    V in[Down::kIn], out[4];
    const float* const column = pinned(from + j * point);
    HEBB_UNROLL for (int i = 0; i < Down::kIn; ++i) in[i] = load(column + i * points_row);
    Down::apply(in, out);
    HEBB_UNROLL for (int i = 0; i < 4; ++i) lines[i][j] = out[i];
  }
  HEBB_UNROLL for (int i = 0; i < 4; ++i) {
    V out[4];
    float* const line = pinned(to + i * row);
    Across::apply(lines[i], out);
    HEBB_UNROLL for (int j = 0; j < 4; ++j) {
      V y = hn::Add(out[j], bias);
      if (residual) y = hn::Add(y, load(residual + i * row + j * pixel));
      y = hn::Max(floor, y);
      if constexpr (Streamed) hn::Stream(y, Tag<float>(), line + j * pixel);
      else store(y, line + j * pixel);
    }
  }
}

/// Which rows and columns of a square lie within an image.
struct Inside {
  int64_t top, bottom, left, right;
  bool all(int64_t rows, int64_t columns) const {
    return top == 0 && left == 0 && bottom == rows && right == columns;
  }
};

/// square() of a tile that hangs over the edge of its image, whose first pixel is at x[offset]: what lies
/// outside is zero, and is not read.
template <class Down, class Across>
void square_at_edge(const float* x, int64_t offset, int64_t row, int64_t pixel, const Inside& inside,
                    float* to, int64_t to_row, int64_t to_column) {
  const V zero = hn::Zero(Tag<float>());
  V lines[Down::kOut][Across::kIn];
  HEBB_UNROLL for (int j = 0; j < Across::kIn; ++j) {
    V in[Down::kIn], out[Down::kOut];
    const bool here = j >= inside.left && j < inside.right;
    const float* const column = pinned(x) + (offset + j * pixel);
    HEBB_UNROLL for (int i = 0; i < Down::kIn; ++i) {
      in[i] = here && i >= inside.top && i < inside.bottom ? load(column + i * row) : zero;
    }
    Down::apply(in, out);
    HEBB_UNROLL for (int i = 0; i < Down::kOut; ++i) lines[i][j] = out[i];
  }
  store_lines<Across>(lines, to, to_row, to_column);
}

/// Calls fn with the taps of a phase as constants.
template <class F>
HWY_INLINE void with_taps(Taps taps, F fn) {
  using One = std::integral_constant<int, 1>;
  using Two = std::integral_constant<int, 2>;
  using Three = std::integral_constant<int, 3>;
  if (taps.down == 3) return fn(Three(), Three());
  if (taps.down == 2) return taps.across == 2 ? fn(Two(), Two()) : fn(Two(), One());
  return taps.across == 2 ? fn(One(), Two()) : fn(One(), One());
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

/// Tiles [first, end) of images to their points, `line` a line, for channels [c0, c1), where c0 is a multiple
/// of kChannels.
template <class Down, class Across>
void tiles_to_points(const TileGrid& g, const ImageLayout& l, const float* x, int64_t first, int64_t end,
                     int64_t c0, int64_t c1, int64_t line, const Points& to) {
  constexpr int64_t kRows = Down::kIn, kColumns = Across::kIn;
  alignas(64) float strip[kRows * (4 * kRun + kColumns - 4) * kChannels];
  int64_t tile = first;
  for_each_run(g, first, end, [&](int64_t image, int64_t row, int64_t column, int64_t count) HWY_ATTR {
    const int64_t width = 4 * count + kColumns - 4, top = 4 * row - l.top, left = 4 * column - l.left;
    const float* const from = x + image * l.image + l.offset;
    int64_t c = c0;
    if (l.channel == 1) {  // pixels are lines of channels, which are read as they lie
      const int64_t whole = c0 + (std::min(c1, l.channels) - c0) / kChannels * kChannels;
      for (int64_t i = 0; i < count; ++i) {
        const int64_t x0 = left + 4 * i, offset = top * l.row + x0 * l.pixel;
        const Inside inside{std::clamp<int64_t>(-top, 0, kRows), std::clamp<int64_t>(l.h - top, 0, kRows),
                            std::clamp<int64_t>(-x0, 0, kColumns),
                            std::clamp<int64_t>(l.w - x0, 0, kColumns)};
        float* const points = to.at(0, tile - first + i);
        if (inside.all(kRows, kColumns)) {
          for (c = c0; c < whole; c += kChannels)
            square<Down, Across>(from + offset + c, l.row, l.pixel, points + c, line * to.point, to.point);
        } else {
          for (c = c0; c < whole; c += kChannels)
            square_at_edge<Down, Across>(from + c, offset, l.row, l.pixel, inside, points + c,
                                         line * to.point, to.point);
        }
      }
    }
    for (; c < c1; c += kChannels) {
      load_strip(l, from + c * l.channel, std::min(kChannels, l.channels - c), top, left, kRows, width,
                 strip);
      for (int64_t i = 0; i < count; ++i) {
        square<Down, Across>(strip + 4 * i * kChannels, width * kChannels, kChannels,
                             to.at(0, tile - first + i) + c, line * to.point, to.point);
      }
    }
    tile += count;
  });
}

void inputs_to_points(const Side& s, const TileGrid& g, const float* x, int64_t first, int64_t end,
                      int64_t c0, int64_t c1, const Points& to) {
  for (int64_t c = c0; c < c1;) {
    const int64_t i = s.phase_of(c), before = i * s.phase_channels,
                  stop = std::min(c1, before + s.phase_channels);
    with_taps(s.taps(i), [&](auto down, auto across) {
      tiles_to_points<InputLine<down>, InputLine<across>>(g, s.phase(i), x, first, end, c - before,
                                                          stop - before, s.scheme.line,
                                                          {to.data + before, to.point, to.row});
    });
    c = stop;
  }
}
void gradients_to_points(const Side& s, const TileGrid& g, const float* gy, int64_t first, int64_t end,
                         int64_t c0, int64_t c1, const Points& to) {
  with_taps(s.taps(0), [&](auto down, auto across) {
    tiles_to_points<GradientLine<down>, GradientLine<across>>(g, s.whole, gy, first, end, c0, c1,
                                                              s.scheme.line, to);
  });
}

constexpr int64_t kStreamedOutputs = 2 << 20;  // elements: no cache holds more until they are read

/// points_to_outputs() of the images of a phase.
template <class Down, class Across>
void points_to_images(const TiledConv& conv, const ImageLayout& l, const Points& from, int64_t first,
                      int64_t end, int64_t k0, int64_t k1, const float* bias, float* y) {
  alignas(64) float strip[4 * 4 * kRun * kChannels];
  const TileGrid& g = conv.grid;
  const int64_t points_row = conv.out.scheme.line * from.point;
  // A streamed vector is to be a whole line of the cache.
  const bool streamed = kChannels == 16 && l.channels % kChannels == 0 &&
                        g.tiles / (g.rows * g.columns) * l.image >= kStreamedOutputs &&
                        reinterpret_cast<uintptr_t>(y) % 64 == 0;
  const V lowest = hn::Set(Tag<float>(), -std::numeric_limits<float>::infinity());
  const V floor = conv.relu ? hn::Zero(Tag<float>()) : lowest;
  int64_t tile = first;
  for_each_run(g, first, end, [&](int64_t image, int64_t row, int64_t column, int64_t count) HWY_ATTR {
    const int64_t width = 4 * count, pixels = std::min(width, l.w - 4 * column);
    const int64_t rows = std::min<int64_t>(4, l.h - 4 * row);
    for (int64_t k = k0; k < k1; k += kChannels) {
      const int64_t channels = std::min(kChannels, k1 - k);
      const V add = bias ? load_first(bias + k, channels) : hn::Zero(Tag<float>());
      const bool in_place = l.channel == 1 && channels == kChannels && rows == 4 && pixels == width;
      int64_t at = image * l.image + l.offset + k * l.channel + 4 * row * l.row + 4 * column * l.pixel;
      const float* const residual = conv.end.residual ? conv.end.residual + at : nullptr;
      for (int64_t i = 0; i < count; ++i) {
        const float* const points = from.at(0, tile - first + i) + (k - k0);
        const float* const here = residual ? residual + 4 * i * l.pixel : nullptr;
        float* const out = y + at + 4 * i * l.pixel;
        if (!in_place)
          outputs_of_tile<Down, Across, false>(points, points_row, from.point, add, nullptr, lowest,
                                               strip + 4 * i * kChannels, width * kChannels, kChannels);
        else if (streamed)
          outputs_of_tile<Down, Across, true>(points, points_row, from.point, add, here, floor, out, l.row,
                                              l.pixel);
        else
          outputs_of_tile<Down, Across, false>(points, points_row, from.point, add, here, floor, out, l.row,
                                               l.pixel);
      }
      for (int64_t r = 0; r < rows && !in_place; ++r, at += l.row) {
        float* const line = strip + r * width * kChannels;
        for (int64_t i = 0; i < pixels; ++i) {
          V v = load(line + i * kChannels);
          if (residual) v = hn::Add(v, load_first(conv.end.residual + at + i * l.pixel, channels));
          v = hn::Max(floor, v);
          if (l.channel == 1) store_first(v, y + at + i * l.pixel, channels);
          else store(v, line + i * kChannels);
        }
        if (l.channel != 1) lanes_to_lines(line, pixels, channels, y + at, l.channel);
      }
    }
    tile += count;
  });
  if (streamed) hwy::FlushStream();
}
void points_to_outputs(const TiledConv& conv, const Points& from, int64_t phase, int64_t first, int64_t end,
                       int64_t k0, int64_t k1, const float* bias, float* y) {
  with_taps(conv.out.taps(phase), [&](auto down, auto across) {
    points_to_images<OutputLine<down>, OutputLine<across>>(conv, conv.out.phase(phase), from, first, end, k0,
                                                           k1, bias, y);
  });
}

/// Which of the three taps of a line the taps of a phase are.
constexpr int tap_at(int taps, int i) { return taps == 3 ? i : taps == 2 ? 2 * i : 1; }

/// Filters to their points, for output channels [k0, k1), one or two vectors of them. Those of phase f begin
/// f - f0 times in_channels rows behind the first.
template <class F>
void filters_to_points(const Scheme& scheme, const Filters& f, int64_t f0, int64_t f1, int64_t k0, int64_t k1,
                       const Points& to) {
  constexpr int64_t kAtOnce = 16;  // input channels
  alignas(64) float lanes[kAtOnce * 9 * kChannels], turned[9 * kChannels];
  for (int64_t k = k0; k < k1; k += kChannels) {
    const int64_t lines = std::min(kChannels, k1 - k);
    for (int64_t c0 = 0; c0 < f.in_channels; c0 += kAtOnce) {
      const int64_t count = std::min(kAtOnce, f.in_channels - c0);
      if (!f.turned)
        lines_to_lanes(f.w + (k * f.in_channels + c0) * 9, f.in_channels * 9, lines, count * 9, lanes);
      for (int64_t i = 0; i < count; ++i) {
        const float* nine = lanes + i * 9 * kChannels;
        if (f.turned) {
          lines_to_lanes(f.w + ((c0 + i) * f.out_channels + k) * 9, 9, lines, 9, lanes);
          for (int t = 0; t < 9; ++t) store(load(lanes + t * kChannels), turned + (8 - t) * kChannels);
          nine = turned;
        }
        for (int64_t phase = f0; phase < f1; ++phase) {
          float* const u = to.at(0, (phase - f0) * f.in_channels + c0 + i) + (k - k0);
          with_taps(scheme.taps[phase], [&](auto down, auto across) {
            // The taps of a phase lie as far from each other as one is from the last.
            const float* const first = nine + (3 * tap_at(down, 0) + tap_at(across, 0)) * kChannels;
            const int64_t row = 3 * (tap_at(down, 1) - tap_at(down, 0)) * kChannels,
                          column = (tap_at(across, 1) - tap_at(across, 0)) * kChannels;
            square<FilterLine<down>, FilterLine<across>>(first, row, column, u, scheme.line * to.point,
                                                         to.point);
          });
        }
      }
      if constexpr (F::kPerWord > 1) {
        for (int64_t phase = f0; phase < f1; ++phase) {
          const int64_t row = (phase - f0) * f.in_channels + c0;
          for (int64_t p = 0; p < scheme.points(); ++p) {
            if (scheme.has(phase, p))
              round_point_pairs<F>({to.at(0, row), to.point, to.row}, p, count, k - k0, k - k0 + kChannels);
          }
        }
      }
    }
  }
}

/// The gradients of a phase's taps, as lanes of nine, from the sums at its points: of `ranges` matrices,
/// `range` elements apart.
template <int Down, int Across>
HWY_INLINE void taps_of_points(const float* u, int64_t line, int64_t point, int64_t ranges, int64_t range,
                               float* nine) {
  V lines[Down][Across + 3];
  HEBB_UNROLL for (int j = 0; j < Across + 3; ++j) {
    V in[Down + 3], out[Down];
    const float* const column = pinned(u + j * point);
    HEBB_UNROLL for (int t = 0; t < Down + 3; ++t) in[t] = load(column + line * t * point);
    for (int64_t r = 1; r < ranges; ++r) {
      HEBB_UNROLL for (int t = 0; t < Down + 3; ++t) in[t] =
          hn::Add(in[t], load(column + r * range + line * t * point));
    }
    TapLine<Down>::apply(in, out);
    HEBB_UNROLL for (int t = 0; t < Down; ++t) lines[t][j] = out[t];
  }
  HEBB_UNROLL for (int t = 0; t < Down; ++t) {
    V out[Across];
    TapLine<Across>::apply(lines[t], out);
    HEBB_UNROLL for (int j = 0; j < Across; ++j)
        store(out[j], nine + (3 * tap_at(Down, t) + tap_at(Across, j)) * kChannels);
  }
}

/// The way back for gradients.
void points_to_filters(const Scheme& scheme, const Points& from, int64_t ranges, int64_t range, int64_t phase,
                       int64_t in_channels, int64_t c0, int64_t c1, int64_t k0, int64_t k1, float* gw) {
  constexpr int64_t kAtOnce = 16;
  alignas(64) float lanes[kAtOnce * 9 * kChannels];
  for (int64_t k = k0; k < k1; k += kChannels) {
    for (int64_t c = c0; c < c1; c += kAtOnce) {
      const int64_t count = std::min(kAtOnce, c1 - c);
      for (int64_t i = 0; i < count; ++i) {
        for (int64_t f = 0; f < scheme.phases; ++f) {
          with_taps(scheme.taps[f], [&](auto down, auto across) {
            taps_of_points<down, across>(from.at(0, c - c0 + i) + f * phase + (k - k0), scheme.line,
                                         from.point, ranges, range, lanes + i * 9 * kChannels);
          });
        }
      }
      lanes_to_lines(lanes, count * 9, std::min(kChannels, k1 - k), gw + (k * in_channels + c) * 9,
                     in_channels * 9);
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
