// Edge cases of reductions: nothing to fold, NaN, ties, zeros, infinities, 0-d, long sums, thread counts. The
// numbers are PyTorch's. What every op must do is tested by the driver over the op table.
#include "hebb/ops/reduce.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "hebb/autograd/grad.h"
#include "hebb/backend/cpu/cpu_backend.h"
#include "hebb/op/dispatch.h"
#include "hebb/ops/creation.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/minmax.h"
#include "hebb/ops/random.h"
#include "hebb/ops/view.h"
#include "tests/support/threads.h"
#include "tests/support/throws.h"

namespace hebb {
namespace {

using test_support::error_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pointwise;

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

std::vector<double> list(const Tensor& t) { return t.to_vector<double>(); }
Tensor f64s(const Literal& v) { return tensor(v, f64); }

/// The gradient of sum(fn(x)) with respect to x.
template <class F>
std::vector<double> slope(F fn, const Tensor& x) {
  Tensor leaf = x.detach().requires_grad_();
  return list(grad(sum(fn(leaf)), leaf));
}
auto near(std::vector<double> expected) {
  return Pointwise(::testing::NanSensitiveDoubleNear(1e-12), expected);
}

TEST(Reduce, DimensionsCountFromTheEndAndMayStay) {
  const Tensor x = reshape(arange(0, 24, 1, f32), {2, 3, 4});
  EXPECT_EQ(sum(x, {-1}).shape(), (Shape{2, 3}));
  EXPECT_EQ(sum(x, {0, -1}, true).shape(), (Shape{1, 3, 1}));
  EXPECT_EQ(list(sum(x, {0, 2})), (std::vector<double>{60, 92, 124}));
  EXPECT_EQ(sum(x).ndim(), 0);
  EXPECT_EQ(sum(x).item<float>(), 276);
  EXPECT_THAT(error_of([&] { sum(x, {3}); }), HasSubstr("[sum] expected a dimension in [-3, 2], got 3"));
  EXPECT_THAT(error_of([&] { sum(x, {0, -3}); }), HasSubstr("[sum] expected each dimension once, got -3"));
}

TEST(Reduce, ScalarsHaveOneDimensionToName) {
  const Tensor x = scalar(3);
  EXPECT_EQ(sum(x, {0}).item<float>(), 3);
  EXPECT_EQ(amax(x, {-1}).item<float>(), 3);
  const auto [value, index] = max(x, 0);
  EXPECT_EQ(value.item<float>(), 3);
  EXPECT_EQ(index.item<int64_t>(), 0);
  EXPECT_EQ(argmin(x).item<int64_t>(), 0);
  EXPECT_EQ(cumsum(x, 0).item<float>(), 3);
  EXPECT_TRUE(std::isnan(var(x).item<float>()));
  EXPECT_EQ(slope([](const Tensor& t) { return max(t, 0).values; }, scalar(3, f64)), std::vector<double>{1});
}

TEST(Reduce, NothingToFold) {
  const Tensor x = zeros({0, 3});
  EXPECT_EQ(list(sum(x, {0})), (std::vector<double>{0, 0, 0}));
  EXPECT_EQ(list(prod(x, {0})), (std::vector<double>{1, 1, 1}));
  EXPECT_TRUE(std::isnan(mean(x).item<float>()));
  EXPECT_TRUE(std::isnan(var(x).item<float>()));
  EXPECT_EQ(logsumexp(x).item<float>(), -kInf);
  EXPECT_FALSE(any(x).item<bool>());
  EXPECT_TRUE(all(x).item<bool>());
  EXPECT_EQ(norm(x).item<float>(), 0);
  EXPECT_EQ(cumsum(x, 0).shape(), (Shape{0, 3}));
  EXPECT_EQ(sum(x, {1}).shape(), Shape{0});
  EXPECT_EQ(amax(x, {1}).shape(), Shape{0});
  EXPECT_EQ(argmax(x, 1).shape(), Shape{0});
  EXPECT_THAT(error_of([&] { amax(x, {0}); }),
              HasSubstr("[amax] expected at least one element to fold, got shape 0x3"));
  EXPECT_THAT(error_of([&] { argmax(x); }), HasSubstr("[argmax] expected at least one element"));
  EXPECT_THAT(error_of([&] { min(x, 0); }),
              HasSubstr("[min] expected at least one element along dimension 0"));
  EXPECT_EQ(slope([](const Tensor& t) { return prod(t, {0}); }, zeros({0, 3}, f64)).size(), 0u);
}

TEST(Reduce, IntegersAreSummedInI64) {
  const Tensor x = full({3}, 200, u8);
  EXPECT_EQ(sum(x).dtype(), i64);
  EXPECT_EQ(sum(x).item<int64_t>(), 600);
  EXPECT_EQ(prod(x).item<int64_t>(), 8000000);
  EXPECT_EQ(list(cumsum(x, 0)), (std::vector<double>{200, 400, 600}));
  EXPECT_EQ(amax(x).dtype(), u8);
  EXPECT_EQ(sum(tensor({1, 0, 1}, boolean)).item<int64_t>(), 2);
  const Tensor big = full({2}, 4611686018427387904.0, i64) - 1;  // would round in double
  EXPECT_EQ(amin(big).item<int64_t>(), 4611686018427387903);
  EXPECT_THAT(error_of([&] { var(x); }), HasSubstr("[var] expected a tensor of a floating type, got u8"));
}

TEST(Reduce, NanIsLargestAndSmallest) {
  const Tensor x = f64s({1, kNaN, 2, kNaN});
  for (const DType t : {f32, f64, bf16}) {
    const Tensor y = to(x, t);
    EXPECT_TRUE(std::isnan(amax(y).item<double>()));
    EXPECT_TRUE(std::isnan(amin(y).item<double>()));
    EXPECT_EQ(argmax(y).item<int64_t>(), 1);
    EXPECT_EQ(argmin(y).item<int64_t>(), 1);
    EXPECT_EQ(list(max(reshape(y, {2, 2}), 0).indices), (std::vector<double>{1, 0}));
  }
  EXPECT_EQ(slope([](const Tensor& t) { return max(t, 0).values; }, x), (std::vector<double>{0, 1, 0, 0}));
  EXPECT_TRUE(any(tensor({0, kNaN})).item<bool>());
  EXPECT_EQ(list(max(tensor({{kNaN, 1}, {2, kNaN}}), 0).indices), (std::vector<double>{0, 1}));
}

TEST(Reduce, InfinitiesAreNumbers) {
  const Tensor x = full({100}, -kInf);
  EXPECT_EQ(amax(x).item<float>(), -kInf);
  EXPECT_EQ(argmax(x).item<int64_t>(), 0);
  EXPECT_EQ(argmax(neg(x)).item<int64_t>(), 0);
  EXPECT_EQ(amin(neg(x), {0}).item<float>(), kInf);
}

TEST(Reduce, TiesGoToTheFirstOrAreShared) {
  const Tensor x = tensor({{1, 5, 5, 2}, {7, 7, 7, 0}}, f64);
  const auto [values, indices] = max(x, 1);
  EXPECT_EQ(list(values), (std::vector<double>{5, 7}));
  EXPECT_EQ(list(indices), (std::vector<double>{1, 0}));
  EXPECT_EQ(indices.dtype(), i64);
  EXPECT_EQ(list(argmin(x, 0)), (std::vector<double>{0, 0, 0, 1}));
  EXPECT_EQ(argmax(x).item<int64_t>(), 4);
  EXPECT_EQ(argmax(x, 1, true).shape(), (Shape{2, 1}));
  EXPECT_THAT(slope([](const Tensor& t) { return max(t, 1).values; }, x),
              ElementsAre(0, 1, 0, 0, 1, 0, 0, 0));
  EXPECT_THAT(slope([](const Tensor& t) { return amax(t, {1}); }, x),
              near({0, .5, .5, 0, 1. / 3, 1. / 3, 1. / 3, 0}));
  EXPECT_THAT(slope([](const Tensor& t) { return max(t); }, x),
              near({0, 0, 0, 0, 1. / 3, 1. / 3, 1. / 3, 0}));
}

TEST(Reduce, ProductsDifferentiateThroughZeros) {
  auto product = [](const Tensor& t) { return prod(t); };
  EXPECT_EQ(slope(product, f64s({0, 2, 3})), (std::vector<double>{6, 0, 0}));
  EXPECT_EQ(slope(product, f64s({0, 0, 3})), (std::vector<double>{0, 0, 0}));
  EXPECT_EQ(slope(product, f64s({2, 3, 4, 5, 6})), (std::vector<double>{360, 240, 180, 144, 120}));
  // The second derivative: d2/dx0 dx1 of x0 x1 x2 is x2.
  Tensor x = f64s({0, 2, 3}).requires_grad_();
  const Tensor first = grad(prod(x), x, {}, {.create_graph = true});
  EXPECT_EQ(list(grad(sum(first * f64s({1, 0, 0})), x)), (std::vector<double>{0, 3, 2}));
}

TEST(Reduce, VarianceIsStableAndCorrected) {
  EXPECT_NEAR(var(f64s({1, 2, 4, 8}), {}, 0).item<double>(), 7.1875, 1e-12);
  EXPECT_NEAR(std(f64s({1, 2, 4, 8})).item<double>(), 3.0956959368344519, 1e-12);
  EXPECT_EQ(var(f64s({1, 2}), {}, 3).item<double>(), kInf);  // as PyTorch: divided by max(0, -1)
  EXPECT_TRUE(std::isnan(std(f64s({2})).item<double>()));
  // 1e8 and 1e8 + 2 in f32: the mean of squares would lose everything.
  EXPECT_NEAR(var(tensor({1e8, 1e8 + 16, 1e8 - 16})).item<float>(), 256, 1e-3);
  EXPECT_EQ(slope([](const Tensor& t) { return std(t); }, f64s({2, 2, 2})), (std::vector<double>{0, 0, 0}));
  const Tensor x[] = {to(randn({3, 5}), f64)};
  EXPECT_EQ(gradcheck(
                [](auto in) {
                  return std::vector<Tensor>{var(in[0], {0}), std(in[0], {1})};
                },
                x, {.second = true}),
            "");
}

TEST(Reduce, LogSumExp) {
  EXPECT_EQ(logsumexp(tensor({-kInf, -kInf})).item<float>(), -kInf);
  EXPECT_EQ(logsumexp(tensor({kInf, 0})).item<float>(), kInf);
  EXPECT_TRUE(std::isnan(logsumexp(tensor({kInf, kNaN})).item<float>()));
  EXPECT_TRUE(std::isnan(logsumexp(tensor({0, kNaN, 1})).item<float>()));
  EXPECT_FLOAT_EQ(logsumexp(tensor({1000, 1000})).item<float>(), 1000.6931472f);
  EXPECT_FLOAT_EQ(logsumexp(tensor({-1000, -1000})).item<float>(), -999.3068528f);
  EXPECT_FLOAT_EQ(logsumexp(tensor({1, 2}, i64)).item<float>(), 2.3132617f);
  EXPECT_EQ(slope([](const Tensor& t) { return logsumexp(t); }, f64s({-kInf, 0})),
            (std::vector<double>{0, 1}));
}

TEST(Reduce, NormsAndTheirSlopesAtZero) {
  const Tensor x = f64s({0, 3, -4, -4}), zero = f64s({0, 0});
  struct Case {
    double p, value;
    std::vector<double> slope;
  };
  for (const Case& c :
       {Case{0.5, 32.856406460551014, {0, 3.3094010767585034, -2.8660254037844384, -2.8660254037844384}},
        Case{1, 11, {0, 1, -1, -1}},
        Case{1.5, 7.658987415357324, {0, .6258567627452247, -.7226771408902065, -.7226771408902065}},
        Case{2, 6.4031242374328485, {0, .4685212856658182, -.6246950475544243, -.6246950475544243}},
        Case{3, 5.371685354944832, {0, .3119043109322806, -.5544965527684989, -.5544965527684989}},
        Case{kInf, 4, {0, 0, -.5, -.5}}, Case{-kInf, 0, {0, 0, 0, 0}}, Case{-1, 0, {0, 0, 0, 0}}}) {
    SCOPED_TRACE(c.p);
    auto fn = [&](const Tensor& t) { return norm(t, c.p); };
    EXPECT_NEAR(fn(x).item<double>(), c.value, 1e-12);
    EXPECT_THAT(slope(fn, x), near(c.slope));
    EXPECT_EQ(fn(zero).item<double>(), 0);
    EXPECT_THAT(slope(fn, zero), near({0, 0}));
  }
  EXPECT_EQ(norm(x, 0).item<double>(), 3);
  EXPECT_EQ(norm(f64s({-kInf, -kInf}), -1).item<double>(), kInf);
  EXPECT_EQ(norm(reshape(x, {2, 2}), 2, {1}, true).shape(), (Shape{2, 1}));
}

TEST(Reduce, TruthOfEveryType) {
  EXPECT_EQ(any(tensor({0, 2}, u8)).dtype(), u8);
  EXPECT_EQ(any(tensor({0, 2}, u8)).item<int64_t>(), 1);
  for (const DType t : {boolean, i8, i32, i64, f32, f64, bf16}) {
    const Tensor x = to(tensor({{0, 0, 0}, {1, 0, 1}, {1, 1, 1}}), t);
    EXPECT_EQ(any(x).dtype(), boolean);
    EXPECT_EQ(list(any(x, {1})), (std::vector<double>{0, 1, 1}));
    EXPECT_EQ(list(all(x, {1})), (std::vector<double>{0, 0, 1}));
    EXPECT_EQ(list(all(slice(x, 0, 1), {0})), (std::vector<double>{1, 0, 1}));
    EXPECT_EQ(list(any(slice(x, 0, 0, 2), {0})), (std::vector<double>{1, 0, 1}));
  }
}

TEST(Reduce, LongSumsStayExact) {
  // One value in f32 summed ten million times in order would stop at 2^24.
  const Tensor x = full({10'000'000}, 0.1);
  EXPECT_NEAR(sum(x).item<float>(), 1e6, 1);
  EXPECT_NEAR(sum(reshape(x, {1'000'000, 10}), {0}).to_vector<float>()[3], 1e5, 0.1);
  EXPECT_NEAR(mean(x).item<float>(), 0.1, 1e-7);
}

// Shapes that take every path: rows shorter and longer than a chunk, columns in one block and in many, runs
// of folded and kept dimensions in turn.
struct ShapeCase {
  Shape shape;
  Dims dims;
};
std::vector<ShapeCase> shape_cases() {
  return {{{3}, {}},
          {{70'001}, {}},
          {{9001, 3}, {1}},
          {{7, 5000}, {1}},
          {{64, 120}, {0}},
          {{500, 10}, {1}},
          {{6, 40}, {1}},
          {{6, 300}, {1}},
          {{9, 3}, {0}},
          {{5000, 10}, {0}},
          {{300, 1030}, {0}},
          {{8, 6, 24, 24}, {0, 2, 3}},
          {{3, 5, 7, 2}, {1}},
          {{2, 70, 3, 5}, {1, 3}},
          {{2, 3, 130, 4, 5}, {0, 2, 4}},
          {{1, 6, 1, 9}, {0, 2, 3}}};
}

TEST(Reduce, CpuKernelsAgreeWithTheReference) {
  for (const ShapeCase& c : shape_cases()) {
    for (const DType t : {f32, f64}) {
      const Tensor x = to(rand(c.shape) + 0.5, t), powers = pow(x, 1e-3);
      auto all_of = [&] {
        std::vector<Tensor> r = {sum(x, c.dims),  mean(x, c.dims),      amax(x, c.dims),
                                 amin(x, c.dims), logsumexp(x, c.dims), prod(powers, c.dims)};
        if (c.dims.size() == 1) {
          r.push_back(argmax(x, c.dims[0]));
          r.push_back(argmin(x, c.dims[0]));
          r.push_back(max(x, c.dims[0]).values);
          r.push_back(min(x, c.dims[0]).indices);
          r.push_back(cumsum(x, c.dims[0]));
        }
        return r;
      };
      std::vector<Tensor> plain;
      {
        const BackendScope scope("reference");
        plain = all_of();
      }
      for (const std::string& target : cpu_targets()) {
        SCOPED_TRACE(c.shape.str() + " " + std::string(name_of(t)) + " " + target);
        force_cpu_target(target);
        const std::vector<Tensor> fast = all_of();
        force_cpu_target("");
        for (size_t i = 0; i < fast.size(); ++i) {
          const std::vector<double> a = list(fast[i]), b = list(plain[i]);
          ASSERT_EQ(a.size(), b.size());
          // Each factor of a product adds its rounding error, however they are grouped.
          const double tolerance = (t == f32 ? 3e-6 : 1e-13) * (i == 5 ? 20 : 1);
          for (size_t k = 0; k < a.size(); ++k)
            ASSERT_NEAR(a[k], b[k], tolerance * std::max(1.0, std::abs(b[k]))) << i << " at " << k;
        }
      }
    }
  }
}

TEST(Reduce, AnyNumberOfThreadsGivesTheSameBits) {
  for (const ShapeCase& c : shape_cases()) {
    SCOPED_TRACE(c.shape.str());
    const Tensor x = randn(c.shape);
    test_support::expect_same_bits_for_threads([&]() -> std::vector<Tensor> {
      return {sum(x, c.dims),       mean(x, c.dims), amax(x, c.dims),
              logsumexp(x, c.dims), var(x, c.dims),  norm(x, 2, c.dims)};
    });
  }
}

}  // namespace
}  // namespace hebb
