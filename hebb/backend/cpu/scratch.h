// Memory of kernels that lasts from call to call.
#pragma once
#include <cstddef>
#include <cstdint>

namespace hebb::cpu {

/// Who uses a thread's scratch memory; users that nest must differ.
enum class ScratchUse {
  kGemmA,
  kGemmB,
  kConvColumns,
  kConvPixels,
  kConvPlanes,
  kConvPartial,
  kRecurrentWeight,
  kRecurrentRow,
  kAttentionScores,
  kFused,
  kFusedSums,
  kCount
};

/// At least `bytes` bytes of memory that belong to the calling thread, aligned to 64 and kept until it ends.
/// The contents last until the same thread asks again for the same use.
void* thread_scratch(ScratchUse use, size_t bytes);
/// The same for n elements.
template <class T>
T* scratch(ScratchUse use, int64_t n) {
  return static_cast<T*>(thread_scratch(use, static_cast<size_t>(n) * sizeof(T)));
}

}  // namespace hebb::cpu
