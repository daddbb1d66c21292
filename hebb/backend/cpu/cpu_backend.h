// The cpu backend: kernels in Highway, dispatched at run time to what the processor has.
#pragma once
#include <string>
#include <vector>

#include "hebb/op/dispatch.h"

namespace hebb {

Backend& cpu_backend();

/// The processor's name as Linux gives it; "unknown" elsewhere.
std::string cpu_name();
/// The instruction sets that the kernels were compiled for and this processor has, best first ("AVX3_ZEN4",
/// "AVX2", …).
std::vector<std::string> cpu_targets();
/// Confines kernels to one instruction set by name, or to all again by "". Drops nothing else: for tests.
/// Throws Error unless the processor has it.
void force_cpu_target(const std::string& name);

}  // namespace hebb
