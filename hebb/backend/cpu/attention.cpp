// Attention in blocks of queries: their scores with all keys that they see stay in cache, are turned into
// weights and multiplied with the values there. Backward, one thread takes all queries of a head, block by
// block.
#include <algorithm>

#include "hebb/backend/cpu/gemm.h"
#include "hebb/backend/cpu/kernel_support.h"
#include "hebb/core/parallel.h"
#include "hebb/ops/attention_attrs.h"
#include "hebb/ops/table.h"

#ifndef HEBB_BACKEND_CPU_ATTENTION_TYPES_  // this file is compiled once for every instruction set
#define HEBB_BACKEND_CPU_ATTENTION_TYPES_
namespace hebb::cpu {
namespace {

template <class T>
struct AttentionKernels {
  /// Turns n scores into weights, in place: e^(scale score) over their sum. Gives the logarithm of the sum.
  T (*weights_line)(T* scores, int64_t n, T scale);
  /// Weights again from n scores, in place, and what the gradients of the weights give to the scores, in
  /// place of them: weight (gradient - mean) scale.
  void (*gradients_line)(T* scores, T* gradients, int64_t n, T scale, T lse, T mean);
  T (*dot)(const T* a, const T* b, int64_t n);
};

}  // namespace
}  // namespace hebb::cpu
#endif

#include "hebb/backend/cpu/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hebb/backend/cpu/attention.cpp"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include <cmath>

#include "hebb/backend/cpu/line-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hebb::cpu {
namespace HWY_NAMESPACE {

template <class T>
T weights_line(T* scores, int64_t n, T scale) {
  const Tag<T> d;
  const auto by = hn::Set(d, scale);
  each_vector(scores, n, T(0), [&](Vec<T> v, int64_t i, int64_t count) HWY_ATTR {
    store_first(hn::Mul(v, by), scores + i, count);
  });
  T largest, sum;
  exp_line(scores, n, scores, &largest, &sum);
  const auto share = hn::Set(d, 1 / sum);
  each_vector(scores, n, T(0), [&](Vec<T> v, int64_t i, int64_t count) HWY_ATTR {
    store_first(hn::Mul(v, share), scores + i, count);
  });
  return largest + std::log(sum);
}

template <class T>
void gradients_line(T* scores, T* gradients, int64_t n, T scale, T lse, T mean) {
  const Tag<T> d;
  const auto by = hn::Set(d, scale), shift = hn::Set(d, lse), less = hn::Set(d, mean);
  each_vector(scores, n, T(0), [&](Vec<T> v, int64_t i, int64_t count) HWY_ATTR {
    const auto weight = exp_below_88(d, hn::Sub(hn::Mul(v, by), shift));
    const auto g = hn::Sub(load_first(gradients + i, count), less);
    store_first(weight, scores + i, count);
    store_first(hn::Mul(hn::Mul(weight, g), by), gradients + i, count);
  });
}

template <class T>
T dot(const T* a, const T* b, int64_t n) {
  return sum_of_vectors<T>(n, [&](Vec<T> s, int64_t i, int64_t count) HWY_ATTR {
    return hn::MulAdd(load_first(a + i, count), load_first(b + i, count), s);
  });
}

AttentionKernels<float> attention_kernels_f32() {
  return {&weights_line<float>, &gradients_line<float>, &dot<float>};
}
AttentionKernels<double> attention_kernels_f64() {
  return {&weights_line<double>, &gradients_line<double>, &dot<double>};
}

}  // namespace HWY_NAMESPACE
}  // namespace hebb::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hebb::cpu {
namespace {

HWY_EXPORT(attention_kernels_f32);
HWY_EXPORT(attention_kernels_f64);

template <class T>
AttentionKernels<T> kernels() {
  if constexpr (std::is_same_v<T, float>) return HWY_DYNAMIC_DISPATCH(attention_kernels_f32)();
  else return HWY_DYNAMIC_DISPATCH(attention_kernels_f64)();
}

constexpr int64_t kQueries = 48;  // of a block

/// `count` heads of `queries` queries and `keys` keys of e elements, and values of v elements. A row holds
/// `row` heads side by side.
struct Heads {
  int64_t count, row, queries, keys, e, v;
  double scale;
  bool causal, bf16;
  Heads(const AttentionAttrs& a, const Shape& q, const Shape& values)
      : count(a.heads),
        row(a.heads),
        queries(q[q.ndim() - 2]),
        keys(values[values.ndim() - 2]),
        e(q.back() / a.heads),
        v(values.back() / a.heads),
        scale(a.scale),
        causal(a.causal),
        bf16(a.bf16) {
    for (int d = 0; d < q.ndim() - 2; ++d) count *= q[d];
  }
  /// Line i of a head, of `lines` lines of `width` elements.
  template <class T>
  T* at(T* x, int64_t head, int64_t i, int64_t lines, int64_t width) const {
    return x + ((head / row * lines + i) * row + head % row) * width;
  }
  /// How many keys query i sees.
  int64_t seen(int64_t i) const { return causal ? std::min(keys, i + 1) : keys; }
  /// How many of a head or block are worth a thread, for one of so many multiplications.
  static int64_t grain(int64_t multiplications) { return 1 + 300000 / std::max<int64_t>(1, multiplications); }
};

template <class T>
void forward(const Heads& h, const T* q, const T* k, const T* v, T* y, T* lse) {
  const AttentionKernels<T> kernel = kernels<T>();
  const int64_t blocks = (h.queries + kQueries - 1) / kQueries;
  parallel_for(
      h.count * blocks, Heads::grain(kQueries * h.keys * (h.e + h.v)), [&](int64_t begin, int64_t end) {
        T* const scores = scratch<T>(ScratchUse::kAttentionScores, kQueries * h.keys);
        for (int64_t piece = begin; piece < end; ++piece) {
          const int64_t head = piece / blocks, first = piece % blocks * kQueries;
          const int64_t rows = std::min(kQueries, h.queries - first), keys = h.seen(first + rows - 1);
          const int64_t row = head * h.queries + first;
          gemm_serial<T>({.m = rows,
                          .n = keys,
                          .k = h.e,
                          .a = h.at(q, head, first, h.queries, h.e),
                          .lda = h.row * h.e,
                          .b = h.at(k, head, 0, h.keys, h.e),
                          .ldb = h.row * h.e,
                          .trans_b = true,
                          .c = scores,
                          .ldc = keys,
                          .bf16 = h.bf16});
          for (int64_t i = 0; i < rows; ++i) {
            const int64_t n = h.seen(first + i);
            lse[row + i] = kernel.weights_line(scores + i * keys, n, static_cast<T>(h.scale));
            std::fill(scores + i * keys + n, scores + (i + 1) * keys, T(0));
          }
          gemm_serial<T>({.m = rows,
                          .n = h.v,
                          .k = keys,
                          .a = scores,
                          .lda = keys,
                          .b = h.at(v, head, 0, h.keys, h.v),
                          .ldb = h.row * h.v,
                          .c = h.at(y, head, first, h.queries, h.v),
                          .ldc = h.row * h.v,
                          .bf16 = h.bf16});
        }
      });
}

template <class T>
void backward(const Heads& h, const T* gy, const T* g_lse, const T* q, const T* k, const T* v, const T* y,
              const T* lse, T* gq, T* gk, T* gv) {
  const AttentionKernels<T> kernel = kernels<T>();
  parallel_for(
      h.count, Heads::grain(h.queries * h.keys * (3 * h.e + 2 * h.v)), [&](int64_t begin, int64_t end) {
        T* const weights = scratch<T>(ScratchUse::kAttentionScores, 2 * kQueries * h.keys);
        T* const gradients = weights + kQueries * h.keys;
        for (int64_t head = begin; head < end; ++head) {
          const int64_t lde = h.row * h.e, ldv = h.row * h.v;
          const T *head_k = h.at(k, head, 0, h.keys, h.e), *head_v = h.at(v, head, 0, h.keys, h.v);
          T *head_gk = h.at(gk, head, 0, h.keys, h.e), *head_gv = h.at(gv, head, 0, h.keys, h.v);
          for (int64_t i = 0; i < h.keys; ++i) {
            std::fill_n(head_gk + i * lde, h.e, T(0));
            std::fill_n(head_gv + i * ldv, h.v, T(0));
          }
          for (int64_t first = 0; first < h.queries; first += kQueries) {
            const int64_t rows = std::min(kQueries, h.queries - first), keys = h.seen(first + rows - 1);
            const T *block_q = h.at(q, head, first, h.queries, h.e),
                    *block_y = h.at(y, head, first, h.queries, h.v),
                    *block_gy = h.at(gy, head, first, h.queries, h.v);
            const int64_t row = head * h.queries + first;
            gemm_serial<T>({.m = rows,
                            .n = keys,
                            .k = h.e,
                            .a = block_q,
                            .lda = lde,
                            .b = head_k,
                            .ldb = lde,
                            .trans_b = true,
                            .c = weights,
                            .ldc = keys,
                            .bf16 = h.bf16});
            gemm_serial<T>({.m = rows,
                            .n = keys,
                            .k = h.v,
                            .a = block_gy,
                            .lda = ldv,
                            .b = head_v,
                            .ldb = ldv,
                            .trans_b = true,
                            .c = gradients,
                            .ldc = keys,
                            .bf16 = h.bf16});
            for (int64_t i = 0; i < rows; ++i) {
              const int64_t n = h.seen(first + i);
              const T mean = kernel.dot(block_gy + i * ldv, block_y + i * ldv, h.v) - g_lse[row + i];
              kernel.gradients_line(weights + i * keys, gradients + i * keys, n, static_cast<T>(h.scale),
                                    lse[row + i], mean);
              std::fill(weights + i * keys + n, weights + (i + 1) * keys, T(0));
              std::fill(gradients + i * keys + n, gradients + (i + 1) * keys, T(0));
            }
            gemm_serial<T>({.m = rows,
                            .n = h.e,
                            .k = keys,
                            .a = gradients,
                            .lda = keys,
                            .b = head_k,
                            .ldb = lde,
                            .c = h.at(gq, head, first, h.queries, h.e),
                            .ldc = lde,
                            .bf16 = h.bf16});
            gemm_serial<T>({.m = keys,
                            .n = h.e,
                            .k = rows,
                            .a = gradients,
                            .lda = keys,
                            .trans_a = true,
                            .b = block_q,
                            .ldb = lde,
                            .c = head_gk,
                            .ldc = lde,
                            .accumulate = true,
                            .bf16 = h.bf16});
            gemm_serial<T>({.m = keys,
                            .n = h.v,
                            .k = rows,
                            .a = weights,
                            .lda = keys,
                            .trans_a = true,
                            .b = block_gy,
                            .ldb = ldv,
                            .c = head_gv,
                            .ldc = ldv,
                            .accumulate = true,
                            .bf16 = h.bf16});
          }
        }
      });
}

Kernel prepare_attention(const Attrs& attrs, SpecPtrs in, SpecPtrs) {
  const Heads h(attrs.as<AttentionAttrs>(), in[0]->shape, in[2]->shape);
  if (h.e == 0 || h.v == 0) return {};
  return for_type(in[0]->dtype, [&]<class T>(T) -> Kernel {
    return [h](ExecContext&, const void* const* x, void* const* y) {
      const auto from = [&](int i) { return static_cast<const T*>(x[i]); };
      forward<T>(h, from(0), from(1), from(2), static_cast<T*>(y[0]), static_cast<T*>(y[1]));
    };
  });
}
Kernel prepare_attention_grad(const Attrs& attrs, SpecPtrs in, SpecPtrs) {
  const Heads h(attrs.as<AttentionAttrs>(), in[2]->shape, in[4]->shape);
  if (h.e == 0 || h.v == 0) return {};
  return for_type(in[0]->dtype, [&]<class T>(T) -> Kernel {
    return [h](ExecContext&, const void* const* x, void* const* y) {
      const auto from = [&](int i) { return static_cast<const T*>(x[i]); };
      const auto to = [&](int i) { return static_cast<T*>(y[i]); };
      backward<T>(h, from(0), from(1), from(2), from(3), from(4), from(5), from(6), to(0), to(1), to(2));
    };
  });
}

}  // namespace

std::vector<KernelEntry> attention_kernels() {
  return {{&ops::attention, prepare_attention}, {&ops::attention_grad, prepare_attention_grad}};
}

}  // namespace hebb::cpu
#endif  // HWY_ONCE
