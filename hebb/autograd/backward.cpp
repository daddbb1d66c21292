// Reverse mode: nodes are visited in the reverse order of recording, so that all of a node's consumers come
// first.
#include <algorithm>
#include <queue>
#include <unordered_map>
#include <unordered_set>

#include "hebb/autograd/grad.h"
#include "hebb/autograd/tape.h"
#include "hebb/core/check.h"
#include "hebb/ops/creation.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/view.h"

namespace hebb {
namespace {

using detail::grad_state;
using detail::Node;
using detail::SavedInput;
using detail::TensorImpl;

Node* node_of(const Tensor& t) {
  return t.impl()->grad ? static_cast<Node*>(t.impl()->grad->node.get()) : nullptr;
}
const TensorImpl* leaf_of(const Tensor& t) {
  const auto& state = t.impl()->grad;
  return state && state->leaf_of ? state->leaf_of.get() : t.impl();
}

// One run from some outputs to all leaves, or to given tensors only.
class Backward {
 public:
  Backward(std::span<const Tensor> wanted, BackwardOptions options)
      : options_(options), capture_(!wanted.empty()) {
    for (const Tensor& t : wanted) {
      if (Node* n = node_of(t)) wanted_outputs_[n].push_back(t.impl()->grad->output);
      else wanted_leaves_.insert(leaf_of(t));
    }
  }

  void seed(const Tensor& t, const Tensor& g) {
    if (Node* n = node_of(t)) add_to(*n, t.impl()->grad->output, g);
    else add_to_leaf(Ref<TensorImpl>(const_cast<TensorImpl*>(leaf_of(t))), g);
  }

  void run() {
    if (capture_) mark_needed();
    while (!queue_.empty()) {
      const Ref<Node> node = queue_.top().node;
      queue_.pop();
      auto entry = grads_.extract(node.get());
      std::vector<Tensor>& grads = entry.mapped();
      if (const auto it = wanted_outputs_.find(node.get()); it != wanted_outputs_.end())
        for (const int output : it->second) captured_[{node.get(), output}] = grads[output];
      if (step(*node, grads) && !options_.retain_graph && !options_.create_graph) node->release();
    }
  }

  Tensor captured(const Tensor& t) const {
    if (Node* n = node_of(t)) {
      const auto it = captured_.find({n, t.impl()->grad->output});
      return it == captured_.end() ? Tensor() : it->second;
    }
    const auto it = leaf_grads_.find(leaf_of(t));
    return it == leaf_grads_.end() ? Tensor() : it->second;
  }

 private:
  struct ByRecording {
    Ref<Node> node;
    bool operator<(const ByRecording& o) const { return node->sequence() < o.node->sequence(); }
  };
  struct OutputHash {
    size_t operator()(const std::pair<Node*, int>& p) const {
      return std::hash<Node*>{}(p.first) * 31 + static_cast<size_t>(p.second);
    }
  };

  // With wanted tensors, only nodes on a path to one of them are visited.
  void mark_needed() {
    std::vector<Node*> reached, stack;
    std::unordered_set<Node*> seen;
    auto reach = [&](Node* n) {
      if (n && seen.insert(n).second) stack.push_back(n);
    };
    for (const auto& [n, g] : grads_) reach(n);
    while (!stack.empty()) {
      Node* n = stack.back();
      stack.pop_back();
      reached.push_back(n);
      for (const SavedInput& s : n->inputs())
        if (s.needs) reach(s.node.get());
    }
    std::sort(reached.begin(), reached.end(), [](Node* a, Node* b) { return a->sequence() < b->sequence(); });
    for (Node* n : reached)
      for (const SavedInput& s : n->inputs())
        if (is_wanted(s)) leads_to_wanted_.insert(n);
  }
  bool is_wanted(const SavedInput& s) const {
    if (!s.needs) return false;
    if (!capture_) return true;
    if (s.leaf) return wanted_leaves_.contains(s.leaf.get());
    return leads_to_wanted_.contains(s.node.get()) || wanted_outputs_.contains(s.node.get());
  }

  // False if nothing that the node's inputs lead to is wanted.
  bool step(Node& node, std::span<Tensor> grads) {
    const std::span<SavedInput> inputs = node.inputs();
    std::unique_ptr<bool[]> needs(new bool[inputs.size()]);
    bool any = false;
    for (size_t i = 0; i < inputs.size(); ++i) any |= needs[i] = is_wanted(inputs[i]);
    if (!any) return false;
    std::vector<Tensor> result = node.vjp(grads, {needs.get(), inputs.size()}, options_.create_graph);
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (!needs[i] || !result[i].defined()) continue;
      const SavedInput& s = inputs[i];
      HEBB_CHECK(result[i].shape() == s.spec.shape,
                 "[backward] expected {} to give a gradient of shape {} for its input {}, got {}",
                 node.op().name, s.spec.shape.str(), i, result[i].shape().str());
      Tensor g = result[i].dtype() == s.spec.dtype ? std::move(result[i]) : to(result[i], s.spec.dtype);
      if (s.leaf) add_to_leaf(s.leaf, g);
      else add_to(*s.node, s.output, g);
    }
    return true;
  }

  void add_to(Node& node, int output, const Tensor& g) {
    auto [it, is_new] = grads_.try_emplace(&node);
    if (is_new) {
      it->second.resize(static_cast<size_t>(node.num_outputs()));
      queue_.push({Ref<Node>(&node)});
    }
    Tensor& sum = it->second[output];
    sum = sum.defined() ? add(sum, g) : g;
  }

  void add_to_leaf(const Ref<TensorImpl>& leaf, const Tensor& g) {
    if (capture_) {
      if (!wanted_leaves_.contains(leaf.get())) return;
      Tensor& sum = leaf_grads_[leaf.get()];
      sum = sum.defined() ? add(sum, g) : g;
    } else {
      Tensor t(leaf);
      // Each leaf has a handle of its own: what is assigned to one gradient must not show in another.
      t.set_grad(t.grad().defined() ? add(t.grad(), g) : alias(g));
    }
  }

  BackwardOptions options_;
  bool capture_;
  std::priority_queue<ByRecording> queue_;
  std::unordered_map<Node*, std::vector<Tensor>> grads_;
  std::unordered_map<Node*, std::vector<int>> wanted_outputs_;
  std::unordered_set<const TensorImpl*> wanted_leaves_;
  std::unordered_set<Node*> leads_to_wanted_;
  std::unordered_map<std::pair<Node*, int>, Tensor, OutputHash> captured_;
  std::unordered_map<const TensorImpl*, Tensor> leaf_grads_;
};

Tensor seed_for(const Tensor& output, const Tensor& g, const char* fn) {
  if (!g.defined()) {
    HEBB_CHECK(output.numel() == 1, "[{}] expected a loss of one element, or a gradient for it; got shape {}",
               fn, output.shape().str());
    return ones(output.shape(), output.dtype());
  }
  HEBB_CHECK(g.shape() == output.shape(), "[{}] expected a gradient of shape {}, got {}", fn,
             output.shape().str(), g.shape().str());
  return g.dtype() == output.dtype() ? g : to(g, output.dtype());
}

// Gradients are computed unrecorded unless a graph of them is wanted.
class RecordingScope {
 public:
  explicit RecordingScope(bool on) {
    if (on) enable_.emplace();
    else disable_.emplace();
  }

 private:
  std::optional<EnableGrad> enable_;
  std::optional<NoGrad> disable_;
};

}  // namespace

void backward(const Tensor& loss, const Tensor& g, BackwardOptions options) {
  HEBB_CHECK(!top_interpreter(),
             "[backward] expected to run outside of jvp: forward mode does not see the tape");
  HEBB_CHECK(loss.defined(), "[backward] expected a defined loss");
  HEBB_CHECK(loss.requires_grad(), "[backward] expected a loss that depends on a tensor with requires_grad");
  const RecordingScope scope(options.create_graph);
  Backward pass({}, options);
  pass.seed(loss, seed_for(loss, g, "backward"));
  pass.run();
}

std::vector<Tensor> grad(std::span<const Tensor> outputs, std::span<const Tensor> inputs,
                         std::span<const Tensor> grads, BackwardOptions options, bool allow_unused) {
  HEBB_CHECK(!top_interpreter(), "[grad] expected to run outside of jvp: forward mode does not see the tape");
  HEBB_CHECK(grads.empty() || grads.size() == outputs.size(),
             "[grad] expected {} gradients of outputs, got {}", outputs.size(), grads.size());
  std::vector<Tensor> result;
  if (inputs.empty()) return result;
  for (const Tensor& t : inputs)
    HEBB_CHECK(t.defined() && t.requires_grad(), "[grad] expected inputs with requires_grad");
  const RecordingScope scope(options.create_graph);
  Backward pass(inputs, options);
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (!outputs[i].requires_grad()) continue;
    pass.seed(outputs[i], seed_for(outputs[i], grads.empty() ? Tensor() : grads[i], "grad"));
  }
  pass.run();
  for (size_t i = 0; i < inputs.size(); ++i) {
    result.push_back(pass.captured(inputs[i]));
    HEBB_CHECK(allow_unused || result.back().defined(),
               "[grad] expected outputs that depend on input {}; they do not", i);
  }
  return result;
}

Tensor grad(const Tensor& output, const Tensor& input, const Tensor& g, BackwardOptions options) {
  const Tensor grads[] = {g};
  return grad(std::span(&output, 1), std::span(&input, 1),
              g.defined() ? std::span<const Tensor>(grads) : std::span<const Tensor>(), options)[0];
}

std::pair<std::vector<Tensor>, std::vector<Tensor>> value_and_grad(const TensorFn& fn,
                                                                   std::span<const Tensor> args) {
  std::vector<Tensor> leaves, values;
  bool create_graph = false;
  for (const Tensor& t : args) create_graph |= grad_enabled() && t.requires_grad();
  {
    const EnableGrad enable;
    for (const Tensor& t : args) leaves.push_back(t.requires_grad() ? alias(t) : t.detach().requires_grad_());
    values = fn(leaves);
  }
  HEBB_CHECK(!values.empty(), "[value_and_grad] expected a function that returns its loss, got no result");
  std::vector<Tensor> grads =
      grad(std::span(values.data(), 1), leaves, {}, {.create_graph = create_graph}, true);
  for (size_t i = 0; i < grads.size(); ++i)
    if (!grads[i].defined()) grads[i] = zeros(args[i].shape(), args[i].dtype());
  return {std::move(values), std::move(grads)};
}

}  // namespace hebb
