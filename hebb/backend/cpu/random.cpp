// Dropout: random numbers for vectors of counters at once, the same as RandomStream's.
#include <cmath>

#include "hebb/backend/cpu/kernel_support.h"
#include "hebb/core/parallel.h"
#include "hebb/core/rng.h"
#include "hebb/ops/random_attrs.h"
#include "hebb/ops/table.h"

#ifndef HEBB_BACKEND_CPU_RANDOM_TYPES_  // this file is compiled once for every instruction set
#define HEBB_BACKEND_CPU_RANDOM_TYPES_
namespace hebb::cpu {
namespace {

/// What dropout does to n elements whose first belongs to word 0 of `block`: zero where the 24 upper bits of
/// the element's word are below `least`, else multiplied by `scale`.
struct DropoutRange {
  const float* x;
  float* y;
  int64_t n;
  uint64_t block;
  int32_t least;
  float scale;
};

}  // namespace
}  // namespace hebb::cpu
#endif

#include "hebb/backend/cpu/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hebb/backend/cpu/random.cpp"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "hebb/backend/cpu/gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hebb::cpu {
namespace HWY_NAMESPACE {

using Words = Vec<uint32_t>;

/// The upper and lower halves of a * factor.
HWY_INLINE void multiply_wide(Words a, uint32_t factor, Words& high, Words& low) {
  const Tag<uint32_t> d;
#if HWY_TARGET == HWY_SCALAR
  const uint64_t product = uint64_t{hn::GetLane(a)} * factor;
  high = hn::Set(d, static_cast<uint32_t>(product >> 32));
  low = hn::Set(d, static_cast<uint32_t>(product));
#else
  const hn::RepartitionToWide<Tag<uint32_t>> wide;
  const Words f = hn::Set(d, factor);
  const auto even = hn::BitCast(d, hn::MulEven(a, f));
  const auto odd = hn::BitCast(d, hn::MulEven(hn::BitCast(d, hn::ShiftRight<32>(hn::BitCast(wide, a))), f));
  low = hn::OddEven(hn::BitCast(d, hn::ShiftLeft<32>(hn::BitCast(wide, odd))), even);
  high = hn::OddEven(odd, hn::BitCast(d, hn::ShiftRight<32>(hn::BitCast(wide, even))));
#endif
}

/// philox4x32() for the counters block, block + 1, …, one a lane.
HWY_INLINE void philox(const RandomStream& random, uint64_t block, Words (&w)[4]) {
  const Tag<uint32_t> d;
  const auto low = static_cast<uint32_t>(block);
  w[0] = hn::Add(hn::Set(d, low), hn::Iota(d, 0));
  // Lanes in which the lower half has run over belong to the next upper half.
  const auto carry = hn::VecFromMask(d, hn::Lt(w[0], hn::Set(d, low)));
  w[1] = hn::Sub(hn::Set(d, static_cast<uint32_t>(block >> 32)), carry);
  w[2] = hn::Set(d, static_cast<uint32_t>(random.stream));
  w[3] = hn::Set(d, static_cast<uint32_t>(random.stream >> 32));
  auto key0 = static_cast<uint32_t>(random.seed), key1 = static_cast<uint32_t>(random.seed >> 32);
  for (int round = 0; round < 10; ++round) {
    Words high0, low0, high1, low1;
    multiply_wide(w[0], 0xD2511F53u, high0, low0);
    multiply_wide(w[2], 0xCD9E8D57u, high1, low1);
    w[0] = hn::Xor(hn::Xor(high1, w[1]), hn::Set(d, key0));
    w[2] = hn::Xor(hn::Xor(high0, w[3]), hn::Set(d, key1));
    w[1] = low1;
    w[3] = low0;
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
}

void dropout_range(const RandomStream& random, const DropoutRange& r) {
  constexpr int64_t L = kLanes<float>;
  const Tag<uint32_t> words;
  const Tag<int32_t> ints;
  const Tag<float> d;
  const auto least = hn::Set(ints, r.least);
  const auto scale = hn::Set(d, r.scale);
  alignas(64) uint32_t in_order[4 * L];
  for (int64_t i = 0; i < r.n; i += 4 * L) {
    Words w[4];
    philox(random, r.block + static_cast<uint64_t>(i / 4), w);
    hn::StoreInterleaved4(w[0], w[1], w[2], w[3], words, in_order);
    for (int64_t j = 0; j < 4 * L && i + j < r.n; j += L) {
      const auto bits = hn::BitCast(ints, hn::ShiftRight<8>(hn::Load(words, in_order + j)));
      const int64_t rest = r.n - i - j;
      const auto value = hn::Mul(load_first(r.x + i + j, rest), scale);
      store_first(hn::IfThenZeroElse(hn::RebindMask(d, hn::Lt(bits, least)), value), r.y + i + j, rest);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace hebb::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hebb::cpu {
namespace {

HWY_EXPORT(dropout_range);

Kernel prepare_dropout(const Attrs& attrs, SpecPtrs in, SpecPtrs) {
  if (in[0]->dtype != f32) return {};
  const double p = attrs.as<DropoutAttrs>().p;
  const int64_t n = in[0]->shape.numel();
  // uniform_from_bits() is below p where its 24 bits are below this.
  const auto least = static_cast<int32_t>(std::ceil(p * 0x1p24));
  const auto scale = static_cast<float>(p < 1 ? 1 / (1 - p) : 0);
  return [=](ExecContext&, const void* const* inputs, void* const* outputs) {
    const auto* key = input<int64_t>(inputs, 1);
    const RandomStream random{static_cast<uint64_t>(key[0]), static_cast<uint64_t>(key[1])};
    const auto* x = input<float>(inputs, 0);
    auto* y = output<float>(outputs, 0);
    parallel_for((n + 3) / 4, 8192, [&](int64_t begin, int64_t end) {
      const int64_t first = 4 * begin;
      HWY_DYNAMIC_DISPATCH(dropout_range)
      (random,
       {x + first, y + first, std::min(n, 4 * end) - first, static_cast<uint64_t>(begin), least, scale});
    });
  };
}

}  // namespace

std::vector<KernelEntry> random_kernels() { return {{&ops::dropout, prepare_dropout}}; }

}  // namespace hebb::cpu
#endif  // HWY_ONCE
