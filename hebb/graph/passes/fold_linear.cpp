// Linear maps that follow one another and whose numbers stay the same become one: batch normalisation in
// evaluation goes into the convolution before it.
#include <algorithm>

#include "hebb/graph/passes.h"
#include "hebb/ops/matmul_attrs.h"
#include "hebb/ops/op_support.h"
#include "hebb/ops/table.h"
#include "hebb/ops/view_attrs.h"

namespace hebb::graph {
namespace {

class Folding {
 public:
  explicit Folding(Graph& g)
      : g_(g), steady_(steady_values(g)), uses_(g.uses()), maker_(g.values.size(), -1) {}

  void run() {
    std::vector<Node> old = std::move(g_.nodes);
    for (Node& n : old) {
      module_ = n.module;
      if (!scale_or_shift(n) && !second_linear(n)) append(std::move(n));
    }
    g_.nodes = std::move(nodes_);
    drop_dead(g_);
  }

 private:
  const Shape& shape(ValueId v) const { return g_.values[v].shape; }

  void append(Node n) {
    for (const ValueId v : n.outputs) maker_[static_cast<size_t>(v)] = static_cast<int64_t>(nodes_.size());
    nodes_.push_back(std::move(n));
  }
  // A new steady value.
  ValueId add(const OpDef& op, Attrs attrs, std::vector<ValueId> inputs) {
    Node n = detail::new_node(g_, op, std::move(attrs), std::move(inputs), module_);
    steady_.push_back(true);
    maker_.push_back(-1);
    const ValueId out = n.outputs[0];
    append(std::move(n));
    return out;
  }
  ValueId reshaped(ValueId v, const Shape& to) {
    return shape(v) == to ? v : add(ops::reshape, ShapeAttrs{to}, {v});
  }

  // The node that makes v, a product with steady weights that nothing else reads; null if there is none.
  const Node* product(ValueId v) const {
    const int64_t i = maker_[static_cast<size_t>(v)];
    if (i < 0 || uses_[static_cast<size_t>(v)] != 1) return nullptr;
    const Node& n = nodes_[static_cast<size_t>(i)];
    if (n.op != &ops::conv2d && n.op != &ops::linear) return nullptr;
    for (size_t k = 1; k < n.inputs.size(); ++k)
      if (!steady_[static_cast<size_t>(n.inputs[k])]) return nullptr;
    return &n;
  }
  // Whether v holds one number for each of the product's outputs, or one for all.
  bool is_vector_of(ValueId v, const Node& product) const {
    const Shape &s = shape(v), &out = shape(product.outputs[0]);
    const int channel = product.op == &ops::linear ? out.ndim() - 1 : 1;
    if (s.numel() == 1) return s.ndim() <= out.ndim();
    const int at = channel - (out.ndim() - s.ndim());
    return at >= 0 && s.ndim() <= out.ndim() && s.numel() == out[channel] && s[at] == out[channel];
  }

  // (x W + b) s and (x W + b) + t
  bool scale_or_shift(const Node& n) {
    const bool scale = n.op == &ops::mul, minus = n.op == &ops::sub;
    if (!scale && !minus && n.op != &ops::add) return false;
    for (const size_t k : {size_t{0}, size_t{1}}) {
      if (minus && k == 1) continue;
      const ValueId y = n.inputs[k], v = n.inputs[1 - k];
      const Node* const found = product(y);
      if (!found || !steady_[static_cast<size_t>(v)] || !is_vector_of(v, *found) ||
          g_.values[v].dtype != g_.values[y].dtype || shape(n.outputs[0]) != shape(y))
        continue;
      Node p = *found;
      const int64_t outs = shape(p.inputs[1])[0];
      const bool one = shape(v).numel() == 1;
      const ValueId vector = reshaped(v, one ? Shape{1} : Shape{outs});
      if (scale) {
        Shape column = Shape::filled(shape(p.inputs[1]).ndim(), 1);
        column[0] = one ? 1 : outs;
        p.inputs[1] = add(ops::mul, n.attrs, {p.inputs[1], reshaped(v, column)});
        if (p.inputs.size() == 3) p.inputs[2] = add(ops::mul, n.attrs, {p.inputs[2], vector});
      } else if (p.inputs.size() == 3) {
        p.inputs[2] = add(*n.op, n.attrs, {p.inputs[2], vector});
      } else {
        const ValueId shift = minus ? add(ops::neg, n.attrs, {vector}) : vector;
        p.inputs.push_back(one ? add(ops::expand, ShapeAttrs{Shape{outs}}, {shift}) : shift);
      }
      p.outputs = n.outputs;
      append(std::move(p));
      return true;
    }
    return false;
  }

  // (x W1 + b1) W2 + b2, unless the values between are so few that they save work.
  bool second_linear(const Node& n) {
    if (n.op != &ops::linear) return false;
    const Node* const found = product(n.inputs[0]);
    if (!found || found->op != &ops::linear) return false;
    for (size_t k = 1; k < n.inputs.size(); ++k)
      if (!steady_[static_cast<size_t>(n.inputs[k])]) return false;
    const Node first = *found;
    const int64_t in = shape(first.inputs[1])[1], middle = shape(first.inputs[1])[0],
                  out = shape(n.inputs[1])[0];
    if (in * out >= middle * (in + out)) return false;
    Node p = n;
    p.inputs[0] = first.inputs[0];
    p.inputs[1] = add(ops::matmul, MatmulAttrs{}, {n.inputs[1], first.inputs[1]});
    if (first.inputs.size() == 3) {
      std::vector<ValueId> bias = n.inputs;
      bias[0] = reshaped(first.inputs[2], {1, middle});
      const ValueId b = reshaped(add(ops::linear, n.attrs, std::move(bias)), {out});
      if (p.inputs.size() == 3) p.inputs[2] = b;
      else p.inputs.push_back(b);
    }
    append(std::move(p));
    return true;
  }

  Graph& g_;
  std::vector<bool> steady_;
  std::vector<int> uses_;       // of the values that were there before
  std::vector<int64_t> maker_;  // the place in nodes_, by value
  std::vector<Node> nodes_;
  std::string module_;
};

}  // namespace

void fold_linear(Graph& g) { Folding(g).run(); }

}  // namespace hebb::graph
