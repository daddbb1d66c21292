// The loader: one order for any number of workers, drawn by the seed, from any batch on.
#include "hebb/data/loader.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <numeric>
#include <set>

#include "hebb/ops/creation.h"
#include "tests/io/files.h"

namespace hebb::data {
namespace {

using io::test::error_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// Samples that hold their own number; `before` sees each batch's first number as it is asked for.
class Counting : public Dataset {
 public:
  explicit Counting(int64_t n, std::function<void(int64_t)> before = nullptr)
      : n_(n), before_(std::move(before)) {}
  int64_t size() const override { return n_; }
  Batch batch(std::span<const int64_t> indices) const override {
    if (before_) before_(indices[0]);
    const std::vector<int64_t> list(indices.begin(), indices.end());
    return {Tensor::from(list, {static_cast<int64_t>(list.size()), 1}), Tensor::from(list)};
  }

 private:
  int64_t n_;
  std::function<void(int64_t)> before_;
};

std::shared_ptr<Counting> counting(int64_t n) { return std::make_shared<Counting>(n); }

/// The samples of the rest of the epoch, in order.
std::vector<int64_t> rest(DataLoader& loader) {
  std::vector<int64_t> out;
  while (const auto b = loader.next()) {
    const auto part = b->y.to_vector<int64_t>();
    out.insert(out.end(), part.begin(), part.end());
  }
  return out;
}
std::vector<int64_t> epoch(const LoaderOptions& o, int64_t number, int64_t first = 0, int64_t samples = 100) {
  DataLoader loader(counting(samples), o);
  loader.start(number, first);
  return rest(loader);
}

std::vector<int64_t> numbers(int64_t n) {
  std::vector<int64_t> out(static_cast<size_t>(n));
  std::iota(out.begin(), out.end(), int64_t{0});
  return out;
}

TEST(DataLoader, GivesSamplesInOrderUnlessItShuffles) {
  DataLoader loader(counting(10), {.batch_size = 4});
  EXPECT_EQ(loader.num_batches(), 3);
  EXPECT_EQ(loader.num_samples(), 10);
  EXPECT_THAT(loader.next()->y.to_vector<int64_t>(), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(loader.next()->y.to_vector<int64_t>(), ElementsAre(4, 5, 6, 7));
  EXPECT_THAT(loader.next()->y.to_vector<int64_t>(), ElementsAre(8, 9));
  EXPECT_FALSE(loader.next());
  EXPECT_FALSE(loader.next()) << "an epoch stays at its end";
  loader.start(1);
  EXPECT_EQ(rest(loader), numbers(10));
}

TEST(DataLoader, DropsASmallLastBatchIfAsked) {
  DataLoader loader(counting(10), {.batch_size = 4, .drop_last = true});
  EXPECT_EQ(loader.num_batches(), 2);
  EXPECT_EQ(rest(loader), numbers(8));
}

TEST(DataLoader, ShufflesEachEpochAnewBySeed) {
  const LoaderOptions o{.batch_size = 7, .shuffle = true, .seed = 5};
  const auto first = epoch(o, 0);
  EXPECT_NE(first, numbers(100));
  auto sorted = first;
  std::sort(sorted.begin(), sorted.end());
  EXPECT_EQ(sorted, numbers(100)) << "each sample once";
  EXPECT_EQ(epoch(o, 0), first);
  EXPECT_NE(epoch(o, 1), first);
  LoaderOptions other = o;
  other.seed = 6;
  EXPECT_NE(epoch(other, 0), first);
  other = o;
  other.batch_size = 13;
  EXPECT_EQ(epoch(other, 0), first) << "the size of batches does not change the order";
}

TEST(DataLoader, AnEpochsOrderDoesNotDependOnThoseBefore) {
  const LoaderOptions o{.batch_size = 8, .shuffle = true, .seed = 1};
  DataLoader loader(counting(100), o);
  for (int64_t e = 0; e < 3; ++e) {
    loader.start(e);
    EXPECT_EQ(rest(loader), epoch(o, e)) << e;
  }
}

TEST(DataLoader, OrderDoesNotDependOnWorkers) {
  LoaderOptions o{.batch_size = 6, .shuffle = true, .seed = 3};
  const auto expected = epoch(o, 2);
  for (const int workers : {1, 3, 8}) {
    o.workers = workers;
    EXPECT_EQ(epoch(o, 2), expected) << workers;
    o.prefetch = 1;
    EXPECT_EQ(epoch(o, 2), expected) << workers << " workers, one batch ahead";
    o.prefetch = 4;
  }
}

TEST(DataLoader, LateBatchesKeepTheirPlace) {
  // Batch 0 is ready only when batches 1 and 2 are.
  std::mutex mutex;
  std::condition_variable changed;
  std::set<int64_t> begun;
  const auto set = std::make_shared<Counting>(12, [&](int64_t first) {
    std::unique_lock lock(mutex);
    begun.insert(first);
    changed.notify_all();
    if (first == 0) changed.wait(lock, [&] { return begun.contains(2) && begun.contains(4); });
  });
  DataLoader loader(set, {.batch_size = 2, .workers = 3});
  EXPECT_EQ(rest(loader), numbers(12));
}

TEST(DataLoader, GoesOnFromTheMiddleOfAnEpoch) {
  for (const int workers : {0, 1, 3}) {
    const LoaderOptions o{.batch_size = 8, .shuffle = true, .seed = 9, .workers = workers};
    const auto whole = epoch(o, 4);
    for (const int64_t first : {1, 5, 12, 13})
      EXPECT_EQ(epoch(o, 4, first),
                std::vector<int64_t>(whole.begin() + std::min<int64_t>(100, first * 8), whole.end()))
          << workers << " workers, from batch " << first;
  }
}

TEST(DataLoader, CanStartAgainWhileWorkersRun) {
  DataLoader loader(counting(100), {.batch_size = 5, .shuffle = true, .seed = 2, .workers = 3});
  const auto expected = epoch(loader.options(), 7);
  for (int i = 0; i < 20; ++i) {
    loader.start(i);
    loader.next();
    loader.next();
  }
  loader.start(7);
  EXPECT_EQ(rest(loader), expected);
  loader.start(8);
  loader.next();  // destroyed with batches waiting
}

TEST(DataLoader, WorkersStayWithinThePrefetch) {
  // Batch 0 is ready only when batch 2 is begun, so that the workers must be two ahead at least once.
  std::atomic<int64_t> given = 0, furthest = 0;
  const auto set = std::make_shared<Counting>(60, [&](int64_t batch) {
    const int64_t ahead = batch - given.load();
    for (int64_t seen = furthest; ahead > seen && !furthest.compare_exchange_weak(seen, ahead);) {
    }
    furthest.notify_all();
    for (int64_t seen = furthest; batch == 0 && seen < 2; seen = furthest) furthest.wait(seen);
  });
  DataLoader loader(set, {.batch_size = 1, .workers = 2, .prefetch = 3});
  while (loader.next()) ++given;  // counted a moment late: one more may look ahead
  EXPECT_EQ(given, 60);
  EXPECT_GE(furthest, 2);
  EXPECT_LE(furthest, 3);
}

TEST(DataLoader, AWorkersErrorComesOutOfNext) {
  const auto broken = std::make_shared<Counting>(12, [](int64_t first) {
    if (first == 6) throw Error("sample 6 is broken");
  });
  for (const int workers : {0, 1, 3}) {
    DataLoader loader(broken, {.batch_size = 2, .workers = workers});
    EXPECT_EQ(error_of([&] { rest(loader); }), "sample 6 is broken") << workers;
  }
}

TEST(DataLoader, RefusesOptionsThatMakeNoSense) {
  auto error = [](const LoaderOptions& o, int64_t n = 10) {
    return error_of([&] { DataLoader(counting(n), o); });
  };
  EXPECT_EQ(error({.batch_size = 0}), "[DataLoader] expected a batch size of at least 1, got 0");
  EXPECT_EQ(error({.workers = -1}),
            "[DataLoader] expected at least 0 workers and 1 batch ahead, got -1 and 4");
  EXPECT_EQ(error({.workers = 1, .prefetch = 0}),
            "[DataLoader] expected at least 0 workers and 1 batch ahead, got 1 and 0");
  EXPECT_EQ(error({}, 0), "[DataLoader] expected a data set with samples, got none");
  EXPECT_EQ(error_of([] { DataLoader(nullptr, {}); }),
            "[DataLoader] expected a data set with samples, got none");
  DataLoader loader(counting(10), {.batch_size = 4});
  EXPECT_EQ(error_of([&] { loader.start(0, 4); }), "[DataLoader] expected a batch in [0, 3], got 4");
  loader.start(0, 3);
  EXPECT_THAT(rest(loader), IsEmpty());
}

TEST(DataLoader, RefusesToGiveNoBatch) {
  const auto three = std::make_shared<ArrayDataset>(ones({3, 2}), zeros({3}, i64));
  EXPECT_THAT(error_of([&] { DataLoader(three, {.batch_size = 4, .drop_last = true}); }),
              HasSubstr("with drop_last, 3 samples make none of 4"));
}

}  // namespace
}  // namespace hebb::data
