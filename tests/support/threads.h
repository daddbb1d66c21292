// How many threads run kernels in a test.
#pragma once
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <vector>

#include "hebb/core/parallel.h"
#include "hebb/core/tensor.h"

namespace hebb::test_support {

/// Sets how many threads run kernels, for as long as it lives; without a number only puts it back then.
class Threads {
 public:
  Threads() = default;
  explicit Threads(int n) { set_num_threads(n); }
  ~Threads() { set_num_threads(before_); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  const int before_ = num_threads();
};

/// The results of fn hold the same bits for any number of threads.
inline void expect_same_bits_for_threads(const std::function<std::vector<Tensor>()>& fn) {
  const test_support::Threads one(1);
  const std::vector<Tensor> expected = fn();
  for (const int n : {2, 3, 5}) {
    const test_support::Threads more(n);
    const std::vector<Tensor> got = fn();
    for (size_t i = 0; i < got.size(); ++i) {
      const auto bytes = static_cast<size_t>(got[i].numel() * size_of(got[i].dtype()));
      EXPECT_EQ(std::memcmp(got[i].raw_data(), expected[i].raw_data(), bytes), 0)
          << "result " << i << " with " << n << " threads";
    }
  }
}

}  // namespace hebb::test_support
