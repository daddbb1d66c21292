// Mixed precision: which products round what they multiply.
#pragma once
#include "hebb/core/tensor.h"
#include "hebb/op/attrs.h"

namespace hebb {

/// While it lives, products of f32 on this thread (linear, matmul, convolutions, attention, lstm) may round
/// what they multiply to `type` (bf16; f32 switches it off), to the nearest, ties to even; sums are f32.
/// Tensors stay f32, and so do weights, statistics, softmax and losses: nothing is converted and no loss
/// needs scaling. Each product takes the faster way, so some stay f32: 3x3 convolutions by Winograd's
/// algorithm, and small ones. Gradients are computed as the op that they belong to was.
///     const Autocast low(bf16);
///     const Tensor loss = cross_entropy(net(x), y);
/// Where the processor has no instructions for such products (see autocast_dtype()), nothing changes.
/// PyTorch's torch.autocast(dtype=torch.bfloat16) also stores results in bf16; this is what it calls a
/// float32 matmul precision of "medium". Throws Error for other types.
class Autocast {
 public:
  explicit Autocast(DType type);
  ~Autocast();
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  bool previous_;
};

/// What products of f32 on this thread multiply now: f32, or bf16 inside of an Autocast if this thread's
/// backend and processor (x86 with AVX512-BF16) have such products.
DType autocast_dtype();

namespace detail {
/// The attributes of products without any other.
struct ProductAttrs {
  bool bf16 = false;  // round what is multiplied, see Autocast
  HEBB_FIELDS(bf16)
};
/// Whether a product of this operand is to round it.
inline bool rounds(const Tensor& t) { return t.dtype() == f32 && autocast_dtype() == bf16; }
}  // namespace detail

}  // namespace hebb
