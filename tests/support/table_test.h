// What the tests over the op table share: one test an op, named by it.
#pragma once
#include <gtest/gtest.h>

#include <string>

#include "hebb/op/op.h"
#include "tests/support/op_driver.h"

namespace hebb::test_support {

/// A suite with one test for each op of the table.
class TableTest : public ::testing::TestWithParam<const OpDef*> {
 protected:
  static const OpDef& op() { return *GetParam(); }
  static std::vector<Sample> samples() { return op().samples ? op().samples() : std::vector<Sample>(); }
  /// Calls fn(call) for each sample; reports its text unless empty, at most five of them.
  template <class F>
  void for_each_sample(F&& fn) {
    int reported = 0;
    for (const Sample& s : samples()) {
      if (reported == 5) break;
      std::string text;
      try {
        text = fn(call_of(op(), s));
      } catch (const std::exception& e) {
        text = std::string(op().name) + "/" + s.name + ": unexpected error: " + e.what();
      }
      if (text.empty()) continue;
      ADD_FAILURE() << text;
      ++reported;
    }
  }
};

inline std::string name_of_op(const ::testing::TestParamInfo<const OpDef*>& info) {
  return std::string(info.param->name);
}

}  // namespace hebb::test_support

#define HEBB_FOR_THE_TABLE(suite)                                                                     \
  INSTANTIATE_TEST_SUITE_P(Table, suite,                                                              \
                           ::testing::ValuesIn(::hebb::op_table().begin(), ::hebb::op_table().end()), \
                           ::hebb::test_support::name_of_op)
