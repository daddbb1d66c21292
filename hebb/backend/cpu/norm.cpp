// Softmax, layer normalisation, and the losses that are ops. Where several threads share a sum, it
// is cut by the shape alone; else a channel or line is one thread's.
#include <cmath>
#include <cstring>
#include <vector>

#include "hebb/backend/cpu/kernel_support.h"
#include "hebb/backend/cpu/scratch.h"
#include "hebb/core/parallel.h"
#include "hebb/ops/loss_attrs.h"
#include "hebb/ops/norm_attrs.h"
#include "hebb/ops/table.h"

#ifndef HEBB_BACKEND_CPU_NORM_TYPES_  // this file is compiled once for every instruction set
#define HEBB_BACKEND_CPU_NORM_TYPES_
namespace hebb::cpu {
namespace {

constexpr int64_t kColumns = 256;  // neighbouring lines that a call on columns takes

template <class T>
struct NormKernels {
  void (*exp_line)(const T* x, int64_t n, T* y, T* largest, T* sum);
  void (*softmax_grad_line)(const T* g, const T* y, int64_t n, bool log, T* out);
  void (*exp_columns)(const T* x, int64_t n, int64_t stride, int64_t columns, T* y, T* largest, T* sum);
  void (*softmax_grad_columns)(const T* g, const T* y, int64_t n, int64_t stride, int64_t columns, bool log,
                               T* out);
  void (*scale_line)(T* y, int64_t n, T scale);
  void (*shift_line)(const T* x, int64_t n, T a, T b, T* y);
  T (*sum_line)(const T* x, int64_t n);
  T (*squares_line)(const T* x, int64_t n, T mean);
  void (*gradient_sums_line)(const T* g, const T* x, const T* w, int64_t n, T mean, T* plain, T* centred);
  void (*normalize_affine_line)(const T* x, const T* w, const T* b, int64_t n, T mean, T scale, T* y);
  void (*combine_line)(const T* g, const T* x, const T* w, int64_t n, T mean, T a, T b, T c, T* out);
  void (*add_affine_gradients)(const T* g, const T* x, int64_t n, T mean, T scale, T* gw, T* gb);
  bool (*binary_cross_entropy_line)(const T* x, const T* y, int64_t n, T* loss);
};

}  // namespace
}  // namespace hebb::cpu
#endif

#include "hebb/backend/cpu/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hebb/backend/cpu/norm.cpp"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "hebb/backend/cpu/norm-inl.h"

#if HWY_ONCE
namespace hebb::cpu {
namespace {

using detail::ClassLayout;

HWY_EXPORT(norm_kernels_f32);
HWY_EXPORT(norm_kernels_f64);

template <class T>
NormKernels<T> kernels();
template <>
NormKernels<float> kernels<float>() {
  return HWY_DYNAMIC_DISPATCH(norm_kernels_f32)();
}
template <>
NormKernels<double> kernels<double>() {
  return HWY_DYNAMIC_DISPATCH(norm_kernels_f64)();
}

// ---- Softmax

/// Lines of n values, `inner` apart; `inner` of them lie side by side, `outer` such groups one behind
/// another.
struct Lines {
  int64_t outer = 1, n = 1, inner = 1;
  Lines(const Shape& s, int64_t dim) {
    for (int d = 0; d < s.ndim(); ++d) (d < dim ? outer : d == dim ? n : inner) *= s[d];
  }
  double cost() const { return 1.0 * static_cast<double>(n) + 10; }  // of a line, in nanoseconds
};

/// Calls line(first) for lines along memory, or columns(first, count) for groups of lines across it.
template <class F, class G>
void for_each_line(const Lines& s, F line, G columns) {
  if (s.inner == 1) {
    parallel_for(s.outer, grain(s.cost()), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) line(i * s.n);
    });
    return;
  }
  const int64_t groups = (s.inner + kColumns - 1) / kColumns;
  const auto lines = static_cast<double>(std::min(s.inner, kColumns));
  parallel_for(s.outer * groups, grain(0.5 * s.cost() * lines), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t at = i % groups * kColumns;
      columns(i / groups * s.n * s.inner + at, std::min(kColumns, s.inner - at));
    }
  });
}

template <bool log>
Kernel prepare_softmax(const Attrs& attrs, SpecPtrs in, SpecPtrs) {
  const Lines lines(in[0]->shape, attrs.as<SoftmaxAttrs>().dim);
  return for_type(in[0]->dtype, [&]<class T>(T) -> Kernel {
    return [lines](ExecContext&, const void* const* inputs, void* const* outputs) {
      const NormKernels<T> k = kernels<T>();
      const T* x = input<T>(inputs, 0);
      T* y = output<T>(outputs, 0);
      const int64_t n = lines.n, inner = lines.inner;
      for_each_line(
          lines,
          [&](int64_t first) {
            T largest, sum;
            k.exp_line(x + first, n, log ? nullptr : y + first, &largest, &sum);
            if (log) k.shift_line(x + first, n, largest, std::log(sum), y + first);
            else k.scale_line(y + first, n, 1 / sum);
          },
          [&](int64_t first, int64_t count) {
            T largest[kColumns], scale[kColumns];
            k.exp_columns(x + first, n, inner, count, log ? nullptr : y + first, largest, scale);
            for (int64_t j = 0; j < count; ++j) scale[j] = log ? std::log(scale[j]) : 1 / scale[j];
            for (int64_t i = first; i < first + n * inner; i += inner)
              for (int64_t j = 0; j < count; ++j)
                y[i + j] = log ? x[i + j] - largest[j] - scale[j] : y[i + j] * scale[j];
          });
    };
  });
}

template <bool log>
Kernel prepare_softmax_grad(const Attrs& attrs, SpecPtrs in, SpecPtrs) {
  const Lines lines(in[0]->shape, attrs.as<SoftmaxAttrs>().dim);
  return for_type(in[0]->dtype, [&]<class T>(T) -> Kernel {
    return [lines](ExecContext&, const void* const* inputs, void* const* outputs) {
      const NormKernels<T> k = kernels<T>();
      const T *g = input<T>(inputs, 0), *y = input<T>(inputs, 1);
      T* gx = output<T>(outputs, 0);
      for_each_line(
          lines, [&](int64_t at) { k.softmax_grad_line(g + at, y + at, lines.n, log, gx + at); },
          [&](int64_t at, int64_t count) {
            k.softmax_grad_columns(g + at, y + at, lines.n, lines.inner, count, log, gx + at);
          });
    };
  });
}

// ---- Class losses

/// Targets, their weights and what the mean divides by. Checked here, in order: the message names the first.
template <class T>
struct Targets {
  const int64_t* target;
  const T* weight;  // null: ones
  double total = 0;

  Targets(const char* op, const ClassLossAttrs& a, const void* const* in, int first, bool weighted,
          int64_t positions, int64_t classes)
      : target(input<int64_t>(in, first)), weight(weighted ? input<T>(in, first + 1) : nullptr) {
    for (int64_t i = 0; i < positions; ++i) {
      if (target[i] == a.ignore_index) continue;
      detail::check_class(op, target[i], i, classes);
      total += static_cast<double>(weight_of(target[i]));
    }
  }
  T weight_of(int64_t c) const { return weight ? weight[c] : T(1); }
};

/// The share of every class, label smoothing times its weight over their number, summed.
template <class T>
double smoothing_sum(const ClassLossAttrs& a, const Targets<T>& t, int64_t classes) {
  double sum = 0;
  for (int64_t c = 0; c < classes; ++c) sum += static_cast<double>(t.weight_of(c));
  return sum * a.label_smoothing / static_cast<double>(classes);
}

template <class T>
void store_loss(const ClassLossAttrs& a, const Targets<T>& t, const T* losses, int64_t positions, T* out) {
  double sum = 0;
  for (int64_t i = 0; i < positions; ++i) sum += static_cast<double>(losses[i]);
  *out = static_cast<T>(a.reduction == 1 ? sum / t.total : sum);
}

Kernel prepare_cross_entropy(const Attrs& attrs, SpecPtrs in, SpecPtrs) {
  if (in[1]->dtype != i64) return {};
  const ClassLossAttrs a = attrs.as<ClassLossAttrs>();
  const ClassLayout layout(in[0]->shape);
  const Lines lines(in[0]->shape, in[0]->shape.ndim() > 1 ? 1 : 0);
  const bool weighted = in.size() > 2;
  return for_type(in[0]->dtype, [&]<class T>(T) -> Kernel {
    return [=](ExecContext&, const void* const* inputs, void* const* outputs) {
      const NormKernels<T> k = kernels<T>();
      const T* x = input<T>(inputs, 0);
      const int64_t positions = lines.outer * lines.inner, classes = lines.n;
      const Targets<T> t("cross_entropy", a, inputs, 1, weighted, positions, classes);
      const auto smoothing = static_cast<T>(a.label_smoothing / static_cast<double>(classes)),
                 hit = static_cast<T>(1 - a.label_smoothing);
      const Temporary<T> buffer(ScratchUse::kLosses, a.reduction == 0 ? 0 : positions);
      T* losses = a.reduction == 0 ? output<T>(outputs, 0) : buffer.data();
      auto loss_at = [&](int64_t position, int64_t first, T largest, T sum) {
        const int64_t target = t.target[position];
        if (target == a.ignore_index) {
          losses[position] = 0;
          return;
        }
        const T log_sum = std::log(sum);
        auto surprise = [&](int64_t c) { return log_sum - (x[first + c * lines.inner] - largest); };
        T loss = hit * t.weight_of(target) * surprise(target);
        if (smoothing != 0)
          for (int64_t c = 0; c < classes; ++c) loss += smoothing * t.weight_of(c) * surprise(c);
        losses[position] = loss;
      };
      for_each_line(
          lines,
          [&](int64_t first) {
            T largest, sum;
            k.exp_line(x + first, classes, nullptr, &largest, &sum);
            loss_at(first / classes, first, largest, sum);
          },
          [&](int64_t first, int64_t count) {
            T largest[kColumns], sum[kColumns];
            k.exp_columns(x + first, classes, lines.inner, count, nullptr, largest, sum);
            const int64_t group = classes * lines.inner,
                          position = first / group * lines.inner + first % group;
            for (int64_t j = 0; j < count; ++j) loss_at(position + j, first + j, largest[j], sum[j]);
          });
      if (a.reduction != 0) store_loss(a, t, losses, positions, output<T>(outputs, 0));
    };
  });
}

Kernel prepare_cross_entropy_grad(const Attrs& attrs, SpecPtrs in, SpecPtrs) {
  if (in[2]->dtype != i64) return {};
  const ClassLossAttrs a = attrs.as<ClassLossAttrs>();
  const Lines lines(in[1]->shape, in[1]->shape.ndim() > 1 ? 1 : 0);
  const bool weighted = in.size() > 3;
  return for_type(in[1]->dtype, [&]<class T>(T) -> Kernel {
    return [=](ExecContext&, const void* const* inputs, void* const* outputs) {
      const NormKernels<T> k = kernels<T>();
      const T *g = input<T>(inputs, 0), *x = input<T>(inputs, 1);
      T* gx = output<T>(outputs, 0);
      const int64_t positions = lines.outer * lines.inner, classes = lines.n, inner = lines.inner;
      const Targets<T> t("cross_entropy_grad", a, inputs, 2, weighted, positions, classes);
      const auto smoothing = static_cast<T>(a.label_smoothing / static_cast<double>(classes)),
                 hit = static_cast<T>(1 - a.label_smoothing),
                 smoothed = static_cast<T>(smoothing_sum(a, t, classes));
      const T whole = a.reduction == 1 ? static_cast<T>(static_cast<double>(g[0]) / t.total) : T(0);
      auto gradient_of = [&](int64_t position) {
        if (t.target[position] == a.ignore_index) return T(0);
        return a.reduction == 0 ? g[position] : a.reduction == 1 ? whole : g[0];
      };
      // What the exponentials at a position, of sum `sum`, are multiplied by.
      auto scale_at = [&](int64_t position, T sum) {
        const int64_t target = t.target[position];
        if (target == a.ignore_index) return T(0);
        return gradient_of(position) * (hit * t.weight_of(target) + smoothed) / sum;
      };
      auto subtract_target = [&](int64_t position, int64_t first) {
        const int64_t target = t.target[position];
        if (target == a.ignore_index) {  // 0, whatever the scores are
          for (int64_t c = 0; c < classes; ++c) gx[first + c * inner] = 0;
          return;
        }
        const T gi = gradient_of(position);
        gx[first + target * inner] -= gi * hit * t.weight_of(target);
        if (smoothing != 0)
          for (int64_t c = 0; c < classes; ++c) gx[first + c * inner] -= gi * smoothing * t.weight_of(c);
      };
      for_each_line(
          lines,
          [&](int64_t first) {
            T largest, sum;
            k.exp_line(x + first, classes, gx + first, &largest, &sum);
            k.scale_line(gx + first, classes, scale_at(first / classes, sum));
            subtract_target(first / classes, first);
          },
          [&](int64_t first, int64_t count) {
            T largest[kColumns], scale[kColumns];
            k.exp_columns(x + first, classes, inner, count, gx + first, largest, scale);
            const int64_t group = classes * inner, position = first / group * inner + first % group;
            for (int64_t j = 0; j < count; ++j) scale[j] = scale_at(position + j, scale[j]);
            for (int64_t i = first; i < first + group; i += inner)
              for (int64_t j = 0; j < count; ++j) gx[i + j] *= scale[j];
            for (int64_t j = 0; j < count; ++j) subtract_target(position + j, first + j);
          });
    };
  });
}

Kernel prepare_nll_loss(const Attrs& attrs, SpecPtrs in, SpecPtrs) {
  if (in[1]->dtype != i64) return {};
  const ClassLossAttrs a = attrs.as<ClassLossAttrs>();
  const ClassLayout layout(in[0]->shape);
  const int64_t positions = in[1]->shape.numel();
  const bool weighted = in.size() > 2;
  return for_type(in[0]->dtype, [&]<class T>(T) -> Kernel {
    return [=](ExecContext&, const void* const* inputs, void* const* outputs) {
      const T* x = input<T>(inputs, 0);
      const Targets<T> t("nll_loss", a, inputs, 1, weighted, positions, layout.classes);
      const Temporary<T> buffer(ScratchUse::kLosses, a.reduction == 0 ? 0 : positions);
      T* losses = a.reduction == 0 ? output<T>(outputs, 0) : buffer.data();
      for (int64_t i = 0; i < positions; ++i) {
        const int64_t c = t.target[i];
        losses[i] = c == a.ignore_index ? T(0) : -t.weight_of(c) * x[layout.first(i) + c * layout.inner];
      }
      if (a.reduction != 0) store_loss(a, t, losses, positions, output<T>(outputs, 0));
    };
  });
}

Kernel prepare_nll_loss_grad(const Attrs& attrs, SpecPtrs in, SpecPtrs out) {
  if (in[1]->dtype != i64) return {};
  const ClassLossAttrs a = attrs.as<ClassLossAttrs>();
  const ClassLayout layout(out[0]->shape);
  const int64_t positions = in[1]->shape.numel(), size = out[0]->shape.numel();
  const bool weighted = in.size() > 2;
  return for_type(in[0]->dtype, [&]<class T>(T) -> Kernel {
    return [=](ExecContext&, const void* const* inputs, void* const* outputs) {
      const T* g = input<T>(inputs, 0);
      T* gx = output<T>(outputs, 0);
      const Targets<T> t("nll_loss_grad", a, inputs, 1, weighted, positions, layout.classes);
      std::fill(gx, gx + size, T(0));
      const T whole = a.reduction == 1 ? static_cast<T>(static_cast<double>(g[0]) / t.total) : g[0];
      for (int64_t i = 0; i < positions; ++i) {
        const int64_t c = t.target[i];
        if (c == a.ignore_index) continue;
        gx[layout.first(i) + c * layout.inner] = -t.weight_of(c) * (a.reduction == 0 ? g[i] : whole);
      }
    };
  });
}

Kernel prepare_binary_cross_entropy(const Attrs&, SpecPtrs in, SpecPtrs) {
  const int64_t n = in[0]->shape.numel();
  return for_type(in[0]->dtype, [&]<class T>(T) -> Kernel {
    return [n](ExecContext&, const void* const* inputs, void* const* outputs) {
      const NormKernels<T> k = kernels<T>();
      const T *x = input<T>(inputs, 0), *y = input<T>(inputs, 1);
      T* loss = output<T>(outputs, 0);
      parallel_for(n, grain(2), [&](int64_t begin, int64_t end) {
        if (k.binary_cross_entropy_line(x + begin, y + begin, end - begin, loss + begin)) return;
        for (int64_t i = begin; i < end; ++i)
          HEBB_CHECK(!(x[i] < 0 || x[i] > 1),
                     "[binary_cross_entropy] expected probabilities from 0 to 1, got {} at position {}", x[i],
                     i);
      });
    };
  });
}

// ---- Layer normalisation

struct Rows {
  int64_t rows = 1, n = 1;
  Rows(const Shape& x, int64_t dims) {
    for (int d = 0; d < x.ndim(); ++d) (d < x.ndim() - dims ? rows : n) *= x[d];
  }
};

template <class T>
struct RowStatistics {
  T mean, scale;
  RowStatistics(const NormKernels<T>& k, const T* x, int64_t n, double eps) {
    const auto count = static_cast<double>(n);
    mean = static_cast<T>(static_cast<double>(k.sum_line(x, n)) / count);
    scale = static_cast<T>(1 / std::sqrt(static_cast<double>(k.squares_line(x, n, mean)) / count + eps));
  }
};

Kernel prepare_layer_norm(const Attrs& attrs, SpecPtrs in, SpecPtrs) {
  const double eps = attrs.as<LayerNormAttrs>().eps;
  const Rows r(in[0]->shape, attrs.as<LayerNormAttrs>().dims);
  const bool affine = in.size() > 1;
  return for_type(in[0]->dtype, [&]<class T>(T) -> Kernel {
    return [=](ExecContext&, const void* const* inputs, void* const* outputs) {
      const NormKernels<T> k = kernels<T>();
      const T *x = input<T>(inputs, 0), *weight = affine ? input<T>(inputs, 1) : nullptr,
              *bias = affine ? input<T>(inputs, 2) : nullptr;
      T* y = output<T>(outputs, 0);
      parallel_for(r.rows, grain(0.4 * static_cast<double>(r.n) + 10), [&](int64_t begin, int64_t end) {
        for (int64_t at = begin * r.n; at < end * r.n; at += r.n) {
          const RowStatistics<T> s(k, x + at, r.n, eps);
          k.normalize_affine_line(x + at, weight, bias, r.n, s.mean, s.scale, y + at);
        }
      });
    };
  });
}

Kernel prepare_layer_norm_grad(const Attrs& attrs, SpecPtrs in, SpecPtrs) {
  const double eps = attrs.as<LayerNormAttrs>().eps;
  const Rows r(in[1]->shape, attrs.as<LayerNormAttrs>().dims);
  const bool affine = in.size() > 2;
  return for_type(in[1]->dtype, [&]<class T>(T) -> Kernel {
    return [=](ExecContext&, const void* const* inputs, void* const* outputs) {
      const NormKernels<T> k = kernels<T>();
      const T *g = input<T>(inputs, 0), *x = input<T>(inputs, 1),
              *weight = affine ? input<T>(inputs, 2) : nullptr;
      T* gx = output<T>(outputs, 0);
      // Chunks of rows, each with its own sums of the gradients of weight and bias; their number is the
      // shape's.
      constexpr int64_t kMaxChunks = 16, kMinRows = 16;
      const int64_t chunks = std::clamp<int64_t>(r.rows / kMinRows, 1, kMaxChunks);
      std::vector<T> partial(affine ? static_cast<size_t>(chunks * 2 * r.n) : 0);
      const double ns = 0.8 * static_cast<double>(r.n * r.rows / chunks) + 20;
      parallel_for(chunks, grain(ns), [&](int64_t begin, int64_t end) {
        for (int64_t chunk = begin; chunk < end; ++chunk) {
          T* gw = partial.data() + (affine ? chunk * 2 * r.n : 0);
          const int64_t last = r.rows * (chunk + 1) / chunks * r.n;
          for (int64_t at = r.rows * chunk / chunks * r.n; at < last; at += r.n) {
            const RowStatistics<T> s(k, x + at, r.n, eps);
            T plain, centred;
            k.gradient_sums_line(g + at, x + at, weight, r.n, s.mean, &plain, &centred);
            const auto n = static_cast<T>(r.n);
            k.combine_line(g + at, x + at, weight, r.n, s.mean, s.scale,
                           -s.scale * s.scale * s.scale * centred / n, -s.scale * plain / n, gx + at);
            if (affine) k.add_affine_gradients(g + at, x + at, r.n, s.mean, s.scale, gw, gw + r.n);
          }
        }
      });
      for (int o = 0; affine && o < 2; ++o) {
        T* to = output<T>(outputs, 1 + o);
        std::copy_n(partial.data() + o * r.n, r.n, to);
        for (int64_t chunk = 1; chunk < chunks; ++chunk)
          for (int64_t i = 0; i < r.n; ++i) to[i] += partial[static_cast<size_t>((chunk * 2 + o) * r.n + i)];
      }
    };
  });
}

}  // namespace

std::vector<KernelEntry> norm_kernels() {
  return {{&ops::softmax, prepare_softmax<false>},
          {&ops::log_softmax, prepare_softmax<true>},
          {&ops::softmax_grad, prepare_softmax_grad<false>},
          {&ops::log_softmax_grad, prepare_softmax_grad<true>},
          {&ops::cross_entropy, prepare_cross_entropy},
          {&ops::cross_entropy_grad, prepare_cross_entropy_grad},
          {&ops::nll_loss, prepare_nll_loss},
          {&ops::nll_loss_grad, prepare_nll_loss_grad},
          {&ops::binary_cross_entropy, prepare_binary_cross_entropy},
          {&ops::layer_norm, prepare_layer_norm},
          {&ops::layer_norm_grad, prepare_layer_norm_grad}};
}

}  // namespace hebb::cpu
#endif  // HWY_ONCE
