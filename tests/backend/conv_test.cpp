// Convolutions and their gradients against seven plain loops in a wider type, on every instruction set that
// this machine has, and the same bits for every number of threads.
#include "hebb/backend/cpu/conv.h"

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "hebb/core/parallel.h"

namespace hebb::cpu {
namespace {

template <class T>
using Wide = std::conditional_t<std::is_same_v<T, float>, double, long double>;

struct Options {
  int64_t batch = 2, in_channels = 3, in_h = 7, in_w = 9, out_channels = 5, kernel_h = 3, kernel_w = 3;
  int64_t stride_h = 1, stride_w = 1, pad_top = 0, pad_left = 0, pad_bottom = 0, pad_right = 0;
  int64_t dilation_h = 1, dilation_w = 1, groups = 1;
};

int64_t outputs(int64_t in, int64_t pad, int64_t kernel, int64_t dilation, int64_t stride) {
  const int64_t room = in + pad - (kernel - 1) * dilation - 1;
  return room < 0 ? 0 : room / stride + 1;
}

ConvShape shape_of(const Options& o) {
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

std::string name(const ConvShape& s) {
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
};

template <class T>
std::vector<T> random_values(int64_t n, std::mt19937& rng) {
  std::uniform_real_distribution<T> uniform(-1, 1);
  std::vector<T> v(static_cast<size_t>(n));
  for (T& e : v) e = uniform(rng);
  return v;
}

/// Runs `kernel` into memory of NaN with 1, 2, 3 and 5 threads and compares.
template <class T, class F>
void check(const char* direction, const Expected<T>& expected, F kernel) {
  SCOPED_TRACE(direction);
  const size_t size = expected.sum.size();
  std::vector<T> first;
  for (const int threads : {1, 2, 3, 5}) {
    set_num_threads(threads);
    std::vector<T> result(size, std::numeric_limits<T>::quiet_NaN());
    kernel(result.data());
    if (threads == 1) first = result;
    EXPECT_TRUE(size == 0 || std::memcmp(first.data(), result.data(), size * sizeof(T)) == 0)
        << threads << " threads";
  }
  for (size_t i = 0; i < size; ++i) {
    const auto error = static_cast<double>(std::abs(first[i] - expected.sum[i]));
    // Sums of up to a few thousand products, in any order.
    ASSERT_LE(error, 100 * std::numeric_limits<T>::epsilon() * static_cast<double>(expected.magnitude[i]))
        << i;
  }
}

template <class T>
void check_all(const Options& options) {
  const ConvShape s = shape_of(options);
  SCOPED_TRACE(name(s));
  std::mt19937 rng(7);
  const auto x = random_values<T>(s.batch * s.in_channels * s.in_h * s.in_w, rng);
  const auto w = random_values<T>(s.out_channels * (s.in_channels / s.groups) * s.kernel_h * s.kernel_w, rng);
  const auto gy = random_values<T>(s.batch * s.out_channels * s.out_h * s.out_w, rng);
  const auto bias = random_values<T>(s.out_channels, rng);
  Expected<T> y(gy.size()), gx(x.size()), gw(w.size());
  for_each_product(s, [&](int64_t ix, int64_t iw, int64_t iy) {
    const Wide<T> xv = x[static_cast<size_t>(ix)], wv = w[static_cast<size_t>(iw)],
                  gv = gy[static_cast<size_t>(iy)];
    y.add(iy, xv * wv);
    gx.add(ix, gv * wv);
    gw.add(iw, gv * xv);
  });
  check<T>("forward", y, [&](T* out) { conv2d_forward<T>(s, x.data(), w.data(), nullptr, out); });
  const int64_t pixels = s.out_h * s.out_w;
  for (size_t i = 0; i < gy.size(); ++i) {
    const int64_t channel = static_cast<int64_t>(i) / pixels % s.out_channels;
    y.add(static_cast<int64_t>(i), bias[static_cast<size_t>(channel)]);
  }
  check<T>("forward with bias", y, [&](T* out) { conv2d_forward(s, x.data(), w.data(), bias.data(), out); });
  check<T>("input gradient", gx, [&](T* out) { conv2d_input_grad(s, gy.data(), w.data(), out); });
  check<T>("weight gradient", gw, [&](T* out) { conv2d_weight_grad(s, gy.data(), x.data(), out); });
}

/// Calls fn once for each instruction set of this machine, with no other allowed.
template <class F>
void for_each_target(F fn) {
  const int threads = num_threads();
  hwy::SetSupportedTargetsForTest(0);
  for (int64_t left = hwy::SupportedTargets(); left != 0; left &= left - 1) {
    const int64_t target = left & -left;
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    fn();
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  set_num_threads(threads);
}

template <class T>
class ConvTest : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(ConvTest, Types);

TYPED_TEST(ConvTest, StridesDilationsPaddingsAndGroups) {
  constexpr int64_t kChannels[][3] = {{1, 6, 1}, {3, 5, 1}, {4, 6, 2}, {4, 4, 4}, {3, 6, 3}, {2, 12, 2}};
  for_each_target([&] {
    for (const auto& [in, out, groups] : kChannels) {
      for (int64_t stride = 1; stride <= 3; ++stride) {
        for (int64_t dilation = 1; dilation <= 2; ++dilation) {
          for (int64_t pad = 0; pad <= 2; ++pad) {
            check_all<TypeParam>({.in_channels = in,
                                  .in_h = 11,
                                  .in_w = 23,
                                  .out_channels = out,
                                  .kernel_w = 1 + stride,
                                  .stride_h = stride,
                                  .stride_w = 4 - stride,
                                  .pad_top = pad,
                                  .pad_left = 2 - pad,
                                  .pad_bottom = 1,
                                  .pad_right = pad,
                                  .dilation_h = dilation,
                                  .dilation_w = 3 - dilation,
                                  .groups = groups});
          }
        }
      }
    }
  });
}

TYPED_TEST(ConvTest, LayersOfKnownNetworks) {
  for_each_target([&] {
    // LeNet-5
    check_all<TypeParam>({.batch = 5,
                          .in_channels = 1,
                          .in_h = 28,
                          .in_w = 28,
                          .out_channels = 6,
                          .kernel_h = 5,
                          .kernel_w = 5,
                          .pad_top = 2,
                          .pad_left = 2,
                          .pad_bottom = 2,
                          .pad_right = 2});
    check_all<TypeParam>({.batch = 7,
                          .in_channels = 6,
                          .in_h = 14,
                          .in_w = 14,
                          .out_channels = 16,
                          .kernel_h = 5,
                          .kernel_w = 5});
    // The stem and blocks of a residual network
    check_all<TypeParam>({.batch = 1,
                          .in_h = 40,
                          .in_w = 44,
                          .out_channels = 20,
                          .kernel_h = 7,
                          .kernel_w = 7,
                          .stride_h = 2,
                          .stride_w = 2,
                          .pad_top = 3,
                          .pad_left = 3,
                          .pad_bottom = 3,
                          .pad_right = 3});
    check_all<TypeParam>({.in_channels = 64,
                          .in_h = 18,
                          .in_w = 18,
                          .out_channels = 32,
                          .pad_top = 1,
                          .pad_left = 1,
                          .pad_bottom = 1,
                          .pad_right = 1});
    check_all<TypeParam>({.batch = 3,
                          .in_channels = 200,
                          .in_h = 4,
                          .in_w = 4,
                          .out_channels = 70,
                          .pad_top = 1,
                          .pad_left = 1,
                          .pad_bottom = 1,
                          .pad_right = 1});
    // Pointwise, with the image in place and gathered; depthwise
    check_all<TypeParam>(
        {.in_channels = 24, .in_h = 16, .in_w = 17, .out_channels = 40, .kernel_h = 1, .kernel_w = 1});
    check_all<TypeParam>({.batch = 9,
                          .in_channels = 24,
                          .in_h = 5,
                          .in_w = 5,
                          .out_channels = 8,
                          .kernel_h = 1,
                          .kernel_w = 1});
    check_all<TypeParam>({.in_channels = 8,
                          .in_h = 20,
                          .in_w = 75,
                          .out_channels = 8,
                          .stride_w = 1,
                          .pad_top = 1,
                          .pad_left = 1,
                          .pad_bottom = 1,
                          .pad_right = 1,
                          .groups = 8});
  });
}

// What narrow_conv.h takes (f32 only): batches that fill a block of images and that do not, more channels
// than are turned at once, kernels wider than a tile of taps.
TEST(NarrowConv, FewChannelsOfManyImages) {
  constexpr int64_t kChannels[][2] = {{1, 6}, {6, 3}, {3, 14}, {14, 3}};
  for_each_target([&] {
    for (const auto& [in, out] : kChannels) {
      for (const int64_t batch : {8, 21}) {
        for (int64_t stride = 1; stride <= 2; ++stride) {
          for (int64_t pad = 0; pad <= 2; ++pad) {
            check_all<float>({.batch = batch,
                              .in_channels = in,
                              .in_h = 7,
                              .in_w = 19,
                              .out_channels = out,
                              .kernel_h = 2 + pad,
                              .kernel_w = 3 + 2 * pad,
                              .stride_h = stride,
                              .stride_w = 1 + pad % 2 * (stride - 1),
                              .pad_top = pad,
                              .pad_left = 2 - pad,
                              .pad_bottom = 1,
                              .pad_right = pad,
                              .dilation_h = 1 + pad / 2,
                              .dilation_w = stride});
          }
        }
      }
    }
    // Only padding makes room for the kernel, and whole rows and columns of taps see nothing else.
    check_all<float>({.batch = 9,
                      .in_channels = 2,
                      .in_h = 1,
                      .in_w = 2,
                      .out_channels = 4,
                      .kernel_h = 4,
                      .kernel_w = 6,
                      .pad_top = 5,
                      .pad_left = 7,
                      .pad_bottom = 4,
                      .pad_right = 6});
  });
}

TYPED_TEST(ConvTest, Borders) {
  for_each_target([&] {
    // Kernels larger than the image, which only the padding makes room for
    check_all<TypeParam>({.in_h = 2,
                          .in_w = 3,
                          .kernel_h = 5,
                          .kernel_w = 6,
                          .pad_top = 3,
                          .pad_left = 1,
                          .pad_bottom = 0,
                          .pad_right = 4});
    check_all<TypeParam>({.in_channels = 3,
                          .in_h = 2,
                          .in_w = 1,
                          .out_channels = 3,
                          .kernel_h = 5,
                          .kernel_w = 4,
                          .pad_top = 3,
                          .pad_left = 3,
                          .pad_bottom = 3,
                          .pad_right = 3,
                          .groups = 3});
    // Padding wider than the kernel: outputs that see no input
    check_all<TypeParam>({.in_h = 3,
                          .in_w = 3,
                          .kernel_h = 2,
                          .kernel_w = 2,
                          .pad_top = 4,
                          .pad_left = 5,
                          .pad_bottom = 4,
                          .pad_right = 20});
    // Inputs that no output sees
    check_all<TypeParam>({.in_h = 9, .in_w = 10, .kernel_h = 1, .kernel_w = 1, .stride_h = 4, .stride_w = 3});
    check_all<TypeParam>({.in_channels = 2,
                          .in_h = 9,
                          .in_w = 10,
                          .out_channels = 2,
                          .kernel_h = 2,
                          .kernel_w = 1,
                          .stride_h = 4,
                          .stride_w = 3,
                          .groups = 2});
    // Nothing at all
    check_all<TypeParam>({.batch = 0});
    check_all<TypeParam>({.batch = 0, .in_channels = 3, .out_channels = 3, .groups = 3});
    check_all<TypeParam>({.in_h = 2, .in_w = 2});
    check_all<TypeParam>({.in_channels = 2, .in_h = 2, .in_w = 2, .out_channels = 2, .groups = 2});
  });
}

}  // namespace
}  // namespace hebb::cpu
