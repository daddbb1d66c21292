// Schedules: PyTorch's rates step by step, exact state, messages.
#include "hebb/optim/lr_scheduler.h"

#include "hebb/ops/creation.h"
#include "hebb/optim/adaptive.h"
#include "hebb/optim/sgd.h"
#include "tests/optim/support.h"

namespace hebb::optim {
namespace {

using namespace test;
using testing::AllOf;
using testing::HasSubstr;

constexpr int kSteps = 100;

// Two groups, the second at a tenth of the rate.
std::unique_ptr<Optimizer> two_groups(const std::string& name, OptionMap options) {
  const double lr = *options.at("lr").get<double>();
  return make_optimizer(name, {ParamGroup{{ones({2})}}, ParamGroup{{ones({3})}, {{"lr", lr / 10}}}}, options);
}

double momentum_of(const Optimizer& o, size_t group) {
  for (const char* name : {"betas.0", "momentum"})
    if (const double* v = o.option(group, name)) return *v;
  return 0;
}

struct Golden {
  io::SafeTensors file = golden("schedules.safetensors");
  std::vector<double> operator[](const std::string& name) const {
    return file.find(name)->to_vector<double>();  // [101, 2]
  }
};

void expect_row(const std::vector<double>& got, const std::vector<double>& want, int t,
                const std::string& key) {
  for (size_t g = 0; g < 2; ++g) {
    const double w = want[static_cast<size_t>(t) * 2 + g];
    // At a cosine's lowest point the rate is what rounding left of 0.
    EXPECT_NEAR(got[g], w, 1e-12 * std::abs(w) + 1e-17) << key << " at step " << t << ", group " << g;
  }
}

// Steps from `first` to `last`; checks each against PyTorch's.
void run(const Golden& want, const std::string& key, LRScheduler& scheduler, int first, int last) {
  const auto lrs = want[key + ".lr"], metric = want["metric"];
  const bool has_momentum = want.file.find(key + ".momentum");
  const auto momenta = has_momentum ? want[key + ".momentum"] : std::vector<double>();
  for (int t = first; t <= last; ++t) {
    if (t > 0) scheduler.step(metric[static_cast<size_t>(t)]);
    expect_row(scheduler.last_lr(), lrs, t, key);
    const Optimizer& o = scheduler.optimizer();
    if (has_momentum) expect_row({momentum_of(o, 0), momentum_of(o, 1)}, momenta, t, key + " momentum");
  }
}

TEST(LRSchedulerTest, EqualsPyTorchStepByStepAndResumes) {
  const Golden want;
  ASSERT_EQ(want.file.metadata.size(), 16u);
  for (const auto& [key, text] : want.file.metadata) {
    const auto json = nlohmann::json::parse(text);
    const auto make = [&](Optimizer& o) {
      return make_scheduler(json["scheduler"], o, options_from(json["options"]));
    };
    const auto optimizer = two_groups(json["optimizer"], options_from(json["optimizer_options"]));
    const auto scheduler = make(*optimizer);
    run(want, key, *scheduler, 0, 45);

    const auto again = two_groups(json["optimizer"], options_from(json["optimizer_options"]));
    const auto resumed = make(*again);
    resumed->load_state(scheduler->state());
    run(want, key, *resumed, 46, kSteps);
    run(want, key, *scheduler, 46, kSteps);
    EXPECT_EQ(resumed->state(), scheduler->state()) << key;  // bit for bit
  }
}

using Schedulers = std::vector<std::shared_ptr<LRScheduler>>;

std::unique_ptr<LRScheduler> make_composite(const std::string& key, Optimizer& o) {
  if (key == "sequential")
    return std::make_unique<SequentialLR>(
        o,
        Schedulers{std::make_shared<LinearLR>(o, LinearLROptions{.start_factor = 0.1, .total_iters = 10}),
                   std::make_shared<CosineAnnealingLR>(o, CosineAnnealingLROptions{.T_max = 60}),
                   std::make_shared<ExponentialLR>(o, ExponentialLROptions{.gamma = 0.9})},
        std::vector<int64_t>{10, 70});
  if (key == "sequential_steps")
    return std::make_unique<SequentialLR>(
        o,
        Schedulers{std::make_shared<MultiStepLR>(o, MultiStepLROptions{.milestones = {5, 9}, .gamma = 0.5}),
                   std::make_shared<StepLR>(o, StepLROptions{.step_size = 8, .gamma = 0.7}),
                   std::make_shared<LinearLR>(o, LinearLROptions{.start_factor = 0.2})},
        std::vector<int64_t>{20, 61});
  return std::make_unique<ChainedScheduler>(
      Schedulers{std::make_shared<LinearLR>(o, LinearLROptions{.start_factor = 0.1, .total_iters = 10}),
                 std::make_shared<ExponentialLR>(o, ExponentialLROptions{.gamma = 0.98}),
                 std::make_shared<MultiStepLR>(o, MultiStepLROptions{.milestones = {30, 60}, .gamma = 0.3})});
}

TEST(LRSchedulerTest, SchedulesOfSchedulesEqualPyTorchAndResume) {
  const Golden want;
  for (const std::string key : {"sequential", "sequential_steps", "chained"}) {
    const auto optimizer = two_groups("SGD", {{"lr", 0.3}}), again = two_groups("SGD", {{"lr", 0.3}});
    const auto scheduler = make_composite(key, *optimizer), resumed = make_composite(key, *again);
    run(want, key, *scheduler, 0, 64);
    resumed->load_state(scheduler->state());
    run(want, key, *resumed, 65, kSteps);
    run(want, key, *scheduler, 65, kSteps);
    EXPECT_EQ(resumed->state(), scheduler->state()) << key;
  }
}

TEST(LRSchedulerTest, StateIsFiniteBeforeTheFirstMetric) {
  SGD sgd({ones({2})});
  ReduceLROnPlateau plateau(sgd);
  for (const auto& [name, value] : plateau.state()) EXPECT_TRUE(std::isfinite(value)) << name;
}

TEST(LRSchedulerTest, LoadListsAllThatDoesNotFitAndChangesNothing) {
  SGD sgd({ones({2})}, {.lr = 0.1});
  StepLR scheduler(sgd, {.step_size = 2});
  auto state = scheduler.state();
  state[0].first = "epoch";
  state[2].second = 5;  // lr.0
  EXPECT_THAT(error_of([&] { scheduler.load_state(state); }),
              AllOf(HasSubstr("[StepLR]"), HasSubstr("missing last_epoch"), HasSubstr("unexpected epoch")));
  EXPECT_EQ(sgd.lr(), 0.1);
}

TEST(LRSchedulerTest, BadOptionsSayWhatWasExpected) {
  SGD sgd({ones({2})});
  Adagrad adagrad({ones({2})});
  EXPECT_EQ(error_of([&] { StepLR(sgd, {}); }), "[StepLR] step_size: expected at least 1, got 0");
  EXPECT_EQ(error_of([&] { LinearLR(sgd, {.start_factor = 0}); }),
            "[LinearLR] start_factor: expected a number in (0, 1], got 0");
  EXPECT_EQ(error_of([&] { OneCycleLR(sgd, {.total_steps = 5}); }),
            "[OneCycleLR] max_lr: expected more than 0, got 0");
  EXPECT_EQ(error_of([&] { OneCycleLR(sgd, {.max_lr = 1, .total_steps = 5, .anneal_strategy = "cubic"}); }),
            "[OneCycleLR] anneal_strategy: expected \"cos\" or \"linear\", got \"cubic\"");
  EXPECT_EQ(error_of([&] {
              OneCycleLR(sgd, {.max_lr = {1, 2}, .total_steps = 5});
            }),
            "[OneCycleLR] max_lr: expected one number or 1, one for each parameter group, got [1, 2]");
  EXPECT_THAT(error_of([&] { OneCycleLR(adagrad, {.max_lr = 1, .total_steps = 5}); }),
              HasSubstr("expected an optimizer with momentum or betas, got Adagrad"));
  EXPECT_EQ(error_of([&] { ReduceLROnPlateau(sgd, {.factor = 1}); }),
            "[ReduceLROnPlateau] factor: expected a number in [0, 1), got 1");
  EXPECT_EQ(error_of([&] { ReduceLROnPlateau(sgd, {}).step(); }),
            "[ReduceLROnPlateau] expected a metric: step(validation_loss)");
  OneCycleLR cycle(sgd, {.max_lr = 1, .total_steps = 2});
  cycle.step();
  cycle.step();
  EXPECT_EQ(error_of([&] { cycle.step(); }), "[OneCycleLR] expected at most 2 steps (total_steps), got 3");
}

TEST(LRSchedulerTest, MakesByNameAndSuggests) {
  SGD sgd({ones({2})});
  EXPECT_EQ(make_scheduler("reduce_on_plateau", sgd)->name(), "ReduceLROnPlateau");
  EXPECT_EQ(make_scheduler("steplr", sgd, {{"step_size", 3}})->name(), "StepLR");
  EXPECT_THAT(
      error_of([&] { make_scheduler("CosinAnnealingLR", sgd); }),
      HasSubstr("unknown schedule 'CosinAnnealingLR', did you mean 'CosineAnnealingLR'? Expected one of: "
                "StepLR, MultiStepLR"));
  EXPECT_EQ(error_of([&] {
              make_scheduler("StepLR", sgd, {{"step_size", 2.5}});
            }),
            "[StepLR] step_size: expected a whole number, got 2.5");
}

}  // namespace
}  // namespace hebb::optim
