// Winograd's algorithm along the rows of narrow convolutions: products with 8 transformed inputs stand for
// those of kernel_w taps with 9 - kernel_w neighbouring outputs, for 5 taps 8 in place of 20. Down the
// columns the kernel is applied as it is, so the products are narrow convolutions too, each of a point.
// Points 0, +-1, +-2, +-1/2 and infinity: no others tried round better. Errors are four times those of
// direct sums, of weight gradients seven times. Source: Winograd, Arithmetic complexity of computations,
// 1980; Lavin and Gray, arXiv:1509.09308.
#if defined(HEBB_BACKEND_CPU_ROW_WINOGRAD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HEBB_BACKEND_CPU_ROW_WINOGRAD_INL_H_
#undef HEBB_BACKEND_CPU_ROW_WINOGRAD_INL_H_
#else
#define HEBB_BACKEND_CPU_ROW_WINOGRAD_INL_H_
#endif

#include "hebb/backend/cpu/narrow_conv-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hebb::cpu {
namespace HWY_NAMESPACE {

constexpr int kMostRowTaps = 7;

/// What taps contribute to the points: row i of the result for tap j is p_i^j over the product of p_i's
/// distances from the others; infinity takes the last tap.
constexpr std::array<std::array<float, kMostRowTaps>, kPoints> taps_to_points(int64_t taps) {
  constexpr double kPlaces[] = {0, 1, -1, 2, -2, 0.5, -0.5};
  std::array<std::array<float, kMostRowTaps>, kPoints> g{};
  for (int i = 0; i < kPoints - 1; ++i) {
    double power = 1;
    for (int k = 0; k < kPoints - 1; ++k)
      if (k != i) power /= kPlaces[i] - kPlaces[k];
    for (int j = 0; j < taps; ++j, power *= kPlaces[i]) g[i][j] = static_cast<float>(power);
  }
  g[kPoints - 1][taps - 1] = 1;
  return g;
}

/// `rows` rows of taps, [row][taps], as [point][row].
void transform_taps(int64_t rows, int64_t taps, const float* w, float* u) {
  const Tag<float> d;
  const auto g = taps_to_points(taps);
  alignas(64) float column[kMostRowTaps][kImages];
  for (int64_t row = 0; row < rows; row += kImages) {
    const int64_t count = std::min(kImages, rows - row);
    for (int64_t i = 0; i < count; ++i)
      for (int64_t j = 0; j < taps; ++j) column[j][i] = w[(row + i) * taps + j];
    for (int p = 0; p < kPoints; ++p) {
      Vec<float> sum = hn::Zero(d);
      for (int64_t j = 0; j < taps; ++j) sum = hn::MulAdd(hn::Set(d, g[p][j]), hn::Load(d, column[j]), sum);
      store_first(sum, u + p * rows + row, count);
    }
  }
}

/// The way back for gradients: [point][row] as [row][taps].
void transform_tap_gradients(int64_t rows, int64_t taps, const float* u, float* w) {
  const Tag<float> d;
  const auto g = taps_to_points(taps);
  alignas(64) float column[kImages];
  for (int64_t row = 0; row < rows; row += kImages) {
    const int64_t count = std::min(kImages, rows - row);
    for (int64_t j = 0; j < taps; ++j) {
      Vec<float> sum = hn::Zero(d);
      for (int p = 0; p < kPoints; ++p)
        sum = hn::MulAdd(hn::Set(d, g[p][j]), load_first(u + p * rows + row, count), sum);
      hn::Store(sum, d, column);
      for (int64_t i = 0; i < count; ++i) w[(row + i) * taps + j] = column[i];
    }
  }
}

/// The points +q and -q of 8 inputs; `sum` and `product` are of the squares of the other two pairs.
HWY_INLINE void pair_of_points(const Vec<float> (&x)[kPoints], float q, float sum, float product,
                               Vec<float>& plus, Vec<float>& minus) {
  const Tag<float> d;
  const auto s = hn::Set(d, sum), r = hn::Set(d, product);
  const auto even = hn::MulAdd(x[2], r, hn::NegMulAdd(x[4], s, x[6]));
  const auto odd = hn::MulAdd(x[1], r, hn::NegMulAdd(x[3], s, x[5]));
  plus = hn::MulAdd(odd, hn::Set(d, q), even);
  minus = hn::NegMulAdd(odd, hn::Set(d, q), even);
}

/// 8 neighbouring inputs, of a block of images each, at the points, `stride` apart.
HWY_INLINE void transform_inputs(const float* in, float* out, int64_t stride) {
  const Tag<float> d;
  Vec<float> x[kPoints], v[kPoints];
  HEBB_UNROLL for (int i = 0; i < kPoints; ++i) x[i] = hn::LoadU(d, in + i * kImages);
  const auto middle = hn::Set(d, 5.25f);
  v[0] = hn::Sub(hn::MulAdd(hn::Sub(x[2], x[4]), middle, x[6]), x[0]);
  pair_of_points(x, 1, 4.25f, 1, v[1], v[2]);
  pair_of_points(x, 2, 1.25f, 0.25f, v[3], v[4]);
  pair_of_points(x, 0.5f, 5, 4, v[5], v[6]);
  v[7] = hn::Sub(hn::MulAdd(hn::Sub(x[3], x[5]), middle, x[7]), x[1]);
  HEBB_UNROLL for (int i = 0; i < kPoints; ++i) hn::StoreU(v[i], d, out + i * stride);
}

/// N neighbouring outputs from the sums at the points.
template <int N>
HWY_INLINE void transform_outputs(const float* in, int64_t stride, Vec<float> bias, float* out) {
  const Tag<float> d;
  Vec<float> m[kPoints], sum[3], difference[3];
  HEBB_UNROLL for (int i = 0; i < kPoints; ++i) m[i] = hn::LoadU(d, in + i * stride);
  HEBB_UNROLL for (int i = 0; i < 3; ++i) {
    sum[i] = hn::Add(m[2 * i + 1], m[2 * i + 2]);
    difference[i] = hn::Sub(m[2 * i + 1], m[2 * i + 2]);
  }
  HEBB_UNROLL for (int j = 0; j < N; ++j) {
    const auto two = hn::Set(d, static_cast<float>(1 << j)), half = hn::Set(d, 1.0f / (1 << j));
    const auto* const terms = j % 2 ? difference : sum;
    auto y = hn::Add(terms[0], bias);
    if (j == 0) y = hn::Add(y, m[0]);
    if (j == N - 1) y = hn::Add(y, m[kPoints - 1]);
    hn::StoreU(hn::MulAdd(terms[1], two, hn::MulAdd(terms[2], half, y)), d, out + j * kImages);
  }
}

/// Gradients of N neighbouring outputs, the first `count` of which are there, at the points.
template <int N>
HWY_INLINE void transform_gradients(const float* in, int64_t count, float* out, int64_t stride) {
  const Tag<float> d;
  Vec<float> y[N];
  HEBB_UNROLL for (int j = 0; j < N; ++j) y[j] = j < count ? hn::LoadU(d, in + j * kImages) : hn::Zero(d);
  hn::StoreU(y[0], d, out);
  constexpr float kPairs[] = {1, 2, 0.5f};
  HEBB_UNROLL for (int i = 0; i < 3; ++i) {
    const float q = kPairs[i];
    auto even = y[0], odd = hn::Mul(y[1], hn::Set(d, q));
    if constexpr (N > 2) even = hn::MulAdd(y[2], hn::Set(d, q * q), even);
    if constexpr (N > 3) odd = hn::MulAdd(y[3], hn::Set(d, q * q * q), odd);
    hn::StoreU(hn::Add(even, odd), d, out + (2 * i + 1) * stride);
    hn::StoreU(hn::Sub(even, odd), d, out + (2 * i + 2) * stride);
  }
  hn::StoreU(y[N - 1], d, out + (kPoints - 1) * stride);
}

/// Calls fn with 9 - kernel_w, the outputs of a tile, as a constant.
template <class F>
HWY_INLINE void with_outputs(const RowTiles& t, F fn) {
  switch (t.outputs) {
    case 4: return fn(std::integral_constant<int, 4>());
    case 3: return fn(std::integral_constant<int, 3>());
    default: return fn(std::integral_constant<int, 2>());
  }
}

/// A block of images at the points, [point][channel][row][tile], `stride` apart. `above` rows of zeros stand
/// first, as many behind as make `rows`. `plane` has room for a channel.
void points_of_images(const ConvShape& s, const RowTiles& t, const float* x, int64_t images, int64_t above,
                      int64_t rows, float* plane, float* out, int64_t stride) {
  const Tag<float> d;
  for (int64_t c = 0; c < s.in_channels; ++c) {
    spread_plane(s, t.width, x + c * s.in_h * s.in_w, images, plane);
    for (int64_t h = 0; h < rows; ++h) {
      const bool inside = h >= above && h - above < s.in_h;
      for (int64_t tile = 0; tile < t.count; ++tile, out += kImages) {
        if (inside) {
          transform_inputs(plane + ((h - above) * t.width + tile * t.outputs) * kImages, out, stride);
        } else {
          for (int p = 0; p < kPoints; ++p) hn::StoreU(hn::Zero(d), d, out + p * stride);
        }
      }
    }
  }
}

/// As forward_block, from images and weights at the points. `sums` has room for the points of kTileChannels
/// channels of t.rows_at_once rows.
void forward_points(const ConvShape& s, const RowTiles& t, const float* v, int64_t v_stride, const float* u,
                    const float* bias, int64_t k0, int64_t k1, int64_t images, float* sums, float* rows_of_y,
                    const NarrowOutputs& y) {
  const Tag<float> d;
  const int64_t depth = s.in_channels * s.kernel_h, row = t.count * kImages;
  const int64_t turned_rows = NarrowSizes(s).rows_at_once;
  const EqualPieces channel_pieces(k1 - k0, kTileChannels);
  for (int64_t first = 0; first < s.out_h; first += turned_rows) {
    const int64_t end = std::min(s.out_h, first + turned_rows), plane = (end - first) * s.out_w;
    const int64_t next_plane = (plane + t.outputs) * kImages;
    for (int64_t piece = 0; piece < channel_pieces.count; ++piece) {
      const int64_t k = k0 + channel_pieces.begin(piece), count = channel_pieces.size(piece);
      for (int64_t h0 = first, h1; h0 < end; h0 = h1) {
        // Rows whose taps are the same lie side by side, as if they were one.
        const auto taps = [&](int64_t h) {
          return taps_inside(h * s.stride_h, 1, s.stride_h, s.dilation_h, s.kernel_h, s.pad_top, s.in_h);
        };
        const Taps down = taps(h0);
        for (h1 = h0 + 1; s.stride_h == 1 && h1 < end && h1 - h0 < t.rows_at_once; ++h1) {
          const Taps next = taps(h1);
          if (next.first != down.first || next.count != down.count) break;
        }
        const int64_t in_row = h0 * s.stride_h - s.pad_top + down.first * s.dilation_h;
        const EqualPieces places((h1 - h0) * t.count, tile_places(count));
        const int64_t channel = (h1 - h0) * row, point = count * channel;
        for (int p = 0; p < kPoints; ++p) {
          for (int64_t i = 0; i < places.count; ++i) {
            const NarrowTile tile{.x = v + p * v_stride + in_row * row + places.begin(i) * kImages,
                                  .channel = s.in_h * row,
                                  .row = 0,
                                  .column = s.dilation_h * row,
                                  .step = kImages,
                                  .w = u + (p * s.out_channels + k) * depth + down.first,
                                  .depth = depth,
                                  .channels = s.in_channels,
                                  .rows = 1,
                                  .columns = down.count,
                                  .w_channel = s.kernel_h,
                                  .w_row = 0,
                                  .bias = nullptr};
            narrow_tile_kernel(count, places.size(i))(tile, sums + p * point + places.begin(i) * kImages,
                                                      channel);
          }
        }
        // What the last tile of a row has too much, the next row overwrites.
        with_outputs(t, [&](auto outputs) {
          for (int64_t i = 0; i < count; ++i) {
            const Vec<float> b = bias ? hn::Set(d, bias[k + i]) : hn::Zero(d);
            for (int64_t h = h0; h < h1; ++h) {
              const float* in = sums + i * channel + (h - h0) * row;
              float* out = rows_of_y + i * next_plane + (h - first) * s.out_w * kImages;
              for (int64_t tile = 0; tile < t.count; ++tile, in += kImages, out += outputs * kImages)
                transform_outputs<outputs>(in, point, b, out);
            }
          }
        });
      }
      for (int64_t i = 0; i < count; ++i)
        store_rows(s, y, rows_of_y + i * next_plane, first, end - first, images, k + i);
    }
  }
}

/// As weight_sums, of images and gradients at the points: sums[point][weight][image] of `channels` output
/// channels. `points` has room for the gradients of one.
void point_sums(const ConvShape& s, const RowTiles& t, const float* v, int64_t v_stride, int64_t v_rows,
                const float* gradients, int64_t channels, bool add, float* points, float* sums,
                int64_t sums_stride) {
  const int64_t row = t.count * kImages, plane = s.out_h * row, depth = s.in_channels * s.kernel_h;
  const EqualPieces across(s.kernel_h, kMostTaps),
      down(channels, sum_channels(across.length + (across.longer > 0)));
  for (int64_t piece = 0; piece < down.count; ++piece) {
    const int64_t k = down.begin(piece), count = down.size(piece), point = count * plane + kImages;
    with_outputs(t, [&](auto outputs) {
      float* out = points;
      const float* in = gradients + k * s.out_h * s.out_w * kImages;
      for (int64_t line = 0; line < count * s.out_h; ++line, in += s.out_w * kImages) {
        for (int64_t tile = 0; tile < t.count; ++tile, out += kImages)
          transform_gradients<outputs>(in + tile * outputs * kImages, s.out_w - tile * outputs, out, point);
      }
    });
    const bool flat = s.stride_h == 1;
    for (int p = 0; p < kPoints; ++p) {
      for (int64_t c = 0; c < s.in_channels; ++c) {
        for (int64_t q = 0; q < across.count; ++q) {
          const int64_t kh = across.begin(q), n = across.size(q);
          const NarrowSum sum{.g = points + p * point,
                              .x = v + p * v_stride + (c * v_rows + kh * s.dilation_h) * row,
                              .rows = flat ? 1 : s.out_h,
                              .columns = flat ? s.out_h * t.count : t.count,
                              .g_channel = plane,
                              .g_row = row,
                              .x_row = s.stride_h * row,
                              .x_step = kImages,
                              .x_tap = s.dilation_h * row,
                              .add = add};
          float* out = sums + p * sums_stride + (k * depth + c * s.kernel_h + kh) * kImages;
          narrow_sum_kernel(count, n)(sum, out, depth * kImages);
        }
      }
    }
  }
}

NarrowKernels narrow_kernels() {
  return {kImages,           &spread_planes,  &forward_block,  &spread_gradients,
          &weight_sums,      &sum_images,     &transform_taps, &transform_tap_gradients,
          &points_of_images, &forward_points, &point_sums};
}

}  // namespace HWY_NAMESPACE
}  // namespace hebb::cpu
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
