// Every op's vjp against central differences in f64.
#include "hebb/autograd/grad.h"
#include "tests/support/op_gradients.h"
#include "tests/support/table_test.h"

namespace hebb::test_support {
namespace {

class Gradients : public TableTest {};

TEST_P(Gradients, EqualCentralDifferences) { for_each_sample(check_gradient); }

TEST_P(Gradients, AreTheSameForOneInputAlone) { for_each_sample(check_needs); }

TEST_P(Gradients, OfStridedOperandsEqualThoseOfDenseOnes) {
  for_each_sample([](const Call& sample) -> std::string {
    const Call call = with_type(sample, f64);
    auto gradients = [&](Form form) {
      std::vector<Tensor> inputs, leaves, out;
      for (const Tensor& t : call.inputs) {
        inputs.push_back(laid_out(t, form).detach());
        if (takes_gradient(call, inputs.size() - 1)) leaves.push_back(inputs.back().requires_grad_());
      }
      std::vector<Tensor> results, u;
      for (const Tensor& t : apply(*call.op, call.attrs, inputs)) {
        if (!t.requires_grad()) continue;
        u.push_back(laid_out(direction(t.shape(), 100 + u.size()), form));
        results.push_back(t);
      }
      return results.empty() ? out : grad(results, leaves, u, {}, true);
    };
    const auto dense = gradients(Form::contiguous), strided = gradients(Form::strided);
    for (size_t i = 0; i < dense.size(); ++i) {
      if (!dense[i].defined() && !strided[i].defined()) continue;
      const std::string text = values_differ(strided[i], dense[i], 1e-12);
      if (!text.empty()) return call.name + ": gradient of leaf " + std::to_string(i) + ", " + text;
    }
    return {};
  });
}

TEST_P(Gradients, OfEmptyTensorsHaveTheirShape) {
  for_each_sample([](const Call& sample) -> std::string {
    for (const Call& call : degenerate(with_type(sample, f64))) {
      if (std::holds_alternative<std::string>(run(call))) continue;
      std::vector<Tensor> inputs = call.inputs, leaves, results, u;
      for (size_t i = 0; i < inputs.size(); ++i) {
        Tensor& t = inputs[i];
        if (!takes_gradient(call, i)) continue;
        t = t.detach().requires_grad_();
        leaves.push_back(t);
      }
      for (const Tensor& t : apply(*call.op, call.attrs, inputs)) {
        if (!t.requires_grad()) continue;
        results.push_back(t);
        u.push_back(direction(t.shape(), 100 + u.size()));
      }
      if (results.empty()) continue;
      try {
        const auto found = grad(results, leaves, u, {}, true);
        for (size_t i = 0; i < leaves.size(); ++i)
          if (found[i].defined() && !(found[i].shape() == leaves[i].shape()))
            return call.name + ": wrong shape";
      } catch (const Error& e) {
        return call.name + ": " + e.what();
      }
    }
    return {};
  });
}

HEBB_FOR_THE_TABLE(Gradients);

}  // namespace
}  // namespace hebb::test_support
