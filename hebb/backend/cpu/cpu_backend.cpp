#include "hebb/backend/cpu/cpu_backend.h"

#include "hebb/backend/cpu/targets.h"

#include <hwy/targets.h>

#include <fstream>
#include <unordered_map>

#include "hebb/backend/cpu/gemm.h"
#include "hebb/backend/cpu/kernels.h"
#include "hebb/core/check.h"

namespace hebb {
namespace {

class CpuBackend final : public Backend {
 public:
  CpuBackend() {
    for (const auto& family :
         {cpu::contract_kernels(), cpu::nhwc_kernels(), cpu::reduce_kernels(), cpu::index_kernels(),
          cpu::pool_kernels(), cpu::batch_norm_kernels(), cpu::norm_kernels(), cpu::fused_kernels(),
          cpu::random_kernels(), cpu::recurrent_kernels(), cpu::attention_kernels()})
      for (const cpu::KernelEntry& e : family) kernels_[e.op] = e.prepare;
  }
  std::string_view name() const override { return "cpu"; }
  bool multiplies_bf16() const override { return cpu::multiplies_bf16(); }

  bool run(const OpDef& op, const Attrs& attrs, std::span<const Tensor> inputs,
           std::span<Tensor> outputs) override {
    return cpu::run_elementwise(op, attrs, inputs, outputs);
  }
  Kernel prepare(const OpDef& op, const Attrs& attrs, SpecPtrs inputs, SpecPtrs outputs) override {
    const auto it = kernels_.find(&op);
    if (it == kernels_.end()) return cpu::prepare_elementwise(op, attrs, inputs, outputs);
    return it->second(attrs, inputs, outputs);
  }

 private:
  std::unordered_map<const OpDef*, Kernel (*)(const Attrs&, SpecPtrs, SpecPtrs)> kernels_;
};

}  // namespace

Backend& cpu_backend() {
  static CpuBackend b;
  return b;
}

std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  return "unknown";
}

std::vector<std::string> cpu_targets() {
  std::vector<std::string> names;
  for (const int64_t target : hwy::SupportedAndGeneratedTargets())
    names.emplace_back(hwy::TargetName(target));
  return names;
}

void force_cpu_target(const std::string& name) {
  hwy::SetSupportedTargetsForTest(0);
  if (!name.empty()) {
    int64_t chosen = 0;
    for (const int64_t target : hwy::SupportedAndGeneratedTargets())
      if (name == hwy::TargetName(target)) chosen = target;
    HEBB_CHECK(chosen, "[force_cpu_target] expected one of {}, got \"{}\"", fmt::join(cpu_targets(), ", "),
               name);
    hwy::SetSupportedTargetsForTest(chosen);
  }
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

}  // namespace hebb
