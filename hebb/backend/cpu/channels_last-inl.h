// Loops over images whose channels are last: every pixel is a line of channels. Compiled once for every
// instruction set.
#if defined(HEBB_BACKEND_CPU_CHANNELS_LAST_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HEBB_BACKEND_CPU_CHANNELS_LAST_INL_H_
#undef HEBB_BACKEND_CPU_CHANNELS_LAST_INL_H_
#else
#define HEBB_BACKEND_CPU_CHANNELS_LAST_INL_H_
#endif

#include <algorithm>
#include <limits>

#include "hebb/backend/cpu/pack-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hebb::cpu {
namespace HWY_NAMESPACE {

/// Rows [first, end) of a matrix of `rows` rows of `columns` elements, as columns.
void turn(const float* x, int64_t rows, int64_t columns, int64_t first, int64_t end, float* y) {
  constexpr int64_t L = kLanes<float>;
  const Tag<float> d;
  for (int64_t r = first; r < end; r += L) {
    const int64_t height = std::min(L, end - r);
    for (int64_t c = 0; c < columns; c += L) {
      const int64_t width = std::min(L, columns - c);
      Vec<float> v[L];
      if (height == L && width == L) {
        HEBB_UNROLL for (int64_t i = 0; i < L; ++i) v[i] = hn::LoadU(d, x + (r + i) * columns + c);
        transpose_square<float>(v);
        HEBB_UNROLL for (int64_t i = 0; i < L; ++i) hn::StoreU(v[i], d, y + (c + i) * rows + r);
      } else {
        for (int64_t i = 0; i < height; ++i)
          for (int64_t j = 0; j < width; ++j) y[(c + j) * rows + r + i] = x[(r + i) * columns + c + j];
      }
    }
  }
}

/// The largest of each channel over the pixels of a window, and where it is. Of equal ones the first, and NaN
/// over all, the last of several.
void max_pixel(const float* image, const PixelWindow& w, int64_t channels, float* y, int64_t* indices) {
  const Tag<float> d;
  const hn::RebindToSigned<Tag<float>> di;
  alignas(64) int32_t places[kLanes<float>];
  for (int64_t c = 0; c < channels; c += kLanes<float>) {
    const int64_t n = std::min<int64_t>(kLanes<float>, channels - c);
    auto best = hn::Set(d, -std::numeric_limits<float>::infinity());
    auto at = hn::Set(di, static_cast<int32_t>(w.h0 * w.width + w.w0));
    for (int64_t h = w.h0; h < w.h1; h += w.step_h) {
      for (int64_t v = w.w0; v < w.w1; v += w.step_w) {
        const int64_t place = h * w.width + v;
        const auto value = load_first(image + place * channels + c, n);
        const auto wins = hn::Or(hn::Gt(value, best), hn::IsNaN(value));
        best = hn::IfThenElse(wins, value, best);
        at = hn::IfThenElse(hn::RebindMask(di, wins), hn::Set(di, static_cast<int32_t>(place)), at);
      }
    }
    store_first(best, y + c, n);
    hn::Store(at, di, places);
    for (int64_t i = 0; i < n; ++i) indices[c + i] = places[i];
  }
}

/// scale times the sum of each channel over the pixels of a window.
void average_pixel(const float* image, const PixelWindow& w, int64_t channels, float scale, float* y) {
  const Tag<float> d;
  for (int64_t c = 0; c < channels; c += kLanes<float>) {
    const int64_t n = std::min<int64_t>(kLanes<float>, channels - c);
    auto sum = hn::Zero(d);
    for (int64_t h = w.h0; h < w.h1; h += w.step_h)
      for (int64_t v = w.w0; v < w.w1; v += w.step_w)
        sum = hn::Add(sum, load_first(image + (h * w.width + v) * channels + c, n));
    store_first(hn::Mul(sum, hn::Set(d, scale)), y + c, n);
  }
}

/// Adds scale * g to every pixel of a window.
void spread_pixel(const float* g, const PixelWindow& w, int64_t channels, float scale, float* image) {
  const Tag<float> d;
  for (int64_t h = w.h0; h < w.h1; h += w.step_h) {
    for (int64_t v = w.w0; v < w.w1; v += w.step_w) {
      float* const to = image + (h * w.width + v) * channels;
      for (int64_t c = 0; c < channels; c += kLanes<float>) {
        const int64_t n = std::min<int64_t>(kLanes<float>, channels - c);
        const auto sum = hn::MulAdd(load_first(g + c, n), hn::Set(d, scale), load_first(to + c, n));
        store_first(sum, to + c, n);
      }
    }
  }
}

ChannelsLastKernels channels_last_kernels() { return {turn, max_pixel, average_pixel, spread_pixel}; }

}  // namespace HWY_NAMESPACE
}  // namespace hebb::cpu
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
