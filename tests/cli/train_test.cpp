// hebb train: the files of a run, what it prints, and that equal seeds give equal bits.
#include "hebb/io/npy.h"
#include "hebb/io/safetensors.h"
#include "tests/cli/support.h"

namespace hebb::cli {
namespace {

using test::split;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

class TrainCommand : public test::CliTest {
 protected:
  std::string weights(const std::string& words, const std::string& out) const {
    ok("train " + words + " --out " + out);
    return read(out + "/best.safetensors");
  }
  static std::vector<std::string> names(const std::map<std::string, std::string>& files) {
    std::vector<std::string> out;
    for (const auto& [name, bytes] : files) out.push_back(name);
    return out;
  }
};

TEST_F(TrainCommand, WritesARunsFolder) {
  const test::Result r = ok("train net.toml --out a/b/run --log-steps --seed 3 --threads 1");
  EXPECT_THAT(r.out, MatchesRegex("test accuracy [0-9.]+ %\n"));
  EXPECT_THAT(names(snapshot("a/b/run")),
              UnorderedElementsAre("best.safetensors", "last/checkpoint.safetensors", "metrics.csv",
                                   "recipe.toml", "run.json", "steps.csv"));

  const auto metrics = lines("a/b/run/metrics.csv");
  ASSERT_EQ(metrics.size(), 3u);
  EXPECT_EQ(metrics[0], "epoch,train_loss,val_loss,val_accuracy,lr,seconds,samples_per_s");
  EXPECT_THAT(metrics[1], MatchesRegex("1,[0-9.]+,[0-9.]+,[0-9.]+,0.02,[0-9.]+,[0-9.]+"));
  EXPECT_THAT(metrics[2], MatchesRegex("2,[0-9.]+,[0-9.]+,[0-9.]+,0.01,[0-9.]+,[0-9.]+"))
      << "half the cosine";

  const auto steps = lines("a/b/run/steps.csv");
  ASSERT_EQ(steps.size(), 37u) << "180 of 200 samples, 10 a step, twice";
  EXPECT_EQ(steps[0], "step,loss");
  EXPECT_THAT(steps[36], MatchesRegex("36,[0-9.e-]+"));
  double sum = 0;
  for (size_t i = 1; i <= 18; ++i) sum += std::stod(split(steps[i], ',')[1]);
  EXPECT_NEAR(std::stod(split(metrics[1], ',')[1]), sum / 18, 1e-6) << "train_loss is the mean of the steps";

  const auto info = json_file("a/b/run/run.json");
  EXPECT_EQ(info["seed"], 3);
  EXPECT_EQ(info["threads"], 1);
  EXPECT_EQ(info["train_samples"], 180);
  EXPECT_EQ(info["val_samples"], 20);
  EXPECT_EQ(info["test_samples"], 60);
  EXPECT_EQ(info["finished"], true);
  for (const char* key : {"hebb", "cpu", "compiler", "result", "best_epoch", "parameters"})
    EXPECT_TRUE(info.contains(key)) << key;
}

TEST_F(TrainCommand, RecordsTheResolvedRecipe) {
  ok("train net.toml --out a --epochs 1 --batch-size 20 --lr 0.5 --seed 4 --no-shuffle --set "
     "train.clip_norm=0.5");
  const std::string recorded = read("a/recipe.toml");
  for (const std::string line : {"epochs = 1", "batch_size = 20", "lr = 0.5", "seed = 4", "shuffle = false",
                                 "clip_norm = 0.5", "momentum = 0.9", "checkpoint_seconds = 10.0"})
    EXPECT_THAT(recorded, HasSubstr("\n" + line + "\n"));
  EXPECT_THAT(recorded, HasSubstr("name = \"" + path("digits") + "\""))
      << "where the data lie, from anywhere";
  ok("train a/recipe.toml --out b");
  EXPECT_EQ(read("b/best.safetensors"), read("a/best.safetensors")) << "the record repeats the run";
}

TEST_F(TrainCommand, OptimizerComesWithItsDefaults) {
  ok("train net.toml --out a --epochs 1 --optimizer Adam");
  EXPECT_THAT(read("a/recipe.toml"), AllOf(HasSubstr("type = \"Adam\""), Not(HasSubstr("momentum"))));
  EXPECT_THAT(lines("a/metrics.csv").at(1), HasSubstr(",0.001,"));
}

TEST_F(TrainCommand, JsonIsTheLastLineOfStdout) {
  const auto j = ok("train net.toml --out a --json").json();
  EXPECT_EQ(j["run"], "a");
  EXPECT_EQ(j["epochs"], 2);
  for (const char* key :
       {"train_loss", "val_loss", "val_accuracy", "test_accuracy", "seconds", "samples_per_s"})
    EXPECT_TRUE(j[key].is_number()) << key;
  // The best epoch's row has the same numbers.
  const auto best = split(lines("a/metrics.csv").at(json_file("a/run.json")["best_epoch"]), ',');
  EXPECT_EQ(j["train_loss"].get<double>(), std::stod(best[1]));
  EXPECT_EQ(j["val_loss"].get<double>(), std::stod(best[2]));
  EXPECT_EQ(j["val_accuracy"].get<double>(), std::stod(best[3]));
}

TEST_F(TrainCommand, WithoutValidationColumnsStayEmpty) {
  const auto j = ok("train net.toml --out a --epochs 1 --set data.val_fraction=0 --json").json();
  EXPECT_TRUE(j["val_loss"].is_null());
  EXPECT_TRUE(j["val_accuracy"].is_null());
  EXPECT_TRUE(j["test_accuracy"].is_number());
  EXPECT_THAT(lines("a/metrics.csv").at(1), MatchesRegex("1,[0-9.]+,,,0.02,[0-9.]+,[0-9.]+"));
}

TEST_F(TrainCommand, MessagesGoToStderrUnlessQuiet) {
  const test::Result loud = ok("train net.toml --out a");
  EXPECT_THAT(loud.err, AllOf(HasSubstr("180 training, 20 validation and 60 test samples"),
                              HasSubstr(" 2/2  train_loss "), HasSubstr("run a\n")));
  EXPECT_THAT(loud.err, Not(HasSubstr("\r"))) << "no bar where there is no terminal";
  EXPECT_THAT(loud.err, Not(HasSubstr("\033"))) << "nor colours";
  const test::Result quiet = ok("train net.toml --out b --quiet");
  EXPECT_EQ(quiet.err, "");
  EXPECT_EQ(quiet.out, loud.out);
}

TEST_F(TrainCommand, ThreadsAndWorkersDoNotChangeABit) {
  test::write_idx_folder(path("large"), test::Pictures{.count = 200, .size = 28, .classes = 10},
                         test::Pictures{.count = 20, .size = 28, .classes = 10});
  const std::string words = "lenet5 --data large --epochs 2 --threads ";
  const std::string one = weights(words + "1", "one");
  EXPECT_EQ(weights(words + "2", "two"), one);
  EXPECT_EQ(weights(words + "3", "three"), one);
  EXPECT_EQ(weights(words + "2 --set data.workers=0", "none"), one);
  EXPECT_EQ(weights(words + "2 --set data.workers=3", "more"), one);
}

TEST_F(TrainCommand, TheSeedDecidesEverything) {
  const std::string first = weights("net.toml --seed 5", "a");
  EXPECT_EQ(weights("net.toml --seed 5", "b"), first);
  EXPECT_NE(weights("net.toml --seed 6", "c"), first);
  EXPECT_NE(weights("net.toml --seed 5 --no-shuffle", "d"), first);
}

TEST_F(TrainCommand, LearnsWhatCanBeLearnt) {
  const auto j = ok("train net.toml --out a --epochs 8 --json").json();
  EXPECT_GE(j["test_accuracy"].get<double>(), 0.95) << "bands of light: chance is 0.25";
}

TEST_F(TrainCommand, InitIsWhereTrainingStarts) {
  ok("train net.toml --out a --epochs 1");
  const std::string words = "train net.toml --epochs 1 --lr 0 --init a/best.safetensors --out ";
  ok(words + "b");
  EXPECT_EQ(read("b/best.safetensors"), read("a/best.safetensors")) << "with learning rate 0 they stay";
  ok("train net.toml --epochs 1 --lr 0 --seed 9 --init a/best.safetensors --out c");
  EXPECT_EQ(read("c/best.safetensors"), read("a/best.safetensors")) << "whatever the seed";
}

TEST_F(TrainCommand, NoShuffleTakesTheSamplesInOrder) {
  // One sample a step and learning rate 0: the losses of the steps are those of the samples.
  std::vector<float> x;
  std::vector<int64_t> y;
  for (int i = 0; i < 6; ++i) x.push_back(static_cast<float>(i)), y.push_back(i % 2);
  io::save_npy(path("x.npy"), Tensor::from(x, {6, 1}));
  io::save_npy(path("y.npy"), Tensor::from(y));
  file("one.toml",
       "[model]\ninput = [1]\n[[model.layer]]\ntype = \"Linear\"\nout_features = 2\n[data]\nx = \"x.npy\"\ny "
       "= "
       "\"y.npy\"\n[train]\nepochs = 2\nbatch_size = 1\n[optimizer]\ntype = \"SGD\"\nlr = 0\n");
  ok("train one.toml --no-shuffle --log-steps --out a");
  const auto weights = io::load_safetensors(path("a/best.safetensors"));
  const auto w = weights.find("0.weight")->to_vector<double>(),
             b = weights.find("0.bias")->to_vector<double>();
  const auto steps = lines("a/steps.csv");
  ASSERT_EQ(steps.size(), 13u);
  for (size_t i = 0; i < 12; ++i) {
    const double s0 = w[0] * x[i % 6] + b[0], s1 = w[1] * x[i % 6] + b[1];
    const double loss = std::log(std::exp(s0) + std::exp(s1)) - (i % 2 ? s1 : s0);
    EXPECT_NEAR(std::stod(split(steps[i + 1], ',')[1]), loss, 1e-5) << "step " << i + 1;
  }
}

TEST_F(TrainCommand, EveryBuiltInRecipeTrains) {
  test::write_idx_folder(path("large"), test::Pictures{.count = 100, .size = 28, .classes = 10},
                         test::Pictures{.count = 20, .size = 28, .classes = 10});
  for (const std::string recipe : {"lenet5", "mlp", "logistic"})
    ok("train " + recipe + " --data large --epochs 1 --out " + recipe);
  EXPECT_EQ(ok("train perceptron --out p --json").json()["test_accuracy"], 1.0) << "a line separates blobs";
}

TEST_F(TrainCommand, CsvIsDataToo) {
  std::string table = "a,b,kind\n";
  for (int i = 0; i < 40; ++i)
    table += std::to_string(i) + "," + std::to_string(i % 7) + (i < 20 ? ",0\n" : ",1\n");
  file("t.csv", table);
  file("csv.toml",
       "[model]\ninput = [2]\n[[model.layer]]\ntype = \"Linear\"\nout_features = 2\n[optimizer]\ntype = "
       "\"SGD\"\nlr = 1\n");
  const auto j =
      ok("train csv.toml --data t.csv --epochs 6 --batch-size 5 --set data.val_fraction=0.25 --out a --json")
          .json();
  EXPECT_TRUE(j["test_accuracy"].is_null());
  EXPECT_GE(j["val_accuracy"].get<double>(), 0.9);
  const auto r = ok("train csv.toml --data t.csv --epochs 1 --out b");
  EXPECT_THAT(r.out, MatchesRegex("train loss [0-9.]+\n")) << "neither test nor validation";
}

TEST_F(TrainCommand, RegressionHasLossesOnly) {
  file("t.csv", "x,y\n0,1\n1,3\n2,5\n3,7\n4,9\n");
  file("line.toml",
       "[model]\ninput = [1]\n[[model.layer]]\ntype = \"Linear\"\nout_features = 1\n[loss]\ntype = "
       "\"MSELoss\"\n[optimizer]\ntype = \"SGD\"\nlr = 0.1\n[data]\nname = \"t.csv\"\nregression = "
       "true\n[train]\nepochs = 40\nbatch_size = 1\n");
  const auto j = ok("train line.toml --out a --json").json();
  EXPECT_LT(j["train_loss"].get<double>(), 1e-6) << "a line fits";
  EXPECT_TRUE(j["test_accuracy"].is_null());
}

TEST_F(TrainCommand, DefaultFolderIsNamedByRecipeAndTime) {
  const auto first = ok("train net.toml --epochs 1 --json").json(),
             second = ok("train net.toml --epochs 1 --json").json();
  EXPECT_THAT(first["run"].get<std::string>(), MatchesRegex("runs/net-[0-9]+-[0-9]+(-[0-9]+)?"));
  EXPECT_NE(first["run"], second["run"]);
  EXPECT_TRUE(exists(first["run"].get<std::string>() + "/best.safetensors"));
}

}  // namespace
}  // namespace hebb::cli
