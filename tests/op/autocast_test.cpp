// Mixed precision: products of f32 round what they multiply to bf16, and nothing else changes.
#include "hebb/op/autocast.h"

#include <gtest/gtest.h>

#include "hebb/hebb.h"
#include "tests/support/throws.h"

namespace hebb {
namespace {

using test_support::error_of;

#define HEBB_NEEDS_BF16()                                                                                 \
  do {                                                                                                    \
    const Autocast probe(bf16);                                                                           \
    if (autocast_dtype() != bf16) GTEST_SKIP() << "this processor has no products of bf16 (AVX512-BF16)"; \
  } while (false)

Tensor rounded(const Tensor& t) { return to(to(t, bf16), f32); }
// The largest difference, as a share of the largest element of `want`.
double differ(const Tensor& got, const Tensor& want) {
  return (max(abs(got - want)) / max(abs(want))).item<double>();
}
constexpr double kSame = 2e-6, kRounded = 1e-3;  // f32 sums in another order; sums of rounded products

TEST(Autocast, LastsAsLongAsItLives) {
  EXPECT_EQ(autocast_dtype(), f32);
  {
    const Autocast low(bf16);
    const DType here = autocast_dtype();
    {
      const Autocast off(f32);
      EXPECT_EQ(autocast_dtype(), f32);
    }
    EXPECT_EQ(autocast_dtype(), here);
    const BackendScope reference("reference");
    EXPECT_EQ(autocast_dtype(), f32);
  }
  EXPECT_EQ(autocast_dtype(), f32);
  EXPECT_EQ(error_of([] { const Autocast bad(f16); }), "[Autocast] expected bf16 or f32, got f16");
}

TEST(Autocast, ProductsOfWhatIsRounded) {
  HEBB_NEEDS_BF16();
  manual_seed(0);
  const Tensor x = randn({70, 90}), w = randn({50, 90}), b = randn({50});
  const Tensor images = randn({4, 20, 12, 11}), kernel = randn({24, 20, 3, 2});
  const auto all = [&](const auto& change) {
    return std::vector{linear(change(x), change(w), b), matmul(change(x), transpose(change(w))),
                       conv2d(change(images), change(kernel), {}, {.stride = 2, .padding = 1})};
  };
  const auto plain = all([](const Tensor&t) { return t; }), want = all(rounded);
  const Autocast low(bf16);
  const auto got = all([](const Tensor& t) { return t; });
  for (size_t i = 0; i < got.size(); ++i) {
    SCOPED_TRACE(i);
    EXPECT_EQ(got[i].dtype(), f32);
    EXPECT_LT(differ(got[i], want[i]), kSame);
    EXPECT_GT(differ(got[i], plain[i]), kRounded);
  }
  const Tensor wide = linear(to(x, f64), to(w, f64), to(b, f64));
  EXPECT_LT(differ(wide, to(plain[0], f64)), kSame);
}

TEST(Autocast, GradientsAreThoseOfTheOp) {
  HEBB_NEEDS_BF16();
  manual_seed(1);
  Tensor x = randn({70, 90}).requires_grad_(), w = randn({50, 90}).requires_grad_();
  const Tensor g = randn({70, 50});
  Tensor y;
  {
    const Autocast low(bf16);
    y = linear(x, w);
  }
  backward(y, g);  // outside: as the op was
  EXPECT_LT(differ(x.grad(), matmul(rounded(g), rounded(w))), kSame);
  EXPECT_LT(differ(w.grad(), matmul(transpose(rounded(g)), rounded(x))), kSame);
  EXPECT_GT(differ(x.grad(), matmul(g, w)), kRounded);
}

TEST(Autocast, LayersOfSequences) {
  HEBB_NEEDS_BF16();
  manual_seed(2);
  nn::LSTM lstm{32, 48};
  nn::MultiheadAttention attention{48, 4};
  const auto run = [&] {
    const Tensor x = randn({6, 8, 32}).requires_grad_();
    const Tensor h = lstm.forward(x).output;
    const Tensor y = attention.forward(h, h, h).output;
    lstm.zero_grad();
    backward(sum(y * y));
    return std::vector{y.detach(), x.grad()};
  };
  manual_seed(3);
  const auto plain = run();
  manual_seed(3);
  const Autocast low(bf16);
  const auto got = run();
  for (size_t i = 0; i < got.size(); ++i) {
    EXPECT_GT(differ(got[i], plain[i]), 1e-5);
    EXPECT_LT(differ(got[i], plain[i]), 5e-2);
  }
}

TEST(Autocast, CompiledFunctionsHavePlansOfTheirOwn) {
  HEBB_NEEDS_BF16();
  manual_seed(4);
  const Tensor x = randn({70, 90}), w = randn({50, 90});
  const Compiled f = compile([&](auto a) { return std::vector{linear(a[0], a[1])}; });
  const auto same = [](const Tensor& a, const Tensor& b) { return all(a == b).item<bool>(); };
  const Tensor plain = f({x, w})[0];
  EXPECT_TRUE(same(plain, linear(x, w)));
  {
    const Autocast low(bf16);
    const Tensor rounds = f({x, w})[0];
    EXPECT_FALSE(same(rounds, plain));
    EXPECT_TRUE(same(rounds, linear(x, w)));
    EXPECT_NE(f.graph().find("bf16=true"), std::string::npos);
  }
  EXPECT_EQ(f.num_plans(), 2u);
  EXPECT_TRUE(same(f({x, w})[0], plain));
  EXPECT_EQ(f.graph().find("bf16"), std::string::npos);
}

}  // namespace
}  // namespace hebb
