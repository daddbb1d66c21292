// Elementwise functions at kinks, far out, at infinities and NaN, against PyTorch
// (tools/golden/functions.py).
#include <gtest/gtest.h>

#include "hebb/nn/activation.h"
#include "hebb/ops/elementwise.h"
#include "tests/support/golden.h"

namespace hebb::test_support {
namespace {

using Unary = Tensor (*)(const Tensor&);
using Binary = Tensor (*)(const Tensor&, const Tensor&);

GoldenFunctions functions() {
  GoldenFunctions f{
      {"Hardswish/kinks", [](In x) -> Out { return {nn::Hardswish{}(x[0])}; }},
      {"prelu/one", [](In x) -> Out { return {prelu(x[0], x[1])}; }},
      {"prelu/kink", [](In x) -> Out { return {prelu(x[0], x[1])}; }},
      {"prelu/channels",
       [](In x) -> Out {
         nn::PReLU layer(3);
         layer.weight = nn::Parameter(x[1]);
         return {layer(x[0])};
       }},
  };
  auto add_unary = [&](const std::string& name, auto fn, std::initializer_list<const char*> cases) {
    for (const std::string c : cases) f[name + "/" + c] = [fn](In x) -> Out { return {fn(x[0])}; };
  };
  const std::pair<const char*, Unary> curves[] = {{"abs", abs},
                                                  {"sign", sign},
                                                  {"relu", relu},
                                                  {"selu", selu},
                                                  {"silu", silu},
                                                  {"softsign", softsign},
                                                  {"log_sigmoid", log_sigmoid},
                                                  {"sigmoid", sigmoid},
                                                  {"tanh", tanh},
                                                  {"gelu", gelu},
                                                  {"gelu_tanh", gelu_tanh},
                                                  {"erf", erf},
                                                  {"exp", exp},
                                                  {"expm1", expm1},
                                                  {"hardsigmoid", hardsigmoid},
                                                  {"round", round},
                                                  {"floor", floor},
                                                  {"ceil", ceil}};
  for (const auto& [name, fn] : curves) add_unary(name, fn, {"kinks", "extremes", "special"});
  for (const auto& [name, fn] : std::initializer_list<std::pair<const char*, Unary>>{
           {"sqrt", sqrt}, {"rsqrt", rsqrt}, {"log", log}, {"log1p", log1p}, {"reciprocal", reciprocal}})
    add_unary(name, fn, {"edges"});
  for (const auto& [name, fn] : std::initializer_list<std::pair<const char*, Unary>>{
           {"isnan", isnan}, {"isfinite", isfinite}, {"logical_not", logical_not}})
    add_unary(name, fn, {"special"});
  add_unary("relu6", [](const Tensor& x) { return nn::ReLU6{}(x); }, {"kinks", "extremes", "special"});
  add_unary("leaky_relu", [](const Tensor& x) { return leaky_relu(x, 0.2); },
            {"kinks", "extremes", "special"});
  add_unary("elu", [](const Tensor& x) { return elu(x, 1.5); }, {"kinks", "extremes", "special"});
  add_unary("softplus", [](const Tensor& x) { return softplus(x, 2, 3); }, {"kinks", "extremes", "special"});
  add_unary("hardtanh", [](const Tensor& x) { return hardtanh(x, -0.5, 1.5); },
            {"kinks", "extremes", "special"});
  add_unary("clamp", [](const Tensor& x) { return clamp(x, -0.5, 1.5); }, {"kinks", "extremes", "special"});
  add_unary("threshold",
            [](const Tensor& x) {
              return nn::Threshold{0.5, -7}(x);
            },
            {"kinks", "extremes", "special"});

  auto add_binary = [&](const std::string& name, Binary fn, std::initializer_list<const char*> cases) {
    for (const std::string c : cases) f[name + "/" + c] = [fn](In x) -> Out { return {fn(x[0], x[1])}; };
  };
  for (const auto& [name, fn] : std::initializer_list<std::pair<const char*, Binary>>{{"add", add},
                                                                                      {"mul", mul},
                                                                                      {"div", div},
                                                                                      {"pow", pow},
                                                                                      {"maximum", maximum},
                                                                                      {"minimum", minimum}})
    add_binary(name, fn, {"edges", "special"});
  for (const auto& [name, fn] :
       std::initializer_list<std::pair<const char*, Binary>>{{"eq", eq},
                                                             {"ne", ne},
                                                             {"lt", lt},
                                                             {"le", le},
                                                             {"gt", gt},
                                                             {"ge", ge},
                                                             {"logical_and", logical_and},
                                                             {"logical_or", logical_or},
                                                             {"logical_xor", logical_xor}})
    add_binary(name, fn, {"special"});
  add_binary("pow", pow, {"negative"});
  add_binary("remainder", remainder, {"special", "integers", "rounded"});
  add_binary("floor_divide", floor_divide, {"special", "integers", "rounded"});
  return f;
}

TEST(ActivationsGoldenTest, EqualPyTorchInF64) {
  expect_golden(golden_file("activations.safetensors"), functions(), f64, 1e-12, 1e-6);
}
TEST(ActivationsGoldenTest, EqualPyTorchInF32) {
  expect_golden(golden_file("activations.safetensors"), functions(), f32, 4e-6, 0.2);
}

}  // namespace
}  // namespace hebb::test_support
