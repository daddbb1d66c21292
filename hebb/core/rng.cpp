#include "hebb/core/rng.h"

#include <numeric>

namespace hebb {

std::vector<int64_t> RandomStream::permutation(int64_t n) const {
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), int64_t{0});
  for (int64_t i = n - 1; i > 0; --i)
    std::swap(order[i], order[below(static_cast<uint64_t>(i), static_cast<uint64_t>(i) + 1)]);
  return order;
}

}  // namespace hebb
