// Words that the program does not know: exit code 2 (or 1 where a recipe is wrong), and what was meant.
#include "tests/cli/support.h"

namespace hebb::cli {
namespace {

using test::Result;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;

class Usage : public test::CliTest {
 protected:
  /// The recipe net.toml with one text replaced.
  std::string with(const std::string& from, const std::string& to) const {
    std::string text = test::kNet;
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    file("changed.toml", text.replace(at, from.size(), to));
    return "train changed.toml --out a";
  }
};

TEST_F(Usage, HelpIsThereForEveryCommand) {
  EXPECT_THAT(ok("--help").out, AllOf(HasSubstr("train"), HasSubstr("eval"), HasSubstr("predict"),
                                      HasSubstr("summary"), HasSubstr("data"), HasSubstr("doctor")));
  for (const std::string command : {"train", "eval", "predict", "summary", "data", "doctor"}) {
    const Result r = ok(command + " --help");
    EXPECT_THAT(r.out, AllOf(HasSubstr("Usage: hebb " + command), HasSubstr("Examples:\n  hebb " + command),
                             HasSubstr("--json"), HasSubstr("--quiet"), HasSubstr("--threads")));
    EXPECT_EQ(r.err, "");
  }
  const std::string train = ok("train --help").out;
  for (const char* option : {"--data", "--epochs", "--batch-size", "--lr", "--optimizer", "--seed", "--out",
                             "--resume", "--init", "--no-shuffle", "--log-steps", "--set"})
    EXPECT_THAT(train, HasSubstr(option));
}

TEST_F(Usage, VersionIsOneLine) {
  EXPECT_THAT(ok("--version").out, MatchesRegex("hebb [0-9]+.[0-9]+.[0-9]+\n"));
}

TEST_F(Usage, MisspeltCommandsGetASuggestion) {
  EXPECT_THAT(error("tran lenet5", 2), HasSubstr("Did you mean train?"));
  EXPECT_THAT(error("sumary lenet5", 2), HasSubstr("Did you mean summary?"));
  EXPECT_THAT(error("data inof mnist", 2), HasSubstr("Did you mean info?"));
  EXPECT_THAT(error("", 2), AllOf(HasSubstr("hebb --help"), Not(HasSubstr("mean"))));
  EXPECT_THAT(error("qqqqqqqq", 2), Not(HasSubstr("mean"))) << "nothing is near";
}

TEST_F(Usage, MisspeltOptionsGetASuggestion) {
  EXPECT_THAT(
      error("train net.toml --epoch 3", 2),
      AllOf(HasSubstr("--epoch"), HasSubstr("Did you mean --epochs?"), HasSubstr("hebb train --help")));
  EXPECT_THAT(error("train net.toml --batchsize=3", 2), HasSubstr("Did you mean --batch-size?"));
  EXPECT_THAT(error("eval a --splitt val", 2), HasSubstr("Did you mean --split?"));
  EXPECT_THAT(error("predict a b.png --tpo 3", 2), HasSubstr("Did you mean --top?"));
}

TEST_F(Usage, WhatIsMissingOrTooMuchIsNamed) {
  EXPECT_THAT(error("train", 2), HasSubstr("recipe"));
  EXPECT_THAT(error("train net.toml other.toml", 2), HasSubstr("other.toml"));
  EXPECT_THAT(error("train net.toml --epochs", 2), HasSubstr("--epochs"));
  EXPECT_THAT(error("eval", 2), HasSubstr("run"));
  EXPECT_THAT(error("eval a --split tset", 2), AllOf(HasSubstr("tset"), HasSubstr("train,val,test")));
  EXPECT_THAT(error("predict a", 2), HasSubstr("INPUT"));
  EXPECT_THAT(error("predict --recipe net.toml x.npy", 2), HasSubstr("--weights"));
  EXPECT_THAT(error("predict --weights w.safetensors x.npy", 2), HasSubstr("--recipe"));
  EXPECT_THAT(error("summary", 2), HasSubstr("recipe"));
  EXPECT_THAT(error("data", 2), HasSubstr("hebb data --help"));
  EXPECT_THAT(error("data info", 2), HasSubstr("name"));
}

TEST_F(Usage, NumbersOutOfRangeAreErrors) {
  EXPECT_THAT(error("train net.toml --threads 0", 2),
              MatchesRegex("hebb: --threads: [^\n]*0 not in [^\n]{0,40}1 [^\n]{0,40}\n[^\n]*\n"))
      << "in words that can be read";
  EXPECT_THAT(error("train net.toml --threads two", 2), HasSubstr("--threads"));
  EXPECT_THAT(error("predict a b.png --top 0", 2), HasSubstr("--top"));
  EXPECT_THAT(error("train net.toml --batch-size 0 --out a"),
              HasSubstr("--batch-size: expected a whole number of at least 1, found 0"));
  EXPECT_THAT(error("train net.toml --batch-size 2.5 --out a"), HasSubstr("--batch-size: expected a whole"));
  EXPECT_THAT(error("train net.toml --lr -0.1 --out a"), HasSubstr("--lr: expected at least 0, found -0.1"));
  EXPECT_THAT(error("train net.toml --lr fast --out a"), HasSubstr("--lr: expected a number"));
  EXPECT_THAT(error("train net.toml --epochs 0 --out a"),
              HasSubstr("--epochs: expected a whole number of at least 1"));
  EXPECT_THAT(error("train net.toml --seed -1 --out a"),
              HasSubstr("--seed: expected a whole number of at least 0"));
  EXPECT_FALSE(exists("a"));
}

TEST_F(Usage, MisspeltNamesGetASuggestion) {
  EXPECT_THAT(error("train lenet"),
              AllOf(HasSubstr("unknown recipe 'lenet'"), HasSubstr("did you mean 'lenet5'?")));
  EXPECT_THAT(error("summary lenet"), HasSubstr("did you mean 'lenet5'?"));
  EXPECT_THAT(error("train net.toml --optimizer Adm"),
              AllOf(HasSubstr("--optimizer: unknown optimizer \"Adm\""), HasSubstr("did you mean 'Adam'?")));
  EXPECT_THAT(error("train net.toml --set train.epoch=3"), HasSubstr("did you mean 'epochs'?"));
  EXPECT_THAT(error("train net.toml --set epochs"), HasSubstr("expected KEY=VALUE, got epochs"));
  EXPECT_THAT(error("train net.toml --data minst"), HasSubstr("(mnist, blobs, circles, moons, spiral, xor)"));
}

TEST_F(Usage, MistakesInARecipeAreShownWithTheirLine) {
  EXPECT_THAT(error(with("\"ReLU\"", "\"RELU6\"")),
              AllOf(HasSubstr("changed.toml:8: model.layer[1].type: unknown layer type \"RELU6\""),
                    HasSubstr("did you mean 'ReLU")));
  EXPECT_THAT(error(with("kernel_size = 3", "kernelsize = 3")),
              AllOf(HasSubstr("changed.toml:6: model.layer[0].kernelsize: "), HasSubstr("'kernel_size'?")));
  EXPECT_THAT(error(with("kernel_size = 3", "kernel_size = 9")),
              AllOf(HasSubstr("changed.toml:3: model.layer[0]: "), HasSubstr("does not fit its input")));
  EXPECT_THAT(
      error(with("[optimizer]", "[loss]\ntype = \"CrossEntropyLos\"\n[optimizer]")),
      AllOf(HasSubstr("changed.toml:21: loss.type: "), HasSubstr("did you mean 'CrossEntropyLoss'?")));
  EXPECT_THAT(error(with("\"CosineAnnealingLR\"", "\"CosineAnealingLR\"")),
              HasSubstr("'CosineAnnealingLR'?"));
  EXPECT_THAT(error(with("batch_size = 10", "batch_size = \"ten\"")),
              HasSubstr("train.batch_size: expected a whole number of at least 1, found \"ten\""));
  EXPECT_THAT(error(with("[data]", "[dta]")), HasSubstr("dta: unknown section, did you mean 'data'?"));
  EXPECT_THAT(error(with("batch_size = 10", "batch_size 10")), HasSubstr("changed.toml:30: "));
  EXPECT_FALSE(exists("a"));
}

}  // namespace
}  // namespace hebb::cli
