// What the two halves of Winograd's algorithm tell each other: tiles, layouts, matrices of points, and the
// kernels that each instruction set has.
#pragma once
#include <algorithm>

#include "hebb/backend/cpu/conv.h"
#include "hebb/backend/cpu/pieces.h"

namespace hebb::cpu {
constexpr int64_t kPoints = 36;
constexpr int64_t kRun = 8;  // neighbouring tiles that are turned into lanes together, at most

/// The tiles of 4x4 outputs of all images; those at the ends hang over.
struct TileGrid {
  int64_t rows, columns, tiles;
  explicit TileGrid(const ConvShape& s)
      : rows(ceil_div(s.out_h, 4)), columns(ceil_div(s.out_w, 4)), tiles(s.batch * rows * columns) {}
};

/// Images of `channels` planes of h x w: elements from one image, channel, row and pixel to the next.
struct ImageLayout {
  int64_t channels, h, w, image, channel, row, pixel;
  ImageLayout(int64_t n, int64_t height, int64_t width, bool channels_last)
      : channels(n),
        h(height),
        w(width),
        image(n * height * width),
        channel(channels_last ? 1 : height * width),
        row(channels_last ? width * n : width),
        pixel(channels_last ? n : 1) {}
};
ImageLayout inputs_of(const ConvShape& s) { return {s.in_channels, s.in_h, s.in_w, s.channels_last}; }
ImageLayout outputs_of(const ConvShape& s) { return {s.out_channels, s.out_h, s.out_w, s.channels_last}; }

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
/// [in_channels][out_channels][3][3].
struct Filters {
  const float* w;
  int64_t in_channels, out_channels;
  bool turned;
};

/// Pixels of tiles that come next, brought into the second-level cache a few lines at a time while the
/// present ones are multiplied. Nothing for images whose channels are not last.
class NextTiles {
 public:
  /// Tiles [first, end), in about so many steps.
  NextTiles(const TileGrid& g, const ImageLayout& l, const float* x, int64_t first, int64_t end,
            int64_t steps) {
    if (l.channel != 1) return;
    while (first < end && count_ + 4 <= kMost) {
      const int64_t column = first % g.columns, row = first / g.columns % g.rows;
      const int64_t tiles = std::min(end - first, g.columns - column);
      const float* const image = x + first / (g.columns * g.rows) * l.image;
      const int64_t pixels = std::min(4 * tiles, l.w - 4 * column);
      for (int64_t h = 4 * row; h < std::min(l.h, 4 * row + 4) && pixels > 0; ++h) {
        lines_[count_] = {reinterpret_cast<const char*>(image + h * l.row + 4 * column * l.pixel),
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
struct WinogradKernels {
  int64_t lanes, tile_rows;  ///< of the micro-kernel
  /// Rounds neighbours within rows [first, end) of `channels`; null in f32, as is the next.
  void (*round_rows)(const Points&, int64_t first, int64_t end, int64_t channels);
  /// Rounds pairs of the first `rows` rows, channels [c0, c1).
  void (*round_row_pairs)(const Points&, int64_t rows, int64_t c0, int64_t c1);
  void (*inputs_to_points)(const ConvShape&, const TileGrid&, const float* x, int64_t first, int64_t end,
                           int64_t c0, int64_t c1, const Points&);
  void (*gradients_to_points)(const ConvShape&, const TileGrid&, const float* gy, int64_t first, int64_t end,
                              int64_t c0, int64_t c1, const Points&);
  void (*points_to_outputs)(const ConvShape&, const TileGrid&, const Points&, int64_t first, int64_t end,
                            int64_t k0, int64_t k1, const float* bias, float* y);
  void (*filters_to_points)(const Filters&, int64_t k0, int64_t k1, const Points&);
  void (*points_to_filters)(const Points&, int64_t ranges, int64_t range, int64_t in_channels, int64_t c0,
                            int64_t c1, int64_t k0, int64_t k1, float* gw);
  void (*multiply_points)(const Points& in, int64_t tiles, int64_t in_channels, const Points& filters,
                          int64_t width, const Points& out, NextTiles* next);
  void (*add_products)(const Points& in, const Points& gradients, int64_t tiles, int64_t p0, int64_t p1,
                       int64_t c0, int64_t c1, int64_t k0, int64_t k1, bool accumulate, const Points& sums,
                       NextTiles* next);
};

}  // namespace hebb::cpu
