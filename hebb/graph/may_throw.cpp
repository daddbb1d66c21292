// Which nodes may refuse what they are given.
#include <map>

#include "hebb/graph/memory_plan.h"
#include "hebb/graph/passes.h"
#include "hebb/op/op.h"
#include "hebb/ops/index_attrs.h"
#include "hebb/ops/loss_attrs.h"
#include "hebb/ops/pool_attrs.h"
#include "hebb/ops/table.h"

namespace hebb::graph {
namespace {

// Indices that a node reads, or makes, and how many values they may take; those that are not counted from 0,
// or may stand for something else, are told by another number.
struct Indices {
  ValueId value;
  std::pair<int64_t, int64_t> below;
};

int64_t extent(const Shape& s, int64_t dim) { return s.ndim() ? s[static_cast<int>(dim)] : 1; }

// The indices that a node checks; nothing if it checks something else, or none are known.
std::optional<Indices> checked(const Graph& g, const Node& n) {
  const auto shape = [&](size_t i) -> const Shape& { return g.values[n.inputs[i]].shape; };
  const auto along = [&](size_t index) {
    return Indices{n.inputs[index], {extent(shape(0), n.attrs.as<IndexAttrs>().dim), 0}};
  };
  const auto classes = [&](size_t target, int64_t count) {
    return Indices{n.inputs[target], {count, n.attrs.as<ClassLossAttrs>().ignore_index}};
  };
  if (n.op == &ops::embedding) return Indices{n.inputs[0], {shape(1)[0], 0}};
  if (n.op == &ops::index_add || n.op == &ops::index_select || n.op == &ops::gather ||
      n.op == &ops::scatter_add)
    return along(1);
  if (n.op == &ops::max_pool2d_grad || n.op == &ops::max_pool2d_grad_nhwc) {
    const auto& plane = n.attrs.as<PlaneAttrs>().plane;
    return Indices{n.inputs[1], {plane[0] * plane[1], 0}};
  }
  if (n.op == &ops::cross_entropy) return classes(1, hebb::detail::ClassLayout(shape(0)).classes);
  if (n.op == &ops::cross_entropy_grad) return classes(2, hebb::detail::ClassLayout(shape(1)).classes);
  if (n.op == &ops::nll_loss) return classes(1, hebb::detail::ClassLayout(shape(0)).classes);
  if (n.op == &ops::nll_loss_grad) return classes(1, n.attrs.as<ClassLossAttrs>().classes);
  return std::nullopt;
}

// Places within the planes that a node pools.
std::optional<Indices> made(const Graph& g, const Node& n) {
  const bool joined = n.op == &ops::conv2d_max_pool2d, last = n.op == &ops::max_pool2d_nhwc;
  if (n.op != &ops::max_pool2d && n.op != &ops::adaptive_max_pool2d && !last && !joined) return std::nullopt;
  // With dilation a window may lie in the padding alone, and its place outside of the plane.
  if ((n.op == &ops::max_pool2d || last) &&
      n.attrs.as<MaxPoolAttrs>().dilation != std::array<int64_t, 2>{1, 1})
    return std::nullopt;
  std::vector<const TensorSpec*> in;
  for (const ValueId v : n.inputs) in.push_back(&g.values[v]);
  const Shape pooled = joined ? ops::conv2d.infer(in, n.attrs)[0].shape : in[0]->shape;
  const int d = pooled.ndim();
  return Indices{n.outputs[1], {last ? pooled[1] * pooled[2] : pooled[d - 2] * pooled[d - 1], 0}};
}

}  // namespace

std::vector<bool> may_throw(const Graph& g) {
  // What is known of values; of one that is all of another under other strides or shapes, of that one.
  std::vector<ValueId> whole = detail::each_itself(g);
  std::vector<ValueId> viewed = whole;  // what a value is a view of, or itself
  std::map<ValueId, std::vector<std::pair<int64_t, int64_t>>> known;
  const auto is_known = [&](const Indices& i) {
    for (ValueId v = whole[i.value];; v = whole[viewed[v]]) {
      const std::vector<std::pair<int64_t, int64_t>>& bounds = known[v];
      if (std::find(bounds.begin(), bounds.end(), i.below) != bounds.end()) return true;
      if (viewed[v] == v) return false;
    }
  };
  std::vector<bool> throwing;
  for (const Node& n : g.nodes) {
    if (n.op->view) {
      const ValueId from = n.inputs[0], to = n.outputs[0];
      viewed[to] = from;
      if (g.values[from].shape.numel() == g.values[to].shape.numel()) whole[to] = whole[from];
    }
    const auto& takes = n.op->overwrites;
    bool may = n.op->kind == Kind::Opaque && !n.op->never_throws && !n.op->overwrites_last &&
               std::all_of(takes.begin(), takes.end(), [](int input) { return input < 0; });
    if (const auto indices = checked(g, n)) {
      may = !is_known(*indices);
      known[whole[indices->value]].push_back(indices->below);
    }
    if (const auto places = made(g, n)) known[places->value].push_back(places->below);
    throwing.push_back(may);
  }
  return throwing;
}

}  // namespace hebb::graph
