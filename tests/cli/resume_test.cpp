// hebb train --resume: what was interrupted goes on as if nothing had happened; what is finished stays.
#include "tests/cli/support.h"

namespace hebb::cli {
namespace {

using test::Program;
using test::Result;
using test::split;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class ResumeCommand : public test::CliTest {
 protected:
  // Long enough to be interrupted: 40 epochs.
  static constexpr const char* kLong = "train net.toml --epochs 40 --log-steps --out ";

  /// Trains into `out` and interrupts after the first epoch.
  Result interrupted(const std::string& out) const {
    Program run(split(kLong + out, ' '), folder_);
    EXPECT_TRUE(run.wait_for(" 1/40"));
    run.send(SIGINT);
    return run.wait();
  }
  /// metrics.csv without the times.
  std::vector<std::string> metrics(const std::string& out) const {
    auto rows = lines(out + "/metrics.csv");
    for (auto& row : rows) {
      const auto cells = split(row, ',');
      row = cells[0] + "," + cells[1] + "," + cells[2] + "," + cells[3] + "," + cells[4];
    }
    return rows;
  }
  void expect_equal_runs(const std::string& a, const std::string& b) const {
    EXPECT_EQ(read(a + "/best.safetensors"), read(b + "/best.safetensors"));
    EXPECT_EQ(read(a + "/steps.csv"), read(b + "/steps.csv"));
    EXPECT_EQ(metrics(a), metrics(b));
  }
};

TEST_F(ResumeCommand, AnInterruptedRunGoesOn) {
  const Result r = interrupted("a");
  EXPECT_EQ(r.code, 130);
  EXPECT_EQ(r.out, "");
  EXPECT_THAT(r.err, HasSubstr("go on with: hebb train --resume a"));
  EXPECT_TRUE(exists("a/last/checkpoint.safetensors"));
  EXPECT_EQ(json_file("a/run.json")["finished"], false);
  EXPECT_LT(lines("a/metrics.csv").size(), 41u) << "stopped before the end";

  const Result resumed = ok("train --resume a");
  const Result whole = ok(std::string(kLong) + "b");
  EXPECT_EQ(resumed.out, whole.out);
  expect_equal_runs("a", "b");
  EXPECT_EQ(json_file("a/run.json")["finished"], true);
}

TEST_F(ResumeCommand, AnInterruptedRunSaysSoInJson) {
  Program run(split(std::string(kLong) + "a --json", ' '), folder_);
  ASSERT_TRUE(run.wait_for(" 2/40"));
  run.send(SIGINT);
  const Result r = run.wait();
  EXPECT_EQ(r.code, 130);
  EXPECT_EQ(r.json()["run"], "a");
  EXPECT_GE(r.json()["epochs"], 2);
  EXPECT_TRUE(r.json()["test_accuracy"].is_null()) << "the test split is for the end";
}

TEST_F(ResumeCommand, TheSecondInterruptStopsAtOnce) {
  // A step takes a good part of a second: whoever waits for it to end saves a checkpoint.
  Program run(split("train lenet5 --batch-size 8000 --epochs 1 --set data.workers=0 --out a", ' '), folder_);
  ASSERT_TRUE(run.wait_for("training"));
  for (int i = 0; i < 10; ++i) {  // more than two: interrupts that come close together count as one
    run.send(SIGINT);
    run.read_for(10);
  }
  EXPECT_EQ(run.wait().code, 130);
  EXPECT_FALSE(exists("a/last/checkpoint.safetensors"));
}

TEST_F(ResumeCommand, AFinishedRunIsLeftAlone) {
  const auto first = ok("train net.toml --out a --json").json();
  const auto before = snapshot("a");
  const Result r = ok("train --resume a --json");
  EXPECT_EQ(r.json(), first);
  EXPECT_THAT(r.err, HasSubstr("a is finished: nothing to do"));
  ok("train net.toml --resume a --epochs 2 --seed 0 --lr 0.02 --data digits");
  EXPECT_EQ(snapshot("a"), before);
}

TEST_F(ResumeCommand, OptionsMustEqualTheRecordedOnes) {
  ok("train net.toml --out a");
  const auto before = snapshot("a");
  auto expect_refused = [&](const std::string& option, const std::string& recorded,
                            const std::string& given) {
    EXPECT_THAT(
        error("train --resume a " + option),
        HasSubstr("expected the options of the run that is resumed (" + recorded + "), got " + given));
  };
  expect_refused("--epochs 3", "epochs = 2", "epochs = 3");
  expect_refused("--batch-size 5", "batch_size = 10", "batch_size = 5");
  expect_refused("--lr 0.5", "lr = 0.02", "lr = 0.5");
  expect_refused("--optimizer Adam", "type = \"SGD\"", "type = \"Adam\"");
  expect_refused("--seed 1", "seed = 0", "seed = 1");
  expect_refused("--no-shuffle", "shuffle = true", "shuffle = false");
  expect_refused("--set train.clip_norm=1", "clip_norm = 0.0", "clip_norm = 1.0");
  expect_refused("--data mnist", "name = \"" + path("digits") + "\"", "name = \"mnist\"");
  EXPECT_THAT(error("train mlp --resume a"), HasSubstr("expected the options of the run that is resumed"));
  EXPECT_THAT(error("train --resume a --log-steps"), HasSubstr("expected no log_steps"));
  EXPECT_THAT(error("train --resume a --init a/best.safetensors"), HasSubstr("(none)"));
  EXPECT_THAT(error("train --resume a --out b", 2), AllOf(HasSubstr("--out"), HasSubstr("--resume")));
  EXPECT_EQ(snapshot("a"), before);
  EXPECT_FALSE(exists("b"));
}

TEST_F(ResumeCommand, WithoutACheckpointARunStartsOver) {
  ok("train net.toml --log-steps --out whole");
  const std::string best = read("whole/best.safetensors");

  // Killed before its first checkpoint: the recipe is recorded, no more.
  std::filesystem::create_directories(path("a"));
  std::filesystem::copy(path("whole/recipe.toml"), path("a/recipe.toml"));
  ok("train --resume a");
  EXPECT_EQ(read("a/best.safetensors"), best);

  // Killed as the folder was made: nothing is recorded; the recipe has to be given.
  std::filesystem::create_directories(path("b/last"));
  EXPECT_THAT(error("train --resume b"), HasSubstr("expected a recipe: b has none recorded yet"));
  std::filesystem::remove_all(path("b/last"));
  ok("train net.toml --resume b");
  EXPECT_EQ(read("b/best.safetensors"), best);
  ok("train net.toml --resume new --log-steps");
  expect_equal_runs("new", "whole");
}

TEST_F(ResumeCommand, WithACutCheckpointARunStartsOver) {
  ok("train net.toml --log-steps --out whole");
  ok("train net.toml --log-steps --out a");
  auto info = json_file("a/run.json");
  info["finished"] = false;
  file("a/run.json", info.dump());
  const std::string checkpoint = read("a/last/checkpoint.safetensors");
  file("a/last/checkpoint.safetensors", checkpoint.substr(0, checkpoint.size() / 2));
  EXPECT_THAT(ok("train --resume a").err, HasSubstr("no complete checkpoint, starting over"));
  expect_equal_runs("a", "whole");
}

TEST_F(ResumeCommand, AFolderOfOtherFilesIsNoRun) {
  const auto before = snapshot("digits");
  EXPECT_THAT(error("train net.toml --resume digits"),
              HasSubstr("expected a run's folder to resume, digits holds other files"));
  EXPECT_EQ(snapshot("digits"), before);
}

TEST_F(ResumeCommand, InitIsNotNeededAgain) {
  ok("train net.toml --epochs 1 --out start");
  const std::string words = "train net.toml --epochs 40 --init start/best.safetensors --log-steps --out ";
  ok(words + "whole");
  Program run(split(words + "a", ' '), folder_);
  ASSERT_TRUE(run.wait_for(" 1/40"));
  run.send(SIGINT);
  EXPECT_EQ(run.wait().code, 130);
  std::filesystem::rename(path("start"), path("elsewhere"));
  ok("train --resume a");
  expect_equal_runs("a", "whole");
}

TEST_F(ResumeCommand, AFullDiskLeavesTheOldCheckpoint) {
  interrupted("a");
  const auto last = snapshot("a/last");
  // Recipe and numbers still fit, checkpoints do not.
  const std::string message = error("train --resume a --quiet", 1, {.file_size = 2500});
  EXPECT_THAT(message, AllOf(HasSubstr("checkpoint.safetensors: expected to write "),
                             HasSubstr("File too large"), HasSubstr("nothing was changed")));
  EXPECT_EQ(snapshot("a/last"), last) << "the old one, and nothing beside it";
  ok("train --resume a");
  ok(std::string(kLong) + "b");
  expect_equal_runs("a", "b");
}

TEST_F(ResumeCommand, LeftoversOfAKilledRunAreRemoved) {
  interrupted("a");
  file("a/last/checkpoint.safetensors.123-0.tmp", "half");
  file("a/metrics.csv.123-1.tmp", "half");
  ok("train --resume a");
  for (const auto& [name, bytes] : snapshot("a")) EXPECT_THAT(name, Not(HasSubstr(".tmp")));
}

}  // namespace
}  // namespace hebb::cli
