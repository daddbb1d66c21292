// Matrix products against a plain triple loop in a wider type, on every instruction set that this machine
// has.
#include "hebb/backend/cpu/gemm.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "hebb/core/dtype.h"
#include "tests/backend/targets.h"

namespace hebb::cpu {
namespace {

using test::for_each_target;

template <class T>
using Wide = std::conditional_t<std::is_same_v<T, float>, double, long double>;

/// A matrix whose rows are `extra` elements longer than its columns; those elements must never be written,
/// and reading one as data shows, since they are NaN.
template <class T>
struct Matrix {
  int64_t rows, columns, stride;
  std::vector<T> data;
  Matrix(int64_t rows_, int64_t columns_, int64_t extra, std::mt19937& rng)
      : rows(rows_), columns(columns_), stride(columns_ + extra) {
    // The last row ends with its last column, so that the address sanitizer sees any read past it.
    const int64_t size = rows > 0 && columns > 0 ? (rows - 1) * stride + columns : 0;
    data.assign(static_cast<size_t>(size), std::numeric_limits<T>::quiet_NaN());
    std::uniform_real_distribution<T> uniform(-1, 1);
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < columns; ++j) at(i, j) = uniform(rng);
    }
  }
  T& at(int64_t i, int64_t j) { return data[static_cast<size_t>(i * stride + j)]; }
  const T& at(int64_t i, int64_t j) const { return data[static_cast<size_t>(i * stride + j)]; }
};

struct Case {
  int64_t m, n, k;
  bool trans_a = false, trans_b = false, accumulate = false, row_bias = false, col_bias = false;
  int64_t extra = 0;
  bool bf16 = false;
};

std::string name(const Case& c) {
  return std::to_string(c.m) + "x" + std::to_string(c.n) + "x" + std::to_string(c.k) +
         (c.trans_a ? " At" : "") + (c.trans_b ? " Bt" : "") + (c.accumulate ? " accumulate" : "") +
         (c.row_bias ? " row_bias" : "") + (c.col_bias ? " col_bias" : "") + " extra " +
         std::to_string(c.extra) + (c.bf16 ? " bf16" : "");
}

/// Checks at most `samples` elements of one product against the sum, and that gemm() gives the same bits as
/// gemm_serial() with each number of threads.
template <class T>
void check(const Case& c, int64_t samples = 1 << 20, const std::vector<int>& thread_counts = {3}) {
  SCOPED_TRACE(name(c));
  std::mt19937 rng(7);
  const Matrix<T> a(c.trans_a ? c.k : c.m, c.trans_a ? c.m : c.k, c.extra, rng);
  const Matrix<T> b(c.trans_b ? c.n : c.k, c.trans_b ? c.k : c.n, c.extra, rng);
  const Matrix<T> before(c.m, c.n, c.extra, rng), row_bias(1, c.m, 0, rng), col_bias(1, c.n, 0, rng);
  Gemm<T> g{.m = c.m,
            .n = c.n,
            .k = c.k,
            .a = a.data.data(),
            .lda = a.stride,
            .trans_a = c.trans_a,
            .b = b.data.data(),
            .ldb = b.stride,
            .trans_b = c.trans_b,
            .c = nullptr,
            .ldc = before.stride,
            .accumulate = c.accumulate,
            .row_bias = c.row_bias ? row_bias.data.data() : nullptr,
            .col_bias = c.col_bias ? col_bias.data.data() : nullptr,
            .bf16 = c.bf16};

  Matrix<T> result = before;
  g.c = result.data.data();
  gemm_serial(g);
  if (c.bf16 && c.m * c.n * c.k > 0) {  // a packed B is rounded alike
    std::vector<T> packed(static_cast<size_t>(packed_b_size<T>(c.n, c.k)));
    pack_b_whole(g, packed.data());
    Gemm<T> other = g;
    Matrix<T> from_packed = before;
    other.b_packed = packed.data();
    other.b = nullptr;
    other.c = from_packed.data.data();
    gemm_serial(other);
    EXPECT_EQ(0, std::memcmp(result.data.data(), from_packed.data.data(), result.data.size() * sizeof(T)));
  }
  for (const int threads : thread_counts) {
    const test_support::Threads set(threads);
    Matrix<T> other = before;
    g.c = other.data.data();
    gemm(g);
    const size_t bytes = result.data.size() * sizeof(T);
    EXPECT_TRUE(bytes == 0 || std::memcmp(result.data.data(), other.data.data(), bytes) == 0)
        << threads << " threads";
  }

  const bool rounded = c.bf16 && multiplies_bf16();
  const auto factor = [&](T v) {
    return Wide<T>(rounded ? static_cast<float>(BFloat16(static_cast<float>(v))) : v);
  };
  const auto check_element = [&](int64_t i, int64_t j) {
    Wide<T> sum = 0, magnitude = 0;
    const auto add = [&](Wide<T> v) { sum += v, magnitude += std::abs(v); };
    for (int64_t k = 0; k < c.k; ++k) {
      add(factor(c.trans_a ? a.at(k, i) : a.at(i, k)) * factor(c.trans_b ? b.at(j, k) : b.at(k, j)));
    }
    if (c.accumulate) add(before.at(i, j));
    if (c.row_bias) add(row_bias.at(0, i));
    if (c.col_bias) add(col_bias.at(0, j));
    const double bound = 4 * std::sqrt(static_cast<double>(c.k) + 4) * std::numeric_limits<T>::epsilon();
    ASSERT_LE(std::abs(static_cast<double>(result.at(i, j) - sum)), bound * static_cast<double>(magnitude))
        << "at " << i << ", " << j;
  };
  if (c.m * c.n <= samples) {
    for (int64_t i = 0; i < c.m; ++i) {
      for (int64_t j = 0; j < c.n; ++j) check_element(i, j);
    }
  } else {
    for (int64_t s = 0; s < samples; ++s) {
      check_element(static_cast<int64_t>(rng() % static_cast<uint32_t>(c.m)),
                    static_cast<int64_t>(rng() % static_cast<uint32_t>(c.n)));
    }
  }
  for (int64_t i = 0; i + 1 < c.m; ++i) {
    for (int64_t j = c.n; j < before.stride; ++j) ASSERT_TRUE(std::isnan(result.at(i, j)));
  }
}

// Sanitizers take ten times as long, that of threads fifty times: under them fewer of the cases are run.
#if defined(__SANITIZE_THREAD__)
constexpr int kStep = 33;
#elif defined(__SANITIZE_ADDRESS__)
constexpr int kStep = 9;
#else
constexpr int kStep = 1;
#endif

template <class T>
class GemmTest : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(GemmTest, Types);

TYPED_TEST(GemmTest, MatchesTheTripleLoopForEveryOption) {
  constexpr int64_t kShapes[][3] = {{1, 1, 1},    {3, 5, 7},     {12, 32, 16},  {13, 33, 17},  {30, 8, 8},
                                    {37, 70, 45}, {65, 15, 259}, {29, 97, 600}, {257, 48, 31}, {24, 160, 34}};
  for_each_target([&] {
    for (const auto& [m, n, k] : kShapes) {
      for (unsigned options = 0; options < 64; options += kStep) {
        check<TypeParam>({m, n, k, (options & 1) != 0, (options & 2) != 0, (options & 4) != 0,
                          (options & 8) != 0, (options & 16) != 0, (options & 32) != 0 ? 3 : 0},
                         500);
      }
    }
  });
}

TYPED_TEST(GemmTest, MatchesTheTripleLoopForEverySmallSize) {
  for_each_target([&] {
    for (int64_t size = 1; size <= 70; size += kStep) {
      for (unsigned transposed = 0; transposed < 4; ++transposed) {
        const bool trans_a = (transposed & 1) != 0, trans_b = (transposed & 2) != 0;
        check<TypeParam>({size, 71 - size, 1 + size * 3 % 70, trans_a, trans_b}, 200);
        check<TypeParam>({size, size, size, trans_a, trans_b, true, true, true, size % 3}, 200);
      }
    }
  });
}

TYPED_TEST(GemmTest, MatchesTheTripleLoopForLargeSizes) {
  // Among them: several blocks of k, rows and columns, rows 4 KiB apart, and panels of A packed just in time.
  constexpr int64_t kShapes[][3] = {{250, 17, 513},  {5, 1060, 40},  {500, 130, 270}, {128, 1024, 1024},
                                    {600, 200, 700}, {1500, 64, 64}, {64, 256, 3000}, {3, 2100, 1100}};
  for_each_target([&] {
    for (const auto& [m, n, k] : kShapes) {
      for (unsigned options = 0; options < 4; options += kStep) {
        const bool extras = options == 1 || options == 2;
        check<TypeParam>(
            {m, n, k, (options & 1) != 0, (options & 2) != 0, extras, extras, extras, extras ? 5 : 0}, 100,
            {1, 2, 3, 5});
      }
    }
  });
}

// Results of 16 MiB and more are written past the caches: to the same bits as their parts, which are not.
TEST(Gemm, LargeResultsHaveTheBitsOfTheirParts) {
  constexpr int64_t kRows = 4100, kColumns = 1040, kDepth = 33;
  std::mt19937 rng(5);
  const Matrix<float> a(kRows, kDepth, 0, rng), b(kDepth, kColumns, 0, rng);
  const std::vector<float> bias(kColumns, 0.25f);
  struct Line {
    alignas(64) float v[16];
  };
  std::vector<Line> whole(kRows * kColumns / 16), part(whole.size());
  Gemm<float> g{.m = kRows,
                .n = kColumns,
                .k = kDepth,
                .a = a.data.data(),
                .lda = kDepth,
                .b = b.data.data(),
                .ldb = kColumns,
                .c = whole[0].v,
                .ldc = kColumns,
                .col_bias = bias.data(),
                .relu = true};
  gemm(g);
  for (g.m = kRows / 2; g.a < a.data.data() + a.data.size(); g.a += g.m * kDepth) {
    g.c = part[0].v + (g.a - a.data.data()) / kDepth * kColumns;
    gemm(g);
  }
  EXPECT_EQ(std::memcmp(whole[0].v, part[0].v, whole.size() * sizeof(Line)), 0);
  double sum = 0.25;
  for (int64_t k = 0; k < kDepth; ++k) sum += static_cast<double>(a.at(4099, k)) * b.at(k, 1039);
  EXPECT_NEAR(whole.back().v[15], std::max(0.0, sum), 1e-5);
}

TEST(Gemm, FactorsRoundedToBf16) {
  if (!multiplies_bf16()) GTEST_SKIP() << "this processor has no products of bf16 (AVX512-BF16)";
  // Odd sums, tails of vectors and of tiles, several blocks of k.
  constexpr int64_t kShapes[][3] = {{48, 32, 32},   {33, 47, 29},    {65, 15, 259},
                                    {29, 97, 1201}, {257, 48, 31},   {24, 160, 34},
                                    {500, 130, 7},  {600, 200, 700}, {3, 2100, 1100}};
  for_each_target([&] {
    for (const auto& [m, n, k] : kShapes) {
      for (unsigned options = 0; options < 8; options += kStep) {
        const bool extras = (options & 4) != 0;
        check<float>(
            {m, n, k, (options & 1) != 0, (options & 2) != 0, extras, extras, extras, extras ? 3 : 0, true},
            200, {1, 2, 3, 5});
      }
    }
  });
}

TYPED_TEST(GemmTest, EmptySumsAreZeroAndEmptyResultsAreLeftAlone) {
  for_each_target([&] {
    for (const bool accumulate : {false, true}) {
      for (const bool bias : {false, true}) {
        check<TypeParam>({20, 37, 0, false, false, accumulate, bias, bias, 1});
        check<TypeParam>({0, 37, 5, false, true, accumulate, bias, bias});
        check<TypeParam>({20, 0, 5, true, false, accumulate, bias, bias});
      }
    }
  });
}

}  // namespace
}  // namespace hebb::cpu
