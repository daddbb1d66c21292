#include "hebb/ops/op_support.h"

#include <cmath>

#include "hebb/core/rng.h"

namespace hebb {
namespace detail {

DType result_type(SpecPtrs in) {
  auto kind = [](DType t) { return is_float(t) ? 2 : is_integer(t) ? 1 : 0; };
  std::optional<DType> dims, zero;
  for (const TensorSpec* s : in) {
    auto& slot = s->shape.ndim() ? dims : zero;
    slot = slot ? promote(*slot, s->dtype) : s->dtype;
  }
  if (!dims) return *zero;
  if (!zero || kind(*zero) <= kind(*dims)) return *dims;
  return promote(*dims, *zero);
}

void expect_float(const TensorSpec& s, const char* op, const char* operand) {
  HEBB_CHECK(is_float(s.dtype), "[{}] expected {} of a floating type, got {}", op, operand, name_of(s.dtype));
}
void expect_index(const TensorSpec& s, const char* op, const char* operand) {
  HEBB_CHECK(s.dtype == i64 || s.dtype == i32, "[{}] expected {} of i64 or i32, got {}", op, operand,
             name_of(s.dtype));
}
void expect_same_type(const TensorSpec& a, const TensorSpec& b, const char* op) {
  HEBB_CHECK(a.dtype == b.dtype, "[{}] expected operands of one type, got {} and {}", op, name_of(a.dtype),
             name_of(b.dtype));
}

int64_t broadcast_offset(const Shape& index, const Shape& shape) {
  int64_t offset = 0;
  const int shift = index.ndim() - shape.ndim();
  for (int d = 0; d < shape.ndim(); ++d) offset = offset * shape[d] + (shape[d] == 1 ? 0 : index[shift + d]);
  return offset;
}

}  // namespace detail

std::vector<Tensor> make_sample_inputs(const std::vector<SampleInput>& inputs) {
  std::vector<Tensor> result;
  for (size_t k = 0; k < inputs.size(); ++k) {
    const SampleInput& in = inputs[k];
    const int64_t n = in.shape.numel();
    const RandomStream random{2024, k};
    const std::vector<int64_t> order = random.permutation(n);
    std::vector<double> v(static_cast<size_t>(n));
    for (int64_t i = 0; i < n; ++i) {
      const double u = random.uniform(static_cast<uint64_t>(i));
      switch (in.fill) {
        case SampleInput::Fill::uniform: {
          v[i] = in.low + (in.high - in.low) * u;
          // Kinks and jumps of the classical functions lie at multiples of 1/20: stay 0.005 away from all.
          const double nearest = std::round(v[i] * 20) / 20;
          if (std::abs(v[i] - nearest) < 0.005) v[i] = nearest + (v[i] < nearest ? -0.005 : 0.005);
          break;
        }
        case SampleInput::Fill::distinct:
          v[i] = in.low + (in.high - in.low) * (static_cast<double>(order[i]) + 0.5) / static_cast<double>(n);
          break;
        case SampleInput::Fill::integers: v[i] = std::floor(in.low + (in.high - in.low) * u); break;
      }
    }
    Tensor t = Tensor::empty(in.shape, in.dtype);
    detail::store(t, v);
    result.push_back(t);
  }
  return result;
}

}  // namespace hebb
