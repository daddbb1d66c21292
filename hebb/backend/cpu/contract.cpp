// Matrix products and convolutions of the cpu backend.
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

// Calls fn(T{}) for f32 and f64; other types run the plain kernel.
template <class F>
Kernel for_float(DType t, F&& fn) {
  if (t == f32) return fn(float{});
  if (t == f64) return fn(double{});
  return {};
}

template <bool relu>
Kernel prepare_linear(const Attrs& attrs, SpecPtrs in, SpecPtrs) {
  const int64_t k = in[1]->shape[1], n = in[1]->shape[0], m = in[0]->shape.numel() / std::max<int64_t>(1, k);
  if (k == 0) return {};
  const bool bias = in.size() == 3, low = attrs.as<detail::ProductAttrs>().bf16;
  return for_float(in[0]->dtype, [&]<class T>(T) -> Kernel {
    return [=, packed = Steady<T>()](ExecContext& context, const void* const* x, void* const* y) {
      Gemm<T> g{.m = m,
                .n = n,
                .k = k,
                .a = static_cast<const T*>(x[0]),
                .lda = k,
                .b = static_cast<const T*>(x[1]),
                .ldb = k,
                .trans_b = true,
                .c = static_cast<T*>(y[0]),
                .ldc = n,
                .col_bias = bias ? static_cast<const T*>(x[2]) : nullptr,
                .relu = relu,
                .bf16 = low};
      g.b_packed = packed.of(
          context, 1, [&] { return packed_b_size<T>(n, k); }, [&](T* out) { pack_b_whole(g, out); });
      gemm(g);
    };
  });
}

Kernel prepare_matmul(const Attrs& attrs, SpecPtrs in, SpecPtrs out) {
  const auto t = attrs.as<MatmulAttrs>();
  const Shape &a = in[0]->shape, &b = in[1]->shape, &y = out[0]->shape;
  const int64_t m = y[y.ndim() - 2], n = y.back(), k = t.trans_a ? a[a.ndim() - 2] : a.back();
  // Where each matrix of the batch begins in either operand.
  const auto leading = [](const Shape& s) { return Shape(std::span<const int64_t>(s.begin(), s.end() - 2)); };
  std::vector<std::pair<int64_t, int64_t>> batch;
  detail::for_each_index(leading(y), [&](const Shape& at) {
    batch.emplace_back(detail::broadcast_offset(at, leading(a)) * m * k,
                       detail::broadcast_offset(at, leading(b)) * k * n);
  });
  const int64_t lda = t.trans_a ? m : k, ldb = t.trans_b ? k : n;
  return for_float(in[0]->dtype, [&]<class T>(T) -> Kernel {
    return [=, batch = std::move(batch), packed = Steady<T>()](ExecContext& context, const void* const* x,
                                                               void* const* to) {
      auto matrix = [&](int64_t i) {
        return Gemm<T>{.m = m,
                       .n = n,
                       .k = k,
                       .a = static_cast<const T*>(x[0]) + batch[i].first,
                       .lda = lda,
                       .trans_a = t.trans_a,
                       .b = static_cast<const T*>(x[1]) + batch[i].second,
                       .ldb = ldb,
                       .trans_b = t.trans_b,
                       .c = static_cast<T*>(to[0]) + i * m * n,
                       .ldc = n,
                       .bf16 = t.bf16};
      };
      const auto count = static_cast<int64_t>(batch.size());
      if (count == 1) {
        Gemm<T> g = matrix(0);
        g.b_packed = packed.of(
            context, 1, [&] { return packed_b_size<T>(n, k); }, [&](T* memory) { pack_b_whole(g, memory); });
        return gemm<T>(g);
      }
      if (count < 2 * context.threads) {
        for (int64_t i = 0; i < count; ++i) gemm<T>(matrix(i));
        return;
      }
      const int64_t grain = std::max<int64_t>(1, 1'000'000 / std::max<int64_t>(1, m * n * k));  // about 20 us
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
          {&ops::matmul, prepare_matmul},
          {&ops::conv2d, prepare_conv},
          {&ops::conv2d_max_pool2d, prepare_conv_pool<true>},
          {&ops::conv2d_max_pool2d_values, prepare_conv_pool<false>},
          {&ops::conv2d_input_grad, prepare_conv_input_grad},
          {&ops::conv2d_weight_grad, prepare_conv_weight_grad}};
}

}  // namespace hebb::cpu
