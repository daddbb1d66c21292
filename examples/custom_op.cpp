// An op of one's own with a gradient of one's own: gradient reversal (Ganin and Lempitsky, 2015). Forward it
// changes nothing; backward it turns the gradient around, so that what lies before it learns to fool what
// lies behind it. No composition of differentiable ops can do that, so it is an OpDef, the same kind of
// object as hebb's own ops.
#include <hebb/hebb.h>

#include <cmath>
#include <cstdio>
#include <cstring>

using namespace hebb;

struct ReverseAttrs {
  double strength = 1;
  HEBB_FIELDS(strength)  // gives equality, hash and text
};

const OpDef reverse_op{
    .name = "gradient_reversal",
    .doc = "x; its gradient is -strength g",
    // The shape rule, and the place for checks.
    .infer = [](SpecPtrs in, const Attrs&) { return Specs(TensorSpec(in[0]->shape, in[0]->dtype)); },
    // The gradient, by public functions: so it can be differentiated again.
    .vjp = [](const VjpArgs& s) -> std::vector<Tensor> {
      return {s.grads[0] * -s.attrs.as<ReverseAttrs>().strength};
    },
    // The plain kernel. The output is dense; the input may have any strides.
    .reference =
        [](const ReferenceArgs& s) {
          const Tensor x = contiguous(s.inputs[0].detach());
          std::memcpy(s.outputs[0].raw_data(), x.raw_data(),
                      static_cast<size_t>(x.numel() * size_of(x.dtype())));
        },
    .saves_inputs = 0,  // the gradient reads no input
};

Tensor gradient_reversal(const Tensor& x, double strength) {
  return apply1(reverse_op, ReverseAttrs{strength}, {x});
}

int main() {
  Tensor x = tensor({1, 2, 3}).requires_grad_();
  backward(sum(square(gradient_reversal(x, 0.5))));
  const auto g = x.grad().to_vector<double>();
  std::printf("x          1  2  3\n");
  std::printf("d sum x^2  %g  %g  %g, turned around and halved\n", g[0], g[1], g[2]);

  const bool right = g[0] == -1 && g[1] == -2 && g[2] == -3;
  return right ? 0 : 1;
}
