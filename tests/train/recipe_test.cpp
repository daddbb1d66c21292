// Recipes: what they build, how they are written back, and what they say of mistakes.
#include "hebb/train/recipe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "hebb/ops/random.h"
#include "tests/support/throws.h"

namespace hebb {
namespace {

using testing::HasSubstr;
using testing::StartsWith;
using train::Recipe;
using train::RecipeError;

const std::string kSmall = R"([model]
input = [1, 8, 8]

[[model.layer]]
type = "Conv2d"
out_channels = 4
kernel_size = 3

[[model.layer]]
type = "Flatten"

[[model.layer]]
type = "Linear"
out_features = 3
)";

using test_support::error_of;
std::string recipe_error(const std::string& text) {
  return error_of([&] { Recipe::parse(text, "dir/net.toml").build(); });
}
std::string set_error(Recipe r, const std::string& key, const std::string& value) {
  return error_of([&] { r.set(key, value); });
}
std::vector<std::string> names_of(const nn::AnyModule& net) {
  std::vector<std::string> out;
  for (const auto& [name, t] : net->state_dict()) out.push_back(name);
  return out;
}
Tensor output_of(const Recipe& r) {
  nn::AnyModule net = r.build();
  Shape batch = r.input;
  batch.insert(0, 3);
  const Tensor x = rand(batch);
  return net({&x, 1});
}

TEST(Recipe, BuiltInsBuildAndRun) {
  std::vector<std::string> names;
  for (const auto& [name, line] : train::builtin_recipes()) {
    names.push_back(name);
    EXPECT_FALSE(line.empty()) << name;
    const Recipe r = Recipe::load(name);
    EXPECT_EQ(r.name, name);
    EXPECT_EQ(r.path, "");
    EXPECT_EQ(output_of(r).shape(), (Shape{3, name == "perceptron" ? 1 : 10})) << name;
  }
  EXPECT_THAT(names, testing::ElementsAre("lenet5", "logistic", "mlp", "perceptron"));
}

TEST(Recipe, ParametersOfTheBuiltIns) {
  EXPECT_EQ(Recipe::load("lenet5").build()->num_parameters(), 61706);
  EXPECT_EQ(Recipe::load("mlp").build()->num_parameters(), 669706);
  EXPECT_EQ(Recipe::load("logistic").build()->num_parameters(), 7850);
  EXPECT_EQ(Recipe::load("perceptron").build()->num_parameters(), 3);
}

TEST(Recipe, AChainHasTheNamesOfSequential) {
  EXPECT_THAT(names_of(Recipe::parse(kSmall, "net.toml").build()),
              testing::ElementsAre("0.weight", "0.bias", "2.weight", "2.bias"));
}

TEST(Recipe, LayersMayHaveNames) {
  Recipe r = Recipe::parse(kSmall, "net.toml");
  r.set("model.layer.0.name", "conv1");
  r.set("model.layer.2.name", "fc");
  EXPECT_THAT(names_of(r.build()),
              testing::ElementsAre("conv1.weight", "conv1.bias", "fc.weight", "fc.bias"));
  r.set("model.layer.conv1.out_channels", "5");
  EXPECT_EQ(r.build()->state_dict()[0].second.shape(), (Shape{5, 1, 3, 3}));
}

TEST(Recipe, SizesThatAreLeftOutComeFromTheShapes) {
  const auto state = Recipe::parse(kSmall, "net.toml").build()->state_dict();
  EXPECT_EQ(state[0].second.shape(), (Shape{4, 1, 3, 3}));
  EXPECT_EQ(state[2].second.shape(), (Shape{3, 4 * 6 * 6}));
}

TEST(Recipe, BranchesMeet) {
  const Recipe r = Recipe::parse(R"(
[model]
input = [2, 8, 8]
[[model.layer]]
name = "a"
type = "Conv2d"
out_channels = 4
kernel_size = 3
padding = "same"
[[model.layer]]
name = "b"
type = "Conv2d"
from = ["input"]
out_channels = 4
kernel_size = 1
[[model.layer]]
name = "sum"
type = "Add"
from = ["a", "b"]
[[model.layer]]
name = "both"
type = "Concat"
from = ["sum", "input"]
[[model.layer]]
type = "BatchNorm2d"
)",
                                 "net.toml");
  EXPECT_EQ(output_of(r).shape(), (Shape{3, 6, 8, 8}));
  EXPECT_THAT(names_of(r.build()),
              testing::ElementsAre("a.weight", "a.bias", "b.weight", "b.bias", "4.weight", "4.bias",
                                   "4.running_mean", "4.running_var", "4.num_batches_tracked"));
  EXPECT_EQ(Recipe::parse(r.to_toml(), "net.toml").to_toml(), r.to_toml());
}

TEST(Recipe, BuildingLeavesStatisticsAlone) {
  const nn::AnyModule net = Recipe::parse(
                                "[model]\ninput = [3, 4, 4]\n[[model.layer]]\ntype = \"BatchNorm2d\"\n"
                                "[[model.layer]]\ntype = \"Dropout\"\n",
                                "net.toml")
                                .build();
  EXPECT_EQ(net->state_dict()[4].second.item<int64_t>(), 0);
  EXPECT_TRUE(net->is_training());
}

TEST(Recipe, TheSameSeedGivesTheSameNetwork) {
  manual_seed(5);
  const auto a = Recipe::load("lenet5").build()->state_dict();
  manual_seed(5);
  const auto b = Recipe::load("lenet5").build()->state_dict();
  for (size_t i = 0; i < a.size(); ++i)
    EXPECT_EQ(a[i].second.to_vector<float>(), b[i].second.to_vector<float>()) << a[i].first;
}

TEST(Recipe, EverySectionButTheModelHasDefaults) {
  const Recipe r = Recipe::parse(kSmall, "net.toml");
  EXPECT_EQ(r.name, "net");
  EXPECT_EQ(r.loss.type, "CrossEntropyLoss");
  EXPECT_EQ(r.optimizer.type, "SGD");
  EXPECT_EQ(r.schedule.type, "");
  EXPECT_EQ(r.data.name, "mnist");
  EXPECT_EQ(r.data.val_fraction, -1);
  EXPECT_EQ(r.train.epochs, 10);
  EXPECT_EQ(r.train.batch_size, 64);
  EXPECT_TRUE(r.train.shuffle);
  EXPECT_EQ(r.train.checkpoint_seconds, 10);
}

TEST(Recipe, Precision) {
  Recipe r = Recipe::load("lenet5");
  EXPECT_EQ(r.train.precision, "f32");
  r.set("train.precision", "\"bf16\"");
  r.check();
  EXPECT_EQ(r.train.precision, "bf16");
  r.set("train.precision", "\"f16\"");
  EXPECT_THAT(test_support::error_of([&] { r.check(); }),
              testing::HasSubstr("expected \"f32\" or \"bf16\", found \"f16\""));
}

TEST(Recipe, WritesBackWhatItRead) {
  for (const auto& [name, line] : train::builtin_recipes()) {
    const std::string text = Recipe::load(name).to_toml();
    EXPECT_EQ(Recipe::parse(text, "runs/x/recipe.toml").to_toml(), text) << name;
  }
  const Recipe r = Recipe::parse(kSmall + R"(
[loss]
type = "CrossEntropyLoss"
label_smoothing = 0.1
[optimizer]
type = "Adam"
lr = 1e-5
betas = [0.9, 0.99]
amsgrad = true
[schedule]
type = "MultiStepLR"
milestones = [2, 4]
[data]
x = "x \"1\".npy"
y = "/data/y.npy"
val_fraction = 0.25
mean = 0.5
std = [0.25]
[train]
seed = 12345678901234
clip_norm = 0.5
shuffle = false
early_stopping = 3
)",
                                 "/somewhere/net.toml");
  const std::string text = r.to_toml();
  const Recipe again = Recipe::parse(text, "/elsewhere/recipe.toml");
  EXPECT_EQ(again.to_toml(), text);
  EXPECT_EQ(again.name, "net");
  EXPECT_EQ(again.data.x, "/somewhere/x \"1\".npy") << "relative paths start from the recipe";
  EXPECT_EQ(again.data.y, "/data/y.npy");
  EXPECT_EQ(again.data.mean, (std::vector<double>{0.5}));
  EXPECT_EQ(*again.optimizer.args.at("lr").get<double>(), 1e-5);
  EXPECT_EQ(again.train.seed, 12345678901234u);
  EXPECT_EQ(again.train.early_stopping, 3);
  EXPECT_THAT(text, HasSubstr("milestones = [2, 4]\n"));
}

TEST(Recipe, LoadsFiles) {
  const auto dir = std::filesystem::temp_directory_path() / "hebb_recipe_test";
  std::filesystem::create_directories(dir / "digits");
  std::ofstream(dir / "small.toml") << kSmall << "[data]\nname = \"digits\"\n";
  const Recipe r = Recipe::load((dir / "small.toml").string());
  EXPECT_EQ(r.name, "small");
  EXPECT_EQ(r.data.name, (dir / "digits").string());
  std::filesystem::remove_all(dir);
}

TEST(Recipe, UnknownNamesAreErrors) {
  try {
    Recipe::load("lenet");
    FAIL();
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(),
                 "unknown recipe 'lenet', did you mean 'lenet5'? expected one of: lenet5, logistic, mlp, "
                 "perceptron, or a TOML file");
  }
  EXPECT_THROW(Recipe::load("no/such/file.toml"), Error);
}

TEST(Recipe, ErrorsNameFileLineAndKey) {
  EXPECT_THAT(recipe_error("[model]\ninput = [1, 8, 8\n"), StartsWith("net.toml:"));
  EXPECT_EQ(recipe_error("[modle]\n"),
            "net.toml:1: modle: unknown section, did you mean 'model'? expected one of: name, model, loss, "
            "optimizer, schedule, data, train");
  EXPECT_EQ(recipe_error(""),
            "net.toml: model.input: expected the shape of one sample, such as [1, 28, 28], found nothing");
  EXPECT_EQ(recipe_error("[model]\ninput = [4]\n"),
            "net.toml:1: model.layer: expected at least one [[model.layer]], found none");
  EXPECT_THAT(recipe_error("[model]\ninput = [4, 0]\n"),
              AllOf(StartsWith("net.toml:2: model.input: expected a list"), HasSubstr("found [ 4, 0 ]")));
  EXPECT_EQ(recipe_error("[model]\ninput = [4]\n[[model.layer]]\nout_features = 3\n"),
            "net.toml:3: model.layer[0].type: expected a layer's type, such as \"Linear\", found nothing");
  EXPECT_THAT(
      recipe_error("[model]\ninput = [4]\n[[model.layer]]\ntype = \"Linaer\"\n"),
      StartsWith("net.toml:4: model.layer[0].type: unknown layer type \"Linaer\", did you mean 'Linear'?"));
  EXPECT_THAT(recipe_error(kSmall + "outfeatures = 3\n"),
              StartsWith("net.toml:15: model.layer[2].outfeatures: unknown key of Linear, did you mean "
                         "'out_features'? expected one of: "));
  EXPECT_THAT(recipe_error(kSmall + "[optimizer]\nlearning_rat = 3\n"),
              StartsWith("net.toml:16: optimizer.learning_rat: unknown option 'learning_rat'"));
  EXPECT_THAT(recipe_error(kSmall + "[train]\nepoch = 3\n"),
              StartsWith("net.toml:16: train.epoch: unknown key, did you mean 'epochs'?"));
}

TEST(Recipe, WrongValuesAreErrors) {
  EXPECT_EQ(recipe_error(kSmall + "[train]\nbatch_size = 0\n"),
            "net.toml:16: train.batch_size: expected a whole number of at least 1, found 0");
  EXPECT_EQ(recipe_error(kSmall + "[train]\nbatch_size = 2.5\n"),
            "net.toml:16: train.batch_size: expected a whole number of at least 1, found 2.5");
  EXPECT_EQ(recipe_error(kSmall + "[train]\nshuffle = \"no\"\n"),
            "net.toml:16: train.shuffle: expected true or false, found \"no\"");
  EXPECT_EQ(
      recipe_error(kSmall + "[data]\nval_fraction = 1.5\n"),
      "net.toml:16: data.val_fraction: expected a number from 0 to below 1, or -1 for the data's own share, "
      "found 1.5");
  EXPECT_EQ(recipe_error(kSmall + "[data]\nx = \"x.npy\"\n"),
            "net.toml:15: data.y: expected an .npy file of targets beside data.x, found nothing");
  EXPECT_THAT(recipe_error(kSmall + "[data]\nmean = [0.5]\n"),
              HasSubstr("data.mean: expected as many values of mean as of std, found 1 and 0"));
  EXPECT_THAT(recipe_error(kSmall + "[optimizer]\ntype = \"SGD\"\nlr = -0.1\n"),
              AllOf(StartsWith("net.toml:17: optimizer.lr: expected "), HasSubstr(", found -0.1")));
  EXPECT_THAT(recipe_error(kSmall + "[optimizer]\ntype = \"SGD\"\nlr = \"fast\"\n"),
              StartsWith("net.toml:17: optimizer.lr: expected a number, found \"fast\""));
  EXPECT_THAT(recipe_error(kSmall + "[optimizer]\ntype = \"SDG\"\n"),
              StartsWith("net.toml:16: optimizer.type: unknown optimizer \"SDG\""));
  EXPECT_THAT(recipe_error(kSmall + "[loss]\ntype = \"MSE\"\n"),
              StartsWith("net.toml:16: loss.type: unknown loss \"MSE\""));
  EXPECT_THAT(recipe_error(kSmall + "[loss]\ntype = \"CrossEntropyLoss\"\nlabel_smothing = 0.1\n"),
              StartsWith("net.toml:17: loss.label_smothing: "));
  EXPECT_THAT(recipe_error(kSmall + "[schedule]\ntype = \"StepLR\"\n"),
              StartsWith("net.toml:15: schedule.step_size: "));
  EXPECT_THAT(recipe_error(kSmall + "[schedule]\ngamma = 0.5\n"),
              StartsWith("net.toml:15: schedule.type: expected"));
  EXPECT_THAT(recipe_error(kSmall + "[schedule]\ntype = \"StepLR\"\nstep_size = 2\ninterval = \"day\"\n"),
              StartsWith("net.toml:18: schedule.interval: expected \"epoch\" or \"step\", found \"day\""));
}

TEST(Recipe, LayersThatDoNotFitAreErrors) {
  std::string text = kSmall;
  text.replace(text.find("kernel_size = 3"), 15, "kernel_size = 9");
  EXPECT_THAT(recipe_error(text),
              AllOf(StartsWith("net.toml:4: model.layer[0]: Conv2d does not fit its input 2x1x8x8: "),
                    HasSubstr("within the padded input of 8 rows")));
  EXPECT_THAT(recipe_error(kSmall + "in_features = 7\n"), AllOf(StartsWith("net.toml:1"), HasSubstr("144")));
  text = kSmall;
  text.replace(text.find("kernel_size = 3"), 15, "kernel_size = \"x\"");
  EXPECT_THAT(recipe_error(text),
              AllOf(StartsWith("net.toml:7: model.layer[0].kernel_size: expected a whole number"),
                    HasSubstr("found \"x\"")));
  EXPECT_THAT(recipe_error(kSmall + "from = [\"9\"]\n"),
              StartsWith("net.toml:15: model.layer[2].from: expected layers before this one"));
  EXPECT_THAT(recipe_error(kSmall + "name = \"1\"\n"),
              StartsWith("net.toml:15: model.layer[2].name: expected each name once, found \"1\" again"));
  EXPECT_THAT(recipe_error(kSmall + "name = \"a.b\"\n"),
              HasSubstr("model.layer[2].name: expected a name without dots"));
  EXPECT_THAT(recipe_error(kSmall + "name = \"input\"\n"), HasSubstr("expected another name than \"input\""));
}

TEST(Recipe, SetChangesOneKey) {
  Recipe r = Recipe::load("lenet5");
  r.set("optimizer.lr", "0.25");
  r.set("train.epochs", "3");
  r.set("model.layer.0.out_channels", "8");
  r.set("model.layer[3].out_channels", "12");
  r.set("data.name", "blobs");
  r.set("train.seed", "9");
  EXPECT_EQ(*r.optimizer.args.at("lr").get<double>(), 0.25);
  EXPECT_EQ(*r.optimizer.args.at("momentum").get<double>(), 0.9) << "the others stay";
  EXPECT_EQ(r.train.epochs, 3);
  EXPECT_EQ(r.data.name, "blobs");
  EXPECT_EQ(r.build()->state_dict()[2].second.shape(), (Shape{12, 8, 5, 5}));
}

TEST(Recipe, SetOfATypeDropsTheOldOnesArguments) {
  Recipe r = Recipe::load("lenet5");
  r.set("optimizer.type", "Adam");  // without quotes, as a shell gives it
  EXPECT_EQ(r.optimizer.type, "Adam");
  EXPECT_TRUE(r.optimizer.args.empty());
  r.set("optimizer.betas", "[0.8, 0.99]");
  r.set("schedule.type", "\"StepLR\"");
  r.set("schedule.step_size", "2");
  EXPECT_NO_THROW(r.check());
  r.set("model.layer.1.type", "Tanh");
  EXPECT_EQ(r.layers[1].type, "Tanh");
}

TEST(Recipe, SetOfDataReplacesTheOtherKind) {
  Recipe r = Recipe::load("lenet5");
  r.set("data.x", "x.npy");
  r.set("data.y", "y.npy");
  EXPECT_EQ(r.data.name, "");
  EXPECT_EQ(r.data.x, (std::filesystem::current_path() / "x.npy").string());
  EXPECT_NO_THROW(r.check());
  r.set("data.name", "mnist");
  EXPECT_EQ(r.data.x, "");
}

TEST(Recipe, SetRefusesWhatAFileMayNotHold) {
  const Recipe r = Recipe::load("lenet5");
  EXPECT_THAT(set_error(r, "optimizer.learnrate", "1"),
              StartsWith("--set: optimizer.learnrate: unknown option"));
  EXPECT_THAT(set_error(r, "optimizer.lr", "-1"), StartsWith("--set: optimizer.lr: expected "));
  EXPECT_EQ(
      set_error(r, "train.epoch", "3"),
      "--set: train.epoch: unknown key, did you mean 'epochs'? expected one of: epochs, batch_size, seed, "
      "shuffle, clip_norm, early_stopping, checkpoint_seconds, compile, precision");
  EXPECT_EQ(set_error(r, "train.batch_size", "0"),
            "--set: train.batch_size: expected a whole number of at least 1, found 0");
  EXPECT_THAT(set_error(r, "optimiser.lr", "1"), HasSubstr("did you mean 'optimizer'?"));
  EXPECT_THAT(set_error(r, "model.layer.99.bias", "true"),
              StartsWith("--set: model.layer.99.bias: unknown layer"));
  EXPECT_THAT(set_error(r, "model.layer.0.kernelsize", "3"), HasSubstr("did you mean 'kernel_size'?"));
  EXPECT_THAT(set_error(r, "lr", "1"), StartsWith("--set: lr: "));
  EXPECT_THAT(set_error(r, "train.epochs", "[1"), StartsWith("--set: train.epochs: expected a TOML value"));
  EXPECT_THAT(set_error(r, "train.epochs", "1\nx = 2"), HasSubstr("expected one TOML value"));
}

TEST(Recipe, MakesOptimizerAndSchedule) {
  Recipe r = Recipe::load("lenet5");
  nn::AnyModule net = r.build();
  const auto optimizer = r.make_optimizer(net->parameters());
  EXPECT_EQ(optimizer->lr(), 0.02);
  const auto schedule = r.make_scheduler(*optimizer, 860);
  EXPECT_FALSE(r.schedule_each_step());
  for (int i = 0; i < 10; ++i) schedule->step();
  EXPECT_NEAR(optimizer->lr(), 0, 1e-12) << "T_max is the number of epochs unless it is given";

  r.set("schedule.type", "OneCycleLR");
  r.set("schedule.max_lr", "0.1");
  EXPECT_TRUE(r.schedule_each_step());
  const auto other = r.make_optimizer(net->parameters());
  const auto cycle = r.make_scheduler(*other, 4);
  for (int i = 0; i < 40; ++i) cycle->step();
  EXPECT_THROW(cycle->step(), Error) << "10 epochs of 4 steps";
}

}  // namespace
}  // namespace hebb
