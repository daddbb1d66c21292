// Sums and the fused program behind them, for the kernels of ops that have both.
#pragma once
#include <array>

#include "hebb/backend/cpu/kernels.h"
#include "hebb/ops/fused_behind.h"

namespace hebb::cpu {

/// The program of such an op. The sums are written to the first output if they are kept, else to where the
/// program writes a result in their place.
class Behind {
 public:
  /// For sums of this spec, whose rows have `columns` elements.
  template <class A>
  Behind(const FusedBehindAttrs<A>& a, SpecPtrs in, const TensorSpec& sums, int64_t columns)
      : place_(a.kept ? 0 : a.program->successor(static_cast<int>(a.at))),
        first_output_(a.kept ? 1 : 0),
        first_input_(static_cast<size_t>(a.count)),
        at_(static_cast<size_t>(a.at)),
        count_(in.size() + 1 - first_input_),
        run_(prepare_program_behind(*a.program, a.program_inputs(in, &sums), columns)) {}

  /// write(float* sums, RowsReady*) computes the sums; the program runs on rows that it tells of, and at the
  /// end on all others.
  template <class F>
  void operator()(const void* const* x, void* const* y, F write) const {
    std::array<const void*, FusedProgram::kMostInputs> operands;
    for (size_t i = 0, from = first_input_; i < count_; ++i) operands[i] = i == at_ ? y[place_] : x[from++];
    const auto sums = [&](RowsReady* ready) { write(static_cast<float*>(y[place_]), ready); };
    run_(operands.data(), y + first_output_, sums);
  }

 private:
  int place_, first_output_;
  size_t first_input_, at_, count_;
  RunBehind run_;
};

}  // namespace hebb::cpu
