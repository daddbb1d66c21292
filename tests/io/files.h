// What the tests of readers and writers share: a folder of their own, and files made of given bytes.
// Checksums are computed here, plainly, so that no library checks itself.
#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "hebb/core/error.h"
#include "hebb/core/tensor.h"
#include "tests/support/throws.h"

namespace hebb::io::test {

using test_support::error_of;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// A folder that lives as long as a test.
class IoTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "hebb_io_XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name + "/";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string path(const std::string& name) const { return folder_ + name; }

  /// Writes a file of these bytes and returns its path.
  std::string file(const std::string& name, std::string_view bytes) const {
    std::ofstream(path(name), std::ios::binary) << bytes;
    return path(name);
  }

  /// Names of what lies in the folder, to see that nothing was left behind.
  std::vector<std::string> listing() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder_))
      names.push_back(entry.path().filename());
    return names;
  }

  std::string folder_;
};

inline std::string bytes_of_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// A file that another program wrote; see fixtures/make.py.
inline std::string fixture(const std::string& name) {
  const char* root = std::getenv("HEBB_SOURCE_DIR");
  return std::string(root ? root : ".") + "/tests/io/fixtures/" + name;
}

/// A string that may hold zero bytes, from a literal.
template <size_t N>
std::string bytes(const char (&text)[N]) {
  return {text, N - 1};
}

/// Calls `load` with every file that differs from `whole` in one byte. Some are still valid; the others must
/// throw Error, and nothing may crash, leak or read outside, which the sanitizers watch.
template <class F>
void survive_changed_bytes(const std::string& whole, F&& load) {
  for (size_t i = 0; i < whole.size(); ++i)
    for (const int flip : {1 << (i % 8), 0xff}) {
      std::string changed = whole;
      changed[i] = static_cast<char>(changed[i] ^ flip);
      try {
        load(changed);
      } catch (const Error& e) {
        EXPECT_THAT(e.what(), testing::StartsWith("[load_")) << "byte " << i;
      }
    }
}

inline std::string little_endian(uint64_t value, int count) {
  std::string s;
  for (int i = 0; i < count; ++i) s += static_cast<char>(value >> (8 * i));
  return s;
}

inline std::string big_endian(uint64_t value, int count) {
  std::string s;
  for (int i = count; i-- > 0;) s += static_cast<char>(value >> (8 * i));
  return s;
}

inline uint32_t crc32_of(std::string_view data) {
  uint32_t crc = 0xffffffffu;
  for (const char c : data) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xedb88320u : 0u);
  }
  return ~crc;
}

inline uint32_t adler32_of(std::string_view data) {
  uint32_t a = 1, b = 0;
  for (const char c : data) {
    a = (a + static_cast<unsigned char>(c)) % 65521;
    b = (b + a) % 65521;
  }
  return b << 16 | a;
}

/// Deflate data of one stored block (up to 65535 bytes).
inline std::string deflate_stored(std::string_view data) {
  const auto n = static_cast<uint16_t>(data.size());
  return "\x01" + little_endian(n, 2) + little_endian(static_cast<uint16_t>(~n), 2) + std::string(data);
}

inline std::string zlib_stored(std::string_view data) {
  return "\x78\x01" + deflate_stored(data) + big_endian(adler32_of(data), 4);
}

inline std::string gzip_stored(std::string_view data) {
  return bytes("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03") + deflate_stored(data) +
         little_endian(crc32_of(data), 4) + little_endian(data.size(), 4);
}

/// As long as it lives, files of this process may not grow beyond `limit` bytes: a full disk, on demand.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t limit) : old_signal_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &old_);
    const rlimit small{limit, old_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &small);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &old_);
    std::signal(SIGXFSZ, old_signal_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit old_{};
  void (*old_signal_)(int);
};

inline void expect_values(const Tensor& got, DType dtype, const Shape& shape,
                          const std::vector<double>& values) {
  ASSERT_TRUE(got.defined());
  EXPECT_EQ(name_of(got.dtype()), name_of(dtype));
  EXPECT_EQ(got.shape().str(), shape.str());
  EXPECT_TRUE(got.is_contiguous());
  EXPECT_EQ(got.to_vector<double>(), values);
}

inline void expect_equal(const Tensor& got, const Tensor& expected) {
  ASSERT_TRUE(expected.defined());
  expect_values(got, expected.dtype(), expected.shape(), expected.to_vector<double>());
}

/// 0, 1, 2, ... as values of a tensor.
inline std::vector<double> counting(int n) {
  std::vector<double> values;
  for (int i = 0; i < n; ++i) values.push_back(i);
  return values;
}

}  // namespace hebb::io::test
