// Convolutions of images whose channels are last. Each is one matrix product whose rows are pixels: those of
// a kernel of 1x1 are the image itself, those of larger ones are gathered while the product packs them, so
// that columns exist a cache-sized block at a time.
#include <algorithm>
#include <vector>

#include "hebb/backend/cpu/conv.h"
#include "hebb/backend/cpu/gemm.h"
#include "hebb/backend/cpu/pieces.h"
#include "hebb/backend/cpu/thin_conv.h"
#include "hebb/backend/cpu/winograd.h"

namespace hebb::cpu {
namespace {

using Taps = std::vector<std::array<int64_t, 2>>;

bool is_pointwise(const ConvShape& s) {
  return s.kernel_h * s.kernel_w == 1 && s.stride_h == 1 && s.stride_w == 1 && s.pad_top == 0 &&
         s.pad_left == 0 && s.out_h == s.in_h && s.out_w == s.in_w;
}

/// The pixels under the taps of each output. Those of a row of the kernel are neighbours.
struct Columns {
  Taps taps;
  PixelRows<float> rows;
  Columns(const ConvShape& s, const float* x) {
    const int64_t run = s.dilation_w == 1 ? s.kernel_w : 1;
    for (int64_t h = 0; h < s.kernel_h; ++h)
      for (int64_t w = 0; w < s.kernel_w; w += run)
        taps.push_back({h * s.dilation_h - s.pad_top, w * s.dilation_w - s.pad_left});
    rows = {x, s.in_h, s.in_w, s.in_channels, s.out_h, s.out_w, s.stride_h, s.stride_w, taps, run};
  }
};

/// Calls fn(channel) for all output channels, each worth `elements` copied.
template <class F>
void each_channel(const ConvShape& s, int64_t elements, F fn) {
  for_each_piece(s.out_channels, 4.0 * static_cast<double>(s.out_channels * elements), fn);
}

/// Weights as [out_channels][taps][in_channels]: tap after tap, as rows of pixels are.
void weights_by_tap(const ConvShape& s, const float* w, float* by_tap) {
  const int64_t taps = s.kernel_h * s.kernel_w, depth = taps * s.in_channels;
  each_channel(s, depth, [&](int64_t o) {
    for (int64_t t = 0; t < taps; ++t)
      for (int64_t c = 0; c < s.in_channels; ++c)
        by_tap[o * depth + t * s.in_channels + c] = w[o * depth + c * taps + t];
  });
}

/// The product of rows of pixels and weights by tap.
Gemm<float> forward_product(const ConvShape& s, const float* x, const float* by_tap, const float* bias,
                            float* y) {
  const int64_t depth = s.kernel_h * s.kernel_w * s.in_channels;
  return {.m = s.batch * s.out_h * s.out_w,
          .n = s.out_channels,
          .k = depth,
          .a = x,
          .lda = s.in_channels,
          .b = by_tap,
          .ldb = depth,
          .trans_b = true,
          .c = y,
          .ldc = s.out_channels,
          .col_bias = bias,
          .relu = s.relu,
          .bf16 = s.bf16};
}
const float* weights_by_tap(const ConvShape& s, const float* w) {
  if (s.kernel_h * s.kernel_w == 1) return w;
  float* const by_tap =
      scratch<float>(ScratchUse::kConvPartial, s.out_channels * s.kernel_h * s.kernel_w * s.in_channels);
  weights_by_tap(s, w, by_tap);
  return by_tap;
}

/// Whether the windows lie side by side and cover the image: a product's row is then a window's gradient.
bool is_tiling(const ConvShape& s) {
  return s.kernel_h == s.stride_h && s.kernel_w == s.stride_w && s.dilation_h == 1 && s.dilation_w == 1 &&
         s.pad_top == 0 && s.pad_left == 0 && s.in_h == s.out_h * s.stride_h &&
         s.in_w == s.out_w * s.stride_w;
}

/// The input gradient of such a convolution: a row of windows is a product for each of its lines of pixels.
void tiling_input_grad(const ConvShape& s, const float* gy, const float* w, float* gx) {
  const int64_t taps = s.kernel_h * s.kernel_w, channels = s.in_channels, outs = s.out_channels;
  const int64_t run = s.kernel_w * channels, size = packed_b_size<float>(run, outs);
  float* const lines = scratch<float>(ScratchUse::kConvPartial, s.kernel_h * outs * run);
  float* const packed = scratch<float>(ScratchUse::kConvPixels, s.kernel_h * size);
  each_channel(s, taps * channels, [&](int64_t o) {
    for (int64_t t = 0; t < taps; ++t)
      for (int64_t c = 0; c < channels; ++c)
        lines[(t / s.kernel_w * outs + o) * run + t % s.kernel_w * channels + c] =
            w[(o * channels + c) * taps + t];
  });
  Gemm<float> g{.m = s.out_w,
                .n = run,
                .k = outs,
                .a = gy,
                .lda = outs,
                .b = nullptr,
                .ldb = run,
                .c = nullptr,
                .ldc = run,
                .bf16 = s.bf16};
  for (int64_t h = 0; h < s.kernel_h; ++h) {
    g.b = lines + h * outs * run;
    pack_b_whole(g, packed + h * size);
  }
  for_each_piece(s.batch * s.out_h, static_cast<double>(s.batch * s.out_h * s.out_w * outs * taps * channels),
                 [&](int64_t i) {
                   Gemm<float> line = g;
                   line.a = gy + i * s.out_w * outs;
                   for (int64_t h = 0; h < s.kernel_h; ++h) {
                     line.b_packed = packed + h * size;
                     line.c = gx + (i * s.kernel_h + h) * s.in_w * channels;
                     gemm_serial(line);
                   }
                 });
}

}  // namespace

int64_t last_filters_size(const ConvShape& s) {
  return is_winograd_forward(s) ? winograd_filters_size(s)
         : is_thin(s)           ? thin_filters_size(s)
                      : packed_b_size<float>(s.out_channels, s.kernel_h * s.kernel_w * s.in_channels);
}
void last_filters(const ConvShape& s, const float* w, float* out) {
  if (is_winograd_forward(s)) return winograd_filters(s, w, out);
  if (is_thin(s)) return thin_filters(s, w, out);
  pack_b_whole(forward_product(s, nullptr, weights_by_tap(s, w), nullptr, nullptr), out);
}

void last_forward(const ConvShape& s, const float* x, const float* w, const float* bias, float* y,
                  const float* filters, const float* residual) {
  if (is_winograd_forward(s)) return winograd_forward(s, x, w, bias, y, filters, residual);
  if (is_thin(s)) return thin_forward(s, x, w, bias, y, filters);
  Gemm<float> g = forward_product(s, x, filters ? nullptr : weights_by_tap(s, w), bias, y);
  g.b_packed = filters;
  g.residual = residual;
  if (is_pointwise(s)) return gemm(g);
  const Columns columns(s, x);
  g.a_rows = &columns.rows;
  gemm(g);
}

// With strides, pixels fall into phases by the taps that reach them; each phase is a convolution of its own.
void last_input_grad(const ConvShape& s, const float* gy, const float* w, float* gx) {
  if (is_winograd_input_grad(s)) return winograd_input_grad(s, gy, w, gx);
  const int64_t taps = s.kernel_h * s.kernel_w, channels = s.in_channels, outs = s.out_channels;
  Gemm<float> g{.m = s.batch * s.in_h * s.in_w,
                .n = channels,
                .k = outs,
                .a = gy,
                .lda = outs,
                .b = w,
                .ldb = channels,
                .c = gx,
                .ldc = channels,
                .bf16 = s.bf16};
  if (is_pointwise(s)) return gemm(g);
  if (is_tiling(s)) return tiling_input_grad(s, gy, w, gx);
  const bool whole = s.stride_h == 1 && s.stride_w == 1;  // one phase: its rows are gx itself
  for (int64_t phase_h = 0; phase_h < s.stride_h; ++phase_h) {
    for (int64_t phase_w = 0; phase_w < s.stride_w; ++phase_w) {
      const int64_t rows = ceil_div(s.in_h - phase_h, s.stride_h),
                    width = ceil_div(s.in_w - phase_w, s.stride_w);
      if (rows <= 0 || width <= 0) continue;
      Taps from;
      std::vector<int64_t> used;
      for (int64_t t = 0; t < taps; ++t) {
        const int64_t h = phase_h + s.pad_top - t / s.kernel_w * s.dilation_h,
                      v = phase_w + s.pad_left - t % s.kernel_w * s.dilation_w;
        if (h % s.stride_h != 0 || v % s.stride_w != 0) continue;
        from.push_back({h / s.stride_h, v / s.stride_w});
        used.push_back(t);
      }
      const auto reached = static_cast<int64_t>(used.size());
      g.m = s.batch * rows * width;
      float* const out = whole ? gx : scratch<float>(ScratchUse::kConvPlanes, g.m * channels);
      if (reached > 0) {
        float* const by_tap = scratch<float>(ScratchUse::kConvPartial, reached * outs * channels);
        each_channel(s, reached * channels, [&](int64_t o) {
          for (int64_t t = 0; t < reached; ++t)
            for (int64_t c = 0; c < channels; ++c)
              by_tap[(t * outs + o) * channels + c] = w[(o * channels + c) * taps + used[t]];
        });
        const PixelRows<float> gradients{gy, s.out_h, s.out_w, outs, rows, width, 1, 1, from};
        g.a_rows = &gradients;
        g.b = by_tap;
        g.k = reached * outs;
        g.c = out;
        gemm(g);
      }
      if (whole && reached > 0) continue;
      for_each_piece(s.batch * rows, static_cast<double>(g.m * channels), [&](int64_t i) {
        float* to =
            gx + ((i / rows * s.in_h + i % rows * s.stride_h + phase_h) * s.in_w + phase_w) * channels;
        const float* row = out + i * width * channels;
        for (int64_t v = 0; v < width; ++v, to += s.stride_w * channels, row += channels) {
          if (reached > 0) std::copy(row, row + channels, to);
          else std::fill(to, to + channels, 0.0f);
        }
      });
    }
  }
}

void last_weight_grad(const ConvShape& s, const float* gy, const float* x, float* gw) {
  if (is_winograd(s)) return winograd_weight_grad(s, gy, x, gw);
  if (is_thin(s)) return thin_weight_grad(s, gy, x, gw);
  const int64_t taps = s.kernel_h * s.kernel_w, depth = taps * s.in_channels;
  Gemm<float> g{.m = s.out_channels,
                .n = depth,
                .k = s.batch * s.out_h * s.out_w,
                .a = gy,
                .lda = s.out_channels,
                .trans_a = true,
                .b = x,
                .ldb = s.in_channels,
                .c = gw,
                .ldc = depth,
                .bf16 = s.bf16};
  if (is_pointwise(s)) return gemm(g);
  const Columns columns(s, x);
  g.b_rows = &columns.rows;
  if (taps > 1) g.c = scratch<float>(ScratchUse::kConvPartial, s.out_channels * depth);
  gemm(g);
  if (taps == 1) return;
  each_channel(s, depth, [&](int64_t o) {
    for (int64_t c = 0; c < s.in_channels; ++c)
      for (int64_t t = 0; t < taps; ++t)
        gw[o * depth + c * taps + t] = g.c[o * depth + t * s.in_channels + c];
  });
}

}  // namespace hebb::cpu
