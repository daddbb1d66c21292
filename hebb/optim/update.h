// One pass over memory for one tensor's update: how every optimizer writes its rule. Not public.
#pragma once
#include <hwy/targets.h>

#include <type_traits>

#include "hebb/core/check.h"
#include "hebb/core/parallel.h"
#include "hebb/core/tensor.h"

namespace hebb::optim::detail {

/// Values of a state tensor opened for writing, densely in row-major order and of type T: the tensor's own
/// memory if nothing shares it, else a copy that commit() assigns.
template <class T>
class OpenValues {
 public:
  explicit OpenValues(Tensor& t) : target_(t) {
    const bool own = t.dtype() == dtype_of<T> && t.is_contiguous() && t.impl()->storage->use_count() == 1;
    if (!own) {
      copy_ = Tensor::empty(t.shape(), dtype_of<T>);
      hebb::detail::copy_values(t.spec(), t.raw_data(), copy_.spec(), copy_.raw_data());
    }
    values_ = own ? t.mutable_data<T>() : copy_.mutable_data<T>();
  }
  T* values() { return values_; }
  void commit() {
    if (copy_.defined()) target_.assign_(copy_);
  }

 private:
  Tensor& target_;
  Tensor copy_;
  T* values_;
};

/// Values of a tensor for reading, densely in row-major order and of type T.
template <class T>
class DenseValues {
 public:
  explicit DenseValues(const Tensor& t) : dense_(t) {
    if (t.dtype() != dtype_of<T> || !t.is_contiguous()) {
      dense_ = Tensor::empty(t.shape(), dtype_of<T>);
      hebb::detail::copy_values(t.spec(), t.raw_data(), dense_.spec(), dense_.raw_data());
    }
  }
  const T* values() const { return dense_.data<T>(); }

 private:
  Tensor dense_;
};

/// Elements that are worth a second thread: about 20 microseconds of the cheapest rule.
inline constexpr int64_t kUpdateGrain = 16384;

// The loop is plain C++ that compilers vectorise: distinct storages, so nothing overlaps. Square roots and
// divisions make it slow at the 128 bits that every x86-64 has, so there is a second version for AVX2 (2 to 3
// times as fast; twice the width again gains nothing, the divider being no wider). Both give the same bits:
// no product fuses with a sum.
template <class Rule, class T, class... S>
[[gnu::always_inline]] inline void apply_rule(const Rule& rule, int64_t n, const T* __restrict g,
                                              T* __restrict w, S* __restrict... s) {
  const Rule r = rule;  // a local copy: its numbers stay in registers
  for (int64_t i = 0; i < n; ++i) r(g[i], w[i], s[i]...);
}

template <class Rule, class T, class... S>
void apply_rule_baseline(const Rule& rule, int64_t n, const T* g, T* w, S*... s) {
  apply_rule(rule, n, g, w, s...);
}

#if HWY_ARCH_X86
template <class Rule, class T, class... S>
[[gnu::target("avx2")]] void apply_rule_avx2(const Rule& rule, int64_t n, const T* g, T* w, S*... s) {
  apply_rule(rule, n, g, w, s...);
}
#endif

template <class T, class Rule, class... Slots>
void update_open(const Rule& rule, int64_t n, const T* grad, OpenValues<T> value, Slots... slots) {
  auto apply = apply_rule_baseline<Rule, T, std::remove_pointer_t<decltype(slots.values())>...>;
#if HWY_ARCH_X86
  if (hwy::SupportedTargets() & HWY_AVX2)
    apply = apply_rule_avx2<Rule, T, std::remove_pointer_t<decltype(slots.values())>...>;
#endif
  hebb::parallel_for(n, kUpdateGrain, [&](int64_t begin, int64_t end) {
    apply(rule, end - begin, grad + begin, value.values() + begin, slots.values() + begin...);
  });
  value.commit();
  (slots.commit(), ...);
}

template <class T, class Rule, class... S>
void update_as(const Rule& rule, Tensor& value, const Tensor& grad, S&... slots) {
  const DenseValues<T> dense(grad);
  update_open<T>(rule, value.numel(), dense.values(), OpenValues<T>(value), OpenValues<T>(slots)...);
}

/// Applies an optimizer's rule to each element: make_rule(T{}) returns a function (T g, T& w, T& slot...),
/// called in f64 for f64 parameters and in f32 for all others. Elements are independent, so the result does
/// not depend on threads.
template <class MakeRule, class... S>
void update_each(Tensor& value, const Tensor& grad, const MakeRule& make_rule, S&... slots) {
  if (value.dtype() == f64) update_as<double>(make_rule(double{}), value, grad, slots...);
  else update_as<float>(make_rule(float{}), value, grad, slots...);
}

}  // namespace hebb::optim::detail
