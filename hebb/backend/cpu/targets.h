// The instruction sets that kernels are compiled for: included before Highway's foreach_target.h, by all
// files alike.
#pragma once

#include <hwy/detect_compiler_arch.h>

// Vectors of a length unknown to the compiler (SVE, RVV) cannot be held in arrays; those machines run their
// fixed-length targets. SSSE3 alone is not worth its code. Highway 1.0 has no vectors of f64 for WebAssembly,
// which runs its portable target.
#define HEBB_DISABLED_TARGETS (HWY_SSSE3 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#if HWY_ARCH_WASM
#define HWY_DISABLED_TARGETS (HEBB_DISABLED_TARGETS | HWY_WASM | HWY_WASM_EMU256)
#else
#define HWY_DISABLED_TARGETS HEBB_DISABLED_TARGETS
#endif
