#include <algorithm>
#include <optional>
#include <unordered_map>

#include "hebb/graph/passes.h"
#include "hebb/ops/index_attrs.h"
#include "hebb/ops/matmul_attrs.h"
#include "hebb/ops/table.h"
#include "hebb/ops/view_attrs.h"

namespace hebb::graph {
namespace {

// What rules may ask of the graph around a node.
struct Context {
  const Graph& graph;
  std::unordered_map<ValueId, size_t> maker;    // the node that makes a value
  std::unordered_map<ValueId, double> numbers;  // constants all of whose elements are one number

  const TensorSpec& spec(ValueId v) const { return graph.values[v]; }
  bool same_spec(ValueId a, ValueId b) const {
    return spec(a).shape == spec(b).shape && spec(a).dtype == spec(b).dtype;
  }
  bool is_number(ValueId v, double number) const {
    const auto it = numbers.find(v);
    return it != numbers.end() && it->second == number;
  }
  const Node* made_by(ValueId v, const OpDef& op) const {
    const auto it = maker.find(v);
    return it != maker.end() && graph.nodes[it->second].op == &op ? &graph.nodes[it->second] : nullptr;
  }
};

// The value that a node's only output equals, if it is there already.
std::optional<ValueId> equal_to(const Node& n, const Context& c) {
  const ValueId out = n.outputs[0];
  // Values never change, so that a copy or an alias is the value itself.
  for (const OpDef* op : {&ops::alias, &ops::clone, &ops::reshape, &ops::expand, &ops::cast})
    if (n.op == op && c.same_spec(n.inputs[0], out)) return n.inputs[0];
  // x * 1, 1 * x, x / 1, x - 0. (x + 0 is not x where x is -0.)
  for (int i = 0; i < 2; ++i)
    if (n.op == &ops::mul && c.is_number(n.inputs[1 - i], 1) && c.same_spec(n.inputs[i], out))
      return n.inputs[i];
  if (n.op == &ops::div && c.is_number(n.inputs[1], 1) && c.same_spec(n.inputs[0], out)) return n.inputs[0];
  if (n.op == &ops::sub && c.is_number(n.inputs[1], 0) && c.same_spec(n.inputs[0], out)) return n.inputs[0];
  // -(-x)
  if (n.op == &ops::neg)
    if (const Node* inner = c.made_by(n.inputs[0], ops::neg)) return inner->inputs[0];
  return std::nullopt;
}

// A sum of gradients of slices along one dimension that cover it is one join of them: what a projection to
// queries, keys and values at once gets back. (But for the sign of zeros.)
std::optional<Node> as_join(const Node& n, const Context& c) {
  if (n.op != &ops::add) return std::nullopt;
  std::vector<const Node*> parts;
  std::vector<ValueId> open(n.inputs.rbegin(), n.inputs.rend());
  while (!open.empty()) {
    const ValueId v = open.back();
    open.pop_back();
    if (const Node* part = c.made_by(v, ops::slice_grad)) parts.push_back(part);
    else if (const Node* sum = c.made_by(v, ops::add))
      open.insert(open.end(), sum->inputs.rbegin(), sum->inputs.rend());
    else return std::nullopt;
  }
  const auto attrs = [](const Node* p) -> const SliceAttrs& { return p->attrs.as<SliceAttrs>(); };
  std::sort(parts.begin(), parts.end(),
            [&](const Node* a, const Node* b) { return attrs(a).start < attrs(b).start; });
  const int64_t dim = attrs(parts[0]).dim;
  int64_t end = 0;
  std::vector<ValueId> inputs;
  for (const Node* p : parts) {
    const SliceAttrs& a = attrs(p);
    if (a.dim != dim || a.step != 1 || a.start != end || !(a.input == attrs(parts[0]).input))
      return std::nullopt;
    end += c.spec(p->inputs[0]).shape[static_cast<int>(dim)];
    inputs.push_back(p->inputs[0]);
  }
  if (end != c.spec(n.outputs[0]).shape[static_cast<int>(dim)]) return std::nullopt;
  return Node{&ops::cat, CatAttrs{dim}, std::move(inputs), n.outputs, n.module};
}

// Whether a node swaps the last two dimensions and leaves the others.
bool is_transpose(const Node& n, const Context& c) {
  const auto& dims = n.attrs.as<PermuteAttrs>().dims;
  const int last = c.spec(n.outputs[0]).shape.ndim() - 1;
  if (last < 1 || dims[last] != last - 1 || dims[last - 1] != last) return false;
  for (int d = 0; d < last - 1; ++d)
    if (dims[d] != d) return false;
  return true;
}

// A product of a transposed operand reads the operand itself, by columns.
void read_untransposed(Node& n, const Context& c) {
  if (n.op != &ops::matmul) return;
  auto attrs = n.attrs.as<MatmulAttrs>();
  for (int i = 0; i < 2; ++i) {
    const Node* const permute = c.made_by(n.inputs[i], ops::permute);
    if (!permute || !is_transpose(*permute, c)) continue;
    n.inputs[i] = permute->inputs[0];
    bool& transposed = i == 0 ? attrs.trans_a : attrs.trans_b;
    transposed = !transposed;
  }
  n.attrs = attrs;
}

}  // namespace

void simplify(Graph& g) {
  Context c{g, {}, {}};
  for (const Constant& k : g.constants) {
    if (k.tensor.numel() == 0) continue;
    const auto v = k.tensor.to_vector<double>();
    if (std::all_of(v.begin(), v.end(), [&](double x) { return x == v[0]; }))
      c.numbers.emplace(k.value, v[0]);
  }
  std::vector<ValueId> to = detail::each_itself(g);
  for (size_t i = 0; i < g.nodes.size(); ++i) {
    Node& n = g.nodes[i];
    for (ValueId& v : n.inputs) v = to[v];
    // A reshape of a reshape is one reshape.
    if (n.op == &ops::reshape)
      if (const Node* inner = c.made_by(n.inputs[0], ops::reshape)) n.inputs[0] = inner->inputs[0];
    read_untransposed(n, c);
    if (auto join = as_join(n, c)) n = std::move(*join);
    if (n.outputs.size() == 1)
      if (const auto same = equal_to(n, c)) to[n.outputs[0]] = *same;
    for (const ValueId v : n.outputs) c.maker.emplace(v, i);
  }
  detail::replace_values(g, to);
}

}  // namespace hebb::graph
