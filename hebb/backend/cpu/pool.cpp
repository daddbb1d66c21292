// Pooling, unpooling and upsampling. Rows of outputs are shared out over threads where outputs are gathered,
// whole planes where inputs are scattered to, so every sum runs on one thread in one order.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "hebb/backend/cpu/kernel_support.h"
#include "hebb/core/check.h"
#include "hebb/core/parallel.h"
#include "hebb/ops/pool_attrs.h"
#include "hebb/ops/pool_support.h"
#include "hebb/ops/table.h"
#include "hebb/ops/upsample_attrs.h"

#ifndef HEBB_BACKEND_CPU_POOL_TYPES_  // this file is compiled once for every instruction set
#define HEBB_BACKEND_CPU_POOL_TYPES_
namespace hebb::cpu {
namespace {

struct Pool2x2Rows {
  void (*max)(const float* x, int64_t plane, int64_t width, int64_t height, int64_t n, int64_t begin,
              int64_t end, float* y, int64_t* indices);
  void (*avg)(const float* x, int64_t width, int64_t n, float scale, float* y);
  void (*avg_grad)(const float* g, int64_t width, int64_t n, float scale, float* gx);
};

}  // namespace
}  // namespace hebb::cpu
#endif

#include "hebb/backend/cpu/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hebb/backend/cpu/pool.cpp"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "hebb/backend/cpu/pool-inl.h"

#if HWY_ONCE
namespace hebb::cpu {
namespace {

using namespace hebb::detail;

HWY_EXPORT(pool_2x2_rows);

/// The places along one axis that each output's window covers: begin, begin + step, … below end.
struct Windows {
  std::vector<int64_t> begin, end;
  std::vector<double> counted;  // places that an average divides by
  int64_t step = 1;
  int64_t size() const { return static_cast<int64_t>(begin.size()); }
};

Windows adaptive_windows(int64_t in, int64_t out) {
  Windows w;
  for (int64_t i = 0; i < out; ++i) {
    w.begin.push_back(adaptive_begin(i, in, out));
    w.end.push_back(adaptive_end(i, in, out));
    w.counted.push_back(static_cast<double>(w.end[i] - w.begin[i]));
  }
  return w;
}
template <class A>
Windows strided_windows(const A& a, int axis, int64_t step, bool count_pad, int64_t in, int64_t out) {
  Windows w;
  w.step = step;
  for (int64_t i = 0; i < out; ++i) {
    const int64_t start = i * a.stride[axis] - a.padding[axis],
                  stop = start + (a.kernel[axis] - 1) * step + 1;
    w.begin.push_back(start >= 0 ? start : start + (-start + step - 1) / step * step);
    w.end.push_back(std::min(stop, in));
    const int64_t counted = count_pad ? std::min(stop, in + a.padding[axis]) - start : w.end[i] - w.begin[i];
    w.counted.push_back(static_cast<double>(counted));
  }
  return w;
}

/// Whether the windows are 2x2 blocks side by side, all inside the plane.
template <class A>
bool is_2x2(const A& a, std::array<int64_t, 2> in, std::array<int64_t, 2> out) {
  const std::array<int64_t, 2> two{2, 2}, none{0, 0};
  return a.kernel == two && a.stride == two && a.padding == none && out[0] * 2 <= in[0] &&
         out[1] * 2 <= in[1];
}

struct Planes {
  int64_t count;
  std::array<int64_t, 2> large, small;
  Windows rows, columns;
  int64_t large_size() const { return large[0] * large[1]; }
  int64_t small_size() const { return small[0] * small[1]; }
  /// Places that the windows of one output cover, about.
  double window() const {
    const auto n = static_cast<double>(std::max<int64_t>(1, small_size()));
    return std::max(1.0, static_cast<double>(large_size()) / n) +
           static_cast<double>((rows.end[0] - rows.begin[0]) * (columns.end[0] - columns.begin[0]));
  }
};
Planes planes_between(const Shape& large, const Shape& small) {
  return {planes_of(large), plane_of(large), plane_of(small), {}, {}};
}

// ---- Max pooling

template <class T>
Kernel max_kernel(const Planes& p) {
  return [p](ExecContext&, const void* const* in, void* const* out) {
    const T* x = static_cast<const T*>(in[0]);
    T* y = static_cast<T*>(out[0]);
    int64_t* indices = static_cast<int64_t*>(out[1]);
    const int64_t width = p.large[1];
    parallel_for(p.count * p.small[0], grain(p.window() * static_cast<double>(p.small[1])),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t row = begin; row < end; ++row) {
                     const int64_t oh = row % p.small[0];
                     const T* plane = x + row / p.small[0] * p.large_size();
                     for (int64_t ow = 0; ow < p.small[1]; ++ow) {
                       T best = -std::numeric_limits<T>::infinity();
                       int64_t at = p.rows.begin[oh] * width + p.columns.begin[ow];
                       for (int64_t h = p.rows.begin[oh]; h < p.rows.end[oh]; h += p.rows.step) {
                         for (int64_t w = p.columns.begin[ow]; w < p.columns.end[ow]; w += p.columns.step) {
                           const T v = plane[h * width + w];
                           if (!(v > best) && !std::isnan(v)) continue;
                           best = v;
                           at = h * width + w;
                         }
                       }
                       y[row * p.small[1] + ow] = best;
                       indices[row * p.small[1] + ow] = at;
                     }
                   }
                 });
  };
}

Kernel prepare_max_pool2d(const Attrs& attrs, SpecPtrs in, SpecPtrs out) {
  const auto& a = attrs.as<MaxPoolAttrs>();
  Planes p = planes_between(in[0]->shape, out[0]->shape);
  const bool narrow_rows = p.large[1] < (1 << 30);  // relative indices are 32-bit
  if (in[0]->dtype == f32 && is_2x2(a, p.large, p.small) && narrow_rows && a.dilation[0] == 1 &&
      a.dilation[1] == 1) {
    return [p](ExecContext&, const void* const* inputs, void* const* outputs) {
      const auto max_rows = HWY_DYNAMIC_DISPATCH(pool_2x2_rows)().max;
      const float* x = static_cast<const float*>(inputs[0]);
      float* y = static_cast<float*>(outputs[0]);
      int64_t* indices = static_cast<int64_t*>(outputs[1]);
      const int64_t height = p.small[0], width = p.large[1], n = p.small[1];
      parallel_for(p.count * height, grain(5 + 0.5 * static_cast<double>(n)),
                   [&](int64_t begin, int64_t end) {
                     max_rows(x, p.large_size(), width, height, n, begin, end, y, indices);
                   });
    };
  }
  p.rows = strided_windows(a, 0, a.dilation[0], false, p.large[0], p.small[0]);
  p.columns = strided_windows(a, 1, a.dilation[1], false, p.large[1], p.small[1]);
  return for_type(in[0]->dtype, [&]<class T>(T) { return max_kernel<T>(p); });
}

Kernel prepare_adaptive_max_pool2d(const Attrs&, SpecPtrs in, SpecPtrs out) {
  Planes p = planes_between(in[0]->shape, out[0]->shape);
  p.rows = adaptive_windows(p.large[0], p.small[0]);
  p.columns = adaptive_windows(p.large[1], p.small[1]);
  return for_type(in[0]->dtype, [&]<class T>(T) { return max_kernel<T>(p); });
}

enum class Place { add, put, take };

// Moves values between small planes and the places in large ones that their indices (i64) name.
template <class T, Place place>
Kernel index_kernel(const char* op, const Planes& p) {
  return [op, p](ExecContext&, const void* const* in, void* const* out) {
    const T* from = static_cast<const T*>(in[0]);
    const int64_t* indices = static_cast<const int64_t*>(in[1]);
    T* to = static_cast<T*>(out[0]);
    const auto large = static_cast<size_t>(p.large_size());
    const int64_t small = p.small_size();
    const double ns = 1.0 * static_cast<double>(small) + 0.1 * static_cast<double>(large);
    parallel_for(p.count, grain(ns), [&](int64_t begin, int64_t end) {
      for (int64_t plane = begin; plane < end; ++plane) {
        const int64_t* at = indices + plane * small;
        const T* source = from + plane * (place == Place::take ? p.large_size() : small);
        T* target = to + plane * (place == Place::take ? small : p.large_size());
        if constexpr (place != Place::take) std::fill(target, target + large, T(0));
        for (int64_t i = 0; i < small; ++i) {
          const auto j = static_cast<size_t>(at[i]);
          HEBB_CHECK(j < large, "[{}] expected indices below {} (a plane of {}x{}), got {}", op, large,
                     p.large[0], p.large[1], at[i]);
          if constexpr (place == Place::take) target[i] = source[j];
          else if constexpr (place == Place::put) target[j] = source[i];
          else target[j] += source[i];
        }
      }
    });
  };
}
template <Place place>
Kernel prepare_index(const char* op, SpecPtrs in, SpecPtrs out) {
  if (in[1]->dtype != i64) return {};
  const Planes p = place == Place::take ? planes_between(in[0]->shape, out[0]->shape)
                                        : planes_between(out[0]->shape, in[0]->shape);
  return for_type(in[0]->dtype, [&]<class T>(T) { return index_kernel<T, place>(op, p); });
}
Kernel prepare_max_pool2d_grad(const Attrs&, SpecPtrs in, SpecPtrs out) {
  return prepare_index<Place::add>("max_pool2d_grad", in, out);
}
Kernel prepare_max_pool2d_gather(const Attrs&, SpecPtrs in, SpecPtrs out) {
  return prepare_index<Place::take>("max_pool2d_gather", in, out);
}
Kernel prepare_max_unpool2d(const Attrs&, SpecPtrs in, SpecPtrs out) {
  return prepare_index<Place::put>("max_unpool2d", in, out);
}

Kernel prepare_unpool_zero_fill2d(const Attrs& attrs, SpecPtrs in, SpecPtrs out) {
  const auto stride = attrs.as<UnpoolAttrs>().stride;
  const Planes p = planes_between(out[0]->shape, in[0]->shape);
  return for_type(in[0]->dtype, [&]<class T>(T) -> Kernel {
    return [p, stride](ExecContext&, const void* const* inputs, void* const* outputs) {
      const T* x = static_cast<const T*>(inputs[0]);
      T* y = static_cast<T*>(outputs[0]);
      const int64_t width = p.small[1], block = stride[0] * p.large[1];  // of outputs, for one row of inputs
      parallel_for(p.count * p.small[0], grain(0.3 * static_cast<double>(block)),
                   [&](int64_t begin, int64_t end) {
                     for (int64_t row = begin; row < end; ++row) {
                       std::fill(y + row * block, y + (row + 1) * block, T(0));
                       for (int64_t w = 0; w < width; ++w)
                         y[row * block + w * stride[1]] = x[row * width + w];
                     }
                   });
    };
  });
}

// ---- Average pooling

// Eight sums side by side, so that the compiler can use vectors without changing the order.
template <class T>
T sum_of(const T* x, int64_t n) {
  T lanes[8] = {}, sum = 0;
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (int k = 0; k < 8; ++k) lanes[k] += x[i + k];
  for (; i < n; ++i) sum += x[i];
  for (const T lane : lanes) sum += lane;
  return sum;
}

template <class T>
T scale_of(const Planes& p, double divisor, int64_t oh, int64_t ow) {
  return static_cast<T>(1 / (divisor != 0 ? divisor : p.rows.counted[oh] * p.columns.counted[ow]));
}

template <class T>
Kernel avg_kernel(const Planes& p, double divisor) {
  return [p, divisor](ExecContext&, const void* const* in, void* const* out) {
    const T* x = static_cast<const T*>(in[0]);
    T* y = static_cast<T*>(out[0]);
    parallel_for(p.count * p.small[0], grain(0.5 * p.window() * static_cast<double>(p.small[1])),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t row = begin; row < end; ++row) {
                     const int64_t oh = row % p.small[0];
                     const T* plane = x + row / p.small[0] * p.large_size();
                     for (int64_t ow = 0; ow < p.small[1]; ++ow) {
                       const int64_t first = p.columns.begin[ow], n = p.columns.end[ow] - first;
                       T sum = 0;
                       for (int64_t h = p.rows.begin[oh]; h < p.rows.end[oh]; ++h)
                         sum += sum_of(plane + h * p.large[1] + first, n);
                       y[row * p.small[1] + ow] = sum * scale_of<T>(p, divisor, oh, ow);
                     }
                   }
                 });
  };
}

template <class T>
Kernel avg_grad_kernel(const Planes& p, double divisor) {
  return [p, divisor](ExecContext&, const void* const* in, void* const* out) {
    const T* g = static_cast<const T*>(in[0]);
    T* gx = static_cast<T*>(out[0]);
    const double ns = 0.5 * p.window() * static_cast<double>(p.small_size());
    parallel_for(p.count, grain(ns), [&](int64_t begin, int64_t end) {
      for (int64_t plane = begin; plane < end; ++plane) {
        T* target = gx + plane * p.large_size();
        std::fill(target, target + p.large_size(), T(0));
        for (int64_t i = 0; i < p.small_size(); ++i) {
          const int64_t oh = i / p.small[1], ow = i % p.small[1];
          const T v = g[plane * p.small_size() + i] * scale_of<T>(p, divisor, oh, ow);
          for (int64_t h = p.rows.begin[oh]; h < p.rows.end[oh]; ++h)
            for (int64_t w = p.columns.begin[ow]; w < p.columns.end[ow]; ++w) target[h * p.large[1] + w] += v;
        }
      }
    });
  };
}

template <bool backward>
Kernel avg_2x2_kernel(const Planes& p, double divisor) {
  return [p, scale = static_cast<float>(1 / (divisor != 0 ? divisor : 4))](
             ExecContext&, const void* const* in, void* const* out) {
    const Pool2x2Rows rows = HWY_DYNAMIC_DISPATCH(pool_2x2_rows)();
    const float* from = static_cast<const float*>(in[0]);
    float* to = static_cast<float*>(out[0]);
    const int64_t height = p.small[0], width = p.large[1], n = p.small[1];
    parallel_for(p.count, grain(0.5 * static_cast<double>(height * n)), [&](int64_t begin, int64_t end) {
      for (int64_t plane = begin; plane < end; ++plane) {
        const int64_t large = plane * p.large_size(), small = plane * p.small_size();
        // Rows and columns that no window covers get no gradient.
        if (backward && p.small_size() * 4 < p.large_size())
          std::fill(to + large, to + large + p.large_size(), 0.0f);
        for (int64_t h = 0; h < height; ++h) {
          if constexpr (backward)
            rows.avg_grad(from + small + h * n, width, n, scale, to + large + 2 * h * width);
          else rows.avg(from + large + 2 * h * width, width, n, scale, to + small + h * n);
        }
      }
    });
  };
}

template <bool backward>
Kernel prepare_avg(const Attrs& attrs, SpecPtrs in, SpecPtrs out) {
  const auto& a = attrs.as<AvgPoolAttrs>();
  Planes p =
      backward ? planes_between(out[0]->shape, in[0]->shape) : planes_between(in[0]->shape, out[0]->shape);
  const auto divisor = static_cast<double>(a.divisor);
  if (in[0]->dtype == f32 && is_2x2(a, p.large, p.small)) return avg_2x2_kernel<backward>(p, divisor);
  p.rows = strided_windows(a, 0, 1, a.count_include_pad, p.large[0], p.small[0]);
  p.columns = strided_windows(a, 1, 1, a.count_include_pad, p.large[1], p.small[1]);
  return for_type(in[0]->dtype, [&]<class T>(T) {
    return backward ? avg_grad_kernel<T>(p, divisor) : avg_kernel<T>(p, divisor);
  });
}

template <bool backward>
Kernel prepare_adaptive_avg(const Attrs&, SpecPtrs in, SpecPtrs out) {
  Planes p =
      backward ? planes_between(out[0]->shape, in[0]->shape) : planes_between(in[0]->shape, out[0]->shape);
  p.rows = adaptive_windows(p.large[0], p.small[0]);
  p.columns = adaptive_windows(p.large[1], p.small[1]);
  return for_type(in[0]->dtype,
                  [&]<class T>(T) { return backward ? avg_grad_kernel<T>(p, 0) : avg_kernel<T>(p, 0); });
}

// ---- Upsampling

// Source positions of all outputs along an axis.
template <class T>
struct Sources {
  std::vector<int64_t> first, second;
  std::vector<T> weight;
  Sources(const UpsampleAttrs& a, int axis) {
    for (int64_t i = 0; i < a.output[axis]; ++i) {
      const SourcePosition s = source_position(a, axis, i);
      first.push_back(s.first);
      second.push_back(s.second);
      weight.push_back(static_cast<T>(s.weight));
    }
  }
};

template <class T, bool bilinear>
Kernel upsample_kernel(const UpsampleAttrs& a, int64_t planes) {
  return [a, planes, rows = Sources<T>(a, 0), columns = Sources<T>(a, 1)](ExecContext&, const void* const* in,
                                                                          void* const* out) {
    const T* x = static_cast<const T*>(in[0]);
    T* y = static_cast<T*>(out[0]);
    const int64_t height = a.output[0], width = a.output[1], in_width = a.input[1];
    const double ns = (bilinear ? 2.0 : 0.5) * static_cast<double>(width);
    parallel_for(planes * height, grain(ns), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const int64_t oh = row % height;
        const T* plane = x + row / height * a.input[0] * in_width;
        const T *upper = plane + rows.first[oh] * in_width, *lower = plane + rows.second[oh] * in_width;
        T* to = y + row * width;
        if constexpr (!bilinear) {
          for (int64_t w = 0; w < width; ++w) to[w] = upper[columns.first[w]];
        } else {
          const T down = rows.weight[oh];
          for (int64_t w = 0; w < width; ++w) {
            const int64_t left = columns.first[w], right = columns.second[w];
            const T across = columns.weight[w];
            const T above = (1 - across) * upper[left] + across * upper[right],
                    below = (1 - across) * lower[left] + across * lower[right];
            to[w] = (1 - down) * above + down * below;
          }
        }
      }
    });
  };
}

template <class T, bool bilinear>
Kernel upsample_grad_kernel(const UpsampleAttrs& a, int64_t planes) {
  return [a, planes, rows = Sources<T>(a, 0), columns = Sources<T>(a, 1)](ExecContext&, const void* const* in,
                                                                          void* const* out) {
    const T* g = static_cast<const T*>(in[0]);
    T* gx = static_cast<T*>(out[0]);
    const int64_t height = a.output[0], width = a.output[1], in_width = a.input[1],
                  in_size = a.input[0] * in_width;
    const double ns = (bilinear ? 3.0 : 1.0) * static_cast<double>(height * width);
    parallel_for(planes, grain(ns), [&](int64_t begin, int64_t end) {
      for (int64_t plane = begin; plane < end; ++plane) {
        T* target = gx + plane * in_size;
        std::fill(target, target + in_size, T(0));
        for (int64_t oh = 0; oh < height; ++oh) {
          const T* from = g + (plane * height + oh) * width;
          T *upper = target + rows.first[oh] * in_width, *lower = target + rows.second[oh] * in_width;
          if constexpr (!bilinear) {
            for (int64_t w = 0; w < width; ++w) upper[columns.first[w]] += from[w];
          } else {
            const T down = rows.weight[oh];
            for (int64_t w = 0; w < width; ++w) {
              const int64_t left = columns.first[w], right = columns.second[w];
              const T across = columns.weight[w], above = (1 - down) * from[w], below = down * from[w];
              upper[left] += (1 - across) * above;
              upper[right] += across * above;
              lower[left] += (1 - across) * below;
              lower[right] += across * below;
            }
          }
        }
      }
    });
  };
}

template <bool backward>
Kernel prepare_upsample(const Attrs& attrs, SpecPtrs in, SpecPtrs) {
  const auto& a = attrs.as<UpsampleAttrs>();
  const int64_t planes = planes_of(in[0]->shape);
  return for_type(in[0]->dtype, [&]<class T>(T) {
    if (backward)
      return a.bilinear ? upsample_grad_kernel<T, true>(a, planes)
                        : upsample_grad_kernel<T, false>(a, planes);
    return a.bilinear ? upsample_kernel<T, true>(a, planes) : upsample_kernel<T, false>(a, planes);
  });
}

}  // namespace

std::vector<KernelEntry> pool_kernels() {
  return {{&ops::max_pool2d, prepare_max_pool2d},
          {&ops::adaptive_max_pool2d, prepare_adaptive_max_pool2d},
          {&ops::max_pool2d_grad, prepare_max_pool2d_grad},
          {&ops::max_pool2d_gather, prepare_max_pool2d_gather},
          {&ops::max_unpool2d, prepare_max_unpool2d},
          {&ops::unpool_zero_fill2d, prepare_unpool_zero_fill2d},
          {&ops::avg_pool2d, prepare_avg<false>},
          {&ops::avg_pool2d_grad, prepare_avg<true>},
          {&ops::adaptive_avg_pool2d, prepare_adaptive_avg<false>},
          {&ops::adaptive_avg_pool2d_grad, prepare_adaptive_avg<true>},
          {&ops::upsample2d, prepare_upsample<false>},
          {&ops::upsample2d_grad, prepare_upsample<true>}};
}

}  // namespace hebb::cpu
#endif  // HWY_ONCE
