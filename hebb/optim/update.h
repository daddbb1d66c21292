// One pass over memory for one tensor's update: how every optimizer writes its rule.
#pragma once
#include <hwy/targets.h>

#include <algorithm>
#include <cstring>

#include "hebb/core/parallel.h"
#include "hebb/optim/optimizer.h"

namespace hebb::optim {
namespace detail {

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

/// Old values are moved this many at a time to where a rule changes them: few enough to stay in the cache.
inline constexpr int64_t kMoved = 2048;

template <class T, size_t... slot, class Rule>
void update_as(const Update& u, const Rule& rule) {
  auto apply = apply_rule_baseline<Rule, T, std::enable_if_t<(slot < Update::kMaxSlots), T>...>;
#if HWY_ARCH_X86
  static const bool has_avx2 =
      (hwy::SupportedTargets() & HWY_AVX2) != 0;  // asking is slow in a virtual machine
  if (has_avx2) apply = apply_rule_avx2<Rule, T, std::enable_if_t<(slot < Update::kMaxSlots), T>...>;
#endif
  const auto at = [](void* p, int64_t i) { return static_cast<T*>(p) + i; };
  const auto move = [&](const Update::Values& v, int64_t i, int64_t n) {
    if (v.now != v.before)
      std::memcpy(at(v.now, i), static_cast<const T*>(v.before) + i, static_cast<size_t>(n) * sizeof(T));
  };
  const bool in_place = u.value.now == u.value.before && ((u.slots[slot].now == u.slots[slot].before) && ...);
  hebb::parallel_for(u.n, kUpdateGrain, [&](int64_t begin, int64_t end) {
    const int64_t most = in_place ? end - begin : kMoved;
    for (int64_t i = begin; i < end; i += most) {
      const int64_t n = std::min(most, end - i);
      move(u.value, i, n);
      (move(u.slots[slot], i, n), ...);
      apply(rule, n, static_cast<const T*>(u.grad) + i, at(u.value.now, i), at(u.slots[slot].now, i)...);
    }
  });
}

}  // namespace detail

/// Applies an optimizer's rule to each element: make_rule(T{}) returns a function (T g, T& w, T& s...), where
/// s are the slots whose numbers are given. Elements are independent, so the result does not depend on
/// threads.
template <size_t... slot, class MakeRule>
void update_each(const Update& u, const MakeRule& make_rule) {
  if (u.type == f64) detail::update_as<double, slot...>(u, make_rule(double{}));
  else detail::update_as<float, slot...>(u, make_rule(float{}));
}

}  // namespace hebb::optim
