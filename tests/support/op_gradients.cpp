#include "tests/support/op_gradients.h"

#include <fmt/format.h>

#include "hebb/autograd/grad.h"
#include "hebb/ops/creation.h"

namespace hebb::test_support {
namespace {

std::vector<Tensor> apply_call(const Call& call, std::span<const Tensor> inputs) {
  const Outputs out = apply(*call.op, call.attrs, inputs);
  return {out.begin(), out.end()};
}

// The call in f64 with fresh leaves for its floating inputs.
struct Leaves {
  explicit Leaves(const Call& call) : inputs(call.inputs) {
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (!takes_gradient(call, i)) continue;
      inputs[i] = inputs[i].detach().requires_grad_();
      leaves.push_back(inputs[i]);
      numbers.push_back(i);
    }
  }
  std::vector<Tensor> inputs, leaves;
  std::vector<size_t> numbers;  // of each leaf among the inputs
};

std::vector<Tensor> differentiable(const std::vector<Tensor>& outputs) {
  std::vector<Tensor> found;
  for (const Tensor& t : outputs)
    if (t.requires_grad()) found.push_back(t);
  return found;
}

std::vector<Tensor> directions(const std::vector<Tensor>& like, uint64_t first) {
  std::vector<Tensor> found;
  for (const Tensor& t : like) found.push_back(direction(t.shape(), first++));
  return found;
}

Tensor or_zeros(const Tensor& t, const Tensor& like) {
  return t.defined() ? t : zeros(like.shape(), like.dtype());
}

double dot(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i)
    if (a[i].defined()) sum += test_support::dot(a[i], b[i]);
  return sum;
}

std::string line(const Call& call, const char* what, size_t input, const std::string& text) {
  return text.empty()
             ? text
             : fmt::format("{} ({}): {} of input {}, {}", call.name, call.attrs.str(), what, input, text);
}

Call in_f64(const Call& call) {
  Call c = with_type(call, f64);
  for (Tensor& t : c.inputs) t = laid_out(t, Form::contiguous);
  return c;
}

// Nothing to differentiate: no floating input, or outputs that never have gradients.
bool without_gradient(const Call& call) {
  if (call.op->gradient == Gradient::None) return true;
  const Leaves l(call);
  return l.leaves.empty() || differentiable(apply_call(call, l.inputs)).empty();
}

// <v, J^T u> of the call, its leaves' directions being v.
double pulled_dot(const Call& call, const std::vector<Tensor>& u, const std::vector<Tensor>& v) {
  const Leaves l(call);
  const auto out = differentiable(apply_call(call, l.inputs));
  return dot(grad(out, l.leaves, u, {}, true), v);
}

}  // namespace

double dot(const Tensor& a, const Tensor& b) {
  const auto x = a.to_vector<double>(), y = b.to_vector<double>();
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) sum += x[i] * y[i];
  return sum;
}

std::string check_gradient(const Call& sample) {
  Call call = in_f64(sample);
  const Leaves l(call);
  const std::vector<Tensor> out = apply_call(call, l.inputs);
  if (call.op->gradient == Gradient::None) {
    for (const Tensor& t : out)
      if (t.requires_grad()) return call.name + ": expected outputs without gradients";
    return {};
  }
  const std::vector<Tensor> results = differentiable(out);
  if (l.leaves.empty() || results.empty()) return {};
  const std::vector<Tensor> u = directions(results, 100);
  const std::vector<Tensor> found = grad(results, l.leaves, u, {}, true);
  for (size_t i = 0; i < l.leaves.size(); ++i) {
    const Tensor got = or_zeros(found[i], l.leaves[i]);
    if (got.dtype() != f64) return line(call, "gradient", l.numbers[i], "expected f64");
    Tensor want;
    if (call.op->gradient == Gradient::Zeros) {
      want = zeros(l.leaves[i].shape(), f64);
    } else {
      want = numeric_gradient(call.inputs[l.numbers[i]], [&] {
        double sum = 0;
        size_t k = 0;
        const std::vector<Tensor> values = apply_call(call, call.inputs);
        for (size_t j = 0; j < out.size(); ++j)
          if (out[j].requires_grad()) sum += test_support::dot(values[j], u[k++]);
        return sum;
      });
    }
    const std::string text = values_differ(got, want, kNumericTolerance);
    if (!text.empty()) return line(call, "gradient", l.numbers[i], text);
  }
  return {};
}

std::string check_needs(const Call& sample) {
  const Call call = in_f64(sample);
  if (without_gradient(call)) return {};
  const Leaves all(call);
  const auto results = differentiable(apply_call(call, all.inputs));
  const auto u = directions(results, 100);
  const auto together = grad(results, all.leaves, u, {}, true);
  for (size_t i = 0; i < all.leaves.size(); ++i) {
    std::vector<Tensor> inputs = call.inputs;
    const size_t number = all.numbers[i];
    inputs[number] = inputs[number].detach().requires_grad_();
    const auto out = differentiable(apply_call(call, inputs));
    const Tensor alone = grad(out, std::span(&inputs[number], 1), u, {}, true)[0];
    const std::string text =
        values_differ(or_zeros(alone, inputs[number]), or_zeros(together[i], inputs[number]), 1e-14);
    if (!text.empty()) return line(call, "gradient alone", number, text);
  }
  return {};
}

std::string check_second_gradient(const Call& sample) {
  Call call = in_f64(sample);
  if (without_gradient(call)) return {};
  const Leaves l(call);
  const auto out = differentiable(apply_call(call, l.inputs));
  const auto u = directions(out, 100), v = directions(l.leaves, 200);
  const auto pulled = grad(out, l.leaves, u, {.create_graph = true}, true);
  std::vector<Tensor> from, along;
  for (size_t i = 0; i < pulled.size(); ++i) {
    if (!pulled[i].defined() || !pulled[i].requires_grad()) continue;
    from.push_back(pulled[i]);
    along.push_back(v[i]);
  }
  const auto found =
      from.empty() ? std::vector<Tensor>(l.leaves.size()) : grad(from, l.leaves, along, {}, true);
  for (size_t i = 0; i < l.leaves.size(); ++i) {
    const Tensor want = numeric_gradient(call.inputs[l.numbers[i]], [&] { return pulled_dot(call, u, v); });
    const std::string text = values_differ(or_zeros(found[i], l.leaves[i]), want, kNumericTolerance * 5);
    if (text.empty()) continue;
    // Where the true derivative is zero, differences leave their rounding.
    bool zero = true;
    for (const double x : want.to_vector<double>()) zero &= std::abs(x) < 1e-8;
    for (const double x : or_zeros(found[i], l.leaves[i]).to_vector<double>()) zero &= std::abs(x) < 1e-8;
    if (!zero) return line(call, "second gradient", l.numbers[i], text);
  }
  return {};
}

std::string check_forward_mode(const Call& sample) {
  const Call call = in_f64(sample);
  if (without_gradient(call)) return {};
  const Leaves l(call);
  const auto out = apply_call(call, l.inputs);
  const auto results = differentiable(out);
  const auto u = directions(results, 100);
  const auto pulled = grad(results, l.leaves, u, {}, true);
  const auto t = directions(l.leaves, 300);
  auto check = [&](const std::vector<bool>& given, size_t input) -> std::string {
    std::vector<Tensor> tangents(call.inputs.size());
    double want = 0;
    for (size_t i = 0; i < l.leaves.size(); ++i) {
      if (!given[i]) continue;
      tangents[l.numbers[i]] = t[i];
      want += test_support::dot(or_zeros(pulled[i], l.leaves[i]), t[i]);
    }
    const auto [values, pushed] =
        jvp([&](std::span<const Tensor> in) { return apply_call(call, in); }, call.inputs, tangents);
    double got = 0, scale = 1;
    size_t k = 0;
    for (size_t j = 0; j < out.size(); ++j) {
      if (!out[j].requires_grad()) continue;
      if (!(pushed[j].shape() == values[j].shape()) || pushed[j].dtype() != values[j].dtype())
        return line(call, "tangent", input, "expected that of the output's shape and type");
      for (const double x : pushed[j].to_vector<double>()) scale += std::abs(x);
      got += test_support::dot(pushed[j], u[k++]);
    }
    if (std::abs(got - want) <= 1e-11 * scale) return {};
    return line(call, "tangent", input,
                fmt::format("expected <J^T u, t> = {:.12g}, got <u, J t> = {:.12g}", want, got));
  };
  for (size_t i = 0; i < l.leaves.size(); ++i) {
    std::vector<bool> one(l.leaves.size());
    one[i] = true;
    if (std::string text = check(one, l.numbers[i]); !text.empty()) return text;
  }
  return check(std::vector<bool>(l.leaves.size(), true), 0);
}

std::string check_gradient_of_forward_mode(const Call& sample) {
  const Call call = in_f64(sample);
  if (without_gradient(call)) return {};
  const Leaves l(call);
  const auto out = apply_call(call, l.inputs);
  const auto results = differentiable(out);
  const auto u = directions(results, 100), t = directions(l.leaves, 300);

  auto gradients = [&](const std::vector<Tensor>& from, const std::vector<Tensor>& along,
                       const std::vector<Tensor>& leaves) {
    std::vector<Tensor> a, b;
    for (size_t i = 0; i < from.size(); ++i) {
      if (!from[i].defined() || !from[i].requires_grad()) continue;
      a.push_back(from[i]);
      b.push_back(along[i]);
    }
    return a.empty() ? std::vector<Tensor>(leaves.size()) : grad(a, leaves, b, {}, true);
  };
  const auto want = gradients(grad(results, l.leaves, u, {.create_graph = true}, true), t, l.leaves);

  const Leaves fresh(call);
  std::vector<Tensor> tangents(call.inputs.size());
  for (size_t i = 0; i < l.leaves.size(); ++i) tangents[l.numbers[i]] = t[i];
  const auto pushed =
      jvp([&](std::span<const Tensor> in) { return apply_call(call, in); }, fresh.inputs, tangents).second;
  std::vector<Tensor> from;
  for (size_t j = 0; j < out.size(); ++j)
    if (out[j].requires_grad()) from.push_back(pushed[j]);
  const auto got = gradients(from, u, fresh.leaves);
  for (size_t i = 0; i < l.leaves.size(); ++i) {
    const std::string text =
        values_differ(or_zeros(got[i], l.leaves[i]), or_zeros(want[i], l.leaves[i]), 1e-10);
    if (text.empty()) continue;
    bool zero = true;
    for (const double x : or_zeros(got[i], l.leaves[i]).to_vector<double>()) zero &= std::abs(x) < 1e-12;
    for (const double x : or_zeros(want[i], l.leaves[i]).to_vector<double>()) zero &= std::abs(x) < 1e-12;
    if (!zero) return line(call, "gradient of the tangent", l.numbers[i], text);
  }
  return {};
}

}  // namespace hebb::test_support
