// Batch normalisation. Where several threads share a sum, it is cut by the shape alone; else a channel is one
// thread's.
#include <cmath>
#include <vector>

#include "hebb/backend/cpu/kernel_support.h"
#include "hebb/backend/cpu/row_moments.h"
#include "hebb/core/parallel.h"
#include "hebb/ops/norm_attrs.h"
#include "hebb/ops/table.h"

#ifndef HEBB_BACKEND_CPU_BATCH_NORM_TYPES_  // this file is compiled once for every instruction set
#define HEBB_BACKEND_CPU_BATCH_NORM_TYPES_
namespace hebb::cpu {
namespace {

template <class T>
struct BatchNormKernels {
  T (*sum_line)(const T* x, int64_t n);
  T (*squares_line)(const T* x, int64_t n, T mean);
  void (*gradient_sums_line)(const T* g, const T* x, const T* w, int64_t n, T mean, T* plain, T* centred);
  void (*normalize_line)(const T* x, int64_t n, T mean, T scale, T shift, T* y);
  void (*combine_line)(const T* g, const T* x, const T* w, int64_t n, T mean, T a, T b, T c, T* out);
  void (*channel_moments)(const T* x, int64_t rows, int64_t channels, T* mean, T* squares);
  void (*channel_gradient_sums)(const T* g, const T* x, const T* mean, int64_t rows, int64_t channels,
                                T* plain, T* centred);
  void (*normalize_channels)(const T* x, int64_t rows, int64_t channels, const T* mean, const T* scale,
                             const T* shift, T* y);
  void (*combine_channels)(const T* g, const T* x, int64_t rows, int64_t channels, const T* mean, const T* a,
                           const T* b, const T* shift, T* out);
  void (*join_moments)(const T* means, const T* squares, int64_t blocks, int64_t stride, int64_t n,
                       int64_t each, int64_t rows, T* mean, T* var);
};

constexpr int64_t kStrip = 64;  // columns of join_moments

}  // namespace
}  // namespace hebb::cpu
#endif

#include "hebb/backend/cpu/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hebb/backend/cpu/batch_norm.cpp"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "hebb/backend/cpu/batch_norm-inl.h"

#if HWY_ONCE
namespace hebb::cpu {
namespace {

HWY_EXPORT(batch_norm_kernels_f32);
HWY_EXPORT(batch_norm_kernels_f64);

template <class T>
BatchNormKernels<T> kernels() {
  if constexpr (std::is_same_v<T, float>) return HWY_DYNAMIC_DISPATCH(batch_norm_kernels_f32)();
  else return HWY_DYNAMIC_DISPATCH(batch_norm_kernels_f64)();
}

/// x is [batch, channels, inner].
struct Channels {
  int64_t batch, channels, inner = 1;
  explicit Channels(const Shape& x) : batch(x[0]), channels(x[1]) {
    for (int d = 2; d < x.ndim(); ++d) inner *= x[d];
  }
  double count() const { return static_cast<double>(batch * inner); }
  /// Calls fn(offset) for each line of a channel.
  template <class F>
  void each_line(int64_t channel, F fn) const {
    for (int64_t b = 0; b < batch; ++b) fn((b * channels + channel) * inner);
  }
  /// Calls fn(begin, end) on ranges of channels.
  template <class F>
  void parallel(double ns_each, F fn) const {
    parallel_for(channels, grain(ns_each * count()), fn);
  }
};

// Elements whose sums are one partial sum. They stay in the second-level cache, moments beside what a
// convolution keeps there; gradients have the blocks of fused programs.
constexpr int64_t kMomentsBlock = 16384, kGradientBlock = 32768;

int64_t rows_of_block(int64_t elements, int64_t columns) {
  return std::max<int64_t>(1, elements / std::max<int64_t>(1, columns));
}

/// The rows of [N, C] in such blocks, cut by the shape alone.
struct RowBlocks {
  int64_t rows, channels, each, count;
  RowBlocks(const Channels& c, int64_t elements)
      : rows(c.batch),
        channels(c.channels),
        each(rows_of_block(elements, c.channels)),
        count((rows + each - 1) / each) {}
  /// Calls fn(block, its first element, its rows) for all.
  template <class F>
  void parallel(double ns_each, F fn) const {
    parallel_for(count, grain(ns_each * static_cast<double>(each * channels)),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t b = begin; b < end; ++b)
                     fn(b, b * each * channels, std::min(each, rows - b * each));
                 });
  }
};

template <class T>
T scale_of(T weight, T var, double eps) {
  return static_cast<T>(static_cast<double>(weight) / std::sqrt(static_cast<double>(var) + eps));
}

/// Batch normalisation of [N, C].
template <class T>
void batch_norm_rows(const Channels& c, const T* x, const T* weight, const T* bias, double eps, T* y, T* mean,
                     T* var) {
  RowMoments<T>(x, c.batch, c.channels).finish(mean, var);
  std::vector<T> scale(static_cast<size_t>(c.channels));
  for (size_t j = 0; j < scale.size(); ++j) scale[j] = scale_of(weight[j], var[j], eps);
  RowBlocks(c, kMomentsBlock).parallel(0.2, [&](int64_t, int64_t first, int64_t rows) {
    kernels<T>().normalize_channels(x + first, rows, c.channels, mean, scale.data(), bias, y + first);
  });
}

Kernel prepare_batch_norm(const Attrs& attrs, SpecPtrs in, SpecPtrs) {
  const double eps = attrs.as<BatchNormAttrs>().eps;
  const Channels c(in[0]->shape);
  return for_type(in[0]->dtype, [&]<class T>(T) -> Kernel {
    return [c, eps](ExecContext&, const void* const* inputs, void* const* outputs) {
      const BatchNormKernels<T> k = kernels<T>();
      const T *x = input<T>(inputs, 0), *weight = input<T>(inputs, 1), *bias = input<T>(inputs, 2);
      T *y = output<T>(outputs, 0), *mean = output<T>(outputs, 1), *var = output<T>(outputs, 2);
      if (c.inner == 1) return batch_norm_rows(c, x, weight, bias, eps, y, mean, var);
      c.parallel(0.4, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          double sum = 0, squares = 0;
          c.each_line(i, [&](int64_t at) { sum += static_cast<double>(k.sum_line(x + at, c.inner)); });
          mean[i] = static_cast<T>(sum / c.count());
          c.each_line(i, [&](int64_t at) {
            squares += static_cast<double>(k.squares_line(x + at, c.inner, mean[i]));
          });
          var[i] = static_cast<T>(squares / c.count());
          const T scale = scale_of(weight[i], var[i], eps);
          c.each_line(
              i, [&](int64_t at) { k.normalize_line(x + at, c.inner, mean[i], scale, bias[i], y + at); });
        }
      });
    };
  });
}

/// gx = g a + (x - mean) b + shift for a channel of n values, from the sums over it of g and of g (x - mean).
template <class T>
struct BatchNormGradient {
  T weight_gradient, a, b, shift;
  BatchNormGradient(double n, T weight, T var, double eps, T plain, T centred, T gmean, T gvar) {
    const double scale = 1 / std::sqrt(static_cast<double>(var) + eps),
                 by = static_cast<double>(weight) * scale;
    weight_gradient = static_cast<T>(static_cast<double>(centred) * scale);
    a = static_cast<T>(by);
    b = static_cast<T>((2 * static_cast<double>(gvar) - by * scale * scale * static_cast<double>(centred)) /
                       n);
    shift = static_cast<T>((static_cast<double>(gmean) - by * static_cast<double>(plain)) / n);
  }
};

/// The operands of batch_norm_grad.
template <class T>
struct GradientOperands {
  const T *g, *gmean, *gvar, *x, *weight, *mean, *var;
  T *gx, *gw, *gb;
  GradientOperands(const void* const* in, void* const* out)
      : g(input<T>(in, 0)),
        gmean(input<T>(in, 1)),
        gvar(input<T>(in, 2)),
        x(input<T>(in, 3)),
        weight(input<T>(in, 4)),
        mean(input<T>(in, 5)),
        var(input<T>(in, 6)),
        gx(output<T>(out, 0)),
        gw(output<T>(out, 1)),
        gb(output<T>(out, 2)) {}
  /// From the sums over a channel; gives the gradients of weight and bias their values.
  BatchNormGradient<T> finish(int64_t i, double n, double eps, double plain, double centred) const {
    gb[i] = static_cast<T>(plain);
    const BatchNormGradient<T> r(n, weight[i], var[i], eps, gb[i], static_cast<T>(centred), gmean[i],
                                 gvar[i]);
    gw[i] = r.weight_gradient;
    return r;
  }
};

/// The gradient of batch normalisation of [N, C].
template <class T>
void batch_norm_grad_rows(const Channels& c, double eps, const GradientOperands<T>& o) {
  const BatchNormKernels<T> k = kernels<T>();
  const RowBlocks blocks(c, kGradientBlock);
  const auto width = static_cast<size_t>(c.channels);
  const size_t size = static_cast<size_t>(blocks.count) * width;
  const Temporary<T> memory(ScratchUse::kMoments, 2 * static_cast<int64_t>(size));
  T* const plain = memory.data();
  T* const centred = plain + size;
  blocks.parallel(0.3, [&](int64_t block, int64_t first, int64_t rows) {
    const size_t at = static_cast<size_t>(block) * width;
    k.channel_gradient_sums(o.g + first, o.x + first, o.mean, rows, c.channels, plain + at, centred + at);
  });
  std::vector<double> sum(width), sum_centred(width);
  for (size_t at = 0; at < size; at += width) {
    for (size_t j = 0; j < width; ++j) {
      sum[j] += static_cast<double>(plain[at + j]);
      sum_centred[j] += static_cast<double>(centred[at + j]);
    }
  }
  std::vector<T> a(width), b(width), shift(width);
  for (size_t j = 0; j < width; ++j) {
    const auto r = o.finish(static_cast<int64_t>(j), c.count(), eps, sum[j], sum_centred[j]);
    a[j] = r.a;
    b[j] = r.b;
    shift[j] = r.shift;
  }
  blocks.parallel(0.3, [&](int64_t, int64_t first, int64_t rows) {
    k.combine_channels(o.g + first, o.x + first, rows, c.channels, o.mean, a.data(), b.data(), shift.data(),
                       o.gx + first);
  });
}

Kernel prepare_batch_norm_grad(const Attrs& attrs, SpecPtrs in, SpecPtrs) {
  const double eps = attrs.as<BatchNormAttrs>().eps;
  const Channels c(in[3]->shape);
  return for_type(in[3]->dtype, [&]<class T>(T) -> Kernel {
    return [c, eps](ExecContext&, const void* const* inputs, void* const* outputs) {
      const GradientOperands<T> o(inputs, outputs);
      if (c.inner == 1) return batch_norm_grad_rows(c, eps, o);
      const BatchNormKernels<T> k = kernels<T>();
      c.parallel(0.5, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          double plain = 0, centred = 0;
          c.each_line(i, [&](int64_t at) {
            T s, t;
            k.gradient_sums_line(o.g + at, o.x + at, nullptr, c.inner, o.mean[i], &s, &t);
            plain += static_cast<double>(s);
            centred += static_cast<double>(t);
          });
          const auto r = o.finish(i, c.count(), eps, plain, centred);
          c.each_line(i, [&](int64_t at) {
            k.combine_line(o.g + at, o.x + at, nullptr, c.inner, o.mean[i], r.a, r.b, r.shift, o.gx + at);
          });
        }
      });
    };
  });
}

// ---- The parts of both on rows.

Kernel prepare_moments(const Attrs&, SpecPtrs in, SpecPtrs) {
  const Channels c(in[0]->shape);
  return for_type(in[0]->dtype, [&]<class T>(T) -> Kernel {
    return [c](ExecContext&, const void* const* inputs, void* const* outputs) {
      RowMoments<T>(input<T>(inputs, 0), c.batch, c.channels)
          .finish(output<T>(outputs, 0), output<T>(outputs, 1));
    };
  });
}

Kernel prepare_scale(const Attrs& attrs, SpecPtrs in, SpecPtrs) {
  const int64_t n = in[0]->shape.numel();
  return for_type(in[0]->dtype, [&]<class T>(T) -> Kernel {
    return [n, eps = attrs.as<BatchNormAttrs>().eps](ExecContext&, const void* const* inputs,
                                                     void* const* outputs) {
      for (int64_t i = 0; i < n; ++i)
        output<T>(outputs, 0)[i] = scale_of(input<T>(inputs, 0)[i], input<T>(inputs, 1)[i], eps);
    };
  });
}

Kernel prepare_grad_factors(const Attrs& attrs, SpecPtrs in, SpecPtrs) {
  const int64_t n = in[0]->shape.numel();
  return for_type(in[0]->dtype, [&]<class T>(T) -> Kernel {
    return [n, at = attrs.as<BatchNormFactorsAttrs>()](ExecContext&, const void* const* inputs,
                                                       void* const* outputs) {
      const auto at_input = [&](int k, int64_t i) { return input<T>(inputs, k)[i]; };
      for (int64_t i = 0; i < n; ++i) {
        const BatchNormGradient<T> r(static_cast<double>(at.count), at_input(4, i), at_input(5, i), at.eps,
                                     at_input(0, i), at_input(1, i), at_input(2, i), at_input(3, i));
        output<T>(outputs, 0)[i] = r.a;
        output<T>(outputs, 1)[i] = r.b;
        output<T>(outputs, 2)[i] = r.shift;
        output<T>(outputs, 3)[i] = r.weight_gradient;
      }
    };
  });
}

}  // namespace

template <class T>
RowMoments<T>::RowMoments(const T* x, int64_t rows, int64_t columns)
    : BlocksReady(rows, columns, rows_of_block(kMomentsBlock, columns)),
      x_(x),
      columns_(columns),
      memory_(ScratchUse::kMoments, 2 * count_ * columns),
      means_(memory_.data()),
      squares_(means_ + count_ * columns) {}

template <class T>
void RowMoments<T>::run(int64_t block) {
  const int64_t at = block * columns_;
  kernels<T>().channel_moments(x_ + at * each_, rows_of(block), columns_, means_ + at, squares_ + at);
}

template <class T>
void RowMoments<T>::finish(T* mean, T* var) {
  finish_blocks(0.2 * static_cast<double>(each_ * columns_));
  const BatchNormKernels<T> k = kernels<T>();
  const int64_t strips = (columns_ + kStrip - 1) / kStrip;
  parallel_for(strips, grain(static_cast<double>(count_ * kStrip)), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin * kStrip; i < std::min(columns_, end * kStrip); i += kStrip)
      k.join_moments(means_ + i, squares_ + i, count_, columns_, std::min(kStrip, columns_ - i), each_, rows_,
                     mean + i, var + i);
  });
}

template class RowMoments<float>;
template class RowMoments<double>;

std::vector<KernelEntry> batch_norm_kernels() {
  return {{&ops::batch_norm, prepare_batch_norm},
          {&ops::batch_norm_grad, prepare_batch_norm_grad},
          {&ops::batch_norm_moments, prepare_moments},
          {&ops::batch_norm_scale, prepare_scale},
          {&ops::batch_norm_grad_factors, prepare_grad_factors}};
}

}  // namespace hebb::cpu
#endif  // HWY_ONCE
