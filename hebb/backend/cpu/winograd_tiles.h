// What the two halves of Winograd's algorithm tell each other: tiles, layouts, matrices of points, and the
// kernels that each instruction set has.
#pragma once
#include <algorithm>

#include "hebb/backend/cpu/conv.h"
#include "hebb/backend/cpu/pieces.h"

namespace hebb::cpu {
constexpr int64_t kMostPoints = 36, kMostPhases = 4;
constexpr int64_t kRun = 8;  // neighbouring tiles that are turned into lanes together, at most

/// Taps of a filter, down and across.
struct Taps {
  int down, across;
};

/// How a convolution of 3x3 becomes some of stride 1. One of stride 1 is one already. One of stride 2, padded
/// by a pixel, is the sum of four, one for each phase of its inputs: odd rows, above and below an output's
/// middle, take two of the three taps down, even rows the one between; columns alike. With n taps a line of 4
/// outputs has n + 3 points. Phases share the points of two taps, and those of one lack the last.
struct Scheme {
  int64_t stride, line;  // points of a line
  int64_t phases;
  Taps taps[kMostPhases];

  int64_t points() const { return line * line; }
  bool has(int64_t phase, int64_t point) const {
    return point / line < taps[phase].down + 3 && point % line < taps[phase].across + 3;
  }
};
constexpr Scheme kStride1{1, 6, 1, {{3, 3}}};
/// In this order the phases that have a point are neighbours.
constexpr Scheme kStride2{2, 5, 4, {{2, 1}, {2, 2}, {1, 2}, {1, 1}}};

/// Images of `channels` planes of h x w: elements from one image, channel, row and pixel to the next, and to
/// the first pixel. Tile t's squares of inputs begin `top` and `left` pixels before its first output.
struct ImageLayout {
  int64_t channels, h, w, image, channel, row, pixel, offset = 0, top = 0, left = 0;
  ImageLayout(int64_t n, int64_t height, int64_t width, bool channels_last)
      : channels(n),
        h(height),
        w(width),
        image(n * height * width),
        channel(channels_last ? 1 : height * width),
        row(channels_last ? width * n : width),
        pixel(channels_last ? n : 1) {}
  /// The pixels of the phase of stride 2 that takes these taps.
  ImageLayout phase(Taps taps) const {
    ImageLayout l = *this;
    const int64_t odd_rows = taps.down == 2, odd_columns = taps.across == 2;
    l.h = (h + 1 - odd_rows) / 2;
    l.w = (w + 1 - odd_columns) / 2;
    l.row = 2 * row;
    l.pixel = 2 * pixel;
    l.offset = odd_rows * row + odd_columns * pixel;
    l.top = odd_rows;
    l.left = odd_columns;
    return l;
  }
};

/// What a convolution reads, or what it writes: the channels of one phase after those of another.
struct Side {
  Scheme scheme;
  ImageLayout whole;
  int64_t phases = 1, phase_channels = whole.channels;

  int64_t channels() const { return phases * phase_channels; }
  /// Which phase has these channels.
  int64_t phase_of(int64_t channel) const { return phases == 1 ? 0 : channel / phase_channels; }
  ImageLayout phase(int64_t i) const { return phases == 1 ? whole : whole.phase(scheme.taps[i]); }
  /// Taps of a phase; of a side that is whole those that all points need.
  Taps taps(int64_t i) const {
    const int most = static_cast<int>(scheme.line) - 3;
    return phases == 1 ? Taps{most, most} : scheme.taps[i];
  }
  bool has(int64_t channel, int64_t point) const {
    return phases == 1 || scheme.has(phase_of(channel), point);
  }
  /// The first channel that has the point, and that behind the last.
  int64_t begin(int64_t point) const {
    int64_t i = 0;
    while (phases > 1 && !scheme.has(i, point)) ++i;
    return i * phase_channels;
  }
  int64_t end(int64_t point) const {
    int64_t i = phases;
    while (phases > 1 && !scheme.has(i - 1, point)) --i;
    return i * phase_channels;
  }
};

/// The tiles of 4x4 outputs of all images, or of each of their phases; those at the ends hang over.
struct TileGrid {
  int64_t rows, columns, tiles;
  TileGrid(int64_t batch, int64_t out_h, int64_t out_w)
      : rows(ceil_div(out_h, 4)), columns(ceil_div(out_w, 4)), tiles(batch * rows * columns) {}
};

// Longest sums of products without a pause: each is summed from zero and added to those before, which keeps
// the errors of long sums near those of the direct way, at most three times as large. Shorter ones are more
// exact and slower. Those of the points of stride 2 start nearer.
constexpr int64_t kGradientSum = 96;
constexpr int64_t output_sum(int64_t channels) { return channels <= 256 ? 64 : channels <= 512 ? 32 : 48; }

/// A convolution, or that which gives its input gradient, as one of tiles.
struct TiledConv {
  Side in, out;
  TileGrid grid;
  bool relu;
  int64_t longest_sum;
  ConvEnd end = {};
};

/// A matrix for each point: rows `row` apart, matrices `point` apart. Operands of products in bf16 are
/// rounded where they lie, to the words that the micro-kernel multiplies: pairs of neighbours along what is
/// summed. Two neighbours of a row leave the row half as long; two rows become the first of them.
struct Points {
  float* data;
  int64_t point, row;
  float* at(int64_t p, int64_t i) const { return data + p * point + i * row; }
};

/// Weights as they are, [out_channels][in_channels][3][3], or, for the input gradient, as those of a
/// convolution whose channels have changed places and whose kernel is turned around:
/// [in_channels][out_channels][3][3]. Channels are those of a phase.
struct Filters {
  const float* w;
  int64_t in_channels, out_channels;
  bool turned;
};

/// Pixels of tiles that come next, brought into the second-level cache a few lines at a time while the
/// present ones are multiplied. Nothing for images whose channels are not last.
class NextTiles {
 public:
  /// Tiles [first, end) of inputs, in about so many steps.
  NextTiles(const TileGrid& g, const Side& in, const float* x, int64_t first, int64_t end, int64_t steps) {
    const ImageLayout& l = in.whole;
    if (l.channel != 1) return;
    const int64_t side = in.phases == 1 ? 4 : 8;  // of a tile, in pixels
    while (first < end && count_ + side <= kMost) {
      const int64_t column = first % g.columns, row = first / g.columns % g.rows;
      const int64_t tiles = std::min(end - first, g.columns - column);
      const float* const image = x + first / (g.columns * g.rows) * l.image;
      const int64_t pixels = std::min(side * tiles, l.w - side * column);
      for (int64_t h = side * row; h < std::min(l.h, side * (row + 1)) && pixels > 0; ++h) {
        lines_[count_] = {reinterpret_cast<const char*>(image + h * l.row + side * column * l.pixel),
                          pixels * l.pixel * static_cast<int64_t>(sizeof(float))};
        total_ += lines_[count_++].bytes;
      }
      first += tiles;
    }
    each_ = ceil_div(total_, steps);
  }
  void step() {
    for (int64_t left = each_; left > 0 && next_ < count_; left -= 64, at_ += 64) {
      if (at_ >= lines_[next_].bytes) at_ = 0, ++next_;
      if (next_ < count_) __builtin_prefetch(lines_[next_].from + at_, 0, 2);
    }
  }

 private:
  static constexpr int64_t kMost = 160;
  struct Line {
    const char* from;
    int64_t bytes;
  };
  Line lines_[kMost];
  int64_t count_ = 0, total_ = 0, each_ = 0, next_ = 0, at_ = 0;
};

/// Where they are for bf16, filters_to_points() rounds pairs of rows, and the others take rounded operands.
/// Channels are those of a side, all phases of it, but for those of filters.
struct WinogradKernels {
  int64_t lanes, tile_rows;  ///< of the micro-kernel
  /// Rounds neighbours within rows [first, end); null in f32, as is the next.
  void (*round_rows)(const Side&, const Points&, int64_t first, int64_t end);
  /// Rounds pairs of the first `rows` rows, channels [c0, c1).
  void (*round_row_pairs)(const Side&, const Points&, int64_t rows, int64_t c0, int64_t c1);
  /// Squares of inputs of tiles [first, end), channels [c0, c1).
  void (*inputs_to_points)(const Side&, const TileGrid&, const float* x, int64_t first, int64_t end,
                           int64_t c0, int64_t c1, const Points&);
  /// Squares of 4x4 gradients of outputs.
  void (*gradients_to_points)(const Side&, const TileGrid&, const float* gy, int64_t first, int64_t end,
                              int64_t c0, int64_t c1, const Points&);
  /// Outputs of channels [k0, k1) of a phase.
  void (*points_to_outputs)(const TiledConv&, const Points&, int64_t phase, int64_t first, int64_t end,
                            int64_t k0, int64_t k1, const float* bias, float* y);
  /// Filters of output channels [k0, k1), for phases [f0, f1) one after the other.
  void (*filters_to_points)(const Scheme&, const Filters&, int64_t f0, int64_t f1, int64_t k0, int64_t k1,
                            const Points&);
  /// The gradients of filters of input channels [c0, c1), output channels [k0, k1), from `ranges` matrices
  /// for each phase, `range` elements apart, of phases `phase` elements apart.
  void (*points_to_filters)(const Scheme&, const Points&, int64_t ranges, int64_t range, int64_t phase,
                            int64_t in_channels, int64_t c0, int64_t c1, int64_t k0, int64_t k1, float* gw);
  /// Products with the filters of a panel of outputs, `width` channels of a phase.
  void (*multiply_points)(const TiledConv&, int64_t phase, const Points& in, int64_t tiles,
                          const Points& filters, int64_t width, const Points& out, NextTiles* next);
  void (*add_products)(const Side& in_side, const Points& in, const Points& gradients, int64_t tiles,
                       int64_t p0, int64_t p1, int64_t c0, int64_t c1, int64_t k0, int64_t k1,
                       bool accumulate, const Points& sums, NextTiles* next);
};

}  // namespace hebb::cpu
