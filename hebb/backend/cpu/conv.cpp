// Convolutions as matrix products over blocks of output pixels. A block's columns (for each output pixel the
// inputs under the kernel) are gathered into memory that stays in the second-level cache and multiplied
// there; the columns of a whole image never exist. Small images share a block, so that the products stay wide
// enough. Where blocks are cut that an element's sum runs over depends on the shape alone, never on the
// threads.
#include "hebb/backend/cpu/conv.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "hebb/backend/cpu/gemm.h"
#include "hebb/backend/cpu/narrow_conv.h"
#include "hebb/backend/cpu/pieces.h"
#include "hebb/backend/cpu/winograd.h"

#ifndef HEBB_BACKEND_CPU_CONV_TYPES_  // this file is compiled once for every instruction set
#define HEBB_BACKEND_CPU_CONV_TYPES_
namespace hebb::cpu {
namespace {

/// Some output pixels: [first, first + pixels) of each of `images` images from `image` on.
struct PixelBlock {
  int64_t image, images, first, pixels;
  int64_t columns() const { return images * pixels; }
};

/// Input planes with the zeros that the kernel reaches. Rows have room behind them for whole vectors. The
/// columns of a row can be dealt into phases modulo the stride, `phase_pitch` apart; `taps` then tells where
/// the input of output (0, 0) under each tap stands.
struct PaddedPlanes {
  int64_t h, w, phase_pitch, pitch;
  std::vector<int64_t> taps;
  PaddedPlanes(const ConvShape& s, int64_t phases)
      : h((s.out_h - 1) * s.stride_h + (s.kernel_h - 1) * s.dilation_h + 1),
        w((s.out_w - 1) * s.stride_w + (s.kernel_w - 1) * s.dilation_w + 1),
        phase_pitch((w + phases - 1) / phases + 16),
        pitch(phases * phase_pitch) {
    for (int64_t kh = 0; kh < s.kernel_h; ++kh) {
      for (int64_t kw = 0; kw < s.kernel_w; ++kw) {
        const int64_t at = kw * s.dilation_w;
        taps.push_back(kh * s.dilation_h * pitch + at % phases * phase_pitch + at / phases);
      }
    }
  }
  int64_t size() const { return h * pitch; }
};

template <class T>
struct ConvKernels {
  void (*gather_columns)(const ConvShape&, const T*, const T*, const PixelBlock&, int64_t, int64_t, T*,
                         int64_t);
  void (*scatter_columns)(const ConvShape&, const PaddedPlanes&, const PixelBlock&, int64_t, const T*,
                          int64_t, T*);
  void (*pad_plane)(const ConvShape&, const PaddedPlanes&, const T*, T*);
  void (*depthwise_forward)(const ConvShape&, const PaddedPlanes&, const T*, const T*, T, T*);
  void (*depthwise_input_grad)(const ConvShape&, const PaddedPlanes&, const T*, const T*, T*);
  void (*depthwise_weight_grad)(const ConvShape&, const PaddedPlanes&, const T*, const T*, T*);
};

}  // namespace
}  // namespace hebb::cpu
#endif

#include "hebb/backend/cpu/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hebb/backend/cpu/conv.cpp"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "hebb/backend/cpu/conv-inl.h"

#if HWY_ONCE
namespace hebb::cpu {
namespace {

HWY_EXPORT(conv_kernels_f32);
HWY_EXPORT(conv_kernels_f64);

template <class T>
ConvKernels<T> kernels();
template <>
ConvKernels<float> kernels<float>() {
  return HWY_DYNAMIC_DISPATCH(conv_kernels_f32)();
}
template <>
ConvKernels<double> kernels<double>() {
  return HWY_DYNAMIC_DISPATCH(conv_kernels_f64)();
}

constexpr int64_t kColumnBytes = 512 << 10;  // of gathered columns, or of padded planes, at a time
constexpr int64_t kMinColumns = 192;         // pixels of a product, below which its ends cost too much
constexpr int64_t kMaxColumns = 1024;

int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

/// Rows of columns start an odd number of cache lines apart, with room for a vector behind each.
template <class T>
int64_t column_stride(int64_t columns) {
  constexpr int64_t kLine = 64 / static_cast<int64_t>(sizeof(T));
  return ((columns + 15 + kLine - 1) / kLine | 1) * kLine;
}

/// Sizes that follow from a shape.
struct Sizes {
  int64_t group_in, group_out, taps, depth, pixels, in_plane;
  bool pointwise;  // 1x1: the image itself is the matrix of columns
  explicit Sizes(const ConvShape& s)
      : group_in(s.in_channels / s.groups),
        group_out(s.out_channels / s.groups),
        taps(s.kernel_h * s.kernel_w),
        depth(group_in * taps),
        pixels(s.out_h * s.out_w),
        in_plane(s.in_h * s.in_w),
        pointwise(taps == 1 && s.stride_h == 1 && s.stride_w == 1 && s.pad_top == 0 && s.pad_left == 0 &&
                  s.out_h == s.in_h && s.out_w == s.in_w) {}
};

/// All output pixels cut into blocks of at most `most` columns: parts of an image, multiples of 16, or
/// several images where one has fewer than `least`.
struct PixelBlocks {
  int64_t batch, pixels, images_each, pixels_each, per_image, count;
  PixelBlocks(const ConvShape& s, int64_t least, int64_t most) : batch(s.batch), pixels(s.out_h * s.out_w) {
    images_each =
        pixels >= least
            ? 1
            : std::min(batch, std::max<int64_t>(1, std::min(ceil_div(least, pixels), most / pixels)));
    pixels_each = std::min(pixels, round_up(ceil_div(pixels, ceil_div(pixels, most)), 16));
    per_image = ceil_div(pixels, pixels_each);
    count = ceil_div(batch, images_each) * per_image;
  }
  PixelBlock at(int64_t i) const {
    const int64_t image = i / per_image * images_each, first = i % per_image * pixels_each;
    return {image, std::min(images_each, batch - image), first, std::min(pixels_each, pixels - first)};
  }
};

/// The output gradient of a block as a matrix [group_out][columns]: in place in one image, else copied.
template <class T>
const T* block_of_outputs(const ConvShape& s, const Sizes& z, const T* gy, int64_t group,
                          const PixelBlock& block, int64_t* stride) {
  const T* from = gy + (block.image * s.out_channels + group * z.group_out) * z.pixels + block.first;
  *stride = z.pixels;
  if (block.images == 1) return from;
  *stride = column_stride<T>(block.columns());
  T* out = scratch<T>(ScratchUse::kConvPixels, z.group_out * *stride);
  for (int64_t c = 0; c < z.group_out; ++c) {
    for (int64_t i = 0; i < block.images; ++i) {
      std::memcpy(out + c * *stride + i * block.pixels, from + (i * s.out_channels + c) * z.pixels,
                  static_cast<size_t>(block.pixels) * sizeof(T));
    }
  }
  return out;
}

/// Whether one input channel feeds so few outputs that a product has too few rows.
bool is_depthwise(const Sizes& z) { return z.group_in == 1 && z.group_out <= 4; }

/// The middle of a padded plane, its phases joined again.
template <class T>
void unpad_plane(const ConvShape& s, const PaddedPlanes& planes, int64_t phases, const T* padded, T* gx) {
  for (int64_t ih = 0; ih < s.in_h; ++ih) {
    T* to = gx + ih * s.in_w;
    const int64_t h = ih + s.pad_top;
    // Inputs that no output reaches have no gradient.
    const int64_t lo = std::clamp<int64_t>(-s.pad_left, 0, s.in_w);
    const int64_t hi = h < 0 || h >= planes.h ? lo : std::clamp<int64_t>(planes.w - s.pad_left, lo, s.in_w);
    const T* row = padded + h * planes.pitch;
    std::fill(to, to + lo, T(0));
    if (phases == 1) {
      if (lo < hi) std::copy(row + lo + s.pad_left, row + hi + s.pad_left, to + lo);
    } else {
      for (int64_t phase = 0; phase < phases; ++phase) {
        const T* from = row + phase * planes.phase_pitch;
        int64_t i = std::max<int64_t>(0, lo + s.pad_left - phase + phases - 1) / phases;
        for (int64_t w = i * phases + phase; w < hi + s.pad_left; w += phases, ++i)
          to[w - s.pad_left] = from[i];
      }
    }
    std::fill(to + hi, to + s.in_w, T(0));
  }
}

template <class T>
void depthwise_forward(const ConvShape& s, const Sizes& z, const T* x, const T* w, const T* bias, T* y) {
  const PaddedPlanes planes(s, s.stride_w);
  const ConvKernels<T> kernel = kernels<T>();
  for_each_piece(s.batch * s.groups, multiplications(s), [&](int64_t i) {
    T* padded = scratch<T>(ScratchUse::kConvPlanes, planes.size());
    kernel.pad_plane(s, planes, x + i * z.in_plane, padded);
    for (int64_t o = 0; o < z.group_out; ++o) {
      const int64_t channel = i % s.groups * z.group_out + o;
      kernel.depthwise_forward(s, planes, padded, w + channel * z.taps, bias ? bias[channel] : T(0),
                               y + (i * z.group_out + o) * z.pixels);
    }
  });
}

template <class T>
void depthwise_input_grad(const ConvShape& s, const Sizes& z, const T* gy, const T* w, T* gx) {
  if (s.stride_h == 1 && s.stride_w == 1 && z.group_out == 1) {
    // The gradient is the convolution of gy with the kernel turned around, which reads more than it writes.
    ConvShape turned = s;
    std::swap(turned.in_h, turned.out_h);
    std::swap(turned.in_w, turned.out_w);
    turned.pad_top = (s.kernel_h - 1) * s.dilation_h - s.pad_top;
    turned.pad_left = (s.kernel_w - 1) * s.dilation_w - s.pad_left;
    std::vector<T> kernel(w, w + s.groups * z.taps);
    for (int64_t g = 0; g < s.groups; ++g) {
      std::reverse(kernel.begin() + g * z.taps, kernel.begin() + (g + 1) * z.taps);
    }
    return depthwise_forward<T>(turned, Sizes(turned), gy, kernel.data(), nullptr, gx);
  }
  const PaddedPlanes planes(s, s.stride_w);
  const ConvKernels<T> kernel = kernels<T>();
  for_each_piece(s.batch * s.groups, multiplications(s), [&](int64_t i) {
    T* padded = scratch<T>(ScratchUse::kConvPlanes, planes.size());
    std::fill(padded, padded + planes.size(), T(0));
    for (int64_t o = 0; o < z.group_out; ++o) {
      kernel.depthwise_input_grad(s, planes, gy + (i * z.group_out + o) * z.pixels,
                                  w + (i % s.groups * z.group_out + o) * z.taps, padded);
    }
    unpad_plane(s, planes, s.stride_w, padded, gx + i * z.in_plane);
  });
}

// One piece is a group: its sum over the images stays on one thread.
template <class T>
void depthwise_weight_grad(const ConvShape& s, const Sizes& z, const T* gy, const T* x, T* gw) {
  const PaddedPlanes planes(s, s.stride_w);
  const ConvKernels<T> kernel = kernels<T>();
  for_each_piece(s.groups, multiplications(s), [&](int64_t g) {
    T* padded = scratch<T>(ScratchUse::kConvPlanes, planes.size());
    T* out = gw + g * z.group_out * z.taps;
    std::fill(out, out + z.group_out * z.taps, T(0));
    for (int64_t image = 0; image < s.batch; ++image) {
      const int64_t i = image * s.groups + g;
      kernel.pad_plane(s, planes, x + i * z.in_plane, padded);
      for (int64_t o = 0; o < z.group_out; ++o) {
        kernel.depthwise_weight_grad(s, planes, gy + (i * z.group_out + o) * z.pixels, padded,
                                     out + o * z.taps);
      }
    }
  });
}

}  // namespace

template <class T>
void conv2d_forward(const ConvShape& s, const T* x, const T* w, const T* bias, T* y) {
  const Sizes z(s);
  if (s.batch * s.out_channels * z.pixels == 0) return;
  if (is_depthwise(z)) return depthwise_forward(s, z, x, w, bias, y);
  if constexpr (std::is_same_v<T, float>) {
    if (is_narrow(s)) return narrow_forward(s, x, w, bias, y);
    if (is_winograd(s)) return winograd_forward(s, x, w, bias, y);
  }

  constexpr int64_t kSize = sizeof(T);
  const ConvKernels<T> kernel = kernels<T>();
  const bool in_place = z.pointwise && z.pixels >= kMinColumns / 2;
  const int64_t fitting = kColumnBytes / (kSize * std::max<int64_t>(1, z.depth)) / 16 * 16;
  const PixelBlocks blocks(s, in_place ? 1 : kMinColumns, std::clamp(fitting, kMinColumns, kMaxColumns));
  // A deep sum is cut between channels, so that its columns fit. Where depends on the shape alone.
  const int64_t widest = blocks.images_each * blocks.pixels_each;
  const int64_t fitting_channels = kColumnBytes / (kSize * z.taps * column_stride<T>(widest));
  const int64_t channels =
      in_place ? z.group_in : std::clamp<int64_t>(fitting_channels, 1, std::max<int64_t>(1, z.group_in));
  const int64_t pieces = blocks.count * s.groups;
  const int64_t cuts = cuts_for_threads(pieces, ceil_div(z.group_out, 16));
  const T* const x_end = x + s.batch * s.in_channels * z.in_plane;
  for_each_piece(pieces * cuts, multiplications(s), [&](int64_t i) {
    const int64_t cut = i % cuts, group = i / cuts % s.groups;
    const PixelBlock block = blocks.at(i / cuts / s.groups);
    const int64_t o0 = z.group_out * cut / cuts, o1 = z.group_out * (cut + 1) / cuts;
    const int64_t first_out = group * z.group_out + o0;
    const T* image = x + group * z.group_in * z.in_plane;
    T* out = y + (block.image * s.out_channels + first_out) * z.pixels + block.first;
    const int64_t stride = column_stride<T>(block.columns());
    T* c = block.images == 1 ? out : scratch<T>(ScratchUse::kConvPixels, (o1 - o0) * stride);
    Gemm<T> g{.m = o1 - o0,
              .n = block.columns(),
              .k = 0,
              .a = nullptr,
              .lda = z.depth,
              .b = nullptr,
              .ldb = in_place ? z.in_plane : stride,
              .c = c,
              .ldc = block.images == 1 ? z.pixels : stride,
              .bf16 = s.bf16};
    for (int64_t c0 = 0; c0 == 0 || c0 < z.group_in; c0 += channels) {
      const int64_t c1 = std::min(c0 + channels, z.group_in);
      if (in_place) {
        g.b = image + block.image * s.in_channels * z.in_plane + block.first;
      } else {
        T* columns = scratch<T>(ScratchUse::kConvColumns, (c1 - c0) * z.taps * stride + 16);
        kernel.gather_columns(s, image, x_end, block, c0, c1, columns, stride);
        g.b = columns;
      }
      g.k = (c1 - c0) * z.taps;
      g.a = w + first_out * z.depth + c0 * z.taps;
      g.accumulate = c0 > 0;
      g.row_bias = bias && c1 == z.group_in ? bias + first_out : nullptr;
      gemm_serial(g);
    }
    if (block.images == 1) return;
    for (int64_t o = 0; o < o1 - o0; ++o) {
      for (int64_t n = 0; n < block.images; ++n) {
        std::memcpy(out + (n * s.out_channels + o) * z.pixels, c + o * stride + n * block.pixels,
                    static_cast<size_t>(block.pixels) * sizeof(T));
      }
    }
  });
}

template <class T>
void conv2d_input_grad(const ConvShape& s, const T* gy, const T* w, T* gx) {
  const Sizes z(s);
  if (s.batch * s.in_channels * z.in_plane == 0) return;
  if (s.out_channels * z.pixels == 0) {
    std::fill(gx, gx + s.batch * s.in_channels * z.in_plane, T(0));
    return;
  }
  if (is_depthwise(z)) return depthwise_input_grad(s, z, gy, w, gx);
  if constexpr (std::is_same_v<T, float>) {
    if (is_narrow_input_grad(s)) return narrow_input_grad(s, gy, w, gx);
    if (is_winograd_input_grad(s)) return winograd_input_grad(s, gy, w, gx);
  }

  constexpr int64_t kSize = sizeof(T);
  const ConvKernels<T> kernel = kernels<T>();
  const bool in_place = z.pointwise && z.pixels >= kMinColumns / 2;
  const PixelBlocks blocks(s, in_place ? 1 : kMinColumns, kMaxColumns / 2);
  const PaddedPlanes planes(s, 1);
  // A piece owns the planes of some channels of the images of a block, so no two threads add to one element.
  const int64_t widest = blocks.images_each * blocks.pixels_each;
  const int64_t channel_bytes =
      kSize * std::max(z.taps * column_stride<T>(widest), blocks.images_each * planes.size());
  const int64_t image_blocks = blocks.count / blocks.per_image, pieces = image_blocks * s.groups;
  const int64_t least_cuts =
      in_place ? 1 : std::min(z.group_in, ceil_div(z.group_in * channel_bytes, kColumnBytes));
  const int64_t cuts = std::max(least_cuts, cuts_for_threads(pieces, ceil_div(z.group_in, 4)));
  for_each_piece(pieces * cuts, multiplications(s), [&](int64_t i) {
    const int64_t cut = i % cuts, group = i / cuts % s.groups, image_block = i / cuts / s.groups;
    const int64_t c0 = z.group_in * cut / cuts, c1 = z.group_in * (cut + 1) / cuts;
    const int64_t images = blocks.at(image_block * blocks.per_image).images;
    T* const out =
        gx + (image_block * blocks.images_each * s.in_channels + group * z.group_in + c0) * z.in_plane;
    T* padded = nullptr;
    if (!in_place) {
      const int64_t size = images * (c1 - c0) * planes.size();
      padded = scratch<T>(ScratchUse::kConvPlanes, size);
      std::fill(padded, padded + size, T(0));
    }
    for (int64_t part = 0; part < blocks.per_image; ++part) {
      const PixelBlock block = blocks.at(image_block * blocks.per_image + part);
      int64_t gy_stride;
      const T* b = block_of_outputs(s, z, gy, group, block, &gy_stride);
      const int64_t rows = (c1 - c0) * z.taps, stride = column_stride<T>(block.columns());
      T* c = in_place ? out + block.first : scratch<T>(ScratchUse::kConvColumns, rows * stride);
      gemm_serial(Gemm<T>{.m = rows,
                          .n = block.columns(),
                          .k = z.group_out,
                          .a = w + group * z.group_out * z.depth + c0 * z.taps,
                          .lda = z.depth,
                          .trans_a = true,
                          .b = b,
                          .ldb = gy_stride,
                          .c = c,
                          .ldc = in_place ? z.in_plane : stride,
                          .bf16 = s.bf16});
      if (!in_place) kernel.scatter_columns(s, planes, block, c1 - c0, c, stride, padded);
    }
    if (in_place) return;
    for (int64_t n = 0; n < images; ++n) {
      for (int64_t c = 0; c < c1 - c0; ++c) {
        unpad_plane(s, planes, 1, padded + (n * (c1 - c0) + c) * planes.size(),
                    out + (n * s.in_channels + c) * z.in_plane);
      }
    }
  });
}

template <class T>
void conv2d_weight_grad(const ConvShape& s, const T* gy, const T* x, T* gw) {
  const Sizes z(s);
  const int64_t weights = s.out_channels * z.depth;
  if (weights == 0) return;
  if (s.batch * z.pixels == 0) {
    std::fill(gw, gw + weights, T(0));
    return;
  }
  if (is_depthwise(z)) return depthwise_weight_grad(s, z, gy, x, gw);
  if constexpr (std::is_same_v<T, float>) {
    if (is_narrow(s)) return narrow_weight_grad(s, gy, x, gw);
    if (is_winograd(s)) return winograd_weight_grad(s, gy, x, gw);
  }

  constexpr int64_t kSize = sizeof(T);
  const ConvKernels<T> kernel = kernels<T>();
  const bool in_place = z.pointwise && z.pixels >= kMinColumns / 2;
  const PixelBlocks blocks(s, in_place ? 1 : kMinColumns, kMaxColumns / 2);
  // Chunks of blocks, each with its own sum. Their number depends on the shape alone; large weights get few.
  constexpr int64_t kMaxChunks = 16, kPartialBytes = 4 << 20;
  const int64_t chunks =
      std::clamp<int64_t>(kPartialBytes / (weights * kSize), 1, std::min(kMaxChunks, blocks.count));
  // With fewer output channels than inputs under the kernel, the transposed gradient spares turning the
  // columns.
  const bool transposed = z.group_out < z.depth;
  const int64_t widest = column_stride<T>(blocks.images_each * blocks.pixels_each);
  const int64_t pieces = chunks * s.groups;
  const int64_t least_cuts =
      in_place ? 1 : std::min(z.group_in, ceil_div(z.depth * widest * kSize, kColumnBytes));
  const int64_t cuts = std::max(least_cuts, cuts_for_threads(pieces, z.group_in));
  const T* const x_end = x + s.batch * s.in_channels * z.in_plane;
  T* const partial = scratch<T>(ScratchUse::kConvPartial, chunks * weights);
  for_each_piece(pieces * cuts, multiplications(s), [&](int64_t i) {
    const int64_t cut = i % cuts, group = i / cuts % s.groups, chunk = i / cuts / s.groups;
    const int64_t c0 = z.group_in * cut / cuts, c1 = z.group_in * (cut + 1) / cuts;
    const int64_t rows = (c1 - c0) * z.taps;
    T* const sum = partial + chunk * weights + group * z.group_out * z.depth;
    const int64_t begin = blocks.count * chunk / chunks, end = blocks.count * (chunk + 1) / chunks;
    for (int64_t j = begin; j < end; ++j) {
      const PixelBlock block = blocks.at(j);
      int64_t gy_stride, stride = z.in_plane;
      const T* outputs = block_of_outputs(s, z, gy, group, block, &gy_stride);
      const T* inputs = x + group * z.group_in * z.in_plane;
      if (in_place) {
        inputs += (block.image * s.in_channels + c0) * z.in_plane + block.first;
      } else {
        stride = column_stride<T>(block.columns());
        T* columns = scratch<T>(ScratchUse::kConvColumns, rows * stride + 16);
        kernel.gather_columns(s, inputs, x_end, block, c0, c1, columns, stride);
        inputs = columns;
      }
      Gemm<T> g{.m = z.group_out,
                .n = rows,
                .k = block.columns(),
                .a = outputs,
                .lda = gy_stride,
                .b = inputs,
                .ldb = stride,
                .trans_b = true,
                .c = sum + c0 * z.taps,
                .ldc = z.depth,
                .accumulate = j > begin,
                .bf16 = s.bf16};
      if (transposed) {
        std::swap(g.m, g.n);
        std::swap(g.a, g.b);
        std::swap(g.lda, g.ldb);
        g.c = sum + c0 * z.taps * z.group_out;
        g.ldc = z.group_out;
      }
      gemm_serial(g);
    }
  });
  // The chunks are added in order.
  for_each_piece(s.out_channels, static_cast<double>(weights * chunks), [&](int64_t channel) {
    const int64_t group = channel / z.group_out, o = channel % z.group_out;
    const T* sum = partial + group * z.group_out * z.depth + (transposed ? o : o * z.depth);
    const int64_t step = transposed ? z.group_out : 1;
    T* out = gw + channel * z.depth;
    for (int64_t k = 0; k < z.depth; ++k) out[k] = sum[k * step];
    for (int64_t chunk = 1; chunk < chunks; ++chunk) {
      for (int64_t k = 0; k < z.depth; ++k) out[k] += sum[chunk * weights + k * step];
    }
  });
}

template void conv2d_forward<float>(const ConvShape&, const float*, const float*, const float*, float*);
template void conv2d_forward<double>(const ConvShape&, const double*, const double*, const double*, double*);
template void conv2d_input_grad<float>(const ConvShape&, const float*, const float*, float*);
template void conv2d_input_grad<double>(const ConvShape&, const double*, const double*, double*);
template void conv2d_weight_grad<float>(const ConvShape&, const float*, const float*, float*);
template void conv2d_weight_grad<double>(const ConvShape&, const double*, const double*, double*);

}  // namespace hebb::cpu
#endif  // HWY_ONCE
