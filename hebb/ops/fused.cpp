#include "hebb/ops/fused.h"

#include <map>
#include <memory>
#include <mutex>

#include "hebb/ops/elementwise.h"
#include "hebb/ops/elementwise_attrs.h"
#include "hebb/ops/op_support.h"
#include "hebb/ops/reduce.h"
#include "hebb/ops/table.h"
#include "hebb/ops/view.h"

namespace hebb {

using namespace detail;

namespace {

const OpDef& elementwise_op(int code) {
  for (const OpDef* op : op_table())
    if (op->elementwise == code) return *op;
  fail("[fused] expected the number of a scalar expression, got {}", code);
}

std::string name_of_code(int code) {
  switch (code) {
    case kMultiplyAdd: return "multiply_add";
    case kColumnSum: return "column_sum";
    case kColumnDot: return "column_dot";
    case kRowSum: return "row_sum";
    case kTotal: return "total";
    default: return std::string(elementwise_op(code).name);
  }
}

Specs infer_fused(SpecPtrs in, const Attrs& attrs) {
  const FusedProgram& program = *attrs.as<FusedAttrs>().program;
  HEBB_CHECK(program.instructions.size() <= FusedProgram::kMostInstructions,
             "[fused] expected at most {} instructions, got {}", FusedProgram::kMostInstructions,
             program.instructions.size());
  HEBB_CHECK(in.size() <= FusedProgram::kMostInputs, "[fused] expected at most {} inputs, got {}",
             FusedProgram::kMostInputs, in.size());
  HEBB_CHECK(in.size() == program.inputs.size(), "[fused] expected {} inputs, got {}", program.inputs.size(),
             in.size());
  const FusedSpace space(program, in);
  const TensorSpec* like = nullptr;
  for (size_t i = 0; i < in.size(); ++i) {
    expect_float(*in[i], "fused", "inputs");
    expect_same_type(*in[i], *in[0], "fused");
    const FusedOperand kind = program.inputs[i];
    if (kind == FusedOperand::dense && !like) like = in[i];
    const int64_t n = in[i]->shape.numel(), expected = kind == FusedOperand::dense    ? space.total
                                                       : kind == FusedOperand::row    ? space.columns
                                                       : kind == FusedOperand::scalar ? 1
                                                                                      : space.rows;
    HEBB_CHECK(n == expected, "[fused] expected {} elements in input {}, got {}", expected, i, n);
  }
  HEBB_CHECK(space.columns ? space.total % space.columns == 0 : space.total == 0,
             "[fused] expected rows of {} elements, got {} elements", space.columns, space.total);
  Specs out;
  for (const int v : program.outputs) {
    const FusedInstruction& made = program.maker(v);
    const Shape shape = !made.is_sum()         ? like->shape
                        : made.code == kTotal  ? Shape{}
                        : made.code == kRowSum ? Shape{space.rows}
                                               : Shape{space.columns};
    out.push_back(TensorSpec(shape, like->dtype, like->device));
  }
  return out;
}

Outputs decompose_fused(const Attrs& attrs, std::span<const Tensor> inputs) {
  const FusedProgram& program = *attrs.as<FusedAttrs>().program;
  std::vector<const TensorSpec*> specs;
  for (const Tensor& t : inputs) specs.push_back(&t.spec());
  const FusedSpace space(program, specs);
  std::vector<Tensor> values;
  Shape shape;
  for (size_t i = inputs.size(); i-- > 0;)
    if (program.inputs[i] == FusedOperand::dense) shape = inputs[i].shape();
  for (size_t i = 0; i < inputs.size(); ++i) {
    switch (program.inputs[i]) {
      case FusedOperand::dense: values.push_back(reshape(inputs[i], {space.rows, space.columns})); break;
      case FusedOperand::row: values.push_back(reshape(inputs[i], {space.columns})); break;
      case FusedOperand::column: values.push_back(reshape(inputs[i], {space.rows, 1})); break;
      case FusedOperand::scalar: values.push_back(reshape(inputs[i], {})); break;
    }
  }
  for (const FusedInstruction& n : program.instructions) {
    const auto at = [&](int i) { return values[static_cast<size_t>(n.operands[static_cast<size_t>(i)])]; };
    const auto wide = [&](const Tensor& t) { return expand(t, {space.rows, space.columns}); };
    if (n.code == kMultiplyAdd) {
      values.push_back(at(0) * at(1) + at(2));
    } else if (n.is_sum()) {
      const Tensor a = wide(n.code == kColumnDot ? at(0) * at(1) : at(0));
      const Dims dims = n.code == kTotal ? Dims{} : Dims{n.code == kRowSum ? 1 : 0};
      const Tensor all = sum(a, dims);
      const bool is_mean =
          n.p != 0 && n.p * static_cast<double>(all.numel()) == static_cast<double>(a.numel());
      values.push_back(is_mean ? mean(a, dims) : n.p == 0 ? all : all / n.p);
    } else {
      std::vector<Tensor> operands;
      for (int i = 0; i < 3 && n.operands[static_cast<size_t>(i)] >= 0; ++i) operands.push_back(at(i));
      values.push_back(apply(elementwise_op(n.code), ElementwiseAttrs{n.p, n.q}, operands)[0]);
    }
  }
  Outputs out;
  for (const int v : program.outputs) {
    const Tensor& t = values[static_cast<size_t>(v)];
    out.push_back(program.maker(v).is_sum() ? t : reshape(expand(t, {space.rows, space.columns}), shape));
  }
  return out;
}

}  // namespace

int FusedProgram::successor(int at) const {
  const auto first = static_cast<int>(inputs.size());
  int last = first;
  for (size_t i = 0; i < instructions.size(); ++i)
    for (const int v : instructions[i].operands)
      if (v == at) last = first + static_cast<int>(i);
  for (size_t k = 0; k < outputs.size(); ++k)
    if (outputs[k] >= last && !maker(outputs[k]).is_sum()) return static_cast<int>(k);
  return -1;
}

std::string FusedProgram::str() const {
  const auto name = [&](int v) {
    return fmt::format("{}{}", static_cast<size_t>(v) < inputs.size() ? 'x' : 't', v);
  };
  std::string s = "(";
  for (size_t i = 0; i < inputs.size(); ++i) {
    static constexpr const char* kKinds[] = {"", ": row", ": column", ": scalar"};
    s += fmt::format("{}x{}{}", i ? ", " : "", i, kKinds[static_cast<size_t>(inputs[i])]);
  }
  s += ")";
  for (size_t i = 0; i < instructions.size(); ++i) {
    const FusedInstruction& n = instructions[i];
    s += fmt::format(" {} = {}(", name(static_cast<int>(inputs.size() + i)), name_of_code(n.code));
    for (size_t k = 0; k < 3 && n.operands[k] >= 0; ++k)
      s += fmt::format("{}{}", k ? ", " : "", name(n.operands[k]));
    s += n.p != 0 || n.q != 0 ? fmt::format("; {}, {});", n.p, n.q) : ");";
  }
  s += " return";
  for (size_t i = 0; i < outputs.size(); ++i) s += fmt::format("{} {}", i ? "," : "", name(outputs[i]));
  return s;
}

const FusedProgram* kept(const FusedProgram& program) {
  static std::mutex mutex;
  static std::map<std::string, std::unique_ptr<const FusedProgram>> all;
  const std::lock_guard lock(mutex);
  auto& slot = all[program.str()];
  if (!slot) slot = std::make_unique<const FusedProgram>(program);
  return slot.get();
}

FusedSpace::FusedSpace(const FusedProgram& program, SpecPtrs inputs) : total(-1), rows(0), columns(-1) {
  int64_t last = 1;
  for (size_t i = inputs.size(); i-- > 0;) {  // the first dense one comes last
    if (program.inputs[i] != FusedOperand::dense) continue;
    const Shape& s = inputs[i]->shape;
    total = s.numel();
    last = s.ndim() ? s[s.ndim() - 1] : 1;
  }
  HEBB_CHECK(total >= 0, "[fused] expected an operand with an element for each place");
  for (size_t i = 0; i < inputs.size(); ++i) {
    const int64_t n = inputs[i]->shape.numel();
    if (program.inputs[i] == FusedOperand::row) columns = n;
    else if (program.inputs[i] == FusedOperand::column) rows = n;
  }
  if (columns < 0) columns = rows ? total / rows : last;
  if (columns) rows = total / columns;
}

bool rows_lie_apart(const TensorSpec& s) {
  const int last = s.shape.ndim() - 1;
  if (last < 1 || s.strides[last] != 1 || s.strides[last - 1] < s.shape[last] || s.contiguous) return false;
  for (int d = 0; d < last - 1; ++d)
    if (s.strides[d] != s.strides[d + 1] * s.shape[d + 1]) return false;
  return true;
}

std::optional<FusedInstruction> sum_instruction(const ReduceAttrs& attrs, const TensorSpec& x, bool mean) {
  constexpr int64_t kLeastColumns = 16;  // a vector
  const int64_t total = x.shape.numel();
  const int last = x.shape.ndim() - 1;
  if (x.dtype != f32 || total == 0 || last < 0) return std::nullopt;
  const int64_t columns = x.shape[last], before_last = (int64_t{1} << last) - 1;
  const auto sum = [&](FusedCode code, int64_t count) {
    return FusedInstruction{code, {0, -1, -1}, mean ? static_cast<double>(count) : 0};
  };
  if (attrs.dims == (before_last << 1 | 1)) return sum(kTotal, total);
  if (last >= 1 && attrs.dims == before_last && columns >= kLeastColumns)
    return sum(kColumnSum, total / columns);
  if (attrs.dims == before_last + 1 && columns >= 2 && columns <= FusedProgram::kTile)
    return sum(kRowSum, columns);
  return std::nullopt;
}

namespace ops {

namespace {

FusedInstruction expr(Expr e, int a, int b = -1, int c = -1) { return {static_cast<int>(e), {a, b, c}}; }

Sample sample(const char* name, std::vector<SampleInput> inputs, const FusedProgram& program) {
  return {name, std::move(inputs), FusedAttrs{kept(program)}};
}
std::vector<Sample> fused_samples() {
  using K = FusedOperand;
  const SampleInput x{{6, 19}}, row{{19}}, column{{6, 1}}, one{{}};
  FusedInstruction leaky = expr(Expr::leaky_relu, 2);
  leaky.p = 0.1;
  const FusedInstruction sum{kColumnSum, {3, -1, -1}}, dot{kColumnDot, {3, 4, -1}},
      scaled{kMultiplyAdd, {4, 2, 3}}, row_sum{kRowSum, {4, -1, -1}}, mean{kTotal, {3, -1, -1}, 114};
  return {sample("chain", {x, x},
                 {{K::dense, K::dense}, {expr(Expr::mul, 0, 1), leaky, expr(Expr::add, 3, 0)}, {4, 2}}),
          sample("normalize", {x, row, row, row},
                 {{K::dense, K::row, K::row, K::row}, {expr(Expr::sub, 0, 1), scaled}, {5}}),
          sample("column", {x, column, one},
                 {{K::dense, K::column, K::scalar},
                  {expr(Expr::sub, 0, 1), expr(Expr::mul, 3, 2), expr(Expr::exp, 4)},
                  {5}}),
          sample("sums", {x, x, row},
                 {{K::dense, K::dense, K::row},
                  {expr(Expr::relu_grad, 0, 0, 1), expr(Expr::sub, 1, 2), sum, dot},
                  {3, 5, 6}}),
          sample("row_sums", {x, x, column},
                 {{K::dense, K::dense, K::column},
                  {expr(Expr::mul, 0, 1), expr(Expr::sub, 3, 2), row_sum, mean},
                  {5, 4, 6}}),
          sample("rows_of_tiles", {{{3, 1100}}, {{1100}}},
                 {{K::dense, K::row}, {expr(Expr::mul, 0, 1), {kRowSum, {2, -1, -1}}}, {3}})};
}
std::vector<ErrorSample> fused_errors() {
  const Attrs add =
      FusedAttrs{kept({{FusedOperand::dense, FusedOperand::row}, {expr(Expr::add, 0, 1)}, {2}})};
  return {{{{{2, 3}}}, add, "expected 2 inputs, got 1"},
          {{{{2, 3}}, {{4}}}, add, "expected rows of 4 elements, got 6 elements"}};
}

}  // namespace

const OpDef fused{.name = "fused",
                  .kind = Kind::Reduce,
                  .doc = "a chain of elementwise ops, and sums of them, in one pass over memory",
                  .infer = infer_fused,
                  .decompose = decompose_fused,
                  .samples = fused_samples,
                  .error_samples = fused_errors,
                  .takes_rows = true};

}  // namespace ops
}  // namespace hebb
