// Small data sets in files, made for tests: pictures whose class shows as a bright band, so that a network
// learns them within a few steps.
#pragma once
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "hebb/core/rng.h"

namespace hebb::test_support {

inline void write_bytes(const std::string& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

/// An IDX file of bytes: two zeros, type 8, the number of dimensions, the extents (big-endian), the values.
inline std::string idx_bytes(const std::vector<uint32_t>& extents, std::string_view values) {
  std::string out{0, 0, 8, static_cast<char>(extents.size())};
  for (const uint32_t n : extents)
    for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(n >> shift);
  return out += values;
}

/// `count` pictures of size x size: sample i is of class i % classes; noise below 100, and a band of 180 to
/// 255 in the rows of the class. Equal for equal seeds.
struct Pictures {
  uint32_t count = 100, size = 8, classes = 4;
  uint64_t seed = 0;

  std::string labels() const {
    std::string out;
    for (uint32_t i = 0; i < count; ++i) out += static_cast<char>(i % classes);
    return out;
  }
  std::string pixels() const {
    const RandomStream stream{seed, 1};
    std::string out;
    for (uint32_t i = 0; i < count; ++i)
      for (uint32_t p = 0; p < size * size; ++p) {
        const bool band = p / size * classes / size == i % classes;
        const double u = stream.uniform(uint64_t{i} * size * size + p);
        out += static_cast<char>(band ? 180 + 76 * u : 100 * u);
      }
    return out;
  }
  std::string image_file() const { return idx_bytes({count, size, size}, pixels()); }
  std::string label_file() const { return idx_bytes({count}, labels()); }
};

/// Writes a folder as MNIST's is: training and test pictures with their labels.
inline void write_idx_folder(const std::string& folder, const Pictures& train, const Pictures& test) {
  std::filesystem::create_directories(folder);
  write_bytes(folder + "/train-images-idx3-ubyte", train.image_file());
  write_bytes(folder + "/train-labels-idx1-ubyte", train.label_file());
  write_bytes(folder + "/t10k-images-idx3-ubyte", test.image_file());
  write_bytes(folder + "/t10k-labels-idx1-ubyte", test.label_file());
}

}  // namespace hebb::test_support
