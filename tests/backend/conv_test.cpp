// Convolutions of every stride, dilation, padding and number of groups.
#include "tests/backend/conv_check.h"

namespace hebb::cpu::test {
namespace {

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
}  // namespace hebb::cpu::test
