// Forward mode: an interpreter that carries a tangent beside each value.
#include <optional>
#include <unordered_map>

#include "hebb/autograd/grad.h"
#include "hebb/core/check.h"
#include "hebb/op/dispatch.h"
#include "hebb/ops/creation.h"
#include "hebb/ops/view.h"

namespace hebb {
namespace {

// v -> J^T v is linear, so its own vjp, applied to t, is J t. Serves ops that give no jvp of their own.
Outputs jvp_by_vjp(const OpDef& op, const JvpArgs& args) {
  const EnableGrad enable;
  std::vector<Tensor> fresh, wanted, tangents;
  for (size_t i = 0; i < args.inputs.size(); ++i) {
    fresh.push_back(args.inputs[i]);
    if (!args.tangents[i].defined()) continue;
    // An input that is differentiated itself stays on the tape, by a node of its own.
    fresh.back() =
        args.inputs[i].requires_grad() ? alias(args.inputs[i]) : args.inputs[i].detach().requires_grad_();
    wanted.push_back(fresh.back());
    tangents.push_back(args.tangents[i]);
  }
  const Outputs out = apply(op, args.attrs, fresh);
  std::vector<Tensor> cotangents, differentiable;
  for (const Tensor& t : out) {
    if (!t.requires_grad()) continue;
    differentiable.push_back(t);
    cotangents.push_back(zeros(t.shape(), t.dtype()).requires_grad_());
  }
  const std::vector<Tensor> pulled = grad(differentiable, wanted, cotangents, {.create_graph = true}, true);
  std::vector<Tensor> from, directions;
  for (size_t i = 0; i < pulled.size(); ++i) {
    if (!pulled[i].defined()) continue;
    from.push_back(pulled[i]);
    directions.push_back(tangents[i]);
  }
  const std::vector<Tensor> pushed = grad(from, cotangents, directions, {.create_graph = true}, true);
  Outputs result;
  for (int i = 0, j = 0; i < out.size(); ++i)
    result.push_back(out[i].requires_grad() ? pushed[j++] : Tensor());
  return result;
}

class Forward final : public Interpreter {
 public:
  Forward() : below_(top_interpreter()) {}

  void set_tangent(const Tensor& value, const Tensor& tangent) { tangents_[value.impl()] = {value, tangent}; }
  Tensor tangent(const Tensor& value) const {
    const auto it = tangents_.find(value.impl());
    return it == tangents_.end() ? Tensor() : it->second.tangent;
  }

  Outputs apply(const OpDef& op, const Attrs& attrs, std::span<const Tensor> inputs) override {
    const BelowScope below(below_);
    const Outputs out = hebb::apply(op, attrs, inputs);
    std::vector<Tensor> tangents;
    bool any = false;
    for (const Tensor& t : inputs) {
      tangents.push_back(tangent(t));
      any = any || tangents.back().defined();
    }
    if (!any || op.gradient == Gradient::None || op.gradient == Gradient::Zeros) return out;
    HEBB_CHECK(op.jvp || op.vjp || op.decompose, "[jvp] {} has no derivative", op.name);
    const JvpArgs args{attrs, inputs, out, tangents};
    const Outputs pushed = op.jvp ? op.jvp(args) : jvp_by_vjp(op, args);
    for (int i = 0; i < out.size(); ++i)
      if (pushed[i].defined()) set_tangent(out[i], pushed[i]);
    return out;
  }

 private:
  struct Dual {
    Tensor value, tangent;  // the value is held so that its address stays its own
  };
  Interpreter* below_;
  std::unordered_map<const detail::TensorImpl*, Dual> tangents_;
};

}  // namespace

std::pair<std::vector<Tensor>, std::vector<Tensor>> jvp(const TensorFn& fn, std::span<const Tensor> args,
                                                        std::span<const Tensor> tangents) {
  HEBB_CHECK(args.size() == tangents.size(), "[jvp] expected {} tangents, one for each argument, got {}",
             args.size(), tangents.size());
  Forward forward;
  // Handles of their own: an argument that comes twice, or that fn reads by itself too, has a tangent only
  // where it is meant.
  std::vector<Tensor> own;
  for (const Tensor& t : args) own.push_back(alias(t));
  std::vector<Tensor> values;
  {
    const InterpreterScope scope(forward, InterpreterScope::Place::top);
    for (size_t i = 0; i < args.size(); ++i) {
      if (!tangents[i].defined()) continue;
      HEBB_CHECK(tangents[i].shape() == args[i].shape() && tangents[i].dtype() == args[i].dtype(),
                 "[jvp] expected tangent {} of {} {}, got {} {}", i, name_of(args[i].dtype()),
                 args[i].shape().str(), name_of(tangents[i].dtype()), tangents[i].shape().str());
      forward.set_tangent(own[i], tangents[i]);
    }
    values = fn(own);
  }
  std::vector<Tensor> pushed;
  for (const Tensor& v : values) {
    pushed.push_back(forward.tangent(v));
    if (!pushed.back().defined()) pushed.back() = zeros(v.shape(), v.dtype());
  }
  return {std::move(values), std::move(pushed)};
}

}  // namespace hebb
