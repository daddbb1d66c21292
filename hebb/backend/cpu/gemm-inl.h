// The micro-kernel of all matrix products: one tile of C in registers, its sum over a block of k, and what
// happens to the sum at the end. Compiled once for every instruction set (no include guard: see the toggle).
#if defined(HEBB_BACKEND_CPU_GEMM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HEBB_BACKEND_CPU_GEMM_INL_H_
#undef HEBB_BACKEND_CPU_GEMM_INL_H_
#else
#define HEBB_BACKEND_CPU_GEMM_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <limits>
#include <utility>

// Accumulators stay in registers only when every loop over them is unrolled.
#undef HEBB_UNROLL
#define HEBB_UNROLL _Pragma("GCC unroll 16")

HWY_BEFORE_NAMESPACE();
namespace hebb::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class T>
using Tag = hn::ScalableTag<T>;
template <class T>
using Vec = hn::Vec<Tag<T>>;
template <class T>
constexpr int kLanes = static_cast<int>(hn::MaxLanes(Tag<T>()));

/// Columns of a tile: two vectors, so that each broadcast element of A is used twice.
template <class T>
constexpr int kTileColumns = 2 * kLanes<T>;

// Rows of a tile, by the number of vector registers: rows * 2 sums, 2 vectors of B and one of A must fit.
// With A packed fewer rows start sooner at the same speed; with A in place more rows read B less often.
#if HWY_TARGET == HWY_AVX3 || HWY_ARCH_ARM_A64
constexpr int kMaxTileRows = 12, kPackedTileRows = 8;
#elif HWY_TARGET == HWY_EMU128 || HWY_TARGET == HWY_SCALAR
constexpr int kMaxTileRows = 4, kPackedTileRows = 4;
#else
constexpr int kMaxTileRows = 6, kPackedTileRows = 6;
#endif

// Masked lanes are neither read nor written. Elsewhere Highway blends whole vectors, which would touch
// memory beyond the end of a matrix, or elements that another thread writes.
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2
constexpr bool kMasksGuardMemory = true;
#else
constexpr bool kMasksGuardMemory = false;
#endif
// Whether the micro-kernel may load the ragged last vector of B under a mask at no cost.
constexpr bool kMaskedTileLoads = HWY_TARGET == HWY_AVX3;

/// The first n lanes from p, zeros behind them; reads no more than n elements.
template <class T>
HWY_INLINE Vec<T> load_first(const T* p, int64_t n) {
  const Tag<T> d;
  if (n >= kLanes<T>) return hn::LoadU(d, p);
  if constexpr (kMasksGuardMemory) {
    return hn::MaskedLoad(hn::FirstN(d, static_cast<size_t>(n)), d, p);
  } else {
    alignas(64) T lanes[kLanes<T>] = {};
    for (int64_t i = 0; i < n; ++i) lanes[i] = p[i];
    return hn::Load(d, lanes);
  }
}

/// Writes the first n lanes to p and nothing else.
template <class T>
HWY_INLINE void store_first(Vec<T> v, T* p, int64_t n) {
  const Tag<T> d;
  if (n >= kLanes<T>) return hn::StoreU(v, d, p);
  if constexpr (kMasksGuardMemory) {
    hn::BlendedStore(v, hn::FirstN(d, static_cast<size_t>(n)), d, p);
  } else {
    alignas(64) T lanes[kLanes<T>];
    hn::Store(v, d, lanes);
    for (int64_t i = 0; i < n; ++i) p[i] = lanes[i];
  }
}

// Where the processor multiplies pairs of bf16 (AVX512-BF16), which is asked for at run time. Builds for
// tests on other processors emulate it: the same words, much slower.
#undef HEBB_PAIRS_OF_BF16
#if defined(HEBB_EMULATE_BF16) || HWY_TARGET <= HWY_AVX3  // and better ones, which count downwards
#define HEBB_PAIRS_OF_BF16 1
#else
#define HEBB_PAIRS_OF_BF16 0
#endif

// What the micro-kernel multiplies are words: of a panel of A one is broadcast, of B they fill vectors. A
// word holds kPerWord neighbours along k.

/// A word is one element.
template <class T>
struct Elements {
  using Type = T;
  static constexpr int kPerWord = 1;
  /// Words of the first lanes from p, neighbours along k, of which `left` elements are there; zeros behind.
  static HWY_INLINE Vec<T> along_k(const T* p, int64_t left) { return load_first(p, left); }
  /// The word of rows k of n neighbouring columns from p; `left` rows, `stride` apart, are there.
  static HWY_INLINE Vec<T> across_k(const T* p, int64_t /*stride*/, int64_t /*left*/, int64_t n) {
    return load_first(p, n);
  }
  static HWY_INLINE Vec<T> multiply_add(Vec<T> a, Vec<T> b, Vec<T> sum) { return hn::MulAdd(a, b, sum); }
};

#if HEBB_PAIRS_OF_BF16 && defined(HEBB_EMULATE_BF16)
struct PairsOfBf16 {
  using Type = float;
  static constexpr int kPerWord = 2;
  static HWY_INLINE Vec<float> along_k(const float* p, int64_t left) {
    return pairs([&](int64_t i) { return 2 * i < left ? p[2 * i] : 0; },
                 [&](int64_t i) { return 2 * i + 1 < left ? p[2 * i + 1] : 0; });
  }
  static HWY_INLINE Vec<float> across_k(const float* p, int64_t stride, int64_t left, int64_t n) {
    return pairs([&](int64_t i) { return i < n ? p[i] : 0; },
                 [&](int64_t i) { return i < n && left > 1 ? p[stride + i] : 0; });
  }
  static HWY_INLINE Vec<float> multiply_add(Vec<float> a, Vec<float> b, Vec<float> sum) {
    const auto first = [](Vec<float> v)
                           HWY_ATTR { return of_bits(hn::ShiftLeft<16>(hn::BitCast(kBits, v))); };
    const auto second = [](Vec<float> v) HWY_ATTR {
      return of_bits(hn::And(hn::BitCast(kBits, v), hn::Set(kBits, 0xffff0000u)));
    };
    return hn::MulAdd(first(a), first(b), hn::MulAdd(second(a), second(b), sum));
  }

 private:
  static constexpr hn::RebindToUnsigned<Tag<float>> kBits{};
  static HWY_INLINE Vec<float> of_bits(hn::Vec<hn::RebindToUnsigned<Tag<float>>> v) {
    return hn::BitCast(Tag<float>(), v);
  }
  static uint32_t rounded(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof(bits));
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  }
  template <class First, class Second>
  static HWY_INLINE Vec<float> pairs(First first, Second second) {
    alignas(64) uint32_t all[kLanes<float>];
    for (int64_t i = 0; i < kLanes<float>; ++i) all[i] = rounded(second(i)) << 16 | rounded(first(i));
    return of_bits(hn::Load(kBits, all));
  }
};
#elif HEBB_PAIRS_OF_BF16
/// A word is two f32 rounded to bf16 (to nearest, ties to even), kept as the bits of a float. Highway 1.0 has
/// no name for these instructions.
struct PairsOfBf16 {
  using Type = float;
  static constexpr int kPerWord = 2;
  static HWY_INLINE Vec<float> along_k(const float* p, int64_t left) {
    constexpr int L = kLanes<float>;
    return rounded(load_first(p, left), left > L ? load_first(p + L, left - L) : hn::Zero(Tag<float>()));
  }
  static HWY_INLINE Vec<float> across_k(const float* p, int64_t stride, int64_t left, int64_t n) {
    const Vec<float> zero = hn::Zero(Tag<float>());
    const Vec<float> rows = rounded(load_first(p, n), left > 1 ? load_first(p + stride, n) : zero);
    // The first row's columns lie before the second's: turn them into pairs.
    alignas(64) static constexpr uint16_t kPairs[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                        21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                        11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    return Vec<float>{_mm512_castsi512_ps(
        _mm512_permutexvar_epi16(_mm512_load_si512(kPairs), _mm512_castps_si512(rows.raw)))};
  }
  static HWY_INLINE Vec<float> multiply_add(Vec<float> a, Vec<float> b, Vec<float> sum) {
    asm("vdpbf16ps %2, %1, %0" : "+v"(sum.raw) : "v"(b.raw), "v"(a.raw));
    return sum;
  }

 private:
  static HWY_INLINE Vec<float> rounded(Vec<float> low, Vec<float> high) {
    Vec<float> both;
    asm("vcvtne2ps2bf16 %1, %2, %0" : "=v"(both.raw) : "v"(low.raw), "v"(high.raw));
    return both;
  }
};
#endif

/// How many words hold k neighbours.
template <class F>
constexpr int64_t words(int64_t k) {
  return (k + F::kPerWord - 1) / F::kPerWord;
}

/// Pieces of matrices to be brought into the second-level cache, line by line while tiles are summed.
class Prefetcher {
 public:
  /// `rows` rows of `bytes`, `stride` bytes apart, within so many tiles of `depth` words; beside what is
  /// left.
  void set(int i, const void* p, int64_t stride, int64_t rows, int64_t bytes, int64_t tiles, int64_t depth) {
    const auto address = reinterpret_cast<uintptr_t>(p);
    Piece& piece = pieces_[i];
    piece.row = reinterpret_cast<const char*>(address & ~uintptr_t{63});
    piece.bytes = bytes + static_cast<int64_t>(address & 63);
    piece.stride = stride;
    piece.at = 0;
    piece.left = rows * ((piece.bytes + 63) / 64);
    every_ = std::min(every_, std::max<int64_t>(1, tiles * depth / std::max<int64_t>(1, piece.left)));
  }
  /// How many words are to be summed between lines; no line is wanted if there are fewer.
  int64_t every() const { return every_; }
  HWY_INLINE void step() {
    HEBB_UNROLL for (Piece& piece : pieces_) {
      if (piece.left == 0) continue;
      --piece.left;
      __builtin_prefetch(piece.row + piece.at, 0, 2);
      piece.at += 64;
      if (piece.at >= piece.bytes) {
        piece.at = 0;
        piece.row += piece.stride;
      }
    }
  }

 private:
  struct Piece {
    const char* row = nullptr;
    int64_t stride = 0, bytes = 0, at = 0, left = 0;
  };
  Piece pieces_[2];
  int64_t every_ = std::numeric_limits<int64_t>::max();
};

/// What happens to a tile once its block of k is summed, and meanwhile.
template <class T>
struct TileEnd {
  bool accumulate = false;
  bool fetch_c = false;         // C is likely in no near cache: fetch it while the sum runs
  const T* row_bias = nullptr;  // one value a row of the tile
  const T* col_bias = nullptr;  // one value a column
  const T* residual = nullptr;  // as C
  bool relu = false;
  bool stream = false;  // write past the caches: C is aligned to 64 bytes, and so are its rows
  Prefetcher* next = nullptr;
};

/// Whether `elements` results at c, in rows of `ldc`, are written past the caches: no cache would hold them
/// until they are read, and vectors are whole lines.
template <class T>
HWY_INLINE bool streams(const T* c, int64_t elements, int64_t ldc) {
  constexpr int64_t kStreamedBytes = 16 << 20;
  return kLanes<T> * sizeof(T) == 64 && elements * static_cast<int64_t>(sizeof(T)) >= kStreamedBytes &&
         reinterpret_cast<uintptr_t>(c) % 64 == 0 && static_cast<uint64_t>(ldc) * sizeof(T) % 64 == 0;
}

/// Rows of a tile one vector wide: enough sums to overlap the latency of multiply-adds.
constexpr int kMaxNarrowRows = 2 * kMaxTileRows < 12 ? 2 * kMaxTileRows : 12;

/// Where the micro-kernel finds element (i, k) of A: kRows at a[i * stride + k], kColumns at a[k * stride +
/// i].
enum class ALayout { kRows, kColumns };

/// The rows of A that a tile reads, as one pointer for every third row: the two rows that follow are reached
/// with the stride as an index, so that 12 rows leave registers for everything else. The empty asm keeps the
/// compiler from rewriting the pointers as one base and many offsets, which it would spill.
template <class T, int Rows, ALayout Layout>
class TileRows {
 public:
  HWY_INLINE TileRows(const T* a, int64_t stride) : stride_(stride) {
    HEBB_UNROLL for (int g = 0; g < kGroups; ++g) {
      rows_[g] = a + 3 * g * stride;
      asm("" : "+r"(rows_[g]));
    }
  }
  HWY_INLINE const T* row(int i) const {
    if constexpr (Layout == ALayout::kColumns) return rows_[0] + i;
    return rows_[i / 3] + i % 3 * stride_;
  }
  HWY_INLINE void next_k() {
    HEBB_UNROLL for (int g = 0; g < kGroups; ++g) rows_[g] += Layout == ALayout::kColumns ? stride_ : 1;
  }

 private:
  static constexpr int kGroups = Layout == ALayout::kColumns ? 1 : (Rows + 2) / 3;
  const T* rows_[kGroups];
  int64_t stride_;
};

/// Sums to which add_products() adds, in registers.
template <class T, int Rows, int Vectors>
using TileSums = Vec<T>[Rows][Vectors];

/// sum[i][j] += sum over k of a(i, k) * b[k * b_stride + j], for Rows rows and Vectors vectors of columns, of
/// which the last holds `last` columns; k counts words, `depth` of them.
template <class F, ALayout Layout, int Rows, int Vectors, class T = typename F::Type>
HWY_INLINE void add_products(int64_t depth, const T* HWY_RESTRICT a, int64_t a_stride,
                             const T* HWY_RESTRICT b, int64_t b_stride, int last, Prefetcher* next,
                             TileSums<T, Rows, Vectors>& sum) {
  constexpr int L = kLanes<T>;
  const Tag<T> d;
  [[maybe_unused]] const auto last_mask = hn::FirstN(d, static_cast<size_t>(last));
  TileRows<T, Rows, Layout> rows(a, a_stride);
  const int64_t every = next ? next->every() : depth;
  int64_t pause = every;
  for (int64_t k = 0; k < depth; ++k) {
    if (k == pause) {
      next->step();
      pause += every;
    }
    Vec<T> bv[Vectors];
    HEBB_UNROLL for (int j = 0; j < Vectors; ++j) {
      if (kMaskedTileLoads && j == Vectors - 1) {
        bv[j] = hn::MaskedLoad(last_mask, d, b + j * L);
      } else {
        bv[j] = hn::LoadU(d, b + j * L);
      }
    }
    HEBB_UNROLL for (int i = 0; i < Rows; ++i) {
      const Vec<T> av = hn::Set(d, *rows.row(i));
      HEBB_UNROLL for (int j = 0; j < Vectors; ++j) sum[i][j] = F::multiply_add(av, bv[j], sum[i][j]);
    }
    rows.next_k();
    b += b_stride;
  }
}

/// Does with the sums what `end` says and writes them to c, `last` columns of their last vectors.
template <int Rows, int Vectors, class T>
HWY_INLINE void finish_tile(TileSums<T, Rows, Vectors>& sum, T* HWY_RESTRICT c, int64_t ldc, int last,
                            const TileEnd<T>& end) {
  constexpr int L = kLanes<T>;
  const Tag<T> d;
  const bool full = last == L;
  if (end.accumulate) {
    HEBB_UNROLL for (int i = 0; i < Rows; ++i) {
      HEBB_UNROLL for (int j = 0; j < Vectors; ++j) {
        const T* p = c + i * ldc + j * L;
        sum[i][j] = hn::Add(sum[i][j], full || j < Vectors - 1 ? hn::LoadU(d, p) : load_first(p, last));
      }
    }
  }
  if (end.col_bias) {
    HEBB_UNROLL for (int j = 0; j < Vectors; ++j) {
      const T* p = end.col_bias + j * L;
      const Vec<T> bias = full || j < Vectors - 1 ? hn::LoadU(d, p) : load_first(p, last);
      HEBB_UNROLL for (int i = 0; i < Rows; ++i) sum[i][j] = hn::Add(sum[i][j], bias);
    }
  }
  if (end.row_bias) {
    HEBB_UNROLL for (int i = 0; i < Rows; ++i) {
      const Vec<T> bias = hn::Set(d, end.row_bias[i]);
      HEBB_UNROLL for (int j = 0; j < Vectors; ++j) sum[i][j] = hn::Add(sum[i][j], bias);
    }
  }
  if (end.residual) {
    HEBB_UNROLL for (int i = 0; i < Rows; ++i) {
      HEBB_UNROLL for (int j = 0; j < Vectors; ++j) {
        const T* p = end.residual + i * ldc + j * L;
        sum[i][j] = hn::Add(sum[i][j], full || j < Vectors - 1 ? hn::LoadU(d, p) : load_first(p, last));
      }
    }
  }
  if (end.relu) {  // (of the two that Max is given, not a number is the second: it passes)
    HEBB_UNROLL for (int i = 0; i < Rows; ++i) {
      HEBB_UNROLL for (int j = 0; j < Vectors; ++j) sum[i][j] = hn::Max(hn::Zero(d), sum[i][j]);
    }
  }
  if (full && end.stream) {
    HEBB_UNROLL for (int i = 0; i < Rows; ++i) {
      HEBB_UNROLL for (int j = 0; j < Vectors; ++j) hn::Stream(sum[i][j], d, c + i * ldc + j * L);
    }
  } else if (full) {
    HEBB_UNROLL for (int i = 0; i < Rows; ++i) {
      HEBB_UNROLL for (int j = 0; j < Vectors; ++j) hn::StoreU(sum[i][j], d, c + i * ldc + j * L);
    }
  } else {
    HEBB_UNROLL for (int i = 0; i < Rows; ++i) {
      HEBB_UNROLL for (int j = 0; j < Vectors - 1; ++j) hn::StoreU(sum[i][j], d, c + i * ldc + j * L);
      store_first(sum[i][Vectors - 1], c + i * ldc + (Vectors - 1) * L, last);
    }
  }
}

/// c[i][j] (+)= sum over k of a(i, k) * b[k * b_stride + j], as add_products() and finish_tile(). Each block
/// of k is summed from zero and then added to C.
template <class F, int Rows, int Vectors, ALayout Layout, class T = typename F::Type>
void multiply_tile(int64_t depth, const T* HWY_RESTRICT a, int64_t a_stride, const T* HWY_RESTRICT b,
                   int64_t b_stride, T* HWY_RESTRICT c, int64_t ldc, int last, const TileEnd<T>& end) {
  constexpr int L = kLanes<T>;
  const Tag<T> d;
  TileSums<T, Rows, Vectors> sum;
  HEBB_UNROLL for (int i = 0; i < Rows; ++i) {
    HEBB_UNROLL for (int j = 0; j < Vectors; ++j) sum[i][j] = hn::Zero(d);
  }
  if (end.fetch_c) {
    HEBB_UNROLL for (int i = 0; i < Rows; ++i) {
      HEBB_UNROLL for (int j = 0; j < Vectors; ++j) __builtin_prefetch(c + i * ldc + j * L, 1);
    }
  }
  if (end.residual) {
    HEBB_UNROLL for (int i = 0; i < Rows; ++i) {
      HEBB_UNROLL for (int j = 0; j < Vectors; ++j) __builtin_prefetch(end.residual + i * ldc + j * L);
    }
  }
  add_products<F, Layout, Rows, Vectors>(depth, a, a_stride, b, b_stride, last, end.next, sum);
  finish_tile<Rows, Vectors>(sum, c, ldc, last, end);
}

template <class T>
using TileKernel = void (*)(int64_t, const T*, int64_t, const T*, int64_t, T*, int64_t, int,
                            const TileEnd<T>&);

template <class F, int Vectors, ALayout Layout, int... I>
constexpr std::array<TileKernel<typename F::Type>, sizeof...(I)> tile_kernels(
    std::integer_sequence<int, I...>) {
  return {&multiply_tile<F, I + 1, Vectors, Layout>...};
}

/// The micro-kernel for a tile of 1 or 2 vectors of columns and `rows` rows: 1 to kMaxTileRows, or to
/// kMaxNarrowRows for one vector.
template <class T, class F = Elements<T>>
HWY_INLINE TileKernel<T> tile_kernel(ALayout layout, int64_t rows, int vectors) {
  using Wide = std::make_integer_sequence<int, kMaxTileRows>;
  using Narrow = std::make_integer_sequence<int, kMaxNarrowRows>;
  static constexpr auto kWideRows = tile_kernels<F, 2, ALayout::kRows>(Wide());
  static constexpr auto kWideColumns = tile_kernels<F, 2, ALayout::kColumns>(Wide());
  static constexpr auto kNarrowRows = tile_kernels<F, 1, ALayout::kRows>(Narrow());
  static constexpr auto kNarrowColumns = tile_kernels<F, 1, ALayout::kColumns>(Narrow());
  const auto i = static_cast<size_t>(rows - 1);
  if (vectors == 2) return layout == ALayout::kRows ? kWideRows[i] : kWideColumns[i];
  return layout == ALayout::kRows ? kNarrowRows[i] : kNarrowColumns[i];
}

}  // namespace HWY_NAMESPACE
}  // namespace hebb::cpu
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
