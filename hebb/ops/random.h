// Random tensors. A value is a function of key and index alone (Philox 4x32-10): never of threads or order.
#pragma once
#include <cstdint>

#include "hebb/core/tensor.h"

namespace hebb {

/// A source of keys for random ops. Its state, i64 [2] = (seed, next stream), is a tensor: it is saved in
/// checkpoints and carried by compiled steps like any other state.
class Generator {
 public:
  explicit Generator(uint64_t seed = 0);
  /// Starts again from `seed`.
  void manual_seed(uint64_t seed);
  /// A key, i64 [2] = (seed, stream), for one random op; the next call gives another stream. Threads may
  /// share a generator: which of them gets which key is then a matter of chance.
  Tensor next_key();
  Tensor& state() { return state_; }

 private:
  Tensor state_;
};
/// The generator that random functions use when none is given.
Generator& default_generator();
/// While it lives, default_generator() of this thread is the one given.
class GeneratorScope {
 public:
  explicit GeneratorScope(Generator& generator);
  ~GeneratorScope();
  GeneratorScope(const GeneratorScope&) = delete;

 private:
  Generator* previous_;
};
/// Starts default_generator() again from `seed`.
inline void manual_seed(uint64_t seed) { default_generator().manual_seed(seed); }

/// Uniform in [0, 1).
Tensor rand(const Shape& shape, DType dtype = f32, Generator& generator = default_generator());
/// Standard normal (Box and Muller).
Tensor randn(const Shape& shape, DType dtype = f32, Generator& generator = default_generator());
/// Whole numbers, uniform in [low, high). Throws Error unless low < high.
Tensor randint(int64_t low, int64_t high, const Shape& shape, DType dtype = i64,
               Generator& generator = default_generator());
/// 1 with the probability that `p` (floating) holds at each place, else 0; of p's type.
Tensor bernoulli(const Tensor& p, Generator& generator = default_generator());
/// A random order of 0 .. n-1, i64 [n].
Tensor randperm(int64_t n, Generator& generator = default_generator());
/// Zeroes each element with probability p and multiplies the others by 1/(1 - p). x itself when not training
/// or for p = 0. Throws Error unless 0 <= p <= 1. Source: Srivastava et al., 2014.
Tensor dropout(const Tensor& x, double p = 0.5, bool training = true,
               Generator& generator = default_generator());

}  // namespace hebb
