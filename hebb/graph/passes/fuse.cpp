// Elementwise ops that feed one another, and sums of them, become one program that passes over memory once.
#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "hebb/graph/passes.h"
#include "hebb/ops/elementwise_attrs.h"
#include "hebb/ops/fused.h"
#include "hebb/ops/table.h"
#include "hebb/ops/view_attrs.h"

namespace hebb::graph {
namespace {

constexpr size_t kMostInstructions = FusedProgram::kMostInstructions,
                 kMostOutputs = FusedProgram::kMostOutputs;
constexpr int64_t kWorthJoining = 2 * FusedProgram::kBlock;  // elements: one block has nothing to run beside

// An operand as a program reads it.
struct Operand {
  ValueId value;
  FusedOperand kind;
  bool operator<(const Operand& o) const { return std::pair(value, kind) < std::pair(o.value, o.kind); }
};
// A node that may become a part of a program.
struct Part {
  std::vector<Operand> operands;
  int64_t elements = 0;  // that it walks
  int64_t columns = -1;  // of a row; -1 where rows do not matter to it
  bool total = false;    // whether it adds up everything
};
// Nodes that become one. It runs where its last node stood: until then nothing else may read what it makes.
struct Group {
  std::vector<size_t> nodes;
  int64_t elements, columns;
  bool has_total = false, open = true;
};

// The instruction that is the node, if it is a sum or a mean that programs have.
std::optional<FusedInstruction> sum_of(const Graph& g, const Node& n) {
  if (n.op != &ops::sum && n.op != &ops::mean) return std::nullopt;
  return sum_instruction(n.attrs.as<ReduceAttrs>(), g.values[n.inputs[0]], n.op == &ops::mean);
}

// Sums right behind what they sum, so that nothing that reads the same stands between the two.
void hasten_sums(Graph& g) {
  std::vector<std::optional<size_t>> made(g.values.size());  // the place of the node that makes a value
  std::vector<std::pair<size_t, Node>> nodes;
  for (Node& n : g.nodes) {
    size_t place = nodes.size();
    if (sum_of(g, n)) place = made[n.inputs[0]].value_or(place);
    for (const ValueId v : n.outputs) made[v] = place;
    nodes.emplace_back(place, std::move(n));
  }
  std::stable_sort(nodes.begin(), nodes.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  for (size_t i = 0; i < nodes.size(); ++i) g.nodes[i] = std::move(nodes[i].second);
}

class Fusion {
 public:
  explicit Fusion(Graph& g)
      : g_(g), same_(detail::each_itself(g)), maker_(g.values.size()), group_(g.values.size()) {}

  void run() {
    for (size_t i = 0; i < g_.nodes.size(); ++i) {
      const Node& n = g_.nodes[i];
      if (n.op == &ops::reshape && is_dense(n.inputs[0])) same_[n.outputs[0]] = same_[n.inputs[0]];
      else place(i);
      for (const ValueId v : n.outputs) maker_[v] = &n;
    }
    count_readers();
    rebuild();
  }

 private:
  const Shape& shape(ValueId v) const { return g_.values[v].shape; }
  // Whether the elements lie in order without gaps: all that is no view of something else does.
  bool is_dense(ValueId v) const { return same_[v] != v || !maker_[v] || maker_[v]->op->kind != Kind::View; }

  // Whether v is a slice of rows that lie dense: its own rows then lie apart, and programs read them there.
  bool is_slice_of_rows(ValueId v) const {
    if (!maker_[v] || maker_[v]->op != &ops::slice || !is_dense(maker_[v]->inputs[0])) return false;
    const auto& a = maker_[v]->attrs.as<SliceAttrs>();
    return a.step == 1 && a.dim == shape(v).ndim() - 1 && a.dim >= 1 && g_.values[v].dtype == f32;
  }
  bool reads_slices(const Node& n) const {
    return std::any_of(n.inputs.begin(), n.inputs.end(), [&](ValueId v) { return is_slice_of_rows(v); });
  }

  // Whether one node is worth a program: its operand is read where it lies, or is near while it is made.
  bool gains_alone(const Group& group) const {
    const Node& n = g_.nodes[group.nodes[0]];
    const auto is_near = [&](ValueId v) {
      const Node* const maker = maker_[same_[v]];
      return maker && makes_rows_for_programs(g_, *maker) && shape(v).numel() == group.elements;
    };
    return reads_slices(n) ||
           (group.elements >= kWorthJoining && std::any_of(n.inputs.begin(), n.inputs.end(), is_near));
  }

  // How v is read where the result has the shape `out`.
  std::optional<Operand> operand(ValueId v, const Shape& out, int64_t* columns) const {
    if (is_slice_of_rows(v) && shape(v) == out) {
      const int64_t here = out[out.ndim() - 1];
      if (*columns >= 0 && *columns != here) return std::nullopt;
      *columns = here;
      return Operand{v, FusedOperand::dense};
    }
    if (!is_dense(v)) {
      if (maker_[v]->op != &ops::expand) return std::nullopt;
      v = maker_[v]->inputs[0];  // which broadcasts to the same
      if (!is_dense(v)) return std::nullopt;
    }
    const Shape& s = shape(v);
    if (s.numel() == out.numel()) return Operand{same_[v], FusedOperand::dense};
    if (s.numel() == 1) return Operand{same_[v], FusedOperand::scalar};
    const int lead = out.ndim() - s.ndim();
    const auto extent = [&](int d) { return d < lead ? 1 : s[d - lead]; };
    int first = 0, end = out.ndim();  // of the extents that are not repeated
    while (first < end && extent(first) == 1) ++first;
    while (first < end && extent(end - 1) == 1) --end;
    int64_t behind = 1;
    for (int d = first; d < end; ++d)
      if (extent(d) != out[d]) return std::nullopt;
    for (int d = end; d < out.ndim(); ++d) behind *= out[d];
    const bool is_row = behind == 1;
    int64_t before = 1;
    for (int d = 0; d < first; ++d) before *= out[d];
    if (!is_row && before != 1) return std::nullopt;
    const int64_t here = is_row ? s.numel() : behind;
    if (*columns >= 0 && *columns != here) return std::nullopt;
    *columns = here;
    return Operand{same_[v], is_row ? FusedOperand::row : FusedOperand::column};
  }

  std::optional<Part> part(const Node& n) const {
    Part p;
    if (n.op == &ops::fused) {
      const FusedProgram& program = *n.attrs.as<FusedAttrs>().program;
      std::vector<const TensorSpec*> specs;
      for (const ValueId v : n.inputs) specs.push_back(&g_.values[v]);
      const FusedSpace space(program, specs);
      p.elements = space.total;
      p.columns = space.columns;
      for (size_t i = 0; i < n.inputs.size(); ++i) {
        if (!is_dense(n.inputs[i])) return std::nullopt;
        p.operands.push_back({same_[n.inputs[i]], program.inputs[i]});
      }
      return p;
    }
    if (const auto sum = sum_of(g_, n)) {
      const ValueId x = n.inputs[0];
      const bool total = sum->code == kTotal;
      if (!is_dense(x) && (total || !is_slice_of_rows(x))) return std::nullopt;
      const Shape& s = shape(x);
      return Part{{{same_[x], FusedOperand::dense}}, s.numel(), total ? -1 : s[s.ndim() - 1], total};
    }
    if (n.op->elementwise < 0 || g_.values[n.outputs[0]].dtype != f32) return std::nullopt;
    p.elements = shape(n.outputs[0]).numel();
    for (const ValueId v : n.inputs) {
      if (g_.values[v].dtype != f32) return std::nullopt;
      const auto o = operand(v, shape(n.outputs[0]), &p.columns);
      if (!o) return std::nullopt;
      p.operands.push_back(*o);
    }
    return p;
  }

  bool is_sum(ValueId v) const {
    if (!maker_[v]) return false;
    const Node& n = *maker_[v];
    if (sum_of(g_, n)) return true;
    if (n.op != &ops::fused) return false;
    const FusedProgram& program = *n.attrs.as<FusedAttrs>().program;
    const auto at = std::find(n.outputs.begin(), n.outputs.end(), v) - n.outputs.begin();
    return program.maker(program.outputs[static_cast<size_t>(at)]).is_sum();
  }
  // Whether both walk the same rows, and a total of these is the same as of any others.
  static bool agree(const Group& group, const Part& p) {
    if (group.elements != p.elements) return false;
    if (group.columns >= 0 && p.columns >= 0 && group.columns != p.columns) return false;
    const int64_t columns = std::max(group.columns, p.columns);
    return columns < 0 || !(group.has_total || p.total) || totals_alike(columns);
  }
  Group* group_of(ValueId v) { return group_[v] ? &groups_[*group_[v]] : nullptr; }

  // Finds the node its group: one with those that it reads from, if it can be.
  void place(size_t i) {
    const Node& n = g_.nodes[i];
    std::optional<Part> p = part(n);
    for (const ValueId v : n.inputs)
      if (Group* const group = group_of(same_[v]); group && is_sum(same_[v])) group->open = false;
    std::vector<size_t> joined;
    size_t size = 1;
    if (p) {
      for (const Operand& o : p->operands) {
        const Group* const group = group_of(o.value);
        if (!group || !group->open || o.kind != FusedOperand::dense || !agree(*group, *p) ||
            size + group->nodes.size() > kMostInstructions / 2)
          continue;
        if (std::find(joined.begin(), joined.end(), *group_[o.value]) != joined.end()) continue;
        joined.push_back(*group_[o.value]);
        size += group->nodes.size();
        if (group->columns >= 0) p->columns = group->columns;
        p->total = p->total || group->has_total;
      }
    }
    for (const ValueId v : n.inputs) {  // what it reads from other groups must be there before it
      const auto& number = group_[same_[v]];
      if (number && std::find(joined.begin(), joined.end(), *number) == joined.end())
        groups_[*number].open = false;
    }
    if (!p) return;
    Group all{{}, p->elements, p->columns, p->total};
    for (const size_t j : joined) {
      all.nodes.insert(all.nodes.end(), groups_[j].nodes.begin(), groups_[j].nodes.end());
      groups_[j].nodes.clear();
    }
    std::sort(all.nodes.begin(), all.nodes.end());
    all.nodes.push_back(i);
    for (const size_t j : all.nodes)
      for (const ValueId v : g_.nodes[j].outputs) group_[v] = groups_.size();
    groups_.push_back(std::move(all));
  }

  // Which nodes read each value, under any of its shapes.
  void count_readers() {
    readers_.resize(g_.values.size());
    for (size_t i = 0; i < g_.nodes.size(); ++i)
      if (const Node& n = g_.nodes[i]; same_[n.outputs[0]] == n.outputs[0])
        for (const ValueId v : n.inputs) readers_[same_[v]].push_back(i);
    for (const ValueId v : g_.results) readers_[same_[v]].push_back(SIZE_MAX);
    for (const State& s : g_.states)
      if (s.after != s.before) readers_[same_[s.after]].push_back(SIZE_MAX);
  }

  // A program under construction.
  struct Draft {
    FusedProgram program;
    std::vector<ValueId> inputs, outputs;
    std::map<Operand, int> input_numbers;
    std::map<ValueId, int> made;  // within it
  };
  std::optional<Draft> draft(const Group& group) const {
    Draft d;
    std::vector<Part> parts;
    for (const size_t i : group.nodes) parts.push_back(*part(g_.nodes[i]));
    const auto inside = [&](ValueId v) {
      return maker_[v] && std::binary_search(group.nodes.begin(), group.nodes.end(),
                                             static_cast<size_t>(maker_[v] - g_.nodes.data()));
    };
    // The first dense input gives the outputs their shape, and tells how long a row is.
    const Node& end = g_.nodes[group.nodes.back()];
    const ValueId last = sum_of(g_, end) ? end.inputs[0] : end.outputs[0];
    for (const bool like_last : {true, false})
      for (const Part& p : parts)
        for (const Operand& o : p.operands)
          if (!inside(o.value) && !d.input_numbers.contains(o) &&
              (!like_last || (o.kind == FusedOperand::dense && shape(o.value) == shape(last)))) {
            d.input_numbers.emplace(o, static_cast<int>(d.inputs.size()));
            d.inputs.push_back(o.value);
            d.program.inputs.push_back(o.kind);
          }
    const auto& kinds = d.program.inputs;
    if (kinds.size() > FusedProgram::kMostInputs ||
        std::find(kinds.begin(), kinds.end(), FusedOperand::dense) == kinds.end())
      return std::nullopt;
    std::vector<const TensorSpec*> specs;
    for (const ValueId v : d.inputs) specs.push_back(&g_.values[v]);
    if (group.columns >= 0 && FusedSpace(d.program, specs).columns != group.columns) return std::nullopt;
    for (size_t k = 0; k < parts.size(); ++k) {
      const Node& n = g_.nodes[group.nodes[k]];
      std::vector<int> numbers;  // of the values that the part's own program counts
      for (const Operand& o : parts[k].operands)
        numbers.push_back(inside(o.value) ? d.made.at(o.value) : d.input_numbers.at(o));
      append(n, numbers, d);
    }
    if (d.program.instructions.size() > kMostInstructions) return std::nullopt;
    for (const auto& [v, number] : d.made) {
      const bool leaves = d.program.maker(number).is_sum() ||  // even if nothing reads it
                          std::any_of(readers_[v].begin(), readers_[v].end(), [&](size_t i) {
                            return !std::binary_search(group.nodes.begin(), group.nodes.end(), i);
                          });
      if (!leaves) continue;
      d.outputs.push_back(v);
      d.program.outputs.push_back(number);
    }
    if (d.outputs.empty() || d.outputs.size() > kMostOutputs) return std::nullopt;
    return d;
  }
  // The instructions of one node. `numbers` are of its operands in the new program.
  void append(const Node& n, std::vector<int> numbers, Draft& d) const {
    const auto add = [&](FusedInstruction i) {
      for (int& v : i.operands)
        if (v >= 0) v = numbers[static_cast<size_t>(v)];
      numbers.push_back(static_cast<int>(d.program.inputs.size() + d.program.instructions.size()));
      d.program.instructions.push_back(i);
      return numbers.back();
    };
    if (n.op == &ops::fused) {
      const FusedProgram& program = *n.attrs.as<FusedAttrs>().program;
      for (const FusedInstruction& i : program.instructions) add(i);
      for (size_t k = 0; k < n.outputs.size(); ++k)
        d.made[n.outputs[k]] = numbers[static_cast<size_t>(program.outputs[k])];
      return;
    }
    if (const auto sum = sum_of(g_, n)) {
      d.made[n.outputs[0]] = add(*sum);
      return;
    }
    const auto& a = n.attrs.as<ElementwiseAttrs>();
    FusedInstruction i{n.op->elementwise, {-1, -1, -1}, a.p, a.q};
    for (size_t k = 0; k < n.inputs.size(); ++k) i.operands[k] = static_cast<int>(k);
    d.made[n.outputs[0]] = add(i);
  }

  // The nodes anew: programs in place of groups, reshapes where a value is read under another shape.
  void rebuild() {
    std::vector<std::optional<Draft>> drafts(g_.nodes.size());  // by the node whose place the program takes
    std::vector<bool> replaced(g_.nodes.size());
    for (const Group& group : groups_) {
      if (group.nodes.empty() || (group.nodes.size() == 1 && !gains_alone(group))) continue;
      auto d = draft(group);
      if (!d) continue;
      for (const size_t i : group.nodes) replaced[i] = true;
      drafts[group.nodes.back()] = std::move(d);
    }
    std::vector<Node> old = std::move(g_.nodes);
    const auto as = [&](ValueId v) {
      const ValueId from = same_[v];
      if (from == v || !reshaped_.insert(v).second) return v;
      g_.nodes.push_back({&ops::reshape, ShapeAttrs{shape(v)}, {from}, {v}, ""});
      return v;
    };
    for (size_t i = 0; i < old.size(); ++i) {
      Node& n = old[i];
      if (drafts[i]) emit(*drafts[i], n.module);
      if (replaced[i] || same_[n.outputs[0]] != n.outputs[0]) continue;
      for (ValueId& v : n.inputs) as(v);
      g_.nodes.push_back(std::move(n));
    }
    for (const ValueId v : g_.results) as(v);
    for (const State& s : g_.states) as(s.after);
  }
  void emit(Draft& d, const std::string& module) {
    Node n = detail::new_node(g_, ops::fused, FusedAttrs{kept(d.program)}, d.inputs, module);
    std::vector<Node> shapes;
    for (size_t k = 0; k < n.outputs.size(); ++k) {
      if (shape(n.outputs[k]) == shape(d.outputs[k])) n.outputs[k] = d.outputs[k];
      else
        shapes.push_back(
            {&ops::reshape, ShapeAttrs{shape(d.outputs[k])}, {n.outputs[k]}, {d.outputs[k]}, module});
    }
    g_.nodes.push_back(std::move(n));
    for (Node& s : shapes) g_.nodes.push_back(std::move(s));
  }

  Graph& g_;
  std::vector<ValueId> same_;       // the value of which a value is a reshape
  std::vector<const Node*> maker_;  // null for arguments, states and constants
  std::vector<std::optional<size_t>> group_;
  std::vector<Group> groups_;
  std::vector<std::vector<size_t>> readers_;
  std::set<ValueId> reshaped_;
};

}  // namespace

void fuse(Graph& g) {
  hasten_sums(g);
  Fusion(g).run();
}

}  // namespace hebb::graph
