// The training loop: its events, its numbers, and which epoch is the best.
#include "hebb/train/trainer.h"

#include "hebb/autograd/grad.h"
#include "hebb/ops/creation.h"
#include "hebb/ops/view.h"
#include "hebb/optim/adam.h"
#include "tests/io/files.h"
#include "tests/train/support.h"

namespace hebb::train {
namespace {

using io::test::error_of;
using test::cross_entropy_loss;
using test::Net;
using test::points;
using test::ScriptedRun;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// Writes down each event that it sees.
class Recorder : public Callback {
 public:
  explicit Recorder(std::vector<std::string>& log, std::string name = "")
      : log_(log), name_(std::move(name)) {}
  void on_fit_begin(Trainer&) override { add("fit begin"); }
  void on_fit_end(Trainer&) override { add("fit end"); }
  void on_epoch_begin(Trainer& t) override { add("epoch begin", t.progress().epoch); }
  void on_epoch_end(Trainer& t) override { add("epoch end", t.progress().epoch); }
  void on_batch_begin(Trainer&, const data::Batch& b) override { add("batch begin", b.size()); }
  void on_forward_end(Trainer& t, const Tensor& output, const Tensor& loss) override {
    add("forward end", output.shape()[0]);
    EXPECT_EQ(loss.numel(), 1);
    weight_ = t.net().parameters()[0].detach().to_vector<float>();
  }
  void on_backward_end(Trainer& t) override {
    add("backward end");
    EXPECT_TRUE(t.net().parameters()[0].grad().defined());
    EXPECT_EQ(t.net().parameters()[0].to_vector<float>(), weight_) << "the step is not done yet";
  }
  void on_batch_end(Trainer& t) override {
    add("batch end", t.progress().step);
    EXPECT_NE(t.net().parameters()[0].to_vector<float>(), weight_) << "the step is done";
  }
  void on_evaluate_begin(Trainer&) override { add("evaluate begin"); }
  void on_evaluate_batch_end(Trainer&, const data::Batch& b, const Tensor& output) override {
    add("evaluate batch end", b.size());
    EXPECT_EQ(output.shape(), (Shape{b.size(), 3}));
  }
  void on_evaluate_end(Trainer&, const Metrics& m) override { add("evaluate end", m.n); }
  void on_predict_begin(Trainer&) override { add("predict begin"); }
  void on_predict_batch_end(Trainer&, const Tensor& output) override {
    add("predict batch end", output.shape()[0]);
  }
  void on_predict_end(Trainer&) override { add("predict end"); }

 private:
  void add(const std::string& event, int64_t number = -1) {
    log_.push_back(name_ + event + (number < 0 ? "" : " " + std::to_string(number)));
  }
  std::vector<std::string>& log_;
  std::string name_;
  std::vector<float> weight_;
};

/// Calls a function after each step.
struct AfterStep : Callback {
  explicit AfterStep(std::function<void(Trainer&)> f) : action(std::move(f)) {}
  void on_batch_end(Trainer& t) override { action(t); }
  std::function<void(Trainer&)> action;
};

struct TrainerTest : ::testing::Test {
  void SetUp() override {
    manual_seed(1);
    net = std::make_unique<Net>();
    optimizer = std::make_unique<optim::SGD>(net->parameters(), optim::SGDOptions{.lr = 0.1});
  }
  Trainer trainer(const TrainerOptions& o = {}) { return {*net, cross_entropy_loss(), *optimizer, o}; }

  std::unique_ptr<Net> net;
  std::unique_ptr<optim::SGD> optimizer;
  data::DataLoader train_set{points(5), {.batch_size = 3}}, val_set{points(7, 1), {.batch_size = 4}};
};

TEST_F(TrainerTest, EventsComeInOrder) {
  std::vector<std::string> log;
  Trainer t = trainer({.epochs = 2});
  t.add_callback(std::make_shared<Recorder>(log));
  EXPECT_TRUE(t.fit(train_set, &val_set));
  EXPECT_THAT(log, ElementsAre("fit begin",                                                       //
                               "epoch begin 0",                                                   //
                               "batch begin 3", "forward end 3", "backward end", "batch end 1",   //
                               "batch begin 2", "forward end 2", "backward end", "batch end 2",   //
                               "evaluate begin", "evaluate batch end 4", "evaluate batch end 3",  //
                               "evaluate end 7", "epoch end 1",                                   //
                               "epoch begin 1",                                                   //
                               "batch begin 3", "forward end 3", "backward end", "batch end 3",   //
                               "batch begin 2", "forward end 2", "backward end", "batch end 4",   //
                               "evaluate begin", "evaluate batch end 4", "evaluate batch end 3",  //
                               "evaluate end 7", "epoch end 2", "fit end"));
  log.clear();
  t.predict(val_set);
  EXPECT_THAT(log, ElementsAre("predict begin", "predict batch end 4", "predict batch end 3", "predict end"));
}

TEST_F(TrainerTest, CallbacksAreCalledInTheOrderOfTheirAdding) {
  std::vector<std::string> log;
  Trainer t = trainer();
  t.add_callback(std::make_shared<Recorder>(log, "a: "));
  t.add_callback(std::make_shared<Recorder>(log, "b: "));
  t.predict(val_set);
  EXPECT_THAT(log, ElementsAre("a: predict begin", "b: predict begin", "a: predict batch end 4",
                               "b: predict batch end 4", "a: predict batch end 3", "b: predict batch end 3",
                               "a: predict end", "b: predict end"));
}

TEST_F(TrainerTest, EvaluateGivesMeansOverSamples) {
  Trainer t = trainer();
  const Metrics m = t.evaluate(val_set);  // batches of 4 and 3
  const auto set = points(7, 1);
  net->eval();
  const auto scores = (*net)(set->x()).detach().to_vector<double>();
  double loss = 0, correct = 0;
  for (size_t i = 0; i < 7; ++i) {
    const double* s = &scores[3 * i];
    loss += std::log(std::exp(s[0]) + std::exp(s[1]) + std::exp(s[2])) - s[i % 3];
    correct += std::max_element(s, s + 3) - s == static_cast<int64_t>(i % 3);
  }
  EXPECT_EQ(m.n, 7);
  EXPECT_NEAR(m.loss, loss / 7, 1e-6);
  EXPECT_DOUBLE_EQ(m.accuracy, correct / 7);
}

TEST_F(TrainerTest, RegressionHasNoAccuracy) {
  Trainer t(*net, [](const Tensor& out, const Tensor&) { return mean(out * out); }, *optimizer,
            {.task = Task::regression});
  EXPECT_TRUE(std::isnan(t.evaluate(val_set).accuracy));
}

TEST_F(TrainerTest, PredictGivesAllOutputsInOrder) {
  Trainer t = trainer();
  const Tensor y = t.predict(val_set);
  EXPECT_EQ(y.shape(), (Shape{7, 3}));
  EXPECT_FALSE(y.requires_grad());
  net->eval();
  EXPECT_EQ(y.to_vector<float>(), (*net)(points(7, 1)->x()).detach().to_vector<float>())
      << "nothing is dropped";
}

TEST_F(TrainerTest, EvaluateAndPredictPutTheModeBack) {
  Trainer t = trainer();
  for (const bool training : {true, false}) {
    net->train(training);
    t.evaluate(val_set);
    EXPECT_EQ(net->is_training(), training);
    EXPECT_EQ(net->drop.is_training(), training);
    t.predict(val_set);
    EXPECT_EQ(net->drop.is_training(), training);
  }
  net->train();
  net->drop.eval();  // a part that its owner holds still
  t.evaluate(val_set);
  EXPECT_TRUE(net->is_training());
  EXPECT_FALSE(net->drop.is_training());
  EXPECT_TRUE(grad_enabled());
}

TEST_F(TrainerTest, TheLoaderOfARunningEpochIsNotRestarted) {
  Trainer t = trainer();
  t.add_callback(std::make_shared<AfterStep>([](Trainer& own) { own.evaluate(*own.train_loader()); }));
  EXPECT_THAT(error_of([&] { t.fit(train_set); }), HasSubstr("[evaluate] expected another loader"));
  Trainer again = trainer();
  EXPECT_TRUE(again.fit(train_set, &train_set)) << "between epochs it is free";
}

TEST_F(TrainerTest, NumbersAsTargetsHaveNoAccuracy) {
  nn::Linear line{2, 1};
  optim::SGD sgd(line.parameters(), optim::SGDOptions{.lr = 0.1});
  Trainer t(
      line, [](const Tensor& out, const Tensor& y) { return mse_loss(out, y); }, sgd);
  data::DataLoader numbers(std::make_shared<data::ArrayDataset>(ones({4, 2}), ones({4, 1})), {});
  EXPECT_TRUE(std::isnan(t.evaluate(numbers).accuracy));
}

TEST_F(TrainerTest, TrainLossIsTheMeanOverTheEpochsSamples) {
  std::vector<double> losses;
  Trainer t = trainer();
  t.add_callback(std::make_shared<AfterStep>([&](Trainer& own) { losses.push_back(own.last_loss()); }));
  t.fit(train_set);
  ASSERT_EQ(losses.size(), 2u);
  const EpochLog& e = t.progress().history.at(0);
  EXPECT_DOUBLE_EQ(e.train_loss, (3 * losses[0] + 2 * losses[1]) / 5);
  EXPECT_TRUE(std::isnan(e.val_loss));
  EXPECT_TRUE(std::isnan(e.val_accuracy));
  EXPECT_EQ(e.lr, 0.1);
  EXPECT_GT(e.seconds, 0);
}

TEST_F(TrainerTest, InterruptGoesOnWhereItStopped) {
  Trainer t = trainer({.epochs = 3});
  int64_t at = 3;
  t.add_callback(std::make_shared<AfterStep>([&](Trainer& own) {
    if (own.progress().step == at) own.interrupt();
  }));
  EXPECT_FALSE(t.fit(train_set, &val_set));
  EXPECT_EQ(t.progress().epoch, 1);
  EXPECT_EQ(t.progress().batch, 1);
  EXPECT_EQ(t.progress().history.size(), 1u);
  at = 4;  // an epoch's last step: the epoch is finished first
  EXPECT_FALSE(t.fit(train_set, &val_set));
  EXPECT_EQ(t.progress().epoch, 2);
  EXPECT_EQ(t.progress().batch, 0);
  EXPECT_TRUE(t.fit(train_set, &val_set));
  EXPECT_EQ(t.progress().step, 6);
  EXPECT_EQ(t.progress().history.size(), 3u);
}

TEST_F(TrainerTest, StopEndsTheRun) {
  Trainer t = trainer({.epochs = 9});
  t.add_callback(std::make_shared<AfterStep>([](Trainer& own) {
    if (own.progress().step == 3) own.stop();
  }));
  EXPECT_TRUE(t.fit(train_set)) << "stopped on purpose: finished";
  EXPECT_EQ(t.progress().step, 3);
}

TEST_F(TrainerTest, ClipsTheNormOfAllGradients) {
  struct Norm : Callback {
    double most = 0;
    void on_backward_end(Trainer& t) override {
      double squares = 0;
      for (const Tensor& p : t.net().parameters())
        for (const double g : p.grad().to_vector<double>()) squares += g * g;
      most = std::max(most, std::sqrt(squares));
    }
  };
  const auto free = std::make_shared<Norm>(), clipped = std::make_shared<Norm>();
  Trainer a = trainer(), b = trainer({.clip_norm = 0.05});
  a.add_callback(free);
  a.fit(train_set);
  EXPECT_GT(free->most, 0.1) << "else there is nothing to clip";
  b.add_callback(clipped);
  b.fit(train_set);
  EXPECT_NEAR(clipped->most, 0.05, 1e-4);
}

// ---- Compiled steps

/// Losses and weights of a run of three epochs.
std::pair<std::vector<double>, std::vector<float>> run_of(bool compile, LossFn loss, bool look = false) {
  manual_seed(2);
  Net net;
  optim::Adam adam(net.parameters(), {.lr = 0.05});
  optim::CosineAnnealingLR schedule(adam, {.T_max = 6});
  Trainer t(net, std::move(loss), adam,
            {.epochs = 3, .clip_norm = 0.5, .schedule_each_step = true, .compile = compile});
  t.set_scheduler(&schedule);
  struct Looks : Callback {
    void on_backward_end(Trainer& own) override {
      EXPECT_TRUE(own.net().parameters()[0].grad().defined());
      EXPECT_NO_THROW(own.net().parameters()[0].grad().to_vector<float>());
    }
  };
  if (look) t.add_callback(std::make_shared<Looks>());
  std::vector<double> losses;
  t.add_callback(std::make_shared<AfterStep>([&](Trainer& own) { losses.push_back(own.last_loss()); }));
  data::DataLoader train_set(points(8), {.batch_size = 3}), val_set(points(7, 1), {.batch_size = 4});
  t.fit(train_set, &val_set);
  for (const EpochLog& e : t.progress().history) losses.push_back(e.val_loss);
  return {losses, test::weights(net)};
}

std::string said_by(const std::function<void()>& run) {
  ::testing::internal::CaptureStderr();
  run();
  return ::testing::internal::GetCapturedStderr();
}

TEST(CompiledTrainer, EqualsEager) {
  const auto want = run_of(false, cross_entropy_loss());
  EXPECT_EQ(want.first.size(), 12u);
  EXPECT_EQ(said_by([&] { EXPECT_EQ(run_of(true, cross_entropy_loss()), want); }), "");
  EXPECT_EQ(run_of(true, cross_entropy_loss(), true), want) << "a callback that looks into steps";
}

TEST(CompiledTrainer, SaysWhyAStepRunsOpByOp) {
  const Tensor weight = tensor({1, 2, 3});
  const LossFn weighted = [=](const Tensor& out, const Tensor& y) {
    return cross_entropy(out, y, {.weight = weight});
  };
  const auto want = run_of(false, weighted);
  const std::string said = said_by([&] { EXPECT_EQ(run_of(true, weighted), want); });
  EXPECT_THAT(
      said,
      HasSubstr("hebb: train_step runs op by op from here on, for it cannot be compiled: [cross_entropy"));
  EXPECT_THAT(said, HasSubstr("input 2 (f32 3) is none of these"));
  EXPECT_THAT(said, HasSubstr("hebb: evaluate runs op by op"));
  EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 2) << "each said once";

  const LossFn looks = [](const Tensor& out, const Tensor& y) {
    const Tensor loss = cross_entropy(out, y);
    return loss.item<double>() > 1e9 ? loss * 2 : loss;
  };
  EXPECT_THAT(said_by([&] { EXPECT_EQ(run_of(true, looks), run_of(false, looks)); }),
              HasSubstr("tests/train/trainer_test.cpp:"));
}

TEST(CompiledTrainer, FollowsNumbersThatChange) {
  int calls = 0;
  const LossFn each_step = [&](const Tensor& out, const Tensor& y) {
    return cross_entropy(out, y) * (1.0 + 0.5 * calls++);
  };
  ::testing::internal::CaptureStderr();
  run_of(true, each_step);
  EXPECT_THAT(::testing::internal::GetCapturedStderr(),
              HasSubstr("train_step runs op by op from here on, for it cannot be compiled: it depends on"));

  // Later calls look at values, which the first did not.
  const auto looks_later = [](int& traced) {
    return [&traced](const Tensor& out, const Tensor& y) {
      const Tensor loss = cross_entropy(out, y);
      if (++traced > 2) {
        EXPECT_GT(loss.item<double>(), 0);
      }
      return loss;
    };
  };
  int first = 0, second = 0;
  const auto want = run_of(false, looks_later(first));
  EXPECT_THAT(said_by([&] { EXPECT_EQ(run_of(true, looks_later(second)), want); }),
              HasSubstr("tests/train/trainer_test.cpp:"));

  // By epoch: a coefficient that the callbacks of an epoch set.
  const auto annealed = [](bool compile) {
    manual_seed(2);
    Net net;
    optim::SGD sgd(net.parameters(), {.lr = 0.1});
    double factor = 1;
    Trainer t(net, [&](const Tensor& out, const Tensor& y) { return cross_entropy(out, y) * factor; }, sgd,
              {.epochs = 4, .compile = compile});
    struct Anneal : Callback {
      explicit Anneal(double& f) : factor(f) {}
      void on_epoch_begin(Trainer&) override { factor *= 0.5; }
      double& factor;
    };
    t.add_callback(std::make_shared<Anneal>(factor));
    data::DataLoader train_set(points(12), {.batch_size = 3});
    t.fit(train_set);
    return test::weights(net);
  };
  EXPECT_EQ(said_by([&] { EXPECT_EQ(annealed(true), annealed(false)); }), "");
}

TEST_F(TrainerTest, ScheduleMovesByEpochOrByStep) {
  for (const bool each_step : {false, true}) {
    optimizer->set_lr(1);
    optim::ExponentialLR schedule(*optimizer, {.gamma = 0.5});
    std::vector<double> rates;
    struct Rates : Callback {
      std::vector<double>* list;
      void on_backward_end(Trainer& t) override { list->push_back(t.optimizer().lr()); }
    };
    const auto rec = std::make_shared<Rates>();
    rec->list = &rates;
    Trainer t = trainer({.epochs = 2, .schedule_each_step = each_step});
    t.set_scheduler(&schedule);
    t.add_callback(rec);
    t.fit(train_set);
    if (each_step) EXPECT_THAT(rates, ElementsAre(1, 0.5, 0.25, 0.125));
    else EXPECT_THAT(rates, ElementsAre(1, 1, 0.5, 0.5));
  }
}

TEST(TrainerPlateau, WatchesValidationElseTraining) {
  for (const bool validation : {true, false}) {
    // The watched loss stays, the other falls.
    const double val = validation ? 1 : kNone;
    auto train = [&](double falling) { return validation ? falling : 1; };
    ScriptedRun run({{train(3), val}, {train(2), val}, {train(1), val}, {train(0), val}});
    optim::ReduceLROnPlateau schedule(run.trainer.optimizer(), {.factor = 0.5, .patience = 0});
    run.trainer.set_scheduler(&schedule);
    run.fit();
    EXPECT_EQ(run.trainer.optimizer().lr(), 0.0625) << "0.5, halved three times";
  }
}

// ---- The best epoch

int64_t best_of(std::vector<test::Script> script, Task task = Task::classes) {
  ScriptedRun run(std::move(script), task);
  run.fit();
  return run.trainer.progress().best_epoch;
}

TEST(BestEpoch, HasTheHighestAccuracy) {
  EXPECT_EQ(best_of({{1, 0.1, 0}, {1, 0.9, 2}, {1, 0.2, 1}}), 2) << "whatever the losses";
}
TEST(BestEpoch, ThenTheLowerValidationLoss) {
  EXPECT_EQ(best_of({{1, 0.9, 1}, {5, 0.2, 1}, {0, 0.3, 1}}), 2) << "whatever the training losses";
}
TEST(BestEpoch, ThenTheEarlier) { EXPECT_EQ(best_of({{3, 0.5, 1}, {2, 0.4, 1}, {1, 0.4, 1}}), 2); }
TEST(BestEpoch, WithoutValidationHasTheLowestTrainingLoss) {
  EXPECT_EQ(best_of({{3}, {1}, {2}}), 2);
  EXPECT_EQ(best_of({{1}, {1}}), 1) << "the earlier";
}
TEST(BestEpoch, OfARegressionHasTheLowestValidationLoss) {
  EXPECT_EQ(best_of({{1, 3, 2}, {2, 1, 0}, {0, 2, 1}}, Task::regression), 2);
}
TEST(BestEpoch, IsKnownAsItEnds) {
  struct Bests : Callback {
    std::vector<int64_t> epochs;
    void on_epoch_end(Trainer& t) override {
      if (t.is_best()) epochs.push_back(t.progress().epoch);
    }
  };
  ScriptedRun run({{4}, {5}, {3}, {3}, {2}});
  const auto bests = std::make_shared<Bests>();
  run.trainer.add_callback(bests);
  run.fit();
  EXPECT_THAT(bests->epochs, ElementsAre(1, 3, 5));
}

// ---- Odds and ends

TEST(PredictedClasses, ByTask) {
  auto of = [](std::vector<float> v, const Shape& s, Task t) {
    return predicted_classes(Tensor::from(v, s), t).to_vector<int64_t>();
  };
  EXPECT_THAT(of({1, 3, 2, 5, 4, 5}, {2, 3}, Task::classes), ElementsAre(1, 0)) << "the first of equal ones";
  EXPECT_THAT(of({-1, 0, 2}, {3, 1}, Task::binary), ElementsAre(0, 0, 1));
  EXPECT_THAT(of({-1, 0.5}, {2}, Task::binary), ElementsAre(0, 1));
  EXPECT_THAT(error_of([&] { of({1}, {1, 1}, Task::regression); }), HasSubstr("got one for regression"));
  EXPECT_THAT(error_of([&] { of({1}, {1}, Task::classes); }), HasSubstr("2 dimensions [N, classes], got 1"));
}

TEST_F(TrainerTest, RefusesOptionsThatMakeNoSense) {
  EXPECT_EQ(error_of([&] { trainer({.epochs = -1}); }), "[Trainer] expected at least 0 epochs, got -1");
  EXPECT_EQ(error_of([&] { trainer({.clip_norm = -1}); }),
            "[Trainer] expected a clip_norm of at least 0, got -1");
  optim::SGD other(net->parameters());
  optim::ExponentialLR schedule(other, {.gamma = 0.5});
  Trainer t = trainer();
  EXPECT_EQ(error_of([&] { t.set_scheduler(&schedule); }),
            "[Trainer] expected a schedule of the trainer's own optimizer");
}

}  // namespace
}  // namespace hebb::train
