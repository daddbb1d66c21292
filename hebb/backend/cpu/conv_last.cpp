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

/// Whether windows of several pixels lie side by side and cover the image: a product's row is then a window's
/// gradient.
bool is_tiling(const ConvShape& s) {
  return s.kernel_h * s.kernel_w > 1 && s.kernel_h == s.stride_h && s.kernel_w == s.stride_w &&
         s.dilation_h == 1 && s.dilation_w == 1 && s.pad_top == 0 && s.pad_left == 0 &&
         s.in_h == s.out_h * s.stride_h && s.in_w == s.out_w * s.stride_w;
}

/// The input gradient of such a convolution: a row of windows is a product for each of its lines of pixels.
struct Tiling {
  const ConvShape& s;
  int64_t run = s.kernel_w * s.in_channels, packed_line = packed_b_size<float>(run, s.out_channels);

  Gemm<float> line() const {
    return {.m = s.out_w,
            .n = run,
            .k = s.out_channels,
            .a = nullptr,
            .lda = s.out_channels,
            .b = nullptr,
            .ldb = run,
            .c = nullptr,
            .ldc = run,
            .bf16 = s.bf16};
  }
  int64_t filters_size() const { return s.kernel_h * packed_line; }
  void filters(const float* w, float* out) const {
    const int64_t taps = s.kernel_h * s.kernel_w, channels = s.in_channels, outs = s.out_channels;
    float* const lines = scratch<float>(ScratchUse::kConvPartial, s.kernel_h * outs * run);
    each_channel(s, taps * channels, [&](int64_t o) {
      for (int64_t t = 0; t < taps; ++t)
        for (int64_t c = 0; c < channels; ++c)
          lines[(t / s.kernel_w * outs + o) * run + t % s.kernel_w * channels + c] =
              w[(o * channels + c) * taps + t];
    });
    Gemm<float> g = line();
    for (int64_t h = 0; h < s.kernel_h; ++h) {
      g.b = lines + h * outs * run;
      pack_b_whole(g, out + h * packed_line);
    }
  }
  void input_grad(const float* gy, const float* packed, float* gx) const {
    for_each_piece(s.batch * s.out_h,
                   static_cast<double>(s.batch * s.out_h * s.out_w * s.out_channels) *
                       static_cast<double>(s.kernel_h * run),
                   [&](int64_t i) {
                     Gemm<float> g = line();
                     g.a = gy + i * s.out_w * s.out_channels;
                     for (int64_t h = 0; h < s.kernel_h; ++h) {
                       g.b_packed = packed + h * packed_line;
                       g.c = gx + (i * s.kernel_h + h) * s.in_w * s.in_channels;
                       gemm_serial(g);
                     }
                   });
  }
};

/// With strides, pixels of the input fall into phases by the taps that reach them; the input gradient of each
/// is a convolution of its own.
struct Phase {
  int64_t top, left, rows, width;  // from the first pixel on, in steps of the strides
  Taps from;                       // the gradients of outputs that reach a pixel,
  std::vector<int64_t> used;       // through these taps of the kernel

  int64_t reached() const { return static_cast<int64_t>(used.size()); }
  Gemm<float> product(const ConvShape& s) const {
    return {.m = s.batch * rows * width,
            .n = s.in_channels,
            .k = reached() * s.out_channels,
            .a = nullptr,
            .lda = s.out_channels,
            .b = nullptr,
            .ldb = s.in_channels,
            .c = nullptr,
            .ldc = s.in_channels,
            .bf16 = s.bf16};
  }
  /// Those taps of the weights, [tap][out_channels][in_channels].
  const float* weights(const ConvShape& s, const float* w) const {
    if (s.kernel_h * s.kernel_w == 1) return w;
    const int64_t taps = s.kernel_h * s.kernel_w, channels = s.in_channels, outs = s.out_channels;
    float* const by_tap = scratch<float>(ScratchUse::kConvPartial, reached() * outs * channels);
    each_channel(s, reached() * channels, [&](int64_t o) {
      for (int64_t t = 0; t < reached(); ++t)
        for (int64_t c = 0; c < channels; ++c)
          by_tap[(t * outs + o) * channels + c] = w[(o * channels + c) * taps + used[t]];
    });
    return by_tap;
  }
};
std::vector<Phase> phases_of(const ConvShape& s) {
  std::vector<Phase> phases;
  for (int64_t i = 0; i < s.stride_h * s.stride_w; ++i) {
    const int64_t h = i / s.stride_w, w = i % s.stride_w;
    Phase p{h, w, ceil_div(s.in_h - h, s.stride_h), ceil_div(s.in_w - w, s.stride_w), {}, {}};
    if (p.rows <= 0 || p.width <= 0) continue;
    for (int64_t t = 0; t < s.kernel_h * s.kernel_w; ++t) {
      const int64_t down = h + s.pad_top - t / s.kernel_w * s.dilation_h,
                    right = w + s.pad_left - t % s.kernel_w * s.dilation_w;
      if (down % s.stride_h != 0 || right % s.stride_w != 0) continue;
      p.from.push_back({down / s.stride_h, right / s.stride_w});
      p.used.push_back(t);
    }
    phases.push_back(std::move(p));
  }
  return phases;
}
int64_t packed_size(const ConvShape& s, const Phase& p) {
  return packed_b_size<float>(s.in_channels, p.reached() * s.out_channels);
}

}  // namespace

int64_t last_filters_size(const ConvShape& s, Pass pass) {
  if (pass == Pass::forward) {
    return is_winograd_forward(s) ? winograd_filters_size(s, pass)
           : is_thin(s)           ? thin_filters_size(s)
                        : packed_b_size<float>(s.out_channels, s.kernel_h * s.kernel_w * s.in_channels);
  }
  if (is_winograd_input_grad(s)) return winograd_filters_size(s, pass);
  if (is_tiling(s)) return Tiling{s}.filters_size();
  int64_t size = 0;
  for (const Phase& p : phases_of(s)) size += packed_size(s, p);
  return size;
}
void last_filters(const ConvShape& s, Pass pass, const float* w, float* out) {
  if (pass == Pass::forward) {
    if (is_winograd_forward(s)) return winograd_filters(s, pass, w, out);
    if (is_thin(s)) return thin_filters(s, w, out);
    return pack_b_whole(forward_product(s, nullptr, weights_by_tap(s, w), nullptr, nullptr), out);
  }
  if (is_winograd_input_grad(s)) return winograd_filters(s, pass, w, out);
  if (is_tiling(s)) return Tiling{s}.filters(w, out);
  for (const Phase& p : phases_of(s)) {
    if (p.reached() == 0) continue;
    Gemm<float> g = p.product(s);
    g.b = p.weights(s, w);
    pack_b_whole(g, out);
    out += packed_size(s, p);
  }
}

void last_forward(const ConvShape& s, const float* x, const float* w, const float* bias, float* y,
                  const float* filters, const ConvEnd& end) {
  if (is_winograd_forward(s)) return winograd_forward(s, x, w, bias, y, filters, end);
  if (is_thin(s)) return thin_forward(s, x, w, bias, y, filters);
  Gemm<float> g = forward_product(s, x, filters ? nullptr : weights_by_tap(s, w), bias, y);
  g.b_packed = filters;
  g.residual = end.residual;
  g.ready = end.ready;
  if (is_pointwise(s)) return gemm(g);
  const Columns columns(s, x);
  g.a_rows = &columns.rows;
  gemm(g);
}

void last_input_grad(const ConvShape& s, const float* gy, const float* w, float* gx, const float* filters,
                     RowsReady* ready) {
  if (is_winograd_input_grad(s)) return winograd_input_grad(s, gy, w, gx, filters, ready);
  if (is_tiling(s)) {
    const Tiling tiling{s};
    if (!filters) {
      float* const made = scratch<float>(ScratchUse::kConvPixels, tiling.filters_size());
      tiling.filters(w, made);
      filters = made;
    }
    return tiling.input_grad(gy, filters, gx);
  }
  const int64_t channels = s.in_channels;
  const bool whole = s.stride_h == 1 && s.stride_w == 1;  // one phase: its rows are gx itself
  for (const Phase& p : phases_of(s)) {
    Gemm<float> g = p.product(s);
    float* const out = whole ? gx : scratch<float>(ScratchUse::kConvPlanes, g.m * channels);
    if (p.reached() > 0) {
      const PixelRows<float> gradients{gy, s.out_h, s.out_w, s.out_channels, p.rows, p.width, 1, 1, p.from};
      if (is_pointwise(s)) g.a = gy;
      else g.a_rows = &gradients;
      if (filters) {
        g.b_packed = filters;
        filters += packed_size(s, p);
      } else {
        g.b = p.weights(s, w);
      }
      g.c = out;
      if (whole) g.ready = ready;
      gemm(g);
      if (whole) continue;
    }
    for_each_piece(s.batch * p.rows, static_cast<double>(g.m * channels), [&](int64_t i) {
      const int64_t h = i % p.rows * s.stride_h + p.top;
      float* to = gx + ((i / p.rows * s.in_h + h) * s.in_w + p.left) * channels;
      const float* row = out + i * p.width * channels;
      for (int64_t v = 0; v < p.width; ++v, to += s.stride_w * channels, row += channels) {
        if (p.reached() > 0) std::copy(row, row + channels, to);
        else std::fill(to, to + channels, 0.0f);
      }
    });
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
