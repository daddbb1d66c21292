#include "hebb/optim/adam.h"

#include <algorithm>
#include <cmath>

#include "hebb/optim/update.h"

namespace hebb::optim {
namespace {

template <class O>
void check(const O& o, const char* owner) {
  using detail::check_option;
  check_option(o.lr >= 0, owner, "lr", "at least 0", o.lr);
  for (const double beta : o.betas)
    check_option(beta >= 0 && beta < 1, owner, "betas", "two numbers in [0, 1)", {o.betas[0], o.betas[1]});
  check_option(o.eps >= 0, owner, "eps", "at least 0", o.eps);
  check_option(o.weight_decay >= 0, owner, "weight_decay", "at least 0", o.weight_decay);
}

// Adam's rule. `decay` goes into the gradient, `shrink` onto the weights: one is Adam's, the other AdamW's.
template <class O>
void adam_update(const O& o, double decay, double shrink, const Update& u) {
  const double n = static_cast<double>(u.count);
  const double step_size = o.lr / (1 - std::pow(o.betas[0], n));
  const double root_correction = 1 / std::sqrt(1 - std::pow(o.betas[1], n));
  const auto rule = [&]<class T>(T) {
    struct Rule {
      T sign, decay, shrink, rest1, beta2, rest2, step_size, root_correction, eps;
      void operator()(T g, T& w, T& m, T& v) const {
        const T square = moments(g, w, m, v);
        move(w, m, square);
      }
      void operator()(T g, T& w, T& m, T& v, T& largest) const {
        const T square = moments(g, w, m, v);
        largest = largest < square ? square : largest;
        move(w, m, largest);
      }
      T moments(T g, T w, T& m, T& v) const {
        const T d = sign * g + decay * w;
        m += rest1 * (d - m);
        return v = beta2 * v + rest2 * (d * d);
      }
      void move(T& w, T m, T square) const {
        w = shrink * w - step_size * m / (std::sqrt(square) * root_correction + eps);
      }
    };
    return Rule{T(o.maximize ? -1 : 1), T(decay),     T(shrink),          T(1 - o.betas[0]), T(o.betas[1]),
                T(1 - o.betas[1]),      T(step_size), T(root_correction), T(o.eps)};
  };
  if (o.amsgrad) update_each<0, 1, 2>(u, rule);
  else update_each<0, 1>(u, rule);
}

template <class O>
Slots adam_slots(const O& o) {
  return {{"exp_avg"}, {"exp_avg_sq"}, {"max_exp_avg_sq", 0, o.amsgrad}};
}

}  // namespace

void AdamOptions::check(const char* owner) const { optim::check(*this, owner); }
void AdamWOptions::check(const char* owner) const { optim::check(*this, owner); }

Adam::Adam(const std::vector<ParamGroup>& groups, const AdamOptions& defaults)
    : OptimizerOf(groups, defaults) {}
AdamW::AdamW(const std::vector<ParamGroup>& groups, const AdamWOptions& defaults)
    : OptimizerOf(groups, defaults) {}

Slots Adam::slots_of(const AdamOptions& o) { return adam_slots(o); }
Slots AdamW::slots_of(const AdamWOptions& o) { return adam_slots(o); }

void Adam::update_by(const AdamOptions& o, const Update& u) { adam_update(o, o.weight_decay, 1, u); }
void AdamW::update_by(const AdamWOptions& o, const Update& u) {
  adam_update(o, 0, 1 - o.lr * o.weight_decay, u);
}

}  // namespace hebb::optim
