// How convolutions share out their work: equal pieces, each worth a thread or joined to others until it is.
#pragma once
#include <algorithm>
#include <cstdint>

#include "hebb/core/parallel.h"

namespace hebb::cpu {

inline constexpr double kThreadWork = 300000;  // multiplications that pay for one more thread

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Calls fn(i) for `count` equal pieces of `work` multiplications.
template <class F>
void for_each_piece(int64_t count, double work, F fn) {
  const double each = work / static_cast<double>(std::max<int64_t>(1, count));
  const auto grain = static_cast<int64_t>(kThreadWork / std::max(1.0, each)) + 1;
  parallel_for(count, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) fn(i);
  });
}

/// Into how many pieces each of `pieces` must be cut to keep all threads busy; at most `most`.
inline int64_t cuts_for_threads(int64_t pieces, int64_t most) {
  const int64_t threads = num_threads();
  return threads == 1 ? 1 : std::clamp<int64_t>(ceil_div(3 * threads, std::max<int64_t>(1, pieces)), 1, most);
}

}  // namespace hebb::cpu
