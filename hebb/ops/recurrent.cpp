// The recurrent part of an LSTM layer as one op over all steps, and its gradient. What the inputs give to the
// gates is one matrix product before it; what the gradients of the gates give to inputs and weights are
// products behind it.
#include "hebb/ops/recurrent.h"

#include <cmath>

#include "hebb/op/autocast.h"
#include "hebb/ops/creation.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/join.h"
#include "hebb/ops/matmul.h"
#include "hebb/ops/op_support.h"
#include "hebb/ops/table.h"
#include "hebb/ops/view.h"

namespace hebb {

using namespace detail;

namespace {

// Extents of a call, from the gates [T, B, 4H].
struct Extents {
  int64_t steps, batch, hidden;
  explicit Extents(const Shape& gates) : steps(gates[0]), batch(gates[1]), hidden(gates[2] / 4) {}
};

void check_operand(const TensorSpec& s, const TensorSpec& gates, const Shape& shape, const char* op,
                   const char* what) {
  expect_same_type(gates, s, op);
  HEBB_CHECK(s.shape == shape, "[{}] expected {} of shape {} (gates {}), got {}", op, what, shape.str(),
             gates.shape.str(), s.shape.str());
}
Extents check_gates(const TensorSpec& s, const char* op) {
  expect_float(s, op, "gates");
  HEBB_CHECK(s.shape.ndim() == 3 && s.shape[0] > 0 && s.shape[2] > 0 && s.shape[2] % 4 == 0,
             "[{}] expected gates of shape [steps, batch, 4 hidden], of one step or more, got {}", op,
             s.shape.str());
  return Extents(s.shape);
}
TensorSpec like(const TensorSpec& s, const Shape& shape) { return {shape, s.dtype, s.device}; }

// A gradient that is zero, in place of a tensor of zeros.
bool is_absent(const Shape& gradient) { return gradient == Shape{0}; }

double sigmoid_of(double x) { return 1 / (1 + std::exp(-x)); }

void reference_lstm(const ReferenceArgs& s) {
  const Extents e(s.inputs[0].shape());
  std::vector<double> gates = values<double>(s.inputs[0]), w = values<double>(s.inputs[1]),
                      h = values<double>(s.inputs[2]), c = values<double>(s.inputs[3]), all_h, all_c;
  const int64_t n = e.hidden;
  for (int64_t t = 0; t < e.steps; ++t) {
    for (int64_t b = 0; b < e.batch; ++b) {
      double* gate = &gates[(t * e.batch + b) * 4 * n];
      for (int64_t k = 0; k < 4 * n; ++k) {
        for (int64_t j = 0; j < n; ++j) gate[k] += h[b * n + j] * w[k * n + j];
        gate[k] = k / n == 2 ? std::tanh(gate[k]) : sigmoid_of(gate[k]);
      }
    }
    for (int64_t i = 0; i < e.batch * n; ++i) {
      const double* gate = &gates[(t * e.batch + i / n) * 4 * n + i % n];
      c[i] = gate[n] * c[i] + gate[0] * gate[2 * n];
      h[i] = gate[3 * n] * std::tanh(c[i]);
    }
    all_h.insert(all_h.end(), h.begin(), h.end());
    all_c.insert(all_c.end(), c.begin(), c.end());
  }
  store(s.outputs[0], all_h);
  store(s.outputs[1], all_c);
  store(s.outputs[2], gates);
}

// Inputs: gradients of h, of c and of the gates, each of shape [0] where there is none; w_hh; c before the
// first step; c; the gates.
void reference_lstm_grad(const ReferenceArgs& s) {
  const Extents e(s.inputs[6].shape());
  std::vector<double> in[7];
  for (int i = 0; i < 7; ++i) in[i] = values<double>(s.inputs[i]);
  const auto &w = in[3], &first_c = in[4], &all_c = in[5], &gates = in[6];
  const int64_t n = e.hidden, state = e.batch * n;
  for (const int i : {0, 1, 2}) in[i].resize(i == 2 ? gates.size() : all_c.size(), 0.0);
  std::vector<double> g_gates(gates.size()), gh(state, 0.0), gc(state, 0.0);
  for (int64_t t = e.steps - 1; t >= 0; --t) {
    for (int64_t i = 0; i < state; ++i) {
      const int64_t at = (t * e.batch + i / n) * 4 * n + i % n;
      const double *gate = &gates[at], *g_gate = &in[2][at];
      const double tc = std::tanh(all_c[t * state + i]),
                   before = t > 0 ? all_c[(t - 1) * state + i] : first_c[i];
      const double from_h = gh[i] + in[0][t * state + i];
      const double from_c = gc[i] + in[1][t * state + i] + from_h * gate[3 * n] * (1 - tc * tc);
      const double g[] = {from_c * gate[2 * n], from_c * before, from_c * gate[0], from_h * tc};
      for (int k = 0; k < 4; ++k) {
        const double y = gate[k * n];
        g_gates[at + k * n] = (g[k] + g_gate[k * n]) * (k == 2 ? 1 - y * y : y * (1 - y));
      }
      gc[i] = from_c * gate[n];
    }
    for (int64_t i = 0; i < state; ++i) {
      gh[i] = 0;
      const double* g = &g_gates[(t * e.batch + i / n) * 4 * n];
      for (int64_t k = 0; k < 4 * n; ++k) gh[i] += g[k] * w[k * n + i % n];
    }
  }
  store(s.outputs[0], g_gates);
  store(s.outputs[1], gh);
  store(s.outputs[2], gc);
}

Outputs decompose_lstm_grad(const Attrs& attrs, std::span<const Tensor> in) {
  const Autocast products(attrs.as<ProductAttrs>().bf16 ? bf16 : f32);
  const Extents e(in[6].shape());
  const auto given = [&](int i, const Shape& shape) {
    return is_absent(in[i].shape()) ? zeros(shape, in[i].dtype()) : in[i];
  };
  const Tensor of_h = given(0, in[5].shape()), of_c = given(1, in[5].shape()),
               of_gates = given(2, in[6].shape());
  std::vector<Tensor> steps;
  Tensor gh, gc;
  for (int64_t t = e.steps - 1; t >= 0; --t) {
    const auto gate = split(select(in[6], 0, t), e.hidden, 1),
               g_gate = split(select(of_gates, 0, t), e.hidden, 1);
    const Tensor tc = tanh(select(in[5], 0, t)), before = t > 0 ? select(in[5], 0, t - 1) : in[4];
    Tensor from_h = select(of_h, 0, t), from_c = select(of_c, 0, t);
    if (gh.defined()) from_h = from_h + gh, from_c = from_c + gc;
    from_c = from_c + from_h * gate[3] * (1 - tc * tc);
    const Tensor g[] = {from_c * gate[2], from_c * before, from_c * gate[0], from_h * tc};
    std::vector<Tensor> parts;
    for (int k = 0; k < 4; ++k) {
      const Tensor& y = gate[k];
      parts.push_back((g[k] + g_gate[k]) * (k == 2 ? 1 - y * y : y * (1 - y)));
    }
    steps.insert(steps.begin(), cat(parts, 1));
    gc = from_c * gate[1];
    gh = matmul(steps.front(), in[3]);
  }
  return {stack(steps), gh, gc};
}

}  // namespace

namespace ops {

const OpDef lstm{
    .name = "lstm",
    .doc = "all steps of an LSTM: h, c and the gates, from what inputs give to the gates, w_hh, h and c",
    .infer =
        [](SpecPtrs in, const Attrs&) {
          const Extents e = check_gates(*in[0], "lstm");
          check_operand(*in[1], *in[0], {4 * e.hidden, e.hidden}, "lstm", "a weight");
          for (const int i : {2, 3}) check_operand(*in[i], *in[0], {e.batch, e.hidden}, "lstm", "a state");
          const TensorSpec states = like(*in[0], {e.steps, e.batch, e.hidden});
          return Specs{states, states, like(*in[0], in[0]->shape)};
        },
    .vjp = [](const VjpArgs& s) -> std::vector<Tensor> {
      const Tensor &w = s.inputs[1], &h = s.inputs[2], &c = s.inputs[3];
      const auto grad = [&](int i) { return s.grads[i].defined() ? s.grads[i] : zeros({0}, w.dtype()); };
      const Tensor in[] = {grad(0), grad(1), grad(2), w, c, s.outputs[1], s.outputs[2]};
      const Outputs g = apply(lstm_grad, s.attrs, in);
      if (!s.needs[1]) return {g[0], {}, g[1], g[2]};
      const Extents e(s.outputs[2].shape());
      const Autocast low(s.attrs.as<ProductAttrs>().bf16 ? bf16 : f32);
      // Each step's gates come from the h of the step before it.
      Tensor gw = hebb::matmul(transpose(hebb::select(g[0], 0, 0)), h);
      if (e.steps > 1)
        gw = gw + hebb::matmul(transpose(flatten(narrow(g[0], 0, 1, e.steps - 1), 0, 1)),
                               flatten(narrow(s.outputs[0], 0, 0, e.steps - 1), 0, 1));
      return {g[0], gw, g[1], g[2]};
    },
    .reference = reference_lstm,
    .samples = []() -> std::vector<Sample> {
      return {{"steps", {{{3, 2, 20}}, {{20, 5}}, {{2, 5}}, {{2, 5}}}, ProductAttrs{}},
              {"one", {{{1, 3, 8}}, {{8, 2}}, {{3, 2}}, {{3, 2}}}, ProductAttrs{}},
              {"empty", {{{2, 0, 8}}, {{8, 2}}, {{0, 2}}, {{0, 2}}}, ProductAttrs{}}};
    },
    .error_samples = []() -> std::vector<ErrorSample> {
      return {{{{{2, 3}}, {{8, 2}}, {{3, 2}}, {{3, 2}}},
               ProductAttrs{},
               "expected gates of shape [steps, batch, 4 hidden]"},
              {{{{2, 3, 6}}, {{8, 2}}, {{3, 2}}, {{3, 2}}}, ProductAttrs{}, "of one step or more, got 2x3x6"},
              {{{{0, 3, 8}}, {{8, 2}}, {{3, 2}}, {{3, 2}}}, ProductAttrs{}, "of one step or more, got 0x3x8"},
              {{{{2, 3, 8}}, {{2, 8}}, {{3, 2}}, {{3, 2}}},
               ProductAttrs{},
               "expected a weight of shape 8x2 (gates 2x3x8), got 2x8"},
              {{{{2, 3, 8}}, {{8, 2}}, {{3, 2}}, {{2, 2}}},
               ProductAttrs{},
               "expected a state of shape 3x2 (gates 2x3x8), got 2x2"},
              {{{{2, 3, 8}, 0, 5, i64}, {{8, 2}}, {{3, 2}}, {{3, 2}}},
               ProductAttrs{},
               "expected gates of a floating type, got i64"},
              {{{{2, 3, 8}}, {{8, 2}, -2, 2, f64}, {{3, 2}}, {{3, 2}}},
               ProductAttrs{},
               "expected operands of one type, got f32 and f64"}};
    },
    .takes_absent_grads = true,
    .saves_inputs = 0b1110,
    .saves_outputs = 0b111,
    .overwrites = {-1, -1, 0, -1},
    .never_throws = true,
    .multiply_adds = [](SpecPtrs in, const Specs&,
                        const Attrs&) { return in[0]->shape[0] * in[0]->shape[1] * in[1]->shape.numel(); }};

const OpDef lstm_grad{
    .name = "lstm_grad",
    .doc = "gradients of lstm for the gates and the states it began with",
    .infer =
        [](SpecPtrs in, const Attrs&) {
          const Extents e = check_gates(*in[6], "lstm_grad");
          const TensorSpec& gates = *in[6];
          const Shape states{e.steps, e.batch, e.hidden};
          const auto or_absent = [&](int i, const Shape& shape) {
            return is_absent(in[i]->shape) ? Shape{0} : shape;
          };
          for (const int i : {0, 1})
            check_operand(*in[i], gates, or_absent(i, states), "lstm_grad", "states of all steps");
          check_operand(*in[5], gates, states, "lstm_grad", "states of all steps");
          check_operand(*in[2], gates, or_absent(2, gates.shape), "lstm_grad", "a gradient of the gates");
          check_operand(*in[3], gates, {4 * e.hidden, e.hidden}, "lstm_grad", "a weight");
          check_operand(*in[4], gates, {e.batch, e.hidden}, "lstm_grad", "a state");
          const TensorSpec state = like(gates, {e.batch, e.hidden});
          return Specs{like(gates, gates.shape), state, state};
        },
    .decompose = decompose_lstm_grad,
    .reference = reference_lstm_grad,
    .samples = []() -> std::vector<Sample> {
      const SampleInput states{{3, 2, 5}}, gates{{3, 2, 20}, 0.1, 0.9};
      const SampleInput none{{0}};
      return {
          {"steps", {states, states, {{3, 2, 20}}, {{20, 5}}, {{2, 5}}, states, gates}, ProductAttrs{}},
          {"h alone", {states, none, none, {{20, 5}}, {{2, 5}}, states, gates}, ProductAttrs{}},
          {"gates alone", {none, none, {{3, 2, 20}}, {{20, 5}}, {{2, 5}}, states, gates}, ProductAttrs{}}};
    },
    .error_samples = []() -> std::vector<ErrorSample> {
      const SampleInput states{{2, 3, 2}}, gates{{2, 3, 8}}, w{{8, 2}}, state{{3, 2}};
      return {
          {{states, states, gates, w, state, states, {{2, 8}}}, ProductAttrs{}, "expected gates of shape"},
          {{states, state, gates, w, state, states, gates},
           ProductAttrs{},
           "expected states of all steps of shape 2x3x2 (gates 2x3x8), got 3x2"},
          {{states, states, states, w, state, states, gates},
           ProductAttrs{},
           "expected a gradient of the gates of shape 2x3x8 (gates 2x3x8), got 2x3x2"},
          {{states, states, gates, state, state, states, gates},
           ProductAttrs{},
           "expected a weight of shape 8x2 (gates 2x3x8), got 3x2"},
          {{states, states, gates, w, states, states, gates},
           ProductAttrs{},
           "expected a state of shape 3x2 (gates 2x3x8), got 2x3x2"}};
    },
    .never_throws = true,
    .multiply_adds = [](SpecPtrs in, const Specs&,
                        const Attrs&) { return in[6]->shape[0] * in[6]->shape[1] * in[3]->shape.numel(); }};

}  // namespace ops

LstmSequence lstm(const Tensor& x, const Tensor& h, const Tensor& c, const Tensor& w_ih, const Tensor& w_hh,
                  const Tensor& b_ih, const Tensor& b_hh) {
  HEBB_CHECK(x.ndim() == 3, "[lstm] expected a sequence [steps, batch, features], got {}", x.shape().str());
  const Tensor bias = b_ih.defined() && b_hh.defined() ? b_ih + b_hh : b_ih.defined() ? b_ih : b_hh;
  const Tensor in[] = {linear(x, w_ih, bias), w_hh, h, c};
  const Outputs y = apply(ops::lstm, ProductAttrs{rounds(x)}, in);
  return {y[0], select(y[0], 0, -1), select(y[1], 0, -1)};
}

}  // namespace hebb
