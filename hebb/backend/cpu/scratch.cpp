#include "hebb/backend/cpu/scratch.h"

#include <cstdlib>
#include <new>

#include "hebb/core/storage.h"

namespace hebb::cpu {
namespace {

class ScratchBuffer {
 public:
  ScratchBuffer() = default;
  ScratchBuffer(const ScratchBuffer&) = delete;
  ScratchBuffer& operator=(const ScratchBuffer&) = delete;
  ~ScratchBuffer() { std::free(data_); }

  void* reserve(size_t bytes) {
    if (bytes > size_) {
      // Packed panels touch many pages in turn: a few hundred KB are worth a large one.
      constexpr size_t kPage = 4096;
      const size_t unit = bytes >= detail::kLargePage / 4 ? detail::kLargePage : kPage;
      const size_t rounded = (bytes + unit - 1) / unit * unit;
      std::free(data_);
      size_ = 0;
      data_ = detail::aligned_memory(rounded);
      if (!data_) throw std::bad_alloc();
      size_ = rounded;
    }
    return data_;
  }

 private:
  void* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace

void* thread_scratch(ScratchUse use, size_t bytes) {
  thread_local ScratchBuffer buffers[static_cast<size_t>(ScratchUse::kCount)];
  return buffers[static_cast<size_t>(use)].reserve(bytes);
}

}  // namespace hebb::cpu
