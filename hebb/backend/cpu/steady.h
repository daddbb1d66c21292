// What kernels keep of operands whose values stay the same from run to run.
#pragma once
#include <memory>

#include "hebb/core/storage.h"
#include "hebb/op/dispatch.h"

namespace hebb::cpu {

/// Something made of a steady operand, a packed weight: made again only when the operand has changed. Copies
/// share it.
template <class T>
class Steady {
 public:
  /// What `make(memory)` wrote to `size()` elements for the values that input `i` has now; null if they may
  /// change with each run. Neither is called unless there is something to be made.
  template <class Size, class F>
  const T* of(const ExecContext& context, int i, Size size, F make) const {
    const uint64_t stamp = context.stamps ? context.stamps[i] : 0;
    if (stamp == 0) return nullptr;
    if (kept_->stamp != stamp) {
      kept_->stamp = 0;  // should it throw
      if (!kept_->memory) kept_->memory = make_ref<Storage>(static_cast<size_t>(size()) * sizeof(T));
      make(static_cast<T*>(kept_->memory->data()));
      kept_->stamp = stamp;
    }
    return static_cast<const T*>(kept_->memory->data());
  }

 private:
  struct Kept {
    uint64_t stamp = 0;
    Ref<Storage> memory;
  };
  std::shared_ptr<Kept> kept_ = std::make_shared<Kept>();
};

}  // namespace hebb::cpu
