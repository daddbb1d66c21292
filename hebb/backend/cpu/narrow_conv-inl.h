// The loops of narrow convolutions, lanes over the batch. Compiled once for every instruction set.
#if defined(HEBB_BACKEND_CPU_NARROW_CONV_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HEBB_BACKEND_CPU_NARROW_CONV_INL_H_
#undef HEBB_BACKEND_CPU_NARROW_CONV_INL_H_
#else
#define HEBB_BACKEND_CPU_NARROW_CONV_INL_H_
#endif

#include <algorithm>

#include "hebb/backend/cpu/pack-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hebb::cpu {
namespace HWY_NAMESPACE {

constexpr int64_t kImages = kLanes<float>;  // in a block
constexpr int64_t kMostPooled = 16;         // windows whose places are turned at once

/// A channel of a block of images, in rows of `width` with zeros left and right, as far as the kernel
/// reaches.
void spread_plane(const ConvShape& s, int64_t width, const float* x, int64_t images, float* out) {
  const Tag<float> d;
  const int64_t plane = s.in_h * s.in_w, stride = s.in_channels * plane;
  if (s.pad_left == 0 && width == s.in_w) return lines_to_lanes(x, stride, images, plane, out);
  const int64_t inside = std::clamp<int64_t>(width - s.pad_left, 0, s.in_w);
  for (int64_t h = 0; h < s.in_h; ++h, out += width * kImages) {
    for (int64_t w = 0; w < width; ++w) {
      if (w == s.pad_left) w += inside;
      if (w < width) hn::StoreU(hn::Zero(d), d, out + w * kImages);
    }
    lines_to_lanes(x + h * s.in_w, stride, images, inside, out + s.pad_left * kImages);
  }
}

/// All channels, one after the other.
void spread_planes(const ConvShape& s, const NarrowSizes& z, const float* x, int64_t images, float* out) {
  for (int64_t c = 0; c < s.in_channels; ++c)
    spread_plane(s, z.width, x + c * s.in_h * s.in_w, images, out + c * s.in_h * z.width * kImages);
}

/// Where a tile of outputs finds its operands.
struct NarrowTile {
  const float* x;                      // the input of the first output under the first tap
  int64_t channel, row, column, step;  // strides of x: between channels, taps of a column and a row, outputs
  const float* w;                      // the first tap of the first output channel
  int64_t depth;                       // between output channels
  int64_t channels, rows, columns;     // to be summed over
  int64_t w_channel, w_row;
  const float* bias;  // or null
};

/// Outputs of K channels at X neighbouring places.
template <int K, int X>
void narrow_tile(const NarrowTile& t, float* out, int64_t out_stride) {
  const Tag<float> d;
  Vec<float> sum[K][X];
  HEBB_UNROLL for (int k = 0; k < K; ++k) {
    const Vec<float> start = t.bias ? hn::Set(d, t.bias[k]) : hn::Zero(d);
    HEBB_UNROLL for (int i = 0; i < X; ++i) sum[k][i] = start;
  }
  for (int64_t c = 0; c < t.channels; ++c) {
    for (int64_t r = 0; r < t.rows; ++r) {
      const float* x = t.x + c * t.channel + r * t.row;
      const float* w = t.w + c * t.w_channel + r * t.w_row;
      for (int64_t q = 0; q < t.columns; ++q, x += t.column, ++w) {
        Vec<float> v[X];
        HEBB_UNROLL for (int i = 0; i < X; ++i) v[i] = hn::LoadU(d, x + i * t.step);
        HEBB_UNROLL for (int k = 0; k < K; ++k) {
          const Vec<float> tap = hn::Set(d, w[k * t.depth]);
          HEBB_UNROLL for (int i = 0; i < X; ++i) sum[k][i] = hn::MulAdd(tap, v[i], sum[k][i]);
        }
      }
    }
  }
  HEBB_UNROLL for (int k = 0; k < K; ++k) {
    HEBB_UNROLL for (int i = 0; i < X; ++i) hn::StoreU(sum[k][i], d, out + k * out_stride + i * kImages);
  }
}

// Channels and places of a tile: their product of sums, the places and one tap fit into the registers.
constexpr int kMostPlaces = 8;
constexpr bool kManyRegisters = HWY_TARGET == HWY_AVX3 || HWY_ARCH_ARM_A64;
constexpr int tile_places(int64_t channels) {
  constexpr int few[] = {8, 5, 4, 3, 2, 2}, many[] = {8, 8, 7, 6, 5, 4};
  return (kManyRegisters ? many : few)[channels - 1];
}

using NarrowTileFn = void (*)(const NarrowTile&, float*, int64_t);
template <int K, int... X>
constexpr std::array<NarrowTileFn, kMostPlaces> narrow_tiles_of(std::integer_sequence<int, X...>) {
  return {narrow_tile<K, (X < tile_places(K) ? X + 1 : 1)>...};
}
inline NarrowTileFn narrow_tile_kernel(int64_t channels, int64_t places) {
  using Places = std::make_integer_sequence<int, kMostPlaces>;
  static constexpr std::array<NarrowTileFn, kMostPlaces> kernels[] = {
      narrow_tiles_of<1>(Places()), narrow_tiles_of<2>(Places()), narrow_tiles_of<3>(Places()),
      narrow_tiles_of<4>(Places()), narrow_tiles_of<5>(Places()), narrow_tiles_of<6>(Places())};
  return kernels[channels - 1][places - 1];
}

/// Whole numbers, the bits of lanes, as lines of `out`.
void lanes_to_places(const float* lanes, int64_t n, int64_t lines, int64_t* out, int64_t stride) {
  constexpr int64_t L = kImages;
  const hn::RebindToSigned<Tag<float>> di;
  alignas(64) int32_t line[L];
  for (int64_t p = 0; p < n; p += L) {
    const int64_t count = std::min(L, n - p);
    Vec<float> v[L];
    lines_of_lanes(lanes + p * L, count, v);
    for (int64_t i = 0; i < lines; ++i) {
      hn::Store(hn::BitCast(di, v[i]), di, line);
      for (int64_t k = 0; k < count; ++k) out[i * stride + p + k] = line[k];
    }
  }
}

/// `rows` rows of outputs of channel k from row `first` on, an even one, as lanes, which are lost.
void store_rows(const ConvShape& s, const NarrowOutputs& out, float* lanes, int64_t first, int64_t rows,
                int64_t images, int64_t k) {
  const int64_t plane = out.plane(s), stride = s.out_channels * plane;
  if (!out.pooled)
    return lanes_to_lines(lanes, rows * s.out_w, images, out.y + k * plane + first * s.out_w, stride);
  const Tag<float> d;
  const hn::RebindToSigned<Tag<float>> di;
  const int64_t width = s.out_w / 2, pooled = rows / 2 * width, begin = k * plane + first / 2 * width;
  // A window is read before its value is written where one was that came before it.
  alignas(64) float at_lanes[kMostPooled * kImages];
  for (int64_t r = 0; r < rows / 2; ++r) {
    for (int64_t w0 = 0; w0 < width; w0 += kMostPooled) {
      const int64_t count = std::min(kMostPooled, width - w0);
      for (int64_t i = 0; i < count; ++i) {
        const int64_t corner = 2 * r * s.out_w + 2 * (w0 + i);
        Vec<float> best = hn::LoadU(d, lanes + corner * kImages);
        auto at = hn::Set(di, static_cast<int32_t>(first * s.out_w + corner));
        for (const int64_t step : {int64_t{1}, s.out_w, s.out_w + 1}) {
          const Vec<float> v = hn::LoadU(d, lanes + (corner + step) * kImages);
          const auto wins = hn::Or(hn::Gt(v, best), hn::IsNaN(v));
          best = hn::IfThenElse(wins, v, best);
          at = hn::IfThenElse(hn::RebindMask(di, wins),
                              hn::Set(di, static_cast<int32_t>(first * s.out_w + corner + step)), at);
        }
        hn::StoreU(best, d, lanes + (r * width + w0 + i) * kImages);
        hn::Store(hn::BitCast(d, at), d, at_lanes + i * kImages);
      }
      if (out.places) lanes_to_places(at_lanes, count, images, out.places + begin + r * width + w0, stride);
    }
  }
  lanes_to_lines(lanes, pooled, images, out.y + begin, stride);
}

/// Output channels [k0, k1) of a block of images, from its planes.
void forward_block(const ConvShape& s, const NarrowSizes& z, const float* planes, const float* w,
                   const float* bias, int64_t k0, int64_t k1, int64_t images, float* rows_of_y,
                   const NarrowOutputs& outputs) {
  const int64_t depth = s.in_channels * s.kernel_h * s.kernel_w;
  const EqualPieces channel_pieces(k1 - k0, kTileChannels);
  for (int64_t h0 = 0; h0 < s.out_h; h0 += z.rows_at_once) {
    const int64_t h1 = std::min(s.out_h, h0 + z.rows_at_once), plane = (h1 - h0) * s.out_w;
    for (int64_t piece = 0; piece < channel_pieces.count; ++piece) {
      const int64_t k = k0 + channel_pieces.begin(piece), count = channel_pieces.size(piece);
      const EqualPieces places(s.out_w, tile_places(count));
      for (int64_t h = h0; h < h1; ++h) {
        const Taps down =
            taps_inside(h * s.stride_h, 1, s.stride_h, s.dilation_h, s.kernel_h, s.pad_top, s.in_h);
        for (int64_t p = 0; p < places.count; ++p) {
          const int64_t at = places.begin(p), n = places.size(p);
          const Taps across =
              taps_inside(at * s.stride_w, n, s.stride_w, s.dilation_w, s.kernel_w, s.pad_left, s.in_w);
          const int64_t in_row = h * s.stride_h - s.pad_top + down.first * s.dilation_h;
          const int64_t in_column = at * s.stride_w + across.first * s.dilation_w;
          const NarrowTile tile{.x = planes + (in_row * z.width + in_column) * kImages,
                                .channel = s.in_h * z.width * kImages,
                                .row = s.dilation_h * z.width * kImages,
                                .column = s.dilation_w * kImages,
                                .step = s.stride_w * kImages,
                                .w = w + k * depth + down.first * s.kernel_w + across.first,
                                .depth = depth,
                                .channels = s.in_channels,
                                .rows = down.count,
                                .columns = across.count,
                                .w_channel = s.kernel_h * s.kernel_w,
                                .w_row = s.kernel_w,
                                .bias = bias ? bias + k : nullptr};
          float* out = rows_of_y + ((h - h0) * s.out_w + at) * kImages;
          narrow_tile_kernel(count, n)(tile, out, plane * kImages);
        }
      }
      for (int64_t i = 0; i < count; ++i)
        store_rows(s, outputs, rows_of_y + i * plane * kImages, h0, h1 - h0, images, k + i);
    }
  }
}

/// Where a tile of weights finds its operands.
struct NarrowSum {
  const float *g, *x;  // of the first output, under the first tap
  int64_t rows, columns;
  int64_t g_channel, g_row, x_row, x_step, x_tap;  // strides
  bool add;                                        // to what is there
};

/// Sums over all outputs of gradient times input, for K output channels and X neighbouring taps.
template <int K, int X>
void narrow_sum(const NarrowSum& t, float* out, int64_t out_stride) {
  const Tag<float> d;
  Vec<float> sum[K][X];
  HEBB_UNROLL for (int k = 0; k < K; ++k) {
    HEBB_UNROLL for (int i = 0; i < X; ++i) {
      sum[k][i] = t.add ? hn::LoadU(d, out + k * out_stride + i * kImages) : hn::Zero(d);
    }
  }
  for (int64_t h = 0; h < t.rows; ++h) {
    const float *g = t.g + h * t.g_row, *x = t.x + h * t.x_row;
    for (int64_t w = 0; w < t.columns; ++w, g += kImages, x += t.x_step) {
      Vec<float> v[K];
      HEBB_UNROLL for (int k = 0; k < K; ++k) v[k] = hn::LoadU(d, g + k * t.g_channel);
      HEBB_UNROLL for (int i = 0; i < X; ++i) {
        const Vec<float> tap = hn::LoadU(d, x + i * t.x_tap);
        HEBB_UNROLL for (int k = 0; k < K; ++k) sum[k][i] = hn::MulAdd(v[k], tap, sum[k][i]);
      }
    }
  }
  HEBB_UNROLL for (int k = 0; k < K; ++k) {
    HEBB_UNROLL for (int i = 0; i < X; ++i) hn::StoreU(sum[k][i], d, out + k * out_stride + i * kImages);
  }
}

constexpr int kMostTaps = 5;
constexpr int sum_channels(int64_t taps) {
  constexpr int few[] = {kSumChannels, kSumChannels, 3, 3, 2};
  return kManyRegisters ? kSumChannels : few[taps - 1];
}
using NarrowSumFn = void (*)(const NarrowSum&, float*, int64_t);
template <int K, int... X>
constexpr std::array<NarrowSumFn, kMostTaps> narrow_sums_of(std::integer_sequence<int, X...>) {
  return {narrow_sum<(K <= sum_channels(X + 1) ? K : 1), X + 1>...};
}
inline NarrowSumFn narrow_sum_kernel(int64_t channels, int64_t taps) {
  using Sums = std::make_integer_sequence<int, kMostTaps>;
  static constexpr std::array<NarrowSumFn, kMostTaps> kernels[] = {
      narrow_sums_of<1>(Sums()), narrow_sums_of<2>(Sums()), narrow_sums_of<3>(Sums()),
      narrow_sums_of<4>(Sums())};
  return kernels[channels - 1][taps - 1];
}

/// Adds to sums[weight][image], for some output channels, what a block of images gives; or begins them.
void weight_sums(const ConvShape& s, const NarrowSizes& z, const float* planes, const float* gradients,
                 int64_t channels, bool add, float* sums) {
  const int64_t taps = s.kernel_h * s.kernel_w, depth = s.in_channels * taps, pixels = s.out_h * s.out_w;
  const EqualPieces across(s.kernel_w, kMostTaps),
      down(channels, sum_channels(across.length + (across.longer > 0)));
  for (int64_t piece = 0; piece < down.count; ++piece) {
    const int64_t k = down.begin(piece), count = down.size(piece);
    for (int64_t c = 0; c < s.in_channels; ++c) {
      for (int64_t kh = 0; kh < s.kernel_h; ++kh) {
        // Outputs whose input under this row of taps is inside.
        const Taps rows = taps_inside(kh * s.dilation_h, 1, 1, s.stride_h, s.out_h, s.pad_top, s.in_h);
        const int64_t in_row = kh * s.dilation_h - s.pad_top + rows.first * s.stride_h;
        for (int64_t q = 0; q < across.count; ++q) {
          const int64_t kw = across.begin(q), n = across.size(q);
          const NarrowSum sum{.g = gradients + (k * pixels + rows.first * s.out_w) * kImages,
                              .x = planes + ((c * s.in_h + in_row) * z.width + kw * s.dilation_w) * kImages,
                              .rows = rows.count,
                              .columns = s.out_w,
                              .g_channel = pixels * kImages,
                              .g_row = s.out_w * kImages,
                              .x_row = s.stride_h * z.width * kImages,
                              .x_step = s.stride_w * kImages,
                              .x_tap = s.dilation_w * kImages,
                              .add = add};
          float* out = sums + (k * depth + c * taps + kh * s.kernel_w + kw) * kImages;
          narrow_sum_kernel(count, n)(sum, out, depth * kImages);
        }
      }
    }
  }
}

/// Gradients of output channels [k0, k1) of a block of images, as [channel][pixel][image].
void spread_gradients(const ConvShape& s, const float* gy, int64_t k0, int64_t k1, int64_t images,
                      float* out) {
  const int64_t pixels = s.out_h * s.out_w;
  for (int64_t k = k0; k < k1; ++k)
    lines_to_lanes(gy + k * pixels, s.out_channels * pixels, images, pixels,
                   out + (k - k0) * pixels * kImages);
}

/// The sum over the images of each of n vectors.
void sum_images(const float* sums, int64_t n, float* out) {
  for (int64_t p = 0; p < n; p += kImages) {
    const int64_t count = std::min(kImages, n - p);
    Vec<float> v[kImages];
    lines_of_lanes(sums + p * kImages, count, v);
    Vec<float> total = v[0];
    HEBB_UNROLL for (int64_t i = 1; i < kImages; ++i) total = hn::Add(total, v[i]);
    store_first(total, out + p, count);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace hebb::cpu
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
