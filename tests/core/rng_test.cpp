// Random numbers: the published vectors of Philox, and the moments of what is made from it.
#include "hebb/core/rng.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "hebb/ops/random.h"
#include "tests/support/threads.h"
#include "tests/support/throws.h"

namespace hebb {
namespace {

using Words = std::array<uint32_t, 4>;

// kat_vectors of Random123 1.09, lines "philox4x32 10".
TEST(Philox, GivesThePublishedVectors) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(RandomStream, PlacesSeedStreamAndIndexInKeyAndCounter) {
  const RandomStream r{0x299f31d0a4093822, 0x0370734413198a2e};
  EXPECT_EQ(r.words(0x85a308d3243f6a88), (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
  EXPECT_EQ(r.bits(0), r.words(0)[0] | uint64_t{r.words(0)[1]} << 32);
  EXPECT_EQ(r.bits(1), r.words(0)[2] | uint64_t{r.words(0)[3]} << 32);
  EXPECT_EQ(r.bits(2), r.words(1)[0] | uint64_t{r.words(1)[1]} << 32);
}

TEST(RandomStream, IsUniform) {
  const RandomStream r{1, 2};
  const int n = 200'000;
  double sum = 0, squares = 0, low = 1, high = 0;
  std::array<int, 10> counts{};
  for (int i = 0; i < n; ++i) {
    const double u = r.uniform(static_cast<uint64_t>(i));
    sum += u, squares += u * u, low = std::min(low, u), high = std::max(high, u);
    ++counts[static_cast<size_t>(10 * u)];
  }
  EXPECT_GE(low, 0);
  EXPECT_LT(high, 1);
  EXPECT_NEAR(sum / n, 0.5, 4 * std::sqrt(1.0 / 12 / n));
  EXPECT_NEAR(squares / n, 1.0 / 3, 4 * std::sqrt(4.0 / 45 / n));
  for (const int c : counts) EXPECT_NEAR(c, n / 10, 5 * std::sqrt(0.09 * n));
}

TEST(RandomStream, BelowStaysBelowAndReachesAll) {
  const RandomStream r{3, 0};
  std::array<int, 7> counts{};
  for (uint64_t i = 0; i < 70'000; ++i) ++counts.at(r.below(i, 7));
  for (const int c : counts) EXPECT_NEAR(c, 10'000, 500);
  EXPECT_EQ(r.below(0, 1), 0u);
}

TEST(RandomStream, PermutesEveryElementOnce) {
  const auto order = RandomStream{5, 9}.permutation(1000);
  const std::set<int64_t> seen(order.begin(), order.end());
  EXPECT_EQ(seen.size(), 1000u);
  EXPECT_EQ(*seen.begin(), 0);
  EXPECT_EQ(*seen.rbegin(), 999);
  EXPECT_FALSE(std::is_sorted(order.begin(), order.end()));
  EXPECT_TRUE((RandomStream{5, 9}.permutation(0).empty()));
  // All 6 orders of 3 come equally often.
  std::vector<int> counts(27);
  for (uint64_t s = 0; s < 6000; ++s) {
    const auto p = RandomStream{s, 0}.permutation(3);
    ++counts[static_cast<size_t>(9 * p[0] + 3 * p[1] + p[2])];
  }
  std::erase_if(counts, [](int c) { return c == 0; });
  EXPECT_EQ(counts.size(), 6u);
  for (const int c : counts) EXPECT_NEAR(c, 1000, 150);
}

TEST(Normal, HasTheMomentsOfTheStandardNormal) {
  const RandomStream r{11, 4};
  const int n = 200'000;
  double m1 = 0, m2 = 0, m3 = 0, m4 = 0, cross = 0;
  for (int i = 0; i < n / 2; ++i) {
    const auto w = r.words(static_cast<uint64_t>(i));
    const auto z = normal_from_bits(w[0], w[1]);
    for (const double x : z) m1 += x, m2 += x * x, m3 += x * x * x, m4 += x * x * x * x;
    cross += z[0] * z[1];
  }
  EXPECT_NEAR(m1 / n, 0, 4 / std::sqrt(n));
  EXPECT_NEAR(m2 / n, 1, 4 * std::sqrt(2.0 / n));
  EXPECT_NEAR(m3 / n, 0, 4 * std::sqrt(15.0 / n));
  EXPECT_NEAR(m4 / n, 3, 4 * std::sqrt(96.0 / n));
  EXPECT_NEAR(cross / (n / 2), 0, 4 / std::sqrt(n / 2));
}

TEST(Normal, IsFiniteForAllBits) {
  for (const uint32_t a : {0u, 1u, ~0u})
    for (const uint32_t b : {0u, 1u, 0x80000000u, ~0u})
      for (const double x : normal_from_bits(a, b)) EXPECT_TRUE(std::isfinite(x));
}

TEST(Generator, GivesTheSameValuesForASeedAndOthersForTheNextCall) {
  Generator a(42), b(42), c(43);
  const auto first = rand({5}, f32, a).to_vector<float>();
  EXPECT_EQ(first, rand({5}, f32, b).to_vector<float>());
  EXPECT_NE(first, rand({5}, f32, c).to_vector<float>());
  EXPECT_NE(first, rand({5}, f32, a).to_vector<float>());
  a.manual_seed(42);
  EXPECT_EQ(first, rand({5}, f32, a).to_vector<float>());
}

TEST(Generator, ContinuesWhereItsSavedStateStood) {
  Generator a(7);
  rand({3}, f32, a);
  const Tensor saved = Tensor::from(a.state().to_vector<int64_t>());
  const auto next = randn({6}, f64, a).to_vector<double>();
  Generator b(0);
  b.state().assign_(saved);
  EXPECT_EQ(randn({6}, f64, b).to_vector<double>(), next);
}

TEST(Generator, ValuesDoNotDependOnTheNumberOfThreads) {
  std::vector<float> one;
  for (const int n : {1, 2, 3, 5}) {
    const test_support::Threads set(n);
    Generator g(1);
    const auto v = randn({100'003}, f32, g).to_vector<float>();
    if (n == 1) one = v;
    EXPECT_EQ(v, one) << n;
  }
}

TEST(Random, FunctionsKeepTheirRanges) {
  Generator g(3);
  for (const int64_t v : randint(-3, 4, {500}, i64, g).to_vector<int64_t>()) {
    EXPECT_GE(v, -3);
    EXPECT_LT(v, 4);
  }
  EXPECT_ERROR(randint(4, 4, {2}, i64, g), "[randint] expected low < high, got 4 and 4");
  double ones = 0;
  for (const float v : bernoulli(Tensor::from(std::vector<float>(10'000, 0.3f)), g).to_vector<float>())
    ones += v;
  EXPECT_NEAR(ones / 10'000, 0.3, 0.02);
  const auto kept = dropout(Tensor::from(std::vector<float>(10'000, 1.0f)), 0.2, true, g).to_vector<float>();
  double sum = 0;
  for (const float v : kept) {
    EXPECT_TRUE(v == 0.0f || v == 1.25f) << v;
    sum += v;
  }
  EXPECT_NEAR(sum / 10'000, 1, 0.03);
}

}  // namespace
}  // namespace hebb
