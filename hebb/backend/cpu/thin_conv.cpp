#include "hebb/backend/cpu/thin_conv.h"

#include <hwy/cache_control.h>

#include <algorithm>
#include <array>
#include <utility>

#include "hebb/backend/cpu/gemm.h"
#include "hebb/backend/cpu/pieces.h"

#ifndef HEBB_BACKEND_CPU_THIN_CONV_TYPES_  // this file is compiled once for every instruction set
#define HEBB_BACKEND_CPU_THIN_CONV_TYPES_
namespace hebb::cpu {
namespace {

/// The input rows that some rows of outputs see, with their padding: [row][column][channel].
struct Band {
  int64_t step, row, taps;  // elements from output to output and of a row; taps of a row of the kernel
  int64_t jump, drop;  // elements from one row of the kernel to the next, from one row of outputs to the next
  int64_t most;        // rows of outputs
  explicit Band(const ConvShape& s)
      : step(s.stride_w * s.in_channels),
        row((s.out_w - 1) * step + s.kernel_w * s.in_channels),
        taps(s.kernel_w * s.in_channels),
        jump(s.dilation_h * row),
        drop(s.stride_h * row),
        most(std::clamp<int64_t>(kOutputs / s.out_w, 1, s.out_h)) {}

  int64_t rows(const ConvShape& s, int64_t outs) const {
    return (outs - 1) * s.stride_h + (s.kernel_h - 1) * s.dilation_h + 1;
  }
  /// What rows out_row to out_row + outs of an image's outputs see.
  void fill(const ConvShape& s, const float* image, int64_t out_row, int64_t outs, float* band) const {
    const int64_t c = s.in_channels, first = out_row * s.stride_h - s.pad_top;
    const int64_t begin = std::clamp<int64_t>(s.pad_left * c, 0, row);
    const int64_t end = std::clamp<int64_t>((s.pad_left + s.in_w) * c, begin, row);
    for (int64_t r = first; r < first + rows(s, outs); ++r, band += row) {
      const bool inside = r >= 0 && r < s.in_h;
      const int64_t b = inside ? begin : row, e = inside ? end : row;
      std::fill(band, band + b, 0.F);
      if (b < e) std::copy_n(image + ((r * s.in_w - s.pad_left) * c + b), e - b, band + b);
      std::fill(band + e, band + row, 0.F);
    }
  }

 private:
  static constexpr int64_t kOutputs = 128;  // in a band: many to a call, and their gradients fit the caches
};

struct ThinKernels {
  void (*forward_rows)(const ConvShape&, const Band&, int64_t outs, const float* band, const float* filters,
                       const float* bias, float* y);
  void (*add_gradients)(const ConvShape&, const Band&, int64_t outs, const float* band, const float* gy,
                        bool add, float* sums);
};

}  // namespace
}  // namespace hebb::cpu
#endif

#include "hebb/backend/cpu/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hebb/backend/cpu/thin_conv.cpp"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "hebb/backend/cpu/pack-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hebb::cpu {
namespace HWY_NAMESPACE {

/// A tile of C as multiply_tile() makes it, of a sum over `parts` blocks of k that follow each other in B and
/// lie `jump` elements apart in A.
template <int Rows, int Vectors, ALayout Layout>
void multiply_parts(int64_t parts, int64_t jump, int64_t depth, const float* a, int64_t a_stride,
                    const float* b, int64_t b_stride, float* c, int64_t ldc, const TileEnd<float>& end) {
  constexpr int L = kLanes<float>;
  TileSums<float, Rows, Vectors> sum;
  HEBB_UNROLL for (int i = 0; i < Rows; ++i) {
    HEBB_UNROLL for (int j = 0; j < Vectors; ++j) sum[i][j] = hn::Zero(Tag<float>());
  }
  for (int64_t i = 0; i < parts; ++i, a += jump, b += depth * b_stride)
    add_products<Elements<float>, Layout, Rows, Vectors>(depth, a, a_stride, b, b_stride, L, nullptr, sum);
  finish_tile<Rows, Vectors>(sum, c, ldc, L, end);
}

template <int Vectors, ALayout Layout, int... I>
constexpr auto part_kernels(std::integer_sequence<int, I...>) {
  return std::array{&multiply_parts<I + 1, Vectors, Layout>...};
}

/// multiply_parts() for a tile of so many rows and columns, a multiple of kLanes.
template <ALayout Layout>
auto part_kernel(int64_t rows, int64_t columns) {
  using Rows = std::make_integer_sequence<int, kMaxTileRows>;
  static constexpr auto kWide = part_kernels<2, Layout>(Rows()), kNarrow = part_kernels<1, Layout>(Rows());
  return (columns < kTileColumns<float> ? kNarrow : kWide)[static_cast<size_t>(rows - 1)];
}

/// Rows of outputs: of each, pixels by filters.
void forward_rows(const ConvShape& s, const Band& band, int64_t outs, const float* in, const float* filters,
                  const float* bias, float* y) {
  const int64_t channels = s.out_channels;
  const EqualPieces pixels(s.out_w, kMaxTileRows);
  const bool streamed = streams(y, s.batch * s.out_h * s.out_w * channels, channels);
  for (int64_t row = 0; row < outs; ++row, in += band.drop, y += s.out_w * channels) {
    for (int64_t k = 0; k < channels; k += kTileColumns<float>) {
      TileEnd<float> end;
      end.col_bias = bias ? bias + k : nullptr;
      end.relu = s.relu;
      end.stream = streamed;
      for (int64_t p = 0; p < pixels.count; ++p) {
        const int64_t w = pixels.begin(p);
        part_kernel<ALayout::kRows>(pixels.size(p), channels - k)(
            s.kernel_h, band.jump, band.taps, in + w * band.step, band.step, filters + k, channels,
            y + w * channels + k, channels, end);
      }
    }
  }
  if (streamed) hwy::FlushStream();
}

/// What rows of gradients of outputs add to those of the filters, or begin them with.
void add_gradients(const ConvShape& s, const Band& band, int64_t outs, const float* in, const float* gy,
                   bool add, float* sums) {
  const int64_t channels = s.out_channels;
  const EqualPieces taps(band.taps, kMaxTileRows);
  TileEnd<float> end;
  end.accumulate = add;
  for (int64_t r = 0; r < s.kernel_h; ++r, in += band.jump, sums += band.taps * channels) {
    for (int64_t k = 0; k < channels; k += kTileColumns<float>) {
      for (int64_t p = 0; p < taps.count; ++p) {
        const int64_t t = taps.begin(p);
        part_kernel<ALayout::kColumns>(taps.size(p), channels - k)(outs, band.drop, s.out_w, in + t,
                                                                   band.step, gy + k, channels,
                                                                   sums + t * channels + k, channels, end);
      }
    }
  }
}

ThinKernels thin_kernels() { return {&forward_rows, &add_gradients}; }

}  // namespace HWY_NAMESPACE
}  // namespace hebb::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hebb::cpu {
namespace {

HWY_EXPORT(thin_kernels);

/// Calls fn(weight, place) for the place of every weight of an output channel among the taps.
template <class F>
void each_weight(const ConvShape& s, F fn) {
  const int64_t window = s.kernel_h * s.kernel_w;
  for (int64_t c = 0, weight = 0; c < s.in_channels; ++c)
    for (int64_t i = 0; i < window; ++i, ++weight) fn(weight, i * s.in_channels + c);
}

/// Calls fn(i, out_row, outs, band) for bands of rows i to i + outs of all outputs, `end` excluded; out_row
/// is the row in its image.
template <class F>
void each_band(const ConvShape& s, const Band& band, const float* x, int64_t begin, int64_t end, F fn) {
  float* const in = scratch<float>(ScratchUse::kConvPixels, band.rows(s, band.most) * band.row);
  for (int64_t i = begin, outs = 0; i < end; i += outs) {
    const int64_t row = i % s.out_h;
    outs = std::min({band.most, s.out_h - row, end - i});
    band.fill(s, x + i / s.out_h * s.in_h * s.in_w * s.in_channels, row, outs, in);
    fn(i, outs, in);
  }
}

}  // namespace

bool is_thin(const ConvShape& s) {
  constexpr int64_t kMostChannels = 4, kMultiple = 16;  // of outputs: whole vectors
  return s.groups == 1 && s.in_channels > 0 && s.in_channels <= kMostChannels && s.dilation_w == 1 &&
         s.kernel_h * s.kernel_w > 1 && s.out_channels > 0 && s.out_channels % kMultiple == 0 &&
         s.batch > 0 && s.out_h > 0 && s.out_w > 0;
}

int64_t thin_filters_size(const ConvShape& s) {
  return s.kernel_h * s.kernel_w * s.in_channels * s.out_channels;
}
void thin_filters(const ConvShape& s, const float* w, float* out) {
  const int64_t taps = thin_filters_size(s) / s.out_channels;
  each_weight(s, [&](int64_t weight, int64_t place) {
    for (int64_t k = 0; k < s.out_channels; ++k) out[place * s.out_channels + k] = w[k * taps + weight];
  });
}

void thin_forward(const ConvShape& s, const float* x, const float* w, const float* bias, float* y,
                  const float* filters) {
  const ThinKernels kernel = HWY_DYNAMIC_DISPATCH(thin_kernels)();
  const Band band(s);
  if (!filters) {
    float* const made = scratch<float>(ScratchUse::kConvPartial, thin_filters_size(s));
    thin_filters(s, w, made);
    filters = made;
  }
  const int64_t rows = s.batch * s.out_h;
  for_each_piece(ceil_div(rows, band.most), multiplications(s), [&](int64_t piece) {
    const int64_t begin = piece * band.most, end = std::min(rows, begin + band.most);
    each_band(s, band, x, begin, end, [&](int64_t i, int64_t outs, const float* in) {
      kernel.forward_rows(s, band, outs, in, filters, bias, y + i * s.out_w * s.out_channels);
    });
  });
}

// Rows of outputs in up to 16 chunks, each with its own sums, which are added in order: their number depends
// on the shape alone.
void thin_weight_grad(const ConvShape& s, const float* gy, const float* x, float* gw) {
  const ThinKernels kernel = HWY_DYNAMIC_DISPATCH(thin_kernels)();
  const Band band(s);
  const int64_t rows = s.batch * s.out_h, chunks = std::min<int64_t>(16, rows), size = thin_filters_size(s);
  float* const sums = scratch<float>(ScratchUse::kConvPartial, chunks * size);
  for_each_piece(chunks, multiplications(s), [&](int64_t chunk) {
    const int64_t begin = rows * chunk / chunks, end = rows * (chunk + 1) / chunks;
    each_band(s, band, x, begin, end, [&](int64_t i, int64_t outs, const float* in) {
      kernel.add_gradients(s, band, outs, in, gy + i * s.out_w * s.out_channels, i > begin,
                           sums + chunk * size);
    });
  });
  for (int64_t chunk = 1; chunk < chunks; ++chunk)
    for (int64_t i = 0; i < size; ++i) sums[i] += sums[chunk * size + i];
  const int64_t taps = size / s.out_channels;
  each_weight(s, [&](int64_t weight, int64_t place) {
    for (int64_t k = 0; k < s.out_channels; ++k) gw[k * taps + weight] = sums[place * s.out_channels + k];
  });
}

}  // namespace hebb::cpu
#endif  // HWY_ONCE
