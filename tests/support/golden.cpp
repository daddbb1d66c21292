#include "tests/support/golden.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <set>

#include "hebb/autograd/grad.h"
#include "hebb/ops/creation.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/view.h"

namespace hebb::test_support {
namespace {

Tensor upstream(const Tensor& y) {
  const Tensor i = arange(1, static_cast<double>(y.numel()) + 1, 1, f64);
  return to(reshape(sin(i), y.shape()), y.dtype());
}

std::string difference(const Tensor& got, const Tensor& want, double tolerance, std::optional<double> scale) {
  if (!(got.shape() == want.shape()))
    return fmt::format("expected shape {}, got {}", want.shape().str(), got.shape().str());
  if (is_float(got.dtype()) != is_float(want.dtype()) ||
      (!is_float(want.dtype()) && got.dtype() != want.dtype()))
    return fmt::format("expected {}, got {}", hebb::name_of(want.dtype()), hebb::name_of(got.dtype()));
  const auto g = got.to_vector<double>(), w = want.to_vector<double>();
  double size = scale.value_or(0);
  for (const double x : w)
    if (std::isfinite(x) && !scale) size = std::max(size, std::abs(x));
  const double underflow = got.dtype() == f32 ? 2e-38 : 0;  // subnormal numbers may become 0
  for (size_t i = 0; i < g.size(); ++i) {
    if (g[i] == w[i] || (std::isnan(g[i]) && std::isnan(w[i]))) continue;
    if (std::isfinite(w[i]) && std::abs(g[i] - w[i]) <= tolerance * (std::abs(w[i]) + size) + underflow)
      continue;
    return fmt::format("element {}: expected {:.12g}, got {:.12g}", i, w[i], g[i]);
  }
  return {};
}

struct Inputs {
  std::vector<Tensor> all, leaves;
  std::vector<size_t> numbers;  // of each leaf among all
};

Inputs inputs_of(const io::SafeTensors& golden, const std::string& name, DType type) {
  Inputs in;
  for (size_t i = 0;; ++i) {
    const Tensor* leaf = golden.find(fmt::format("{}/in{}", name, i));
    const Tensor* x = leaf ? leaf : golden.find(fmt::format("{}/const{}", name, i));
    if (!x) return in;
    in.all.push_back(is_float(x->dtype()) ? to(*x, type).detach() : *x);
    if (!leaf || !is_float(x->dtype())) continue;
    in.leaves.push_back(in.all[i].requires_grad_());
    in.numbers.push_back(i);
  }
}

void expect_case(const io::SafeTensors& golden, const std::string& name, const std::function<Out(In)>& fn,
                 DType type, double tolerance, std::optional<double> scale) {
  const Inputs in = inputs_of(golden, name, type);
  const bool own = type == f32 && golden.find(name + "/f32/out0");
  const std::string prefix = own ? name + "/f32/" : name + "/";
  const Out out = fn(in.all);
  std::vector<Tensor> results, directions;
  for (size_t i = 0; i < out.size(); ++i) {
    const Tensor* want = golden.find(fmt::format("{}out{}", prefix, i));
    ASSERT_TRUE(want) << "no output " << i;
    if (is_float(out[i].dtype())) {
      EXPECT_EQ(out[i].dtype(), type);
    }
    EXPECT_EQ(difference(out[i], *want, tolerance, scale), "") << "output " << i;
    if (!out[i].requires_grad()) continue;
    results.push_back(out[i]);
    directions.push_back(upstream(out[i]));
  }
  EXPECT_FALSE(golden.find(fmt::format("{}out{}", prefix, out.size()))) << "there are more outputs";
  const auto found = results.empty() ? std::vector<Tensor>(in.leaves.size())
                                     : grad(results, in.leaves, directions, {}, true);
  for (size_t k = 0; k < found.size(); ++k) {
    const Tensor* want = golden.find(fmt::format("{}grad{}", prefix, in.numbers[k]));
    const Tensor zero = zeros_like(in.leaves[k]);
    EXPECT_EQ(difference(found[k].defined() ? found[k] : zero, want ? *want : zero, tolerance, scale), "")
        << "gradient of input " << in.numbers[k];
  }
}

}  // namespace

io::SafeTensors golden_file(const std::string& name) {
  const char* root = std::getenv("HEBB_SOURCE_DIR");
  return io::load_safetensors(std::string(root ? root : ".") + "/tests/golden/" + name);
}

void expect_golden(const io::SafeTensors& golden, const GoldenFunctions& functions, DType type,
                   double tolerance, std::optional<double> scale) {
  std::set<std::string> names;
  for (const auto& [tensor, value] : golden.tensors)
    if (tensor.ends_with("/out0") && !tensor.ends_with("/f32/out0"))
      names.insert(tensor.substr(0, tensor.size() - 5));
  EXPECT_FALSE(names.empty());
  for (const std::string& name : names) EXPECT_TRUE(functions.contains(name)) << name << " has no function";
  for (const auto& [name, fn] : functions) {
    SCOPED_TRACE(name + " in " + std::string(hebb::name_of(type)));
    EXPECT_TRUE(names.contains(name)) << "no golden values";
    try {
      expect_case(golden, name, fn, type, tolerance, scale);
    } catch (const std::exception& e) {
      ADD_FAILURE() << e.what();
    }
  }
}

}  // namespace hebb::test_support
