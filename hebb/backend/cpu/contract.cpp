// Matrix products and convolutions of the cpu backend.
#include "hebb/backend/cpu/behind.h"
#include "hebb/backend/cpu/conv.h"
#include "hebb/backend/cpu/gemm.h"
#include "hebb/backend/cpu/kernels.h"
#include "hebb/backend/cpu/narrow_conv.h"
#include "hebb/backend/cpu/steady.h"
#include "hebb/core/parallel.h"
#include "hebb/op/autocast.h"
#include "hebb/ops/conv_attrs.h"
#include "hebb/ops/matmul_attrs.h"
#include "hebb/ops/op_support.h"
#include "hebb/ops/table.h"

namespace hebb::cpu {
namespace {

using detail::ProductAttrs;

// Calls fn(T{}) for f32 and f64; other types run the plain kernel.
template <class F>
Kernel for_float(DType t, F&& fn) {
  if (t == f32) return fn(float{});
  if (t == f64) return fn(double{});
  return {};
}

// x W^T + b of operands of these specs.
template <class T>
Gemm<T> linear_product(const ProductAttrs& a, SpecPtrs in) {
  const int64_t k = in[1]->shape[1], n = in[1]->shape[0], m = in[0]->shape.numel() / std::max<int64_t>(1, k);
  return {.m = m,
          .n = n,
          .k = k,
          .lda = k,
          .ldb = k,
          .trans_b = true,
          .ldc = n,
          .bf16 = a.bf16 && !is_small_product(m, n, k)};
}
// The same of matrices.
template <class T>
Gemm<T> matrix_product(const MatmulAttrs& t, const Shape& a, const Shape& b) {
  const int64_t m = a[a.ndim() - (t.trans_a ? 1 : 2)], k = a[a.ndim() - (t.trans_a ? 2 : 1)],
                n = b[b.ndim() - (t.trans_b ? 2 : 1)];
  return {.m = m,
          .n = n,
          .k = k,
          .lda = t.trans_a ? m : k,
          .trans_a = t.trans_a,
          .ldb = t.trans_b ? k : n,
          .trans_b = t.trans_b,
          .ldc = n,
          .bf16 = t.bf16 && !is_small_product(m, n, k)};
}

/// A product of the first two inputs, the second of which is packed once where it stays and that pays.
template <class T>
struct Product {
  Gemm<T> shape;
  bool bias;
  Steady<T> packed = {};

  void operator()(ExecContext& context, const void* const* x, T* y, RowsReady* ready = nullptr) const {
    Gemm<T> g = shape;
    g.a = static_cast<const T*>(x[0]);
    g.b = static_cast<const T*>(x[1]);
    g.c = y;
    g.col_bias = bias ? static_cast<const T*>(x[2]) : nullptr;
    g.ready = ready;
    if (g.trans_b || !is_small_product(g.m, g.n, g.k))  // (else B is read in place)
      g.b_packed = packed.of(
          context, 1, [&] { return packed_b_size<T>(g.n, g.k); }, [&](T* to) { pack_b_whole(g, to); });
    gemm(g);
  }
};

template <bool relu>
Kernel prepare_linear(const Attrs& attrs, SpecPtrs in, SpecPtrs) {
  if (in[1]->shape[1] == 0) return {};
  return for_float(in[0]->dtype, [&]<class T>(T) -> Kernel {
    Gemm<T> g = linear_product<T>(attrs.as<ProductAttrs>(), in);
    g.relu = relu;
    return [product = Product<T>{g, in.size() == 3}](ExecContext& context, const void* const* x,
                                                     void* const* y) {
      product(context, x, static_cast<T*>(y[0]));
    };
  });
}

// Of f32, and products of two matrices.
Kernel prepare_behind(const Gemm<float>& g, bool bias, Behind behind) {
  return [product = Product<float>{g, bias}, behind = std::move(behind)](
             ExecContext& context, const void* const* x, void* const* y) {
    behind(x, y, [&](float* sums, RowsReady* ready) { product(context, x, sums, ready); });
  };
}
Kernel prepare_linear_fused(const Attrs& attrs, SpecPtrs in, SpecPtrs) {
  const auto& a = attrs.as<FusedBehindAttrs<ProductAttrs>>();
  const SpecPtrs own = in.first(static_cast<size_t>(a.count));
  if (own[0]->dtype != f32 || own[1]->shape[1] == 0) return {};
  const Gemm<float> g = linear_product<float>(a.sums, own);
  return prepare_behind(g, own.size() == 3, Behind(a, in, ops::linear.infer(own, a.sums)[0], g.n));
}
Kernel prepare_matmul_fused(const Attrs& attrs, SpecPtrs in, SpecPtrs) {
  const auto& a = attrs.as<FusedBehindAttrs<MatmulAttrs>>();
  const Shape &x = in[0]->shape, &y = in[1]->shape;
  if (in[0]->dtype != f32 || x.ndim() != 2 || y.ndim() != 2) return {};
  const Gemm<float> g = matrix_product<float>(a.sums, x, y);
  if (g.k == 0) return {};
  return prepare_behind(g, false, Behind(a, in, ops::matmul.infer(in.first(2), a.sums)[0], g.n));
}

Kernel prepare_matmul(const Attrs& attrs, SpecPtrs in, SpecPtrs out) {
  const auto& t = attrs.as<MatmulAttrs>();
  const Shape &a = in[0]->shape, &b = in[1]->shape;
  // Where each matrix of the batch begins in either operand.
  const auto leading = [](const Shape& s) { return Shape(std::span<const int64_t>(s.begin(), s.end() - 2)); };
  const Gemm<double> sizes = matrix_product<double>(t, a, b);
  std::vector<std::pair<int64_t, int64_t>> batch;
  detail::for_each_index(leading(out[0]->shape), [&](const Shape& at) {
    batch.emplace_back(detail::broadcast_offset(at, leading(a)) * sizes.m * sizes.k,
                       detail::broadcast_offset(at, leading(b)) * sizes.k * sizes.n);
  });
  return for_float(in[0]->dtype, [&]<class T>(T) -> Kernel {
    const Gemm<T> g = matrix_product<T>(t, a, b);
    if (batch.size() == 1) {
      return [product = Product<T>{g, false}](ExecContext& context, const void* const* x, void* const* y) {
        product(context, x, static_cast<T*>(y[0]));
      };
    }
    return [g, batch = std::move(batch)](ExecContext& context, const void* const* x, void* const* to) {
      const auto matrix = [&](int64_t i) {
        Gemm<T> one = g;
        one.a = static_cast<const T*>(x[0]) + batch[i].first;
        one.b = static_cast<const T*>(x[1]) + batch[i].second;
        one.c = static_cast<T*>(to[0]) + i * g.m * g.n;
        return one;
      };
      const auto count = static_cast<int64_t>(batch.size());
      if (count < 2 * context.threads) {
        for (int64_t i = 0; i < count; ++i) gemm<T>(matrix(i));
        return;
      }
      const int64_t grain = std::max<int64_t>(1, 1'000'000 / std::max<int64_t>(1, g.m * g.n * g.k));  // 20 us
      parallel_for(count, grain, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) gemm_serial<T>(matrix(i));
      });
    };
  });
}

ConvShape conv_shape(const Conv2dAttrs& a, const Shape& x, const Shape& w, const Shape& y) {
  return {x[0],         x[1],          x[2],          x[3],        y[1],        y[2],
          y[3],         w[2],          w[3],          a.stride[0], a.stride[1], a.padding[0],
          a.padding[2], a.dilation[0], a.dilation[1], a.groups,    false,       a.bf16};
}

Kernel prepare_conv(const Attrs& attrs, SpecPtrs in, SpecPtrs out) {
  const ConvShape s = conv_shape(attrs.as<Conv2dAttrs>(), in[0]->shape, in[1]->shape, out[0]->shape);
  const bool bias = in.size() == 3;
  return for_float(in[0]->dtype, [&]<class T>(T) -> Kernel {
    return [=](ExecContext&, const void* const* x, void* const* y) {
      conv2d_forward<T>(s, static_cast<const T*>(x[0]), static_cast<const T*>(x[1]),
                        bias ? static_cast<const T*>(x[2]) : nullptr, static_cast<T*>(y[0]));
    };
  });
}
/// Only of narrow convolutions; others are not joined with what follows them.
template <bool places>
Kernel prepare_conv_pool(const Attrs& attrs, SpecPtrs in, SpecPtrs) {
  const Shape sums = ops::conv2d.infer(in, attrs)[0].shape;
  const ConvShape s = conv_shape(attrs.as<Conv2dAttrs>(), in[0]->shape, in[1]->shape, sums);
  if (in[0]->dtype != f32 || !is_narrow(s)) return {};
  const bool bias = in.size() == 3;
  return [=](ExecContext&, const void* const* x, void* const* y) {
    narrow_forward_pooled(s, static_cast<const float*>(x[0]), static_cast<const float*>(x[1]),
                          bias ? static_cast<const float*>(x[2]) : nullptr, static_cast<float*>(y[0]),
                          places ? static_cast<int64_t*>(y[1]) : nullptr);
  };
}
Kernel prepare_conv_input_grad(const Attrs& attrs, SpecPtrs in, SpecPtrs out) {
  const ConvShape s = conv_shape(attrs.as<Conv2dAttrs>(), out[0]->shape, in[1]->shape, in[0]->shape);
  return for_float(in[0]->dtype, [&]<class T>(T) -> Kernel {
    return [=](ExecContext&, const void* const* x, void* const* y) {
      conv2d_input_grad<T>(s, static_cast<const T*>(x[0]), static_cast<const T*>(x[1]),
                           static_cast<T*>(y[0]));
    };
  });
}
Kernel prepare_conv_weight_grad(const Attrs& attrs, SpecPtrs in, SpecPtrs out) {
  const ConvShape s = conv_shape(attrs.as<Conv2dAttrs>(), in[1]->shape, out[0]->shape, in[0]->shape);
  return for_float(in[0]->dtype, [&]<class T>(T) -> Kernel {
    return [=](ExecContext&, const void* const* x, void* const* y) {
      conv2d_weight_grad<T>(s, static_cast<const T*>(x[0]), static_cast<const T*>(x[1]),
                            static_cast<T*>(y[0]));
    };
  });
}

}  // namespace

std::vector<KernelEntry> contract_kernels() {
  return {{&ops::linear, prepare_linear<false>},
          {&ops::linear_relu, prepare_linear<true>},
          {&ops::linear_fused, prepare_linear_fused},
          {&ops::matmul, prepare_matmul},
          {&ops::matmul_fused, prepare_matmul_fused},
          {&ops::conv2d, prepare_conv},
          {&ops::conv2d_max_pool2d, prepare_conv_pool<true>},
          {&ops::conv2d_max_pool2d_values, prepare_conv_pool<false>},
          {&ops::conv2d_input_grad, prepare_conv_input_grad},
          {&ops::conv2d_weight_grad, prepare_conv_weight_grad}};
}

}  // namespace hebb::cpu
