// Matrix products and convolutions with the fused program that reads their sums: it runs on rows of sums that
// are near, as they become final. Compiled functions make them (hebb/graph/passes/join_programs.cpp).
#pragma once
#include "hebb/op/op.h"
#include "hebb/ops/fused.h"

namespace hebb {

/// Attributes of such an op: those of the op that makes the sums, A, which reads the first `count` inputs;
/// and the program, whose input `at` the sums are and whose others are the inputs that follow. Outputs are
/// those of the program, after the sums if they are `kept`.
template <class A>
struct FusedBehindAttrs {
  A sums;
  int64_t count;
  const FusedProgram* program;
  int64_t at;
  bool kept;
  /// As HEBB_FIELDS would, those of `sums` first.
  template <class F>
  void each_field(F&& f) const {
    sums.each_field(f);
    f("count", count);
    f("program", program);
    f("at", at);
    f("kept", kept);
  }

  /// What the program is given, of the op's inputs and the sums.
  template <class T>
  std::vector<T> program_inputs(std::span<const T> inputs, const T& made) const {
    std::vector<T> all(inputs.begin() + count, inputs.end());
    all.insert(all.begin() + at, made);
    return all;
  }
};

namespace ops {
/// The op that computes sums as `op` does, and a program behind them; null if there is none.
const OpDef* with_program(const OpDef& op);
/// Its attributes, of those of `op`.
Attrs with_program(const OpDef& op, const Attrs& sums, size_t count, const FusedProgram* program, int64_t at,
                   bool kept);
}  // namespace ops

}  // namespace hebb
