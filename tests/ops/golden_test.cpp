// Values and gradients of every op of the table against those that PyTorch computed for the same samples
// (tools/golden/ops.py). An op added to the table needs golden values, or a line below that says why not.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>

#include "hebb/autograd/grad.h"
#include "hebb/ops/creation.h"
#include "tests/support/golden.h"
#include "tests/support/table_test.h"

namespace hebb::test_support {
namespace {

const std::map<std::string_view, std::string_view> kWithoutGolden{
    {"rand", "random numbers are not PyTorch's"},
    {"randn", "as rand"},
    {"randint", "as rand"},
    {"bernoulli", "as rand"},
    {"randperm", "as rand"},
    {"dropout", "as rand"},
    {"conv2d_input_grad", "it is the gradient of conv2d"},
    {"conv2d_weight_grad", "it is the gradient of conv2d"},
    {"fused", "the ops that it is made of have golden values"},
    {"linear_relu", "as fused"},
    {"conv2d_relu_nhwc", "as fused"},
    {"conv2d_add_relu_nhwc", "as fused"},
    {"conv2d_moments_nhwc", "as fused"},
    {"linear_fused", "as fused"},
    {"matmul_fused", "as fused"},
    {"conv2d_fused_nhwc", "as fused"},
    {"conv2d_input_grad_fused_nhwc", "as fused"},
    {"conv2d_max_pool2d", "as fused"},
    {"conv2d_max_pool2d_values", "as fused"},
    {"batch_norm_moments", "a part of batch_norm"},
    {"batch_norm_scale", "a part of batch_norm"},
    {"batch_norm_grad_factors", "a part of batch_norm's gradient"},
};

const io::SafeTensors& golden() {
  static const io::SafeTensors file = golden_file("ops.safetensors");
  return file;
}

// An op of images [N, H, W, C] is tested against the op of images [N, C, H, W], which has golden values.
bool is_turned_op(std::string_view name) {
  return name == "nhwc_to_nchw" || name == "nchw_to_nhwc" ||
         (name.ends_with("_nhwc") && find_op(name.substr(0, name.size() - 5)));
}

// Gradients of ops are covered by the gradients of these.
bool is_gradient_op(std::string_view name) {
  return name.ends_with("_grad") && find_op(name.substr(0, name.size() - 5));
}

class GoldenTest : public TableTest {
 protected:
  // Outputs and gradients in `type`, the tolerance being relative to the largest value.
  std::string check(const Sample& sample, DType type, double tolerance) const {
    const std::string name = fmt::format("{}/{}", op().name, sample.name);
    const Call call = with_type(call_of(op(), sample), type);
    std::vector<Tensor> inputs = call.inputs, leaves, results, upstream;
    std::vector<size_t> numbers;
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (!takes_gradient(call, i)) continue;
      leaves.push_back(inputs[i] = inputs[i].detach().requires_grad_());
      numbers.push_back(i);
    }
    const Outputs out = apply(op(), call.attrs, inputs);
    for (int i = 0; i < out.size(); ++i) {
      const Tensor* want = golden().find(fmt::format("{}/out{}", name, i));
      if (!want) return fmt::format("{}: no golden output {}: run tools/golden/ops.py", name, i);
      const bool follows = is_float(want->dtype()) && !inputs.empty() && op().name != "cast";
      const DType expected = follows ? type : want->dtype();
      if (out[i].dtype() != expected)
        return fmt::format("{}: output {} is {}, PyTorch's is {}", name, i, hebb::name_of(out[i].dtype()),
                           hebb::name_of(expected));
      const std::string text = values_differ(out[i], *want, is_float(want->dtype()) ? tolerance : 0);
      if (!text.empty()) return fmt::format("{}, output {}, {}: {}", name, i, hebb::name_of(type), text);
      if (!out[i].requires_grad()) continue;
      results.push_back(out[i]);
      upstream.push_back(direction(out[i].shape(), 100 + static_cast<uint64_t>(i), out[i].dtype()));
    }
    if (results.empty()) leaves.clear();
    const std::vector<Tensor> found = leaves.empty() ? leaves : grad(results, leaves, upstream, {}, true);
    size_t k = 0;
    for (size_t i = 0; i < inputs.size(); ++i) {
      const Tensor* want = golden().find(fmt::format("{}/grad{}", name, i));
      const bool differentiated = k < leaves.size() && numbers[k] == i;
      if (!differentiated && want) return fmt::format("{}: PyTorch differentiates input {}", name, i);
      if (!differentiated) continue;
      const Tensor zero = zeros(leaves[k].shape(), type), got = found[k].defined() ? found[k] : zero;
      ++k;
      if (!want && op().gradient != Gradient::Zeros)
        return fmt::format("{}: no golden gradient of input {}: run tools/golden/ops.py", name, i);
      const std::string text = values_differ(got, want ? *want : zero, tolerance);
      if (!text.empty())
        return fmt::format("{}, gradient of input {}, {}: {}", name, i, hebb::name_of(type), text);
    }
    return {};
  }
};

TEST_P(GoldenTest, EqualsPyTorch) {
  if (is_gradient_op(op().name) || is_turned_op(op().name) || kWithoutGolden.contains(op().name)) return;
  ASSERT_FALSE(samples().empty());
  for (const Sample& s : samples()) {
    EXPECT_EQ(check(s, f64, 1e-12), "");
    EXPECT_EQ(check(s, f32, 2e-6), "");
  }
}

TEST(GoldenListTest, NamesOpsThatExistAndHaveNoValues) {
  for (const auto& [name, reason] : kWithoutGolden) {
    EXPECT_NE(find_op(name), nullptr) << name;
    EXPECT_TRUE(golden().tensors.end() ==
                std::ranges::find_if(
                    golden().tensors,
                    [&, n = name](const auto& t) { return t.first.starts_with(std::string(n) + "/"); }))
        << name << " has golden values";
  }
}

HEBB_FOR_THE_TABLE(GoldenTest);

}  // namespace
}  // namespace hebb::test_support
