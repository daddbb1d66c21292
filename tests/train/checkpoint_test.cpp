// Checkpoints: a run that was stopped and goes on from its file equals one that never stopped, bit for bit.
#include "hebb/train/checkpoint.h"

#include "hebb/io/safetensors.h"
#include "hebb/nn/norm.h"
#include "hebb/ops/creation.h"
#include "hebb/optim/make.h"
#include "hebb/train/callbacks.h"
#include "tests/io/files.h"
#include "tests/train/support.h"

namespace hebb::train {
namespace {

using io::test::bytes_of_file;
using io::test::error_of;
using test::cross_entropy_loss;
using test::points;
using test::weights;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

/// With all that a network may hold: weights, running statistics, random numbers.
struct NormNet : nn::Module {
  nn::Linear in{4, 8};
  nn::BatchNorm1d norm{8};
  nn::Dropout drop{0.25};
  nn::Linear out{8, 3};
  Tensor forward(const Tensor& x) { return out(drop(tanh(norm(in(x))))); }
  HEBB_MEMBERS(in, norm, drop, out)
};

struct Setting {
  const char* name;
  const char* optimizer;
  optim::OptionMap options;
  const char* schedule;  // empty: none
  optim::OptionMap schedule_options;
  bool each_step;
};

constexpr int64_t kEpochs = 4, kSteps = 5;  // in an epoch

const std::vector<Setting>& settings() {
  static const std::vector<Setting> list{
      {"plain", "SGD", {{"lr", 0.1}}, "", {}, false},
      {"momentum_one_cycle",
       "SGD",
       {{"lr", 0.1}, {"momentum", 0.9}},
       "OneCycleLR",
       {{"max_lr", 0.2}, {"total_steps", double{kEpochs * kSteps}}},
       true},
      {"adam_cosine", "Adam", {{"lr", 0.01}}, "CosineAnnealingLR", {{"T_max", double{kEpochs}}}, false},
      {"adamw_exponential",
       "AdamW",
       {{"lr", 0.01}, {"amsgrad", true}},
       "ExponentialLR",
       {{"gamma", 0.9}},
       true},
      {"rmsprop_plateau",
       "RMSprop",
       {{"lr", 0.01}, {"momentum", 0.5}},
       "ReduceLROnPlateau",
       {{"patience", 0.0}, {"threshold", 0.5}},
       false},
  };
  return list;
}

/// A whole run, made anew from a seed.
struct Machine {
  explicit Machine(const Setting& s, uint64_t seed = 7) {
    manual_seed(seed);
    net = std::make_unique<NormNet>();
    optimizer = optim::make_optimizer(s.optimizer, net->parameters(), s.options);
    if (*s.schedule) schedule = optim::make_scheduler(s.schedule, *optimizer, s.schedule_options);
    trainer = std::make_unique<Trainer>(*net, cross_entropy_loss(), *optimizer,
                                        TrainerOptions{.epochs = kEpochs, .schedule_each_step = s.each_step});
    trainer->set_scheduler(schedule.get());
  }
  /// Trains, but no further than `steps`.
  bool fit(int64_t steps = -1) {
    struct Limit : Callback {
      int64_t steps;
      void on_batch_end(Trainer& t) override {
        if (t.progress().step == steps) t.interrupt();
      }
    };
    const auto limit = std::make_shared<Limit>();
    limit->steps = steps;
    trainer->add_callback(limit);
    return trainer->fit(train_set, &val_set);
  }

  std::unique_ptr<NormNet> net;
  std::unique_ptr<optim::Optimizer> optimizer;
  std::unique_ptr<optim::LRScheduler> schedule;
  std::unique_ptr<Trainer> trainer;
  data::DataLoader train_set{points(28), {.batch_size = 6, .shuffle = true, .seed = 11, .workers = 1}};
  data::DataLoader val_set{points(9, 1), {.batch_size = 9}};
};

struct CheckpointTest : io::test::IoTest {};
struct ResumeTest : CheckpointTest, testing::WithParamInterface<size_t> {};

TEST_P(ResumeTest, EqualsNeverStopped) {
  const Setting& setting = settings()[GetParam()];
  Machine whole(setting);
  ASSERT_TRUE(whole.fit());
  const auto random = default_generator().state().to_vector<int64_t>();

  for (const int64_t stop : {1, 7, 10, 14, 19}) {  // the first step, within epochs, at an epoch's end
    Machine stopped(setting);
    ASSERT_FALSE(stopped.fit(stop));
    save_checkpoint(path("c"), *stopped.trainer);
    Machine resumed(setting, 99);  // other weights and random numbers until the file is read
    ASSERT_NE(weights(*resumed.net), weights(*stopped.net));
    load_checkpoint(path("c"), *resumed.trainer);
    EXPECT_EQ(resumed.trainer->progress().step, stop);
    ASSERT_TRUE(resumed.fit());

    EXPECT_EQ(weights(*resumed.net), weights(*whole.net)) << "stopped at step " << stop;
    EXPECT_EQ(default_generator().state().to_vector<int64_t>(), random);
    EXPECT_EQ(resumed.optimizer->lr(), whole.optimizer->lr());
    const Progress &a = resumed.trainer->progress(), &b = whole.trainer->progress();
    EXPECT_EQ(a.best_epoch, b.best_epoch);
    ASSERT_EQ(a.history.size(), b.history.size());
    for (size_t i = 0; i < a.history.size(); ++i) {
      EXPECT_EQ(a.history[i].train_loss, b.history[i].train_loss) << "epoch " << i + 1;
      EXPECT_EQ(a.history[i].val_loss, b.history[i].val_loss);
      EXPECT_EQ(a.history[i].val_accuracy, b.history[i].val_accuracy);
      EXPECT_EQ(a.history[i].lr, b.history[i].lr);
    }
  }
}

TEST_F(CheckpointTest, OneThatDoesNotFitChangesNothing) {
  const Setting& adam = settings()[2];
  Machine machine(adam), other(adam, 5);
  ASSERT_FALSE(machine.fit(3));
  save_checkpoint(path("c"), *machine.trainer);
  auto file = io::load_safetensors(path("c"));
  for (auto& [name, t] : file.tensors)
    if (name.starts_with("optimizer.") && t.ndim() > 0) t = ones({1, 2, 3});
  io::save_safetensors(path("c"), file.tensors, file.metadata);
  const auto before = weights(*other.net);
  EXPECT_ANY_THROW(load_checkpoint(path("c"), *other.trainer));
  EXPECT_EQ(weights(*other.net), before);
}

INSTANTIATE_TEST_SUITE_P(Settings, ResumeTest, testing::Range<size_t>(0, 5),
                         [](const auto& p) { return std::string(settings()[p.param].name); });

TEST_F(CheckpointTest, EqualRunsGiveEqualWeightsByteForByte) {
  Machine a(settings()[1]), b(settings()[1]);
  manual_seed(7);
  save_weights(path("start"), *b.net);
  a.fit(3);
  save_weights(path("a"), *a.net);
  save_weights(path("again"), *a.net);
  EXPECT_EQ(bytes_of_file(path("a")), bytes_of_file(path("again"))) << "weights hold no time";
  EXPECT_NE(bytes_of_file(path("a")), bytes_of_file(path("start")));
  EXPECT_TRUE(io::load_safetensors(path("a")).metadata.empty());
  load_weights(path("a"), *b.net);
  EXPECT_EQ(weights(*b.net), weights(*a.net));
  save_weights(path("b"), *b.net);
  EXPECT_EQ(bytes_of_file(path("a")), bytes_of_file(path("b")));
}

TEST_F(CheckpointTest, WeightsHavePyTorchsNames) {
  NormNet net;
  save_weights(path("w"), net);
  std::vector<std::string> names;
  for (const auto& [name, t] : io::load_safetensors(path("w")).tensors) names.push_back(name);
  EXPECT_THAT(names, ElementsAre("in.weight", "in.bias", "norm.weight", "norm.bias", "norm.running_mean",
                                 "norm.running_var", "norm.num_batches_tracked", "out.weight", "out.bias"));
}

struct Other : nn::Module {
  nn::Linear in{4, 5};
  nn::Linear head{5, 3};
  Tensor forward(const Tensor& x) { return head(in(x)); }
  HEBB_MEMBERS(in, head)
};

TEST_F(CheckpointTest, WeightsOfAnotherNetworkListEveryName) {
  test::Net net;
  Other other;
  save_weights(path("w"), net);
  const auto before = weights(other);
  EXPECT_EQ(
      error_of([&] { load_weights(path("w"), other); }),
      path("w") +
          ": [load_state_dict] expected the weights of Other; missing: head.weight, head.bias; unexpected: "
          "out.bias, out.weight; wrong shape: in.weight (expected 5x4, got 8x4), in.bias (expected 5, got "
          "8)");
  EXPECT_EQ(weights(other), before) << "nothing is assigned";
}

TEST_F(CheckpointTest, RefusesWhatIsOfAnotherRun) {
  Machine run(settings()[2]);
  run.fit(2);
  save_checkpoint(path("c"), *run.trainer);
  auto error = [&](Trainer& t) { return error_of([&] { load_checkpoint(path("c"), t); }); };
  const std::string place = "[load_checkpoint] " + path("c") + ": ";

  Machine momentum(settings()[1]), plain(settings()[0]);
  EXPECT_EQ(error(*momentum.trainer), place + "expected the state of SGD, got that of \"Adam\"");
  Machine unscheduled(settings()[2]);
  unscheduled.trainer->set_scheduler(nullptr);
  EXPECT_EQ(error(*unscheduled.trainer), place + "expected no schedule, found one");
  Machine rescheduled(settings()[2]);
  optim::ExponentialLR other_schedule(*rescheduled.optimizer, {.gamma = 0.5});
  rescheduled.trainer->set_scheduler(&other_schedule);
  EXPECT_EQ(error(*rescheduled.trainer),
            place + "expected the state of ExponentialLR, got that of \"CosineAnnealingLR\"");

  Other net;
  const auto adam = optim::make_optimizer("Adam", net.parameters());
  optim::CosineAnnealingLR schedule(*adam, {.T_max = 2});
  Trainer other(net, cross_entropy_loss(), *adam);
  other.set_scheduler(&schedule);
  EXPECT_THAT(error(other), AllOf(StartsWith(place), HasSubstr("missing: head.weight")));

  save_weights(path("c"), *run.net);
  EXPECT_EQ(error(*run.trainer), place + "expected a checkpoint of hebb, got a file without its state");
}

TEST_F(CheckpointTest, RefusesADamagedFile) {
  Machine run(settings()[2]);
  run.fit(2);
  save_checkpoint(path("c"), *run.trainer);
  const std::string whole = bytes_of_file(path("c"));
  auto error = [&](const std::string& bytes) {
    file("c", bytes);
    return error_of([&] { load_checkpoint(path("c"), *run.trainer); });
  };
  EXPECT_THAT(error(whole.substr(0, whole.size() / 2)), HasSubstr(path("c")));
  EXPECT_THAT(error(whole.substr(0, 5)), HasSubstr("at least 8 bytes"));
  std::string changed = whole;
  changed.replace(changed.find("loss_count"), 10, "loss_cuont");
  EXPECT_THAT(error(changed), HasSubstr("expected the state of a run"));
  file("c", whole);
  EXPECT_NO_THROW(load_checkpoint(path("c"), *run.trainer));
}

TEST_F(CheckpointTest, AFullDiskLeavesTheOldFile) {
  Machine run(settings()[2]);
  run.fit(2);
  save_checkpoint(path("c"), *run.trainer);
  const std::string old = bytes_of_file(path("c"));
  run.fit(4);
  {
    const io::test::FileSizeLimit full(200);
    EXPECT_THAT(error_of([&] { save_checkpoint(path("c"), *run.trainer); }),
                AllOf(StartsWith("[save_safetensors] " + path("c") + ": expected to write "),
                      EndsWith("nothing was changed")));
  }
  EXPECT_EQ(bytes_of_file(path("c")), old);
  EXPECT_THAT(listing(), ElementsAre("c"));
  save_checkpoint(path("c"), *run.trainer);
  EXPECT_NE(bytes_of_file(path("c")), old);
}

}  // namespace
}  // namespace hebb::train
