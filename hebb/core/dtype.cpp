#include "hebb/core/dtype.h"

#include <algorithm>
#include <cmath>
#include <ostream>

#include "hebb/core/check.h"

namespace hebb {

Half::Half(float v) {
  const uint32_t u = __builtin_bit_cast(uint32_t, v);
  const uint16_t sign = static_cast<uint16_t>((u >> 16) & 0x8000u);
  const uint32_t magnitude = u & 0x7fffffffu;
  if (magnitude >= 0x7f800000u) {  // infinity, NaN
    bits = static_cast<uint16_t>(sign | 0x7c00u | (magnitude > 0x7f800000u ? 0x200u : 0u));
  } else if (magnitude >= 0x477ff000u) {  // rounds to 65536 or more
    bits = static_cast<uint16_t>(sign | 0x7c00u);
  } else if (magnitude < 0x38800000u) {  // subnormal: the float adder rounds to a multiple of 2^-24
    const float scaled = __builtin_bit_cast(float, magnitude) + 0.5f;
    bits = static_cast<uint16_t>(sign | (__builtin_bit_cast(uint32_t, scaled) - 0x3f000000u));
  } else {
    bits =
        static_cast<uint16_t>(sign | ((magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13));
  }
}

Half::operator float() const {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1fu, fraction = bits & 0x3ffu;
  if (exponent == 0x1f) return __builtin_bit_cast(float, sign | 0x7f800000u | (fraction << 13));
  if (exponent == 0)
    return std::copysign(static_cast<float>(fraction) * 0x1p-24f, __builtin_bit_cast(float, sign));
  return __builtin_bit_cast(float, sign | ((exponent + 112u) << 23) | (fraction << 13));
}

namespace {
constexpr std::string_view kNames[] = {
#define X(name, type) #name,
    HEBB_DTYPES(X)
#undef X
};
}  // namespace

std::string_view name_of(DType t) { return t == DType::boolean ? "bool" : kNames[static_cast<int>(t)]; }

std::ostream& operator<<(std::ostream& out, DType t) { return out << name_of(t); }

DType dtype_from_name(std::string_view name) {
  if (name == "bool") return DType::boolean;
  const auto* found = std::find(std::begin(kNames) + 1, std::end(kNames), name);  // the first is "bool"
  HEBB_CHECK(found != std::end(kNames), "[dtype] expected one of bool, {}, got \"{}\"",
             fmt::join(std::begin(kNames) + 1, std::end(kNames), ", "), name);
  return static_cast<DType>(found - std::begin(kNames));
}

DType promote(DType a, DType b) {
  if (a == b) return a;
  const DType low = std::min(a, b), high = std::max(a, b);
  if (low == DType::u8 && high == DType::i8)
    return DType::i32;  // PyTorch gives int16, which hebb does not have
  if (low == DType::f16 && high == DType::bf16) return DType::f32;
  return high;
}

}  // namespace hebb
