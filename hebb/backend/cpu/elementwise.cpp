// Elementwise ops over tensors of any strides and types: operands are brought tile by tile into the type that
// the expression computes in (f32, f64 or i64), in cache, and pass straight through where they lie ready.
#include "hebb/backend/cpu/elementwise.h"

#include <algorithm>
#include <array>
#include <optional>

#include "hebb/backend/cpu/kernels.h"
#include "hebb/core/check.h"
#include "hebb/core/parallel.h"
#include "hebb/ops/elementwise_attrs.h"
#include "hebb/ops/elementwise_expr.h"
#include "hebb/ops/op_support.h"
#include "hebb/ops/table.h"

namespace hebb::cpu {
namespace {

constexpr int64_t kTile = 1024;
constexpr int64_t kGrain = 32768;  // elements worth about 20 us of the slower functions

template <class T>
void run_loop(int code, T* out, const T* a, const T* b, const T* c, const double* pq, int64_t n) {
  if constexpr (std::is_same_v<T, float>) {
    elementwise_loops()[code](out, a, b, c, pq, static_cast<size_t>(n));
  } else {
    const detail::PlainExpr& e = detail::plain_expr(static_cast<detail::Expr>(code));
    for (int64_t i = 0; i < n; ++i) {
      if constexpr (std::is_same_v<T, double>) out[i] = e.f64(a[i], b ? b[i] : 0, c ? c[i] : 0, pq[0], pq[1]);
      else out[i] = e.i64(a[i], b ? b[i] : 0, c ? c[i] : 0, pq[0], pq[1]);
    }
  }
}

struct Operand {
  const char* data;
  DType dtype;
  int64_t strides[Shape::kMaxDims];  // in bytes
};

// The output's dimensions, merged where all operands allow it; operands walk them with strides of 0 where
// broadcast.
struct Walk {
  int ndim = 0;
  int64_t shape[Shape::kMaxDims];
  std::array<Operand, 3> operands;
  int count = 0;
};

Walk plan(std::span<const Tensor> inputs, const Shape& shape) {
  Walk w;
  w.count = static_cast<int>(inputs.size());
  int64_t strides[3][Shape::kMaxDims];
  for (int k = 0; k < w.count; ++k) {
    const TensorSpec& s = inputs[k].spec();
    w.operands[k].data = static_cast<const char*>(inputs[k].raw_data());
    w.operands[k].dtype = s.dtype;
    const int lead = shape.ndim() - s.shape.ndim();
    for (int d = 0; d < shape.ndim(); ++d)
      strides[k][d] = d < lead || s.shape[d - lead] == 1 ? 0 : s.strides[d - lead] * size_of(s.dtype);
  }
  for (int d = 0; d < shape.ndim(); ++d) {
    if (shape[d] == 1) continue;
    bool merges = w.ndim > 0;
    for (int k = 0; k < w.count && merges; ++k)
      merges = w.operands[k].strides[w.ndim - 1] == strides[k][d] * shape[d];
    if (!merges) ++w.ndim;
    w.shape[w.ndim - 1] = merges ? w.shape[w.ndim - 1] * shape[d] : shape[d];
    for (int k = 0; k < w.count; ++k) w.operands[k].strides[w.ndim - 1] = strides[k][d];
  }
  if (w.ndim == 0) {
    w.ndim = 1;
    w.shape[0] = 1;
    for (int k = 0; k < w.count; ++k) w.operands[k].strides[0] = 0;
  }
  return w;
}

template <class T>
void gather(const char* p, DType dtype, int64_t stride, int64_t n, T* out) {
  visit_dtype(dtype, [&]<class From>(From) {
    if (stride == 0) {
      std::fill_n(out, n, convert_element<T>(*reinterpret_cast<const From*>(p)));
    } else if (stride == sizeof(From)) {
      const From* s = reinterpret_cast<const From*>(p);
      for (int64_t i = 0; i < n; ++i) out[i] = convert_element<T>(s[i]);
    } else {
      for (int64_t i = 0; i < n; ++i)
        out[i] = convert_element<T>(*reinterpret_cast<const From*>(p + i * stride));
    }
  });
}

template <class T>
void store_as(DType dtype, const T* values, int64_t n, char* to) {
  visit_dtype(dtype, [&]<class To>(To) {
    for (int64_t i = 0; i < n; ++i) reinterpret_cast<To*>(to)[i] = convert_element<To>(values[i]);
  });
}

/// Whether short rows can be joined: each operand is dense, or one row for all, or one element for all.
bool rows_join(const Walk& w) {
  if (w.ndim != 2 || 2 * w.shape[1] > kTile) return false;
  for (int k = 0; k < w.count; ++k) {
    const auto& s = w.operands[k].strides;
    const int64_t size = size_of(w.operands[k].dtype);
    const bool dense = s[1] == size && s[0] == w.shape[1] * size;
    if (!dense && !(s[0] == 0 && (s[1] == 0 || s[1] == size))) return false;
  }
  return true;
}

/// As run_tiles, for rows that join: a vector of channels beside rows of them.
template <class T>
void run_joined_rows(int code, const double* pq, const Walk& w, Tensor& out) {
  const int64_t rows = w.shape[0], row = w.shape[1], each = kTile / row;  // rows of a tile
  const bool direct_out = out.dtype() == dtype_of<T>;
  char* const out_data = static_cast<char*>(out.raw_data());
  parallel_for((rows + each - 1) / each, kGrain / kTile, [&](int64_t begin, int64_t end) {
    alignas(64) T buffer[3][kTile], result[kTile];
    for (int k = 0; k < w.count; ++k) {  // what is the same in all rows
      const Operand& o = w.operands[k];
      if (o.strides[0] != 0) continue;
      for (int64_t r = 0; r < each; ++r) gather(o.data, o.dtype, o.strides[1], row, buffer[k] + r * row);
    }
    for (int64_t tile = begin; tile < end; ++tile) {
      const int64_t first = tile * each * row, n = std::min(each, rows - tile * each) * row;
      const T* in[3] = {};
      for (int k = 0; k < w.count; ++k) {
        const Operand& o = w.operands[k];
        const char* p = o.data + first * size_of(o.dtype);
        in[k] = buffer[k];
        if (o.strides[0] == 0) continue;
        if (o.dtype == dtype_of<T>) in[k] = reinterpret_cast<const T*>(p);
        else gather(p, o.dtype, size_of(o.dtype), n, buffer[k]);
      }
      char* const to = out_data + first * size_of(out.dtype());
      run_loop(code, direct_out ? reinterpret_cast<T*>(to) : result, in[0], in[1], in[2], pq, n);
      if (!direct_out) store_as(out.dtype(), result, n, to);
    }
  });
}

template <class T>
void run_tiles(int code, const double* pq, const Walk& w, Tensor& out) {
  if (rows_join(w)) return run_joined_rows<T>(code, pq, w, out);
  const int inner = w.ndim - 1;
  const int64_t row = w.shape[inner], tiles = (row + kTile - 1) / kTile;
  int64_t rows = 1;
  for (int d = 0; d < inner; ++d) rows *= w.shape[d];
  const bool direct_out = out.dtype() == dtype_of<T>;
  char* const out_data = static_cast<char*>(out.raw_data());
  parallel_for(
      rows * tiles, std::max<int64_t>(1, kGrain / std::min(row, kTile)), [&](int64_t begin, int64_t end) {
        alignas(64) T buffer[3][kTile], result[kTile];
        bool filled[3] = {};
        for (int64_t unit = begin; unit < end; ++unit) {
          const int64_t r = unit / tiles, first = unit % tiles * kTile, n = std::min(kTile, row - first);
          const T* in[3] = {};
          for (int k = 0; k < w.count; ++k) {
            const Operand& o = w.operands[k];
            const char* p = o.data + first * o.strides[inner];
            bool constant = o.strides[inner] == 0;
            for (int64_t d = inner - 1, rest = r; d >= 0; --d) {
              p += rest % w.shape[d] * o.strides[d];
              rest /= w.shape[d];
              constant = constant && o.strides[d] == 0;
            }
            if (o.dtype == dtype_of<T> && o.strides[inner] == sizeof(T)) {
              in[k] = reinterpret_cast<const T*>(p);
              continue;
            }
            in[k] = buffer[k];
            if (constant && filled[k]) continue;
            gather(p, o.dtype, o.strides[inner], constant ? std::min(kTile, row) : n, buffer[k]);
            filled[k] = constant;
          }
          char* const to = out_data + (r * row + first) * size_of(out.dtype());
          T* const t = direct_out ? reinterpret_cast<T*>(to) : result;
          run_loop(code, t, in[0], in[1], in[2], pq, n);
          if (!direct_out) store_as(out.dtype(), result, n, to);
        }
      });
}

/// An op whose operands need no tiles: dense floats of one shape, or single integers (counters).
struct WholeLoop {
  int code, count;
  bool counts;  // integers
  double pq[2];
  int64_t n;

  static std::optional<WholeLoop> of(const OpDef& op, const Attrs& attrs, SpecPtrs in,
                                     const TensorSpec& out) {
    const int64_t n = out.shape.numel();
    const bool counts = n == 1 && out.dtype == i64;
    if (!counts && out.dtype != f32) return std::nullopt;
    for (const TensorSpec* s : in)
      if (s->dtype != out.dtype || !s->contiguous || (counts ? s->shape.numel() != 1 : s->shape != out.shape))
        return std::nullopt;
    const auto& a = attrs.as<ElementwiseAttrs>();
    return WholeLoop{op.elementwise, static_cast<int>(in.size()), counts, {a.p, a.q}, n};
  }
  void run(const void* const* in, void* out) const {
    if (counts) return run_on<int64_t>(in, out);
    if (n < 2 * kGrain) return run_on<float>(in, out);
    parallel_for(n, kGrain, [&](int64_t b, int64_t e) { run_on<float>(in, out, b, e - b); });
  }

 private:
  template <class T>
  void run_on(const void* const* in, void* out, int64_t first, int64_t size) const {
    const auto at = [&](int k) { return k < count ? static_cast<const T*>(in[k]) + first : nullptr; };
    run_loop(code, static_cast<T*>(out) + first, at(0), at(1), at(2), pq, size);
  }
  template <class T>
  void run_on(const void* const* in, void* out) const {
    run_on<T>(in, out, 0, n);
  }
};

}  // namespace

Kernel prepare_elementwise(const OpDef& op, const Attrs& attrs, SpecPtrs in, SpecPtrs out) {
  if (op.elementwise < 0 || out[0]->shape.numel() == 0) return {};
  const auto whole = WholeLoop::of(op, attrs, in, *out[0]);
  if (!whole) return {};
  return [whole = *whole](ExecContext&, const void* const* inputs, void* const* outputs) {
    whole.run(inputs, outputs[0]);
  };
}

bool run_elementwise(const OpDef& op, const Attrs& attrs, std::span<const Tensor> inputs,
                     std::span<Tensor> outputs) {
  if (op.elementwise < 0) {
    if (&op == &ops::full) {  // scalar operands come this way: nothing to look up
      detail::run_reference(op, attrs, inputs, outputs);
      return true;
    }
    if (&op != &ops::cast && &op != &ops::clone) return false;
    detail::copy_values(inputs[0].spec(), inputs[0].raw_data(), outputs[0].spec(), outputs[0].raw_data());
    return true;
  }
  Tensor& out = outputs[0];
  if (out.numel() == 0) return true;
  std::array<const TensorSpec*, 3> specs;
  std::array<const void*, 3> data;
  for (size_t k = 0; k < inputs.size(); ++k) {
    specs[k] = &inputs[k].spec();
    data[k] = inputs[k].raw_data();
  }
  const SpecPtrs in(specs.data(), inputs.size());
  if (const auto whole = WholeLoop::of(op, attrs, in, out.spec())) {
    whole->run(data.data(), out.raw_data());
    return true;
  }
  const auto& a = attrs.as<ElementwiseAttrs>();
  const double pq[2] = {a.p, a.q};
  const DType in_type = detail::result_type(in);
  const DType type = is_float(out.dtype()) ? out.dtype() : in_type;
  const Walk w = plan(inputs, out.shape());
  if (type == f64) run_tiles<double>(op.elementwise, pq, w, out);
  else if (is_float(type)) run_tiles<float>(op.elementwise, pq, w, out);
  else run_tiles<int64_t>(op.elementwise, pq, w, out);
  return true;
}

}  // namespace hebb::cpu
