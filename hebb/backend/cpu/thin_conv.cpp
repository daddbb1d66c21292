#include "hebb/backend/cpu/thin_conv.h"

#include <hwy/cache_control.h>

#include <algorithm>
#include <cstring>

#include "hebb/backend/cpu/gemm.h"
#include "hebb/backend/cpu/pieces.h"

#ifndef HEBB_BACKEND_CPU_THIN_CONV_TYPES_  // this file is compiled once for every instruction set
#define HEBB_BACKEND_CPU_THIN_CONV_TYPES_
namespace hebb::cpu {
namespace {

/// The input rows that a row of outputs sees: [column][kernel row][channel], columns with their padding.
struct Band {
  int64_t column, step, taps, size;  // elements of a column, from output to output, of all taps, of the band
  explicit Band(const ConvShape& s)
      : column(s.kernel_h * s.in_channels),
        step(s.stride_w * column),
        taps(s.kernel_w * column),
        size((s.out_w - 1) * step + taps) {}
  void fill(const ConvShape& s, const float* image, int64_t out_row, float* band) const {
    switch (s.in_channels) {
      case 1: return fill_of<1>(s, image, out_row, band);
      case 2: return fill_of<2>(s, image, out_row, band);
      case 3: return fill_of<3>(s, image, out_row, band);
      default: return fill_of<4>(s, image, out_row, band);
    }
  }

 private:
  template <int Channels>  // so that a pixel is a move or two
  void fill_of(const ConvShape& s, const float* image, int64_t out_row, float* band) const {
    static constexpr float kZeros[Channels] = {};
    const auto put = [](float* to, const float* from) { std::memcpy(to, from, sizeof(kZeros)); };
    const int64_t width = size / column;
    const int64_t begin = std::clamp<int64_t>(s.pad_left, 0, width);
    const int64_t end = std::clamp<int64_t>(s.pad_left + s.in_w, begin, width);
    for (int64_t r = 0; r < s.kernel_h; ++r) {
      const int64_t row = out_row * s.stride_h - s.pad_top + r * s.dilation_h;
      const bool inside = row >= 0 && row < s.in_h;
      const int64_t b = inside ? begin : width, e = inside ? end : width;
      const float* from = image + (row * s.in_w + b - s.pad_left) * Channels;
      float* to = band + r * Channels;
      for (int64_t w = 0; w < b; ++w, to += column) put(to, kZeros);
      for (int64_t w = b; w < e; ++w, to += column, from += Channels) put(to, from);
      for (int64_t w = e; w < width; ++w, to += column) put(to, kZeros);
    }
  }
};

struct ThinKernels {
  void (*forward_row)(const ConvShape&, const Band&, const float* band, const float* filters,
                      const float* bias, float* y);
  void (*add_gradients)(const ConvShape&, const Band&, const float* band, const float* gy, bool add,
                        float* sums);
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

constexpr int64_t kWide = 2 * kLanes<float>;  // columns of a tile

/// A row of outputs: pixels by filters.
void forward_row(const ConvShape& s, const Band& band, const float* in, const float* filters,
                 const float* bias, float* y) {
  const int64_t outs = s.out_channels;
  const EqualPieces pixels(s.out_w, kMaxTileRows);
  const bool streamed = streams(y, s.batch * s.out_h * s.out_w * outs, outs);
  for (int64_t k = 0; k < outs; k += kWide) {
    TileEnd<float> end;
    end.col_bias = bias ? bias + k : nullptr;
    end.relu = s.relu;
    end.stream = streamed;
    for (int64_t p = 0; p < pixels.count; ++p) {
      const int64_t w = pixels.begin(p);
      tile_kernel<float>(ALayout::kRows, pixels.size(p), outs - k < kWide ? 1 : 2)(
          band.taps, in + w * band.step, band.step, filters + k, outs, y + w * outs + k, outs, kLanes<float>,
          end);
    }
  }
  if (streamed) hwy::FlushStream();
}

/// What a row of gradients of outputs adds to those of the filters, or begins them with.
void add_gradients(const ConvShape& s, const Band& band, const float* in, const float* gy, bool add,
                   float* sums) {
  const int64_t outs = s.out_channels;
  const EqualPieces taps(band.taps, kMaxTileRows);
  TileEnd<float> end;
  end.accumulate = add;
  for (int64_t k = 0; k < outs; k += kWide) {
    for (int64_t p = 0; p < taps.count; ++p) {
      const int64_t t = taps.begin(p);
      tile_kernel<float>(ALayout::kColumns, taps.size(p), outs - k < kWide ? 1 : 2)(
          s.out_w, in + t, band.step, gy + k, outs, sums + t * outs + k, outs, kLanes<float>, end);
    }
  }
}

ThinKernels thin_kernels() { return {&forward_row, &add_gradients}; }

}  // namespace HWY_NAMESPACE
}  // namespace hebb::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hebb::cpu {
namespace {

HWY_EXPORT(thin_kernels);

/// Calls fn(weight, place) for the place of every weight of an output channel in the order of the band.
template <class F>
void each_weight(const ConvShape& s, F fn) {
  for (int64_t c = 0, weight = 0; c < s.in_channels; ++c)
    for (int64_t h = 0; h < s.kernel_h; ++h)
      for (int64_t w = 0; w < s.kernel_w; ++w, ++weight) fn(weight, (w * s.kernel_h + h) * s.in_channels + c);
}

}  // namespace

bool is_thin(const ConvShape& s) {
  constexpr int64_t kMostChannels = 4, kMultiple = 16;  // of outputs: whole vectors
  return s.groups == 1 && s.in_channels > 0 && s.in_channels <= kMostChannels && s.dilation_w == 1 &&
         s.kernel_h * s.kernel_w > 1 && s.out_channels > 0 && s.out_channels % kMultiple == 0 &&
         s.batch > 0 && s.out_h > 0 && s.out_w > 0;
}

int64_t thin_filters_size(const ConvShape& s) { return Band(s).taps * s.out_channels; }
void thin_filters(const ConvShape& s, const float* w, float* out) {
  const int64_t taps = Band(s).taps;
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
  for_each_piece(s.batch * s.out_h, multiplications(s), [&](int64_t i) {
    float* const in = scratch<float>(ScratchUse::kConvPixels, band.size);
    band.fill(s, x + i / s.out_h * s.in_h * s.in_w * s.in_channels, i % s.out_h, in);
    kernel.forward_row(s, band, in, filters, bias, y + i * s.out_w * s.out_channels);
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
    float* const in = scratch<float>(ScratchUse::kConvPixels, band.size);
    const int64_t begin = rows * chunk / chunks, end = rows * (chunk + 1) / chunks;
    for (int64_t i = begin; i < end; ++i) {
      band.fill(s, x + i / s.out_h * s.in_h * s.in_w * s.in_channels, i % s.out_h, in);
      kernel.add_gradients(s, band, in, gy + i * s.out_w * s.out_channels, i > begin, sums + chunk * size);
    }
  });
  for (int64_t chunk = 1; chunk < chunks; ++chunk)
    for (int64_t i = 0; i < size; ++i) sums[i] += sums[chunk * size + i];
  each_weight(s, [&](int64_t weight, int64_t place) {
    for (int64_t k = 0; k < s.out_channels; ++k)
      gw[k * band.taps + weight] = sums[place * s.out_channels + k];
  });
}

}  // namespace hebb::cpu
#endif  // HWY_ONCE
