// Batches of a data set in a seeded random order, prepared ahead by worker threads.
#pragma once
#include <memory>
#include <optional>

#include "hebb/data/dataset.h"

namespace hebb::data {

/// Options of a DataLoader.
struct LoaderOptions {
  int64_t batch_size = 64;
  bool shuffle = false;
  uint64_t seed = 0;       ///< the order of epoch e is a function of seed and e alone
  int workers = 0;         ///< threads that prepare batches ahead; 0 prepares each when it is asked for
  int prefetch = 4;        ///< batches that wait ready at most
  bool drop_last = false;  ///< leave out a last batch that is smaller
};

/// Gives the batches of one epoch after another. The order does not depend on the number of workers.
class DataLoader {
 public:
  /// Throws Error for a batch size below 1, a negative number of workers, an empty data set, or one that
  /// drop_last leaves no batch of.
  DataLoader(std::shared_ptr<const Dataset> dataset, LoaderOptions options);
  ~DataLoader();
  DataLoader(const DataLoader&) = delete;

  /// Batches in an epoch.
  int64_t num_batches() const;
  int64_t num_samples() const { return dataset_->size(); }
  const LoaderOptions& options() const { return options_; }

  /// Begins epoch `epoch` (from 0) at batch `first` (from 0; for resuming).
  void start(int64_t epoch, int64_t first = 0);
  /// The next batch of the epoch, or nothing at its end. An error of a worker is thrown here.
  std::optional<Batch> next();

 private:
  class Workers;
  std::vector<int64_t> indices_of(int64_t batch) const;

  std::shared_ptr<const Dataset> dataset_;
  LoaderOptions options_;
  std::vector<int64_t> order_;
  int64_t position_ = 0;
  std::unique_ptr<Workers> workers_;
};

}  // namespace hebb::data
