// Convolutions of many channels run fastest on images [N, H, W, C]. This pass changes them over, and with
// them all between them that can follow; images are turned where the graph enters and leaves that layout, and
// only if the convolutions gain more than this costs.
#include "hebb/ops/channels_last.h"

#include <algorithm>

#include "hebb/graph/passes.h"
#include "hebb/ops/conv_attrs.h"
#include "hebb/ops/elementwise_attrs.h"
#include "hebb/ops/index_attrs.h"
#include "hebb/ops/op_support.h"
#include "hebb/ops/reduce_attrs.h"
#include "hebb/ops/table.h"
#include "hebb/ops/view_attrs.h"

namespace hebb::graph {
namespace {

constexpr int64_t kLeastChannels = 16;
// Multiply-adds that must change over for each byte that is turned: they gain about a fifth of their time.
constexpr int64_t kLeastWork = 50;

class Changeover {
 public:
  explicit Changeover(Graph& g)
      : g_(g), old_values_(g.values.size()), twin_(old_values_, -1), made_(old_values_) {
    for (const ValueId v : g.arguments) made_[v] = true;
    for (const State& s : g.states) made_[s.before] = true;
    for (const Constant& c : g.constants) made_[c.value] = true;
  }
  void run() {
    std::vector<Node> nodes = std::move(g_.nodes);
    for (Node& n : nodes) {
      module_ = n.module;
      if (convolution(n) || pooling(n) || normalization(n) || elementwise(n) || reduction(n) || joining(n))
        continue;
      keep(std::move(n));
    }
    module_.clear();
    for (const ValueId v : g_.results) first(v);
    for (const State& s : g_.states) first(s.after);
    g_.nodes = std::move(nodes_);
  }
  bool pays() const { return work_ > kLeastWork * turned_bytes_; }

 private:
  bool is_image(ValueId v) const { return g_.values[v].shape.ndim() == 4; }
  bool has_twin(ValueId v) const { return twin_[v] >= 0; }
  /// Whether one of these is in the new layout, and the others are images that can be brought there.
  bool follows(std::span<const ValueId> images) const {
    return std::any_of(images.begin(), images.end(), [&](ValueId v) { return has_twin(v); }) &&
           std::all_of(images.begin(), images.end(),
                       [&](ValueId v) { return has_twin(v) || (is_image(v) && g_.values[v].dtype == f32); });
  }

  // Appends a node; its outputs are new values.
  std::vector<ValueId> add(const OpDef& op, Attrs attrs, std::vector<ValueId> inputs) {
    nodes_.push_back(detail::new_node(g_, op, std::move(attrs), std::move(inputs), module_));
    return nodes_.back().outputs;
  }
  // Appends a node whose output is the old value `out`.
  void add_as(ValueId out, const OpDef& op, Attrs attrs, std::vector<ValueId> inputs) {
    nodes_.push_back({&op, std::move(attrs), std::move(inputs), {out}, module_});
    made_[out] = true;
  }
  ValueId reshaped(ValueId v, const Shape& shape) { return add(ops::reshape, ShapeAttrs{shape}, {v})[0]; }

  /// The value in the old layout.
  ValueId first(ValueId v) {
    if (made_[v]) return v;
    if (turning_is_reshape(v)) {
      add_as(v, ops::reshape, ShapeAttrs{g_.values[v].shape}, {twin_[v]});
    } else {
      turned_bytes_ += size_in_bytes(g_.values[v]);
      add_as(v, ops::nhwc_to_nchw, hebb::detail::NoAttrs{}, {twin_[v]});
    }
    return v;
  }
  /// The value in the new layout.
  ValueId last(ValueId v) {
    if (has_twin(v)) return twin_[v];
    const Shape shape = g_.values[v].shape;
    if (turning_is_reshape(v)) return twin_[v] = reshaped(v, to_nhwc_shape(shape));
    turned_bytes_ += size_in_bytes(g_.values[v]);
    return twin_[v] = add(ops::nchw_to_nhwc, hebb::detail::NoAttrs{}, {v})[0];
  }
  bool turning_is_reshape(ValueId v) const {
    const Shape& s = g_.values[v].shape;
    return s[1] == 1 || s[2] * s[3] == 1;
  }

  void keep(Node n) {
    for (ValueId& v : n.inputs) v = first(v);
    for (const ValueId v : n.outputs) made_[v] = true;
    nodes_.push_back(std::move(n));
  }
  // n by the op of images whose channels are last.
  void change_over(const Node& n, const ops::ChannelsLast& entry) {
    std::vector<ValueId> inputs;
    for (size_t i = 0; i < n.inputs.size(); ++i)
      inputs.push_back(entry.inputs >> i & 1 ? last(n.inputs[i]) : first(n.inputs[i]));
    finish(n, add(*entry.last, n.attrs, std::move(inputs)), entry.outputs);
  }
  // New values stand for the outputs of n: those of the mask as twins, the others in their place.
  void finish(const Node& n, const std::vector<ValueId>& made, uint32_t images) {
    for (size_t i = 0; i < made.size(); ++i) {
      if (images >> i & 1) {
        twin_[n.outputs[i]] = made[i];
      } else {
        nodes_.back().outputs[i] = n.outputs[i];
        made_[n.outputs[i]] = true;
      }
    }
  }
  static const ops::ChannelsLast* entry_of(const OpDef* op) {
    for (const ops::ChannelsLast& e : ops::channels_last())
      if (e.first == op) return &e;
    return nullptr;
  }

  bool convolution(const Node& n) {
    const ops::ChannelsLast* entry = entry_of(n.op);
    if (!entry || n.op->kind != Kind::Contract) return false;
    const TensorSpec& weight = g_.values[n.op == &ops::conv2d_weight_grad ? n.outputs[0] : n.inputs[1]];
    // An image of few channels is soon turned: what it becomes is not. Of pixels each by itself few may come.
    const bool pointwise = weight.shape[2] * weight.shape[3] == 1 && weight.shape[1] >= kLeastChannels;
    if (weight.dtype != f32 || n.attrs.as<Conv2dAttrs>().groups != 1 ||
        (weight.shape[0] < kLeastChannels && !pointwise) ||
        (n.op == &ops::conv2d_input_grad && weight.shape[1] < kLeastChannels))
      return false;
    work_ += multiply_adds(g_, n);
    change_over(n, *entry);
    return true;
  }
  bool pooling(const Node& n) {
    const ops::ChannelsLast* entry = entry_of(n.op);
    if (!entry || n.op->kind == Kind::Contract || !is_image(n.inputs[0]) || !has_twin(n.inputs[0]))
      return false;
    change_over(n, *entry);
    return true;
  }

  // Of the rows [N H W, C].
  bool normalization(const Node& n) {
    const bool backward = n.op == &ops::batch_norm_grad;
    if (n.op != &ops::batch_norm && !backward) return false;
    const ValueId x = n.inputs[backward ? 3 : 0];
    const std::vector<ValueId> images = backward ? std::vector{n.inputs[0], x} : std::vector{x};
    if (!follows(images)) return false;
    const Shape image = to_nhwc_shape(g_.values[x].shape), rows{image[0] * image[1] * image[2], image[3]};
    std::vector<ValueId> inputs;
    for (const ValueId v : n.inputs) inputs.push_back(is_image(v) ? reshaped(last(v), rows) : first(v));
    const std::vector<ValueId> made = add(*n.op, n.attrs, std::move(inputs));
    finish(n, made, 1);
    twin_[n.outputs[0]] = reshaped(made[0], image);
    return true;
  }

  bool elementwise(const Node& n) {
    const ValueId out = n.outputs[0];
    if (n.op->elementwise < 0 || !is_image(out)) return false;
    const Shape& shape = g_.values[out].shape;
    std::vector<ValueId> images;
    for (const ValueId v : n.inputs) {
      if (g_.values[v].shape == shape) images.push_back(v);
      else if (g_.values[v].shape.numel() != 1 && !is_channel_vector(v, shape)) return false;
    }
    if (!follows(images)) return false;
    std::vector<ValueId> inputs;
    for (const ValueId v : n.inputs) {
      if (g_.values[v].shape == shape) inputs.push_back(last(v));
      else if (is_channel_vector(v, shape)) inputs.push_back(reshaped(first(v), {shape[1]}));
      else inputs.push_back(first(v));
    }
    finish(n, add(*n.op, n.attrs, std::move(inputs)), 1);
    return true;
  }
  // [C, 1, 1] or [1, C, 1, 1].
  bool is_channel_vector(ValueId v, const Shape& image) const {
    const Shape& s = g_.values[v].shape;
    return s.ndim() >= 3 && s.numel() == image[1] && s[s.ndim() - 3] == image[1];
  }

  // Over height and width at least, so that what is left is in the same order.
  bool reduction(const Node& n) {
    if ((n.op != &ops::sum && n.op != &ops::mean) || !is_image(n.inputs[0]) || !has_twin(n.inputs[0]))
      return false;
    ReduceAttrs a = n.attrs.as<ReduceAttrs>();
    const bool height = a.dims >> 2 & 1, width = a.dims >> 3 & 1;
    if (!height || !width || (a.keepdim && !is_image(n.outputs[0]))) return false;
    a.dims = (a.dims & 1) | 6 | (a.dims & 2) << 2;
    finish(n, add(*n.op, a, {last(n.inputs[0])}), a.keepdim ? 1 : 0);
    return true;
  }

  // Of channels: cat, slice and its gradient.
  bool joining(const Node& n) {
    if (n.inputs.empty() || !is_image(n.inputs[0]) || !follows(n.inputs)) return false;
    Attrs attrs;
    if (n.op == &ops::cat && n.attrs.as<CatAttrs>().dim == 1) {
      attrs = CatAttrs{3};
    } else if ((n.op == &ops::slice || n.op == &ops::slice_grad) && n.attrs.as<SliceAttrs>().dim == 1) {
      SliceAttrs a = n.attrs.as<SliceAttrs>();
      a.dim = 3;
      if (a.input.ndim() == 4) a.input = to_nhwc_shape(a.input);
      attrs = a;
    } else {
      return false;
    }
    std::vector<ValueId> inputs;
    for (const ValueId v : n.inputs) inputs.push_back(last(v));
    finish(n, add(*n.op, std::move(attrs), std::move(inputs)), 1);
    return true;
  }

  Graph& g_;
  const size_t old_values_;
  std::vector<ValueId> twin_;  // by old value: the same in the new layout, or -1
  std::vector<bool> made_;     // by old value: whether it exists in the old layout
  std::vector<Node> nodes_;
  std::string module_;
  int64_t work_ = 0, turned_bytes_ = 0;
};

}  // namespace

void channels_last(Graph& g) {
  Graph changed = g;
  Changeover changeover(changed);
  changeover.run();
  if (changeover.pays()) g = std::move(changed);
}

}  // namespace hebb::graph
