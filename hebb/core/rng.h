// Counter-based random numbers: Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
// 2011). A value is a function of seed, stream and index alone, so it never depends on threads or on order.
#pragma once
#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

namespace hebb {

/// Ten rounds of Philox 4x32: four random words from a 128-bit counter and a 64-bit key.
inline std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53u} * counter[0], p1 = uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<uint32_t>(p1 >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(p1),
               static_cast<uint32_t>(p0 >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(p0)};
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  return counter;
}

/// One stream of random numbers, read at any index.
struct RandomStream {
  uint64_t seed = 0, stream = 0;

  /// Words 4*block .. 4*block+3.
  std::array<uint32_t, 4> words(uint64_t block) const {
    return philox4x32({static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32),
                       static_cast<uint32_t>(stream), static_cast<uint32_t>(stream >> 32)},
                      {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
  }
  /// 64 random bits at `index`.
  uint64_t bits(uint64_t index) const {
    const auto w = words(index / 2);
    const size_t i = index % 2 * 2;
    return w[i] | uint64_t{w[i + 1]} << 32;
  }
  /// Uniform in [0, n), without bias worth speaking of (n below 2^32: error below 2^-32).
  uint64_t below(uint64_t index, uint64_t n) const {
    __extension__ using Wide = unsigned __int128;
    return static_cast<uint64_t>((static_cast<Wide>(bits(index)) * n) >> 64);
  }
  /// Uniform in [0, 1) with 53 bits.
  double uniform(uint64_t index) const { return static_cast<double>(bits(index) >> 11) * 0x1p-53; }

  /// A random order of 0 .. n-1 (Fisher-Yates).
  std::vector<int64_t> permutation(int64_t n) const;
};

/// 24 random bits as a float in [0, 1).
inline float uniform_from_bits(uint32_t w) { return static_cast<float>(w >> 8) * 0x1p-24f; }

/// Two independent standard normal values from two words (Box and Muller, 1958). Computed in double.
inline std::array<double, 2> normal_from_bits(uint32_t a, uint32_t b) {
  const double u = (static_cast<double>(a) + 1.0) * 0x1p-32;  // (0, 1]
  const double angle = static_cast<double>(b) * (0x1p-32 * 6.283185307179586);
  const double radius = std::sqrt(-2.0 * std::log(u));
  return {radius * std::cos(angle), radius * std::sin(angle)};
}

}  // namespace hebb
