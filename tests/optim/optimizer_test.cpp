// Optimizers: PyTorch's values, exact state, parameter groups, values that others hold, messages.
#include "hebb/optim/optimizer.h"

#include "hebb/autograd/grad.h"
#include "hebb/ops/creation.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/random.h"
#include "hebb/ops/reduce.h"
#include "hebb/ops/view.h"
#include "hebb/optim/adam.h"
#include "hebb/optim/adaptive.h"
#include "hebb/optim/clip.h"
#include "hebb/optim/sgd.h"
#include "tests/optim/support.h"

namespace hebb::optim {
namespace {

using namespace test;
using testing::AllOf;
using testing::HasSubstr;

const std::vector<std::string>& cases() {
  static const std::vector<std::string> keys = [] {
    std::vector<std::string> out;
    for (const auto& [key, text] : golden("optim.safetensors").metadata) out.push_back(key);
    return out;
  }();
  return keys;
}

std::unique_ptr<Optimizer> make_case(const std::string& key, const std::vector<Tensor>& params) {
  static const auto file = golden("optim.safetensors");
  const auto json = nlohmann::json::parse(file.metadata.at(key));
  return make_optimizer(json["optimizer"], params, options_from(json["options"]));
}

void expect_pytorch(DType type, double tolerance) {
  const auto file = golden("optim.safetensors");
  ASSERT_EQ(cases().size(), 18u);
  for (const std::string& key : cases()) {
    auto params = toy_params(type);
    const auto optimizer = make_case(key, params);
    int done = 0;
    for (const int t : {1, 10, 100}) {
      run_toy(*optimizer, params, done + 1, t);
      done = t;
      for (size_t p = 0; p < params.size(); ++p) {
        const std::string name = key + "." + std::to_string(p) + ".step" + std::to_string(t);
        const Tensor* expected = file.find(name);
        ASSERT_NE(expected, nullptr) << name;
        const auto want = expected->to_vector<double>(), got = params[p].to_vector<double>();
        for (size_t i = 0; i < want.size(); ++i)
          EXPECT_NEAR(got[i], want[i], tolerance * (1 + std::abs(want[i]))) << name << " at " << i;
      }
    }
  }
}

TEST(OptimizerTest, EqualsPyTorchOver100Steps) { expect_pytorch(f64, 1e-10); }
TEST(OptimizerTest, ComputesInF32ForF32) { expect_pytorch(f32, 2e-4); }

// Bits of all parameters and all state.
std::vector<std::vector<double>> everything(Optimizer& optimizer, const std::vector<Tensor>& params) {
  std::vector<std::vector<double>> out;
  for (const Tensor& p : params) out.push_back(p.to_vector<double>());
  for (const auto& [name, t] : optimizer.state()) out.push_back(t.to_vector<double>());
  return out;
}

// A step with a loss of its own, clipped gradients and an update.
Tensor whole_step(Optimizer& optimizer, const std::vector<Tensor>& params, std::span<const Tensor> slopes) {
  optimizer.zero_grad();
  Tensor loss = zeros({});
  for (size_t p = 0; p < params.size(); ++p) {
    const Tensor w = params[p];
    loss = loss + sum(0.15 * w * w + slopes[p] * w);
  }
  backward(loss);
  clip_grad_norm_(params, 1.5);
  optimizer.step();
  return loss;
}

TEST(OptimizerTest, CompiledStepsEqualEagerOnes) {
  for (const DType type : {f32, f64, bf16}) {
    for (const std::string& key : cases()) {
      SCOPED_TRACE(key + " " + std::string(name_of(type)));
      auto a = toy_params(type), b = toy_params(type);
      const auto eager = make_case(key, a), compiled = make_case(key, b);
      const Compiled step =
          compile([&](auto slopes) { return std::vector{whole_step(*compiled, b, slopes)}; }, {b, *compiled});
      for (int t = 0; t < 6; ++t) {
        if (t == 3) eager->set_lr(0.5 * eager->lr()), compiled->set_lr(0.5 * compiled->lr());
        const Tensor held = b[0].detach();
        const auto before = held.to_vector<double>();
        std::vector<Tensor> slopes;
        for (const Shape& s : toy_shapes()) slopes.push_back(randn(s, type));
        const Tensor want = whole_step(*eager, a, slopes), got = step(slopes)[0];
        EXPECT_EQ(got.item<double>(), want.item<double>()) << "loss of step " << t;
        EXPECT_EQ(everything(*compiled, b), everything(*eager, a)) << "after step " << t;
        EXPECT_EQ(held.to_vector<double>(), before) << "values that others hold stay";
      }
      EXPECT_EQ(step.num_plans(), 1u) << "a learning rate is no reason to trace again";
    }
  }
}

TEST(OptimizerTest, CompiledStepsChangeMemoryInPlace) {
  auto params = toy_params(f32);
  Adam adam(params, {.lr = 0.01});
  const Compiled step =
      compile([&](auto slopes) { return std::vector{whole_step(adam, params, slopes)}; }, {params, adam});
  const std::vector<Tensor> slopes{ones({3, 4}), ones({5})};
  step(slopes);
  const void* const at[] = {params[0].raw_data(), params[1].raw_data()};
  const auto before = params[0].to_vector<float>();
  step(slopes);
  EXPECT_EQ(params[0].raw_data(), at[0]);
  EXPECT_EQ(params[1].raw_data(), at[1]);
  EXPECT_NE(params[0].to_vector<float>(), before);
}

TEST(OptimizerTest, SlotsThatComeIntoUseAreTracedAnew) {
  auto a = toy_params(f32), b = toy_params(f32);
  SGD eager(a, {.lr = 0.1}), compiled(b, {.lr = 0.1});
  const Compiled step =
      compile([&](auto slopes) { return std::vector{whole_step(compiled, b, slopes)}; }, {b, compiled});
  const std::vector<Tensor> slopes{ones({3, 4}), ones({5})};
  for (int t = 0; t < 4; ++t) {
    if (t == 2) eager.groups()[0].momentum = compiled.groups()[0].momentum = 0.9;
    whole_step(eager, a, slopes);
    step(slopes);
    EXPECT_EQ(everything(compiled, b), everything(eager, a)) << "after step " << t;
  }
  EXPECT_EQ(step.num_plans(), 2u);
}

TEST(OptimizerTest, ACompiledStepNamesTheOptimizer) {
  auto params = toy_params(f32);
  SGD sgd(params, {.lr = 0.1});
  const Compiled step =
      compile([&](auto slopes) { return std::vector{whole_step(sgd, params, slopes)}; }, {params});
  const std::vector<Tensor> slopes{ones({3, 4}), ones({5})};
  EXPECT_THAT(error_of([&] { step(slopes); }), HasSubstr("[SGD] expected to be named as state"));
}

TEST(OptimizerTest, KeepsF32StateForBf16) {
  auto params = toy_params(bf16);
  Adam adam(params, {.lr = 0.01});
  run_toy(adam, params, 1, 5);
  for (const auto& [name, t] : adam.state()) EXPECT_EQ(t.dtype(), name.ends_with("step") ? i64 : f32) << name;
  EXPECT_EQ(params[0].dtype(), bf16);
  EXPECT_NE(params[0].to_vector<float>(), toy_params(bf16)[0].to_vector<float>());
}

TEST(OptimizerTest, StateRoundTripsBitForBit) {
  for (const std::string& key : cases()) {
    for (const int saved_at : {0, 1, 37}) {
      auto params = toy_params(f32);
      const auto optimizer = make_case(key, params);
      run_toy(*optimizer, params, 1, saved_at);
      const auto state = optimizer->state();
      const auto options = optimizer->options();
      std::vector<Tensor> copies;
      for (const Tensor& p : params) copies.push_back(clone(p.detach()).requires_grad_());
      run_toy(*optimizer, params, saved_at + 1, 60);  // must not change the state that was taken

      const auto resumed = make_case(key, copies);
      resumed->load_state(state, options);
      run_toy(*resumed, copies, saved_at + 1, 60);
      for (size_t p = 0; p < params.size(); ++p)
        EXPECT_EQ(params[p].to_vector<float>(), copies[p].to_vector<float>()) << key << " from " << saved_at;
      const auto one = optimizer->state(), other = resumed->state();
      ASSERT_EQ(one.size(), other.size());
      for (size_t i = 0; i < one.size(); ++i) {
        EXPECT_EQ(one[i].first, other[i].first);
        EXPECT_EQ(one[i].second.to_vector<float>(), other[i].second.to_vector<float>()) << one[i].first;
      }
    }
  }
}

TEST(OptimizerTest, NamesStateByParameter) {
  auto params = toy_params();
  std::vector<std::string> names;
  for (const auto& [name, t] : Adam(params, {.amsgrad = true}).state()) names.push_back(name);
  EXPECT_EQ(names, (std::vector<std::string>{"0.step", "0.exp_avg", "0.exp_avg_sq", "0.max_exp_avg_sq",
                                             "1.step", "1.exp_avg", "1.exp_avg_sq", "1.max_exp_avg_sq"}));
  const NamedValues want{{"0.lr", 0.001},       {"0.betas.0", 0.9}, {"0.betas.1", 0.999}, {"0.eps", 1e-8},
                         {"0.weight_decay", 0}, {"0.amsgrad", 1},   {"0.maximize", 0}};
  EXPECT_EQ(Adam(params, {.amsgrad = true}).options(), want);
}

TEST(OptimizerTest, LoadListsAllThatDoesNotFitAndChangesNothing) {
  auto params = toy_params();
  SGD sgd(params, {.lr = 0.1, .momentum = 0.9});
  run_toy(sgd, params, 1, 3);
  auto state = sgd.state();
  auto options = sgd.options();
  state[1].second = zeros({7}, f64);  // 0.momentum_buffer
  state[2].first = "1.stride";
  options[0].second = -1;
  options.emplace_back("1.lr", 0.1);
  EXPECT_THAT(error_of([&] { sgd.load_state(state, options); }),
              AllOf(HasSubstr("[SGD] the state does not fit"),
                    HasSubstr("0.momentum_buffer: expected shape 3x4, got 7"), HasSubstr("missing 1.step"),
                    HasSubstr("unexpected 1.stride"), HasSubstr("lr: expected at least 0, got -1"),
                    HasSubstr("unexpected option 1.lr")));
  EXPECT_EQ(sgd.lr(), 0.1);
  EXPECT_EQ(sgd.state()[0].second.item<int64_t>(), 3);
}

TEST(OptimizerTest, GroupsOverrideDefaults) {
  auto together = toy_params(), first = toy_params(), second = toy_params();
  SGD groups({ParamGroup{{together[0]}, {{"lr", 0.01}, {"nesterov", false}}}, ParamGroup{{together[1]}}},
             {.lr = 0.1, .momentum = 0.9, .nesterov = true});
  SGD slow(std::vector{first[0]}, {.lr = 0.01, .momentum = 0.9});
  SGD fast(std::vector{second[1]}, {.lr = 0.1, .momentum = 0.9, .nesterov = true});
  run_toy(groups, together, 1, 20);
  run_toy(slow, first, 1, 20);
  run_toy(fast, second, 1, 20);
  EXPECT_EQ(together[0].to_vector<double>(), first[0].to_vector<double>());
  EXPECT_EQ(together[1].to_vector<double>(), second[1].to_vector<double>());
  EXPECT_EQ(groups.lr(0), 0.01);
  EXPECT_EQ(groups.groups()[1].lr, 0.1);
  groups.groups()[1].lr = 0.5;
  EXPECT_EQ(groups.lr(1), 0.5);
  EXPECT_TRUE(groups.params(1)[0].is_same(together[1]));
}

TEST(OptimizerTest, SkipsParametersWithoutGradient) {
  auto params = toy_params();
  const auto before = params[1].to_vector<double>();
  AdamW adam(params);
  set_toy_grads(params, 1);
  params[1].zero_grad();
  adam.step();
  EXPECT_EQ(params[1].to_vector<double>(), before);
  EXPECT_EQ(adam.state()[3].second.item<int64_t>(), 0);  // 1.step
  adam.zero_grad();
  EXPECT_FALSE(params[0].grad().defined());
}

TEST(OptimizerTest, ViewsAndSavedValuesKeepWhatTheyHeld) {
  auto shared = toy_params(), alone = toy_params();
  Adam one(shared), other(alone);
  for (int t = 1; t <= 5; ++t) {
    const Tensor view = reshape(shared[0].detach(), {12});
    const auto held = view.to_vector<double>();
    const Tensor handle = shared[0];
    run_toy(one, shared, t, t);
    run_toy(other, alone, t, t);
    EXPECT_EQ(view.to_vector<double>(), held);
    EXPECT_EQ(handle.to_vector<double>(), alone[0].to_vector<double>());
    EXPECT_EQ(shared[0].to_vector<double>(), alone[0].to_vector<double>());
  }
}

TEST(OptimizerTest, BackwardAfterAStepUsesTheValuesOfTheForwardPass) {
  Tensor w = tensor({2, 3}, f64).requires_grad_();
  SGD sgd({w}, {.lr = 1});
  const Tensor y = w * w;
  w.set_grad(ones({2}, f64));
  sgd.step();  // w is now 1, 2
  sgd.zero_grad();
  backward(y, ones({2}, f64));
  EXPECT_EQ(w.grad().to_vector<double>(), (std::vector<double>{4, 6}));
}

TEST(OptimizerTest, TakesAnyStrides) {
  Tensor w = transpose(Tensor::from(std::vector<double>{1, 2, 3, 4, 5, 6}, {2, 3}), 0, 1).detach();
  SGD sgd({w.requires_grad_()}, {.lr = 0.5});
  w.set_grad(expand(tensor({2, 4}, f64), {3, 2}));
  sgd.step();
  EXPECT_EQ(w.to_vector<double>(), (std::vector<double>{0, 2, 1, 3, 2, 4}));
}

TEST(OptimizerTest, BadOptionsSayWhatWasExpected) {
  const auto p = toy_params();
  EXPECT_EQ(error_of([&] { SGD(p, {.lr = -0.1}); }), "[SGD] lr: expected at least 0, got -0.1");
  EXPECT_EQ(error_of([&] { SGD(p, {.nesterov = true}); }),
            "[SGD] momentum: expected more than 0 with nesterov, got 0");
  EXPECT_EQ(error_of([&] { SGD(p, {.momentum = 0.9, .dampening = 0.1, .nesterov = true}); }),
            "[SGD] dampening: expected 0 with nesterov, got 0.1");
  EXPECT_EQ(error_of([&] {
              Adam(p, {.betas = {0.9, 1}});
            }),
            "[Adam] betas: expected two numbers in [0, 1), got [0.9, 1]");
  EXPECT_EQ(error_of([&] { AdamW(p, {.weight_decay = -1}); }),
            "[AdamW] weight_decay: expected at least 0, got -1");
  EXPECT_EQ(error_of([&] { RMSprop(p, {.lr = std::nan("")}); }),
            "[RMSprop] lr: expected at least 0, got nan");
  EXPECT_EQ(error_of([&] { Adagrad(p, {.lr_decay = -1}); }),
            "[Adagrad] lr_decay: expected at least 0, got -1");
}

TEST(OptimizerTest, BadParametersSayWhatWasExpected) {
  const auto p = toy_params();
  EXPECT_THAT(error_of([&] { SGD(std::vector<Tensor>{}); }),
              HasSubstr("[SGD] expected at least one parameter"));
  EXPECT_THAT(error_of([&] { SGD({p[0], p[1], p[0]}); }), HasSubstr("parameter 2 is parameter 0 again"));
  EXPECT_THAT(error_of([&] { SGD({zeros({2}, i64)}); }), HasSubstr("parameter 0 is i64"));
  EXPECT_THAT(error_of([&] { SGD({p[0] * 2}); }), HasSubstr("parameter 0 is the result of a recorded op"));
  SGD sgd(p);
  Tensor w = p[1];
  w.set_grad(zeros({4}, f64));
  EXPECT_EQ(error_of([&] { sgd.step(); }), "[SGD] expected a gradient of shape 5 for parameter 1, got 4");
}

TEST(OptimizerTest, MakesByNameAndSuggests) {
  const auto p = toy_params();
  EXPECT_EQ(make_optimizer("AdamW", p, {{"lr", 0.5}})->lr(), 0.5);
  EXPECT_EQ(
      error_of([&] { make_optimizer("adan", p); }),
      "unknown optimizer 'adan', did you mean 'Adam'? Expected one of: SGD, RMSprop, Adagrad, Adam, AdamW");
  EXPECT_EQ(
      error_of([&] {
        make_optimizer("sgd", p, {{"momentun", 0.9}});
      }),
      "[SGD] unknown option 'momentun', did you mean 'momentum'? Expected one of: lr, momentum, dampening, "
      "weight_decay, nesterov, maximize");
  EXPECT_EQ(error_of([&] {
              make_optimizer("SGD", p, {{"nesterov", 1}});
            }),
            "[SGD] nesterov: expected true or false, got 1");
  EXPECT_EQ(error_of([&] {
              make_optimizer("sgd", p, {{"lr", "fast"}});
            }),
            "[SGD] lr: expected a number, got \"fast\"");
  EXPECT_EQ(error_of([&] {
              make_optimizer("Adam", p, {{"betas", 0.9}});
            }),
            "[Adam] betas: expected a list of two numbers, got 0.9");
}

}  // namespace
}  // namespace hebb::optim
