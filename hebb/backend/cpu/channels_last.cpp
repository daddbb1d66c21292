// Ops of images [N, H, W, C]: turning them from and to [N, C, H, W], pooling, convolutions. For floats of 32
// bits and convolutions of one group; the rest runs as the op of images [N, C, H, W].
#include <vector>

#include "hebb/backend/cpu/behind.h"
#include "hebb/backend/cpu/conv.h"
#include "hebb/backend/cpu/kernel_support.h"
#include "hebb/backend/cpu/row_moments.h"
#include "hebb/backend/cpu/steady.h"
#include "hebb/backend/cpu/thin_conv.h"
#include "hebb/core/check.h"
#include "hebb/core/parallel.h"
#include "hebb/ops/channels_last.h"
#include "hebb/ops/conv.h"
#include "hebb/ops/conv_attrs.h"
#include "hebb/ops/pool_attrs.h"
#include "hebb/ops/table.h"

#ifndef HEBB_BACKEND_CPU_CHANNELS_LAST_TYPES_  // this file is compiled once for every instruction set
#define HEBB_BACKEND_CPU_CHANNELS_LAST_TYPES_
namespace hebb::cpu {
namespace {

/// Pixels [h0, h1) x [w0, w1) of an image `width` wide, in steps.
struct PixelWindow {
  int64_t h0, h1, w0, w1, step_h, step_w, width;
};

struct ChannelsLastKernels {
  void (*turn)(const float* x, int64_t rows, int64_t columns, int64_t first, int64_t end, float* y);
  void (*max_pixel)(const float* image, const PixelWindow&, int64_t channels, float* y, int64_t* indices);
  void (*average_pixel)(const float* image, const PixelWindow&, int64_t channels, float scale, float* y);
  void (*spread_pixel)(const float* g, const PixelWindow&, int64_t channels, float scale, float* image);
};

}  // namespace
}  // namespace hebb::cpu
#endif

#include "hebb/backend/cpu/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hebb/backend/cpu/channels_last.cpp"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "hebb/backend/cpu/channels_last-inl.h"

#if HWY_ONCE
namespace hebb::cpu {
namespace {

HWY_EXPORT(channels_last_kernels);

const float* floats(const void* p) { return static_cast<const float*>(p); }
float* floats(void* p) { return static_cast<float*>(p); }

// ---- Turning

/// Each image as a matrix [rows][columns], transposed.
Kernel turning_kernel(int64_t images, int64_t rows, int64_t columns) {
  return [=](ExecContext&, const void* const* in, void* const* out) {
    const auto turn = HWY_DYNAMIC_DISPATCH(channels_last_kernels)().turn;
    constexpr int64_t kRows = 32;  // at a time
    const int64_t blocks = (rows + kRows - 1) / kRows;
    parallel_for(images * blocks, grain(0.5 * static_cast<double>(kRows * columns)),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t i = begin; i < end; ++i) {
                     const int64_t at = i / blocks * rows * columns, first = i % blocks * kRows;
                     turn(floats(in[0]) + at, rows, columns, first, std::min(rows, first + kRows),
                          floats(out[0]) + at);
                   }
                 });
  };
}
Kernel prepare_to_nhwc(const Attrs&, SpecPtrs in, SpecPtrs) {
  const Shape& s = in[0]->shape;
  return in[0]->dtype == f32 ? turning_kernel(s[0], s[1], s[2] * s[3]) : Kernel();
}
Kernel prepare_to_nchw(const Attrs&, SpecPtrs in, SpecPtrs) {
  const Shape& s = in[0]->shape;
  return in[0]->dtype == f32 ? turning_kernel(s[0], s[1] * s[2], s[3]) : Kernel();
}

// ---- Convolutions

ConvShape conv_shape(const Conv2dAttrs& a, const Shape& x, const Shape& w, const Shape& y) {
  return {x[0],         x[3],          x[1],          x[2],        y[3],        y[1],
          y[2],         w[2],          w[3],          a.stride[0], a.stride[1], a.padding[0],
          a.padding[2], a.dilation[0], a.dilation[1], 1,           true,        a.bf16};
}
/// Whether last_forward() and its kin can be called: an empty sum is not theirs.
bool served(const Conv2dAttrs& a, SpecPtrs in, SpecPtrs out) {
  return in[0]->dtype == f32 && a.groups == 1 && in[0]->shape.numel() > 0 && in[1]->shape.numel() > 0 &&
         out[0]->shape.numel() > 0;
}

/// Weights that stay, input 1, as either way of computing reads them.
template <Pass pass>
struct KeptFilters {
  std::array<Steady<float>, 2> kept;

  const float* of(const ExecContext& context, const ConvShape& s, const float* w) const {
    return kept[exact_conv() ? 1 : 0].of(
        context, 1, [&] { return last_filters_size(s, pass); },
        [&](float* to) { last_filters(s, pass, w, to); });
  }
};

/// What follows a convolution's sums.
enum class Then { nothing, relu, add_relu, moments };

template <Then then>
Kernel prepare_conv(const Attrs& attrs, SpecPtrs in, SpecPtrs out) {
  constexpr bool kAdds = then == Then::add_relu;
  const auto& a = attrs.as<Conv2dAttrs>();
  if (!served(a, in, out)) return {};
  ConvShape s = conv_shape(a, in[0]->shape, in[1]->shape, out[0]->shape);
  s.relu = then == Then::relu || kAdds;
  if (kAdds && is_thin(s)) return {};
  return [s, bias = in.size() >= 3, kept = KeptFilters<Pass::forward>()](
             ExecContext& context, const void* const* x, void* const* y) {
    const auto run = [&](const ConvEnd& end) {
      const float* const w = floats(x[1]);
      last_forward(s, floats(x[0]), w, bias ? floats(x[2]) : nullptr, floats(y[0]), kept.of(context, s, w),
                   end);
    };
    if constexpr (then == Then::moments) {
      RowMoments<float> moments(floats(y[0]), s.batch * s.out_h * s.out_w, s.out_channels);
      run({.ready = &moments});
      moments.finish(floats(y[1]), floats(y[2]));
    } else {
      run({.residual = kAdds ? floats(x[3]) : nullptr});
    }
  };
}
Kernel prepare_conv_input_grad(const Attrs& attrs, SpecPtrs in, SpecPtrs out) {
  const auto& a = attrs.as<Conv2dAttrs>();
  if (!served(a, in, out)) return {};
  const ConvShape s = conv_shape(a, out[0]->shape, in[1]->shape, in[0]->shape);
  return [s, kept = KeptFilters<Pass::input_grad>()](ExecContext& context, const void* const* x,
                                                     void* const* y) {
    const float* const w = floats(x[1]);
    last_input_grad(s, floats(x[0]), w, floats(y[0]), kept.of(context, s, w));
  };
}
template <Pass pass>
Kernel prepare_conv_fused(const Attrs& attrs, SpecPtrs in, SpecPtrs) {
  constexpr bool kForward = pass == Pass::forward;
  const auto& a = attrs.as<FusedBehindAttrs<Conv2dAttrs>>();
  const SpecPtrs own = in.first(static_cast<size_t>(a.count));
  const Specs made = (kForward ? ops::conv2d_nhwc : ops::conv2d_input_grad_nhwc).infer(own, a.sums);
  const TensorSpec* const sums = &made[0];
  if (!served(a.sums, own, SpecPtrs(&sums, 1))) return {};
  const Shape &x = kForward ? own[0]->shape : sums->shape, &y = kForward ? sums->shape : own[0]->shape;
  const ConvShape s = conv_shape(a.sums, x, own[1]->shape, y);
  return [s, bias = own.size() == 3, kept = KeptFilters<pass>(),
          behind = Behind(a, in, *sums, kForward ? s.out_channels : s.in_channels)](
             ExecContext& context, const void* const* inputs, void* const* outputs) {
    behind(inputs, outputs, [&](float* to, RowsReady* ready) {
      const float *const from = floats(inputs[0]), *const w = floats(inputs[1]);
      const float* const filters = kept.of(context, s, w);
      if constexpr (kForward) {
        last_forward(s, from, w, bias ? floats(inputs[2]) : nullptr, to, filters, {.ready = ready});
      } else {
        last_input_grad(s, from, w, to, filters, ready);
      }
    });
  };
}
Kernel prepare_conv_weight_grad(const Attrs& attrs, SpecPtrs in, SpecPtrs out) {
  const auto& a = attrs.as<Conv2dAttrs>();
  if (!served(a, in, out)) return {};
  const ConvShape s = conv_shape(a, in[1]->shape, out[0]->shape, in[0]->shape);
  return [s](ExecContext&, const void* const* x, void* const* y) {
    last_weight_grad(s, floats(x[0]), floats(x[1]), floats(y[0]));
  };
}

// ---- Pooling

/// Images of `large` pixels and of `small` ones, one for each window.
struct Pooling {
  int64_t images, channels;
  std::array<int64_t, 2> large, small, kernel, stride, padding, dilation;
  template <class A>
  Pooling(const A& a, const Shape& l, const Shape& s)
      : images(l[0]),
        channels(l[3]),
        large{l[1], l[2]},
        small{s[1], s[2]},
        kernel(a.kernel),
        stride(a.stride),
        padding(a.padding),
        dilation{1, 1} {
    if constexpr (requires { a.dilation; }) dilation = a.dilation;
  }
  int64_t large_size() const { return large[0] * large[1] * channels; }
  int64_t small_size() const { return small[0] * small[1] * channels; }
  double cost() const { return 0.2 * static_cast<double>(kernel[0] * kernel[1] * channels); }  // ns an output
  /// What of the window of an output lies within the image, and how many of its places do or would with the
  /// padding.
  PixelWindow window(int64_t row, int64_t column, int64_t* inside, int64_t* padded) const {
    int64_t begin[2], end[2], counted = 1, all = 1;
    for (int axis = 0; axis < 2; ++axis) {
      const int64_t step = dilation[axis], start = (axis ? column : row) * stride[axis] - padding[axis],
                    stop = start + (kernel[axis] - 1) * step + 1;
      begin[axis] = start >= 0 ? start : start + (-start + step - 1) / step * step;
      end[axis] = std::min(stop, large[axis]);
      counted *= end[axis] - begin[axis];
      all *= std::min(stop, large[axis] + padding[axis]) - start;
    }
    if (inside) *inside = counted;
    if (padded) *padded = all;
    return {begin[0], end[0], begin[1], end[1], dilation[0], dilation[1], large[1]};
  }
};

Kernel prepare_max_pool2d(const Attrs& attrs, SpecPtrs in, SpecPtrs out) {
  const Pooling p(attrs.as<MaxPoolAttrs>(), in[0]->shape, out[0]->shape);
  if (in[0]->dtype != f32 || p.large[0] * p.large[1] > (1 << 30)) return {};
  return [p](ExecContext&, const void* const* x, void* const* y) {
    const auto max_pixel = HWY_DYNAMIC_DISPATCH(channels_last_kernels)().max_pixel;
    parallel_for(p.images * p.small[0], grain(p.cost() * static_cast<double>(p.small[1])),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t row = begin; row < end; ++row) {
                     const float* image = floats(x[0]) + row / p.small[0] * p.large_size();
                     for (int64_t i = 0; i < p.small[1]; ++i) {
                       const int64_t at = (row * p.small[1] + i) * p.channels;
                       max_pixel(image, p.window(row % p.small[0], i, nullptr, nullptr), p.channels,
                                 floats(y[0]) + at, static_cast<int64_t*>(y[1]) + at);
                     }
                   }
                 });
  };
}

Kernel prepare_max_pool2d_grad(const Attrs&, SpecPtrs in, SpecPtrs out) {
  if (in[0]->dtype != f32 || in[1]->dtype != i64) return {};
  const Shape &small = in[0]->shape, &large = out[0]->shape;
  const int64_t channels = small[3], outputs = small[1] * small[2], places = large[1] * large[2];
  return [=, images = small[0], width = large[2], height = large[1]](ExecContext&, const void* const* inputs,
                                                                     void* const* y) {
    parallel_for(images, 1, [&](int64_t begin, int64_t end) {
      for (int64_t image = begin; image < end; ++image) {
        const float* g = floats(inputs[0]) + image * outputs * channels;
        const int64_t* at = static_cast<const int64_t*>(inputs[1]) + image * outputs * channels;
        float* const gx = floats(y[0]) + image * places * channels;
        std::fill(gx, gx + places * channels, 0.0f);
        for (int64_t i = 0; i < outputs; ++i, g += channels, at += channels) {
          for (int64_t c = 0; c < channels; ++c) {
            HEBB_CHECK(at[c] >= 0 && at[c] < places,
                       "[max_pool2d_grad_nhwc] expected indices below {} (a plane of {}x{}), got {}", places,
                       height, width, at[c]);
            gx[at[c] * channels + c] += g[c];
          }
        }
      }
    });
  };
}

/// What an average is multiplied by.
float scale_of(const AvgPoolAttrs& a, int64_t inside, int64_t padded) {
  return 1 / static_cast<float>(a.divisor ? a.divisor : a.count_include_pad ? padded : inside);
}

Kernel prepare_avg_pool2d(const Attrs& attrs, SpecPtrs in, SpecPtrs out) {
  if (in[0]->dtype != f32) return {};
  const auto a = attrs.as<AvgPoolAttrs>();
  const Pooling p(a, in[0]->shape, out[0]->shape);
  return [p, a](ExecContext&, const void* const* x, void* const* y) {
    const auto average_pixel = HWY_DYNAMIC_DISPATCH(channels_last_kernels)().average_pixel;
    parallel_for(p.images * p.small[0], grain(p.cost() * static_cast<double>(p.small[1])),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t row = begin; row < end; ++row) {
                     const float* image = floats(x[0]) + row / p.small[0] * p.large_size();
                     for (int64_t i = 0; i < p.small[1]; ++i) {
                       int64_t inside, padded;
                       const PixelWindow w = p.window(row % p.small[0], i, &inside, &padded);
                       average_pixel(image, w, p.channels, scale_of(a, inside, padded),
                                     floats(y[0]) + (row * p.small[1] + i) * p.channels);
                     }
                   }
                 });
  };
}

Kernel prepare_avg_pool2d_grad(const Attrs& attrs, SpecPtrs in, SpecPtrs out) {
  if (in[0]->dtype != f32) return {};
  const auto a = attrs.as<AvgPoolAttrs>();
  const Pooling p(a, out[0]->shape, in[0]->shape);
  return [p, a](ExecContext&, const void* const* x, void* const* y) {
    const auto spread_pixel = HWY_DYNAMIC_DISPATCH(channels_last_kernels)().spread_pixel;
    parallel_for(p.images, 1, [&](int64_t begin, int64_t end) {
      for (int64_t image = begin; image < end; ++image) {
        const float* g = floats(x[0]) + image * p.small_size();
        float* const gx = floats(y[0]) + image * p.large_size();
        std::fill(gx, gx + p.large_size(), 0.0f);
        for (int64_t i = 0; i < p.small[0] * p.small[1]; ++i) {
          int64_t inside, padded;
          const PixelWindow w = p.window(i / p.small[1], i % p.small[1], &inside, &padded);
          spread_pixel(g + i * p.channels, w, p.channels, scale_of(a, inside, padded), gx);
        }
      }
    });
  };
}

}  // namespace

std::vector<KernelEntry> nhwc_kernels() {
  return {{&ops::nchw_to_nhwc, prepare_to_nhwc},
          {&ops::nhwc_to_nchw, prepare_to_nchw},
          {&ops::conv2d_nhwc, prepare_conv<Then::nothing>},
          {&ops::conv2d_relu_nhwc, prepare_conv<Then::relu>},
          {&ops::conv2d_add_relu_nhwc, prepare_conv<Then::add_relu>},
          {&ops::conv2d_moments_nhwc, prepare_conv<Then::moments>},
          {&ops::conv2d_input_grad_nhwc, prepare_conv_input_grad},
          {&ops::conv2d_fused_nhwc, prepare_conv_fused<Pass::forward>},
          {&ops::conv2d_input_grad_fused_nhwc, prepare_conv_fused<Pass::input_grad>},
          {&ops::conv2d_weight_grad_nhwc, prepare_conv_weight_grad},
          {&ops::max_pool2d_nhwc, prepare_max_pool2d},
          {&ops::max_pool2d_grad_nhwc, prepare_max_pool2d_grad},
          {&ops::avg_pool2d_nhwc, prepare_avg_pool2d},
          {&ops::avg_pool2d_grad_nhwc, prepare_avg_pool2d_grad}};
}

}  // namespace hebb::cpu
#endif  // HWY_ONCE
