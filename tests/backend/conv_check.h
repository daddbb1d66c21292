// Convolutions and their gradients against seven plain loops in a wider type, on every instruction set that
// this machine has, and the same bits for every number of threads.
#pragma once
#include "hebb/backend/cpu/conv.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "hebb/ops/conv.h"
#include "tests/backend/targets.h"

namespace hebb::cpu::test {

template <class T>
using Wide = std::conditional_t<std::is_same_v<T, float>, double, long double>;

struct Options {
  int64_t batch = 2, in_channels = 3, in_h = 7, in_w = 9, out_channels = 5, kernel_h = 3, kernel_w = 3;
  int64_t stride_h = 1, stride_w = 1, pad_top = 0, pad_left = 0, pad_bottom = 0, pad_right = 0;
  int64_t dilation_h = 1, dilation_w = 1, groups = 1;
};

inline int64_t outputs(int64_t in, int64_t pad, int64_t kernel, int64_t dilation, int64_t stride) {
  const int64_t room = in + pad - (kernel - 1) * dilation - 1;
  return room < 0 ? 0 : room / stride + 1;
}

inline ConvShape shape_of(const Options& o) {
  return {o.batch,
          o.in_channels,
          o.in_h,
          o.in_w,
          o.out_channels,
          outputs(o.in_h, o.pad_top + o.pad_bottom, o.kernel_h, o.dilation_h, o.stride_h),
          outputs(o.in_w, o.pad_left + o.pad_right, o.kernel_w, o.dilation_w, o.stride_w),
          o.kernel_h,
          o.kernel_w,
          o.stride_h,
          o.stride_w,
          o.pad_top,
          o.pad_left,
          o.dilation_h,
          o.dilation_w,
          o.groups};
}

inline std::string name(const ConvShape& s) {
  const auto text = [](int64_t v) { return std::to_string(v) + " "; };
  return "x " + text(s.batch) + text(s.in_channels) + text(s.in_h) + text(s.in_w) + "y " +
         text(s.out_channels) + text(s.out_h) + text(s.out_w) + "kernel " + text(s.kernel_h) +
         text(s.kernel_w) + "stride " + text(s.stride_h) + text(s.stride_w) + "pad " + text(s.pad_top) +
         text(s.pad_left) + "dilation " + text(s.dilation_h) + text(s.dilation_w) + "groups " +
         text(s.groups);
}

/// Calls fn(x index, w index, y index) for every product of a convolution.
template <class F>
void for_each_product(const ConvShape& s, F fn) {
  const int64_t group_in = s.in_channels / s.groups, group_out = s.out_channels / s.groups;
  for (int64_t n = 0; n < s.batch; ++n) {
    for (int64_t o = 0; o < s.out_channels; ++o) {
      for (int64_t oh = 0; oh < s.out_h; ++oh) {
        for (int64_t ow = 0; ow < s.out_w; ++ow) {
          for (int64_t c = 0; c < group_in; ++c) {
            for (int64_t kh = 0; kh < s.kernel_h; ++kh) {
              for (int64_t kw = 0; kw < s.kernel_w; ++kw) {
                const int64_t ih = oh * s.stride_h - s.pad_top + kh * s.dilation_h;
                const int64_t iw = ow * s.stride_w - s.pad_left + kw * s.dilation_w;
                if (ih < 0 || ih >= s.in_h || iw < 0 || iw >= s.in_w) continue;
                const int64_t channel = o / group_out * group_in + c;
                fn(((n * s.in_channels + channel) * s.in_h + ih) * s.in_w + iw,
                   ((o * group_in + c) * s.kernel_h + kh) * s.kernel_w + kw,
                   ((n * s.out_channels + o) * s.out_h + oh) * s.out_w + ow);
              }
            }
          }
        }
      }
    }
  }
}

template <class T>
struct Expected {
  std::vector<Wide<T>> sum, magnitude;
  explicit Expected(size_t size) : sum(size), magnitude(size) {}
  void add(int64_t i, Wide<T> v) {
    sum[static_cast<size_t>(i)] += v;
    magnitude[static_cast<size_t>(i)] += std::abs(v);
  }
  /// Takes the largest magnitude for all: rounded transforms of a tile err alike on all of its outputs.
  void level() {
    const auto largest = std::max_element(magnitude.begin(), magnitude.end());
    if (largest != magnitude.end()) magnitude.assign(magnitude.size(), Wide<T>(*largest));
  }
};

template <class T>
std::vector<T> random_values(int64_t n, std::mt19937& rng) {
  std::uniform_real_distribution<T> uniform(-1, 1);
  std::vector<T> v(static_cast<size_t>(n));
  for (T& e : v) e = uniform(rng);
  return v;
}

/// Of sums of up to a few thousand products, in any order, by the sum of their magnitudes.
template <class T>
constexpr double kTolerance = 100 * static_cast<double>(std::numeric_limits<T>::epsilon());

/// Runs `kernel` into memory of NaN with 1, 2, 3 and 5 threads and compares.
template <class T, class F>
void check(const char* direction, const Expected<T>& expected, F kernel, double tolerance = kTolerance<T>) {
  SCOPED_TRACE(direction);
  const size_t size = expected.sum.size();
  std::vector<T> first;
  for (const int threads : {1, 2, 3, 5}) {
    const test_support::Threads set(threads);
    std::vector<T> result(size, std::numeric_limits<T>::quiet_NaN());
    kernel(result.data());
    if (threads == 1) first = result;
    EXPECT_TRUE(size == 0 || std::memcmp(first.data(), result.data(), size * sizeof(T)) == 0)
        << threads << " threads";
  }
  for (size_t i = 0; i < size; ++i) {
    const auto error = static_cast<double>(std::abs(first[i] - expected.sum[i]));
    ASSERT_LE(error, tolerance * static_cast<double>(expected.magnitude[i])) << i;
  }
}

/// Operands of all directions of a convolution, [N, C, H, W], and what is expected of them. With `bf16`
/// operands are rounded, whose error the tolerance allows.
template <class T>
struct Problem {
  double tolerance;
  std::vector<T> x, w, gy, bias;
  Expected<T> y, gx, gw;  // y without the bias

  Problem(const ConvShape& s, uint32_t seed) : Problem(s, std::mt19937(seed)) {}
  void add_bias(const ConvShape& s) {
    const int64_t pixels = s.out_h * s.out_w;
    for (int64_t i = 0; i < static_cast<int64_t>(gy.size()); ++i)
      y.add(i, bias[static_cast<size_t>(i / pixels % s.out_channels)]);
  }

 private:
  Problem(const ConvShape& s, std::mt19937 rng)
      : tolerance(s.bf16 ? 0x1p-6 : kTolerance<T>),
        x(random_values<T>(s.batch * s.in_channels * s.in_h * s.in_w, rng)),
        w(random_values<T>(s.out_channels * (s.in_channels / s.groups) * s.kernel_h * s.kernel_w, rng)),
        gy(random_values<T>(s.batch * s.out_channels * s.out_h * s.out_w, rng)),
        bias(random_values<T>(s.out_channels, rng)),
        y(gy.size()),
        gx(x.size()),
        gw(w.size()) {
    for_each_product(s, [&](int64_t ix, int64_t iw, int64_t iy) {
      const Wide<T> xv = x[static_cast<size_t>(ix)], wv = w[static_cast<size_t>(iw)],
                    gv = gy[static_cast<size_t>(iy)];
      y.add(iy, xv * wv);
      gx.add(ix, gv * wv);
      gw.add(iw, gv * xv);
    });
  }
};

/// All directions.
template <class T>
void check_all(const Options& options, bool bf16 = false) {
  ConvShape s = shape_of(options);
  s.bf16 = bf16;
  SCOPED_TRACE(name(s));
  Problem<T> p(s, 7);
  const T *const x = p.x.data(), *const w = p.w.data(), *const gy = p.gy.data();
  if (bf16) p.y.level(), p.gx.level(), p.gw.level();
  check<T>(
      "forward", p.y, [&](T* out) { conv2d_forward<T>(s, x, w, nullptr, out); }, p.tolerance);
  p.add_bias(s);
  check<T>(
      "forward with bias", p.y, [&](T* out) { conv2d_forward(s, x, w, p.bias.data(), out); }, p.tolerance);
  check<T>(
      "input gradient", p.gx, [&](T* out) { conv2d_input_grad(s, gy, w, out); }, p.tolerance);
  check<T>(
      "weight gradient", p.gw, [&](T* out) { conv2d_weight_grad(s, gy, x, out); }, p.tolerance);
}

/// [n][channels][pixels] as [n][pixels][channels].
template <class T>
std::vector<T> channels_last(const std::vector<T>& x, int64_t n, int64_t channels, int64_t pixels) {
  std::vector<T> y(x.size());
  for (int64_t i = 0; i < n; ++i)
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t p = 0; p < pixels; ++p)
        y[static_cast<size_t>((i * pixels + p) * channels + c)] =
            x[static_cast<size_t>((i * channels + c) * pixels + p)];
  return y;
}

/// All directions of images whose channels are last.
inline void check_last(const Options& options, bool bf16 = false) {
  ConvShape s = shape_of(options);
  s.bf16 = bf16;
  SCOPED_TRACE(name(s));
  Problem<float> p(s, 11);
  p.add_bias(s);
  if (bf16) p.y.level(), p.gx.level(), p.gw.level();
  const int64_t in_pixels = s.in_h * s.in_w, pixels = s.out_h * s.out_w;
  const auto turn = [&](Expected<float>& e, int64_t channels, int64_t of_each) {
    e.sum = channels_last(e.sum, s.batch, channels, of_each);
    e.magnitude = channels_last(e.magnitude, s.batch, channels, of_each);
  };
  turn(p.y, s.out_channels, pixels);
  turn(p.gx, s.in_channels, in_pixels);
  const auto x_last = channels_last(p.x, s.batch, s.in_channels, in_pixels),
             gy_last = channels_last(p.gy, s.batch, s.out_channels, pixels);
  const float *const x = x_last.data(), *const w = p.w.data(), *const gy = gy_last.data();
  s.channels_last = true;
  const auto made_before = [&](Pass pass) {
    std::vector<float> filters(static_cast<size_t>(last_filters_size(s, pass)));
    last_filters(s, pass, w, filters.data());
    return filters;
  };
  const auto filters = made_before(Pass::forward), turned_filters = made_before(Pass::input_grad);
  check<float>(
      "forward", p.y, [&](float* out) { last_forward(s, x, w, p.bias.data(), out); }, p.tolerance);
  check<float>(
      "with filters made before", p.y,
      [&](float* out) { last_forward(s, x, nullptr, p.bias.data(), out, filters.data()); }, p.tolerance);
  check<float>(
      "input gradient", p.gx, [&](float* out) { last_input_grad(s, gy, w, out); }, p.tolerance);
  check<float>(
      "input gradient, with filters made before", p.gx,
      [&](float* out) { last_input_grad(s, gy, nullptr, out, turned_filters.data()); }, p.tolerance);
  check<float>(
      "weight gradient", p.gw, [&](float* out) { last_weight_grad(s, gy, x, out); }, p.tolerance);
}

/// Direct convolutions for its lifetime.
struct Exactly {
  Exactly() { set_exact_conv(true); }
  ~Exactly() { set_exact_conv(false); }
};

/// Largest differences to f64, of outputs, input and weight gradients.
struct Errors {
  double forward, input, weight;
};
inline Errors errors(const ConvShape& s) {
  std::mt19937 rng(3);
  const auto x = random_values<float>(s.batch * s.in_channels * s.in_h * s.in_w, rng);
  const auto w = random_values<float>(s.out_channels * s.in_channels * s.kernel_h * s.kernel_w, rng);
  const auto gy = random_values<float>(s.batch * s.out_channels * s.out_h * s.out_w, rng);
  const auto as_inputs = [&](const auto& v) {
    return s.channels_last ? channels_last(v, s.batch, s.in_channels, s.in_h * s.in_w) : v;
  };
  const auto as_outputs = [&](const auto& v) {
    return s.channels_last ? channels_last(v, s.batch, s.out_channels, s.out_h * s.out_w) : v;
  };
  const auto wide = [](const std::vector<float>& v) { return std::vector<double>(v.begin(), v.end()); };
  const auto worst = [](const std::vector<float>& single, const std::vector<double>& exact) {
    double most = 0;
    for (size_t i = 0; i < single.size(); ++i) most = std::max(most, std::abs(single[i] - exact[i]));
    return most;
  };
  std::vector<float> y(gy.size()), gx(x.size()), gw(w.size());
  const auto x_in = as_inputs(x), gy_in = as_outputs(gy);
  if (s.channels_last) {
    last_forward(s, x_in.data(), w.data(), nullptr, y.data());
    last_input_grad(s, gy_in.data(), w.data(), gx.data());
    last_weight_grad(s, gy_in.data(), x_in.data(), gw.data());
  } else {
    conv2d_forward<float>(s, x_in.data(), w.data(), nullptr, y.data());
    conv2d_input_grad(s, gy_in.data(), w.data(), gx.data());
    conv2d_weight_grad(s, gy_in.data(), x_in.data(), gw.data());
  }
  ConvShape plain = s;
  plain.channels_last = false;
  std::vector<double> y_exact(gy.size()), gx_exact(x.size()), gw_exact(w.size());
  conv2d_forward<double>(plain, wide(x).data(), wide(w).data(), nullptr, y_exact.data());
  conv2d_input_grad(plain, wide(gy).data(), wide(w).data(), gx_exact.data());
  conv2d_weight_grad(plain, wide(gy).data(), wide(x).data(), gw_exact.data());
  return {worst(y, as_outputs(y_exact)), worst(gx, as_inputs(gx_exact)), worst(gw, gw_exact)};
}

}  // namespace hebb::cpu::test
