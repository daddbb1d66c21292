// Which op runs on which kernel of the cpu backend: one list a family, joined in cpu_backend.cpp.
#pragma once
#include <functional>
#include <vector>

#include "hebb/op/dispatch.h"
#include "hebb/ops/fused.h"

namespace hebb::cpu {

/// Prepares a kernel for an op on dense operands of these specs; returns an empty Kernel where it has none (a
/// type it does not serve), and the op's decompose or plain kernel runs instead.
struct KernelEntry {
  const OpDef* op;
  Kernel (*prepare)(const Attrs& attrs, SpecPtrs inputs, SpecPtrs outputs);
};

std::vector<KernelEntry> contract_kernels();    // contract.cpp: matmul, linear, convolutions
std::vector<KernelEntry> nhwc_kernels();        // channels_last.cpp: ops of images [N, H, W, C]
std::vector<KernelEntry> reduce_kernels();      // reduce.cpp
std::vector<KernelEntry> index_kernels();       // index.cpp: cat, pad, gather, embedding, …
std::vector<KernelEntry> pool_kernels();        // pool.cpp: pooling, unpooling, upsampling
std::vector<KernelEntry> batch_norm_kernels();  // batch_norm.cpp
std::vector<KernelEntry> norm_kernels();        // norm.cpp: layer normalisation, softmax, losses
std::vector<KernelEntry> attention_kernels();   // attention.cpp
std::vector<KernelEntry> fused_kernels();       // fused.cpp: fused programs
std::vector<KernelEntry> random_kernels();      // random.cpp: dropout
std::vector<KernelEntry> recurrent_kernels();   // recurrent.cpp: LSTM

/// A fused program on f32 operands of these specs; the program is to live as long as the kernel.
Kernel prepare_program(const FusedProgram& program, SpecPtrs inputs);

class RowsReady;  // gemm.h
/// The same where one of the inputs, of rows of `columns` elements, is written by `write` while the program
/// runs: write(ready) writes all of it, and may tell of rows of it. It is called, not kept.
class Write {
 public:
  template <class F>
  Write(const F& f)
      : f_(&f), call_([](const void* p, RowsReady* ready) { (*static_cast<const F*>(p))(ready); }) {}
  void operator()(RowsReady* ready) const { call_(f_, ready); }

 private:
  const void* f_;
  void (*call_)(const void*, RowsReady*);
};
using RunBehind = std::function<void(const void* const* inputs, void* const* outputs, const Write& write)>;
RunBehind prepare_program_behind(const FusedProgram& program, SpecPtrs inputs, int64_t columns);

/// Elementwise ops and copies run at once, with any strides. False if the op is neither.
bool run_elementwise(const OpDef& op, const Attrs& attrs, std::span<const Tensor> inputs,
                     std::span<Tensor> outputs);
/// The same made ready: an elementwise op on dense operands of one shape, which plans call again and again.
Kernel prepare_elementwise(const OpDef& op, const Attrs& attrs, SpecPtrs inputs, SpecPtrs outputs);

}  // namespace hebb::cpu
