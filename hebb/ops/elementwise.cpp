// OpDefs of the elementwise table: shape and type rules, gradients, samples, all made from its lines.
#include "hebb/ops/elementwise.h"

#include <cmath>

#include "hebb/ops/creation.h"
#include "hebb/ops/elementwise_attrs.h"
#include "hebb/ops/elementwise_expr.h"
#include "hebb/ops/op_support.h"
#include "hebb/ops/reduce.h"
#include "hebb/ops/table.h"
#include "hebb/ops/view.h"

namespace hebb {

using namespace detail;

namespace {

enum class Types { Any, Float, Bool };

template <Types types>
Specs infer_elementwise(const char* op, SpecPtrs in) {
  Shape shape = in[0]->shape;
  for (size_t i = 1; i < in.size(); ++i) shape = broadcast_shapes(shape, in[i]->shape, op);
  const DType t = result_type(in);
  return TensorSpec(shape,
                    types == Types::Bool    ? boolean
                    : types == Types::Float ? float_type(t)
                                            : t,
                    in[0]->device);
}

// ---- Which arguments does an expression read? Run it on a type that only remembers that.

struct Reads {
  uint32_t mask = 0;
  constexpr Reads(uint32_t m) : mask(m) {}
  constexpr Reads(double) {}
  constexpr Reads(int) {}
};
#define HEBB_READS(symbol) \
  constexpr Reads operator symbol(Reads a, Reads b) { return Reads(a.mask | b.mask); }
HEBB_READS(+);
HEBB_READS(-);
HEBB_READS(*);
HEBB_READS(/);
HEBB_READS(<);
HEBB_READS(>);
HEBB_READS(<=);
HEBB_READS(>=);
HEBB_READS(==);
HEBB_READS(!=);
HEBB_READS(&);
HEBB_READS(|);
#undef HEBB_READS
constexpr Reads operator-(Reads a) { return a; }
constexpr Reads max(Reads a, Reads b) { return a + b; }
constexpr Reads min(Reads a, Reads b) { return a + b; }
constexpr Reads pow(Reads a, Reads b) { return a + b; }
constexpr Reads select(Reads m, Reads a, Reads b) { return m + a + b; }
#define HEBB_READS(name) \
  constexpr Reads name(Reads a) { return a; }
HEBB_READS(exp);
HEBB_READS(expm1);
HEBB_READS(log);
HEBB_READS(log1p);
HEBB_READS(sqrt);
HEBB_READS(sin);
HEBB_READS(cos);
HEBB_READS(tanh);
HEBB_READS(erf);
HEBB_READS(sigmoid);
HEBB_READS(abs);
HEBB_READS(floor);
HEBB_READS(ceil);
HEBB_READS(round);
#undef HEBB_READS

// ---- The language of the table on tensors.

Tensor select(const Tensor& m, const Tensor& a, const Tensor& b) { return where(m, a, b); }
Tensor select(const Tensor& m, const Tensor& a, double b) { return where(m, a, b); }
Tensor select(const Tensor& m, double a, const Tensor& b) { return where(m, a, b); }
Tensor min(const Tensor& a, double b) { return minimum(a, b); }

// ---- Gradients as generic functions of (g, x, y, p, q) or (g, a, b, y).

#define HEBB_UNARY(name, types, lo, hi, p0, q0, doc, value, gradient)               \
  struct name##_rule {                                                              \
    template <class V>                                                              \
    static constexpr V of([[maybe_unused]] const V& g, [[maybe_unused]] const V& x, \
                          [[maybe_unused]] const V& y, [[maybe_unused]] double p,   \
                          [[maybe_unused]] double q) {                              \
      return gradient;                                                              \
    }                                                                               \
  };
#define HEBB_UNARY_FLAT(...)
#define HEBB_UNARY_BOOL(...)
#define HEBB_BINARY(name, types, la, ha, lb, hb, doc, value, ga, gb)                    \
  struct name##_rule {                                                                  \
    template <class V>                                                                  \
    static constexpr V of_a([[maybe_unused]] const V& g, [[maybe_unused]] const V& a,   \
                            [[maybe_unused]] const V& b, [[maybe_unused]] const V& y) { \
      return ga;                                                                        \
    }                                                                                   \
    template <class V>                                                                  \
    static constexpr V of_b([[maybe_unused]] const V& g, [[maybe_unused]] const V& a,   \
                            [[maybe_unused]] const V& b, [[maybe_unused]] const V& y) { \
      return gb;                                                                        \
    }                                                                                   \
  };
#define HEBB_BINARY_FLAT(...)
#define HEBB_BINARY_BOOL(...)
#include "hebb/ops/elementwise.inc"

template <class Rule>
constexpr uint32_t unary_reads() {  // bit 1: x, bit 2: y
  return Rule::of(Reads(uint32_t{1}), Reads(uint32_t{2}), Reads(uint32_t{4}), 1, 1).mask;
}
template <class Rule>
constexpr uint32_t binary_reads() {
  return (Rule::of_a(Reads(uint32_t{1}), Reads(uint32_t{2}), Reads(uint32_t{4}), Reads(uint32_t{8})) +
          Rule::of_b(Reads(uint32_t{1}), Reads(uint32_t{2}), Reads(uint32_t{4}), Reads(uint32_t{8})))
      .mask;
}

// An argument that the expression does not read is replaced by g, which is there anyway.
template <class Rule>
Tensor unary_gradient(const OpDef& grad_op, const Attrs& attrs, const Tensor& g, const Tensor& x,
                      const Tensor& y) {
  constexpr uint32_t reads = unary_reads<Rule>();
  return apply1(grad_op, attrs, {g, reads & 2 ? x : g, reads & 4 ? y : g});
}
template <class Rule>
Outputs unary_gradient_plain(const Attrs& attrs, std::span<const Tensor> in) {
  const auto& a = attrs.as<ElementwiseAttrs>();
  return Rule::of(in[0], in[1], in[2], a.p, a.q);
}
template <class Rule>
std::vector<Tensor> binary_vjp(const VjpArgs& s) {
  std::vector<Tensor> out(2);
  if (s.needs[0])
    out[0] = sum_to(Rule::of_a(s.grads[0], s.inputs[0], s.inputs[1], s.outputs[0]), s.inputs[0].shape());
  if (s.needs[1])
    out[1] = sum_to(Rule::of_b(s.grads[0], s.inputs[0], s.inputs[1], s.outputs[0]), s.inputs[1].shape());
  return out;
}
template <class Rule>
Outputs binary_jvp(const JvpArgs& s) {
  const Tensor &a = s.inputs[0], &b = s.inputs[1], &y = s.outputs[0];
  Tensor t;
  if (s.tangents[0].defined()) t = Rule::of_a(s.tangents[0], a, b, y);
  if (s.tangents[1].defined()) {
    const Tensor u = Rule::of_b(s.tangents[1], a, b, y);
    t = t.defined() ? t + u : u;
  }
  // Where only the smaller operand has a tangent, it has the smaller shape.
  return t.shape() == y.shape() ? t : expand(t, y.shape());
}

// ---- Plain kernel: one loop for all.

template <Expr e>
void reference_elementwise(const ReferenceArgs& s) {
  std::array<TensorSpec, 3> in;
  for (size_t i = 0; i < s.inputs.size(); ++i) in[i] = s.inputs[i].spec();
  const TensorSpec* specs[] = {&in[0], &in[1], &in[2]};
  const Tensor& out = s.outputs[0];
  const DType type = is_float(out.dtype()) ? out.dtype() : result_type({specs, s.inputs.size()});
  const auto& a = s.attrs.as<ElementwiseAttrs>();
  with_plain_type(type, [&]<class T>() {
    std::vector<T> v[3], result;
    for (size_t i = 0; i < s.inputs.size(); ++i) v[i] = values<T>(s.inputs[i]);
    for_each_index(out.shape(), [&](const Shape& at) {
      T x[3] = {};
      for (size_t i = 0; i < s.inputs.size(); ++i) x[i] = v[i][broadcast_offset(at, s.inputs[i].shape())];
      if constexpr (std::is_same_v<T, double>)
        result.push_back(plain_expr(e).f64(x[0], x[1], x[2], a.p, a.q));
      else result.push_back(plain_expr(e).i64(x[0], x[1], x[2], a.p, a.q));
    });
    store(s.outputs[0], result);
  });
}

// ---- Samples. The drivers add strided, broadcast, empty and 0-d forms by themselves.

std::vector<Sample> unary_samples(double low, double high, double p, double q) {
  const ElementwiseAttrs a{p, q};
  return {
      {"2d", {{{3, 17}, low, high}}, a}, {"0d", {{{}, low, high}}, a}, {"empty", {{{0, 3}, low, high}}, a}};
}
// (g, x, y) drawn alone: what a gradient op gives does not rest on y being the value at x.
std::vector<Sample> unary_grad_samples(double low, double high, double p, double q) {
  return {{"2d", {{{3, 17}}, {{3, 17}, low, high}, {{3, 17}, low, high}}, ElementwiseAttrs{p, q}}};
}
std::vector<Sample> binary_samples(double la, double ha, double lb, double hb, SampleInput::Fill fill) {
  auto pair = [&](const char* name, Shape a, Shape b) {
    return Sample{name, {{a, la, ha, f32, fill}, {b, lb, hb, f32, fill}}, ElementwiseAttrs{}};
  };
  return {pair("same", {4, 19}, {4, 19}), pair("row", {4, 19}, {19}), pair("column", {2, 3, 5}, {3, 1}),
          pair("outer", {7, 1}, {1, 6}),  pair("0d", {}, {}),         pair("scalar", {3, 4}, {}),
          pair("empty", {0, 3}, {1, 3})};
}
std::vector<ErrorSample> binary_errors() {
  return {
      {{{{2, 3}}, {{2, 4}}}, ElementwiseAttrs{}, "expected shapes that broadcast together, got 2x3 and 2x4"}};
}

}  // namespace

namespace ops {

#define HEBB_CODE(name) .elementwise = static_cast<int>(Expr::name)

#define HEBB_UNARY(name_, types_, lo, hi, p0, q0, doc_, value, gradient)                                     \
  const OpDef name_##_grad{                                                                                  \
      .name = #name_ "_grad",                                                                                \
      .kind = Kind::Elementwise,                                                                             \
      .doc = "gradient of " #name_,                                                                          \
      .infer = [](SpecPtrs in,                                                                               \
                  const Attrs&) { return infer_elementwise<Types::Float>(#name_ "_grad", in); },             \
      .decompose = unary_gradient_plain<name_##_rule>,                                                       \
      .reference = reference_elementwise<Expr::name_##_grad>,                                                \
      .samples = [] { return unary_grad_samples(lo, hi, p0, q0); },                                          \
      HEBB_CODE(name_##_grad)};                                                                              \
  const OpDef name_{                                                                                         \
      .name = #name_,                                                                                        \
      .kind = Kind::Elementwise,                                                                             \
      .doc = doc_,                                                                                           \
      .infer = [](SpecPtrs in, const Attrs&) { return infer_elementwise<Types::types_>(#name_, in); },       \
      .vjp = [](const VjpArgs& s) -> std::vector<Tensor> {                                                   \
        return {unary_gradient<name_##_rule>(name_##_grad, s.attrs, s.grads[0], s.inputs[0], s.outputs[0])}; \
      },                                                                                                     \
      .jvp = [](const JvpArgs& s) -> Outputs {                                                               \
        return unary_gradient<name_##_rule>(name_##_grad, s.attrs, s.tangents[0], s.inputs[0],               \
                                            s.outputs[0]);                                                   \
      },                                                                                                     \
      .reference = reference_elementwise<Expr::name_>,                                                       \
      .samples = [] { return unary_samples(lo, hi, p0, q0); },                                               \
      .saves_inputs = unary_reads<name_##_rule>() & 2 ? 1u : 0u,                                             \
      .saves_outputs = unary_reads<name_##_rule>() & 4 ? 1u : 0u,                                            \
      HEBB_CODE(name_)};

#define HEBB_UNARY_WITHOUT_GRADIENT(name_, types_, lo, hi, p0, q0, doc_, gradient_)                    \
  const OpDef name_{                                                                                   \
      .name = #name_,                                                                                  \
      .kind = Kind::Elementwise,                                                                       \
      .doc = doc_,                                                                                     \
      .infer = [](SpecPtrs in, const Attrs&) { return infer_elementwise<Types::types_>(#name_, in); }, \
      .reference = reference_elementwise<Expr::name_>,                                                 \
      .samples = [] { return unary_samples(lo, hi, p0, q0); },                                         \
      .gradient = Gradient::gradient_,                                                                 \
      .saves_inputs = 0,                                                                               \
      HEBB_CODE(name_)};
#define HEBB_UNARY_FLAT(name_, types_, lo, hi, p0, q0, doc_, value) \
  HEBB_UNARY_WITHOUT_GRADIENT(name_, types_, lo, hi, p0, q0, doc_, Zeros)
#define HEBB_UNARY_BOOL(name_, lo, hi, doc_, value) \
  HEBB_UNARY_WITHOUT_GRADIENT(name_, Bool, lo, hi, 0, 0, doc_, None)

#define HEBB_BINARY(name_, types_, la, ha, lb, hb, doc_, value, ga, gb)                                \
  const OpDef name_{                                                                                   \
      .name = #name_,                                                                                  \
      .kind = Kind::Elementwise,                                                                       \
      .doc = doc_,                                                                                     \
      .infer = [](SpecPtrs in, const Attrs&) { return infer_elementwise<Types::types_>(#name_, in); }, \
      .vjp = binary_vjp<name_##_rule>,                                                                 \
      .jvp = binary_jvp<name_##_rule>,                                                                 \
      .reference = reference_elementwise<Expr::name_>,                                                 \
      .samples = [] { return binary_samples(la, ha, lb, hb, SampleInput::Fill::uniform); },            \
      .error_samples = binary_errors,                                                                  \
      .saves_inputs = (binary_reads<name_##_rule>() >> 1) & 3u,                                        \
      .saves_outputs = binary_reads<name_##_rule>() & 8 ? 1u : 0u,                                     \
      HEBB_CODE(name_)};
#define HEBB_BINARY_WITHOUT_GRADIENT(name_, types_, la, ha, lb, hb, fill, doc_, gradient_)             \
  const OpDef name_{                                                                                   \
      .name = #name_,                                                                                  \
      .kind = Kind::Elementwise,                                                                       \
      .doc = doc_,                                                                                     \
      .infer = [](SpecPtrs in, const Attrs&) { return infer_elementwise<Types::types_>(#name_, in); }, \
      .reference = reference_elementwise<Expr::name_>,                                                 \
      .samples = [] { return binary_samples(la, ha, lb, hb, SampleInput::Fill::fill); },               \
      .error_samples = binary_errors,                                                                  \
      .gradient = Gradient::gradient_,                                                                 \
      .saves_inputs = 0,                                                                               \
      HEBB_CODE(name_)};
#define HEBB_BINARY_FLAT(name_, types_, la, ha, lb, hb, doc_, value) \
  HEBB_BINARY_WITHOUT_GRADIENT(name_, types_, la, ha, lb, hb, uniform, doc_, Zeros)
#define HEBB_BINARY_BOOL(name_, lo, hi, doc_, value) \
  HEBB_BINARY_WITHOUT_GRADIENT(name_, Bool, lo, hi, lo, hi, integers, doc_, None)
#include "hebb/ops/elementwise.inc"

const OpDef where{
    .name = "where",
    .kind = Kind::Elementwise,
    .doc = "a where the condition holds, else b",
    .infer =
        [](SpecPtrs in, const Attrs&) {
          HEBB_CHECK(in[0]->dtype == boolean, "[where] expected a condition of bool, got {}",
                     name_of(in[0]->dtype));
          const Shape s = broadcast_shapes(in[1]->shape, in[2]->shape, "where");
          return Specs(TensorSpec(broadcast_shapes(in[0]->shape, s, "where"), result_type(in.subspan(1)),
                                  in[0]->device));
        },
    .vjp = [](const VjpArgs& s) -> std::vector<Tensor> {
      std::vector<Tensor> out(3);
      if (s.needs[1]) out[1] = sum_to(hebb::where(s.inputs[0], s.grads[0], 0), s.inputs[1].shape());
      if (s.needs[2]) out[2] = sum_to(hebb::where(s.inputs[0], 0, s.grads[0]), s.inputs[2].shape());
      return out;
    },
    .reference = reference_elementwise<Expr::where>,
    .samples = []() -> std::vector<Sample> {
      const SampleInput condition{{3, 4}, 0, 2, boolean, SampleInput::Fill::integers};
      return {{"same", {condition, {{3, 4}}, {{3, 4}}}, ElementwiseAttrs{}},
              {"broadcast", {condition, {{2, 1, 4}}, {{}}}, ElementwiseAttrs{}}};
    },
    .error_samples = []() -> std::vector<ErrorSample> {
      return {{{{{2}}, {{2}}, {{2}}}, ElementwiseAttrs{}, "expected a condition of bool, got f32"}};
    },
    .saves_inputs = 1,
    HEBB_CODE(where)};

const OpDef cast{
    .name = "cast",
    .kind = Kind::Elementwise,
    .doc = "the values converted to another element type",
    .infer =
        [](SpecPtrs in, const Attrs& a) {
          return Specs(TensorSpec(in[0]->shape, a.as<CastAttrs>().dtype, in[0]->device));
        },
    .vjp = [](const VjpArgs& s) -> std::vector<Tensor> { return {to(s.grads[0], s.inputs[0].dtype())}; },
    .jvp = [](const JvpArgs& s) -> Outputs { return to(s.tangents[0], s.attrs.as<CastAttrs>().dtype); },
    .reference =
        [](const ReferenceArgs& s) {
          copy_values(s.inputs[0].spec(), s.inputs[0].raw_data(), s.outputs[0].spec(),
                      s.outputs[0].raw_data());
        },
    .samples = []() -> std::vector<Sample> {
      return {{"to_f64", {{{3, 5}}}, CastAttrs{f64}}, {"to_i64", {{{3, 5}, -4, 4}}, CastAttrs{i64}}};
    },
    .saves_inputs = 0};

}  // namespace ops

// ---- Public functions.

#define HEBB_UNARY_FN(name, p0, q0) \
  Tensor name(const Tensor& x) { return apply1(ops::name, ElementwiseAttrs{p0, q0}, {x}); }
#define HEBB_UNARY(name, types, lo, hi, p0, q0, ...) HEBB_UNARY_FN(name, p0, q0)
#define HEBB_UNARY_FLAT(name, types, lo, hi, p0, q0, ...) HEBB_UNARY_FN(name, p0, q0)
#define HEBB_UNARY_BOOL(name, ...) HEBB_UNARY_FN(name, 0, 0)
#define HEBB_BINARY(name, ...) \
  Tensor name(const Tensor& a, const Tensor& b) { return apply1(ops::name, ElementwiseAttrs{}, {a, b}); }
#define HEBB_BINARY_FLAT(name, ...) HEBB_BINARY(name)
#define HEBB_BINARY_BOOL(name, ...) HEBB_BINARY(name)
#include "hebb/ops/elementwise.inc"

Tensor leaky_relu(const Tensor& x, double slope) {
  return apply1(ops::leaky_relu, ElementwiseAttrs{slope, 0}, {x});
}
Tensor elu(const Tensor& x, double alpha) { return apply1(ops::elu, ElementwiseAttrs{alpha, 0}, {x}); }
Tensor softplus(const Tensor& x, double beta, double threshold) {
  return apply1(ops::softplus, ElementwiseAttrs{beta, threshold}, {x});
}
Tensor clamp(const Tensor& x, double min, double max) {
  return apply1(ops::clamp, ElementwiseAttrs{min, max}, {x});
}
Tensor hardtanh(const Tensor& x, double min, double max) {
  return apply1(ops::hardtanh, ElementwiseAttrs{min, max}, {x});
}
Tensor step(const Tensor& x, double threshold) {
  return apply1(ops::step, ElementwiseAttrs{threshold, 0}, {x});
}
Tensor prelu(const Tensor& x, const Tensor& slope) { return where(x > 0, x, x * slope); }
Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b) {
  return apply1(ops::where, ElementwiseAttrs{}, {condition, a, b});
}
Tensor lerp(const Tensor& a, const Tensor& b, const Tensor& weight) { return a + weight * (b - a); }

Tensor to(const Tensor& x, DType dtype) {
  return x.dtype() == dtype ? x : apply1(ops::cast, CastAttrs{dtype}, {x});
}

Tensor scalar_like(Scalar s, const Tensor& t, bool floating) {
  DType d = t.dtype();
  if (!is_float(d) && (!s.integral || floating)) d = f32;
  else if (d == boolean) d = i64;
  else if ((d == bf16 || d == f16) && t.ndim() > 0)
    d = f32;  // as the arithmetic is; a 0-d operand does not widen the result
  return full({}, s.value, d, t.device());
}

Tensor sum_to(const Tensor& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  std::vector<int64_t> dims;
  const int lead = x.ndim() - shape.ndim();
  for (int d = 0; d < x.ndim(); ++d)
    if (d < lead || (shape[d - lead] == 1 && x.shape()[d] != 1)) dims.push_back(d);
  Tensor y = dims.empty() ? x : sum(x, dims, true);
  return reshape(y, shape);
}

}  // namespace hebb
