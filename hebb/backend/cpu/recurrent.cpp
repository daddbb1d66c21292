// LSTM layers of the cpu backend: all steps in one call. Rows of a batch do not meet, so each thread takes
// some of them through all steps and never waits for another. The weight is laid out once a call as the
// products read it.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "hebb/backend/cpu/elementwise.h"
#include "hebb/backend/cpu/gemm.h"
#include "hebb/backend/cpu/kernel_support.h"
#include "hebb/core/parallel.h"
#include "hebb/op/autocast.h"
#include "hebb/ops/elementwise_expr.h"
#include "hebb/ops/table.h"

#ifndef HEBB_BACKEND_CPU_RECURRENT_TYPES_  // this file is compiled once for every instruction set
#define HEBB_BACKEND_CPU_RECURRENT_TYPES_
namespace hebb::cpu {
namespace {

/// What one row of one step reads and writes on the way back: n values each, 4 n of gates.
template <class T>
struct CellGradient {
  const T *gates, *before, *tanh_c;       // of the forward pass; the cells of the step before
  const T *from_h, *from_c, *from_gates;  // gradients of the layer's outputs; null: zero
  const T* gh;                            // those that come from the next step
  T *gc, *out;                            // `gc` becomes that for the step before
};

}  // namespace
}  // namespace hebb::cpu
#endif

#include "hebb/backend/cpu/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hebb/backend/cpu/recurrent.cpp"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "hebb/backend/cpu/gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hebb::cpu {
namespace HWY_NAMESPACE {

template <class T>
void cell_backward(int64_t n, const CellGradient<T>& g) {
  const auto one = hn::Set(Tag<T>(), T(1));
  const auto rest = [&](Vec<T> v) HWY_ATTR { return hn::NegMulAdd(v, v, one); };  // 1 - v^2
  for (int64_t j = 0; j < n; j += kLanes<T>) {
    const int64_t count = std::min<int64_t>(kLanes<T>, n - j);
    const auto load = [&](const T* p) HWY_ATTR { return load_first(p + j, count); };
    const auto plus = [&](Vec<T> v, const T* p) HWY_ATTR { return p ? hn::Add(v, load(p)) : v; };
    const auto in = load(g.gates), forget = load(g.gates + n), cell = load(g.gates + 2 * n),
               out = load(g.gates + 3 * n), tanh_c = load(g.tanh_c);
    const auto h_grad = plus(load(g.gh), g.from_h);
    const auto c_grad = hn::MulAdd(hn::Mul(h_grad, out), rest(tanh_c), plus(load(g.gc), g.from_c));
    const auto store = [&](int gate, Vec<T> factor, Vec<T> slope) HWY_ATTR {
      const auto sum = g.from_gates ? hn::Add(factor, load(g.from_gates + gate * n)) : factor;
      store_first(hn::Mul(sum, slope), g.out + gate * n + j, count);
    };
    store(0, hn::Mul(c_grad, cell), hn::NegMulAdd(in, in, in));  // v (1 - v)
    store(1, hn::Mul(c_grad, load(g.before)), hn::NegMulAdd(forget, forget, forget));
    store(2, hn::Mul(c_grad, in), rest(cell));
    store(3, hn::Mul(h_grad, tanh_c), hn::NegMulAdd(out, out, out));
    store_first(hn::Mul(c_grad, forget), g.gc + j, count);
  }
}

// Highway exports plain functions, so each type has its own.
void cell_backward_f32(int64_t n, const CellGradient<float>& g) { cell_backward(n, g); }
void cell_backward_f64(int64_t n, const CellGradient<double>& g) { cell_backward(n, g); }

}  // namespace HWY_NAMESPACE
}  // namespace hebb::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hebb::cpu {
namespace {

HWY_EXPORT(cell_backward_f32);
HWY_EXPORT(cell_backward_f64);

void cell_backward(int64_t n, const CellGradient<float>& g) { HWY_DYNAMIC_DISPATCH(cell_backward_f32)(n, g); }
void cell_backward(int64_t n, const CellGradient<double>& g) {
  HWY_DYNAMIC_DISPATCH(cell_backward_f64)(n, g);
}

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
  /// Rows that are worth a thread: some 100,000 multiplications, and as many as read the weight together.
  int64_t grain() const {
    return std::max<int64_t>(1 + 100000 / (steps * 4 * hidden * hidden), batch / num_threads());
  }
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
      if (gates != gates_of_x)
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
        map(detail::Expr::tanh, c + state, tanh_c, n);
        cell_backward(n, CellGradient<T>{.gates = gates + gate,
                                         .before = before,
                                         .tanh_c = tanh_c,
                                         .from_h = gh ? gh + state : nullptr,
                                         .from_c = gc ? gc + state : nullptr,
                                         .from_gates = g_gates ? g_gates + gate : nullptr,
                                         .gh = gh0 + (begin + b) * n,
                                         .gc = gc0 + (begin + b) * n,
                                         .out = out + gate});
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
  std::array<bool, 3> given;
  for (size_t i = 0; i < 3; ++i) given[i] = in[i]->shape.ndim() > 1;
  return for_type(in[0]->dtype, [&]<class T>(T) -> Kernel {
    return [z, given](ExecContext&, const void* const* x, void* const* y) {
      const auto from = [&](int i) { return static_cast<const T*>(x[i]); };
      const auto grad = [&](int i) { return given[i] ? from(i) : nullptr; };
      const auto to = [&](int i) { return static_cast<T*>(y[i]); };
      lstm_backward<T>(z, grad(0), grad(1), grad(2), from(3), from(4), from(5), from(6), to(0), to(1), to(2));
    };
  });
}

}  // namespace

std::vector<KernelEntry> recurrent_kernels() {
  return {{&ops::lstm, prepare_lstm}, {&ops::lstm_grad, prepare_lstm_grad}};
}

}  // namespace hebb::cpu
#endif  // HWY_ONCE
