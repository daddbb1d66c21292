// Intrusive reference counting: one pointer wide handles, no separate control block.
#pragma once
#include <atomic>
#include <cstdint>
#include <utility>

namespace hebb {

/// Base of objects owned by Ref<T>. Counting is atomic; the objects themselves are not synchronised.
class RefCounted {
 public:
  RefCounted() = default;
  RefCounted(const RefCounted&) = delete;
  RefCounted& operator=(const RefCounted&) = delete;
  virtual ~RefCounted() = default;
  /// Number of owners; 1 means that the only one may change the object in place.
  int32_t use_count() const { return count_.load(std::memory_order_acquire); }

 private:
  template <class>
  friend class Ref;
  mutable std::atomic<int32_t> count_{0};
};

/// A counted pointer to a RefCounted object; may be null.
template <class T>
class Ref {
 public:
  Ref() = default;
  Ref(std::nullptr_t) {}
  explicit Ref(T* p) : p_(p) { retain(); }
  Ref(const Ref& o) : p_(o.p_) { retain(); }
  Ref(Ref&& o) noexcept : p_(std::exchange(o.p_, nullptr)) {}
  /// From a pointer to a derived class.
  template <class U>
  requires std::is_convertible_v<U*, T*> Ref(const Ref<U>& o) : p_(o.get()) { retain(); }
  ~Ref() { release(); }
  Ref& operator=(Ref o) noexcept {
    std::swap(p_, o.p_);
    return *this;
  }

  T* get() const { return p_; }
  T* operator->() const { return p_; }
  T& operator*() const { return *p_; }
  explicit operator bool() const { return p_ != nullptr; }
  bool operator==(const Ref& o) const { return p_ == o.p_; }

 private:
  void retain() const {
    if (p_) static_cast<const RefCounted*>(p_)->count_.fetch_add(1, std::memory_order_relaxed);
  }
  void release() {
    if (p_ && static_cast<const RefCounted*>(p_)->count_.fetch_sub(1, std::memory_order_acq_rel) == 1)
      delete p_;
  }
  T* p_ = nullptr;
};

/// A new T, owned.
template <class T, class... A>
Ref<T> make_ref(A&&... args) {
  return Ref<T>(new T(std::forward<A>(args)...));
}

}  // namespace hebb
