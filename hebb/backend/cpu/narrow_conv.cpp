// Narrow convolutions: a block of images at a time is turned so that lanes run over its images, and its sums
// are taken directly.
#include "hebb/backend/cpu/narrow_conv.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "hebb/backend/cpu/gemm.h"
#include "hebb/backend/cpu/pieces.h"

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
        rows_at_once(std::max<int64_t>(1, 128 / s.out_w)) {}
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
                        float* y);
  void (*spread_gradients)(const ConvShape&, const float* gy, int64_t k0, int64_t k1, int64_t images,
                           float* out);
  void (*weight_sums)(const ConvShape&, const NarrowSizes&, const float* planes, const float* gradients,
                      int64_t channels, bool add, float* sums);
  void (*sum_images)(const float* sums, int64_t n, float* out);
};

}  // namespace
}  // namespace hebb::cpu
#endif

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hebb/backend/cpu/narrow_conv.cpp"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "hebb/backend/cpu/narrow_conv-inl.h"

#if HWY_ONCE
namespace hebb::cpu {
namespace {

HWY_EXPORT(narrow_kernels);

constexpr int64_t kNarrow = 8;              // channels
constexpr int64_t kLeastImages = 8;         // else lanes stay empty
constexpr int64_t kPlaneBytes = 384 << 10;  // of a block: it stays in the second-level cache
constexpr int64_t kGradientChannels = 12;   // that are turned at once: a multiple of all tiles' channels

double multiplications(const ConvShape& s) {
  return static_cast<double>(s.batch * s.out_channels * s.out_h * s.out_w) *
         static_cast<double>(s.in_channels * s.kernel_h * s.kernel_w);
}

}  // namespace

bool is_narrow(const ConvShape& s) {
  const int64_t most = 16 * static_cast<int64_t>(sizeof(float));  // bytes of a pixel of a block
  return s.groups == 1 && s.kernel_h * s.kernel_w > 1 && std::min(s.in_channels, s.out_channels) <= kNarrow &&
         s.batch >= kLeastImages && s.pad_top >= 0 && s.pad_left >= 0 && s.out_h > 0 && s.out_w > 0 &&
         s.in_channels > 0 && s.out_channels > 0 &&
         s.in_channels * s.in_h * NarrowSizes(s).width * most <= kPlaneBytes;
}

void narrow_forward(const ConvShape& s, const float* x, const float* w, const float* bias, float* y) {
  const NarrowKernels kernel = HWY_DYNAMIC_DISPATCH(narrow_kernels)();
  const NarrowSizes z(s);
  const int64_t blocks = ceil_div(s.batch, kernel.images),
                cuts = cuts_for_threads(blocks, ceil_div(s.out_channels, 4));
  for_each_piece(blocks * cuts, multiplications(s), [&](int64_t i) {
    const int64_t first = i / cuts * kernel.images, images = std::min(kernel.images, s.batch - first);
    const int64_t k0 = s.out_channels * (i % cuts) / cuts, k1 = s.out_channels * (i % cuts + 1) / cuts;
    float* planes = scratch<float>(ScratchUse::kConvPlanes, s.in_channels * s.in_h * z.width * kernel.images);
    float* rows = scratch<float>(ScratchUse::kConvPixels, 4 * z.rows_at_once * s.out_w * kernel.images);
    kernel.spread_planes(s, z, x + first * s.in_channels * s.in_h * s.in_w, images, planes);
    kernel.forward_block(s, z, planes, w, bias, k0, k1, images, rows,
                         y + first * s.out_channels * s.out_h * s.out_w);
  });
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

// Chunks of blocks, each with its own sums, which are added in order. Their number depends on the shape and
// the lanes alone.
void narrow_weight_grad(const ConvShape& s, const float* gy, const float* x, float* gw) {
  const NarrowKernels kernel = HWY_DYNAMIC_DISPATCH(narrow_kernels)();
  const NarrowSizes z(s);
  constexpr int64_t kMaxChunks = 16;
  const int64_t depth = s.in_channels * s.kernel_h * s.kernel_w, weights = s.out_channels * depth;
  const int64_t blocks = ceil_div(s.batch, kernel.images), chunks = std::min(kMaxChunks, blocks);
  const int64_t cuts = cuts_for_threads(chunks, ceil_div(s.out_channels, 4)), pixels = s.out_h * s.out_w;
  float* const partial = scratch<float>(ScratchUse::kConvPartial, chunks * weights);
  for_each_piece(chunks * cuts, multiplications(s), [&](int64_t i) {
    const int64_t chunk = i / cuts;
    const int64_t k0 = s.out_channels * (i % cuts) / cuts, k1 = s.out_channels * (i % cuts + 1) / cuts;
    const int64_t begin = blocks * chunk / chunks, end = blocks * (chunk + 1) / chunks;
    float* planes = scratch<float>(ScratchUse::kConvPlanes, s.in_channels * s.in_h * z.width * kernel.images);
    float* gradients = scratch<float>(ScratchUse::kConvPixels, kGradientChannels * pixels * kernel.images);
    float* sums = scratch<float>(ScratchUse::kConvColumns, (k1 - k0) * depth * kernel.images);
    for (int64_t block = begin; block < end; ++block) {
      const int64_t first = block * kernel.images, images = std::min(kernel.images, s.batch - first);
      kernel.spread_planes(s, z, x + first * s.in_channels * s.in_h * s.in_w, images, planes);
      for (int64_t k = k0; k < k1; k += kGradientChannels) {
        const int64_t k_end = std::min(k + kGradientChannels, k1);
        kernel.spread_gradients(s, gy + first * s.out_channels * pixels, k, k_end, images, gradients);
        kernel.weight_sums(s, z, planes, gradients, k_end - k, block > begin,
                           sums + (k - k0) * depth * kernel.images);
      }
    }
    kernel.sum_images(sums, (k1 - k0) * depth, partial + chunk * weights + k0 * depth);
  });
  std::copy(partial, partial + weights, gw);
  for (int64_t chunk = 1; chunk < chunks; ++chunk)
    for (int64_t i = 0; i < weights; ++i) gw[i] += partial[chunk * weights + i];
}

}  // namespace hebb::cpu
#endif  // HWY_ONCE
