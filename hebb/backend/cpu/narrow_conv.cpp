// Narrow convolutions: a block of images at a time is turned so that lanes run over its images, and its sums
// are taken directly.
#include "hebb/backend/cpu/narrow_conv.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "hebb/backend/cpu/gemm.h"
#include "hebb/backend/cpu/pieces.h"
#include "hebb/ops/conv.h"

#ifndef HEBB_BACKEND_CPU_NARROW_CONV_TYPES_  // this file is compiled once for every instruction set
#define HEBB_BACKEND_CPU_NARROW_CONV_TYPES_
namespace hebb::cpu {
namespace {

/// Sizes that follow from a shape.
struct NarrowSizes {
  int64_t width;         ///< of a row of a plane, with the zeros beside it
  int64_t rows_at_once;  ///< rows of outputs that are computed before they are turned back
  explicit NarrowSizes(const ConvShape& s)
      : width((s.out_w - 1) * s.stride_w + (s.kernel_w - 1) * s.dilation_w + 1),
        rows_at_once(std::max<int64_t>(2, 128 / s.out_w / 2 * 2)) {}  // even, for pooling
};

/// Where outputs go: as they are, or the largest of each window of 2x2, and where those stood.
struct NarrowOutputs {
  float* y;
  int64_t* places = nullptr;  // or null
  bool pooled = false;

  int64_t plane(const ConvShape& s) const { return pooled ? s.out_h / 2 * (s.out_w / 2) : s.out_h * s.out_w; }
  /// Those of images from `image` on.
  NarrowOutputs from(const ConvShape& s, int64_t image) const {
    const int64_t before = image * s.out_channels * plane(s);
    return {y + before, places ? places + before : nullptr, pooled};
  }
};

constexpr int kTileChannels = 6;  // of outputs that are computed side by side
constexpr int kSumChannels = 4;   // of outputs whose weight gradients are summed side by side, at most
constexpr int kPoints = 8;        // of a tile of Winograd's algorithm along rows

/// Rows of outputs in tiles, as that algorithm takes them.
struct RowTiles {
  int64_t outputs;       ///< of a tile
  int64_t count;         ///< of tiles in a row
  int64_t width;         ///< of a row of inputs, with the zeros beside it
  int64_t rows_at_once;  ///< rows of outputs whose sums at the points are kept
  explicit RowTiles(const ConvShape& s)
      : outputs(kPoints + 1 - s.kernel_w),
        count((s.out_w + outputs - 1) / outputs),
        width(count * outputs + s.kernel_w - 1),
        rows_at_once(std::max<int64_t>(1, 16 / count)) {}
};

/// Some neighbouring taps.
struct Taps {
  int64_t first, count;
};
/// The taps under which at least one of `n` outputs finds an input: those of output 0 are at `at` + tap *
/// dilation - pad, those of the next ones `step` further on each.
Taps taps_inside(int64_t at, int64_t n, int64_t step, int64_t dilation, int64_t taps, int64_t pad,
                 int64_t size) {
  const int64_t before = pad - (at + (n - 1) * step), behind = pad + size - at;
  const int64_t first = before <= 0 ? 0 : std::min(taps, ceil_div(before, dilation));
  const int64_t end = behind <= 0 ? 0 : std::min(taps, ceil_div(behind, dilation));
  return {end > first ? first : 0, std::max<int64_t>(0, end - first)};
}

struct NarrowKernels {
  int64_t images;  ///< in a block
  void (*spread_planes)(const ConvShape&, const NarrowSizes&, const float* x, int64_t images, float* out);
  void (*forward_block)(const ConvShape&, const NarrowSizes&, const float* planes, const float* w,
                        const float* bias, int64_t k0, int64_t k1, int64_t images, float* rows_of_y,
                        const NarrowOutputs& out);
  void (*spread_gradients)(const ConvShape&, const float* gy, int64_t k0, int64_t k1, int64_t images,
                           float* out);
  void (*weight_sums)(const ConvShape&, const NarrowSizes&, const float* planes, const float* gradients,
                      int64_t channels, bool add, float* sums);
  void (*sum_images)(const float* sums, int64_t n, float* out);
  // By Winograd's algorithm along rows.
  void (*transform_taps)(int64_t rows, int64_t taps, const float* w, float* u);
  void (*transform_tap_gradients)(int64_t rows, int64_t taps, const float* u, float* w);
  void (*points_of_images)(const ConvShape&, const RowTiles&, const float* x, int64_t images, int64_t above,
                           int64_t rows, float* plane, float* out, int64_t stride);
  void (*forward_points)(const ConvShape&, const RowTiles&, const float* v, int64_t v_stride, const float* u,
                         const float* bias, int64_t k0, int64_t k1, int64_t images, float* sums,
                         float* rows_of_y, const NarrowOutputs& out);
  void (*point_sums)(const ConvShape&, const RowTiles&, const float* v, int64_t v_stride, int64_t v_rows,
                     const float* gradients, int64_t channels, bool add, float* points, float* sums,
                     int64_t sums_stride);
};

}  // namespace
}  // namespace hebb::cpu
#endif

#include "hebb/backend/cpu/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hebb/backend/cpu/narrow_conv.cpp"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "hebb/backend/cpu/row_winograd-inl.h"

#if HWY_ONCE
namespace hebb::cpu {
namespace {

HWY_EXPORT(narrow_kernels);

constexpr int64_t kNarrow = 8;              // channels
constexpr int64_t kLeastImages = 8;         // else lanes stay empty
constexpr int64_t kPlaneBytes = 384 << 10;  // of a block: it stays in the second-level cache
constexpr int64_t kGradientChannels = 12;   // that are turned at once: a multiple of all tiles' channels

/// Into how many ranges of output channels blocks of images are cut: none where they share out evenly.
int64_t cuts_of_blocks(const ConvShape& s, int64_t blocks) {
  return blocks % num_threads() == 0 ? 1 : cuts_for_threads(blocks, ceil_div(s.out_channels, 4));
}

/// Calls fn(first, images, k0, k1) for all blocks of images and ranges of output channels, in parallel.
template <class F>
void each_block(const ConvShape& s, int64_t images_each, F fn) {
  const int64_t blocks = ceil_div(s.batch, images_each), cuts = cuts_of_blocks(s, blocks);
  for_each_piece(blocks * cuts, multiplications(s), [&](int64_t i) {
    const int64_t first = i / cuts * images_each, cut = i % cuts;
    fn(first, std::min(images_each, s.batch - first), s.out_channels * cut / cuts,
       s.out_channels * (cut + 1) / cuts);
  });
}

constexpr int64_t kPointBytes = 768 << 10;  // of a block of images at the points

void row_winograd_forward(const ConvShape& s, const float* x, const float* w, const float* bias,
                          const NarrowOutputs& out) {
  const NarrowKernels kernel = HWY_DYNAMIC_DISPATCH(narrow_kernels)();
  const RowTiles t(s);
  const int64_t rows = s.out_channels * s.in_channels * s.kernel_h;
  float* const u = scratch<float>(ScratchUse::kConvPartial, kPoints * rows);
  kernel.transform_taps(rows, s.kernel_w, w, u);
  each_block(s, kernel.images, [&](int64_t first, int64_t images, int64_t k0, int64_t k1) {
    const int64_t stride = (s.in_channels * s.in_h * t.count + 1) * kernel.images;
    const int64_t plane = s.in_h * t.width * kernel.images;
    const int64_t turned =
        kTileChannels * (NarrowSizes(s).rows_at_once * s.out_w + t.outputs) * kernel.images;
    float* const v = scratch<float>(ScratchUse::kConvPlanes, kPoints * stride + plane);
    float* const sums = scratch<float>(ScratchUse::kConvColumns,
                                       kPoints * kTileChannels * t.rows_at_once * t.count * kernel.images);
    kernel.points_of_images(s, t, x + first * s.in_channels * s.in_h * s.in_w, images, 0, s.in_h,
                            v + kPoints * stride, v, stride);
    kernel.forward_points(s, t, v, stride, u, bias, k0, k1, images, sums,
                          scratch<float>(ScratchUse::kConvPixels, turned), out.from(s, first));
  });
}

}  // namespace

bool is_row_winograd(const ConvShape& s) {
  if (exact_conv() || s.stride_w != 1 || s.dilation_w != 1 || s.kernel_w < 5 || s.kernel_w > 7) return false;
  // A tile's inputs and outputs are transformed for about 32 and 24 products each.
  const RowTiles t(s);
  const int64_t products = s.in_channels * s.out_channels * s.kernel_h;
  const int64_t work = t.count * (kPoints * products + 32 * s.in_channels * s.stride_h + 24 * s.out_channels);
  return 5 * s.out_w * s.kernel_w * products >= 6 * work &&
         kPoints * s.in_channels * s.in_h * t.count * 16 * int64_t{sizeof(float)} <= kPointBytes;
}

bool is_narrow(const ConvShape& s) {
  const int64_t most = 16 * static_cast<int64_t>(sizeof(float));  // bytes of a pixel of a block
  return s.groups == 1 && s.kernel_h * s.kernel_w > 1 && std::min(s.in_channels, s.out_channels) <= kNarrow &&
         s.batch >= kLeastImages && s.pad_top >= 0 && s.pad_left >= 0 && s.out_h > 0 && s.out_w > 0 &&
         s.in_channels > 0 && s.out_channels > 0 &&
         s.in_channels * s.in_h * NarrowSizes(s).width * most <= kPlaneBytes;
}

namespace {

void forward(const ConvShape& s, const float* x, const float* w, const float* bias,
             const NarrowOutputs& out) {
  if (is_row_winograd(s)) return row_winograd_forward(s, x, w, bias, out);
  const NarrowKernels kernel = HWY_DYNAMIC_DISPATCH(narrow_kernels)();
  const NarrowSizes z(s);
  each_block(s, kernel.images, [&](int64_t first, int64_t images, int64_t k0, int64_t k1) {
    float* planes = scratch<float>(ScratchUse::kConvPlanes, s.in_channels * s.in_h * z.width * kernel.images);
    float* rows =
        scratch<float>(ScratchUse::kConvPixels, kTileChannels * z.rows_at_once * s.out_w * kernel.images);
    kernel.spread_planes(s, z, x + first * s.in_channels * s.in_h * s.in_w, images, planes);
    kernel.forward_block(s, z, planes, w, bias, k0, k1, images, rows, out.from(s, first));
  });
}

}  // namespace

void narrow_forward(const ConvShape& s, const float* x, const float* w, const float* bias, float* y) {
  forward(s, x, w, bias, {y});
}
void narrow_forward_pooled(const ConvShape& s, const float* x, const float* w, const float* bias, float* y,
                           int64_t* places) {
  forward(s, x, w, bias, {y, places, true});
}

bool is_narrow_input_grad(const ConvShape& s) {
  return s.stride_h == 1 && s.stride_w == 1 && is_narrow(turned(s));
}

void narrow_input_grad(const ConvShape& s, const float* gy, const float* w, float* gx) {
  const int64_t taps = s.kernel_h * s.kernel_w;
  std::vector<float> kernel(static_cast<size_t>(s.in_channels * s.out_channels * taps));
  for (int64_t k = 0; k < s.out_channels; ++k) {
    for (int64_t c = 0; c < s.in_channels; ++c) {
      const float* from = w + (k * s.in_channels + c) * taps;
      std::reverse_copy(from, from + taps, kernel.begin() + (c * s.out_channels + k) * taps);
    }
  }
  narrow_forward(turned(s), gy, kernel.data(), nullptr, gx);
}

namespace {

/// Part of a gradient of weights: blocks of images [begin, end), output channels [k0, k1).
struct WeightPiece {
  const float *x, *gy;
  float* gw;  ///< of all channels
  int64_t begin, end, k0, k1;
};

void direct_weight_grad(const ConvShape& s, const NarrowKernels& kernel, const WeightPiece& part) {
  const NarrowSizes z(s);
  const int64_t depth = s.in_channels * s.kernel_h * s.kernel_w, pixels = s.out_h * s.out_w;
  const int64_t channels = part.k1 - part.k0;
  float* planes = scratch<float>(ScratchUse::kConvPlanes, s.in_channels * s.in_h * z.width * kernel.images);
  float* gradients = scratch<float>(ScratchUse::kConvPixels, kGradientChannels * pixels * kernel.images);
  float* sums = scratch<float>(ScratchUse::kConvColumns, channels * depth * kernel.images);
  for (int64_t block = part.begin; block < part.end; ++block) {
    const int64_t first = block * kernel.images, images = std::min(kernel.images, s.batch - first);
    kernel.spread_planes(s, z, part.x + first * s.in_channels * s.in_h * s.in_w, images, planes);
    for (int64_t k = part.k0; k < part.k1; k += kGradientChannels) {
      const int64_t k_end = std::min(k + kGradientChannels, part.k1);
      kernel.spread_gradients(s, part.gy + first * s.out_channels * pixels, k, k_end, images, gradients);
      kernel.weight_sums(s, z, planes, gradients, k_end - k, block > part.begin,
                         sums + (k - part.k0) * depth * kernel.images);
    }
  }
  kernel.sum_images(sums, channels * depth, part.gw + part.k0 * depth);
}

void row_winograd_weight_grad(const ConvShape& s, const NarrowKernels& kernel, const WeightPiece& part) {
  const RowTiles t(s);
  const int64_t depth = s.in_channels * s.kernel_h, pixels = s.out_h * s.out_w;
  const int64_t channels = part.k1 - part.k0;
  const int64_t in_rows = (s.out_h - 1) * s.stride_h + (s.kernel_h - 1) * s.dilation_h + 1;
  const int64_t v_stride = (s.in_channels * in_rows * t.count + 1) * kernel.images;
  const int64_t sums_stride = channels * depth * kernel.images;
  float* const v =
      scratch<float>(ScratchUse::kConvPlanes, kPoints * v_stride + s.in_h * t.width * kernel.images);
  float* const gradients = scratch<float>(
      ScratchUse::kConvPixels, kGradientChannels * pixels * kernel.images +
                                   kPoints * (kSumChannels * s.out_h * t.count + 1) * kernel.images);
  float* const points = gradients + kGradientChannels * pixels * kernel.images;
  float* const sums = scratch<float>(ScratchUse::kConvColumns, kPoints * (sums_stride + channels * depth));
  for (int64_t block = part.begin; block < part.end; ++block) {
    const int64_t first = block * kernel.images, images = std::min(kernel.images, s.batch - first);
    kernel.points_of_images(s, t, part.x + first * s.in_channels * s.in_h * s.in_w, images, s.pad_top,
                            in_rows, v + kPoints * v_stride, v, v_stride);
    for (int64_t k = part.k0; k < part.k1; k += kGradientChannels) {
      const int64_t k_end = std::min(k + kGradientChannels, part.k1);
      kernel.spread_gradients(s, part.gy + first * s.out_channels * pixels, k, k_end, images, gradients);
      kernel.point_sums(s, t, v, v_stride, in_rows, gradients, k_end - k, block > part.begin, points,
                        sums + (k - part.k0) * depth * kernel.images, sums_stride);
    }
  }
  float* const totals = sums + kPoints * sums_stride;
  kernel.sum_images(sums, kPoints * channels * depth, totals);
  kernel.transform_tap_gradients(channels * depth, s.kernel_w, totals,
                                 part.gw + part.k0 * depth * s.kernel_w);
}

}  // namespace

// Chunks of blocks, each with its own sums, which are added in order. Their number depends on the shape and
// the lanes alone.
void narrow_weight_grad(const ConvShape& s, const float* gy, const float* x, float* gw) {
  const NarrowKernels kernel = HWY_DYNAMIC_DISPATCH(narrow_kernels)();
  constexpr int64_t kMaxChunks = 16;
  const int64_t depth = s.in_channels * s.kernel_h * s.kernel_w, weights = s.out_channels * depth;
  const int64_t blocks = ceil_div(s.batch, kernel.images), chunks = std::min(kMaxChunks, blocks);
  const int64_t cuts = cuts_of_blocks(s, chunks);
  const bool by_rows = is_row_winograd(s);
  float* const partial = scratch<float>(ScratchUse::kConvPartial, chunks * weights);
  for_each_piece(chunks * cuts, multiplications(s), [&](int64_t i) {
    const int64_t chunk = i / cuts;
    const int64_t k0 = s.out_channels * (i % cuts) / cuts, k1 = s.out_channels * (i % cuts + 1) / cuts;
    const int64_t begin = blocks * chunk / chunks, end = blocks * (chunk + 1) / chunks;
    const WeightPiece part{x, gy, partial + chunk * weights, begin, end, k0, k1};
    by_rows ? row_winograd_weight_grad(s, kernel, part) : direct_weight_grad(s, kernel, part);
  });
  std::copy(partial, partial + weights, gw);
  for (int64_t chunk = 1; chunk < chunks; ++chunk)
    for (int64_t i = 0; i < weights; ++i) gw[i] += partial[chunk * weights + i];
}

}  // namespace hebb::cpu
#endif  // HWY_ONCE
