// Compiled functions equal eager ones, bit for bit: over the op table, over random graphs, in training.
#include "hebb/graph/compile.h"

#include <gmock/gmock.h>

#include <atomic>
#include <cstdlib>
#include <thread>

#include "hebb/hebb.h"
#include "tests/graph/graphs.h"
#include "tests/support/table_test.h"
#include "tests/support/throws.h"

namespace hebb {
namespace {

using test_support::Call;
using test_support::error_of;
using test_support::takes_gradient;
using ::testing::AllOf;
using ::testing::HasSubstr;
using namespace graph::test;
using graph::passes;

// "" if both hold the same bits.
std::string differ(const Tensors& got, const Tensors& want) {
  if (got.size() != want.size()) return "another number of results";
  for (size_t i = 0; i < got.size(); ++i) {
    if (got[i].dtype() != want[i].dtype() || !(got[i].shape() == want[i].shape()))
      return "another shape or type";
    const Tensor a = detail::dense(got[i]), b = detail::dense(want[i]);
    if (std::memcmp(a.raw_data(), b.raw_data(), static_cast<size_t>(a.numel() * size_of(a.dtype()))) != 0)
      return "result " + std::to_string(i) + ": got " + a.str() + " want " + b.str();
  }
  return "";
}

// An op's outputs and the gradients of their sum.
Tensors outputs_and_gradients(const Call& call, Args arguments) {
  Tensors inputs(arguments.begin(), arguments.end()), leaves, all;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!takes_gradient(call, i)) continue;
    inputs[i] = inputs[i].detach().requires_grad_();
    leaves.push_back(inputs[i]);
  }
  Tensor total;
  for (const Tensor& t : apply(*call.op, call.attrs, inputs)) {
    all.push_back(t.detach());
    if (t.requires_grad()) total = total.defined() ? total + sum(t * t) : sum(t * t);
  }
  const bool differentiable = call.op->gradient != Gradient::Throws || call.op->vjp || call.op->decompose;
  if (!total.defined() || !differentiable) return all;
  for (const Tensor& g : grad(std::vector{total}, leaves, {}, {}, true))
    if (g.defined()) all.push_back(g);
  return all;
}

class CompiledTable : public test_support::TableTest {};

TEST_P(CompiledTable, EqualsEagerWithAndWithoutPasses) {
  for_each_sample([](const Call& call) -> std::string {
    const auto fn = [&](Args a) { return outputs_and_gradients(call, a); };
    const Tensors want = fn(call.inputs);
    static size_t next = 0;  // besides, one pass alone is off: in turns, each for many samples
    const std::string one = passes()[next++ % passes().size()].name;
    for (const std::string& off : {std::string(), all_passes(), one}) {
      const PassesOff without(off);
      const Compiled compiled = compile(fn);
      for (int run = 0; run < 2; ++run)
        if (const std::string text = differ(compiled(call.inputs), want); !text.empty())
          return call.name + ", passes off: " + off + ", run " + std::to_string(run) + ": " + text;
    }
    return "";
  });
}
HEBB_FOR_THE_TABLE(CompiledTable);

struct Net : nn::Module {
  nn::Conv2d conv{1, 4, {.kernel_size = 3}};
  nn::BatchNorm2d bn{4};
  nn::Dropout drop{0.3};
  nn::Linear fc{4 * 3 * 3, 5};
  Tensor forward(const Tensor& x) { return fc(drop(flatten(max_pool2d(relu(bn(conv(x))), 2), 1))); }
  HEBB_MEMBERS(conv, bn, drop, fc)
};

// Loss and gradients, as a compiled step returns them.
Tensors step(Net& net, const Tensor& x, const Tensor& y) {
  net.zero_grad();
  const Tensor loss = cross_entropy(net(x), y);
  backward(loss);
  Tensors out{loss.detach()};
  for (const Tensor& p : net.parameters()) out.push_back(p.grad());
  return out;
}
Tensors state_of(Net& net) {
  Tensors out;
  for (const auto& [name, t] : net.state_dict()) out.push_back(t);
  return out;
}

TEST(Compile, TrainsAsEagerDoes) {
  manual_seed(1);
  Net eager, compiled = eager.clone();
  const Compiled run =
      compile([&](Args a) { return step(compiled, a[0], a[1]); }, {compiled}, {.name = "step"});
  optim::SGD a(eager.parameters(), {.lr = 0.1, .momentum = 0.9}),
      b(compiled.parameters(), {.lr = 0.1, .momentum = 0.9});
  for (int i = 0; i < 6; ++i) {
    const int64_t n = i == 3 ? 5 : 8;  // a short batch in between
    if (i == 4) eager.eval(), compiled.eval();
    const Tensor x = randn({n, 1, 8, 8}), y = randint(0, 5, {n});
    const Tensor key = clone(default_generator().state());
    const Tensors want = step(eager, x, y);
    const Tensor after = clone(default_generator().state());
    default_generator().state().assign_(key);
    const Tensors got = run({x, y});
    EXPECT_EQ(differ(got, want), "") << "step " << i;
    EXPECT_EQ(differ({default_generator().state()}, {after}), "") << "random numbers are drawn on";
    EXPECT_EQ(differ(state_of(compiled), state_of(eager)), "") << "statistics after step " << i;
    const Tensors params = compiled.parameters();
    for (size_t p = 0; p < params.size(); ++p) Tensor(params[p]).set_grad(got[p + 1]);
    a.step();
    b.step();
  }
  EXPECT_EQ(run.num_plans(), 3u) << "8 and 5 samples in training, 8 in evaluation";
}

TEST(Compile, RepeatsAsManyCallsDo) {
  manual_seed(2);
  Net one, other = one.clone();
  optim::SGD a(one.parameters(), {.lr = 0.1, .momentum = 0.9}),
      b(other.parameters(), {.lr = 0.1, .momentum = 0.9});
  const auto step_of = [](Net& net, optim::SGD& optimizer) {
    return [&](Args batch) -> Tensors {
      optimizer.zero_grad();
      const Tensor loss = cross_entropy(net(batch[0]), batch[1]);
      backward(loss);
      optimizer.step();
      return {loss};
    };
  };
  const Compiled each = compile(step_of(one, a), {one, a}), repeated = compile(step_of(other, b), {other, b});
  const Tensor x = randn({8, 1, 8, 8}), y = randint(0, 5, {8}), key = clone(default_generator().state());
  Tensors want;
  for (int i = 0; i < 5; ++i) want = each({x, y});
  default_generator().state().assign_(key);
  EXPECT_EQ(differ(repeated.repeat(5, {x, y}), want), "");
  EXPECT_EQ(differ(state_of(other), state_of(one)), "");
  EXPECT_THAT(error_of([&] { repeated.repeat(0, {x, y}); }), HasSubstr("expected at least 1 call, got 0"));
}

TEST(Compile, SaysWhatEachOpTook) {
  manual_seed(2);
  Net net;
  const Compiled fn = compile([&](Args a) -> Tensors { return {net(a[0])}; }, {net});
  const Tensor x = randn({4, 1, 8, 8});
  EXPECT_EQ(fn.needs().multiply_adds, 0) << "there is no plan yet";
  const std::vector<NodeCost> costs = fn.profile(std::vector{x});
  const auto conv =
      std::find_if(costs.begin(), costs.end(), [](const NodeCost& c) { return c.op == "conv2d"; });
  ASSERT_NE(conv, costs.end());
  EXPECT_EQ(conv->shapes, "4x1x8x8, 4x1x3x3, 4");
  EXPECT_THAT(conv->module, HasSubstr("conv"));
  EXPECT_EQ(conv->multiply_adds, 4 * 36 * 4 * 9);
  EXPECT_EQ(conv->bytes, 4 * (4 * 64 + 4 * 9 + 4 + 4 * 4 * 36));
  EXPECT_GT(conv->ms, 0);
  EXPECT_EQ(fn.needs().multiply_adds, 4 * 36 * 4 * 9 + 4 * 36 * 5);
  // The argument and 4 state tensors of the two layers once, statistics and the random key both ways, the
  // products' outputs both ways.
  EXPECT_GT(fn.needs().bytes, 4 * (4 * 64 + 2 * 4 * 4 * 36 + 2 * 4 * 5));
}

TEST(Compile, LeavesStateAndGradientsAloneWhileTracing) {
  const Tensor w = tensor({2, 3}).requires_grad_(), g = tensor({7, 7});
  Tensor(w).set_grad(g);
  const Compiled fn = compile(
      [&](Args a) -> Tensors {
        w.detach();
        const Tensor loss = sum(w * a[0]);
        return {grad(loss, w)};
      },
      {w});
  EXPECT_EQ(fn({tensor({4, 5})})[0].to_vector<float>(), (std::vector<float>{4, 5}));
  EXPECT_TRUE(w.grad().is_same(g));
  EXPECT_EQ(w.to_vector<float>(), (std::vector<float>{2, 3}));
}

TEST(Compile, StateIsAssignedEachTime) {
  Tensor count = zeros({}, i64), mean = zeros({2});
  const Compiled fn = compile(
      [&](Args a) -> Tensors {
        count.assign_(count + 1);
        mean.assign_(mean * 0.5 + a[0] * 0.5);
        return {mean * 2};
      },
      {count, mean});
  for (int i = 0; i < 3; ++i) fn({tensor({8, 16})});
  EXPECT_EQ(count.item<int64_t>(), 3);
  EXPECT_EQ(mean.to_vector<float>(), (std::vector<float>{7, 14}));
  mean.assign_(zeros({2}));
  EXPECT_EQ(fn({tensor({8, 16})})[0].to_vector<float>(), (std::vector<float>{8, 16}))
      << "what others assign is seen";
}

TEST(Compile, StatesMayBeExchanged) {
  Tensor a = tensor({1, 2}), b = tensor({3, 4});
  const Compiled fn = compile(
      [&](Args) -> Tensors {
        const Tensor old = a.detach();
        a.assign_(b);
        b.assign_(old);
        return {};
      },
      {a, b});
  fn({});
  EXPECT_EQ(a.to_vector<float>(), (std::vector<float>{3, 4}));
  EXPECT_EQ(b.to_vector<float>(), (std::vector<float>{1, 2}));
}

TEST(Compile, ResultsAreTheCallersOwn) {
  const Compiled fn = compile([](Args a) -> Tensors { return {a[0] + 1, reshape(a[0] * 2, {2, 1})}; });
  const Tensors first = fn({tensor({1, 2})}), second = fn({tensor({10, 20})});
  EXPECT_EQ(first[0].to_vector<float>(), (std::vector<float>{2, 3}));
  EXPECT_EQ(first[1].to_vector<float>(), (std::vector<float>{2, 4}));
  EXPECT_EQ(second[1].shape(), (Shape{2, 1}));
}

TEST(Compile, ASecondTraceInsideIsAPartOfTheFirst) {
  const Compiled inner = compile([](Args a) -> Tensors { return {a[0] * 3}; });
  const Compiled outer = compile([&](Args a) -> Tensors { return {inner({a[0] + 1})[0] - 1}; });
  EXPECT_EQ(outer({tensor({1, 2})})[0].to_vector<float>(), (std::vector<float>{5, 8}));
  EXPECT_EQ(inner.num_plans(), 0u);
}

TEST(Compile, OtherThreadsMayDrawMeanwhile) {
  manual_seed(3);
  std::atomic<bool> tracing = false, drawn = false;
  std::thread other([&] {
    while (!tracing) std::this_thread::yield();
    EXPECT_NO_THROW(randn({4}));
    drawn = true;
  });
  const Compiled fn = compile([&](Args a) -> Tensors {
    tracing = true;
    while (!drawn) std::this_thread::yield();
    return {dropout(a[0], 0.5)};
  });
  const Tensor x = ones({64});
  const Tensor got = fn({x})[0];
  other.join();
  manual_seed(3);
  randn({4});
  EXPECT_EQ(differ({got}, {dropout(x, 0.5)}), "") << "the second draw of the seed";
}

TEST(Compile, ShapesMayDecide) {
  const Compiled fn = compile([](Args a) -> Tensors {
    Tensor x = a[0];
    for (int64_t i = 0; i < a[0].size(0); ++i) x = x * 2;
    return {x};
  });
  EXPECT_EQ(fn({tensor({1, 1})})[0].to_vector<float>(), (std::vector<float>{4, 4}));
  EXPECT_EQ(fn({tensor({1, 1, 1})})[0].to_vector<float>(), (std::vector<float>{8, 8, 8}));
  EXPECT_EQ(fn.num_plans(), 2u);
}

TEST(Compile, RunsEagerlyBeyondSixteenKinds) {
  const Compiled fn = compile([](Args a) -> Tensors { return {sum(a[0])}; }, {}, {.name = "summing"});
  testing::internal::CaptureStderr();
  for (int64_t n = 1; n <= 19; ++n) EXPECT_EQ(fn({ones({n})})[0].item<int64_t>(), n);
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_EQ(fn.num_plans(), 16u);
  EXPECT_THAT(said, HasSubstr("summing was called in more than 16 ways"));
  EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 1) << "said once";
}

TEST(Compile, AnErrorInAKernelLeavesStateAlone) {
  Tensor count = zeros({});
  const Tensor table = ones({3, 2});
  const Compiled fn = compile(
      [&](Args a) -> Tensors {
        count.assign_(count + 1);
        return {embedding(a[0], a[1])};
      },
      {count});
  const Tensor good = tensor({0, 2}, i64), bad = tensor({0, 3}, i64);
  fn({good, table});
  EXPECT_THAT(error_of([&] { fn({bad, table}); }), HasSubstr("[embedding]"));
  EXPECT_EQ(count.item<int64_t>(), 1);
  fn({good, table});
  EXPECT_EQ(count.item<int64_t>(), 2);
}

TEST(CompileErrors, ATensorFromElsewhere) {
  const Tensor w = ones({2});
  const Compiled fn = compile([&](Args a) -> Tensors { return {a[0] * w}; });
  EXPECT_EQ(error_of([&] { fn({ones({2})}); }),
            "[mul] expected arguments of the function that is being compiled, its declared state, or what is "
            "computed from them; input 1 (f32 2) is none of these");
  Net net;
  const Compiled forgotten = compile([&](Args a) -> Tensors { return {net(a[0])}; });
  EXPECT_THAT(error_of([&] {
                forgotten({ones({1, 1, 8, 8})});
              }),
              AllOf(HasSubstr("[conv2d]"), HasSubstr("input 1 (f32 4x1x3x3)"), HasSubstr(", in Net.conv")));
}

TEST(CompileErrors, AValueThatIsLookedAt) {
  const Compiled fn = compile([](Args a) -> Tensors { return {a[0] * sum(a[0]).item<double>()}; });
  const int line = __LINE__ - 1;
  EXPECT_THAT(error_of([&] { fn({ones({2})}); }),
              AllOf(HasSubstr("known only when the function that is being compiled runs"),
                    HasSubstr("tests/graph/compile_test.cpp:" + std::to_string(line)), HasSubstr("where()")));
  const Compiled list = compile([](Args a) -> Tensors { return {Tensor::from(a[0].to_vector<float>())}; });
  EXPECT_THAT(error_of([&] { list({ones({2})}); }),
              HasSubstr("tests/graph/compile_test.cpp:" + std::to_string(__LINE__ - 2)));
  const Compiled data = compile([](Args a) -> Tensors { return {a[0] * *a[0].data<float>()}; });
  EXPECT_THAT(error_of([&] { data({ones({2})}); }),
              HasSubstr("tests/graph/compile_test.cpp:" + std::to_string(__LINE__ - 2)));
}

TEST(CompileErrors, AnAssignmentToATensorFromElsewhere) {
  Tensor last = zeros({2});
  const Compiled fn = compile([&](Args a) -> Tensors {
    last.assign_(a[0] * 2);
    return {};
  });
  EXPECT_EQ(error_of([&] { fn({ones({2})}); }),
            "[assign_] expected declared state of the function that is being compiled, got a tensor (f32 2) "
            "from elsewhere");
  EXPECT_EQ(last.to_vector<float>(), (std::vector<float>{0, 0}));
}

TEST(CompileErrors, StateOfAKnownValue) {
  Tensor s = zeros({2});
  const Tensor other = ones({2});
  const Compiled fn = compile(
      [&](Args) -> Tensors {
        s.assign_(other);
        return {};
      },
      {s});
  EXPECT_THAT(error_of([&] { fn({}); }),
              HasSubstr("expected state 0 (f32 2) to be assigned what the function computes"));
  EXPECT_EQ(s.to_vector<float>(), (std::vector<float>{0, 0}));
}

TEST(CompileErrors, ATracedTensorThatEscapes) {
  Tensor kept;
  const Compiled fn = compile([&](Args a) -> Tensors { return {kept = a[0] + 1}; });
  fn({ones({2})});
  EXPECT_THAT(error_of([&] { kept + 1; }), HasSubstr("one of a function that was being compiled"));
}

}  // namespace
}  // namespace hebb
