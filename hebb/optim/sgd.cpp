#include "hebb/optim/sgd.h"

#include "hebb/optim/update.h"

namespace hebb::optim {

using detail::check_option;

void SGDOptions::check(const char* owner) const {
  check_option(lr >= 0, owner, "lr", "at least 0", lr);
  check_option(momentum >= 0, owner, "momentum", "at least 0", momentum);
  check_option(weight_decay >= 0, owner, "weight_decay", "at least 0", weight_decay);
  check_option(!nesterov || momentum > 0, owner, "momentum", "more than 0 with nesterov", momentum);
  check_option(!nesterov || dampening == 0, owner, "dampening", "0 with nesterov", dampening);
}

SGD::SGD(const std::vector<ParamGroup>& groups, const SGDOptions& defaults)
    : OptimizerOf("SGD", groups, defaults) {
  create_state();
}

std::vector<Optimizer::Slot> SGD::slots(size_t group) const {
  return {{"momentum_buffer", 0, group_options(group).momentum != 0}};
}

void SGD::update(Param& p, const Tensor& grad, int64_t step) {
  const SGDOptions& o = group_options(p.group);
  if (o.momentum == 0) {
    detail::update_each(p.value, grad, [&]<class T>(T) {
      return [sign = T(o.maximize ? -1 : 1), decay = T(o.weight_decay), lr = T(o.lr)](T g, T& w) {
        w -= lr * (sign * g + decay * w);
      };
    });
    return;
  }
  // The buffer starts at zeros, so that the first step only needs other factors.
  const double keep = step == 1 ? 0 : o.momentum;
  const double gain = step == 1 ? 1 : 1 - o.dampening;
  detail::update_each(
      p.value, grad,
      [&]<class T>(T) {
        return [sign = T(o.maximize ? -1 : 1), decay = T(o.weight_decay), keep = T(keep), gain = T(gain),
                momentum = T(o.momentum), lr = T(o.lr), nesterov = o.nesterov](T g, T& w, T& buffer) {
          const T d = sign * g + decay * w;
          const T b = keep * buffer + gain * d;
          buffer = b;
          w -= lr * (nesterov ? d + momentum * b : b);
        };
      },
      p.slots[0]);
}

}  // namespace hebb::optim
