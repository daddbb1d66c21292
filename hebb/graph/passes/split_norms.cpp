#include "hebb/graph/passes.h"
#include "hebb/ops/fused.h"
#include "hebb/ops/norm_attrs.h"
#include "hebb/ops/op_support.h"
#include "hebb/ops/table.h"

namespace hebb::graph {
namespace {

using Kind = FusedOperand;
constexpr int kSub = static_cast<int>(hebb::detail::Expr::sub);

// Of x, mean, scale and bias.
const FusedProgram& normalize() {
  static const FusedProgram program{
      {Kind::dense, Kind::row, Kind::row, Kind::row}, {{kSub, {0, 1, -1}}, {kMultiplyAdd, {4, 2, 3}}}, {5}};
  return program;
}
// Of g, x and mean: the sums of g (x - mean) and of g.
const FusedProgram& gradient_sums() {
  static const FusedProgram program{{Kind::dense, Kind::dense, Kind::row},
                                    {{kSub, {1, 2, -1}}, {kColumnDot, {0, 3, -1}}, {kColumnSum, {0, -1, -1}}},
                                    {4, 5}};
  return program;
}
// Of g, x, mean and the three factors.
const FusedProgram& gradient() {
  static const FusedProgram program{
      {Kind::dense, Kind::dense, Kind::row, Kind::row, Kind::row, Kind::row},
      {{kSub, {1, 2, -1}}, {kMultiplyAdd, {6, 4, 5}}, {kMultiplyAdd, {0, 3, 7}}},
      {8}};
  return program;
}

}  // namespace

void split_norms(Graph& g) {
  std::vector<Node> nodes;
  for (Node& n : g.nodes) {
    const bool backward = n.op == &ops::batch_norm_grad;
    const TensorSpec& x = g.values[n.inputs.empty() ? 0 : n.inputs[0]];
    if ((n.op != &ops::batch_norm && !backward) || x.shape.ndim() != 2 || x.dtype != f32) {
      nodes.push_back(std::move(n));
      continue;
    }
    // Outputs of the whole are outputs of its parts.
    const auto add = [&](const OpDef& op, Attrs attrs, std::vector<ValueId> inputs) -> std::vector<ValueId>& {
      nodes.push_back(detail::new_node(g, op, std::move(attrs), std::move(inputs), n.module));
      return nodes.back().outputs;
    };
    const double eps = n.attrs.as<BatchNormAttrs>().eps;
    const int64_t count = x.shape[0];
    const auto& in = n.inputs;
    if (backward) {
      auto& sums = add(ops::fused, FusedAttrs{kept(gradient_sums())}, {in[0], in[3], in[5]});
      sums[1] = n.outputs[2];
      auto& factors = add(ops::batch_norm_grad_factors, BatchNormFactorsAttrs{eps, count},
                          {sums[1], sums[0], in[1], in[2], in[4], in[6]});
      factors[3] = n.outputs[1];
      add(ops::fused, FusedAttrs{kept(gradient())},
          {in[0], in[3], in[5], factors[0], factors[1], factors[2]}) = {n.outputs[0]};
    } else {
      add(ops::batch_norm_moments, hebb::detail::NoAttrs{}, {in[0]}) = {n.outputs[1], n.outputs[2]};
      const ValueId scale = add(ops::batch_norm_scale, BatchNormAttrs{eps}, {in[1], n.outputs[2]})[0];
      add(ops::fused, FusedAttrs{kept(normalize())}, {in[0], n.outputs[1], scale, in[2]}) = {n.outputs[0]};
    }
  }
  g.nodes = std::move(nodes);
}

}  // namespace hebb::graph
