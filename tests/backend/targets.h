// Kernels on every instruction set that this machine has.
#pragma once
#include <gtest/gtest.h>
#include <hwy/targets.h>

#include "tests/support/threads.h"

namespace hebb::cpu::test {

/// Calls fn once for each instruction set of this machine, with no other allowed.
template <class F>
void for_each_target(F fn) {
  const test_support::Threads put_back;
  hwy::SetSupportedTargetsForTest(0);
  for (int64_t left = hwy::SupportedTargets(); left != 0; left &= left - 1) {
    const int64_t target = left & -left;
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    fn();
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

}  // namespace hebb::cpu::test
