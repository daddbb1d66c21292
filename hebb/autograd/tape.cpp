#include "hebb/autograd/tape.h"

#include <atomic>

#include "hebb/autograd/grad.h"
#include "hebb/core/check.h"
#include "hebb/ops/creation.h"
#include "hebb/ops/view.h"

namespace hebb {
namespace {
thread_local bool recording = true;
std::atomic<uint64_t> next_sequence{1};
}  // namespace

NoGrad::NoGrad() : previous_(std::exchange(recording, false)) {}
NoGrad::~NoGrad() { recording = previous_; }
EnableGrad::EnableGrad() : previous_(std::exchange(recording, true)) {}
EnableGrad::~EnableGrad() { recording = previous_; }
bool grad_enabled() { return recording; }

namespace detail {

Interpreter& default_interpreter() {
  static Tape tape;
  return tape;
}

Outputs Tape::apply(const OpDef& op, const Attrs& attrs, std::span<const Tensor> inputs) {
  Outputs out = base_interpreter().apply(op, attrs, inputs);
  if (!recording || op.gradient == Gradient::None) return out;
  bool any = false;
  for (const Tensor& t : inputs) any = any || t.requires_grad();
  if (!any) return out;
  for (size_t i = 0; op.constant_inputs >> i && i < inputs.size(); ++i)
    HEBB_CHECK(!(op.constant_inputs >> i & 1u) || !inputs[i].requires_grad(),
               "[{}] expected input {} without requires_grad: no gradient flows to it", op.name, i);
  Ref<Node> node;
  for (int i = 0; i < out.size(); ++i) {
    if (!is_float(out[i].dtype())) continue;
    if (!node) node = make_ref<Node>(op, attrs, inputs, out);
    GradState& g = grad_state(out[i]);
    g.node = node;
    g.output = i;
    g.requires_grad = true;
  }
  return out;
}

Node::Node(const OpDef& op, const Attrs& attrs, std::span<const Tensor> inputs,
           std::span<const Tensor> outputs)
    : op_(op),
      attrs_(attrs),
      sequence_(next_sequence.fetch_add(1, std::memory_order_relaxed)),
      num_inputs_(static_cast<uint32_t>(inputs.size())),
      inputs_(new SavedInput[inputs.size()]) {
  // A gradient taken through `decompose` runs the op again and so reads all inputs.
  const uint32_t inputs_read = op.vjp ? op.saves_inputs : ~0u;
  for (uint32_t i = 0; i < num_inputs_; ++i) {
    const TensorImpl* impl = inputs[i].impl();
    SavedInput& s = inputs_[i];
    s.spec = impl->spec;
    if (inputs_read >> std::min(i, 31u) & 1u) {
      s.storage = impl->storage;
      s.offset = impl->offset;
    }
    if (!impl->grad || !impl->grad->requires_grad) continue;
    s.needs = true;
    if (impl->grad->node) {
      s.node = Ref<Node>(static_cast<Node*>(impl->grad->node.get()));
      s.output = impl->grad->output;
    } else {
      s.leaf = impl->grad->leaf_of ? impl->grad->leaf_of : Ref<TensorImpl>(inputs[i].impl());
    }
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    SavedOutput s{outputs[i].spec(), nullptr, 0};
    if (op.saves_outputs >> i & 1u) {
      s.storage = outputs[i].impl()->storage;
      s.offset = outputs[i].impl()->offset;
    }
    outputs_.push_back(std::move(s));
  }
}

// A chain of nodes is taken apart by a list, not by recursion: long tapes must not overflow the stack.
Node::~Node() {
  thread_local std::vector<Ref<Node>>* doomed = nullptr;
  auto hand_over = [&](std::vector<Ref<Node>>& list) {
    for (SavedInput& s : inputs()) {
      if (!s.node) continue;
      // Not the last owner: let go here, so that of two edges to one node (x * x) the second is the last.
      if (s.node->use_count() == 1) list.push_back(std::move(s.node));
      else s.node = nullptr;
    }
  };
  if (doomed) {
    hand_over(*doomed);
    return;
  }
  std::vector<Ref<Node>> list;
  doomed = &list;
  hand_over(list);
  while (!list.empty()) {
    const Ref<Node> last = std::move(list.back());
    list.pop_back();
  }
  doomed = nullptr;
}

void Node::release() {
  released_ = true;
  for (SavedInput& s : inputs()) s.storage = nullptr;
  for (SavedOutput& s : outputs_) s.storage = nullptr;
}

Tensor Node::unpack(const SavedInput& s, bool connect) const {
  if (!s.storage) return Tensor::meta(s.spec);
  Tensor t = Tensor::view(s.storage, s.spec, s.offset);
  if (connect && s.needs) {
    GradState& g = grad_state(t);
    g.requires_grad = true;
    g.node = s.node;
    g.output = s.output;
    g.leaf_of = s.leaf;
  }
  return t;
}

Tensor Node::unpack(const SavedOutput& s, int index, bool connect) {
  if (!s.storage) return Tensor::meta(s.spec);
  Tensor t = Tensor::view(s.storage, s.spec, s.offset);
  if (connect) {
    GradState& g = grad_state(t);
    g.requires_grad = true;
    g.node = Ref<RefCounted>(this);
    g.output = index;
  }
  return t;
}

namespace {

// The gradient of an op that names the plain ops it equals: run those, recorded, and go backward through
// them.
std::vector<Tensor> vjp_by_decompose(const OpDef& op, const VjpArgs& args, bool create_graph) {
  std::vector<Tensor> fresh, wanted;
  Outputs out;
  {
    const EnableGrad enable;
    for (size_t i = 0; i < args.inputs.size(); ++i) {
      // alias() gives a node of its own, so that one input's dependence on another is not followed.
      fresh.push_back(args.inputs[i].requires_grad() ? alias(args.inputs[i]) : args.inputs[i]);
      if (!args.needs[i]) continue;
      if (!fresh.back().requires_grad()) fresh.back() = args.inputs[i].detach().requires_grad_();
      wanted.push_back(fresh.back());
    }
    out = op.decompose(args.attrs, fresh);
  }
  const std::vector<Tensor> found = grad(out, wanted, args.grads, {.create_graph = create_graph}, true);
  std::vector<Tensor> result(args.inputs.size());
  for (size_t i = 0, j = 0; i < result.size(); ++i)
    if (args.needs[i]) result[i] = found[j++];
  return result;
}

}  // namespace

std::vector<Tensor> Node::vjp(std::span<Tensor> grads, std::span<const bool> needs, bool create_graph) {
  HEBB_CHECK(!released_,
             "[backward] expected the values saved by {}, which an earlier backward has freed; pass "
             "retain_graph to the first",
             op_.name);
  if (op_.gradient == Gradient::Zeros) {
    std::vector<Tensor> zeros_(num_inputs_);
    for (uint32_t i = 0; i < num_inputs_; ++i)
      if (needs[i]) zeros_[i] = zeros(inputs_[i].spec.shape, inputs_[i].spec.dtype);
    return zeros_;
  }
  HEBB_CHECK(op_.vjp || op_.decompose, "[backward] {} has no gradient", op_.name);
  std::vector<Tensor> in, out;
  for (const SavedInput& s : inputs()) in.push_back(unpack(s, create_graph));
  for (int i = 0; i < outputs_.size(); ++i) {
    out.push_back(unpack(outputs_[i], i, create_graph));
    if (!grads[i].defined() && !op_.takes_absent_grads)
      grads[i] = zeros(outputs_[i].spec.shape, outputs_[i].spec.dtype);
  }
  const VjpArgs args{attrs_, in, out, grads, needs};
  std::vector<Tensor> result = op_.vjp ? op_.vjp(args) : vjp_by_decompose(op_, args, create_graph);
  HEBB_CHECK(result.size() == num_inputs_, "[backward] expected {} gradients from {}, got {}", num_inputs_,
             op_.name, result.size());
  return result;
}

}  // namespace detail
}  // namespace hebb
