#include "hebb/train/callbacks.h"

#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "hebb/core/check.h"
#include "hebb/io/file.h"
#include "hebb/train/checkpoint.h"

namespace hebb::train {
namespace {

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}
// https://no-color.org: set, and not to nothing.
bool no_color() {
  const char* v = std::getenv("NO_COLOR");
  return v && *v;
}
// Shortest digits that read back as the same number; empty for what there is not.
std::string csv_number(double v) { return std::isnan(v) ? "" : fmt::format("{}", v); }

}  // namespace

void StopOnNaN::on_batch_end(Trainer& t) {
  HEBB_CHECK(std::isfinite(t.last_loss()),
             "[train] expected a finite loss, got {} in epoch {} at step {}; a lower learning rate or "
             "clip_norm may help",
             t.last_loss(), t.progress().epoch + 1, t.progress().step);
}

EarlyStopping::EarlyStopping(int64_t patience, double min_delta)
    : patience_(patience), min_delta_(min_delta) {
  HEBB_CHECK(patience >= 1, "[EarlyStopping] expected a patience of at least 1 epoch, got {}", patience);
}

// A run that was killed just as it was to end must not go on.
void EarlyStopping::on_fit_begin(Trainer& t) { on_epoch_end(t); }
// Worked out from the history, so that a resumed run stops where an uninterrupted one would.
void EarlyStopping::on_epoch_end(Trainer& t) {
  double best = INFINITY;
  int64_t since = 0;
  for (const EpochLog& e : t.progress().history) {
    const double value = std::isnan(e.val_loss) ? e.train_loss : e.val_loss;
    ++since;
    if (value < best - min_delta_) {
      best = value;
      since = 0;
    }
  }
  if (since >= patience_) t.stop();
}

void CsvLog::on_epoch_end(Trainer& t) {
  std::string text = "epoch,train_loss,val_loss,val_accuracy,lr,seconds,samples_per_s\n";
  for (const EpochLog& e : t.progress().history)
    text += fmt::format("{},{},{},{},{},{:.3f},{:.1f}\n", e.epoch, csv_number(e.train_loss),
                        csv_number(e.val_loss), csv_number(e.val_accuracy), csv_number(e.lr), e.seconds,
                        e.samples_per_s);
  io::write_file_atomic(path_, text, "metrics");
}

StepLog::~StepLog() {
  if (file_) std::fclose(file_);
}
void StepLog::on_fit_begin(Trainer& t) {
  std::string kept = "step,loss\n";
  if (t.progress().step > 0 && std::filesystem::exists(path_)) {
    const std::string text = io::read_file(path_, "steps");
    size_t end = 0;
    for (int64_t line = 0; line <= t.progress().step && end != std::string::npos; ++line) {
      end = text.find('\n', end);
      if (end != std::string::npos) ++end;
    }
    kept = text.substr(0, end);
  }
  io::write_file_atomic(path_, kept, "steps");
  if (file_) std::fclose(file_);
  file_ = std::fopen(path_.c_str(), "a");
  HEBB_CHECK(file_, "[steps] {}: expected a file to append to, could not open it", path_);
}
void StepLog::on_batch_end(Trainer& t) {
  // As the f32 loss prints shortest: what an f32 network computed reads back exactly.
  const auto as_float = static_cast<float>(t.last_loss());
  const std::string text = static_cast<double>(as_float) == t.last_loss() ? fmt::format("{}", as_float)
                                                                          : fmt::format("{}", t.last_loss());
  const int written =
      std::fprintf(file_, "%lld,%s\n", static_cast<long long>(t.progress().step), text.c_str());
  // Flushed before a checkpoint can count the step: a killed run leaves no gap.
  HEBB_CHECK(written > 0 && std::fflush(file_) == 0,
             "[steps] {}: expected to append a line, the disk may be full", path_);
}

Checkpoint::Checkpoint(std::string last_path, std::string best_path, double seconds)
    : last_path_(std::move(last_path)), best_path_(std::move(best_path)), seconds_(seconds) {}
void Checkpoint::on_fit_begin(Trainer&) { saved_at_ = seconds_now(); }
void Checkpoint::on_batch_end(Trainer& t) {
  if (seconds_ > 0 && seconds_now() - saved_at_ >= seconds_) save(t);
}
void Checkpoint::on_epoch_end(Trainer& t) {
  if (t.is_best()) save_weights(best_path_, t.net());
  save(t);
}
// An interrupted run saves where it stands.
void Checkpoint::on_fit_end(Trainer& t) {
  if (t.progress().step != saved_step_) save(t);
}
void Checkpoint::save(Trainer& t) {
  save_checkpoint(last_path_, t);
  saved_at_ = seconds_now();
  saved_step_ = t.progress().step;
}

ProgressBar::ProgressBar(std::FILE* out)
    : out_(out), terminal_(isatty(fileno(out))), color_(terminal_ && !no_color()) {}

void ProgressBar::on_batch_end(Trainer& t) {
  if (!terminal_ || seconds_now() - drawn_at_ < 0.1) return;
  drawn_at_ = seconds_now();
  const Progress& p = t.progress();
  constexpr int kWidth = 28;
  const double share = static_cast<double>(p.batch) / static_cast<double>(t.train_loader()->num_batches());
  std::string bar;
  for (int i = 0; i < kWidth; ++i) bar += i < share * kWidth ? "━" : color_ ? "\033[2m━\033[0m" : " ";
  const double rate = static_cast<double>(p.loss_count) / std::max(1e-9, p.epoch_seconds);
  fmt::print(out_, "\r\033[Kepoch {:>2}/{} {} {:>3.0f}%  loss {:.4f}  {:.0f} samples/s", p.epoch + 1,
             t.options().epochs, bar, share * 100,
             p.loss_sum / static_cast<double>(std::max<int64_t>(1, p.loss_count)), rate);
  std::fflush(out_);
  open_ = true;
}

// What comes after a bar, such as a message, begins a line of its own.
void ProgressBar::end_line() {
  if (!std::exchange(open_, false)) return;
  fmt::print(out_, "\n");
  std::fflush(out_);
}

void ProgressBar::on_epoch_end(Trainer& t) {
  open_ = false;
  const EpochLog& e = t.progress().history.back();
  std::string line =
      fmt::format("epoch {:>2}/{}  train_loss {:.4f}", e.epoch, t.options().epochs, e.train_loss);
  if (!std::isnan(e.val_loss)) line += fmt::format("  val_loss {:.4f}", e.val_loss);
  if (!std::isnan(e.val_accuracy)) line += fmt::format("  val_accuracy {:.2f} %", e.val_accuracy * 100);
  line += fmt::format("  lr {:<8.3g}  {:.1f} s  {:.0f} samples/s", e.lr, e.seconds, e.samples_per_s);
  fmt::print(out_, "{}{}{}\n", terminal_ ? "\r\033[K" : "", line,
             t.is_best() ? (color_ ? "  \033[32m*\033[0m" : "  *") : "");
  std::fflush(out_);
}

void StopOnSignal::on_batch_end(Trainer& t) {
  if (flag_.load() > 0) t.interrupt();
}

}  // namespace hebb::train
