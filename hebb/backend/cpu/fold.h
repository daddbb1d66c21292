// Vector loops that fold arrays of f32 and f64: the pieces that reduce.cpp cuts reductions into. Results
// depend on the values and counts alone, and are the same for every instruction set that has no wider
// exponential.
#pragma once
#include <cstdint>

namespace hebb::cpu {

/// How elements are joined. Max and Min keep NaN. SumExp adds e^(x - shift); the others ignore `shift`.
enum class Fold : uint8_t { Sum, Prod, Max, Min, SumExp };

/// out[r] = fold of the n elements from x + r * stride, for `count` rows. Element i joins partial result
/// i mod 64 (f32; 32 for f64), in rows shorter than that i mod 4, and those are joined pairwise.
template <class T>
void fold_rows(Fold fold, const T* x, int64_t stride, int64_t n, int64_t count, const T* shift, T* out);

/// out[j] = fold over r of x[offsets[r] + j], in order, of fewer than 16 columns as of short rows, for
/// `columns` columns; shift[j] is that of a column.
template <class T>
void fold_columns(Fold fold, const T* x, const int64_t* offsets, int64_t rows, int64_t columns,
                  const T* shift, T* out);

/// values[r] and at[r] = first largest (or smallest) of n elements from x + r * n, for `count` rows. NaN
/// beats all. `values` may be null.
template <class T>
void find_rows(bool largest, const T* x, int64_t n, int64_t count, T* values, int64_t* at);

/// values[j] and at[j] = first largest (or smallest) over r of x[r * stride + j]; fewer than 2^31 rows.
/// `values` may be null.
template <class T>
void find_columns(bool largest, const T* x, int64_t stride, int64_t rows, int64_t columns, T* values,
                  int64_t* at);

}  // namespace hebb::cpu
