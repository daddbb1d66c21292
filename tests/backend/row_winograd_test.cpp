// Narrow convolutions by Winograd's algorithm along rows: right for every shape they take, nearly as exact as
// the direct way, and switched off when asked.
#include "hebb/backend/cpu/narrow_conv.h"
#include "tests/backend/conv_check.h"

namespace hebb::cpu::test {
namespace {

/// 16 images of 6 channels to 5, 5x5, padding 2.
Options narrow(int64_t size) {
  return {.batch = 16,
          .in_channels = 6,
          .in_h = size,
          .in_w = size,
          .out_channels = 5,
          .kernel_h = 5,
          .kernel_w = 5,
          .pad_top = 2,
          .pad_left = 2,
          .pad_bottom = 2,
          .pad_right = 2};
}

TEST(RowWinograd, KernelsStridesAndPaddings) {
  for_each_target([] {
    for (const int64_t columns : {5, 6, 7}) {
      for (const int64_t rows : {5, 7}) {
        for (const int64_t stride : {1, 2}) {
          Options o = narrow(13);
          o.batch = rows == 5 ? 37 : 16;
          o.kernel_h = rows;
          o.kernel_w = columns;
          o.stride_h = stride;
          o.dilation_h = rows == 5 ? 2 : 1;
          o.pad_top = rows / 2;
          o.pad_left = columns - stride;
          o.in_channels = columns == 6 ? 17 : 6;  // more than are turned at once, or a tile has
          ASSERT_TRUE(is_row_winograd(shape_of(o))) << name(shape_of(o));
          check_all<float>(o);
        }
      }
    }
  });
}

TEST(RowWinograd, TakesNoOtherShapes) {
  const Options fits = narrow(12);
  EXPECT_TRUE(is_row_winograd(shape_of(fits)));
  for (int64_t Options::*changed : {&Options::stride_w, &Options::dilation_w}) {
    Options other = fits;
    other.*changed = 2;
    EXPECT_FALSE(is_row_winograd(shape_of(other)));
  }
  for (const int64_t columns : {3, 4, 8}) {
    Options other = fits;
    other.kernel_w = columns;
    EXPECT_FALSE(is_row_winograd(shape_of(other))) << columns;
  }
  Options single = fits;
  single.in_w = single.in_h = 5;
  EXPECT_TRUE(is_row_winograd(shape_of(single)));
  single.pad_left = single.pad_right = 0;
  EXPECT_FALSE(is_row_winograd(shape_of(single))) << "a single output in a tile of four";
  single = fits;
  single.in_channels = single.kernel_h = 1;
  EXPECT_FALSE(is_row_winograd(shape_of(single))) << "too few products for each transform";
  const Exactly exactly;
  EXPECT_FALSE(is_row_winograd(shape_of(fits)));
}

TEST(RowWinograd, ErrorsAreNearThoseOfTheDirectWay) {
  for (const int64_t columns : {5, 6, 7}) {
    Options o = narrow(14);
    o.kernel_w = columns;
    const ConvShape s = shape_of(o);
    SCOPED_TRACE(name(s));
    const Errors fast = errors(s);
    const Exactly exactly;
    const Errors direct = errors(s);
    EXPECT_LE(fast.forward, 4 * direct.forward);
    EXPECT_LE(fast.input, 4 * direct.input);
    EXPECT_LE(fast.weight, 8 * direct.weight);
    EXPECT_GT(fast.forward, direct.forward) << "the same way twice?";
  }
}

}  // namespace
}  // namespace hebb::cpu::test
