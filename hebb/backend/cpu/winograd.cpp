// Winograd convolutions: which threads transform and multiply which tiles and channels, and in what memory.
#include "hebb/backend/cpu/winograd.h"

#include <hwy/cache_control.h>

#include <algorithm>

#include "hebb/backend/cpu/gemm.h"
#include "hebb/backend/cpu/pieces.h"
#include "hebb/backend/cpu/targets.h"
#include "hebb/backend/cpu/winograd_tiles.h"
#include "hebb/ops/conv.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hebb/backend/cpu/winograd.cpp"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "hebb/backend/cpu/winograd-inl.h"

#if HWY_ONCE
namespace hebb::cpu {
namespace {

HWY_EXPORT(winograd_kernels);

WinogradKernels kernels(bool bf16) {
  return HWY_DYNAMIC_DISPATCH(winograd_kernels)(bf16 && multiplies_bf16());
}

constexpr int64_t kLeastTiles = 4;       // with fewer the transformed filters are more than they are worth
constexpr int64_t kTilesAtOnce = 24;     // by one thread: their points stay in the second-level cache
constexpr int64_t kTilesInCommon = 256;  // of the weight gradient, by all threads: in the third-level cache
constexpr int64_t kTilesOfRange = 48;    // of the weight gradient, by one thread: in the second-level cache
constexpr int64_t kFewBlocks = 4;        // of sums, which each thread has of its own
constexpr int64_t kBlock = 64;           // channels of a block of the weight gradient, in and out
constexpr int64_t kLine = 16;            // channels of a cache line, which threads do not share

/// The stride between the matrices of the points, of at least `elements`: a number of cache lines whose
/// multiples spread over the sets of a cache. Near a power of two 36 streams would evict one another.
int64_t point_stride(int64_t elements) {
  constexpr int64_t kSets = 1024, kGroups = 32;
  const int64_t least = ceil_div(elements, 16) | 1;
  int64_t best = least, fewest = kPoints;
  for (int64_t lines = least; fewest > 2 && lines < least + 64; lines += 2) {
    int64_t in_group[kGroups] = {}, most = 0;
    for (int64_t p = 0; p < kPoints; ++p)
      most = std::max(most, ++in_group[p * lines % kSets / (kSets / kGroups)]);
    if (most < fewest) best = lines, fewest = most;
  }
  return best * 16;
}

/// Matrices of `rows` rows of `width` elements, in memory of points_size().
Points points_in(float* memory, int64_t rows, int64_t width) {
  const int64_t lines = ceil_div(width, 16), row = (lines >= 16 ? lines | 1 : lines) * 16;
  return {memory, point_stride(rows * row), row};
}
int64_t points_size(int64_t rows, int64_t width) {
  return kPoints * points_in(nullptr, rows, width).point + 64;
}
/// The same in memory of a thread.
Points points(ScratchUse memory, int64_t rows, int64_t width) {
  return points_in(scratch<float>(memory, points_size(rows, width)), rows, width);
}

/// The transformed filters of all panels of outputs.
struct FilterPoints {
  int64_t width, panels, in_channels, out_channels;
  FilterPoints(const WinogradKernels& kernel, const ConvShape& s)
      : width(2 * kernel.lanes),
        panels(ceil_div(s.out_channels, width)),
        in_channels(s.in_channels),
        out_channels(s.out_channels) {}
  int64_t size() const { return points_size(panels * in_channels, width); }
  Points in(float* memory) const { return points_in(memory, panels * in_channels, width); }
  Points panel(const Points& all, int64_t i) const {
    return {all.at(0, i * in_channels), all.point, all.row};
  }
  void transform(const WinogradKernels& kernel, const Filters& f, float* memory) const {
    const Points all = in(memory);
    for_each_piece(panels, static_cast<double>(in_channels * out_channels * 100), [&](int64_t i) {
      kernel.filters_to_points(f, i * width, std::min(out_channels, (i + 1) * width), panel(all, i));
    });
  }
};

double multiplications(const ConvShape& s, const TileGrid& g) {
  return static_cast<double>(g.tiles * kPoints) * static_cast<double>(s.in_channels * s.out_channels);
}

/// Blocks of tiles in turn, each by one thread with all filters, which are transformed before.
void forward_by_tiles(const WinogradKernels& kernel, const ConvShape& s, const float* x, float* filter_points,
                      const float* bias, float* y) {
  const TileGrid g(s);
  const FilterPoints f(kernel, s);
  const Points filters = f.in(filter_points);
  // As many tiles at once as fill the micro-kernel, fewer where threads would be idle.
  const int64_t fair = ceil_div(g.tiles, cuts_for_threads(1, g.tiles));
  const int64_t each = std::min(ceil_div(fair, kernel.tile_rows) * kernel.tile_rows, kTilesAtOnce);
  for_each_piece(ceil_div(g.tiles, each), multiplications(s, g), [&](int64_t block) {
    const int64_t first = block * each, end = std::min(g.tiles, first + each);
    const Points in = points(ScratchUse::kConvColumns, end - first, s.in_channels);
    const Points out = points(ScratchUse::kConvPixels, end - first, f.width);
    kernel.inputs_to_points(s, g, x, first, end, 0, s.in_channels, in);
    if (kernel.round_rows) kernel.round_rows(in, 0, end - first, s.in_channels);
    NextTiles next(g, inputs_of(s), x, end, std::min(g.tiles, end + each), f.panels * kPoints * 3);
    for (int64_t i = 0; i < f.panels; ++i) {
      const int64_t k0 = i * f.width, k1 = std::min(s.out_channels, k0 + f.width);
      kernel.multiply_points(in, end - first, s.in_channels, f.panel(filters, i), k1 - k0, out, &next);
      kernel.points_to_outputs(s, g, out, first, end, k0, k1, bias, y);
    }
  });
}

/// Panels of outputs in turn, each by one thread with all tiles, which are transformed before: for few tiles
/// of many channels. Filters that are not transformed yet (`filter_points` is null) never leave the caches.
void forward_by_outputs(const WinogradKernels& kernel, const ConvShape& s, const float* x,
                        const Filters& from, float* filter_points, const float* bias, float* y) {
  const TileGrid g(s);
  const FilterPoints f(kernel, s);
  const Points in = points(ScratchUse::kConvPartial, g.tiles, s.in_channels);
  for_each_piece(
      ceil_div(s.in_channels, kLine), static_cast<double>(g.tiles * s.in_channels * 100), [&](int64_t i) {
        kernel.inputs_to_points(s, g, x, 0, g.tiles, i * kLine, std::min(s.in_channels, (i + 1) * kLine), in);
      });
  if (kernel.round_rows) {
    for_each_piece(g.tiles, static_cast<double>(g.tiles * s.in_channels * 36),
                   [&](int64_t i) { kernel.round_rows(in, i, i + 1, s.in_channels); });
  }
  for_each_piece(f.panels, multiplications(s, g), [&](int64_t i) {
    const int64_t k0 = i * f.width, k1 = std::min(s.out_channels, k0 + f.width);
    const Points filters = filter_points ? f.panel(f.in(filter_points), i)
                                         : points(ScratchUse::kConvColumns, s.in_channels, f.width);
    if (!filter_points) kernel.filters_to_points(from, k0, k1, filters);
    for (int64_t first = 0; first < g.tiles; first += 2 * kTilesAtOnce) {
      const int64_t end = std::min(g.tiles, first + 2 * kTilesAtOnce);
      const Points out = points(ScratchUse::kConvPixels, end - first, f.width);
      kernel.multiply_points({in.at(0, first), in.point, in.row}, end - first, s.in_channels, filters,
                             k1 - k0, out, nullptr);
      kernel.points_to_outputs(s, g, out, first, end, k0, k1, bias, y);
    }
  });
}

// `filter_points` may be null: what winograd_filters() wrote.
void forward(const WinogradKernels& kernel, const ConvShape& s, const float* x, const Filters& f,
             float* filter_points, const float* bias, float* y) {
  // The transform that is kept for all threads is the smaller one.
  if (TileGrid(s).tiles < s.in_channels) return forward_by_outputs(kernel, s, x, f, filter_points, bias, y);
  if (!filter_points) {
    const FilterPoints all(kernel, s);
    filter_points = scratch<float>(ScratchUse::kConvPartial, all.size());
    all.transform(kernel, f, filter_points);
  }
  forward_by_tiles(kernel, s, x, filter_points, bias, y);
}

/// The sums of the weight gradient, in blocks of channels.
struct SumBlocks {
  int64_t in_channels, out_channels, in, out, count;
  explicit SumBlocks(const ConvShape& s)
      : in_channels(s.in_channels),
        out_channels(s.out_channels),
        in(ceil_div(in_channels, kBlock)),
        out(ceil_div(out_channels, kBlock)),
        count(in * out) {}
  /// Calls fn(c0, c1, k0, k1) for the channels of block i.
  template <class F>
  void channels_of(int64_t i, F fn) const {
    const int64_t c0 = i / out * kBlock, k0 = i % out * kBlock;
    fn(c0, std::min(in_channels, c0 + kBlock), k0, std::min(out_channels, k0 + kBlock));
  }
  /// The part of `sums` that is block i's.
  static Points block_of(const Points& sums, int64_t i) {
    return {sums.at(0, i * kBlock), sums.point, sums.row};
  }
  /// The weight gradient, of sums that are the sums of `ranges` such lists of blocks.
  void to_filters(const WinogradKernels& kernel, const Points& sums, int64_t ranges, float* gw) const {
    const int64_t rows = kBlock / kLine;
    for_each_piece(count * rows, static_cast<double>(in_channels * out_channels * 100), [&](int64_t i) {
      channels_of(i / rows, [&](int64_t c0, int64_t c1, int64_t k0, int64_t k1) {
        const int64_t c = c0 + i % rows * kLine;
        if (c >= c1) return;
        const Points from = block_of(sums, i / rows);
        kernel.points_to_filters({from.at(0, c - c0), from.point, from.row}, ranges,
                                 count * kBlock * from.row, in_channels, c, std::min(c1, c + kLine), k0, k1,
                                 gw);
      });
    });
  }
};

/// Ranges of tiles, each by one thread from pixels to sums of its own: no thread reads what another wrote but
/// the sums, which are added in order. For many tiles of few channels. Threads beyond the ranges take some of
/// the outputs of a range, and repeat the transform of its inputs.
void weight_grad_by_ranges(const WinogradKernels& kernel, const ConvShape& s, const float* gy, const float* x,
                           float* gw) {
  const TileGrid g(s);
  const SumBlocks blocks(s);
  const int64_t ranges = 4 / std::min<int64_t>(2, blocks.count);  // of the shape alone, as the sums are
  const int64_t groups = std::clamp<int64_t>(ceil_div(num_threads(), ranges), 1, blocks.out);
  const Points sums = points(ScratchUse::kConvPartial, ranges * blocks.count * kBlock, kBlock);
  for_each_piece(ranges * groups, multiplications(s, g), [&](int64_t i) {
    const int64_t range = i / groups, group = i % groups;
    const int64_t begin = g.tiles * range / ranges, end = g.tiles * (range + 1) / ranges;
    const int64_t first_out = blocks.out * group / groups, last_out = blocks.out * (group + 1) / groups;
    const int64_t pieces = ceil_div(end - begin, kTilesOfRange), most = ceil_div(end - begin, pieces);
    const Points in = points(ScratchUse::kConvColumns, most, s.in_channels);
    const Points gradients = points(ScratchUse::kConvPixels, most, s.out_channels);
    for (int64_t t = begin; t < end; t += most) {
      const int64_t stop = std::min(end, t + most);
      kernel.inputs_to_points(s, g, x, t, stop, 0, s.in_channels, in);
      kernel.gradients_to_points(s, g, gy, t, stop, first_out * kBlock,
                                 std::min(s.out_channels, last_out * kBlock), gradients);
      if (kernel.round_row_pairs) {
        kernel.round_row_pairs(in, stop - t, 0, s.in_channels);
        kernel.round_row_pairs(gradients, stop - t, first_out * kBlock,
                               std::min(s.out_channels, last_out * kBlock));
      }
      NextTiles next(g, inputs_of(s), x, stop, std::min(end, stop + most), kPoints * 12);
      for (int64_t b = 0; b < blocks.count; ++b) {
        if (b % blocks.out < first_out || b % blocks.out >= last_out) continue;
        blocks.channels_of(b, [&](int64_t c0, int64_t c1, int64_t k0, int64_t k1) {
          kernel.add_products(in, gradients, stop - t, 0, kPoints, c0, c1, k0, k1, t > begin,
                              blocks.block_of(sums, range * blocks.count + b), &next);
        });
      }
    }
  });
  blocks.to_filters(kernel, sums, ranges, gw);
}

/// Many tiles at a time are transformed by all threads, then multiplied by all threads: where the sums are
/// cut depends on the shape alone.
void weight_grad_by_blocks(const WinogradKernels& kernel, const ConvShape& s, const float* gy, const float* x,
                           float* gw) {
  const TileGrid g(s);
  const SumBlocks blocks(s);
  const int64_t parts = ceil_div(g.tiles, kTilesInCommon), most = ceil_div(g.tiles, parts);
  const Points in = points(ScratchUse::kConvColumns, most, s.in_channels);
  const Points gradients = points(ScratchUse::kConvPixels, most, s.out_channels);
  // Each block's sums are one thread's and never leave its cache where one part has all tiles; else they are
  // kept from part to part, and threads may take some of the points of a block.
  const bool kept = parts > 1 || blocks.count < 2 * num_threads();
  const int64_t shares = kept ? std::min<int64_t>(kPoints, cuts_for_threads(blocks.count, kPoints)) : 1;
  const Points sums = kept ? points(ScratchUse::kConvPartial, blocks.count * kBlock, kBlock) : Points{};
  for (int64_t part = 0; part < parts; ++part) {
    const int64_t first = g.tiles * part / parts, tiles = g.tiles * (part + 1) / parts - first;
    const int64_t pieces = ceil_div(tiles, kRun);
    for_each_piece(
        2 * pieces, static_cast<double>(tiles * (s.in_channels + s.out_channels) * 100), [&](int64_t i) {
          const int64_t begin = i / 2 * kRun, stop = std::min(tiles, begin + kRun);
          const Points& to = i % 2 ? gradients : in;
          const Points there{to.at(0, begin), to.point, to.row};
          if (i % 2)
            kernel.gradients_to_points(s, g, gy, first + begin, first + stop, 0, s.out_channels, there);
          else kernel.inputs_to_points(s, g, x, first + begin, first + stop, 0, s.in_channels, there);
          if (kernel.round_row_pairs)
            kernel.round_row_pairs(there, stop - begin, 0, i % 2 ? s.out_channels : s.in_channels);
        });
    const double work = multiplications(s, g) / static_cast<double>(parts);
    for_each_piece(blocks.count * shares, work, [&](int64_t i) {
      const int64_t b = i / shares, p0 = kPoints * (i % shares) / shares,
                    p1 = kPoints * (i % shares + 1) / shares;
      blocks.channels_of(b, [&](int64_t c0, int64_t c1, int64_t k0, int64_t k1) {
        const Points to = kept ? blocks.block_of(sums, b) : points(ScratchUse::kConvPlanes, kBlock, kBlock);
        kernel.add_products(in, gradients, tiles, p0, p1, c0, c1, k0, k1, part > 0, to, nullptr);
        if (!kept) kernel.points_to_filters(to, 1, 0, s.in_channels, c0, c1, k0, k1, gw);
      });
    });
  }
  if (kept) blocks.to_filters(kernel, sums, 1, gw);
}

}  // namespace

bool is_winograd(const ConvShape& s) {
  return !exact_conv() && s.kernel_h == 3 && s.kernel_w == 3 && s.stride_h == 1 && s.stride_w == 1 &&
         s.dilation_h == 1 && s.dilation_w == 1 && s.groups == 1 &&
         std::min(s.in_channels, s.out_channels) >= 16 && s.pad_top >= 0 && s.pad_left >= 0 &&
         s.pad_top <= 2 && s.pad_left <= 2 && s.out_h >= 3 && s.out_w >= 3 &&
         TileGrid(s).tiles >= kLeastTiles;
}

int64_t winograd_filters_size(const ConvShape& s) { return FilterPoints(kernels(false), s).size(); }
void winograd_filters(const ConvShape& s, const float* w, float* out) {
  const WinogradKernels kernel = kernels(false);
  FilterPoints(kernel, s).transform(kernel, {w, s.in_channels, s.out_channels, false}, out);
}

void winograd_forward(const ConvShape& s, const float* x, const float* w, const float* bias, float* y,
                      const float* filters) {
  forward(kernels(false), s, x, {w, s.in_channels, s.out_channels, false}, const_cast<float*>(filters), bias,
          y);
}

void winograd_input_grad(const ConvShape& s, const float* gy, const float* w, float* gx) {
  forward(kernels(s.bf16), turned(s), gy, {w, s.out_channels, s.in_channels, true}, nullptr, nullptr, gx);
}

void winograd_weight_grad(const ConvShape& s, const float* gy, const float* x, float* gw) {
  const WinogradKernels kernel = kernels(s.bf16);
  if (TileGrid(s).tiles > kTilesInCommon && SumBlocks(s).count <= kFewBlocks) {
    weight_grad_by_ranges(kernel, s, gy, x, gw);
  } else {
    weight_grad_by_blocks(kernel, s, gy, x, gw);
  }
}

}  // namespace hebb::cpu
#endif  // HWY_ONCE
