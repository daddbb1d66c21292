// Element types: half and bfloat16 rounding, all of it; promotion; conversion of elements.
#include "hebb/core/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <vector>

#include "tests/support/throws.h"

namespace hebb {
namespace {

// The value of a 16-bit float with this many exponent bits, by the definition of the format.
double value_of(uint16_t bits, int exponent_bits) {
  const int fraction_bits = 15 - exponent_bits, bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = (bits >> fraction_bits) & ((1 << exponent_bits) - 1),
            fraction = bits & ((1 << fraction_bits) - 1);
  const double sign = bits & 0x8000 ? -1 : 1;
  if (exponent == (1 << exponent_bits) - 1) return fraction ? NAN : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(fraction, 1 - bias - fraction_bits);
  return sign * std::ldexp(fraction + (1 << fraction_bits), exponent - bias - fraction_bits);
}

template <class T, int exponent_bits>
void check_all_values() {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    T x;
    x.bits = static_cast<uint16_t>(bits);
    const float f = static_cast<float>(x);
    const double want = value_of(x.bits, exponent_bits);
    if (std::isnan(want)) {
      ASSERT_TRUE(std::isnan(f)) << bits;
      ASSERT_TRUE(std::isnan(static_cast<float>(T(f)))) << bits;
      continue;
    }
    ASSERT_EQ(static_cast<double>(f), want) << bits;
    ASSERT_EQ(std::signbit(f), (bits & 0x8000) != 0) << bits;
    ASSERT_EQ(T(f).bits, bits) << "a value of the type comes back unchanged";
  }
}

// Between each two neighbours: below the middle rounds down, above it up, the middle to the even one.
template <class T, int exponent_bits>
void check_rounding() {
  const uint32_t infinity = exponent_bits == 5 ? 0x7c00 : 0x7f80;
  for (uint32_t bits = 0; bits < infinity; ++bits) {
    const double low = value_of(static_cast<uint16_t>(bits), exponent_bits);
    // The step above the largest value leads to where the next one would be.
    const double high = bits + 1 < infinity
                            ? value_of(static_cast<uint16_t>(bits + 1), exponent_bits)
                            : 2 * low - value_of(static_cast<uint16_t>(bits - 1), exponent_bits);
    const auto middle = static_cast<float>((low + high) / 2);
    if (static_cast<double>(middle) != (low + high) / 2) continue;  // below f32's own precision
    const auto even = static_cast<uint16_t>(bits % 2 ? bits + 1 : bits);
    ASSERT_EQ(T(middle).bits, even) << bits;
    ASSERT_EQ(T(std::nextafter(middle, 0.0f)).bits, bits) << bits;
    ASSERT_EQ(T(std::nextafter(middle, INFINITY)).bits, bits + 1) << bits;
    ASSERT_EQ(T(-middle).bits, even | 0x8000) << bits;
  }
}

TEST(Half, AllValuesConvertExactly) { check_all_values<Half, 5>(); }
TEST(Half, RoundsToNearestEven) { check_rounding<Half, 5>(); }
TEST(BFloat16, AllValuesConvertExactly) { check_all_values<BFloat16, 8>(); }
TEST(BFloat16, RoundsToNearestEven) { check_rounding<BFloat16, 8>(); }

TEST(Half, OverflowsToInfinityAndKeepsNaN) {
  EXPECT_EQ(Half(65504.0f).bits, 0x7bff);
  EXPECT_EQ(Half(65519.996f).bits, 0x7bff);
  EXPECT_EQ(Half(65520.0f).bits, 0x7c00);
  EXPECT_EQ(Half(-1e30f).bits, 0xfc00);
  EXPECT_TRUE(std::isnan(static_cast<float>(Half(NAN))));
  EXPECT_EQ(Half(1e-10f).bits, 0);
  EXPECT_EQ(Half(-1e-10f).bits, 0x8000);
}

TEST(BFloat16, OverflowsToInfinityAndKeepsNaN) {
  EXPECT_EQ(BFloat16(std::numeric_limits<float>::max()).bits, 0x7f80);
  EXPECT_EQ(BFloat16(INFINITY).bits, 0x7f80);
  // A NaN whose upper half alone would be an infinity.
  EXPECT_TRUE(std::isnan(static_cast<float>(BFloat16(std::bit_cast<float>(0x7f800001u)))));
}

TEST(DTypes, HaveNamesAndSizes) {
  const std::map<DType, std::pair<std::string, int>> all = {
      {boolean, {"bool", 1}}, {u8, {"u8", 1}},     {i8, {"i8", 1}},   {i32, {"i32", 4}}, {i64, {"i64", 8}},
      {f16, {"f16", 2}},      {bf16, {"bf16", 2}}, {f32, {"f32", 4}}, {f64, {"f64", 8}}};
  for (const auto& [t, known] : all) {
    EXPECT_EQ(name_of(t), known.first);
    EXPECT_EQ(size_of(t), known.second);
    EXPECT_EQ(dtype_from_name(known.first), t);
    EXPECT_EQ(visit_dtype(t, []<class T>(T) { return dtype_of<T>; }), t);
  }
  EXPECT_ERROR(dtype_from_name("float"),
               "[dtype] expected one of bool, u8, i8, i32, i64, f16, bf16, f32, f64, got \"float\"");
  EXPECT_ERROR(dtype_from_name("boolean"),
               "[dtype] expected one of bool, u8, i8, i32, i64, f16, bf16, f32, f64, got \"boolean\"");
}

TEST(Promotion, FollowsPyTorch) {
  // torch.promote_types, but for u8 with i8: int16 there.
  EXPECT_EQ(promote(boolean, u8), u8);
  EXPECT_EQ(promote(boolean, i8), i8);
  EXPECT_EQ(promote(u8, i8), i32);
  EXPECT_EQ(promote(u8, i32), i32);
  EXPECT_EQ(promote(i32, i64), i64);
  EXPECT_EQ(promote(i64, f16), f16);
  EXPECT_EQ(promote(i64, bf16), bf16);
  EXPECT_EQ(promote(f16, bf16), f32);
  EXPECT_EQ(promote(f16, f32), f32);
  EXPECT_EQ(promote(bf16, f64), f64);
  for (int a = 0; a <= static_cast<int>(f64); ++a)
    for (int b = 0; b <= static_cast<int>(f64); ++b) {
      EXPECT_EQ(promote(DType(a), DType(b)), promote(DType(b), DType(a)));
      EXPECT_EQ(promote(DType(a), DType(a)), DType(a));
    }
}

TEST(Conversion, OfElementsIsPyTorchs) {
  EXPECT_EQ(convert_element<bool>(0.5f), true);
  EXPECT_EQ(convert_element<bool>(-0.0), false);
  EXPECT_EQ(convert_element<bool>(NAN), true);
  EXPECT_EQ(convert_element<int32_t>(-1.9f), -1) << "truncates";
  EXPECT_EQ(convert_element<uint8_t>(-1.0f), 255) << "by way of int64";
  EXPECT_EQ(convert_element<uint8_t>(int64_t{300}), 44);
  EXPECT_EQ(convert_element<float>(true), 1.0f);
  EXPECT_EQ(convert_element<int64_t>(Half(-2.5f)), -2);
  EXPECT_EQ(convert_element<BFloat16>(Half(1.5f)).bits, BFloat16(1.5f).bits);
  EXPECT_EQ(convert_element<bool>(Half(0.0f)), false);
  EXPECT_EQ(convert_element<double>(int64_t{1} << 53), 9007199254740992.0);
}

}  // namespace
}  // namespace hebb
