// Where frameworks differ, hebb does as PyTorch: types of results, division by zero, NaN, overflow, empty and
// 0-d tensors. The numbers are what torch 2.13 gives.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <sstream>

#include "hebb/ops/conv.h"
#include "hebb/ops/creation.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/join.h"
#include "hebb/ops/matmul.h"
#include "hebb/ops/minmax.h"
#include "hebb/ops/norm.h"
#include "hebb/ops/reduce.h"
#include "hebb/ops/view.h"
#include "tests/support/throws.h"

namespace hebb {
namespace {

using ::testing::HasSubstr;

constexpr double kInf = INFINITY, kNaN = NAN;
constexpr DType kTypes[] = {boolean, u8, i8, i32, i64, f16, bf16, f32, f64};
constexpr const char* kHeader = "bool u8 i8 i32 i64 f16 bf16 f32 f64";

// Rows of type names, written after the name of the row.
std::vector<std::vector<DType>> types(const char* text) {
  std::vector<std::vector<DType>> rows;
  std::istringstream lines(text);
  for (std::string line, word; std::getline(lines, line);) {
    std::istringstream words(line);
    if (!(words >> word)) continue;
    rows.emplace_back();
    while (words >> word) rows.back().push_back(dtype_from_name(word));
  }
  return rows;
}
Tensor of(DType t, const Shape& shape) { return ones(shape, t); }

void expect(const Tensor& got, std::vector<double> want) {
  EXPECT_THAT(got.to_vector<double>(), ::testing::Pointwise(::testing::NanSensitiveDoubleEq(), want));
}

// PyTorch has i16 for u8 with i8; hebb, without it, takes the next wider type.
const char* const kAlike = R"(
  bool  bool u8   i8   i32  i64  f16  bf16 f32  f64
  u8    u8   u8   i32  i32  i64  f16  bf16 f32  f64
  i8    i8   i32  i8   i32  i64  f16  bf16 f32  f64
  i32   i32  i32  i32  i32  i64  f16  bf16 f32  f64
  i64   i64  i64  i64  i64  i64  f16  bf16 f32  f64
  f16   f16  f16  f16  f16  f16  f16  f32  f32  f64
  bf16  bf16 bf16 bf16 bf16 bf16 f32  bf16 f32  f64
  f32   f32  f32  f32  f32  f32  f32  f32  f32  f64
  f64   f64  f64  f64  f64  f64  f64  f64  f64  f64
)";
// Rows: a tensor with dimensions; columns: a 0-d tensor beside it, which counts only if of a higher kind.
const char* const kWithScalarTensor = R"(
  bool  bool u8   i8   i32  i64  f16  bf16 f32  f64
  u8    u8   u8   u8   u8   u8   f16  bf16 f32  f64
  i8    i8   i8   i8   i8   i8   f16  bf16 f32  f64
  i32   i32  i32  i32  i32  i32  f16  bf16 f32  f64
  i64   i64  i64  i64  i64  i64  f16  bf16 f32  f64
  f16   f16  f16  f16  f16  f16  f16  f16  f16  f16
  bf16  bf16 bf16 bf16 bf16 bf16 bf16 bf16 bf16 bf16
  f32   f32  f32  f32  f32  f32  f32  f32  f32  f32
  f64   f64  f64  f64  f64  f64  f64  f64  f64  f64
)";

TEST(ResultTypes, OfTwoTensors) {
  const auto alike = types(kAlike), mixed = types(kWithScalarTensor);
  for (int i = 0; i < 9; ++i)
    for (int j = 0; j < 9; ++j) {
      const DType a = kTypes[i], b = kTypes[j];
      SCOPED_TRACE(std::string(name_of(a)) + " and " + std::string(name_of(b)));
      EXPECT_EQ(add(of(a, {2}), of(b, {2})).dtype(), alike[i][j]);
      EXPECT_EQ(add(of(a, {}), of(b, {})).dtype(), alike[i][j]);
      EXPECT_EQ(mul(of(a, {2}), of(b, {})).dtype(), mixed[i][j]);
      EXPECT_EQ(mul(of(b, {}), of(a, {2})).dtype(), mixed[i][j]);
      EXPECT_EQ(maximum(of(a, {0, 2}), of(b, {})).dtype(), mixed[i][j]) << "empty";
    }
}

TEST(ResultTypes, OfNumbers) {
  // A whole number and a fraction beside each type, with and without dimensions.
  const auto expected = types(R"(
    bool i64 f32
    u8 u8 f32
    i8 i8 f32
    i32 i32 f32
    i64 i64 f32
    f16 f16 f16
    bf16 bf16 bf16
    f32 f32 f32
    f64 f64 f64
  )");
  for (int i = 0; i < 9; ++i)
    for (const Shape& shape : {Shape{2}, Shape{}}) {
      SCOPED_TRACE(std::string(name_of(kTypes[i])) + " " + shape.str());
      EXPECT_EQ((of(kTypes[i], shape) + 1).dtype(), expected[i][0]);
      EXPECT_EQ((of(kTypes[i], shape) + 0.5).dtype(), expected[i][1]);
      EXPECT_EQ((1 - of(kTypes[i], shape)).dtype(), expected[i][0]);
      EXPECT_EQ((of(kTypes[i], shape) > 0.5).dtype(), boolean);
    }
}

TEST(ResultTypes, OfResults) {
  const auto row = [](const char* text) { return types((std::string("op ") + text).c_str())[0]; };
  const auto same = row(kHeader), quotient = row("f32 f32 f32 f32 f32 f16 bf16 f32 f64"),
             total = row("i64 i64 i64 i64 i64 f16 bf16 f32 f64");
  for (int i = 0; i < 9; ++i) {
    const Tensor x = of(kTypes[i], {2});
    SCOPED_TRACE(name_of(kTypes[i]));
    EXPECT_EQ((x / x).dtype(), quotient[i]);
    EXPECT_EQ(exp(x).dtype(), quotient[i]);
    EXPECT_EQ(sum(x).dtype(), total[i]);
    EXPECT_EQ(prod(x).dtype(), total[i]);
    EXPECT_EQ(cumsum(x, 0).dtype(), total[i]);
    EXPECT_EQ(sign(x).dtype(), same[i]);
    EXPECT_EQ(amax(x).dtype(), same[i]);
    EXPECT_EQ((x == x).dtype(), boolean);
    EXPECT_EQ(any(x).dtype(), kTypes[i] == u8 ? u8 : boolean);
  }
}

TEST(Broadcast, OfRowsEqualsWhatIsSpreadOut) {
  for (const int64_t columns : {1, 3, 32, 512, 700}) {
    for (const DType type : {f32, f64, i32, f16, u8}) {
      const Shape shape{301, columns};
      const Tensor x = to(arange(0, shape.numel()), type), v = to(arange(0, columns), type);
      const Tensor rows = reshape(x, shape), spread = clone(expand(v, shape)), two = to(scalar(2), type);
      const auto equal = [&](const Tensor& a, const Tensor& b) {
        return a.dtype() == b.dtype() && a.to_vector<double>() == b.to_vector<double>();
      };
      EXPECT_TRUE(equal(rows + v, rows + spread)) << columns << ' ' << name_of(type);
      EXPECT_TRUE(equal(v - rows, spread - rows)) << columns << ' ' << name_of(type);
      EXPECT_TRUE(equal(rows > v, rows > spread)) << columns << ' ' << name_of(type);
      EXPECT_TRUE(equal(where(v > two, rows, two), where(spread > two, rows, expand(two, shape))))
          << columns << ' ' << name_of(type);
    }
  }
}

TEST(DivisionByZero, OfFloatsFollowsIeee) {
  expect(tensor({1, -1, 0, kInf}) / 0, {kInf, -kInf, kNaN, kInf});
  expect(tensor({1, -1}) / tensor({0, -0.0}), {kInf, kInf});
  expect(tensor({1, -1, 0}, i64) / 0, {kInf, -kInf, kNaN});
  expect(floor_divide(tensor({7, -7, 0, 5.5}), 0), {kInf, -kInf, kNaN, kInf});
  expect(remainder(tensor({5, -5}), 0), {kNaN, kNaN});
  expect(reciprocal(tensor({0, -0.0})), {kInf, -kInf});
}

TEST(DivisionByZero, OfIntegersThrows) {
  const Tensor x = tensor({1, 2}, i64);
  EXPECT_THAT(test_support::error_of([&] { floor_divide(x, 0); }),
              HasSubstr("expected a divisor other than 0"));
  EXPECT_THAT(test_support::error_of([&] { remainder(x, 0); }), HasSubstr("expected a divisor other than 0"));
}

TEST(ConvTranspose, PaddingMayCutAllButWhatOutputPaddingAdds) {
  const Tensor one = ones({1, 1, 1}), bias = tensor({3});
  expect(conv_transpose1d(one, one, bias, {.stride = 5, .padding = 2, .output_padding = 4}), {3});
  EXPECT_THAT(test_support::error_of(
                  [&] { conv_transpose1d(one, one, {}, {.stride = 5, .padding = 2, .output_padding = 3}); }),
              HasSubstr("expected an output of at least 1 column"));
}

TEST(Division, ByNumbersThatTheTypeDoesNotHold) {
  expect(div(tensor({64, 128}, u8), 256), {0.25, 0.5});
  expect(div(tensor({75, -75}, i8), 300), {0.25, -0.25});
  expect(div(512, tensor({128, 64}, u8)), {4, 8});
}

TEST(Division, RoundsDown) {
  for (const DType t : {f32, f64, i32, i64}) {
    const Tensor a = tensor({7, -7, 7, -7}, t), b = tensor({2, 2, -2, -2}, t);
    expect(floor_divide(a, b), {3, -4, -4, 3});
    expect(remainder(a, tensor({3, 3, -3, -3}, t)), {1, 2, -2, -1});
  }
}

TEST(Powers, AtTheEdges) {
  expect(pow(tensor({0, 0, -2, -8, 2, kInf}), tensor({0, -1, 2, 1. / 3, -1, 0})), {1, kInf, 4, kNaN, 0.5, 1});
  expect(pow(tensor({2, 3, -2}, i64), tensor({3, 0, 3}, i64)), {8, 1, -8});
  expect(pow(tensor({2, 3, 1, -1}, i64), tensor({-1, -2, -3, -3}, i64)), {0, 0, 1, -1});
  expect(log(tensor({0, -1, 1})), {-kInf, kNaN, 0});
  expect(sqrt(tensor({-1, 0})), {kNaN, 0});
  expect(rsqrt(tensor({0})), {kInf});
  expect(round(tensor({0.5, 1.5, 2.5, -0.5, -1.5})), {0, 2, 2, -0.0, -2});
}

TEST(NaN, PassesThrough) {
  expect(maximum(tensor({1, kNaN}), tensor({kNaN, 2})), {kNaN, kNaN});
  expect(minimum(tensor({1, kNaN}), tensor({kNaN, 2})), {kNaN, kNaN});
  expect(max(tensor({1, kNaN, 3})), {kNaN});
  expect(argmax(tensor({1, kNaN, 3})), {1});
  expect(relu(tensor({kNaN, -1, 2})), {kNaN, 0, 2});
  expect(clamp(tensor({kNaN, -5, 5}), -1, 1), {kNaN, -1, 1});
  expect(tensor({kNaN, 1}) == tensor({kNaN, 1}), {0, 1});
  expect(tensor({kNaN, 1}) != tensor({kNaN, 1}), {1, 0});
  expect(sign(tensor({-0.0, 3, -kInf})), {0, 1, -1});
}

TEST(Integers, WrapAround) {
  expect(add(tensor({250}, u8), tensor({10}, u8)), {4});
  expect(sub(tensor({3}, u8), tensor({5}, u8)), {254});
  expect(neg(tensor({1}, u8)), {255});
  expect(tensor({2147483647}, i32) + 1, {-2147483648.});
  expect(abs(tensor({-2147483648.}, i32)), {-2147483648.});
  expect(full({1}, 4611686018427387904., i64) * 4, {0});
  expect(add(tensor({1, 0}, boolean), tensor({1, 1}, boolean)), {1, 1});
  expect(mul(tensor({1, 0}, boolean), tensor({1, 1}, boolean)), {1, 0});
  expect(sum(tensor({1, 1}, boolean)), {2});
}

TEST(Empty, Reductions) {
  const Tensor x = zeros({0, 3});
  expect(sum(x), {0});
  expect(mean(x), {kNaN});
  expect(prod(x), {1});
  expect(sum(x, {0}), {0, 0, 0});
  expect(mean(x, {0}), {kNaN, kNaN, kNaN});
  expect(logsumexp(x, {0}), {-kInf, -kInf, -kInf});
  expect(var(x), {kNaN});
  expect(norm(x), {0});
  expect(any(x), {0});
  expect(all(x), {1});
  EXPECT_EQ(sum(x, {1}).shape(), (Shape{0}));
  EXPECT_EQ(argmax(x, 1).shape(), (Shape{0}));
  EXPECT_EQ(max(x, 1).values.shape(), (Shape{0}));
}

TEST(Empty, HasNoLargestElement) {
  const Tensor x = zeros({0, 3});
  EXPECT_THAT(test_support::error_of([&] { max(x); }), HasSubstr("[amax] expected"));
  EXPECT_THAT(test_support::error_of([&] { min(x); }), HasSubstr("[amin] expected"));
  EXPECT_THAT(test_support::error_of([&] { max(x, 0); }), HasSubstr("[max] expected"));
  EXPECT_THAT(test_support::error_of([&] { argmax(x); }), HasSubstr("[argmax] expected"));
}

TEST(Empty, GoesThroughOps) {
  expect(matmul(zeros({2, 0}), zeros({0, 3})), {0, 0, 0, 0, 0, 0});
  EXPECT_EQ(matmul(zeros({0, 2}), zeros({2, 3})).shape(), (Shape{0, 3}));
  EXPECT_EQ((zeros({0, 3}) + zeros({1, 3})).shape(), (Shape{0, 3}));
  EXPECT_EQ(transpose(zeros({0, 3})).shape(), (Shape{3, 0}));
  EXPECT_EQ(reshape(zeros({0, 3}), {3, 0, 2}).shape(), (Shape{3, 0, 2}));
  EXPECT_EQ(softmax(zeros({0, 3}), 1).shape(), (Shape{0, 3}));
  EXPECT_EQ(cat({zeros({0, 3}), ones({1, 3})}).shape(), (Shape{1, 3}));
  EXPECT_EQ(cat({zeros({0}), ones({1, 3})}).shape(), (Shape{1, 3}));
}

TEST(ZeroDimensions, AreOneElement) {
  const Tensor s = scalar(3);
  EXPECT_EQ(s.ndim(), 0);
  expect(sum(s), {3});
  expect(sum(s, {0}), {3});
  EXPECT_EQ(sum(s, {0}).ndim(), 0);
  EXPECT_EQ(flatten(s).shape(), (Shape{1}));
  EXPECT_EQ(squeeze(s).shape(), Shape());
  EXPECT_EQ(unsqueeze(s, -1).shape(), (Shape{1}));
  EXPECT_EQ(reshape(s, {1, 1}).shape(), (Shape{1, 1}));
  EXPECT_EQ(expand(s, {2, 3}).shape(), (Shape{2, 3}));
  EXPECT_EQ(permute(s, {}).shape(), Shape());
  EXPECT_EQ((s + ones({2})).shape(), (Shape{2}));
  EXPECT_EQ((s + s).shape(), Shape());
  expect(softmax(s, 0), {1});
  expect(cumsum(s, 0), {3});
  EXPECT_EQ(max(s, 0).indices.item<int64_t>(), 0);
  expect(var(s), {kNaN});
}

}  // namespace
}  // namespace hebb
