// Networks put together from layers at run time: a chain, and a graph of named nodes.
#pragma once
#include <concepts>
#include <span>

#include "hebb/nn/module.h"

namespace hebb::nn {

/// Any module whose forward takes one tensor, two, or a span of tensors, and returns one. Owns it.
class AnyModule {
 public:
  /// Takes a layer: moves it in, or, where it has a name, clones it.
  template <class M>
  requires std::derived_from<std::remove_cvref_t<M>, Module> AnyModule(M&& layer)
      : module_(boxed(std::forward<M>(layer))), call_(&call<std::remove_cvref_t<M>>) {}
  AnyModule(const AnyModule& o) : module_(o.module_->clone_boxed()), call_(o.call_) {}
  AnyModule(AnyModule&&) = default;
  AnyModule& operator=(AnyModule&&) = default;

  Tensor operator()(std::span<const Tensor> inputs) { return call_(*module_, inputs); }
  Module& operator*() const { return *module_; }
  Module* operator->() const { return module_.get(); }

 private:
  template <class M>
  static std::unique_ptr<Module> boxed(M&& layer) {
    if constexpr (std::is_lvalue_reference_v<M>) return layer.clone_boxed();
    else return std::make_unique<M>(std::move(layer));
  }
  template <class M>
  static Tensor call(Module& m, std::span<const Tensor> inputs) {
    M& layer = static_cast<M&>(m);
    // Asks for forward: the call operator takes anything, and fails only inside.
    if constexpr (requires { layer.forward(inputs[0]); }) {
      if (inputs.size() != 1) wrong_count(m, 1, inputs.size());
      return layer(inputs[0]);
    } else if constexpr (requires { layer.forward(inputs[0], inputs[1]); }) {
      if (inputs.size() != 2) wrong_count(m, 2, inputs.size());
      return layer(inputs[0], inputs[1]);
    } else {
      return layer(inputs);
    }
  }
  [[noreturn]] static void wrong_count(const Module& m, size_t expected, size_t got);

  std::unique_ptr<Module> module_;
  Tensor (*call_)(Module&, std::span<const Tensor>);
};

/// A chain of layers. Named "0", "1", … unless names are given.
class Sequential : public Module {
 public:
  Sequential() = default;
  /// The layers in their order, named by their numbers.
  template <class... Layers>
  requires(sizeof...(Layers) > 0 && (std::derived_from<std::remove_cvref_t<Layers>, Module> && ...) &&
           !(sizeof...(Layers) == 1 && (std::same_as<std::remove_cvref_t<Layers>, Sequential> &&
                                        ...))) explicit Sequential(Layers&&... layers) {
    (push_back(std::forward<Layers>(layers)), ...);
  }
  /// Appends a layer, by its number or by a name of its own. Throws Error for a name twice.
  void push_back(AnyModule layer) { push_back(std::to_string(layers_.size()), std::move(layer)); }
  /// Appends a layer by a name of its own.
  void push_back(std::string name, AnyModule layer);
  size_t size() const { return layers_.size(); }
  Module& operator[](size_t i) { return *layers_[i].second; }
  /// The layers from `begin` up to `end` as a network that shares nothing with this one.
  Sequential slice(size_t begin, size_t end) const;

  Tensor forward(const Tensor& x);

  void visit_members(MemberVisitor& visitor) override;
  HEBB_MODULE_CALLS

 private:
  std::vector<std::pair<std::string, AnyModule>> layers_;
};

/// Named nodes, each fed by nodes before it: branches and joins.
///   nn::Graph g;
///   g.add("a", nn::Conv2d{1, 8, {.kernel_size = 3, .padding = 1}}, {"input"});
///   g.add("b", nn::Conv2d{1, 8, {.kernel_size = 1}}, {"input"});
///   g.add("sum", nn::Add{}, {"a", "b"});
class Graph : public Module {
 public:
  static constexpr const char* kInput = "input";

  /// Adds a node; `from` names its inputs (default: the node before, or "input"). The last node is the
  /// output. Throws Error for a name twice or an input that does not exist yet.
  void add(std::string name, AnyModule layer, std::vector<std::string> from = {});
  size_t size() const { return nodes_.size(); }
  /// The name of node i, in the order in which they were added.
  const std::string& name(size_t i) const { return nodes_[i].name; }
  Module& operator[](size_t i) { return *nodes_[i].layer; }

  Tensor forward(const Tensor& x);

  void visit_members(MemberVisitor& visitor) override;
  HEBB_MODULE_CALLS

 private:
  struct Node {
    std::string name;
    AnyModule layer;
    std::vector<int> from;  // -1: the network's input
  };
  std::vector<Node> nodes_;
};

/// Sum of its inputs, which broadcast.
struct Add : Module {
  Tensor forward(std::span<const Tensor> inputs);
  HEBB_MEMBERS()
};
/// Its inputs, joined along `dim`.
struct Concat : Module {
  int64_t dim;
  explicit Concat(int64_t dimension = 1) : dim(dimension) {}
  Tensor forward(std::span<const Tensor> inputs);
  std::string extra_repr() const override;
  HEBB_MEMBERS()
};

}  // namespace hebb::nn
