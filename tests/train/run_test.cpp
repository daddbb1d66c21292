// Whole runs as a C++ program starts them: what train() returns and records, and what is made of it later.
#include "hebb/train/run.h"

#include <nlohmann/json.hpp>

#include "hebb/io/npy.h"
#include "hebb/io/safetensors.h"
#include "hebb/ops/creation.h"
#include "hebb/train/checkpoint.h"
#include "tests/io/files.h"
#include "tests/support/idx_files.h"

namespace hebb::train {
namespace {

using io::test::bytes_of_file;
using io::test::error_of;
using test_support::Pictures;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;

class RunTest : public io::test::IoTest {
 protected:
  void SetUp() override {
    IoTest::SetUp();
    test_support::write_idx_folder(path("digits"), Pictures{.count = 200}, Pictures{.count = 60, .seed = 1});
  }
  /// One linear layer on the small pictures.
  Recipe recipe(const std::string& more = "") const {
    return Recipe::parse(
        "[model]\ninput = [1, 8, 8]\n[[model.layer]]\ntype = \"Flatten\"\n[[model.layer]]\ntype = "
        "\"Dropout\"\n[[model.layer]]\ntype = \"Linear\"\nout_features = 4\n[data]\nname = \"digits\"\n" +
            more,
        path("net.toml"));
  }
  RunOptions to(const std::string& name) const { return {.out = path(name), .quiet = true}; }
  RunOptions again(const std::string& name) const { return {.resume = path(name), .quiet = true}; }
  std::string bytes(const std::string& name) const { return bytes_of_file(path(name)); }
};

TEST_F(RunTest, ResultIsThatOfTheBestWeights) {
  std::string said;
  RunOptions o = to("a");
  o.say = [&](const std::string& text) { said = text; };
  const RunResult r = train(recipe("[train]\nepochs = 4\nbatch_size = 20\n"), o);
  EXPECT_EQ(r.folder, path("a"));
  EXPECT_EQ(r.epochs, 4);
  EXPECT_FALSE(r.interrupted);
  EXPECT_FALSE(r.was_finished);
  EXPECT_THAT(said, HasSubstr("260 parameters, 180 training, 20 validation and 60 test samples"));

  LoadedRun run = load_run(path("a"));
  EXPECT_FALSE(run.net->is_training());
  EXPECT_EQ(run.class_names.size(), 4u);
  const data::Splits data = load_data(run.recipe);
  EXPECT_EQ(run.normalization.mean, data.normalization.mean) << "read back exactly";
  const Evaluation test = evaluate(run, data.test), val = evaluate(run, data.val);
  EXPECT_DOUBLE_EQ(test.metrics.loss, r.test_loss);
  EXPECT_DOUBLE_EQ(test.metrics.accuracy, r.test_accuracy);
  EXPECT_DOUBLE_EQ(val.metrics.loss, r.val_loss);
  EXPECT_DOUBLE_EQ(val.metrics.accuracy, r.val_accuracy);

  const RunResult done = train(recipe("[train]\nepochs = 4\nbatch_size = 20\n"), again("a"));
  EXPECT_TRUE(done.was_finished);
  EXPECT_EQ(done.test_accuracy, r.test_accuracy);
  EXPECT_EQ(done.seconds, r.seconds);
}

TEST_F(RunTest, ASignalInterruptsAfterEachStepAndAllStepsTogetherEqualOneRun) {
  const Recipe r =
      recipe("[train]\nepochs = 2\nbatch_size = 60\n[optimizer]\ntype = \"Adam\"\n");  // 3 steps an epoch
  RunOptions o = to("whole");
  o.log_steps = true;
  train(r, o);

  std::atomic<int> flag = 1;
  o = to("a");
  o.log_steps = true;
  o.signal = &flag;
  EXPECT_TRUE(train(r, o).interrupted);
  EXPECT_FALSE(std::filesystem::exists(path("a/best.safetensors")));
  o = again("a");
  o.signal = &flag;
  for (int step = 2; step <= 5; ++step) {
    const RunResult part = train(r, o);
    EXPECT_TRUE(part.interrupted) << step;
    EXPECT_TRUE(std::isnan(part.test_accuracy)) << "the test split is used once, at the end";
  }
  EXPECT_FALSE(train(r, o).interrupted) << "the last step is the end";
  EXPECT_EQ(bytes("a/best.safetensors"), bytes("whole/best.safetensors"));
  EXPECT_EQ(bytes("a/steps.csv"), bytes("whole/steps.csv"));
}

TEST_F(RunTest, EarlyStoppingEndsARun) {
  const RunResult r = train(
      recipe("[train]\nepochs = 50\nearly_stopping = 2\n[optimizer]\ntype = \"SGD\"\nlr = 0\n"), to("a"));
  EXPECT_EQ(r.epochs, 3) << "with learning rate 0 the first epoch stays the best";
  EXPECT_FALSE(r.interrupted);
  EXPECT_TRUE(nlohmann::json::parse(bytes("a/run.json"))["finished"]);
}

TEST_F(RunTest, AnotherRecipeIsNotResumed) {
  train(recipe("[train]\nepochs = 1\n"), to("a"));
  EXPECT_THAT(
      error_of([&] { train(recipe("[train]\nepochs = 2\n"), again("a")); }),
      AllOf(HasSubstr("[train] " + path("a/recipe.toml") + ":"),
            HasSubstr("expected the options of the run that is resumed (epochs = 1), got epochs = 2")));
  EXPECT_EQ(recorded_recipe(path("nowhere")), std::nullopt);
  EXPECT_EQ(recorded_recipe(path("a"))->to_toml(), recipe("[train]\nepochs = 1\n").to_toml());
}

TEST_F(RunTest, NetworksThatDoNotFitTheDataAreFoundBeforeTheFirstStep) {
  auto error = [&](Recipe r) {
    const std::string message = error_of([&] { train(r, to("a")); });
    EXPECT_FALSE(std::filesystem::exists(path("a")));
    return message;
  };
  Recipe r = recipe();
  r.set("model.layer.2.out_features", "3");
  EXPECT_EQ(error(r),
            "[train] expected at least 4 outputs for the classes of digits, got outputs of shape 2x3");
  r = recipe();
  r.set("model.input", "[1, 4, 16]");
  EXPECT_EQ(error(r), "[train] expected samples of shape 1x4x16 (model.input of net), got 1x8x8 from digits");
  r = recipe();
  r.set("loss.type", "HingeLoss");
  r.set("model.layer.2.out_features", "1");
  EXPECT_EQ(
      error(r),
      "[train] expected one output and 2 classes for HingeLoss, got outputs of shape 2x1 and 4 classes of "
      "digits");
}

TEST_F(RunTest, ConfusionCountsTrueClassesInRows) {
  // A network that calls everything 2; class 1 has no samples.
  file("const.toml", "[model]\ninput = [2]\n[[model.layer]]\ntype = \"Linear\"\nout_features = 4\n");
  io::save_safetensors(
      path("w"), {{"0.weight", zeros({4, 2})}, {"0.bias", Tensor::from(std::vector<float>{0, 0, 1, 0})}});
  LoadedRun run = load_run(path("const.toml"), path("w"));
  const auto set =
      std::make_shared<data::ArrayDataset>(zeros({4, 2}), Tensor::from(std::vector<int64_t>{0, 2, 2, 3}));
  const Evaluation e = evaluate(run, set);
  using Row = std::vector<int64_t>;
  EXPECT_THAT(e.confusion, ElementsAre(Row{0, 0, 1, 0}, Row{0, 0, 0, 0}, Row{0, 0, 2, 0}, Row{0, 0, 1, 0}));
  EXPECT_EQ(e.metrics.n, 4);
  EXPECT_EQ(e.metrics.accuracy, 0.5);
  // Softmax of (0, 0, 1, 0): two samples at e / (3 + e), two at 1 / (3 + e).
  EXPECT_NEAR(e.metrics.loss, std::log(3 + std::exp(1.0)) - 0.5, 1e-6);
  EXPECT_EQ(e.class_accuracy[0], 0);
  EXPECT_TRUE(std::isnan(e.class_accuracy[1]));
  EXPECT_EQ(e.class_accuracy[2], 1);
}

TEST_F(RunTest, InitIsRecordedAndGivenAgain) {
  const Recipe r = recipe("[train]\nepochs = 1\n[optimizer]\ntype = \"SGD\"\nlr = 0\n");
  train(r, to("start"));
  RunOptions o = to("a");
  o.init = path("start/best.safetensors");
  train(r, o);
  EXPECT_EQ(bytes("a/best.safetensors"), bytes("start/best.safetensors"));
  EXPECT_EQ(nlohmann::json::parse(bytes("a/run.json"))["options"]["init"], o.init);
  o = again("a");
  o.init = path("other.safetensors");
  EXPECT_THAT(error_of([&] { train(r, o); }),
              AllOf(HasSubstr("expected the init of the run that is resumed (" + path("start")),
                    EndsWith("got " + path("other.safetensors"))));
}

TEST_F(RunTest, FoldersThatAreNoRunsAreNamed) {
  EXPECT_EQ(error_of([&] { load_run(path("no")); }),
            "[run] expected a run's folder, found none at " + path("no"));
  EXPECT_EQ(error_of([&] { load_run(path("digits")); }),
            "[run] " + path("digits") + ": expected recipe.toml in the run's folder, found none");
  EXPECT_EQ(
      error_of([&] { train(recipe(), to("digits")); }),
      "[train] expected a new folder for the run, " + path("digits") + " exists (go on in it with --resume)");
  train(recipe("[train]\nepochs = 1\n"), to("a"));
  file("a/run.json", "{");
  EXPECT_THAT(error_of([&] { load_run(path("a")); }), HasSubstr(path("a/run.json") + ": expected JSON"));
}

}  // namespace
}  // namespace hebb::train
