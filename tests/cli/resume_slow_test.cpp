// A run that is killed again and again, at any moment, ends as one that never was.
#include "hebb/core/rng.h"
#include "tests/cli/support.h"

namespace hebb::cli {
namespace {

using test::Program;
using test::Result;
using test::split;
using ::testing::HasSubstr;
using ::testing::Not;

class KilledRun : public test::CliTest {};

TEST_F(KilledRun, EqualsAnUninterruptedOne) {
  const std::string options = "--epochs 60 --seed 3 --log-steps --quiet --set train.checkpoint_seconds=0.05";
  test::write_idx_folder(path("digits"), test::Pictures{.count = 3000},
                         test::Pictures{.count = 60, .seed = 1});
  ok("train net.toml --out whole " + options);

  const RandomStream moments{20, 0};
  int killed = 0;
  Result r;
  for (uint64_t i = 0; i < 20; ++i) {
    Program run(split("train net.toml --resume a " + options, ' '), folder_);
    run.read_for(static_cast<int>(10 + moments.below(i, 290)));
    run.send(SIGKILL);
    r = run.wait();
    ASSERT_TRUE(r.code == 0 || r.code == 128 + SIGKILL) << r.code << ": " << r.err;
    killed += r.code != 0;
  }
  EXPECT_GE(killed, 10) << "the run is too short to be killed";
  ok("train net.toml --resume a " + options);

  EXPECT_EQ(read("a/best.safetensors"), read("whole/best.safetensors"));
  EXPECT_EQ(read("a/steps.csv"), read("whole/steps.csv"));
  for (const auto& [name, bytes] : snapshot("a")) EXPECT_THAT(name, Not(HasSubstr(".tmp")));
  const auto a = json_file("a/run.json")["result"], b = json_file("whole/run.json")["result"];
  for (const char* key : {"epochs", "train_loss", "val_loss", "val_accuracy", "test_loss", "test_accuracy"})
    EXPECT_EQ(a[key], b[key]) << key;
}

}  // namespace
}  // namespace hebb::cli
