// Memory of kernels that lasts from call to call.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>

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
  kMoments,
  kLosses,
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

/// n elements of scratch memory; of memory of its own, which goes when this does, where that is much.
template <class T>
class Temporary {
 public:
  Temporary(ScratchUse use, int64_t n)
      : own_(n > kMost ? new T[static_cast<size_t>(n)] : nullptr),
        data_(own_ ? own_.get() : scratch<T>(use, n)) {}
  T* data() const { return data_; }

 private:
  static constexpr int64_t kMost = (int64_t{8} << 20) / static_cast<int64_t>(sizeof(T));
  std::unique_ptr<T[]> own_;
  T* data_;
};

}  // namespace hebb::cpu
