// LeNet-5 on the real MNIST, as a new user trains it.
#include "tests/cli/support.h"

namespace hebb::cli {
namespace {

class MnistRun : public test::CliTest {};

TEST_F(MnistRun, OneEpochOfLeNetReaches95Percent) {
  const auto j = ok("train lenet5 --data mnist --epochs 1 --out a --json").json();
  EXPECT_GE(j["test_accuracy"].get<double>(), 0.95);
  EXPECT_GE(j["val_accuracy"].get<double>(), 0.95);
  EXPECT_EQ(json_file("a/run.json")["parameters"], 61706);
  EXPECT_EQ(ok("eval a --json").json()["accuracy"], j["test_accuracy"]);
}

}  // namespace
}  // namespace hebb::cli
