// hebb bench: networks of published sizes, the same losses compiled and op by op, messages.
#include "hebb/io/npy.h"
#include "hebb/ops/creation.h"
#include "hebb/ops/random.h"
#include "tests/cli/support.h"

namespace hebb::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class Bench : public test::CliTest {};

TEST_F(Bench, NetworksHaveTheirPublishedNumberOfParameters) {
  const std::vector<std::pair<std::string, int64_t>> networks = {
      {"playground-mlp", (2 + 1) * 8 + (8 + 1) * 8 + (8 + 1)},
      {"mlp-mnist-b128", (784 + 1) * 512 + (512 + 1) * 512 + (512 + 1) * 10},
      {"lenet-b64", 61706},
      {"resnet18-cifar-b64", 11173962},  // torchvision's, with a 3x3 stem and 10 classes
      {"resnet50-224-b8", 25557032},     // torchvision's
      {"charlstm-b32-t64", 96 * 256 + 2 * (2 * 4 * 256 * 256 + 2 * 4 * 256) + (256 + 1) * 96},
      {"transformer-b16-t128",
       96 * 256 + 128 * 256 + 4 * (4 * 256 * 257 + 1024 * 257 + 256 * 1025 + 4 * 256) + (256 + 1) * 96},
  };
  for (const auto& [name, parameters] : networks) {
    const auto j = ok("bench " + name + " --infer --batch 1 --seconds 0 --json").json();
    EXPECT_EQ(j["parameters"], parameters) << name;
    EXPECT_EQ(j["batch"], 1);
    EXPECT_GT(j["median_ms"], 0);
    EXPECT_GE(j["first_ms"], 0);
    EXPECT_GT(j["peak_mb"], 0);
  }
}

TEST_F(Bench, CompiledLossesEqualEagerOnes) {
  for (const std::string name : {"playground-mlp", "mlp-mnist-b128", "lenet-b64", "unet32-128-b4",
                                 "charlstm-b32-t64", "transformer-b16-t128"}) {
    const std::string command = "bench " + name + " --batch 1 --seconds 0 --losses 2 --json --mode ";
    const auto compiled = ok(command + "compiled").json(), eager = ok(command + "eager").json();
    ASSERT_EQ(compiled["losses"].size(), 2u);
    for (size_t i = 0; i < 2; ++i) {
      // Convolutions that change over to another layout sum in another order.
      const double got = compiled["losses"][i], want = eager["losses"][i];
      if (name == "unet32-128-b4") EXPECT_NEAR(got, want, 1e-5);
      else EXPECT_EQ(got, want) << name;
    }
    EXPECT_NE(compiled["losses"][0], compiled["losses"][1]) << "it trains";
    EXPECT_EQ(compiled["mode"], "compiled");
  }
}

TEST_F(Bench, ExactConvolutionsGiveNearlyTheSame) {
  const std::string command = "bench resnet18-cifar-b64 --batch 2 --seconds 0 --losses 2 --json";
  const auto fast = ok(command).json(), exact = ok(command + " --exact-conv").json();
  EXPECT_NE(fast["losses"], exact["losses"]);
  for (size_t i = 0; i < 2; ++i)  // two images: batch normalisation enlarges differences from step to step
    EXPECT_NEAR(fast["losses"][i].get<double>(), exact["losses"][i].get<double>(), 1e-3);
}

TEST_F(Bench, SaysWhatTimeGoesInto) {
  const auto j = ok("bench lenet-b64 --batch 2 --seconds 0 --profile --json").json();
  EXPECT_NEAR(j["gflop"].get<double>(), 0.145 * 2 / 64, 0.0002);
  EXPECT_GT(j["floor_mb"], 0);
  double total = 0;
  for (const auto& op : j["profile"]) {
    EXPECT_FALSE(op["op"].get<std::string>().empty());
    total += op["gflop"].get<double>();
  }
  EXPECT_NEAR(total, j["gflop"].get<double>(), 1e-9);
  EXPECT_THAT(ok("bench lenet-b64 --batch 2 --seconds 0 --profile").out,
              HasSubstr("conv2d 2x1x28x28, 6x1x5x5, 6"));
  EXPECT_THAT(error("bench lenet-b64 --mode eager --profile", 2), HasSubstr("expected --mode compiled"));
}

TEST_F(Bench, TimesSingleKernels) {
  const auto j = ok("bench kernels --batch 1 --seconds 0 --json").json();
  EXPECT_EQ(j["products"].size(), 3 * 10u);
  EXPECT_EQ(j["convolutions"].size(), 3 * 20u);
  for (const char* group : {"products", "convolutions", "memory"}) {
    for (const auto& kernel : j[group]) {
      EXPECT_GT(kernel["min_ms"], 0) << kernel;
      EXPECT_GE(kernel["median_ms"], kernel["min_ms"]) << kernel;
    }
  }
  EXPECT_NEAR(j["products"][0]["gflop"].get<double>(), 2e-9 * 784 * 512, 1e-12);
  EXPECT_NEAR(j["convolutions"][0]["gflop"].get<double>(), 2e-9 * 32 * 32 * 64 * 64 * 9, 1e-12);
  std::map<std::string, double> bytes;  // of each of the 65536 floats of a sample
  for (const auto& op : j["memory"]) bytes[op["name"]] = 1e6 * op["mb"].get<double>() / 65536;
  EXPECT_EQ(bytes["relu"], 2 * 4);
  EXPECT_EQ(bytes["max_pool2d 2x2"], 4 + (4 + 8) / 4);
  EXPECT_EQ(bytes["SGD with momentum"], 5 * 4);
  EXPECT_EQ(bytes["Adam"], 7 * 4);
}

TEST_F(Bench, TimesTheGroupsOfKernelsThatAreAskedFor) {
  const std::string out = ok("bench kernels --only products,memory --batch 1 --seconds 0").out;
  EXPECT_THAT(out, AllOf(HasSubstr("GFLOP/s  products"), HasSubstr("1 rows, 784 to 512"),
                         HasSubstr("memory, of operands of 0.2621 MB"), HasSubstr("Adam")));
  EXPECT_THAT(out, Not(HasSubstr("convolutions")));
  EXPECT_THAT(error("bench kernels --only product", 2), HasSubstr("memory"));
  EXPECT_THAT(error("bench lenet-b64 --only memory", 2), HasSubstr("expected the name kernels"));
}

TEST_F(Bench, MakesManyStepsInACall) {
  const auto j = ok("bench playground-mlp --seconds 0 --steps-per-call 100 --json").json();
  EXPECT_EQ(j["steps_per_call"], 100);
  EXPECT_EQ(j["steps"], 100);
  EXPECT_THAT(error("bench playground-mlp --mode eager --steps-per-call 2", 2),
              HasSubstr("expected --mode compiled"));
}

TEST_F(Bench, WritesWhatCameOut) {
  ok("bench lenet-b64 --batch 3 --infer --seconds 0 --out " + path("y.npy"));
  EXPECT_EQ(io::load_npy(path("y.npy")).shape(), Shape({3, 10}));
}

TEST_F(Bench, TakesTheBatchGiven) {
  io::save_npy(path("x.npy"), ones({30, 2}));
  io::save_npy(path("y.npy"), ones({30, 1}));
  io::save_npy(path("short.npy"), ones({29, 2}));
  const auto first = [&](const std::string& options) {
    return ok("bench playground-mlp --seconds 0 --losses 1 --json " + options).json()["losses"][0];
  };
  EXPECT_NE(first("--x x.npy --y y.npy"), first(""));
  EXPECT_THAT(error("bench playground-mlp --x short.npy"),
              HasSubstr("--x: expected f32 30x2, got f32 29x2 in short.npy"));
  EXPECT_THAT(error("bench playground-mlp --init x.npy"), HasSubstr("x.npy"));
}

TEST_F(Bench, Bf16) {
  // Where the processor has no such products it says so, and runs f32.
  const auto run = ok("bench mlp-mnist-b128 --seconds 0 --precision bf16 --losses 2 --json");
  const auto low = run.json(), full = ok("bench mlp-mnist-b128 --seconds 0 --losses 2 --json").json();
  EXPECT_EQ(full["precision"], "f32");
  const bool rounds = low["precision"] == "bf16";
  EXPECT_THAT(run.err, rounds ? testing::Matcher<std::string>(testing::IsEmpty())
                              : HasSubstr("this processor has no products of bf16"));
  EXPECT_EQ(low["losses"] != full["losses"], rounds);
  for (int i = 0; i < 2; ++i)
    EXPECT_NEAR(low["losses"][i].get<double>(), full["losses"][i].get<double>(), 2e-2);
}

TEST_F(Bench, SaysWhatThereIs) {
  EXPECT_THAT(ok("bench lenet-b64 --seconds 0 --threads 1").out,
              AllOf(HasSubstr("lenet-b64 f32 compiled training step, batch 64, 1 thread: median"),
                    HasSubstr("peak")));
  EXPECT_THAT(error("bench lenet", 2), HasSubstr("playground-mlp, mlp-mnist-b128, lenet-b64"));
  error("bench lenet-b64 --infer --losses 2", 2);
  error("bench lenet-b64 --batch 0", 2);
  error("bench lenet-b64 --precision f16", 2);
  EXPECT_THAT(error("bench machine --precision bf16", 2),
              HasSubstr("--precision: expected the name of a network, got machine"));
  EXPECT_THAT(error("bench kernels --losses 5", 2), HasSubstr("--losses: expected the name of a network"));
}

}  // namespace
}  // namespace hebb::cli
