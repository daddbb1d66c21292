// The main of hebb_tests. Beside GoogleTest's own options it takes --file=tests/core/shape_test.cpp, which
// runs the tests written in that file: ctest has one entry a file, and no list of suites to keep up to date.
// With --passes-off compiled functions are left as they were traced.
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <string>
#include <string_view>

#include "tests/graph/graphs.h"

namespace {

// A filter for the tests of one file; whole suites where possible, since filters of thousands of names are
// slow.
std::string filter_for_file(std::string_view file) {
  std::string filter;
  const auto& all = *testing::UnitTest::GetInstance();
  for (int s = 0; s < all.total_test_suite_count(); ++s) {
    const auto& suite = *all.GetTestSuite(s);
    std::string names;
    int found = 0;
    for (int t = 0; t < suite.total_test_count(); ++t) {
      const auto& test = *suite.GetTestInfo(t);
      if (!std::string_view(test.file()).ends_with(file)) continue;
      ++found;
      names += std::string(suite.name()) + "." + test.name() + ":";
    }
    filter += found == suite.total_test_count() ? std::string(suite.name()) + ".*:" : names;
  }
  return filter;
}

}  // namespace

int main(int argc, char** argv) {
  // Random cases of each property, the same in every run; fewer under sanitizers, which take their time.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  ::setenv("RC_PARAMS", "max_success=50 seed=2026", 0);
#else
  ::setenv("RC_PARAMS", "max_success=200 seed=2026", 0);
#endif
  // Parameterised suites are registered by InitGoogleTest: only then are all tests known.
  testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    const std::string_view option = argv[i];
    if (option == "--passes-off") ::setenv("HEBB_DISABLE_PASS", hebb::graph::test::all_passes().c_str(), 1);
    if (!option.starts_with("--file=")) continue;
    const std::string filter = filter_for_file(option.substr(7));
    if (filter.empty()) {
      std::cerr << "hebb_tests: no test is written in " << option.substr(7) << '\n';
      return 2;
    }
    testing::GTEST_FLAG(filter) = filter;
  }
  return RUN_ALL_TESTS();
}
