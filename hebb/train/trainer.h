// The training loop: fits, evaluates and predicts with any network that maps a tensor to a tensor. Callbacks
// see every event; all progress is in one struct, so that a run can stop after any step and go on bit for
// bit.
#pragma once
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "hebb/data/loader.h"
#include "hebb/nn/module.h"
#include "hebb/optim/lr_scheduler.h"
#include "hebb/optim/optimizer.h"

namespace hebb::train {

/// loss(outputs, targets) -> one element, the mean over the batch.
using LossFn = std::function<Tensor(const Tensor& output, const Tensor& target)>;

/// How predictions are read from outputs, for accuracy.
enum class Task : uint8_t {
  classes,     ///< [N, C] scores against class indices [N]: the largest wins
  binary,      ///< [N, 1] or [N] scores against classes 0 and 1: above 0 is 1
  regression,  ///< no accuracy
};
/// The classes predicted from outputs, i64 [N]. Throws Error for Task::regression.
Tensor predicted_classes(const Tensor& output, Task task);

/// What stands for a number that there is not: NaN.
constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

/// Means over a data set. `accuracy` is NaN for regression.
struct Metrics {
  double loss = kNone, accuracy = kNone;
  int64_t n = 0;
};

/// One finished epoch. NaN stands for what there is not.
struct EpochLog {
  int64_t epoch = 0;  ///< from 1
  double train_loss = kNone, val_loss = kNone, val_accuracy = kNone;
  double lr = 0;  ///< of the epoch's last step
  double seconds = 0, samples_per_s = 0;
};

/// Where a run stands: everything but weights, optimizer, schedule and generator.
struct Progress {
  int64_t epoch = 0;  ///< epochs finished
  int64_t batch = 0;  ///< batches finished in the one begun
  int64_t step = 0;   ///< steps in all
  double loss_sum = 0;
  int64_t loss_count = 0;  ///< samples in loss_sum, of the epoch begun
  double epoch_seconds = 0;
  std::vector<EpochLog> history;
  int64_t best_epoch = 0;  ///< from 1; 0 before the first
};

/// Options of a Trainer.
struct TrainerOptions {
  int64_t epochs = 1;
  Task task = Task::classes;
  double clip_norm = 0;             ///< limit on the norm of all gradients together; 0: none
  bool schedule_each_step = false;  ///< the schedule moves after every step, not every epoch
  /// Steps, evaluation and prediction run as compiled functions. What cannot be compiled (it looks at values,
  /// or reads tensors that are in neither the network nor `state`) runs op by op instead, after a message on
  /// stderr that says why; so do training steps that a callback looks into (on_forward_end,
  /// on_backward_end). Numbers of C++ in loss and forward are fixed when they are compiled. They are looked
  /// at again as each epoch begins, and after 1, 2, 4, 8, … steps: where they change within an epoch, the
  /// rest of the run goes op by op. Gradients of a compiled step are not kept.
  bool compile = true;
  /// bf16: products of training, evaluation and prediction round what they multiply, see Autocast. Where the
  /// processor has no such products they run in f32, after a message on stderr.
  DType precision = f32;
  std::vector<Tensor> state = {};  ///< what loss and forward read or assign beside the network's own
};

class Trainer;

/// Sees a run's events. Throwing from an event ends the run.
class Callback {
 public:
  virtual ~Callback() = default;
  /// fit() begins; progress() may be that of a resumed run.
  virtual void on_fit_begin(Trainer&) {}
  /// fit() is about to return, finished or interrupted.
  virtual void on_fit_end(Trainer&) {}
  /// An epoch begins, or goes on in a resumed run.
  virtual void on_epoch_begin(Trainer&) {}
  /// Progress counts the epoch as finished; its log is the last of the history.
  virtual void on_epoch_end(Trainer&) {}
  /// A batch is there; nothing is computed yet.
  virtual void on_batch_begin(Trainer&, const data::Batch&) {}
  /// Outputs and loss are there, gradients not yet.
  virtual void on_forward_end(Trainer&, const Tensor& /*output*/, const Tensor& /*loss*/) {}
  /// Gradients are there (and clipped), the step not yet.
  virtual void on_backward_end(Trainer&) {}
  /// The step is done; the loss is trainer.last_loss().
  virtual void on_batch_end(Trainer&) {}
  /// evaluate() begins, in evaluation mode.
  virtual void on_evaluate_begin(Trainer&) {}
  /// Outputs for a batch of evaluate() are there.
  virtual void on_evaluate_batch_end(Trainer&, const data::Batch&, const Tensor& /*output*/) {}
  /// evaluate() is about to return these metrics.
  virtual void on_evaluate_end(Trainer&, const Metrics&) {}
  /// predict() begins, in evaluation mode.
  virtual void on_predict_begin(Trainer&) {}
  /// Outputs for a batch of predict() are there.
  virtual void on_predict_batch_end(Trainer&, const Tensor& /*output*/) {}
  /// predict() is about to return.
  virtual void on_predict_end(Trainer&) {}
};

/// Trains a network.
///   Trainer trainer(net, loss, optimizer, {.epochs = 10});
///   trainer.fit(train_loader, &val_loader);
class Trainer {
 public:
  /// How the network is called: inputs to outputs.
  using ForwardFn = std::function<Tensor(const Tensor&)>;

  template <std::derived_from<nn::Module> M>
  Trainer(M& net, LossFn loss, optim::Optimizer& optimizer, TrainerOptions options = {})
      : Trainer(
            net, [&net](const Tensor& x) { return net(x); }, std::move(loss), optimizer, options) {}
  Trainer(nn::Module& net, ForwardFn forward, LossFn loss, optim::Optimizer& optimizer,
          TrainerOptions options);

  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  /// Callbacks are called in the order in which they were added. Of what class a callback is tells whether it
  /// looks into training steps; of a pointer to the base that is assumed.
  template <std::derived_from<Callback> C>
  void add_callback(std::shared_ptr<C> callback) {
    looked_into_ = looked_into_ || looks_inside<C>();
    callbacks_.push_back(std::move(callback));
  }
  /// Throws Error for a schedule of another optimizer.
  void set_scheduler(optim::LRScheduler* scheduler);

  /// Trains from progress() to the last epoch, or until stop() is called. True if it came to the end or was
  /// ended by stop(); false if it was interrupted, and can go on.
  bool fit(data::DataLoader& train, data::DataLoader* val = nullptr);
  /// Loss and accuracy in evaluation mode, without gradients. The mode is as before afterwards.
  Metrics evaluate(data::DataLoader& loader);
  /// Outputs for all samples, in evaluation mode.
  Tensor predict(data::DataLoader& loader);

  /// Ends the run after this epoch's end (from on_epoch_end) or this step: it counts as finished.
  void stop() { stop_ = true; }
  /// Ends the run after this step: it can go on later.
  void interrupt() { interrupt_ = true; }

  nn::Module& net() { return net_; }
  optim::Optimizer& optimizer() { return optimizer_; }
  optim::LRScheduler* scheduler() { return scheduler_; }
  const TrainerOptions& options() const { return options_; }
  Progress& progress() { return progress_; }
  /// Loss of the last step.
  double last_loss() const { return last_loss_; }
  /// True if the epoch that just ended is the best so far: the highest val_accuracy, then the lower val_loss,
  /// then the earlier epoch; without validation the lowest train_loss.
  bool is_best() const { return progress_.best_epoch == progress_.epoch; }
  /// The loader of the epoch in progress; null outside fit().
  data::DataLoader* train_loader() { return train_loader_; }

 private:
  // A function that is compiled until that turns out to be impossible.
  class Step {
   public:
    using Fn = std::function<std::vector<Tensor>(std::span<const Tensor>)>;
    Step(const char* name, Fn fn, std::optional<Compiled> compiled)
        : name_(name), fn_(std::move(fn)), compiled_(std::move(compiled)) {}
    std::vector<Tensor> operator()(std::initializer_list<Tensor> arguments);
    /// Looks whether the function still does what it did when it was compiled. If not it is compiled anew; or
    /// runs op by op from now on, if it may not change.
    void look_again(std::initializer_list<Tensor> arguments, bool may_change);

   private:
    void say_eager(const std::string& why) const;

    const char* name_;
    Fn fn_;
    std::optional<Compiled> compiled_;
  };
  // True if the class has events of its own within a step: &C::event is then no member of Callback.
  template <class C>
  static constexpr bool looks_inside() {
    if constexpr (requires { &C::on_forward_end, &C::on_backward_end; })
      return std::is_same_v<C, Callback> ||
             !std::is_same_v<decltype(&C::on_forward_end), decltype(&Callback::on_forward_end)> ||
             !std::is_same_v<decltype(&C::on_backward_end), decltype(&Callback::on_backward_end)>;
    else return true;  // private or overloaded
  }
  Step make_step(const char* name, Step::Fn fn, std::vector<CompiledState> state) const;
  Tensor train_batch(const Tensor& x, const Tensor& y);

  void expect_other_loader(const data::DataLoader& loader, const char* what) const;
  void train_step(const data::Batch& batch);
  bool run_epoch(data::DataLoader& train);
  void finish_epoch(data::DataLoader& train, data::DataLoader* val);
  template <class... A>
  void notify(void (Callback::*event)(Trainer&, A...), std::type_identity_t<A>... args) {
    for (auto& c : callbacks_) ((*c).*event)(*this, args...);
  }

  nn::Module& net_;
  ForwardFn forward_;
  LossFn loss_;
  optim::Optimizer& optimizer_;
  optim::LRScheduler* scheduler_ = nullptr;
  TrainerOptions options_;
  std::vector<std::shared_ptr<Callback>> callbacks_;
  data::DataLoader* train_loader_ = nullptr;
  bool in_epoch_ = false, looked_into_ = false;
  std::optional<Step> step_, evaluate_, predict_;  // made when first needed
  int64_t steps_of_fit_ = 0;
  Progress progress_;
  double last_loss_ = kNone;
  bool stop_ = false, interrupt_ = false;
};

}  // namespace hebb::train
