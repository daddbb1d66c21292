// Wrong arguments give their messages; attributes are told apart by equality, hash and text.
#include <fmt/format.h>

#include <set>

#include "tests/support/table_test.h"

namespace hebb::test_support {
namespace {

class Errors : public TableTest {};

TEST_P(Errors, EachWrongCallGivesItsMessage) {
  if (!op().error_samples) return;
  for (const ErrorSample& s : op().error_samples()) {
    const Call call{&op(), std::string(op().name), make_sample_inputs(s.inputs), s.attrs};
    const Result result = run(call);
    const auto* message = std::get_if<std::string>(&result);
    ASSERT_TRUE(message) << op().name << " (" << s.attrs.str() << "): expected \"" << s.message
                         << "\", got a result";
    EXPECT_NE(message->find(s.message), std::string::npos)
        << op().name << ": expected \"" << s.message << "\", got \"" << *message << '"';
    EXPECT_TRUE(message->starts_with("[")) << *message;
  }
}

TEST_P(Errors, AnUndefinedInputIsNamed) {
  if (samples().empty() || samples()[0].inputs.empty()) return;
  Call call = call_of(op(), samples()[0]);
  call.inputs.back() = Tensor();
  const Result result = run(call);
  const auto* message = std::get_if<std::string>(&result);
  ASSERT_TRUE(message) << op().name;
  EXPECT_EQ(*message, fmt::format("[{}] expected defined tensors, got an undefined one as input {}",
                                  op().name, call.inputs.size() - 1));
}

class Attributes : public TableTest {};

TEST_P(Attributes, EqualOnesHaveOneHashAndOneText) {
  const std::vector<Sample> first = samples(), second = samples();
  for (size_t i = 0; i < first.size(); ++i) {
    EXPECT_TRUE(first[i].attrs == second[i].attrs) << op().name << "/" << first[i].name;
    EXPECT_EQ(first[i].attrs.hash(), second[i].attrs.hash());
    EXPECT_EQ(first[i].attrs.str(), second[i].attrs.str());
  }
}

TEST_P(Attributes, DifferentOnesDifferInTextAndHash) {
  const std::vector<Sample> all = samples();
  for (const Sample& a : all)
    for (const Sample& b : all) {
      const bool equal = a.attrs == b.attrs;
      EXPECT_EQ(equal, a.attrs.str() == b.attrs.str()) << a.attrs.str() << " and " << b.attrs.str();
      EXPECT_EQ(equal, a.attrs.hash() == b.attrs.hash()) << a.attrs.str() << " and " << b.attrs.str();
    }
}

TEST_P(Attributes, SamplesHaveNamesOfTheirOwn) {
  std::set<std::string> names;
  for (const Sample& s : samples()) EXPECT_TRUE(names.insert(s.name).second) << op().name << "/" << s.name;
}

HEBB_FOR_THE_TABLE(Errors);
HEBB_FOR_THE_TABLE(Attributes);

}  // namespace
}  // namespace hebb::test_support
