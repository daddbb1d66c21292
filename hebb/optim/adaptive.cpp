#include "hebb/optim/adaptive.h"

#include <cmath>

#include "hebb/optim/update.h"

namespace hebb::optim {

using detail::check_option;

void AdagradOptions::check(const char* owner) const {
  check_option(lr >= 0, owner, "lr", "at least 0", lr);
  check_option(lr_decay >= 0, owner, "lr_decay", "at least 0", lr_decay);
  check_option(weight_decay >= 0, owner, "weight_decay", "at least 0", weight_decay);
  check_option(initial_accumulator_value >= 0, owner, "initial_accumulator_value", "at least 0",
               initial_accumulator_value);
  check_option(eps >= 0, owner, "eps", "at least 0", eps);
}

Adagrad::Adagrad(const std::vector<ParamGroup>& groups, const AdagradOptions& defaults)
    : OptimizerOf(groups, defaults) {}

Slots Adagrad::slots_of(const AdagradOptions& o) { return {{"sum", o.initial_accumulator_value}}; }

void Adagrad::update_by(const AdagradOptions& o, const Update& u) {
  const double rate = o.lr / (1 + static_cast<double>(u.count - 1) * o.lr_decay);
  update_each<0>(u, [&]<class T>(T) {
    return [sign = T(o.maximize ? -1 : 1), decay = T(o.weight_decay), rate = T(rate), eps = T(o.eps)](
               T g, T& w, T& sum) {
      const T d = sign * g + decay * w;
      const T s = sum + d * d;
      sum = s;
      w -= rate * d / (std::sqrt(s) + eps);
    };
  });
}

void RMSpropOptions::check(const char* owner) const {
  check_option(lr >= 0, owner, "lr", "at least 0", lr);
  check_option(alpha >= 0, owner, "alpha", "at least 0", alpha);
  check_option(eps >= 0, owner, "eps", "at least 0", eps);
  check_option(weight_decay >= 0, owner, "weight_decay", "at least 0", weight_decay);
  check_option(momentum >= 0, owner, "momentum", "at least 0", momentum);
}

RMSprop::RMSprop(const std::vector<ParamGroup>& groups, const RMSpropOptions& defaults)
    : OptimizerOf(groups, defaults) {}

Slots RMSprop::slots_of(const RMSpropOptions& o) {
  return {{"square_avg"}, {"momentum_buffer", 0, o.momentum > 0}, {"grad_avg", 0, o.centered}};
}

void RMSprop::update_by(const RMSpropOptions& o, const Update& u) {
  // The four forms share what comes before the division and after it; each streams only its own state.
  const auto rules = [&]<class T>(T) {
    struct Rules {
      T sign, decay, alpha, rest, eps, momentum, lr;
      T direction(T g, T w) const { return sign * g + decay * w; }
      T mean_square(T d, T& v) const { return v = alpha * v + rest * (d * d); }
      T variance(T d, T& v, T& m) const {
        const T mean = m + rest * (d - m);
        m = mean;
        return mean_square(d, v) - mean * mean;
      }
      T scaled(T d, T square) const { return d / (std::sqrt(square) + eps); }
      T with_momentum(T d, T& b) const { return b = momentum * b + d; }
    };
    return Rules{T(o.maximize ? -1 : 1),
                 T(o.weight_decay),
                 T(o.alpha),
                 T(1 - o.alpha),
                 T(o.eps),
                 T(o.momentum),
                 T(o.lr)};
  };
  if (!o.centered && o.momentum == 0)
    update_each<0>(u, [&]<class T>(T t) {
      return [r = rules(t)](T g, T& w, T& v) {
        const T d = r.direction(g, w);
        w -= r.lr * r.scaled(d, r.mean_square(d, v));
      };
    });
  else if (!o.centered)
    update_each<0, 1>(u, [&]<class T>(T t) {
      return [r = rules(t)](T g, T& w, T& v, T& b) {
        const T d = r.direction(g, w);
        w -= r.lr * r.with_momentum(r.scaled(d, r.mean_square(d, v)), b);
      };
    });
  else if (o.momentum == 0)
    update_each<0, 2>(u, [&]<class T>(T t) {
      return [r = rules(t)](T g, T& w, T& v, T& m) {
        const T d = r.direction(g, w);
        w -= r.lr * r.scaled(d, r.variance(d, v, m));
      };
    });
  else
    update_each<0, 2, 1>(u, [&]<class T>(T t) {
      return [r = rules(t)](T g, T& w, T& v, T& m, T& b) {
        const T d = r.direction(g, w);
        w -= r.lr * r.with_momentum(r.scaled(d, r.variance(d, v, m)), b);
      };
    });
}

}  // namespace hebb::optim
