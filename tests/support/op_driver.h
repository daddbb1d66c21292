// The driver over the op table: it turns every sample of every op into calls of many types, layouts and
// sizes, runs them by the plain kernel (the specification) and by the backend, and says where they differ. A
// new line of the table is tested by being there.
#pragma once
#include <optional>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "hebb/op/dispatch.h"
#include "hebb/op/op.h"

namespace hebb::test_support {

/// One call of an op, and how a failing line names it: "conv2d/strided, reversed, bf16".
struct Call {
  const OpDef* op;
  std::string name;
  std::vector<Tensor> inputs;
  Attrs attrs;
};

/// How the values of an operand lie in memory.
enum class Form {
  contiguous,
  strided,         ///< every second element of a larger tensor whose dimensions lie in reverse order
  reversed,        ///< negative strides in all dimensions
  expanded_first,  ///< the first slice of the first dimension repeated, stride 0
  expanded_last,   ///< the same for the last dimension
};
inline constexpr Form kForms[] = {Form::contiguous, Form::strided, Form::reversed, Form::expanded_first,
                                  Form::expanded_last};
const char* name_of(Form form);
/// The values of `dense` in another form (expanded forms repeat some of the values and drop the others).
Tensor laid_out(const Tensor& dense, Form form);
Call laid_out(const Call& call, Form form);

/// The call of a sample, as its author wrote it.
Call call_of(const OpDef& op, const Sample& sample);
/// The same with all floating inputs of another type. Integer types get rounded multiples of the values.
Call with_type(const Call& call, DType type);
/// The sample in every type that its infer accepts: floating types, integers, bool, i32 for i64 indices, and
/// operands of unequal types.
std::vector<Call> in_all_types(const Call& call);
/// The sample with one extent, wherever it occurs in the inputs, replaced: where infer accepts the result.
std::vector<Call> with_extent(const Call& call, int64_t (*change)(int64_t extent), const char* what);
/// Each extent set to 0 in turn; and, for elementwise ops and reductions, all inputs 0-d.
std::vector<Call> degenerate(const Call& call);
/// Each extent enlarged in turn, so that the largest operand has about `elements` elements.
std::vector<Call> enlarged(const Call& call, int64_t elements);

/// Whether an input is of floating type and one that the op may be differentiated by.
bool takes_gradient(const Call& call, size_t input);
/// True if infer accepts the call.
bool accepted(const Call& call);

/// Runs `fn` where nothing is cached: prepared kernels belong to a thread and keep the instruction set that
/// they were made for.
template <class F>
void on_fresh_thread(F&& fn) {
  std::thread(fn).join();
}

/// What a call gives: its outputs, or the message of its Error.
using Result = std::variant<std::vector<Tensor>, std::string>;
/// By the interpreter in charge.
Result run(const Call& call);
/// By the plain kernel on dense copies, or by `decompose` where there is none.
Result run_plainly(const Call& call);

/// Compares a call's result with its expected one: types, shapes, values. Empty if they agree, else a line
/// with the call, the index, the expected value and the one found.
std::string difference(const Call& call, const Result& got, const Result& expected, double slack = 1);
/// The same, bit by bit.
std::string bit_difference(const Call& call, const Result& got, const Result& expected);
/// Runs the call both ways, checks infer's specs against what was produced, and compares.
/// `slack` widens the tolerance: kernels add up in the operands' type, so long sums differ by more.
std::string check_forward(const Call& call, double slack = 1);

/// Compares values: |got - want| <= tolerance (|want| + the largest |want| + operands). Empty if they agree.
std::string values_differ(const Tensor& got, const Tensor& want, double tolerance, double operands = 0);

/// A deterministic tensor of values in [-1, 1): upstream gradients, tangents.
Tensor direction(const Shape& shape, uint64_t number, DType type = f64);

}  // namespace hebb::test_support
