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

SGD::SGD(const std::vector<ParamGroup>& groups, const SGDOptions& defaults) : OptimizerOf(groups, defaults) {}

Slots SGD::slots_of(const SGDOptions& o) { return {{"momentum_buffer", 0, o.momentum != 0}}; }

void SGD::update_by(const SGDOptions& o, const Update& u) {
  if (o.momentum == 0) {
    update_each(u, [&]<class T>(T) {
      return [sign = T(o.maximize ? -1 : 1), decay = T(o.weight_decay), lr = T(o.lr)](T g, T& w) {
        w -= lr * (sign * g + decay * w);
      };
    });
    return;
  }
  // The buffer starts at zeros, so that the first step only needs other factors.
  const double keep = u.count == 1 ? 0 : o.momentum;
  const double gain = u.count == 1 ? 1 : 1 - o.dampening;
  update_each<0>(u, [&]<class T>(T) {
    return [sign = T(o.maximize ? -1 : 1), decay = T(o.weight_decay), keep = T(keep), gain = T(gain),
            momentum = T(o.momentum), lr = T(o.lr), nesterov = o.nesterov](T g, T& w, T& buffer) {
      const T d = sign * g + decay * w;
      const T b = keep * buffer + gain * d;
      buffer = b;
      w -= lr * (nesterov ? d + momentum * b : b);
    };
  });
}

}  // namespace hebb::optim
