#include "hebb/data/loader.h"

#include <condition_variable>
#include <map>
#include <mutex>
#include <numeric>
#include <thread>

#include "hebb/core/check.h"
#include "hebb/core/rng.h"

namespace hebb::data {

// Streams of one seed are told apart by use: the loader's begin here, far from those of random ops.
constexpr uint64_t kShuffleStream = uint64_t{1} << 62;

// Threads that take the next batch number in turn; finished batches wait in order of number.
class DataLoader::Workers {
 public:
  Workers(const DataLoader& loader, int64_t first)
      : loader_(loader), next_to_make_(first), next_to_give_(first) {
    for (int i = 0; i < loader.options_.workers; ++i) threads_.emplace_back([this] { work(); });
  }
  ~Workers() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    space_.notify_all();
    for (auto& t : threads_) t.join();
  }

  Batch take() {
    std::unique_lock lock(mutex_);
    ready_.wait(lock, [this] { return error_ || done_.contains(next_to_give_); });
    if (error_) std::rethrow_exception(error_);
    Batch b = std::move(done_.extract(next_to_give_++).mapped());
    space_.notify_all();
    return b;
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      space_.wait(lock,
                  [this] { return stop_ || next_to_make_ < next_to_give_ + loader_.options_.prefetch; });
      if (stop_ || next_to_make_ >= loader_.num_batches()) return;
      const int64_t mine = next_to_make_++;
      lock.unlock();
      std::optional<Batch> b;
      std::exception_ptr error;
      try {
        b = loader_.dataset_->batch(loader_.indices_of(mine));
      } catch (...) {
        error = std::current_exception();
      }
      lock.lock();
      if (error) error_ = error;
      else done_.emplace(mine, std::move(*b));
      ready_.notify_all();
      if (error) return;
    }
  }

  const DataLoader& loader_;
  std::mutex mutex_;
  std::condition_variable ready_, space_;
  std::map<int64_t, Batch> done_;
  int64_t next_to_make_, next_to_give_;
  std::exception_ptr error_;
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

DataLoader::DataLoader(std::shared_ptr<const Dataset> dataset, LoaderOptions options)
    : dataset_(std::move(dataset)), options_(options) {
  HEBB_CHECK(options_.batch_size >= 1, "[DataLoader] expected a batch size of at least 1, got {}",
             options_.batch_size);
  HEBB_CHECK(options_.workers >= 0 && options_.prefetch >= 1,
             "[DataLoader] expected at least 0 workers and 1 batch ahead, got {} and {}", options_.workers,
             options_.prefetch);
  HEBB_CHECK(dataset_ && dataset_->size() > 0, "[DataLoader] expected a data set with samples, got none");
  HEBB_CHECK(num_batches() > 0,
             "[DataLoader] expected at least one batch: with drop_last, {} samples make none of {}",
             num_samples(), options_.batch_size);
  start(0);
}
DataLoader::~DataLoader() = default;

int64_t DataLoader::num_batches() const {
  return options_.drop_last ? num_samples() / options_.batch_size
                            : (num_samples() + options_.batch_size - 1) / options_.batch_size;
}

void DataLoader::start(int64_t epoch, int64_t first) {
  workers_.reset();
  HEBB_CHECK(first >= 0 && first <= num_batches(), "[DataLoader] expected a batch in [0, {}], got {}",
             num_batches(), first);
  if (options_.shuffle) {
    order_ =
        RandomStream{options_.seed, kShuffleStream + static_cast<uint64_t>(epoch)}.permutation(num_samples());
  } else if (order_.empty()) {
    order_.resize(static_cast<size_t>(num_samples()));
    std::iota(order_.begin(), order_.end(), int64_t{0});
  }
  position_ = first;
}

std::vector<int64_t> DataLoader::indices_of(int64_t batch) const {
  const int64_t begin = batch * options_.batch_size,
                end = std::min(num_samples(), begin + options_.batch_size);
  return {order_.begin() + begin, order_.begin() + end};
}

std::optional<Batch> DataLoader::next() {
  if (position_ == num_batches()) return std::nullopt;
  const int64_t mine = position_++;
  if (options_.workers == 0) return dataset_->batch(indices_of(mine));
  if (!workers_) workers_ = std::make_unique<Workers>(*this, mine);
  return workers_->take();
}

}  // namespace hebb::data
