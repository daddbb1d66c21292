#include "hebb/graph/trace.h"

#include <unordered_map>
#include <utility>

#include "hebb/core/check.h"
#include "hebb/op/dispatch.h"

namespace hebb::graph {
namespace {

// Writes calls of ops into a graph. A traced tensor's storage is the name of its value.
class Tracer final : public Interpreter {
 public:
  explicit Tracer(Graph& graph) : graph_(graph) {}

  Outputs apply(const OpDef& op, const Attrs& attrs, std::span<const Tensor> inputs) override {
    const Outputs shapes = shapes_.apply(op, attrs, inputs);
    Node node{&op, attrs, {}, {}, hebb::detail::running_module()};
    for (size_t i = 0; i < inputs.size(); ++i) node.inputs.push_back(id_of(op, inputs[i], i));
    Outputs out;
    for (const Tensor& t : shapes) {
      out.push_back(make(t.spec()));
      node.outputs.push_back(ids_.at(out[out.size() - 1].impl()->storage.get()));
    }
    graph_.nodes.push_back(std::move(node));
    return out;
  }

  /// A tensor for a new value.
  Tensor make(const TensorSpec& spec) {
    const ValueId id = graph_.add_value(spec);
    Ref<Storage> name = make_ref<Storage>(Storage::Traced{});
    ids_.emplace(name.get(), id);
    names_.push_back(name);
    return Tensor::view(name, graph_.values[id], 0);
  }
  /// The value that a tensor stands for; -1 if it is not of this trace.
  ValueId find(const Tensor& t) const {
    const auto it = ids_.find(t.impl()->storage.get());
    return it == ids_.end() ? -1 : it->second;
  }

 private:
  ValueId id_of(const OpDef& op, const Tensor& t, size_t input) const {
    const ValueId id = find(t);
    HEBB_CHECK(
        id >= 0,
        "[{}] expected arguments of the function that is being compiled, its declared state, or what is "
        "computed from them; input {} ({} {}) is none of these",
        op.name, input, name_of(t.dtype()), t.shape().str());
    return id;
  }

  Graph& graph_;
  ShapeInterpreter shapes_;
  std::unordered_map<const Storage*, ValueId> ids_;
  std::vector<Ref<Storage>> names_;  // kept, so that no address is used twice
};

// Gives the state traced values while it lives, and then what it had.
class StateScope {
 public:
  StateScope(std::span<const Tensor> state, Tracer& tracer) {
    for (const Tensor& t : state) {
      detail::TensorImpl& impl = *t.impl();
      saved_.push_back({t, impl.spec, impl.storage, impl.offset, t.grad()});
      const Tensor traced = tracer.make(impl.spec);
      impl.spec = traced.spec();
      impl.storage = traced.impl()->storage;
      impl.offset = 0;
      Tensor(t).zero_grad();
    }
  }
  ~StateScope() {
    for (Saved& s : saved_) {
      detail::TensorImpl& impl = *s.tensor.impl();
      impl.spec = s.spec;
      impl.storage = std::move(s.storage);
      impl.offset = s.offset;
      s.tensor.set_grad(std::move(s.grad));
    }
  }
  StateScope(const StateScope&) = delete;

 private:
  struct Saved {
    Tensor tensor;
    TensorSpec spec;
    Ref<Storage> storage;
    int64_t offset;
    Tensor grad;
  };
  std::vector<Saved> saved_;
};

}  // namespace

Graph trace(const Function& fn, std::span<const Tensor> arguments, std::span<const Tensor> state) {
  Graph graph;
  Tracer tracer(graph);
  std::vector<Tensor> inputs;
  for (const Tensor& t : arguments) {
    inputs.push_back(tracer.make(t.spec()));
    graph.arguments.push_back(tracer.find(inputs.back()));
    if (t.requires_grad()) inputs.back().requires_grad_();
  }
  const StateScope traced_state(state, tracer);
  for (const Tensor& t : state) graph.states.push_back({tracer.find(t), -1});

  std::vector<Tensor> results;
  {
    const InterpreterScope in_charge(tracer, InterpreterScope::Place::base);
    results = fn(inputs);
  }
  for (size_t i = 0; i < results.size(); ++i) {
    HEBB_CHECK(results[i].defined() && tracer.find(results[i]) >= 0,
               "[compile] expected results that are computed from the arguments, result {} is {}", i,
               results[i].defined() ? "a tensor from elsewhere" : "undefined");
    graph.results.push_back(tracer.find(results[i]));
  }
  for (size_t i = 0; i < state.size(); ++i) {
    graph.states[i].after = tracer.find(state[i]);
    HEBB_CHECK(
        graph.states[i].after >= 0,
        "[compile] expected state {} ({} {}) to be assigned what the function computes, it was assigned a "
        "tensor from elsewhere",
        i, name_of(state[i].dtype()), state[i].shape().str());
  }
  return graph;
}

}  // namespace hebb::graph
