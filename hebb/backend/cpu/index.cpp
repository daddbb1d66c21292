// Copies and additions by index. Copies know elements only by their size; additions serve f32 and f64.
// Indices are checked before anything is written. Additions to one place happen in the order of the indices
// whatever thread does them, so any number of threads gives the same bits. cat and pad are strided copies
// already, in their own file.
#include <algorithm>
#include <cstring>

#include "hebb/backend/cpu/kernels.h"
#include "hebb/core/parallel.h"
#include "hebb/ops/index_attrs.h"
#include "hebb/ops/table.h"

namespace hebb::cpu {
namespace {

constexpr int64_t kThreadWork = 1 << 15;  // elements that pay for one more thread

int64_t grain(int64_t elements) { return std::max<int64_t>(1, kThreadWork / std::max<int64_t>(1, elements)); }

/// Calls fn(I{}) with the type of the indices.
template <class F>
Kernel with_index_type(DType t, F fn) {
  return t == i32 ? fn(int32_t{}) : fn(int64_t{});
}
/// Calls fn(U{}) with an unsigned type of the size of an element.
template <class F>
Kernel with_size_of(DType t, F fn) {
  switch (size_of(t)) {
    case 1: return fn(uint8_t{});
    case 2: return fn(uint16_t{});
    case 4: return fn(uint32_t{});
    default: return fn(uint64_t{});
  }
}
/// Calls fn(T{}) for f32 and f64; no kernel for others.
template <class F>
Kernel with_sum_type(DType t, F fn) {
  if (t == f32) return fn(float{});
  if (t == f64) return fn(double{});
  return {};
}

// Rows of `inner` bytes-sized elements from x to y: y[o, i, :] = x[o, index[i], :].
template <class U, class I>
void select_slices(const DimSplit& d, const U* x, const I* index, int64_t count, U* y) {
  parallel_for(d.outer * count, grain(d.inner), [&](int64_t b, int64_t e) {
    for (int64_t k = b; k < e; ++k) {
      const U* from = x + (k / count * d.n + index[k % count]) * d.inner;
      if (d.inner == 1) y[k] = *from;
      else std::memcpy(y + k * d.inner, from, static_cast<size_t>(d.inner) * sizeof(U));
    }
  });
}

template <int kTable, int kIndex>
Kernel select_kernel(const char* op, const DimSplit& d, SpecPtrs in) {
  const int64_t count = in[kIndex]->shape.numel();
  const DType type = in[kIndex]->dtype;
  return with_size_of(in[kTable]->dtype, [&]<class U>(U) {
    return with_index_type(type, [&]<class I>(I) -> Kernel {
      return [=](ExecContext&, const void* const* x, void* const* y) {
        detail::check_indices(op, x[kIndex], type, count, d.n);
        select_slices(d, static_cast<const U*>(x[kTable]), static_cast<const I*>(x[kIndex]), count,
                      static_cast<U*>(y[0]));
      };
    });
  });
}
Kernel prepare_index_select(const Attrs& attrs, SpecPtrs in, SpecPtrs) {
  return select_kernel<0, 1>("index_select", DimSplit(in[0]->shape, attrs.as<IndexAttrs>().dim), in);
}
Kernel prepare_embedding(const Attrs&, SpecPtrs in, SpecPtrs) {
  return select_kernel<1, 0>("embedding", DimSplit(in[1]->shape, 0), in);
}

// A thread takes some of the slices that are added to, copies them, and looks through all indices for them.
template <class T, class I>
void add_slices(const DimSplit& d, const T* x, const I* index, int64_t count, const T* src, T* y) {
  const int64_t work = d.inner + count * d.inner / std::max<int64_t>(1, d.n);  // for each slice, on average
  parallel_for(d.outer * d.n, grain(work), [&](int64_t b, int64_t e) {
    std::copy(x + b * d.inner, x + e * d.inner, y + b * d.inner);
    for (int64_t o = b / d.n; o * d.n < e; ++o) {
      const int64_t first = std::max<int64_t>(b - o * d.n, 0), last = std::min(e - o * d.n, d.n);
      for (int64_t i = 0; i < count; ++i) {
        if (index[i] < first || index[i] >= last) continue;
        T* to = y + (o * d.n + index[i]) * d.inner;
        const T* from = src + (o * count + i) * d.inner;
        for (int64_t j = 0; j < d.inner; ++j) to[j] += from[j];
      }
    }
  });
}
Kernel prepare_index_add(const Attrs& attrs, SpecPtrs in, SpecPtrs) {
  const DimSplit d(in[0]->shape, attrs.as<IndexAttrs>().dim);
  const int64_t count = in[1]->shape.numel();
  const DType type = in[1]->dtype;
  return with_sum_type(in[0]->dtype, [&]<class T>(T) {
    return with_index_type(type, [&]<class I>(I) -> Kernel {
      return [=](ExecContext&, const void* const* x, void* const* y) {
        detail::check_indices("index_add", x[1], type, count, d.n);
        if (d.outer * d.n == 0) return;
        add_slices(d, static_cast<const T*>(x[0]), static_cast<const I*>(x[1]), count,
                   static_cast<const T*>(x[2]), static_cast<T*>(y[0]));
      };
    });
  });
}

// gather and scatter_add where the index has the extents of both sides, but for its dimension.
bool agree_around(const Shape& a, const Shape& b, int64_t dim) {
  for (int d = 0; d < a.ndim(); ++d)
    if (d != dim && a[d] != b[d]) return false;
  return true;
}

template <class U, class I>
void gather_elements(const DimSplit& d, int64_t count, const U* x, const I* index, U* y) {
  parallel_for(d.outer * count, grain(d.inner), [&](int64_t b, int64_t e) {
    for (int64_t k = b; k < e; ++k) {
      const U* plane = x + k / count * d.n * d.inner;
      for (int64_t j = 0; j < d.inner; ++j) y[k * d.inner + j] = plane[index[k * d.inner + j] * d.inner + j];
    }
  });
}
Kernel prepare_gather(const Attrs& attrs, SpecPtrs in, SpecPtrs) {
  const int64_t dim = attrs.as<IndexAttrs>().dim;
  if (!agree_around(in[0]->shape, in[1]->shape, dim)) return {};
  const DimSplit d(in[0]->shape, dim);
  const int64_t count = DimSplit(in[1]->shape, dim).n;
  const DType type = in[1]->dtype;
  return with_size_of(in[0]->dtype, [&]<class U>(U) {
    return with_index_type(type, [&]<class I>(I) -> Kernel {
      return [=](ExecContext&, const void* const* x, void* const* y) {
        detail::check_indices("gather", x[1], type, d.outer * count * d.inner, d.n);
        gather_elements(d, count, static_cast<const U*>(x[0]), static_cast<const I*>(x[1]),
                        static_cast<U*>(y[0]));
      };
    });
  });
}

// Each thread takes whole planes, or, where there are fewer planes than columns, some columns of all.
template <class T, class I>
void scatter_elements(const DimSplit& d, int64_t count, const I* index, const T* src, T* y) {
  auto part = [&](int64_t o0, int64_t o1, int64_t j0, int64_t j1) {
    for (int64_t o = o0; o < o1; ++o)
      for (int64_t i = 0; i < count; ++i)
        for (int64_t k = (o * count + i) * d.inner, j = j0; j < j1; ++j)
          y[(o * d.n + index[k + j]) * d.inner + j] += src[k + j];
  };
  if (d.outer >= d.inner)
    parallel_for(d.outer, grain(count * d.inner), [&](int64_t b, int64_t e) { part(b, e, 0, d.inner); });
  else parallel_for(d.inner, grain(count * d.outer), [&](int64_t b, int64_t e) { part(0, d.outer, b, e); });
}
Kernel prepare_scatter_add(const Attrs& attrs, SpecPtrs in, SpecPtrs) {
  const int64_t dim = attrs.as<IndexAttrs>().dim;
  if (!(in[1]->shape == in[2]->shape) || !agree_around(in[0]->shape, in[1]->shape, dim)) return {};
  const DimSplit d(in[0]->shape, dim);
  const int64_t count = DimSplit(in[1]->shape, dim).n;
  const DType type = in[1]->dtype;
  return with_sum_type(in[0]->dtype, [&]<class T>(T) {
    return with_index_type(type, [&]<class I>(I) -> Kernel {
      return [=](ExecContext&, const void* const* x, void* const* y) {
        detail::check_indices("scatter_add", x[1], type, d.outer * count * d.inner, d.n);
        std::memcpy(y[0], x[0], static_cast<size_t>(d.outer * d.n * d.inner) * sizeof(T));
        scatter_elements(d, count, static_cast<const I*>(x[1]), static_cast<const T*>(x[2]),
                         static_cast<T*>(y[0]));
      };
    });
  });
}

Kernel prepare_one_hot(const Attrs& attrs, SpecPtrs in, SpecPtrs) {
  const int64_t classes = attrs.as<OneHotAttrs>().num_classes, count = in[0]->shape.numel();
  const DType type = in[0]->dtype;
  return with_index_type(type, [&]<class I>(I) -> Kernel {
    return [=](ExecContext&, const void* const* x, void* const* y) {
      detail::check_indices("one_hot", x[0], type, count, classes);
      const auto* index = static_cast<const I*>(x[0]);
      auto* out = static_cast<int64_t*>(y[0]);
      parallel_for(count, grain(classes), [&](int64_t b, int64_t e) {
        std::fill(out + b * classes, out + e * classes, int64_t{0});
        for (int64_t i = b; i < e; ++i) out[i * classes + index[i]] = 1;
      });
    };
  });
}

// A row keeps its columns up to (tril) or from (triu) the diagonal on.
template <bool kLower>
Kernel prepare_triangle(const Attrs& attrs, SpecPtrs in, SpecPtrs) {
  const Shape& shape = in[0]->shape;
  const int64_t rows = shape[shape.ndim() - 2], columns = shape.back(), all = shape.numel();
  const int64_t diagonal = attrs.as<TriangleAttrs>().diagonal;
  return with_size_of(in[0]->dtype, [&]<class U>(U) -> Kernel {
    return [=](ExecContext&, const void* const* in_, void* const* out) {
      if (all == 0) return;
      const auto* x = static_cast<const U*>(in_[0]);
      auto* y = static_cast<U*>(out[0]);
      parallel_for(all / columns, grain(columns), [&](int64_t b, int64_t e) {
        for (int64_t r = b; r < e; ++r) {
          const int64_t edge = std::clamp<int64_t>(r % rows + diagonal + (kLower ? 1 : 0), 0, columns);
          const U* from = x + r * columns;
          U* to = y + r * columns;
          std::copy(from + (kLower ? 0 : edge), from + (kLower ? edge : columns), to + (kLower ? 0 : edge));
          std::fill(to + (kLower ? edge : 0), to + (kLower ? columns : edge), U{0});
        }
      });
    };
  });
}

}  // namespace

std::vector<KernelEntry> index_kernels() {
  return {{&ops::index_select, prepare_index_select}, {&ops::embedding, prepare_embedding},
          {&ops::index_add, prepare_index_add},       {&ops::gather, prepare_gather},
          {&ops::scatter_add, prepare_scatter_add},   {&ops::one_hot, prepare_one_hot},
          {&ops::tril, prepare_triangle<true>},       {&ops::triu, prepare_triangle<false>}};
}

}  // namespace hebb::cpu
