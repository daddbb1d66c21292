// The instruction sets that kernels are compiled for: included before Highway's foreach_target.h, by all
// files alike.
#pragma once

// Vectors of a length unknown to the compiler (SVE, RVV) cannot be held in arrays; those machines run their
// fixed-length targets. SSSE3 alone is not worth its code.
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
