// Element types, from one list.
#pragma once
#include <cstdint>
#include <iosfwd>
#include <string_view>
#include <type_traits>

namespace hebb {

/// IEEE half precision, storage only: arithmetic goes through float.
struct Half {
  uint16_t bits = 0;
  Half() = default;
  explicit Half(float v);
  explicit operator float() const;
};

/// bfloat16: the upper half of a float, rounded to nearest even.
struct BFloat16 {
  uint16_t bits = 0;
  BFloat16() = default;
  explicit BFloat16(float v) {
    const uint32_t u = __builtin_bit_cast(uint32_t, v);
    const bool nan = (u & 0x7fffffffu) > 0x7f800000u;
    bits = static_cast<uint16_t>(nan ? (u >> 16) | 0x40u : (u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
  }
  explicit operator float() const { return __builtin_bit_cast(float, static_cast<uint32_t>(bits) << 16); }
};

// name, C++ type. The order is that of PyTorch's promotion within a kind.
#define HEBB_DTYPES(X) \
  X(boolean, bool)     \
  X(u8, uint8_t)       \
  X(i8, int8_t)        \
  X(i32, int32_t)      \
  X(i64, int64_t)      \
  X(f16, Half)         \
  X(bf16, BFloat16)    \
  X(f32, float)        \
  X(f64, double)

/// Element types: boolean, u8, i8, i32, i64, f16, bf16, f32, f64. f32 is the default everywhere.
enum class DType : uint8_t {
#define X(name, type) name,
  HEBB_DTYPES(X)
#undef X
};
using enum DType;

template <class T>
struct DTypeOf;
#define X(name, type)                           \
  template <>                                   \
  struct DTypeOf<type> {                        \
    static constexpr DType value = DType::name; \
  };
HEBB_DTYPES(X)
#undef X
/// The element type of a C++ type: dtype_of<float> is f32.
template <class T>
inline constexpr DType dtype_of = DTypeOf<T>::value;

/// Bytes of one element.
constexpr int64_t size_of(DType t) {
  switch (t) {
#define X(name, type) \
  case DType::name: return sizeof(type);
    HEBB_DTYPES(X)
#undef X
  }
  return 0;
}

/// "f32", "i64", "bool", …
std::string_view name_of(DType t);
/// Writes name_of(t).
std::ostream& operator<<(std::ostream& out, DType t);
/// The inverse of name_of. Throws Error for an unknown name.
DType dtype_from_name(std::string_view name);

/// f16, bf16, f32 or f64.
constexpr bool is_float(DType t) { return t >= DType::f16; }
/// u8, i8, i32 or i64; not boolean.
constexpr bool is_integer(DType t) { return t >= DType::u8 && t <= DType::i64; }

/// The type two operands are converted to, by PyTorch's rules (both with dimensions).
DType promote(DType a, DType b);

/// Calls fn(T{}) with the C++ type of `t` and returns its result.
template <class F>
decltype(auto) visit_dtype(DType t, F&& fn) {
  switch (t) {
#define X(name, type) \
  case DType::name: return fn(type{});
    HEBB_DTYPES(X)
#undef X
  }
  __builtin_unreachable();
}

/// Converts one element as PyTorch does: to bool is `!= 0`, float to integer truncates, halves go through
/// float.
template <class To, class From>
To convert_element(From v) {
  constexpr auto is_half = []<class T>(T) { return std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>; };
  if constexpr (std::is_same_v<To, From>) return v;
  else if constexpr (is_half(From{})) return convert_element<To>(static_cast<float>(v));
  else if constexpr (is_half(To{})) return To(static_cast<float>(v));
  else if constexpr (std::is_same_v<To, bool>) return v != From{};
  else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>)
    return static_cast<To>(static_cast<int64_t>(v));
  else return static_cast<To>(v);
}

}  // namespace hebb
