// Strided copies with conversion: the one loop behind contiguous(), assign_(), cat, pad and to().
#include <cstring>

#include "hebb/core/parallel.h"
#include "hebb/core/tensor.h"

namespace hebb::detail {
namespace {

struct Walk {  // two strided arrays of one shape, dimensions merged where both allow it
  int n = 0;
  int64_t shape[Shape::kMaxDims + 1], from[Shape::kMaxDims + 1], to[Shape::kMaxDims + 1];
};

Walk merge(const TensorSpec& from, const TensorSpec& to) {
  Walk w;
  for (int i = 0; i < from.shape.ndim(); ++i) {
    if (from.shape[i] == 1) continue;
    if (w.n > 0 && w.from[w.n - 1] == from.strides[i] * from.shape[i] &&
        w.to[w.n - 1] == to.strides[i] * from.shape[i]) {
      w.shape[w.n - 1] *= from.shape[i];
      w.from[w.n - 1] = from.strides[i];
      w.to[w.n - 1] = to.strides[i];
    } else {
      w.shape[w.n] = from.shape[i];
      w.from[w.n] = from.strides[i];
      w.to[w.n++] = to.strides[i];
    }
  }
  if (w.n == 0) w.shape[0] = 1, w.from[0] = w.to[0] = 1, w.n = 1;
  return w;
}

// Two inner dimensions [rows][cols]; blocks of 16 x 16 keep both sides in cache when the inputs are
// transposed.
template <class To, class From>
void copy_plane(int64_t rows, int64_t cols, const From* s, int64_t sr, int64_t sc, To* d, int64_t dr,
                int64_t dc) {
  if (sc == 1 && dc == 1) {
    for (int64_t r = 0; r < rows; ++r) {
      if constexpr (std::is_same_v<To, From>)
        std::memcpy(d + r * dr, s + r * sr, static_cast<size_t>(cols) * sizeof(To));
      else
        for (int64_t c = 0; c < cols; ++c) d[r * dr + c] = convert_element<To>(s[r * sr + c]);
    }
    return;
  }
  constexpr int64_t kBlock = 16;
  for (int64_t r0 = 0; r0 < rows; r0 += kBlock)
    for (int64_t c0 = 0; c0 < cols; c0 += kBlock)
      for (int64_t r = r0; r < std::min(rows, r0 + kBlock); ++r)
        for (int64_t c = c0; c < std::min(cols, c0 + kBlock); ++c)
          d[r * dr + c * dc] = convert_element<To>(s[r * sr + c * sc]);
}

template <class To, class From>
void copy_walk(const Walk& w, const From* src, To* dst) {
  if (w.n == 1) {  // long vectors are cut, short ones stay on this thread
    parallel_for(w.shape[0], 1 << 16, [&](int64_t b, int64_t e) {
      copy_plane<To>(1, e - b, src + b * w.from[0], 0, w.from[0], dst + b * w.to[0], 0, w.to[0]);
    });
    return;
  }
  const int r = w.n - 2, c = w.n - 1;
  int64_t outer = 1;
  for (int i = 0; i < r; ++i) outer *= w.shape[i];
  auto planes = [&](int64_t begin, int64_t end, int64_t row0, int64_t row1) {
    for (int64_t p = begin; p < end; ++p) {
      int64_t rest = p, so = row0 * w.from[r], to = row0 * w.to[r];
      for (int i = r - 1; i >= 0; --i) {
        so += rest % w.shape[i] * w.from[i];
        to += rest % w.shape[i] * w.to[i];
        rest /= w.shape[i];
      }
      copy_plane<To>(row1 - row0, w.shape[c], src + so, w.from[r], w.from[c], dst + to, w.to[r], w.to[c]);
    }
  };
  const int64_t plane = w.shape[r] * w.shape[c];
  if (outer == 1)
    parallel_for(w.shape[r], std::max<int64_t>(1, (1 << 16) / w.shape[c]),
                 [&](int64_t b, int64_t e) { planes(0, 1, b, e); });
  else
    parallel_for(outer, std::max<int64_t>(1, (1 << 16) / plane),
                 [&](int64_t b, int64_t e) { planes(b, e, 0, w.shape[r]); });
}

}  // namespace

void copy_values(const TensorSpec& from, const void* src, const TensorSpec& to, void* dst) {
  if (from.shape.numel() == 0) return;
  const Walk w = merge(from, to);
  visit_dtype(from.dtype, [&]<class From>(From) {
    if (from.dtype == to.dtype) return copy_walk(w, static_cast<const From*>(src), static_cast<From*>(dst));
    visit_dtype(to.dtype,
                [&]<class To>(To) { copy_walk(w, static_cast<const From*>(src), static_cast<To*>(dst)); });
  });
}

}  // namespace hebb::detail
