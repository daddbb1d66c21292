// Built-in recipes train alike however their steps are run: with all passes, none, each alone off, op by op,
// and by the plain kernels.
#include <gtest/gtest.h>

#include <cmath>

#include "hebb/hebb.h"
#include "hebb/op/dispatch.h"
#include "hebb/train/losses.h"
#include "hebb/train/recipe.h"
#include "tests/graph/graphs.h"

namespace hebb {
namespace {

using namespace graph::test;

// The losses of three steps and all that the network holds then, for a batch that the recipe's data could be.
Tensors trained(const train::Recipe& recipe, bool compiled) {
  manual_seed(4);
  nn::AnyModule net = recipe.build();
  const auto optimizer = recipe.make_optimizer(net->parameters());
  const train::LossFn loss_of = train::make_loss(recipe.loss.type, recipe.loss.args);
  Shape batch = recipe.input;
  batch.insert(0, 5);
  const Tensor x = rand(batch), y = randint(0, recipe.name == "perceptron" ? 2 : 10, {5});
  const auto plain = [&](Args a) -> Tensors {
    optimizer->zero_grad();
    const Tensor loss = loss_of(net(a.first(1)), a[1]);
    backward(loss);
    optimizer->step();
    return {loss.detach()};
  };
  const Compiled run = compile(plain, {*net, *optimizer});
  Tensors out;
  for (int i = 0; i < 3; ++i) {
    const Tensors batch_of{x, y};
    out.push_back((compiled ? run(batch_of) : plain(batch_of))[0]);
  }
  for (const auto& [name, t] : net->state_dict()) out.push_back(t.detach());
  return out;
}

TEST(RecipePasses, AllTrainAlike) {
  for (const auto& [name, line] : train::builtin_recipes()) {
    const train::Recipe recipe = train::Recipe::load(name);
    const Tensors want = trained(recipe, false);
    const auto check = [&](const std::string& how, const Tensors& got) {
      ASSERT_EQ(got.size(), want.size());
      for (size_t i = 0; i < want.size(); ++i) {
        const auto a = want[i].to_vector<double>(), b = got[i].to_vector<double>();
        ASSERT_EQ(a.size(), b.size());
        for (size_t k = 0; k < a.size(); ++k)
          ASSERT_NEAR(a[k], b[k], 2e-5 * (1 + std::abs(a[k]))) << name << ", " << how << ", result " << i;
      }
    };
    EXPECT_GT(std::abs(want[0].item<double>() - want[2].item<double>()), 1e-6) << name << " does not learn";
    check("compiled", trained(recipe, true));
    {
      const PassesOff none(all_passes());
      check("without passes", trained(recipe, true));
    }
    for (const graph::Pass& pass : graph::passes()) {
      const PassesOff off(pass.name);
      check(std::string("without ") + pass.name, trained(recipe, true));
    }
    const BackendScope plain("reference");
    check("reference", trained(recipe, false));
  }
}

}  // namespace
}  // namespace hebb
