// Which instruction sets the processor has, and which kernels are to use: the functions of Highway's library
// that its dispatch calls. The library itself is left out, since it measures its timer in every process that
// loads it (Highway 1.0 to 1.4), for 5 ms: two fifths of what `hebb predict` takes. A program that links the
// library's archive as well gets that one's functions: these are weak.
#include "hebb/backend/cpu/targets.h"

#include <hwy/targets.h>

namespace hwy {
namespace {

int64_t wanted = 0, unwanted = 0;  // in place of what there is, if not 0; never

int64_t detect() {
  int64_t targets = HWY_SCALAR | HWY_EMU128 | HWY_ENABLED_BASELINE;
#if HWY_ARCH_X86
  __builtin_cpu_init();
  const auto has = [&](bool supported, int64_t target) {
    if (supported) targets |= target;
    return supported;
  };
  // Each needs those before it, as Highway's lists of compilers' targets do. Processors with AVX2, FMA and
  // BMI2 have F16C too, which not every compiler can ask for.
  has(__builtin_cpu_supports("ssse3"), HWY_SSSE3) &&
      has(__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul") &&
              __builtin_cpu_supports("aes"),
          HWY_SSE4) &&
      has(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
              __builtin_cpu_supports("bmi2"),
          HWY_AVX2) &&
      has(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
              __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw"),
          HWY_AVX3);
#endif
  return targets;
}

}  // namespace

[[gnu::weak]] int64_t SupportedTargets() {
  static const int64_t detected = detect();
  const int64_t targets = (wanted ? wanted : detected) & ~unwanted;
  return targets ? targets : HWY_STATIC_TARGET;
}
[[gnu::weak]] void SetSupportedTargetsForTest(int64_t targets) {
  wanted = targets;
  GetChosenTarget().DeInit();
}
[[gnu::weak]] void DisableTargets(int64_t disabled_targets) {
  unwanted = disabled_targets;
  GetChosenTarget().DeInit();
}
[[gnu::weak]] ChosenTarget& GetChosenTarget() {
  static ChosenTarget chosen;
  return chosen;
}

}  // namespace hwy
