// Which kernels run: the processor's own account of itself, and what others ask for.
#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace hebb {
namespace {

/// What the system says of the first processor.
std::set<std::string> flags_of_processor() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("flags")) continue;
    std::istringstream words(line.substr(line.find(':') + 1));
    return {std::istream_iterator<std::string>(words), {}};
  }
  return {};
}

TEST(InstructionSets, AreThoseThatTheSystemNames) {
#if HWY_ARCH_X86
  const std::set<std::string> flags = flags_of_processor();
  if (flags.empty()) GTEST_SKIP() << "/proc/cpuinfo names no flags here";
  const std::pair<int64_t, std::vector<std::string>> needs[] = {
      {HWY_SSE4, {"ssse3", "sse4_1", "sse4_2", "pclmulqdq", "aes"}},
      {HWY_AVX2, {"ssse3", "sse4_2", "pclmulqdq", "aes", "avx2", "fma", "bmi1", "bmi2", "f16c"}},
      {HWY_AVX3, {"avx2", "fma", "bmi2", "avx512f", "avx512vl", "avx512dq", "avx512bw"}}};
  for (const auto& [target, names] : needs) {
    bool all = true;
    for (const std::string& name : names) all = all && flags.contains(name);
    EXPECT_EQ((hwy::SupportedTargets() & target) != 0, all) << hwy::TargetName(target);
  }
#else
  EXPECT_NE(hwy::SupportedTargets() & HWY_STATIC_TARGET, 0);
#endif
}

TEST(InstructionSets, CanBeReplacedAndLeftOut) {
  const int64_t all = hwy::SupportedTargets(), best = all & -all;
  hwy::GetChosenTarget().Update(all);
  hwy::SetSupportedTargetsForTest(HWY_STATIC_TARGET);
  EXPECT_EQ(hwy::SupportedTargets(), HWY_STATIC_TARGET);
  EXPECT_FALSE(hwy::GetChosenTarget().IsInitialized()) << "what was chosen before still holds";
  hwy::SetSupportedTargetsForTest(0);
  hwy::DisableTargets(best);
  EXPECT_EQ(hwy::SupportedTargets() & best, best == HWY_STATIC_TARGET ? best : 0);
  hwy::DisableTargets(0);
  EXPECT_EQ(hwy::SupportedTargets(), all);
}

}  // namespace
}  // namespace hebb
