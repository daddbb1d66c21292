// Memory of tensors: 64-byte aligned blocks from a caching pool that counts what is in use.
#pragma once
#include <cstddef>
#include <cstdint>

#include "hebb/core/device.h"
#include "hebb/core/ref_counted.h"

namespace hebb {

/// How the elements of a storage are ordered. `strided` is what strides describe; other layouts are chosen by
/// compiled plans for state that they keep (weights packed for a kernel) and are unpacked on any other read.
enum class Layout : uint8_t { strided };

/// A block of memory shared by the tensors that view it.
class Storage final : public RefCounted {
 public:
  /// Uninitialised memory of `bytes` bytes, aligned to 64. Throws std::bad_alloc when there is none.
  explicit Storage(size_t bytes, Device device = {});
  /// No memory: the name of a value in a function that is being compiled. No two are the same.
  struct Traced {};
  explicit Storage(Traced) {}
  ~Storage() override;

  bool is_traced() const { return !data_; }

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  Device device() const { return device_; }
  Layout layout() const { return layout_; }
  /// A number that no other storage has, nor this one with other values: it changes with each touch().
  uint64_t stamp() const { return stamp_; }
  /// To be called where values that others may have read are overwritten.
  void touch();

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
  Device device_;
  Layout layout_ = Layout::strided;
  uint64_t stamp_ = 0;
};

namespace detail {

/// Bytes of a large page. Blocks of one to 128 of them lie in such pages where the system has them (on Linux
/// where transparent huge pages are on, or left to the program): fewer pages are looked up, and processors
/// fetch ahead within a page. Larger blocks gain no more, and first steps would wait for their pages.
inline constexpr size_t kLargePage = size_t{2} << 20;
/// Uninitialised memory of `bytes` bytes, aligned to 64; to be given to std::free(). Null when there is none.
void* aligned_memory(size_t bytes);

}  // namespace detail

/// What the pool holds, in bytes.
struct MemoryStats {
  int64_t in_use = 0;  ///< held by living tensors, after rounding to the pool's block sizes
  int64_t peak = 0;    ///< the largest in_use since the start or reset_peak_memory()
  int64_t cached = 0;  ///< freed by tensors and kept for the next ones
};
/// The counts now, over all threads.
MemoryStats memory_stats();
/// Starts the peak anew at what is in use.
void reset_peak_memory();
/// Gives cached blocks back to the system.
void empty_cache();

}  // namespace hebb
