#include "hebb/nn/container.h"

#include "hebb/core/check.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/join.h"

namespace hebb::nn {

void AnyModule::wrong_count(const Module& m, size_t expected, size_t got) {
  hebb::detail::fail("[{}] expected {} input{}, got {}", m.type_name(), expected, expected == 1 ? "" : "s",
                     got);
}

void Sequential::push_back(std::string name, AnyModule layer) {
  for (const auto& [other, l] : layers_)
    HEBB_CHECK(other != name, "[Sequential] expected each name once, got \"{}\" twice", name);
  layers_.emplace_back(std::move(name), std::move(layer));
}

Sequential Sequential::slice(size_t begin, size_t end) const {
  HEBB_CHECK(begin <= end && end <= layers_.size(),
             "[Sequential] expected a range within {} layers, got {} to {}", layers_.size(), begin, end);
  const detail::CloneScope scope;
  Sequential part;
  for (size_t i = begin; i < end; ++i) part.push_back(layers_[i].first, layers_[i].second);
  return part;
}

Tensor Sequential::forward(const Tensor& x) {
  Tensor y = x;
  for (auto& [name, layer] : layers_) y = layer({&y, 1});
  return y;
}

void Sequential::visit_members(MemberVisitor& v) {
  for (auto& [name, layer] : layers_) v.module(name, *layer);
}

void Graph::add(std::string name, AnyModule layer, std::vector<std::string> from) {
  HEBB_CHECK(name != kInput, "[Graph] expected a name other than \"{}\", which is the network's input",
             kInput);
  std::vector<int> inputs;
  for (const auto& n : nodes_)
    HEBB_CHECK(n.name != name, "[Graph] expected each name once, got \"{}\" twice", name);
  for (const std::string& wanted : from) {
    int found = wanted == kInput ? -1 : -2;
    for (size_t i = 0; i < nodes_.size(); ++i)
      if (nodes_[i].name == wanted) found = static_cast<int>(i);
    HEBB_CHECK(found != -2, "[Graph] expected inputs of \"{}\" among the nodes before it, got \"{}\"", name,
               wanted);
    inputs.push_back(found);
  }
  if (inputs.empty()) inputs.push_back(static_cast<int>(nodes_.size()) - 1);
  nodes_.push_back({std::move(name), std::move(layer), std::move(inputs)});
}

Tensor Graph::forward(const Tensor& x) {
  HEBB_CHECK(!nodes_.empty(), "[Graph] expected at least one node");
  std::vector<int> uses(nodes_.size());
  for (const Node& n : nodes_)
    for (const int i : n.from)
      if (i >= 0) ++uses[i];
  std::vector<Tensor> values(nodes_.size());
  for (size_t k = 0; k < nodes_.size(); ++k) {
    std::vector<Tensor> inputs;
    for (const int i : nodes_[k].from) inputs.push_back(i < 0 ? x : values[i]);
    values[k] = nodes_[k].layer(inputs);
    for (const int i : nodes_[k].from)
      if (i >= 0 && --uses[i] == 0) values[i] = Tensor();  // free what no later node reads
  }
  return values.back();
}

void Graph::visit_members(MemberVisitor& v) {
  for (Node& n : nodes_) v.module(n.name, *n.layer);
}

Tensor Add::forward(std::span<const Tensor> inputs) {
  HEBB_CHECK(!inputs.empty(), "[Add] expected at least 1 input, got 0");
  Tensor y = inputs[0];
  for (const Tensor& t : inputs.subspan(1)) y = y + t;
  return y;
}

Tensor Concat::forward(std::span<const Tensor> inputs) {
  return cat(std::vector<Tensor>(inputs.begin(), inputs.end()), dim);
}
std::string Concat::extra_repr() const { return fmt::format("dim={}", dim); }

}  // namespace hebb::nn
