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

constexpr int64_t kLeastTiles = 4;       // with fewer the transformed filters are more than they are worth,
constexpr int64_t kLeastPixels = 512;    // and so are the transforms with fewer tiles times channels
constexpr int64_t kLeastStrided = 16;    // of stride 2, whose filters grow more
constexpr int64_t kLeastHanging = 64;    // of those where less than four fifths of the outputs are wanted
constexpr int64_t kTilesAtOnce = 24;     // by one thread: their points stay in the second-level cache
constexpr int64_t kTilesInCommon = 256;  // of the weight gradient, by all threads: in the third-level cache
constexpr int64_t kTilesOfRange = 48;    // of the weight gradient, by one thread: in the second-level cache
constexpr int64_t kFewBlocks = 4;        // of sums, which each thread has of its own
constexpr int64_t kBlock = 64;           // channels of a block of the weight gradient, in and out
constexpr int64_t kLine = 16;            // channels of a cache line, which threads do not share

/// The stride between the matrices of so many points, of at least `elements`: a number of cache lines whose
/// multiples spread over the sets of a cache. Near a power of two the streams would evict one another.
int64_t point_stride(int64_t count, int64_t elements) {
  constexpr int64_t kSets = 1024, kGroups = 32;
  const int64_t least = ceil_div(elements, 16) | 1;
  int64_t best = least, fewest = count;
  for (int64_t lines = least; fewest > 2 && lines < least + 64; lines += 2) {
    int64_t in_group[kGroups] = {}, most = 0;
    for (int64_t p = 0; p < count; ++p)
      most = std::max(most, ++in_group[p * lines % kSets / (kSets / kGroups)]);
    if (most < fewest) best = lines, fewest = most;
  }
  return best * 16;
}

/// Matrices of `rows` rows of `width` elements, in memory of points_size().
Points points_in(const Scheme& scheme, float* memory, int64_t rows, int64_t width) {
  const int64_t lines = ceil_div(width, 16), row = (lines >= 16 ? lines | 1 : lines) * 16;
  return {memory, point_stride(scheme.points(), rows * row), row};
}
int64_t points_size(const Scheme& scheme, int64_t rows, int64_t width) {
  return scheme.points() * points_in(scheme, nullptr, rows, width).point + 64;
}
/// The same in memory of a thread.
Points points(const Scheme& scheme, ScratchUse memory, int64_t rows, int64_t width) {
  return points_in(scheme, scratch<float>(memory, points_size(scheme, rows, width)), rows, width);
}

const Scheme& scheme_of(const ConvShape& s) { return s.stride_h == 1 ? kStride1 : kStride2; }

Side inputs_of(const ConvShape& s) {
  Side side{scheme_of(s), {s.in_channels, s.in_h, s.in_w, s.channels_last}};
  side.phases = side.scheme.phases;
  if (side.phases == 1) side.whole.top = s.pad_top, side.whole.left = s.pad_left;
  return side;
}
Side outputs_of(const ConvShape& s) {
  return {scheme_of(s), {s.out_channels, s.out_h, s.out_w, s.channels_last}};
}
TileGrid tiles_of(const ConvShape& s) { return {s.batch, s.out_h, s.out_w}; }

TiledConv forward_of(const ConvShape& s) {
  return {inputs_of(s), outputs_of(s), tiles_of(s), s.relu,
          s.stride_h == 1 ? output_sum(s.in_channels) : kGradientSum};
}
TiledConv input_grad_of(const ConvShape& s) {
  if (s.stride_h == 2)
    return {outputs_of(s),
            inputs_of(s),
            {s.batch, ceil_div(s.in_h, 2), ceil_div(s.in_w, 2)},
            false,
            kGradientSum};
  TiledConv conv = forward_of(turned(s));
  conv.longest_sum = kGradientSum;
  return conv;
}

Filters filters_of(const ConvShape& s, const float* w) { return {w, s.in_channels, s.out_channels, false}; }
Filters turned_filters_of(const ConvShape& s, const float* w) {
  return {w, s.out_channels, s.in_channels, true};
}

/// The transformed filters of all panels of outputs.
struct FilterPoints {
  const WinogradKernels& kernel;
  const TiledConv& conv;
  int64_t width = 2 * kernel.lanes;
  int64_t phase_panels = ceil_div(conv.out.phase_channels, width), panels = conv.out.phases * phase_panels;

  int64_t rows() const { return conv.in.channels(); }  // of a panel
  int64_t size() const { return points_size(conv.in.scheme, panels * rows(), width); }
  Points in(float* memory) const { return points_in(conv.in.scheme, memory, panels * rows(), width); }
  Points panel(const Points& all, int64_t i) const { return {all.at(0, i * rows()), all.point, all.row}; }
  int64_t phase(int64_t i) const { return i / phase_panels; }
  /// The panel's channels of its phase.
  int64_t begin(int64_t i) const { return i % phase_panels * width; }
  int64_t end(int64_t i) const { return std::min(conv.out.phase_channels, begin(i) + width); }
  void transform_panel(const Filters& f, int64_t i, const Points& to) const {
    const int64_t first = phase(i), phases = conv.in.phases;
    kernel.filters_to_points(conv.in.scheme, f, first, first + phases, begin(i), end(i), to);
  }
  void transform(const Filters& f, float* memory) const {
    const Points all = in(memory);
    for_each_piece(panels, static_cast<double>(rows() * panels * width * 100),
                   [&](int64_t i) { transform_panel(f, i, panel(all, i)); });
  }
};

/// Tells conv.end of the pixels of tiles [first, end).
void tell_ready(const TiledConv& conv, int64_t first, int64_t end) {
  const TileGrid& g = conv.grid;
  const ImageLayout& y = conv.out.whole;
  while (first < end) {
    const int64_t column = first % g.columns, row = first / g.columns % g.rows,
                  image = first / (g.columns * g.rows), tiles = std::min(end - first, g.columns - column);
    const int64_t from = 4 * column, to = std::min(y.w, 4 * (column + tiles));
    for (int64_t h = 4 * row; h < std::min(y.h, 4 * (row + 1)); ++h)
      conv.end.ready->ready((image * y.h + h) * y.w + from, to - from, y.channels);
    first += tiles;
  }
}

double multiplications(const TiledConv& conv) {
  return static_cast<double>(conv.grid.tiles * conv.in.scheme.points()) *
         static_cast<double>(conv.in.channels() * conv.out.channels());
}

/// Blocks of tiles in turn, each by one thread with all filters, which are transformed before.
void forward_by_tiles(const WinogradKernels& kernel, const TiledConv& conv, const float* x,
                      float* filter_points, const float* bias, float* y) {
  const TileGrid& g = conv.grid;
  const FilterPoints f{kernel, conv};
  const Points filters = f.in(filter_points);
  // As many tiles at once as fill the micro-kernel, fewer where threads would be idle.
  const int64_t fair = ceil_div(g.tiles, cuts_for_threads(1, g.tiles));
  const int64_t each = std::min(ceil_div(fair, kernel.tile_rows) * kernel.tile_rows, kTilesAtOnce);
  for_each_piece(ceil_div(g.tiles, each), multiplications(conv), [&](int64_t block) {
    const int64_t first = block * each, end = std::min(g.tiles, first + each);
    const Points in = points(conv.in.scheme, ScratchUse::kConvColumns, end - first, conv.in.channels());
    const Points out = points(conv.in.scheme, ScratchUse::kConvPixels, end - first, f.width);
    kernel.inputs_to_points(conv.in, g, x, first, end, 0, conv.in.channels(), in);
    if (kernel.round_rows) kernel.round_rows(conv.in, in, 0, end - first);
    NextTiles next(g, conv.in, x, end, std::min(g.tiles, end + each), f.panels * conv.in.scheme.points() * 3);
    for (int64_t i = 0; i < f.panels; ++i) {
      kernel.multiply_points(conv, f.phase(i), in, end - first, f.panel(filters, i), f.end(i) - f.begin(i),
                             out, &next);
      kernel.points_to_outputs(conv, out, f.phase(i), first, end, f.begin(i), f.end(i), bias, y);
    }
    if (conv.end.ready) tell_ready(conv, first, end);
  });
}

/// Panels of outputs in turn, each by one thread with all tiles, which are transformed before: for few tiles
/// of many channels. Filters that are not transformed yet (`filter_points` is null) never leave the caches.
void forward_by_outputs(const WinogradKernels& kernel, const TiledConv& conv, const float* x,
                        const Filters& from, float* filter_points, const float* bias, float* y) {
  const TileGrid& g = conv.grid;
  const Scheme& scheme = conv.in.scheme;
  const FilterPoints f{kernel, conv};
  const int64_t channels = conv.in.channels();
  const Points in = points(scheme, ScratchUse::kConvPartial, g.tiles, channels);
  for_each_piece(ceil_div(channels, kLine), static_cast<double>(g.tiles * channels * 100), [&](int64_t i) {
    kernel.inputs_to_points(conv.in, g, x, 0, g.tiles, i * kLine, std::min(channels, (i + 1) * kLine), in);
  });
  if (kernel.round_rows) {
    for_each_piece(g.tiles, static_cast<double>(g.tiles * channels * scheme.points()),
                   [&](int64_t i) { kernel.round_rows(conv.in, in, i, i + 1); });
  }
  for_each_piece(f.panels, multiplications(conv), [&](int64_t i) {
    const Points filters = filter_points ? f.panel(f.in(filter_points), i)
                                         : points(scheme, ScratchUse::kConvColumns, f.rows(), f.width);
    if (!filter_points) f.transform_panel(from, i, filters);
    for (int64_t first = 0; first < g.tiles; first += 2 * kTilesAtOnce) {
      const int64_t end = std::min(g.tiles, first + 2 * kTilesAtOnce);
      const Points out = points(scheme, ScratchUse::kConvPixels, end - first, f.width);
      kernel.multiply_points(conv, f.phase(i), {in.at(0, first), in.point, in.row}, end - first, filters,
                             f.end(i) - f.begin(i), out, nullptr);
      kernel.points_to_outputs(conv, out, f.phase(i), first, end, f.begin(i), f.end(i), bias, y);
    }
  });
}

// `filter_points` may be null: what winograd_filters() wrote.
void forward(const WinogradKernels& kernel, const TiledConv& conv, const float* x, const Filters& f,
             float* filter_points, const float* bias, float* y) {
  // The transform that is kept for all threads is the smaller one.
  if (conv.grid.tiles < conv.out.channels())
    return forward_by_outputs(kernel, conv, x, f, filter_points, bias, y);
  if (!filter_points) {
    const FilterPoints all{kernel, conv};
    filter_points = scratch<float>(ScratchUse::kConvPartial, all.size());
    all.transform(f, filter_points);
  }
  forward_by_tiles(kernel, conv, x, filter_points, bias, y);
}

/// The sums of the weight gradient, in blocks of channels.
struct SumBlocks {
  const Scheme& scheme;
  int64_t in_channels, out_channels;  // of a phase
  int64_t in = ceil_div(in_channels, kBlock), out = ceil_div(out_channels, kBlock);
  int64_t phase_count = in * out, count = scheme.phases * phase_count;
  explicit SumBlocks(const ConvShape& s)
      : scheme(scheme_of(s)), in_channels(s.in_channels), out_channels(s.out_channels) {}
  /// Calls fn(c0, c1, k0, k1) for the channels of block i, within its phase.
  template <class F>
  void channels_of(int64_t i, F fn) const {
    const int64_t c0 = i % phase_count / out * kBlock, k0 = i % out * kBlock;
    fn(c0, std::min(in_channels, c0 + kBlock), k0, std::min(out_channels, k0 + kBlock));
  }
  /// The first channel of its phase.
  int64_t phase_channel(int64_t i) const { return i / phase_count * in_channels; }
  /// The part of `sums` that is block i's.
  static Points block_of(const Points& sums, int64_t i) {
    return {sums.at(0, i * kBlock), sums.point, sums.row};
  }
  /// The weight gradient, of sums that are the sums of `ranges` such lists of blocks.
  void to_filters(const WinogradKernels& kernel, const Points& sums, int64_t ranges, float* gw) const {
    const int64_t rows = kBlock / kLine;
    for_each_piece(phase_count * rows, static_cast<double>(in_channels * out_channels * scheme.phases * 100),
                   [&](int64_t i) {
                     channels_of(i / rows, [&](int64_t c0, int64_t c1, int64_t k0, int64_t k1) {
                       const int64_t c = c0 + i % rows * kLine;
                       if (c >= c1) return;
                       const Points from = block_of(sums, i / rows);
                       kernel.points_to_filters(scheme, {from.at(0, c - c0), from.point, from.row}, ranges,
                                                count * kBlock * from.row, phase_count * kBlock * from.row,
                                                in_channels, c, std::min(c1, c + kLine), k0, k1, gw);
                     });
                   });
  }
};

/// Ranges of tiles, each by one thread from pixels to sums of its own: no thread reads what another wrote but
/// the sums, which are added in order. For many tiles of few channels. Threads beyond the ranges take some of
/// the outputs of a range, and repeat the transform of its inputs.
void weight_grad_by_ranges(const WinogradKernels& kernel, const ConvShape& s, const float* gy, const float* x,
                           float* gw) {
  const TiledConv conv = forward_of(s);
  const TileGrid& g = conv.grid;
  const Scheme& scheme = conv.in.scheme;
  const SumBlocks blocks(s);
  const int64_t ranges = 4 / std::min<int64_t>(2, blocks.count);  // of the shape alone, as the sums are
  const int64_t groups = std::clamp<int64_t>(ceil_div(num_threads(), ranges), 1, blocks.out);
  const Points sums = points(scheme, ScratchUse::kConvPartial, ranges * blocks.count * kBlock, kBlock);
  for_each_piece(ranges * groups, multiplications(conv), [&](int64_t i) {
    const int64_t range = i / groups, group = i % groups;
    const int64_t begin = g.tiles * range / ranges, end = g.tiles * (range + 1) / ranges;
    const int64_t first_out = blocks.out * group / groups, last_out = blocks.out * (group + 1) / groups;
    const int64_t k_begin = first_out * kBlock, k_end = std::min(s.out_channels, last_out * kBlock);
    const int64_t pieces = ceil_div(end - begin, kTilesOfRange), most = ceil_div(end - begin, pieces);
    const Points in = points(scheme, ScratchUse::kConvColumns, most, conv.in.channels());
    const Points gradients = points(scheme, ScratchUse::kConvPixels, most, s.out_channels);
    for (int64_t t = begin; t < end; t += most) {
      const int64_t stop = std::min(end, t + most);
      kernel.inputs_to_points(conv.in, g, x, t, stop, 0, conv.in.channels(), in);
      kernel.gradients_to_points(conv.out, g, gy, t, stop, k_begin, k_end, gradients);
      if (kernel.round_row_pairs) {
        kernel.round_row_pairs(conv.in, in, stop - t, 0, conv.in.channels());
        kernel.round_row_pairs(conv.out, gradients, stop - t, k_begin, k_end);
      }
      NextTiles next(g, conv.in, x, stop, std::min(end, stop + most), scheme.points() * 12);
      for (int64_t b = 0; b < blocks.count; ++b) {
        if (b % blocks.out < first_out || b % blocks.out >= last_out) continue;
        blocks.channels_of(b, [&](int64_t c0, int64_t c1, int64_t k0, int64_t k1) {
          const int64_t before = blocks.phase_channel(b);
          kernel.add_products(conv.in, in, gradients, stop - t, 0, scheme.points(), before + c0, before + c1,
                              k0, k1, t > begin, blocks.block_of(sums, range * blocks.count + b), &next);
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
  const TiledConv conv = forward_of(s);
  const TileGrid& g = conv.grid;
  const Scheme& scheme = conv.in.scheme;
  const SumBlocks blocks(s);
  const int64_t parts = ceil_div(g.tiles, kTilesInCommon), most = ceil_div(g.tiles, parts);
  const Points in = points(scheme, ScratchUse::kConvColumns, most, conv.in.channels());
  const Points gradients = points(scheme, ScratchUse::kConvPixels, most, s.out_channels);
  // Each block's sums are one thread's and never leave its cache where one part has all tiles; else they are
  // kept from part to part, and threads may take some of the points of a block.
  const bool kept = parts > 1 || blocks.phase_count < 2 * num_threads();
  const int64_t shares =
      kept ? std::min<int64_t>(scheme.points(), cuts_for_threads(blocks.count, scheme.points())) : 1;
  const Points sums =
      kept ? points(scheme, ScratchUse::kConvPartial, blocks.count * kBlock, kBlock) : Points{};
  for (int64_t part = 0; part < parts; ++part) {
    const int64_t first = g.tiles * part / parts, tiles = g.tiles * (part + 1) / parts - first;
    const int64_t pieces = ceil_div(tiles, kRun);
    for_each_piece(
        2 * pieces, static_cast<double>(tiles * (conv.in.channels() + s.out_channels) * 100), [&](int64_t i) {
          const int64_t begin = i / 2 * kRun, stop = std::min(tiles, begin + kRun);
          const Side& side = i % 2 ? conv.out : conv.in;
          const Points& to = i % 2 ? gradients : in;
          const Points there{to.at(0, begin), to.point, to.row};
          const auto transform = i % 2 ? kernel.gradients_to_points : kernel.inputs_to_points;
          transform(side, g, i % 2 ? gy : x, first + begin, first + stop, 0, side.channels(), there);
          if (kernel.round_row_pairs) kernel.round_row_pairs(side, there, stop - begin, 0, side.channels());
        });
    const auto multiply = [&](int64_t b, int64_t p0, int64_t p1, const Points& to) {
      blocks.channels_of(b, [&](int64_t c0, int64_t c1, int64_t k0, int64_t k1) {
        const int64_t before = blocks.phase_channel(b);
        kernel.add_products(conv.in, in, gradients, tiles, p0, p1, before + c0, before + c1, k0, k1, part > 0,
                            to, nullptr);
      });
    };
    const double work = multiplications(conv) / static_cast<double>(parts);
    if (kept) {
      for_each_piece(blocks.count * shares, work, [&](int64_t i) {
        multiply(i / shares, scheme.points() * (i % shares) / shares,
                 scheme.points() * (i % shares + 1) / shares, blocks.block_of(sums, i / shares));
      });
      continue;
    }
    for_each_piece(blocks.phase_count, work, [&](int64_t i) {
      const Points own = points(scheme, ScratchUse::kConvPlanes, scheme.phases * kBlock, kBlock);
      for (int64_t f = 0; f < scheme.phases; ++f)
        multiply(f * blocks.phase_count + i, 0, scheme.points(), blocks.block_of(own, f));
      blocks.channels_of(i, [&](int64_t c0, int64_t c1, int64_t k0, int64_t k1) {
        kernel.points_to_filters(scheme, own, 1, 0, kBlock * own.row, s.in_channels, c0, c1, k0, k1, gw);
      });
    });
  }
  if (kept) blocks.to_filters(kernel, sums, 1, gw);
}

}  // namespace

bool is_winograd(const ConvShape& s) {
  const int64_t tiles = tiles_of(s).tiles, outputs = s.batch * s.out_h * s.out_w;
  const bool fits = s.kernel_h == 3 && s.kernel_w == 3 && s.stride_h == s.stride_w && s.dilation_h == 1 &&
                    s.dilation_w == 1 && s.groups == 1 && std::min(s.in_channels, s.out_channels) >= 16 &&
                    s.out_h >= 3 && s.out_w >= 3;
  if (exact_conv() || !fits) return false;
  if (s.stride_h == 1)
    return std::clamp<int64_t>(s.pad_top, 0, 2) == s.pad_top &&
           std::clamp<int64_t>(s.pad_left, 0, 2) == s.pad_left && tiles >= kLeastTiles &&
           tiles * std::min(s.in_channels, s.out_channels) >= kLeastPixels;
  return s.stride_h == 2 && s.pad_top == 1 && s.pad_left == 1 && s.channels_last && s.in_channels % 16 == 0 &&
         s.out_channels % 16 == 0 && tiles >= (5 * outputs < 4 * 16 * tiles ? kLeastHanging : kLeastStrided);
}
bool is_winograd_forward(const ConvShape& s) {
  return is_winograd(s) && !(s.stride_h == 2 && s.bf16 && multiplies_bf16());
}
bool is_winograd_input_grad(const ConvShape& s) { return is_winograd(s.stride_h == 1 ? turned(s) : s); }

int64_t winograd_filters_size(const ConvShape& s, Pass pass) {
  return FilterPoints{kernels(pass == Pass::input_grad && s.bf16),
                      pass == Pass::forward ? forward_of(s) : input_grad_of(s)}
      .size();
}
void winograd_filters(const ConvShape& s, Pass pass, const float* w, float* out) {
  if (pass == Pass::forward) FilterPoints{kernels(false), forward_of(s)}.transform(filters_of(s, w), out);
  else FilterPoints{kernels(s.bf16), input_grad_of(s)}.transform(turned_filters_of(s, w), out);
}

void winograd_forward(const ConvShape& s, const float* x, const float* w, const float* bias, float* y,
                      const float* filters, const ConvEnd& end) {
  TiledConv conv = forward_of(s);
  conv.end = end;
  forward(kernels(false), conv, x, filters_of(s, w), const_cast<float*>(filters), bias, y);
}

void winograd_input_grad(const ConvShape& s, const float* gy, const float* w, float* gx, const float* filters,
                         RowsReady* ready) {
  TiledConv conv = input_grad_of(s);
  if (s.stride_h == 1) conv.end.ready = ready;  // else tiles are of phases
  forward(kernels(s.bf16), conv, gy, turned_filters_of(s, w), const_cast<float*>(filters), nullptr, gx);
}

void winograd_weight_grad(const ConvShape& s, const float* gy, const float* x, float* gw) {
  const WinogradKernels kernel = kernels(s.bf16);
  if (tiles_of(s).tiles > kTilesInCommon && SumBlocks(s).count <= kFewBlocks) {
    weight_grad_by_ranges(kernel, s, gy, x, gw);
  } else {
    weight_grad_by_blocks(kernel, s, gy, x, gw);
  }
}

}  // namespace hebb::cpu
#endif  // HWY_ONCE
