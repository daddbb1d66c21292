// Attributes of ops: plain aggregates whose one field list gives equality, hash and text, so that nothing can
// forget a field; and the type-erased value that the tape, the kernel cache and graphs carry.
#pragma once
#include <array>
#include <cstddef>
#include <cstring>
#include <functional>
#include <string>
#include <type_traits>

#include "hebb/core/dtype.h"
#include "hebb/core/macros.h"
#include "hebb/core/shape.h"

/// Inside an attribute aggregate, names its fields once:
///   struct Conv2dAttrs { std::array<int64_t, 2> stride; int64_t groups; HEBB_FIELDS(stride, groups) };
#define HEBB_FIELDS(...)                          \
  template <class F>                              \
  void each_field([[maybe_unused]] F&& f) const { \
    HEBB_FOR_EACH(HEBB_FIELD_ITEM, __VA_ARGS__)   \
  }
#define HEBB_FIELD_ITEM(field) f(#field, field);

namespace hebb {
namespace detail {

std::string field_text(bool v);
std::string field_text(int64_t v);
std::string field_text(double v);
std::string field_text(const Shape& v);
std::string field_text(DType v);
template <class T, size_t N>
std::string field_text(const std::array<T, N>& v) {
  std::string s;
  for (const T& x : v) s += (s.empty() ? "(" : ", ") + field_text(x);
  return s + ")";
}

inline size_t mix(size_t seed, size_t v) {  // as boost::hash_combine, with a 64-bit constant
  return seed ^ (v * 0x9E3779B97F4A7C15u + (seed << 12) + (seed >> 4));
}
inline size_t field_hash(const Shape& s) {
  size_t h = static_cast<size_t>(s.ndim());
  for (const int64_t d : s) h = mix(h, static_cast<size_t>(d));
  return h;
}
template <class T, size_t N>
size_t field_hash(const std::array<T, N>& v) {
  size_t h = N;
  for (const T& x : v) h = mix(h, std::hash<T>{}(x));
  return h;
}
template <class T>
size_t field_hash(const T& v) {
  return std::hash<T>{}(v);
}

struct AttrsType {
  size_t size;
  bool (*equal)(const void*, const void*);
  size_t (*hash)(const void*);
  std::string (*text)(const void*);
};

template <class A>
inline constexpr AttrsType attrs_type{
    sizeof(A),
    [](const void* a, const void* b) {
      // Both lists are walked together: each field of a is compared with the one at the same offset of b.
      const auto *pa = static_cast<const A*>(a), *pb = static_cast<const A*>(b);
      bool same = true;
      pa->each_field([&](const char*, const auto& x) {
        const auto offset = reinterpret_cast<const char*>(&x) - reinterpret_cast<const char*>(pa);
        const auto& y = *reinterpret_cast<decltype(&x)>(reinterpret_cast<const char*>(pb) + offset);
        same = same && x == y;
      });
      return same;
    },
    [](const void* a) {
      size_t h = sizeof(A);
      static_cast<const A*>(a)->each_field([&](const char*, const auto& x) { h = mix(h, field_hash(x)); });
      return h;
    },
    [](const void* a) {
      std::string s;
      static_cast<const A*>(a)->each_field([&](const char* name, const auto& x) {
        if (const std::string text = field_text(x); text != "false")
          s += (s.empty() ? "" : ", ") + std::string(name) + "=" + text;
      });
      return s;
    }};

}  // namespace detail

/// The attributes of one call of an op, of any aggregate type with HEBB_FIELDS; kept inline.
class Attrs {
 public:
  static constexpr size_t kCapacity = 256;

  Attrs() = default;
  /// Copies an aggregate with HEBB_FIELDS of at most kCapacity bytes.
  template <class A>
  requires(!std::is_same_v<A, Attrs>) Attrs(const A& a) : type_(&detail::attrs_type<A>) {
    static_assert(std::is_trivially_copyable_v<A> && sizeof(A) <= kCapacity);
    std::memcpy(bytes_, &a, sizeof(A));
  }
  Attrs(const Attrs& o) : type_(o.type_) {
    if (type_) std::memcpy(bytes_, o.bytes_, type_->size);
  }
  Attrs& operator=(const Attrs& o) {
    type_ = o.type_;
    if (type_) std::memcpy(bytes_, o.bytes_, type_->size);
    return *this;
  }

  /// The aggregate. Behaviour is undefined if A is not the type it was made from.
  template <class A>
  const A& as() const {
    return *reinterpret_cast<const A*>(bytes_);
  }

  bool operator==(const Attrs& o) const {
    return type_ == o.type_ && (!type_ || type_->equal(bytes_, o.bytes_));
  }
  size_t hash() const { return type_ ? type_->hash(bytes_) : 0; }
  /// "stride=(1, 1), groups=1"; what is false is left out.
  std::string str() const { return type_ ? type_->text(bytes_) : std::string(); }

 private:
  const detail::AttrsType* type_ = nullptr;
  alignas(8) std::byte bytes_[kCapacity];
};

}  // namespace hebb
