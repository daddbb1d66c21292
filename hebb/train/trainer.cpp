#include "hebb/train/trainer.h"

#include <chrono>
#include <cmath>

#include "hebb/autograd/grad.h"
#include "hebb/core/check.h"
#include "hebb/op/autocast.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/join.h"
#include "hebb/ops/minmax.h"
#include "hebb/ops/view.h"
#include "hebb/optim/clip.h"

namespace hebb::train {
namespace {

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

int64_t count_correct(const Tensor& output, const Tensor& target, Task task) {
  const auto predicted = predicted_classes(output, task).to_vector<int64_t>(),
             wanted = target.to_vector<int64_t>();
  int64_t n = 0;
  for (size_t i = 0; i < predicted.size() && i < wanted.size(); ++i) n += predicted[i] == wanted[i];
  return n;
}

// Rounds products while it lives if the options say so. An Autocast around the trainer holds, too.
struct Products {
  std::optional<Autocast> autocast;
  explicit Products(DType precision) {
    if (precision != f32) autocast.emplace(precision);
  }
};

bool better(const EpochLog& a, const EpochLog& b) {
  if (!std::isnan(a.val_loss)) {
    if (!std::isnan(a.val_accuracy) && a.val_accuracy != b.val_accuracy)
      return a.val_accuracy > b.val_accuracy;
    return a.val_loss < b.val_loss || std::isnan(b.val_loss);
  }
  return a.train_loss < b.train_loss || std::isnan(b.train_loss);
}

}  // namespace

Tensor predicted_classes(const Tensor& output, Task task) {
  HEBB_CHECK(task != Task::regression,
             "[predicted_classes] expected a network that classifies, got one for regression");
  if (task == Task::binary) return to(flatten(output) > 0, i64);
  HEBB_CHECK(output.ndim() == 2, "[predicted_classes] expected outputs of 2 dimensions [N, classes], got {}",
             output.shape().str());
  return argmax(output, 1);
}

Trainer::Trainer(nn::Module& net, ForwardFn forward, LossFn loss, optim::Optimizer& optimizer,
                 TrainerOptions options)
    : net_(net),
      forward_(std::move(forward)),
      loss_(std::move(loss)),
      optimizer_(optimizer),
      options_(options) {
  HEBB_CHECK(options_.epochs >= 0, "[Trainer] expected at least 0 epochs, got {}", options_.epochs);
  HEBB_CHECK(options_.clip_norm >= 0, "[Trainer] expected a clip_norm of at least 0, got {}",
             options_.clip_norm);
  const Autocast products(options_.precision);
  if (autocast_dtype() != options_.precision)
    std::fprintf(stderr,
                 "hebb: this processor has no products of bf16 that hebb uses: training runs in f32\n");
}

Trainer::Step Trainer::make_step(const char* name, Step::Fn fn, std::vector<CompiledState> state) const {
  if (!options_.compile) return {name, std::move(fn), std::nullopt};
  state.emplace_back(options_.state);
  return {name, fn, hebb::compile(fn, std::move(state), {.name = name})};
}

std::vector<Tensor> Trainer::Step::operator()(std::initializer_list<Tensor> arguments) {
  const std::span<const Tensor> all(arguments.begin(), arguments.size());
  if (!compiled_) return fn_(all);
  try {
    return (*compiled_)(all);
  } catch (const CompileError& e) {
    const std::string why = e.what();
    compiled_.reset();
    auto results = fn_(all);  // what is wrong in either way of running is thrown here
    say_eager(why);
    return results;
  }
}

void Trainer::Step::look_again(std::initializer_list<Tensor> arguments, bool may_change) {
  if (!compiled_) return;
  try {
    if (!compiled_->retrace(arguments) || may_change) return;
    say_eager("it depends on something that changes within an epoch and is no tensor");
  } catch (const CompileError& e) {
    say_eager(e.what());
  }
  compiled_.reset();
}

void Trainer::Step::say_eager(const std::string& why) const {
  std::fprintf(stderr, "hebb: %s runs op by op from here on, for it cannot be compiled: %s\n", name_,
               why.c_str());
}

void Trainer::set_scheduler(optim::LRScheduler* scheduler) {
  HEBB_CHECK(!scheduler || &scheduler->optimizer() == &optimizer_,
             "[Trainer] expected a schedule of the trainer's own optimizer");
  scheduler_ = scheduler;
}

bool Trainer::fit(data::DataLoader& train, data::DataLoader* val) {
  const Products products(options_.precision);
  stop_ = interrupt_ = in_epoch_ = false;
  steps_of_fit_ = 0;
  train_loader_ = &train;
  notify(&Callback::on_fit_begin);
  while (progress_.epoch < options_.epochs && !stop_) {
    in_epoch_ = true;
    const bool whole = run_epoch(train);
    in_epoch_ = false;
    if (!whole) break;
    finish_epoch(train, val);
    if (interrupt_) break;
  }
  const bool finished = stop_ || progress_.epoch >= options_.epochs;
  notify(&Callback::on_fit_end);
  train_loader_ = nullptr;
  return finished;
}

void Trainer::expect_other_loader(const data::DataLoader& loader, const char* what) const {
  HEBB_CHECK(!in_epoch_ || &loader != train_loader_,
             "[{}] expected another loader than the one whose epoch is running: it would be cut short; make "
             "a second "
             "loader of the same data set",
             what);
}

// True when the epoch's last batch is done.
bool Trainer::run_epoch(data::DataLoader& train) {
  net_.train();
  train.start(progress_.epoch, progress_.batch);
  notify(&Callback::on_epoch_begin);
  double began = seconds_now();
  while (auto batch = train.next()) {
    train_step(*batch);
    const double now = seconds_now();
    progress_.epoch_seconds += now - began;
    began = now;
    notify(&Callback::on_batch_end);
    if (stop_ || interrupt_) return progress_.batch == train.num_batches();
  }
  return true;
}

// A whole training step but the schedule's.
Tensor Trainer::train_batch(const Tensor& x, const Tensor& y) {
  const Tensor output = forward_(x);
  const Tensor loss = loss_(output, y);
  notify<const Tensor&, const Tensor&>(&Callback::on_forward_end, output, loss);
  optimizer_.zero_grad();
  backward(loss);
  if (options_.clip_norm > 0) optim::clip_grad_norm_(net_.parameters(), options_.clip_norm);
  notify(&Callback::on_backward_end);
  optimizer_.step();
  return loss;
}

void Trainer::train_step(const data::Batch& batch) {
  notify<const data::Batch&>(&Callback::on_batch_begin, batch);
  if (!step_)
    step_ = make_step("train_step", [this](auto a) { return std::vector{train_batch(a[0], a[1])}; },
                      {net_, optimizer_});
  const bool begins = progress_.batch == 0, power_of_two = (steps_of_fit_ & (steps_of_fit_ - 1)) == 0;
  if (begins || power_of_two) step_->look_again({batch.x, batch.y}, begins);
  ++steps_of_fit_;
  const Tensor loss = (looked_into_ ? train_batch(batch.x, batch.y) : (*step_)({batch.x, batch.y})[0]);
  if (scheduler_ && options_.schedule_each_step) scheduler_->step();
  last_loss_ = loss.item<double>();
  progress_.loss_sum += last_loss_ * static_cast<double>(batch.size());
  progress_.loss_count += batch.size();
  ++progress_.batch;
  ++progress_.step;
}

void Trainer::finish_epoch(data::DataLoader& train, data::DataLoader* val) {
  EpochLog log;
  log.epoch = progress_.epoch + 1;
  log.train_loss = progress_.loss_sum / static_cast<double>(progress_.loss_count);
  log.lr = optimizer_.lr();
  log.seconds = progress_.epoch_seconds;
  log.samples_per_s = static_cast<double>(train.num_samples()) / std::max(1e-9, log.seconds);
  if (val) {
    const Metrics m = evaluate(*val);
    log.val_loss = m.loss;
    log.val_accuracy = m.accuracy;
  }
  if (scheduler_ && !options_.schedule_each_step) {
    if (scheduler_->needs_metric()) scheduler_->step(val ? log.val_loss : log.train_loss);
    else scheduler_->step();
  }
  const bool best = progress_.best_epoch == 0 || better(log, progress_.history[progress_.best_epoch - 1]);
  progress_.history.push_back(log);
  progress_.epoch = log.epoch;
  if (best) progress_.best_epoch = log.epoch;
  progress_.batch = 0;
  progress_.loss_sum = 0;
  progress_.loss_count = 0;
  progress_.epoch_seconds = 0;
  notify(&Callback::on_epoch_end);
}

Metrics Trainer::evaluate(data::DataLoader& loader) {
  expect_other_loader(loader, "evaluate");
  const Products products(options_.precision);
  const NoGrad no_grad;
  const nn::EvalScope eval(net_);
  notify(&Callback::on_evaluate_begin);
  loader.start(0);
  double loss_sum = 0;
  int64_t correct = 0, n = 0;
  bool counts = options_.task != Task::regression;
  if (!evaluate_)
    evaluate_ = make_step("evaluate",
                          [this](auto a) {
                            const Tensor output = forward_(a[0]);
                            return std::vector{output, loss_(output, a[1])};
                          },
                          {net_});
  bool first = true;
  while (auto batch = loader.next()) {
    if (std::exchange(first, false)) evaluate_->look_again({batch->x, batch->y}, true);
    const auto results = (*evaluate_)({batch->x, batch->y});
    const Tensor& output = results[0];
    loss_sum += results[1].item<double>() * static_cast<double>(batch->size());
    // Numbers as targets are no classes, whatever the task was said to be.
    counts = counts && (options_.task == Task::binary || !is_float(batch->y.dtype()));
    if (counts) correct += count_correct(output, batch->y, options_.task);
    n += batch->size();
    notify<const data::Batch&, const Tensor&>(&Callback::on_evaluate_batch_end, *batch, output);
  }
  Metrics m{loss_sum / static_cast<double>(n), kNone, n};
  if (counts) m.accuracy = static_cast<double>(correct) / static_cast<double>(n);
  notify<const Metrics&>(&Callback::on_evaluate_end, m);
  return m;
}

Tensor Trainer::predict(data::DataLoader& loader) {
  expect_other_loader(loader, "predict");
  const Products products(options_.precision);
  const NoGrad no_grad;
  const nn::EvalScope eval(net_);
  notify(&Callback::on_predict_begin);
  loader.start(0);
  if (!predict_)
    predict_ = make_step("predict", [this](auto a) { return std::vector{forward_(a[0])}; }, {net_});
  std::vector<Tensor> outputs;
  while (auto batch = loader.next()) {
    if (outputs.empty()) predict_->look_again({batch->x}, true);
    outputs.push_back((*predict_)({batch->x})[0]);
    notify<const Tensor&>(&Callback::on_predict_batch_end, outputs.back());
  }
  notify(&Callback::on_predict_end);
  return cat(outputs, 0);
}

}  // namespace hebb::train
