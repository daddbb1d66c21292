// The one list of backends, and the reference backend, which is nothing but the plain kernels.
#include "hebb/backend/cpu/cpu_backend.h"
#include "hebb/backend/reference.h"

namespace hebb {
namespace {

class ReferenceBackend final : public Backend {
 public:
  std::string_view name() const override { return "reference"; }
  bool run(const OpDef& op, const Attrs& attrs, std::span<const Tensor> inputs,
           std::span<Tensor> outputs) override {
    if (!op.reference && op.decompose) return false;
    detail::run_reference(op, attrs, inputs, outputs);
    return true;
  }
  Kernel prepare(const OpDef&, const Attrs&, SpecPtrs, SpecPtrs) override { return {}; }
};

}  // namespace

Backend& reference_backend() {
  static ReferenceBackend b;
  return b;
}

std::span<Backend* const> backends() {
  static Backend* const list[] = {&cpu_backend(), &reference_backend()};
  return list;
}

}  // namespace hebb
