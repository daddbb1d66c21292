// Reductions on f32 and f64. A reduction is cut by its shape alone: rows of elements side by side are folded
// in chunks of 4096, columns in blocks of 64 rows, and the partial results are joined as a balanced tree. So
// sums err little more than pairwise ones, and any number of threads gives the same bits. Sums and means that
// fused programs may hold are such programs (prepare_sum), so that fusing changes no bits.
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "hebb/backend/cpu/fold.h"
#include "hebb/backend/cpu/kernels.h"
#include "hebb/core/parallel.h"
#include "hebb/ops/reduce_attrs.h"
#include "hebb/ops/table.h"

namespace hebb::cpu {
namespace {

constexpr int64_t kChunk = 4096;          // elements of a row that are folded at once
constexpr int64_t kBlockRows = 64;        // rows that are folded at once
constexpr int64_t kStrip = 512;           // columns of a block that one thread takes
constexpr int64_t kThreadWork = 1 << 15;  // elements that pay for one more thread

/// Extents and strides of some dimensions, outermost first.
struct Walk {
  int n = 0;
  int64_t extent[Shape::kMaxDims], stride[Shape::kMaxDims];

  int64_t count() const {
    int64_t c = 1;
    for (int i = 0; i < n; ++i) c *= extent[i];
    return c;
  }
  int64_t offset(int64_t k) const {
    int64_t o = 0;
    for (int i = n - 1; i > 0; --i) {
      o += k % extent[i] * stride[i];
      k /= extent[i];
    }
    return n > 0 ? o + k * stride[0] : 0;
  }
};

/// A reduction of a dense tensor: neighbouring dimensions merged, the innermost run kept apart. Element (o,
/// f, i) lies at kept.offset(o) + folded.offset(f) + i; `i` is folded if rows, else kept.
struct Plan {
  Walk kept, folded;
  bool rows = true;
  int64_t inner = 1;

  Plan(const Shape& shape, int64_t dims) {
    const Strides strides = contiguous_strides(shape);
    struct Run {
      bool folded;
      int64_t extent, stride;
    };
    std::vector<Run> runs;
    for (int d = 0; d < shape.ndim(); ++d) {
      if (shape[d] == 1) continue;
      const bool fold = dims >> d & 1;
      if (!runs.empty() && runs.back().folded == fold) {
        runs.back().extent *= shape[d];
        runs.back().stride = strides[d];
      } else {
        runs.push_back({fold, shape[d], strides[d]});
      }
    }
    if (runs.empty()) return;
    rows = runs.back().folded;
    inner = runs.back().extent;
    runs.pop_back();
    for (const Run& r : runs) {
      Walk& w = r.folded ? folded : kept;
      w.extent[w.n] = r.extent;
      w.stride[w.n++] = r.stride;
    }
  }
  int64_t outputs() const { return kept.count() * (rows ? 1 : inner); }
  int64_t folded_elements() const { return folded.count() * (rows ? inner : 1); }
};

template <class T>
T join(Fold fold, T a, T b) {
  switch (fold) {
    case Fold::Sum:
    case Fold::SumExp: return a + b;
    case Fold::Prod: return a * b;
    case Fold::Max: return b > a || b != b ? b : a;
    case Fold::Min: return b < a || b != b ? b : a;
  }
  return a;
}

// Joins `count` partial results, each `width` wide, into out: the second half onto the first, and again.
template <class T>
void join_tree(Fold fold, T* parts, int64_t count, int64_t width, T* out) {
  while (count > 1) {
    const int64_t half = count / 2, kept = count - half;
    for (int64_t i = 0; i < half * width; ++i) parts[i] = join(fold, parts[i], parts[kept * width + i]);
    count = kept;
  }
  std::copy_n(parts, width, out);
}

template <class T>
void reduce_rows(Fold fold, const Plan& p, const T* x, const T* shift, T* out) {
  const int64_t outputs = p.kept.count(), folded = p.folded.count();
  const int64_t chunks = (p.inner + kChunk - 1) / kChunk, parts = folded * chunks;
  if (parts == 1) {  // then the kept dimensions are one run: rows lie one after the other
    parallel_for(outputs, std::max<int64_t>(1, kThreadWork / p.inner), [&](int64_t b, int64_t e) {
      fold_rows(fold, x + b * p.inner, p.inner, p.inner, e - b, shift ? shift + b : nullptr, out + b);
    });
    return;
  }
  // [parts, outputs]: rows of one part lie evenly, and are folded together, where kept dimensions are one
  // run.
  const std::unique_ptr<T[]> partial(new T[static_cast<size_t>(outputs * parts)]);
  const int64_t stride = p.kept.n == 1 ? p.kept.stride[0] : 0, together = p.kept.n == 1 ? outputs : 1;
  parallel_for(outputs * parts, std::max<int64_t>(1, kThreadWork / std::min(p.inner, kChunk)),
               [&](int64_t b, int64_t e) {
                 for (int64_t i = b, n = 0; i < e; i += n) {
                   const int64_t part = i / outputs, o = i % outputs, first = part % chunks * kChunk;
                   n = std::min({e - i, outputs - o, together});
                   fold_rows(fold, x + p.kept.offset(o) + p.folded.offset(part / chunks) + first, stride,
                             std::min(kChunk, p.inner - first), n, shift ? shift + o : nullptr, &partial[i]);
                 }
               });
  join_tree(fold, partial.get(), parts, outputs, out);
}

template <class T>
void reduce_columns(Fold fold, const Plan& p, const T* x, const T* shift, T* out) {
  const int64_t outer = p.kept.count(), rows = p.folded.count(), columns = p.inner;
  const int64_t blocks = (rows + kBlockRows - 1) / kBlockRows, strips = (columns + kStrip - 1) / kStrip;
  std::unique_ptr<T[]> partial;
  if (blocks > 1) partial.reset(new T[static_cast<size_t>(outer * blocks * columns)]);
  T* to = blocks > 1 ? partial.get() : out;  // [outer, blocks, columns]
  const int64_t work = std::min(rows, kBlockRows) * std::min(columns, kStrip);
  parallel_for(outer * blocks * strips, std::max<int64_t>(1, kThreadWork / work), [&](int64_t b, int64_t e) {
    for (int64_t i = b; i < e; ++i) {
      const int64_t first = i % strips * kStrip, ob = i / strips, o = ob / blocks;
      const int64_t row0 = ob % blocks * kBlockRows, n = std::min(kBlockRows, rows - row0);
      int64_t offsets[kBlockRows];
      for (int64_t r = 0; r < n; ++r) offsets[r] = p.folded.offset(row0 + r);
      fold_columns(fold, x + p.kept.offset(o) + first, offsets, n, std::min(kStrip, columns - first),
                   shift ? shift + o * columns + first : nullptr, to + ob * columns + first);
    }
  });
  if (blocks == 1) return;
  parallel_for(outer, std::max<int64_t>(1, kThreadWork / (blocks * columns)), [&](int64_t b, int64_t e) {
    for (int64_t o = b; o < e; ++o)
      join_tree(fold, to + o * blocks * columns, blocks, columns, out + o * columns);
  });
}

template <class T>
void reduce(Fold fold, const Plan& p, const T* x, const T* shift, T* out) {
  if (p.outputs() == 0) return;
  if (p.folded_elements() == 0) {
    std::fill_n(out, p.outputs(), fold == Fold::Prod ? T{1} : T{0});  // max and min never fold nothing
    return;
  }
  (p.rows ? reduce_rows<T> : reduce_columns<T>)(fold, p, x, shift, out);
}

template <class T>
void mean(const Plan& p, const T* x, T* out) {
  reduce<T>(Fold::Sum, p, x, nullptr, out);
  const T n = static_cast<T>(p.folded_elements());
  for (int64_t i = 0; i < p.outputs(); ++i) out[i] /= n;
}

template <class T>
void logsumexp(const Plan& p, const T* x, T* out) {
  const int64_t n = p.outputs();
  if (p.folded_elements() == 0) {
    std::fill_n(out, n, -std::numeric_limits<T>::infinity());
    return;
  }
  const std::unique_ptr<T[]> sums(new T[static_cast<size_t>(2 * n)]);
  T* shift = sums.get() + n;
  reduce<T>(Fold::Max, p, x, nullptr, out);
  for (int64_t i = 0; i < n; ++i) shift[i] = std::isfinite(out[i]) ? out[i] : T{0};
  reduce<T>(Fold::SumExp, p, x, shift, sums.get());
  // An infinite or NaN maximum is the result.
  for (int64_t i = 0; i < n; ++i)
    if (std::isfinite(out[i])) out[i] += std::log(sums[i]);
}

/// A kernel from fn(T{}, plan) -> void(const T* in, T* out), for f32 and f64.
template <class F>
Kernel prepare_reduction(const Attrs& attrs, SpecPtrs in, F run) {
  const Plan plan(in[0]->shape, attrs.as<ReduceAttrs>().dims);
  if (in[0]->dtype == f32)
    return [=](ExecContext&, const void* const* x, void* const* y) {
      run(plan, static_cast<const float*>(x[0]), static_cast<float*>(y[0]));
    };
  if (in[0]->dtype == f64)
    return [=](ExecContext&, const void* const* x, void* const* y) {
      run(plan, static_cast<const double*>(x[0]), static_cast<double*>(y[0]));
    };
  return {};
}
// As a fused program, which may hold the same sum; empty where programs have none, or the same as below.
Kernel prepare_sum(const Attrs& attrs, SpecPtrs in, bool mean) {
  const auto sum = sum_instruction(attrs.as<ReduceAttrs>(), *in[0], mean);
  const bool one_tile = sum && sum->code == kTotal && in[0]->shape.numel() <= FusedProgram::kTile;
  if (!sum || sum->code == kRowSum || one_tile) return {};
  return prepare_program(*kept({{FusedOperand::dense}, {*sum}, {1}}), in);
}
template <Fold fold>
Kernel prepare_fold(const Attrs& attrs, SpecPtrs in, SpecPtrs) {
  if (fold == Fold::Sum)
    if (Kernel k = prepare_sum(attrs, in, false)) return k;
  return prepare_reduction(
      attrs, in, []<class T>(const Plan& p, const T* x, T* y) { reduce<T>(fold, p, x, nullptr, y); });
}
Kernel prepare_mean(const Attrs& attrs, SpecPtrs in, SpecPtrs) {
  if (Kernel k = prepare_sum(attrs, in, true)) return k;
  return prepare_reduction(attrs, in, []<class T>(const Plan& p, const T* x, T* y) { mean(p, x, y); });
}
Kernel prepare_logsumexp(const Attrs& attrs, SpecPtrs in, SpecPtrs) {
  return prepare_reduction(attrs, in, []<class T>(const Plan& p, const T* x, T* y) { logsumexp(p, x, y); });
}

template <class T>
void find(bool largest, const DimSplit& d, const T* x, T* values, int64_t* at) {
  if (d.inner == 1) {
    parallel_for(d.outer, std::max<int64_t>(1, kThreadWork / d.n), [&](int64_t b, int64_t e) {
      find_rows(largest, x + b * d.n, d.n, e - b, values ? values + b : nullptr, at + b);
    });
    return;
  }
  const int64_t strips = (d.inner + kStrip - 1) / kStrip;
  const int64_t work = std::max<int64_t>(1, d.n * std::min(d.inner, kStrip));
  parallel_for(d.outer * strips, std::max<int64_t>(1, kThreadWork / work), [&](int64_t b, int64_t e) {
    for (int64_t i = b; i < e; ++i) {
      const int64_t o = i / strips, first = i % strips * kStrip, to = o * d.inner + first;
      find_columns(largest, x + o * d.n * d.inner + first, d.inner, d.n, std::min(kStrip, d.inner - first),
                   values ? values + to : nullptr, at + to);
    }
  });
}

/// Values go to the first of two outputs, positions to the last.
template <class T>
Kernel find_kernel(bool largest, const DimSplit& d, bool both) {
  return [=](ExecContext&, const void* const* x, void* const* y) {
    find(largest, d, static_cast<const T*>(x[0]), both ? static_cast<T*>(y[0]) : nullptr,
         static_cast<int64_t*>(y[both ? 1 : 0]));
  };
}
template <bool kLargest>
Kernel prepare_find(const Attrs& attrs, SpecPtrs in, SpecPtrs out) {
  const DimSplit d(in[0]->shape, attrs.as<DimReduceAttrs>().dim);
  if (d.n > std::numeric_limits<int32_t>::max()) return {};
  if (in[0]->dtype == f32) return find_kernel<float>(kLargest, d, out.size() == 2);
  if (in[0]->dtype == f64) return find_kernel<double>(kLargest, d, out.size() == 2);
  return {};
}

template <class T>
Kernel truth_kernel(const Plan& p, bool any) {
  // Whole numbers of one byte: false and true.
  return [=](ExecContext&, const void* const* in, void* const* out) {
    const auto* x = static_cast<const T*>(in[0]);
    auto* y = static_cast<uint8_t*>(out[0]);
    const int64_t outer = p.kept.count(), folded = p.folded.count();
    std::fill_n(y, p.outputs(), any ? uint8_t{0} : uint8_t{1});
    if (p.outputs() == 0) return;
    parallel_for(outer, std::max<int64_t>(1, kThreadWork / std::max<int64_t>(1, folded * p.inner)),
                 [&](int64_t b, int64_t e) {
                   for (int64_t o = b; o < e; ++o) {
                     for (int64_t f = 0; f < folded; ++f) {
                       const T* row = x + p.kept.offset(o) + p.folded.offset(f);
                       if (p.rows) {
                         int64_t zeros = 0;
                         for (int64_t i = 0; i < p.inner; ++i) zeros += row[i] == T{0};
                         if (any ? zeros < p.inner : zeros > 0) y[o] = any;
                         continue;
                       }
                       uint8_t* to = y + o * p.inner;
                       for (int64_t i = 0; i < p.inner; ++i)
                         to[i] = any ? to[i] | uint8_t{row[i] != T{0}} : to[i] & uint8_t{row[i] != T{0}};
                     }
                   }
                 });
  };
}
template <bool kAny>
Kernel prepare_truth(const Attrs& attrs, SpecPtrs in, SpecPtrs) {
  const Plan plan(in[0]->shape, attrs.as<ReduceAttrs>().dims);
  switch (in[0]->dtype) {
    case boolean:
    case u8: return truth_kernel<uint8_t>(plan, kAny);
    case i64: return truth_kernel<int64_t>(plan, kAny);
    case f32: return truth_kernel<float>(plan, kAny);
    case f64: return truth_kernel<double>(plan, kAny);
    default: return {};
  }
}

template <class T>
Kernel cumsum_kernel(const DimSplit& d) {
  return [=](ExecContext&, const void* const* in, void* const* out) {
    const auto* x = static_cast<const T*>(in[0]);
    auto* y = static_cast<T*>(out[0]);
    const int64_t line = d.n * d.inner;
    parallel_for(d.outer, std::max<int64_t>(1, kThreadWork / std::max<int64_t>(1, line)),
                 [&](int64_t b, int64_t e) {
                   // In double: a running sum has no tree to keep it exact.
                   std::vector<double> sums(static_cast<size_t>(d.inner));
                   for (int64_t o = b; o < e; ++o) {
                     const T* from = x + o * line;
                     T* to = y + o * line;
                     std::fill(sums.begin(), sums.end(), 0.0);
                     for (int64_t i = 0; i < d.n; ++i)
                       for (int64_t k = i * d.inner, c = 0; c < d.inner; ++c)
                         to[k + c] = static_cast<T>(sums[c] += from[k + c]);
                   }
                 });
  };
}
Kernel prepare_cumsum(const Attrs& attrs, SpecPtrs in, SpecPtrs) {
  const DimSplit d(in[0]->shape, attrs.as<DimAttrs>().dim);
  if (in[0]->dtype == f32) return cumsum_kernel<float>(d);
  if (in[0]->dtype == f64) return cumsum_kernel<double>(d);
  return {};
}

}  // namespace

std::vector<KernelEntry> reduce_kernels() {
  return {{&ops::sum, prepare_fold<Fold::Sum>},
          {&ops::prod, prepare_fold<Fold::Prod>},
          {&ops::amax, prepare_fold<Fold::Max>},
          {&ops::amin, prepare_fold<Fold::Min>},
          {&ops::mean, prepare_mean},
          {&ops::logsumexp, prepare_logsumexp},
          {&ops::max, prepare_find<true>},
          {&ops::min, prepare_find<false>},
          {&ops::argmax, prepare_find<true>},
          {&ops::argmin, prepare_find<false>},
          {&ops::any, prepare_truth<true>},
          {&ops::all, prepare_truth<false>},
          {&ops::cumsum, prepare_cumsum}};
}

}  // namespace hebb::cpu
