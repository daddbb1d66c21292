// The tape: one node for each recorded call, holding what its vjp reads and where gradients go on to.
#pragma once
#include <memory>

#include "hebb/core/tensor.h"
#include "hebb/op/dispatch.h"

namespace hebb::detail {

class Node;

/// An input of a recorded call: its spec, its values if the vjp reads them, and where its gradient goes.
struct SavedInput {
  TensorSpec spec;
  Ref<Storage> storage;  // null if the values are not needed
  int64_t offset = 0;
  Ref<Node> node;        // made this input; null for leaves
  Ref<TensorImpl> leaf;  // the leaf, if gradients stop here
  int output = 0;        // which output of `node`
  bool needs = false;
};

class Node final : public RefCounted {
 public:
  Node(const OpDef& op, const Attrs& attrs, std::span<const Tensor> inputs, std::span<const Tensor> outputs);
  ~Node() override;

  const OpDef& op() const { return op_; }
  /// Position in the order of recording: a node's inputs come earlier.
  uint64_t sequence() const { return sequence_; }
  std::span<SavedInput> inputs() const { return {inputs_.get(), num_inputs_}; }
  int num_outputs() const { return outputs_.size(); }

  /// Gradients of the inputs, given those of the outputs (undefined means zero). `needs` tells which are
  /// wanted.
  std::vector<Tensor> vjp(std::span<Tensor> grads, std::span<const bool> needs, bool create_graph);
  /// Drops the saved values; vjp throws from then on.
  void release();

 private:
  struct SavedOutput {
    TensorSpec spec;
    Ref<Storage> storage;
    int64_t offset = 0;
  };
  Tensor unpack(const SavedInput& s, bool connect) const;
  Tensor unpack(const SavedOutput& s, int index, bool connect);

  const OpDef& op_;
  Attrs attrs_;
  uint64_t sequence_;
  uint32_t num_inputs_;
  bool released_ = false;
  std::unique_ptr<SavedInput[]> inputs_;
  Few<SavedOutput> outputs_;
};

/// Records calls whose inputs require gradients; computing is left to the interpreter below.
class Tape final : public Interpreter {
 public:
  Outputs apply(const OpDef& op, const Attrs& attrs, std::span<const Tensor> inputs) override;
};

}  // namespace hebb::detail
