// The callbacks that every run wants, on runs whose losses are written down beforehand.
#include "hebb/train/callbacks.h"

#include <fcntl.h>

#include <nlohmann/json.hpp>
#include <sstream>
#include <system_error>

#include "hebb/io/safetensors.h"
#include "hebb/train/checkpoint.h"
#include "tests/io/files.h"
#include "tests/train/support.h"

namespace hebb::train {
namespace {

using io::test::bytes_of_file;
using io::test::error_of;
using test::ScriptedRun;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> out;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) out.push_back(line);
  return out;
}

/// Calls functions at events.
struct Watch : Callback {
  std::function<void(Trainer&)> batch_end, epoch_end;
  void on_batch_end(Trainer& t) override {
    if (batch_end) batch_end(t);
  }
  void on_epoch_end(Trainer& t) override {
    if (epoch_end) epoch_end(t);
  }
};
std::shared_ptr<Watch> at_batch_end(std::function<void(Trainer&)> f) {
  auto w = std::make_shared<Watch>();
  w->batch_end = std::move(f);
  return w;
}
std::shared_ptr<Watch> at_epoch_end(std::function<void(Trainer&)> f) {
  auto w = std::make_shared<Watch>();
  w->epoch_end = std::move(f);
  return w;
}

class CallbacksTest : public io::test::IoTest {
 protected:
  /// The step at which a checkpoint was made; -1 if there is none.
  static int64_t step_of(const std::string& checkpoint) {
    if (!std::filesystem::exists(checkpoint)) return -1;
    const auto file = io::load_safetensors(checkpoint);
    return nlohmann::json::parse(file.metadata.at("hebb"))["progress"]["step"];
  }
  std::vector<std::string> lines(const std::string& name) const {
    return lines_of(bytes_of_file(path(name)));
  }
};

// ---- StopOnNaN

TEST_F(CallbacksTest, StopOnNaNNamesEpochAndStepAndSavesNothing) {
  for (const double loss : {std::nan(""), HUGE_VAL}) {
    ScriptedRun run({{1}, {loss}, {1}});
    run.trainer.add_callback(std::make_shared<StopOnNaN>());
    run.trainer.add_callback(std::make_shared<Checkpoint>(path("last"), path("best"), 1e-9));
    EXPECT_EQ(error_of([&] { run.fit(); }),
              std::string("[train] expected a finite loss, got ") + (std::isnan(loss) ? "nan" : "inf") +
                  " in epoch 2 at step 3; a lower learning rate or clip_norm may help");
    EXPECT_EQ(step_of(path("last")), 2) << "two steps an epoch: that of the epoch before";
  }
}

// ---- EarlyStopping

int64_t epochs_with(std::vector<test::Script> script, int64_t patience, double min_delta = 0) {
  ScriptedRun run(std::move(script));
  run.trainer.add_callback(std::make_shared<EarlyStopping>(patience, min_delta));
  EXPECT_TRUE(run.fit()) << "ended on purpose";
  return run.trainer.progress().epoch;
}

TEST(EarlyStopping, WaitsForPatience) {
  EXPECT_EQ(epochs_with({{9, 3}, {8, 2}, {7, 2}, {6, 2}, {5, 1}, {4, 0}}, 2), 4) << "equal is not better";
  EXPECT_EQ(epochs_with({{9, 3}, {8, 4}, {7, 2}, {6, 3}, {5, 1}, {4, 4}}, 2), 6) << "better ones begin anew";
  EXPECT_EQ(epochs_with({{9, 1}, {8, 2}, {7, 0}}, 1), 2);
}
TEST(EarlyStopping, WantsMoreThanMinDelta) {
  EXPECT_EQ(epochs_with({{1, 3}, {1, 2.75}, {1, 2.25}, {1, 2.25}, {1, 2}, {1, 1}}, 2, 0.5), 5);
}
TEST(EarlyStopping, WatchesTrainingLossWithoutValidation) {
  EXPECT_EQ(epochs_with({{3}, {2}, {2}, {2}, {1}}, 2), 4);
}
TEST(EarlyStopping, AStoppedRunDoesNotGoOn) {
  // Killed after the last checkpoint, before it could say that it is finished.
  const std::vector<test::Script> script{{3}, {2}, {2}, {2}, {1}};
  ScriptedRun stopped(script), again(script);
  stopped.trainer.add_callback(std::make_shared<EarlyStopping>(2));
  again.trainer.add_callback(std::make_shared<EarlyStopping>(2));
  stopped.fit();
  again.trainer.progress() = stopped.trainer.progress();
  EXPECT_TRUE(again.fit());
  EXPECT_EQ(again.trainer.progress().epoch, 4);
}
TEST(EarlyStopping, WantsPatience) {
  EXPECT_EQ(error_of([] { EarlyStopping(0); }),
            "[EarlyStopping] expected a patience of at least 1 epoch, got 0");
}

// ---- CsvLog

TEST_F(CallbacksTest, CsvLogHasARowAnEpoch) {
  ScriptedRun run({{3, 2.5, 1}, {0.1, 1.0 / 3, 2}});
  run.trainer.add_callback(std::make_shared<CsvLog>(path("m.csv")));
  std::vector<size_t> seen;
  run.trainer.add_callback(at_epoch_end([&](Trainer&) { seen.push_back(lines("m.csv").size()); }));
  run.fit();
  EXPECT_THAT(seen, ElementsAre(2, 3)) << "written as each epoch ends";
  EXPECT_THAT(lines("m.csv"),
              ElementsAre("epoch,train_loss,val_loss,val_accuracy,lr,seconds,samples_per_s",
                          ::testing::MatchesRegex("1,3,2.5,0.5,0.5,[0-9.]+,[0-9.]+"),
                          ::testing::MatchesRegex("2,0.1,0.3333333333333333,1,0.5,[0-9.]+,[0-9.]+")));
}

TEST_F(CallbacksTest, CsvLogLeavesOutWhatThereIsNot) {
  ScriptedRun run({test::Script{3}});
  run.trainer.add_callback(std::make_shared<CsvLog>(path("m.csv")));
  run.fit();
  EXPECT_THAT(lines("m.csv").at(1), StartsWith("1,3,,,0.5,"));
}

// ---- StepLog

TEST_F(CallbacksTest, StepLogReadsBackExactly) {
  manual_seed(4);
  test::Net net;
  optim::SGD optimizer(net.parameters(), {.lr = 0.1});
  Trainer t(net, test::cross_entropy_loss(), optimizer, {.epochs = 3});
  data::DataLoader loader(test::points(20), {.batch_size = 3});
  std::vector<float> losses;
  t.add_callback(std::make_shared<StepLog>(path("s.csv")));
  t.add_callback(at_batch_end([&](Trainer& own) {
    losses.push_back(static_cast<float>(own.last_loss()));
    EXPECT_EQ(lines("s.csv").size(), losses.size() + 1) << "written as each step ends, before a checkpoint";
  }));
  t.fit(loader);
  const auto all = lines("s.csv");
  ASSERT_EQ(all.size(), 22u);
  EXPECT_EQ(all[0], "step,loss");
  for (size_t i = 1; i < all.size(); ++i) {
    EXPECT_THAT(all[i], StartsWith(std::to_string(i) + ","));
    EXPECT_EQ(std::strtof(all[i].c_str() + all[i].find(',') + 1, nullptr), losses[i - 1]);
  }
}

TEST_F(CallbacksTest, StepLogKeepsDoubles) {
  ScriptedRun run({test::Script{1.0 / 3}});
  run.trainer.add_callback(std::make_shared<StepLog>(path("s.csv")));
  run.fit();
  EXPECT_THAT(lines("s.csv"), ElementsAre("step,loss", "1,0.3333333333333333", "2,0.3333333333333333"));
}

TEST_F(CallbacksTest, StepLogGoesOnAtTheTrainersStep) {
  file("s.csv", "step,loss\n1,11\n2,12\n3,13\n4,1");  // a run that got further than its checkpoint
  ScriptedRun run({{5}, {6}});
  run.trainer.progress().step = 2;
  run.trainer.progress().epoch = 1;
  run.trainer.progress().best_epoch = 1;
  run.trainer.progress().history.push_back({.epoch = 1, .train_loss = 5});
  run.trainer.add_callback(std::make_shared<StepLog>(path("s.csv")));
  run.fit();
  EXPECT_THAT(lines("s.csv"), ElementsAre("step,loss", "1,11", "2,12", "3,6", "4,6"));
}

TEST_F(CallbacksTest, StepLogOfANewRunReplacesAnOldOne) {
  file("s.csv", "step,loss\n1,11\n2,12\n3,13\n");
  ScriptedRun run({test::Script{5}});
  run.trainer.add_callback(std::make_shared<StepLog>(path("s.csv")));
  run.fit();
  EXPECT_THAT(lines("s.csv"), ElementsAre("step,loss", "1,5", "2,5"));
}

// ---- Checkpoint

TEST_F(CallbacksTest, CheckpointSavesAtEachEpochsEnd) {
  std::vector<int64_t> seen;
  ScriptedRun run({{3}, {2}});
  run.trainer.add_callback(std::make_shared<Checkpoint>(path("last"), path("best"), 0));
  run.trainer.add_callback(at_batch_end([&](Trainer&) { seen.push_back(step_of(path("last"))); }));
  run.trainer.add_callback(at_epoch_end([&](Trainer&) { seen.push_back(step_of(path("last"))); }));
  run.fit();
  EXPECT_THAT(seen, ElementsAre(-1, -1, 2, 2, 2, 4));
}

TEST_F(CallbacksTest, CheckpointSavesWithinAnEpochAsTimePasses) {
  std::vector<int64_t> seen;
  ScriptedRun run({{3}, {2}});
  run.trainer.add_callback(std::make_shared<Checkpoint>(path("last"), path("best"), 1e-9));
  run.trainer.add_callback(at_batch_end([&](Trainer&) { seen.push_back(step_of(path("last"))); }));
  run.fit();
  EXPECT_THAT(seen, ElementsAre(1, 2, 3, 4));
}

TEST_F(CallbacksTest, CheckpointSavesWhereARunIsInterrupted) {
  const std::atomic<int> flag = 1;
  ScriptedRun run({{3}, {2}});
  run.trainer.add_callback(std::make_shared<StopOnSignal>(flag));
  run.trainer.add_callback(std::make_shared<Checkpoint>(path("last"), path("best"), 0));
  EXPECT_FALSE(run.fit());
  EXPECT_EQ(step_of(path("last")), 1);
  EXPECT_FALSE(std::filesystem::exists(path("best"))) << "no epoch is finished";
}

TEST_F(CallbacksTest, BestHoldsTheWeightsOfTheBestEpoch) {
  ScriptedRun run({{1, 3, 1}, {1, 2, 2}, {1, 1, 0}});
  run.trainer.add_callback(at_epoch_end([&](Trainer& t) {
    Tensor weight = t.net().parameters()[0];
    weight.assign_(Tensor::from(std::vector<float>{static_cast<float>(t.progress().epoch)}));
  }));
  run.trainer.add_callback(std::make_shared<Checkpoint>(path("last"), path("best"), 0));
  run.fit();
  auto weight = [&](const char* name, const char* key) {
    return io::load_safetensors(path(name)).find(key)->item<double>();
  };
  EXPECT_EQ(weight("best", "value"), 2);
  EXPECT_EQ(weight("last", "model.value"), 3);
}

// ---- StopOnSignal

TEST(StopOnSignal, InterruptsAfterTheStep) {
  std::atomic<int> flag = 0;
  ScriptedRun run({{1}, {1}, {1}});
  run.trainer.add_callback(at_batch_end([&](Trainer& t) { flag = t.progress().step == 3; }));
  run.trainer.add_callback(std::make_shared<StopOnSignal>(flag));
  EXPECT_FALSE(run.fit());
  EXPECT_EQ(run.trainer.progress().step, 3);
  flag = 0;
  EXPECT_TRUE(run.fit());
}

// ---- ProgressBar

const std::vector<test::Script> kTwoEpochs{{3, 2.5, 1}, {2, 3, 0}};

void show(std::FILE* out) {
  ScriptedRun run(kTwoEpochs);
  run.trainer.add_callback(std::make_shared<ProgressBar>(out));
  run.fit();
  std::fclose(out);
}

TEST_F(CallbacksTest, ProgressInAFileIsALineAnEpoch) {
  show(std::fopen(path("p").c_str(), "w"));
  const std::string rest = " +lr 0.5 +[0-9.]+ s +[0-9]+ samples/s";
  EXPECT_THAT(
      lines("p"),
      ElementsAre(
          ::testing::MatchesRegex("epoch +1/2 +train_loss 3.0000 +val_loss 2.5000 +val_accuracy 50.00 %" +
                                  rest + " +\\*"),
          ::testing::MatchesRegex("epoch +2/2 +train_loss 2.0000 +val_loss 3.0000 +val_accuracy +0.00 %" +
                                  rest)));
}

/// What is shown on a terminal.
std::string on_a_terminal() {
  const int master = ::posix_openpt(O_RDWR | O_NOCTTY);
  if (master < 0 || ::grantpt(master) != 0 || ::unlockpt(master) != 0)
    throw std::system_error(errno, std::generic_category(), "this test needs a pseudo terminal (/dev/pts)");
  show(std::fopen(::ptsname(master), "w"));
  std::string text;
  char part[4096];
  for (ssize_t n; (n = ::read(master, part, sizeof part)) > 0;) text.append(part, static_cast<size_t>(n));
  ::close(master);
  return text;
}

TEST(ProgressBar, OnATerminalHasABarAndColours) {
  ::unsetenv("NO_COLOR");
  const std::string text = on_a_terminal();
  EXPECT_THAT(text, HasSubstr("50%  loss 3.0000"));
  EXPECT_THAT(text, HasSubstr("\r\033[K"));
  EXPECT_THAT(text, HasSubstr("\033[32m*\033[0m"));
}

TEST(ProgressBar, HonoursNoColor) {
  ::setenv("NO_COLOR", "1", 1);
  const std::string text = on_a_terminal();
  ::setenv("NO_COLOR", "", 1);  // as good as not set
  const std::string empty = on_a_terminal();
  ::unsetenv("NO_COLOR");
  EXPECT_THAT(text, HasSubstr("50%  loss 3.0000"));
  EXPECT_THAT(text, Not(HasSubstr("m*"))) << "no colour";
  EXPECT_THAT(text, Not(HasSubstr("\033[2m")));
  EXPECT_THAT(empty, HasSubstr("\033[32m*"));
}

}  // namespace
}  // namespace hebb::train
