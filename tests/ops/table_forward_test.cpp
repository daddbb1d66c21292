// Every op against its plain kernel: in each type, layout and degenerate size that its infer accepts.
#include "tests/support/table_test.h"

namespace hebb::test_support {
namespace {

class Forward : public TableTest {};

TEST_P(Forward, HasSamplesToBeTestedWith) { EXPECT_FALSE(samples().empty()) << op().name; }

TEST_P(Forward, HasADocLineAndAPlainKernel) {
  EXPECT_FALSE(op().doc.empty());
  EXPECT_TRUE(op().reference || op().decompose);
  EXPECT_EQ(find_op(op().name), &op());
}

TEST_P(Forward, EqualsThePlainKernelInAllTypesAndLayouts) {
  for_each_sample([](const Call& sample) -> std::string {
    for (const Call& typed : in_all_types(sample))
      for (const Form form : kForms)
        if (std::string text = check_forward(laid_out(typed, form)); !text.empty()) return text;
    return {};
  });
}

TEST_P(Forward, EqualsThePlainKernelWhereAnExtentIs0Or1) {
  for_each_sample([](const Call& sample) -> std::string {
    for (const DType type : {f32, f64, i64})
      for (const Call& call : degenerate(with_type(sample, type)))
        for (const Form form : {Form::contiguous, Form::strided})
          if (std::string text = check_forward(laid_out(call, form)); !text.empty()) return text;
    return {};
  });
}

TEST_P(Forward, TheReferenceBackendRunsThePlainKernel) {
  for_each_sample([](const Call& sample) {
    const Result plain = run_plainly(sample);
    const BackendScope reference("reference");
    return bit_difference(sample, run(sample), plain);
  });
}

TEST_P(Forward, AFusedOpEqualsThePlainOpsThatItNames) {
  if (!op().decompose || !op().reference) return;
  for_each_sample([](const Call& sample) {
    const Call call = with_type(sample, f64);
    const Outputs out = call.op->decompose(call.attrs, call.inputs);
    return difference(call, std::vector<Tensor>(out.begin(), out.end()), run_plainly(call));
  });
}

TEST_P(Forward, ShapesAreKnownWithoutValues) {
  for_each_sample([](const Call& sample) -> std::string {
    const Result computed = run(sample);
    std::vector<Tensor> shapes;
    for (const Tensor& t : sample.inputs) shapes.push_back(Tensor::meta(t.spec()));
    ShapeInterpreter interpreter;
    const InterpreterScope scope(interpreter, InterpreterScope::Place::base);
    const Outputs out = apply(*sample.op, sample.attrs, shapes);
    for (int i = 0; i < out.size(); ++i)
      if (out[i].has_data() || !(out[i].shape() == std::get<0>(computed)[i].shape()))
        return sample.name + ": expected a shape without values, as computed";
    return {};
  });
}

HEBB_FOR_THE_TABLE(Forward);

}  // namespace
}  // namespace hebb::test_support
