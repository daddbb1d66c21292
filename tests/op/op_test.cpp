// The op table and its samples.
#include "hebb/op/op.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace hebb {
namespace {

TEST(OpTable, NamesEachOpOnceAndFindsIt) {
  std::set<std::string_view> names;
  for (const OpDef* op : op_table()) {
    EXPECT_TRUE(names.insert(op->name).second) << op->name << " stands twice";
    EXPECT_EQ(find_op(op->name), op);
  }
  EXPECT_TRUE(names.contains("conv2d"));
  EXPECT_EQ(find_op("conv3d"), nullptr);
  EXPECT_EQ(find_op(""), nullptr);
}

TEST(OpTable, HoldsAllThatAnOpNeeds) {
  for (const OpDef* op : op_table()) {
    EXPECT_TRUE(op->infer) << op->name;
    EXPECT_FALSE(op->doc.empty()) << op->name;
    EXPECT_TRUE(op->reference || op->decompose) << op->name << " cannot run";
    EXPECT_TRUE(op->samples && !op->samples().empty()) << op->name << " is not tested";
    EXPECT_EQ(op->kind == Kind::View, op->view != nullptr) << op->name;
    if (op->gradient != Gradient::Throws) {
      EXPECT_FALSE(op->vjp || op->jvp) << op->name << " says that it has no gradient";
    }
  }
}

TEST(OpTable, NamesTheSamplesOfAnOpApart) {
  for (const OpDef* op : op_table()) {
    std::set<std::string> names;
    for (const Sample& s : op->samples())
      EXPECT_TRUE(names.insert(s.name).second) << op->name << "/" << s.name;
  }
}

TEST(Samples, AreTheSameEveryTime) {
  const std::vector<SampleInput> inputs = {{{3, 4}}, {{3, 4}}, {{5}, 0, 9, i64, SampleInput::Fill::integers}};
  const auto a = make_sample_inputs(inputs), b = make_sample_inputs(inputs);
  ASSERT_EQ(a.size(), 3u);
  for (size_t i = 0; i < a.size(); ++i) EXPECT_EQ(a[i].to_vector<double>(), b[i].to_vector<double>());
  EXPECT_NE(a[0].to_vector<double>(), a[1].to_vector<double>()) << "each input has a seed of its own";
}

TEST(Samples, HoldWhatTheirFillPromises) {
  using Fill = SampleInput::Fill;
  const auto t = make_sample_inputs(
      {{{400}, -3, 2}, {{60}, -2, 2, f64, Fill::distinct}, {{400}, -2, 5, i64, Fill::integers}});
  for (const double v : t[0].to_vector<double>()) {
    EXPECT_GE(v, -3);
    EXPECT_LT(v, 2);
  }
  const auto distinct = t[1].to_vector<double>();
  for (size_t i = 0; i < distinct.size(); ++i)
    for (size_t j = 0; j < i; ++j) EXPECT_GE(std::abs(distinct[i] - distinct[j]), 0.05 - 1e-12);
  std::set<double> whole;
  for (const double v : t[2].to_vector<double>()) whole.insert(v);
  EXPECT_EQ(whole, (std::set<double>{-2, -1, 0, 1, 2, 3, 4}));
}

}  // namespace
}  // namespace hebb
