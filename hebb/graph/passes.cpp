#include "hebb/graph/passes.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <numeric>

#include "hebb/core/check.h"

namespace hebb::graph {
namespace {

// Whether the passes are followed by verify().
#ifdef NDEBUG
constexpr bool kVerify = false;
#else
constexpr bool kVerify = true;
#endif

std::vector<std::string> disabled_passes() {
  std::vector<std::string> names;
  const char* text = std::getenv("HEBB_DISABLE_PASS");
  for (std::string_view rest = text ? text : ""; !rest.empty();) {
    const size_t comma = std::min(rest.find(','), rest.size());
    const std::string_view name = rest.substr(0, comma);
    rest.remove_prefix(std::min(comma + 1, rest.size()));
    if (name.empty()) continue;
    std::string known;
    bool found = false;
    for (const Pass& p : passes()) {
      known += (known.empty() ? "" : ", ") + std::string(p.name);
      found = found || name == p.name;
    }
    HEBB_CHECK(found, "HEBB_DISABLE_PASS: expected names of {}, got \"{}\"", known, name);
    names.emplace_back(name);
  }
  return names;
}

void dump(const Graph& graph, const std::string& name, size_t number, const char* pass) {
  const char* folder = std::getenv("HEBB_DUMP_GRAPH");
  if (!folder || !*folder) return;
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  const std::string stem = fmt::format("{}/{}-{}-{}", folder, name, number, pass);
  for (const auto& [path, text] :
       {std::pair(stem + ".txt", graph.str()), std::pair(stem + ".dot", graph.dot())}) {
    std::ofstream out(path);
    out << text;
    HEBB_CHECK(out.flush(), "HEBB_DUMP_GRAPH: expected to write {}", path);
  }
}

}  // namespace

std::span<const Pass> passes() {
  static constexpr Pass kPasses[] = {
      {"fold_constants", fold_constants}, {"simplify", simplify},           {"share_common", share_common},
      {"drop_dead", drop_dead},           {"fold_linear", fold_linear},     {"pool_first", pool_first},
      {"channels_last", channels_last},   {"join_pool", join_pool},         {"join_relu", join_relu},
      {"split_norms", split_norms},       {"join_moments", join_moments},   {"fuse", fuse},
      {"rematerialize", rematerialize},   {"join_programs", join_programs}, {"join_updates", join_updates},
      {"hasten_updates", hasten_updates}};
  return kPasses;
}

void optimize(Graph& graph, const std::string& name) {
  const std::vector<std::string> disabled = disabled_passes();
  if (kVerify) verify(graph, "trace");
  dump(graph, name, 0, "trace");
  for (size_t i = 0; i < passes().size(); ++i) {
    const Pass& pass = passes()[i];
    if (std::find(disabled.begin(), disabled.end(), pass.name) != disabled.end()) continue;
    pass.run(graph);
    if (kVerify) verify(graph, pass.name);
    dump(graph, name, i + 1, pass.name);
  }
}

namespace detail {

Node new_node(Graph& g, const OpDef& op, Attrs attrs, std::vector<ValueId> inputs,
              const std::string& module) {
  std::vector<const TensorSpec*> specs;
  for (const ValueId v : inputs) specs.push_back(&g.values[v]);
  std::vector<ValueId> outputs;
  const Specs made = op.infer(specs, attrs);
  for (const TensorSpec& s : made) outputs.push_back(g.add_value(s));
  return {&op, std::move(attrs), std::move(inputs), std::move(outputs), module};
}

std::vector<ValueId> each_itself(const Graph& graph) {
  std::vector<ValueId> to(graph.values.size());
  std::iota(to.begin(), to.end(), 0);
  return to;
}

void replace_values(Graph& g, std::span<const ValueId> to) {
  for (Node& n : g.nodes)
    for (ValueId& v : n.inputs) v = to[v];
  for (ValueId& v : g.results) v = to[v];
  for (State& s : g.states) s.after = to[s.after];
}

}  // namespace detail
}  // namespace hebb::graph
