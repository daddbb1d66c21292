#include "hebb/nn/recurrent.h"

#include "hebb/nn/layer_support.h"
#include "hebb/ops/join.h"
#include "hebb/ops/random.h"
#include "hebb/ops/recurrent.h"
#include "hebb/ops/view.h"

namespace hebb::nn {

using detail::expect_at_least;
using detail::repr;

namespace {

Parameter make(Shape shape) { return Parameter(Tensor::empty(shape)); }

void draw(int64_t hidden, std::initializer_list<Parameter*> parameters) {
  const double bound = 1 / std::sqrt(static_cast<double>(hidden));
  for (Parameter* p : parameters)
    if (p->defined()) init::uniform_(*p, -bound, bound);
}

void expect_state(const Tensor& t, const Shape& shape, const char* layer, const char* what) {
  HEBB_CHECK(t.defined() && t.shape() == shape, "[{}] expected {} of shape {}, got {}", layer, what,
             shape.str(), t.defined() ? t.shape().str() : "an undefined tensor");
}

}  // namespace

LSTM::LSTM(int64_t input, int64_t hidden, LSTMOptions o)
    : input_size(input), hidden_size(hidden), options(o) {
  expect_at_least(1, input, "LSTM", "input_size");
  expect_at_least(1, hidden, "LSTM", "hidden_size");
  expect_at_least(1, o.num_layers, "LSTM", "num_layers");
  detail::expect_probability(o.dropout, "LSTM");
  for (int64_t i = 0; i < o.num_layers; ++i) {
    Layer& layer = layers.emplace_back();
    layer.weight_ih = make({4 * hidden, i == 0 ? input : hidden});
    layer.weight_hh = make({4 * hidden, hidden});
    if (o.bias) layer.bias_ih = make({4 * hidden}), layer.bias_hh = make({4 * hidden});
  }
  reset_parameters();
}
void LSTM::reset_parameters() {
  for (Layer& l : layers) draw(hidden_size, {&l.weight_ih, &l.weight_hh, &l.bias_ih, &l.bias_hh});
}
LSTMOutput LSTM::forward(const Tensor& x, const std::optional<LSTMState>& state) {
  HEBB_CHECK((x.ndim() == 2 || x.ndim() == 3) && x.size(-1) == input_size,
             "[LSTM] expected an input of shape {} or [steps, {}], got {}",
             options.batch_first ? fmt::format("[batch, steps, {}]", input_size)
                                 : fmt::format("[steps, batch, {}]", input_size),
             input_size, x.shape().str());
  const bool batched = x.ndim() == 3, turn = batched && options.batch_first;
  Tensor y = !batched ? unsqueeze(x, 1) : turn ? contiguous(transpose(x, 0, 1)) : x;
  HEBB_CHECK(y.size(0) > 0, "[LSTM] expected a sequence of one step or more, got an input of shape {}",
             x.shape().str());
  const int64_t batch = y.size(1), count = options.num_layers;
  Tensor h, c;
  if (state) {
    const Shape shape = batched ? Shape{count, batch, hidden_size} : Shape{count, hidden_size};
    expect_state(state->h, shape, "LSTM", "a state h");
    expect_state(state->c, shape, "LSTM", "a state c");
    h = reshape(state->h, {count, batch, hidden_size});
    c = reshape(state->c, {count, batch, hidden_size});
  } else {
    h = c = zeros({count, batch, hidden_size}, x.dtype());
  }
  std::vector<Tensor> last_h, last_c;
  for (int64_t i = 0; i < count; ++i) {
    if (i > 0) y = dropout(y, options.dropout, is_training());
    Layer& l = layers[i];
    const LstmSequence s =
        lstm(y, select(h, 0, i), select(c, 0, i), l.weight_ih, l.weight_hh, l.bias_ih, l.bias_hh);
    y = s.output;
    last_h.push_back(s.h);
    last_c.push_back(s.c);
  }
  LSTMState end{stack(last_h), stack(last_c)};
  if (!batched) return {squeeze(y, 1), {squeeze(end.h, 1), squeeze(end.c, 1)}};
  return {turn ? contiguous(transpose(y, 0, 1)) : y, end};
}
std::string LSTM::extra_repr() const {
  std::string text = fmt::format("{}, {}", input_size, hidden_size);
  if (options.num_layers != 1) text += fmt::format(", num_layers={}", options.num_layers);
  if (!options.bias) text += ", bias=False";
  if (options.batch_first) text += ", batch_first=True";
  if (options.dropout != 0) text += ", dropout=" + repr(options.dropout);
  return text;
}
void LSTM::visit_members(MemberVisitor& visitor) {
  for (size_t i = 0; i < layers.size(); ++i) {
    const std::string end = "_l" + std::to_string(i);
    visitor.parameter("weight_ih" + end, layers[i].weight_ih);
    visitor.parameter("weight_hh" + end, layers[i].weight_hh);
    visitor.parameter("bias_ih" + end, layers[i].bias_ih);
    visitor.parameter("bias_hh" + end, layers[i].bias_hh);
  }
}

LSTMCell::LSTMCell(int64_t input, int64_t hidden, LSTMCellOptions o)
    : input_size(input), hidden_size(hidden) {
  expect_at_least(1, input, "LSTMCell", "input_size");
  expect_at_least(1, hidden, "LSTMCell", "hidden_size");
  weight_ih = make({4 * hidden, input});
  weight_hh = make({4 * hidden, hidden});
  if (o.bias) bias_ih = make({4 * hidden}), bias_hh = make({4 * hidden});
  reset_parameters();
}
void LSTMCell::reset_parameters() { draw(hidden_size, {&weight_ih, &weight_hh, &bias_ih, &bias_hh}); }
LSTMState LSTMCell::forward(const Tensor& x, const std::optional<LSTMState>& state) {
  HEBB_CHECK((x.ndim() == 1 || x.ndim() == 2) && x.size(-1) == input_size,
             "[LSTMCell] expected an input of shape [batch, {}] or [{}], got {}", input_size, input_size,
             x.shape().str());
  const int64_t batch = x.ndim() == 2 ? x.size(0) : 1;
  Shape shape = x.shape();
  shape[x.ndim() - 1] = hidden_size;
  const LSTMState begin = state ? *state : LSTMState{zeros(shape, x.dtype()), zeros(shape, x.dtype())};
  expect_state(begin.h, shape, "LSTMCell", "a state h");
  expect_state(begin.c, shape, "LSTMCell", "a state c");
  const LstmSequence s = lstm(reshape(x, {1, batch, input_size}), reshape(begin.h, {batch, hidden_size}),
                              reshape(begin.c, {batch, hidden_size}), weight_ih, weight_hh, bias_ih, bias_hh);
  return {reshape(s.h, shape), reshape(s.c, shape)};
}
std::string LSTMCell::extra_repr() const {
  return fmt::format("{}, {}{}", input_size, hidden_size, bias_ih.defined() ? "" : ", bias=False");
}

}  // namespace hebb::nn
