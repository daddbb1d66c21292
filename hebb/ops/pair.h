// One number for both directions of a plane, or one for each.
#pragma once
#include <array>
#include <concepts>
#include <cstdint>

namespace hebb {

/// Vertical, then horizontal: `2` stands for {2, 2}.
template <class T>
struct Pair {
  T h, w;
  /// One number for both.
  template <class N>
  requires std::integral<N> || std::floating_point<N> Pair(N both)
      : h(static_cast<T>(both)), w(static_cast<T>(both)) {}
  Pair(T vertical, T horizontal) : h(vertical), w(horizontal) {}
  Pair(std::array<T, 2> v) : h(v[0]), w(v[1]) {}
  operator std::array<T, 2>() const { return {h, w}; }
};
/// Extents of a plane or a window.
using Size2 = Pair<int64_t>;

}  // namespace hebb
