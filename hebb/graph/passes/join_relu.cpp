#include "hebb/graph/passes.h"
#include "hebb/ops/table.h"

namespace hebb::graph {
namespace {

// The op that computes this one and ReLU; null if there is none.
const OpDef* rectified(const OpDef* op) {
  if (op == &ops::linear) return &ops::linear_relu;
  if (op == &ops::conv2d_nhwc) return &ops::conv2d_relu_nhwc;
  return nullptr;
}

class Joining {
 public:
  explicit Joining(Graph& g) : g_(g), uses_(g.uses()), maker_(g.values.size(), SIZE_MAX) {}

  void run() {
    for (Node& n : g_.nodes) {
      if (n.op == &ops::relu && (join_sums(n) || join_addition(n))) continue;
      push(std::move(n));
    }
    g_.nodes.clear();
    for (Node& n : nodes_)
      if (n.op) g_.nodes.push_back(std::move(n));
  }

 private:
  void push(Node n) {
    for (const ValueId v : n.outputs) maker_[v] = nodes_.size();
    nodes_.push_back(std::move(n));
  }
  /// The node that makes a value for one reader alone; null if there is none.
  Node* maker(ValueId v) { return maker_[v] != SIZE_MAX && uses_[v] == 1 ? &nodes_[maker_[v]] : nullptr; }

  bool join_sums(const Node& relu) {
    Node* const sums = maker(relu.inputs[0]);
    const OpDef* const op = sums ? rectified(sums->op) : nullptr;
    if (!op) return false;
    sums->op = op;
    sums->outputs = relu.outputs;
    maker_[relu.outputs[0]] = maker_[relu.inputs[0]];
    return true;
  }
  // The convolution moves to where what is added to it is there.
  bool join_addition(const Node& relu) {
    Node* const add = maker(relu.inputs[0]);
    if (!add || add->op != &ops::add) return false;
    for (const int i : {1, 0}) {
      const ValueId sums = add->inputs[static_cast<size_t>(i)],
                    other = add->inputs[static_cast<size_t>(1 - i)];
      Node* const conv = maker(sums);
      if (!conv || conv->op != &ops::conv2d_nhwc || conv->inputs.size() != 3 || sums == other ||
          !(g_.values[sums].shape == g_.values[other].shape))
        continue;
      Node joined{&ops::conv2d_add_relu_nhwc, conv->attrs, conv->inputs, relu.outputs, conv->module};
      joined.inputs.push_back(other);
      conv->op = add->op = nullptr;
      push(std::move(joined));
      return true;
    }
    return false;
  }

  Graph& g_;
  const std::vector<int> uses_;
  std::vector<size_t> maker_;
  std::vector<Node> nodes_;
};

}  // namespace

void join_relu(Graph& g) { Joining(g).run(); }

}  // namespace hebb::graph
