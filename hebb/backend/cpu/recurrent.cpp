// LSTM layers of the cpu backend: all steps in one call. Rows of a batch do not meet, so each thread takes
// some of them through all steps and never waits for another. The weight is laid out once a call as the
// products read it.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "hebb/backend/cpu/elementwise.h"
#include "hebb/backend/cpu/gemm.h"
#include "hebb/backend/cpu/kernel_support.h"
#include "hebb/core/parallel.h"
#include "hebb/op/autocast.h"
#include "hebb/ops/elementwise_expr.h"
#include "hebb/ops/table.h"

namespace hebb::cpu {
namespace {

/// y[i] = f(x[i]) for the function of the elementwise table; x may be y.
template <class T>
void map(detail::Expr f, const T* x, T* y, int64_t n) {
  const double parameters[2] = {};
  if constexpr (std::is_same_v<T, float>) {
    elementwise_loops()[static_cast<int>(f)](y, x, nullptr, nullptr, parameters, static_cast<size_t>(n));
  } else {
    const auto fn = detail::plain_expr(f).f64;
    for (int64_t i = 0; i < n; ++i) y[i] = fn(x[i], 0, 0, 0, 0);
  }
}

struct Sizes {
  int64_t steps, batch, hidden;
  bool bf16;
  Sizes(const Shape& gates, const Attrs& attrs)
      : steps(gates[0]), batch(gates[1]), hidden(gates[2] / 4), bf16(attrs.as<detail::ProductAttrs>().bf16) {}
  int64_t states() const { return batch * hidden; }
  /// Rows that are worth a thread: some 100,000 multiplications.
  int64_t grain() const { return 1 + 100000 / (steps * 4 * hidden * hidden); }
};

/// The weight as the products of all steps read it.
template <class T>
const T* packed_weight(const Gemm<T>& product) {
  T* const packed = scratch<T>(ScratchUse::kRecurrentWeight, packed_b_size<T>(product.n, product.k));
  pack_b_whole(product, packed);
  return packed;
}

/// One step of one row behind its products: the gates are made of their sums in place.
template <class T>
void step_forward(int64_t n, T* gates, const T* before, T* c, T* h) {
  map(detail::Expr::sigmoid, gates, gates, 2 * n);
  map(detail::Expr::tanh, gates + 2 * n, gates + 2 * n, n);
  map(detail::Expr::sigmoid, gates + 3 * n, gates + 3 * n, n);
  const T *i = gates, *f = gates + n, *g = gates + 2 * n, *o = gates + 3 * n;
  for (int64_t j = 0; j < n; ++j) c[j] = f[j] * before[j] + i[j] * g[j];
  map(detail::Expr::tanh, c, h, n);
  for (int64_t j = 0; j < n; ++j) h[j] *= o[j];
}

/// Back through it. `gh` and `gc` hold the gradients that come from the next step; `gc` becomes that for the
/// step before. `tanh_c` is memory for n values.
template <class T>
void step_backward(int64_t n, const T* gates, const T* before, const T* c, const T* from_h, const T* from_c,
                   const T* from_gates, const T* gh, T* gc, T* tanh_c, T* out) {
  map(detail::Expr::tanh, c, tanh_c, n);
  for (int64_t j = 0; j < n; ++j) {
    const T i = gates[j], f = gates[n + j], g = gates[2 * n + j], o = gates[3 * n + j];
    const T h_grad = gh[j] + from_h[j];
    const T c_grad = gc[j] + from_c[j] + h_grad * o * (1 - tanh_c[j] * tanh_c[j]);
    out[j] = (c_grad * g + from_gates[j]) * (i * (1 - i));
    out[n + j] = (c_grad * before[j] + from_gates[n + j]) * (f * (1 - f));
    out[2 * n + j] = (c_grad * i + from_gates[2 * n + j]) * (1 - g * g);
    out[3 * n + j] = (h_grad * tanh_c[j] + from_gates[3 * n + j]) * (o * (1 - o));
    gc[j] = c_grad * f;
  }
}

template <class T>
void lstm_forward(const Sizes& z, const T* gates_of_x, const T* w, const T* h0, const T* c0, T* h, T* c,
                  T* gates) {
  const int64_t n = z.hidden;
  Gemm<T> product{.m = 0,
                  .n = 4 * n,
                  .k = n,
                  .a = nullptr,
                  .lda = n,
                  .b = w,
                  .ldb = n,
                  .trans_b = true,
                  .c = nullptr,
                  .ldc = 4 * n,
                  .accumulate = true,
                  .bf16 = z.bf16};
  product.b_packed = packed_weight(product);
  parallel_for(z.batch, z.grain(), [&](int64_t begin, int64_t end) {
    for (int64_t t = 0; t < z.steps; ++t) {
      const int64_t row = t * z.batch + begin, rows = end - begin;
      const T* h_before = t > 0 ? h + (row - z.batch) * n : h0 + begin * n;
      const T* c_before = t > 0 ? c + (row - z.batch) * n : c0 + begin * n;
      T* const gate = gates + row * 4 * n;
      std::memcpy(gate, gates_of_x + row * 4 * n, static_cast<size_t>(rows * 4 * n) * sizeof(T));
      Gemm<T> g = product;
      g.m = rows;
      g.a = h_before;
      g.c = gate;
      gemm_serial(g);
      for (int64_t b = 0; b < rows; ++b)
        step_forward(n, gate + b * 4 * n, c_before + b * n, c + (row + b) * n, h + (row + b) * n);
    }
  });
}

template <class T>
void lstm_backward(const Sizes& z, const T* gh, const T* gc, const T* g_gates, const T* w, const T* c0,
                   const T* c, const T* gates, T* out, T* gh0, T* gc0) {
  const int64_t n = z.hidden;
  Gemm<T> product{.m = 0,
                  .n = n,
                  .k = 4 * n,
                  .a = nullptr,
                  .lda = 4 * n,
                  .b = w,
                  .ldb = n,
                  .c = nullptr,
                  .ldc = n,
                  .bf16 = z.bf16};
  product.b_packed = packed_weight(product);
  parallel_for(z.batch, z.grain(), [&](int64_t begin, int64_t end) {
    const int64_t rows = end - begin;
    T* const tanh_c = scratch<T>(ScratchUse::kRecurrentRow, n);
    std::fill(gh0 + begin * n, gh0 + end * n, T(0));
    std::fill(gc0 + begin * n, gc0 + end * n, T(0));
    for (int64_t t = z.steps - 1; t >= 0; --t) {
      const int64_t row = t * z.batch + begin;
      for (int64_t b = 0; b < rows; ++b) {
        const int64_t state = (row + b) * n, gate = state * 4;
        const T* before = t > 0 ? c + state - z.states() : c0 + (begin + b) * n;
        step_backward(n, gates + gate, before, c + state, gh + state, gc + state, g_gates + gate,
                      gh0 + (begin + b) * n, gc0 + (begin + b) * n, tanh_c, out + gate);
      }
      Gemm<T> g = product;
      g.m = rows;
      g.a = out + row * 4 * n;
      g.c = gh0 + begin * n;
      gemm_serial(g);
    }
  });
}

Kernel prepare_lstm(const Attrs& attrs, SpecPtrs in, SpecPtrs) {
  const Sizes z(in[0]->shape, attrs);
  return for_type(in[0]->dtype, [&]<class T>(T) -> Kernel {
    return [z](ExecContext&, const void* const* x, void* const* y) {
      const auto from = [&](int i) { return static_cast<const T*>(x[i]); };
      const auto to = [&](int i) { return static_cast<T*>(y[i]); };
      lstm_forward<T>(z, from(0), from(1), from(2), from(3), to(0), to(1), to(2));
    };
  });
}
Kernel prepare_lstm_grad(const Attrs& attrs, SpecPtrs in, SpecPtrs) {
  const Sizes z(in[6]->shape, attrs);
  return for_type(in[0]->dtype, [&]<class T>(T) -> Kernel {
    return [z](ExecContext&, const void* const* x, void* const* y) {
      const auto from = [&](int i) { return static_cast<const T*>(x[i]); };
      const auto to = [&](int i) { return static_cast<T*>(y[i]); };
      lstm_backward<T>(z, from(0), from(1), from(2), from(3), from(4), from(5), from(6), to(0), to(1), to(2));
    };
  });
}

}  // namespace

std::vector<KernelEntry> recurrent_kernels() {
  return {{&ops::lstm, prepare_lstm}, {&ops::lstm_grad, prepare_lstm_grad}};
}

}  // namespace hebb::cpu
