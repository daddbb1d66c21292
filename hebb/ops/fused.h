// Fused programs: chains of elementwise ops, and sums of their results, as one op that passes over memory
// once. Compiled functions make them (hebb/graph/passes/fuse.cpp).
#pragma once
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "hebb/op/op.h"
#include "hebb/ops/elementwise_expr.h"
#include "hebb/ops/reduce_attrs.h"

namespace hebb {

/// How an operand lies beside the rows and columns that a program walks: an element for each place, for each
/// column, for each row, or one for all.
enum class FusedOperand : uint8_t { dense, row, column, scalar };

/// What an instruction computes: a detail::Expr of the elementwise table, or one of these.
enum FusedCode : int {
  kMultiplyAdd = static_cast<int>(detail::Expr::count),  ///< a b + c, rounded once
  kColumnSum,                                            ///< the sum of a over the rows
  kColumnDot,                                            ///< the sum of a b over the rows
  kRowSum,                                               ///< the sum of a over the columns
  kTotal,                                                ///< the sum of a over all
};

/// One line of a program.
struct FusedInstruction {
  int code;
  std::array<int, 3> operands;  ///< the numbers of earlier values; -1 where there is none
  double p = 0, q = 0;          ///< parameters of the expression; a sum is divided by p unless that is 0
  bool is_sum() const { return code >= kColumnSum; }
};
/// Values are numbered: first the inputs, then what each instruction computes. Sums are outputs only.
struct FusedProgram {
  static constexpr size_t kMostInputs = 12, kMostInstructions = 32, kMostOutputs = 4;
  /// Elements that are summed at once, and whose sums make one partial sum.
  static constexpr int64_t kTile = 512, kBlock = 32768;
  std::vector<FusedOperand> inputs;
  std::vector<FusedInstruction> instructions;
  std::vector<int> outputs;  ///< 1 to kMostOutputs results of instructions

  /// The instruction that computes a value that is no input.
  const FusedInstruction& maker(int value) const {
    return instructions[static_cast<size_t>(value) - inputs.size()];
  }
  /// The output that may lie where the dense input `at` does: an element for each place, made when nothing
  /// reads that input any more. -1 if there is none.
  int successor(int at) const;
  /// "(x, x1: row) t2 = sub(x0, x1); t3 = relu(t2); return t3"
  std::string str() const;
};

/// The one program equal to this one; it lives as long as the process.
const FusedProgram* kept(const FusedProgram& program);
/// As text; see HEBB_FIELDS.
inline std::string field_text(const FusedProgram* p) { return p->str(); }

/// Attributes of a call of a fused program.
struct FusedAttrs {
  const FusedProgram* program;
  HEBB_FIELDS(program)
};

/// Whether the rows of a tensor of 2 or more dimensions are dense and lie apart by equal steps: a slice of
/// the last dimension. Programs read such operands where they lie.
bool rows_lie_apart(const TensorSpec& spec);

/// The rows and columns that a program walks for inputs of these shapes. Columns are the elements of a row
/// operand; without one they follow from a column operand, or are the last extent of the first dense input.
struct FusedSpace {
  int64_t total, rows, columns;
  FusedSpace(const FusedProgram& program, SpecPtrs inputs);
};

/// The instruction that computes ops::sum of x, or with `mean` ops::mean, if programs have one: of f32, over
/// all dimensions but a last one of 16 elements or more, over a last one of up to kTile, or over all.
/// Backends compute both the same way, so that fusing changes no bits.
std::optional<FusedInstruction> sum_instruction(const ReduceAttrs& attrs, const TensorSpec& x, bool mean);
/// Whether rows of so many columns add up to the same total, bit for bit, as if they were one row.
inline bool totals_alike(int64_t columns) { return FusedProgram::kBlock % columns == 0; }

}  // namespace hebb
