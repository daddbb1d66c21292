#include "hebb/graph/graph.h"

#include <algorithm>

#include "hebb/core/check.h"

namespace hebb::graph {
namespace {

std::string text_of(const TensorSpec& s) { return fmt::format("{} {}", name_of(s.dtype), s.shape.str()); }

std::string list_of(const std::vector<ValueId>& values) {
  std::string out;
  for (const ValueId v : values) out += fmt::format("{}%{}", out.empty() ? "" : ", ", v);
  return out;
}

// Where values come from, for texts: "argument 0", "state 3".
template <class F>
void each_source(const Graph& g, F&& fn) {
  for (size_t i = 0; i < g.arguments.size(); ++i) fn(g.arguments[i], fmt::format("argument {}", i));
  for (size_t i = 0; i < g.states.size(); ++i) fn(g.states[i].before, fmt::format("state {}", i));
  for (const Constant& c : g.constants) {
    const bool number = c.tensor.numel() == 1;
    fn(c.value, number ? fmt::format("constant {}", c.tensor.item<double>()) : std::string("constant"));
  }
}

}  // namespace

ValueId Graph::add_value(const TensorSpec& spec) {
  values.emplace_back(spec.shape, spec.dtype, spec.device);
  return static_cast<ValueId>(values.size() - 1);
}

std::vector<int> Graph::uses() const {
  std::vector<int> n(values.size());
  for (const Node& node : nodes)
    for (const ValueId v : node.inputs) ++n[v];
  for (const ValueId v : results) ++n[v];
  for (const State& s : states)
    if (s.after != s.before) ++n[s.after];
  return n;
}

std::string Graph::str() const {
  std::string out;
  each_source(*this, [&](ValueId v, const std::string& what) {
    out += fmt::format("%{} {} = {}\n", v, text_of(values[v]), what);
  });
  for (const Node& n : nodes) {
    std::string made;
    for (const ValueId v : n.outputs)
      made += fmt::format("{}%{} {}", made.empty() ? "" : ", ", v, text_of(values[v]));
    const std::string attrs = n.attrs.str();
    out += fmt::format("{} = {}({}){}{}{}{}\n", made, n.op->name, list_of(n.inputs), attrs.empty() ? "" : " ",
                       attrs, n.module.empty() ? "" : " in ", n.module);
  }
  for (size_t i = 0; i < states.size(); ++i)
    if (states[i].after != states[i].before) out += fmt::format("state {} becomes %{}\n", i, states[i].after);
  return out + fmt::format("return {}\n", list_of(results));
}

std::string Graph::dot() const {
  std::string out = "digraph {\n  node [shape=box, fontname=Helvetica]\n";
  std::vector<std::string> maker(values.size());
  each_source(*this, [&](ValueId v, const std::string& what) {
    maker[v] = fmt::format("v{}", v);
    out += fmt::format("  v{} [label=\"{}\\n{}\", style=rounded]\n", v, what, text_of(values[v]));
  });
  for (size_t i = 0; i < nodes.size(); ++i) {
    const Node& n = nodes[i];
    out += fmt::format("  n{} [label=\"{}{}{}\"]\n", i, n.op->name, n.module.empty() ? "" : "\\n", n.module);
    for (const ValueId v : n.outputs) maker[v] = fmt::format("n{}", i);
    for (const ValueId v : n.inputs)
      out += fmt::format("  {} -> n{} [label=\"{}\"]\n", maker[v], i, text_of(values[v]));
  }
  auto end = [&](const std::string& name, const std::string& label, ValueId v) {
    out += fmt::format("  {} [label=\"{}\", style=rounded]\n  {} -> {}\n", name, label, maker[v], name);
  };
  for (size_t i = 0; i < results.size(); ++i)
    end(fmt::format("r{}", i), fmt::format("result {}", i), results[i]);
  for (size_t i = 0; i < states.size(); ++i)
    if (states[i].after != states[i].before)
      end(fmt::format("s{}", i), fmt::format("state {}", i), states[i].after);
  return out + "}\n";
}

int64_t multiply_adds(const Graph& g, const Node& n) {
  if (!n.op->multiply_adds) return 0;
  std::vector<const TensorSpec*> in;
  for (const ValueId v : n.inputs) in.push_back(&g.values[v]);
  Specs out;
  for (const ValueId v : n.outputs) out.push_back(g.values[v]);
  return n.op->multiply_adds(in, out, n.attrs);
}

Needs needs_of(const Graph& g) {
  const auto bytes = [&](ValueId v) { return size_in_bytes(g.values[v]); };
  Needs needs;
  for (const ValueId v : g.arguments) needs.bytes += bytes(v);
  for (const State& s : g.states) needs.bytes += bytes(s.before) * (s.after == s.before ? 1 : 2);
  for (const Node& n : g.nodes) {
    const int64_t work = multiply_adds(g, n);
    needs.multiply_adds += work;
    if (work > 0)
      for (const ValueId v : n.outputs) needs.bytes += 2 * bytes(v);
  }
  return needs;
}

std::vector<bool> steady_values(const Graph& g) {
  std::vector<bool> steady(g.values.size()), leaves(g.values.size());
  for (const Constant& c : g.constants) steady[c.value] = true;
  for (const State& s : g.states) steady[s.before] = s.after == s.before;
  // What leaves is made anew each time, since its receiver may change it; so is what it is a view of.
  for (const ValueId v : g.results) leaves[v] = true;
  for (const State& s : g.states) leaves[s.after] = true;
  for (auto n = g.nodes.rbegin(); n != g.nodes.rend(); ++n)
    if (n->op->kind == Kind::View && leaves[n->outputs[0]]) leaves[n->inputs[0]] = true;
  for (const Node& n : g.nodes) {
    // (Constants too large to be kept have no inputs.)
    const bool all = !n.inputs.empty() && n.op->kind != Kind::Random &&
                     std::all_of(n.inputs.begin(), n.inputs.end(), [&](ValueId v) { return steady[v]; }) &&
                     std::none_of(n.outputs.begin(), n.outputs.end(), [&](ValueId v) { return leaves[v]; });
    for (const ValueId v : n.outputs) steady[v] = all;
  }
  return steady;
}

void verify(const Graph& g, const std::string& after) {
  std::vector<bool> made(g.values.size());
  auto expect = [&](bool ok, const std::string& what) {
    if (!ok) hebb::detail::fail("[verify] after {}: {}\n{}", after, what, g.str());
  };
  auto make = [&](ValueId v, const std::string& by) {
    expect(v >= 0 && v < static_cast<ValueId>(g.values.size()), fmt::format("{} makes %{}", by, v));
    expect(!made[v], fmt::format("expected %{} to be made once, {} makes it again", v, by));
    made[v] = true;
  };
  each_source(g, make);
  for (const Constant& c : g.constants)
    expect(c.tensor.shape() == g.values[c.value].shape && c.tensor.dtype() == g.values[c.value].dtype,
           fmt::format("expected the constant %{} to be {}", c.value, text_of(g.values[c.value])));
  for (const Node& n : g.nodes) {
    std::vector<const TensorSpec*> in;
    for (const ValueId v : n.inputs) {
      expect(v >= 0 && v < static_cast<ValueId>(made.size()) && made[v],
             fmt::format("{} reads %{}, which is not made before it", n.op->name, v));
      in.push_back(&g.values[v]);
    }
    const Specs out = n.op->infer(in, n.attrs);
    expect(out.size() == static_cast<int>(n.outputs.size()),
           fmt::format("expected {} outputs of {}", out.size(), n.op->name));
    for (int i = 0; i < out.size(); ++i) {
      make(n.outputs[i], std::string(n.op->name));
      const TensorSpec& is = g.values[n.outputs[i]];
      expect(is.shape == out[i].shape && is.dtype == out[i].dtype,
             fmt::format("expected %{} to be {}, got {}", n.outputs[i], text_of(out[i]), text_of(is)));
    }
  }
  for (const ValueId v : g.results)
    expect(v >= 0 && made[v], fmt::format("the result %{} is made by nothing", v));
  for (const State& s : g.states) {
    expect(made[s.after], fmt::format("the state %{} is made by nothing", s.after));
    const TensorSpec &a = g.values[s.before], &b = g.values[s.after];
    expect(a.shape == b.shape && a.dtype == b.dtype,
           fmt::format("expected the state %{} ({}) to keep its shape, got {}", s.before, text_of(a),
                       text_of(b)));
  }
}

}  // namespace hebb::graph
