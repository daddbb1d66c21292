// What the tests of training share: a small network with dropout, a set of points that it can learn, and a
// run whose losses and accuracies are written down beforehand.
#pragma once
#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "hebb/core/rng.h"
#include "hebb/nn/dropout.h"
#include "hebb/nn/linear.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/loss.h"
#include "hebb/ops/random.h"
#include "hebb/ops/reduce.h"
#include "hebb/optim/sgd.h"
#include "hebb/train/trainer.h"

namespace hebb::train::test {

/// 4 numbers to 3 classes.
struct Net : nn::Module {
  nn::Linear in{4, 8};
  nn::Dropout drop{0.25};
  nn::Linear out{8, 3};
  Tensor forward(const Tensor& x) { return out(drop(tanh(in(x)))); }
  HEBB_MEMBERS(in, drop, out)
};

/// Points around three corners.
inline std::shared_ptr<data::ArrayDataset> points(int64_t n, uint64_t seed = 0) {
  const RandomStream stream{seed, 3};
  std::vector<float> x;
  std::vector<int64_t> y;
  for (int64_t i = 0; i < n; ++i) {
    y.push_back(i % 3);
    for (int64_t k = 0; k < 4; ++k)
      x.push_back(static_cast<float>((k == i % 3) + 0.3 * stream.uniform(static_cast<uint64_t>(4 * i + k))));
  }
  return std::make_shared<data::ArrayDataset>(Tensor::from(x, {n, 4}), Tensor::from(y));
}

inline LossFn cross_entropy_loss() {
  return [](const Tensor& output, const Tensor& target) { return cross_entropy(output, target); };
}

/// Bits of all weights, in the order of their names.
inline std::vector<float> weights(nn::Module& net) {
  std::vector<float> out;
  for (const auto& [name, t] : net.state_dict()) {
    const auto v = t.to_vector<float>();
    out.insert(out.end(), v.begin(), v.end());
  }
  return out;
}

/// What one epoch of a scripted run says. `correct` of 2 validation samples are right.
struct Script {
  double train_loss = 1, val_loss = kNone;
  int correct = 0;
};

/// Trains nothing: each epoch's losses and validation accuracy are those of the script, so that a test can
/// say what a callback or a rule is to make of them. Without any val_loss there is no validation.
class ScriptedRun {
 public:
  explicit ScriptedRun(std::vector<Script> script, Task task = Task::classes)
      : script_(std::move(script)),
        trainer(
            net_, [this](const Tensor& x) { return answer(x); },
            [this](const Tensor& output, const Tensor&) { return loss(output); }, optimizer_,
            {.epochs = static_cast<int64_t>(script_.size()), .task = task, .compile = false}),
        train_(data(2), {.batch_size = 1}),
        val_(data(2), {.batch_size = 2}) {}

  bool fit() { return trainer.fit(train_, std::isnan(script_[0].val_loss) ? nullptr : &val_); }

 private:
  struct Weight : nn::Module {
    nn::Parameter value{Tensor::from(std::vector<float>{1})};
    HEBB_MEMBERS(value)
    Tensor forward(const Tensor& x) { return x; }
  };
  static std::shared_ptr<data::ArrayDataset> data(int64_t n) {
    return std::make_shared<data::ArrayDataset>(Tensor::from(std::vector<float>(n), {n, 1}),
                                                Tensor::from(std::vector<int64_t>(n, 1)));
  }
  const Script& now() { return script_[static_cast<size_t>(trainer.progress().epoch)]; }
  // Of two samples of class 1, the first `correct` are called so.
  Tensor answer(const Tensor& x) {
    std::vector<float> scores;
    for (int i = 0; i < x.shape()[0]; ++i) {
      const bool right = i < now().correct;
      scores.insert(scores.end(), {right ? 0.f : 1.f, right ? 1.f : 0.f});
    }
    return Tensor::from(scores, {x.shape()[0], 2}) * net_.value;
  }
  Tensor loss(const Tensor& output) {
    const Tensor nothing = sum(output) * 0;
    return to(nothing, f64) + (net_.is_training() ? now().train_loss : now().val_loss);
  }

  std::vector<Script> script_;
  Weight net_;
  optim::SGD optimizer_{net_.parameters(), {.lr = 0.5}};

 public:
  Trainer trainer;

 private:
  data::DataLoader train_, val_;
};

}  // namespace hebb::train::test
