// Callbacks that every run wants.
#pragma once
#include <atomic>
#include <cstdio>
#include <string>

#include "hebb/train/trainer.h"

namespace hebb::train {

/// Stops a run whose loss is no number: throws Error that names epoch and step. Weights on disk stay as they
/// were.
class StopOnNaN : public Callback {
 public:
  void on_batch_end(Trainer& t) override;
};

/// Stops when val_loss (train_loss without validation) has not fallen by more than min_delta for `patience`
/// epochs.
class EarlyStopping : public Callback {
 public:
  explicit EarlyStopping(int64_t patience, double min_delta = 0);
  void on_fit_begin(Trainer& t) override;
  void on_epoch_end(Trainer& t) override;

 private:
  int64_t patience_;
  double min_delta_;
};

/// Writes metrics.csv anew at each epoch's end: epoch, train_loss, val_loss, val_accuracy, lr, seconds,
/// samples_per_s.
class CsvLog : public Callback {
 public:
  explicit CsvLog(std::string path) : path_(std::move(path)) {}
  void on_epoch_end(Trainer& t) override;

 private:
  std::string path_;
};

/// Appends a line for each step, "step,loss" with digits to read the number back exactly. Continues a file at
/// the trainer's step, dropping lines after it.
class StepLog : public Callback {
 public:
  explicit StepLog(std::string path) : path_(std::move(path)) {}
  ~StepLog() override;
  void on_fit_begin(Trainer& t) override;
  void on_batch_end(Trainer& t) override;

 private:
  std::string path_;
  std::FILE* file_ = nullptr;
};

/// Saves `last` at each epoch's end and every `seconds`, and `best` (weights alone) when an epoch is the
/// best.
class Checkpoint : public Callback {
 public:
  Checkpoint(std::string last_path, std::string best_path, double seconds);
  void on_fit_begin(Trainer& t) override;
  void on_batch_end(Trainer& t) override;
  void on_epoch_end(Trainer& t) override;
  void on_fit_end(Trainer& t) override;

 private:
  void save(Trainer& t);
  std::string last_path_, best_path_;
  double seconds_, saved_at_ = 0;
  int64_t saved_step_ = -1;
};

/// One line an epoch on `out`, and on a terminal a bar that moves in between.
class ProgressBar : public Callback {
 public:
  explicit ProgressBar(std::FILE* out = stderr);
  ~ProgressBar() override { end_line(); }
  void on_batch_end(Trainer& t) override;
  void on_epoch_end(Trainer& t) override;
  void on_fit_end(Trainer&) override { end_line(); }

 private:
  void end_line();

  std::FILE* out_;
  bool terminal_, color_, open_ = false;
  double drawn_at_ = 0;
};

/// Interrupts the run after the step in which `flag` is found to be set (by a signal handler).
class StopOnSignal : public Callback {
 public:
  explicit StopOnSignal(const std::atomic<int>& flag) : flag_(flag) {}
  void on_batch_end(Trainer& t) override;

 private:
  const std::atomic<int>& flag_;
};

}  // namespace hebb::train
