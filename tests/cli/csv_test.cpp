// Networks of tables: trained on a CSV file, evaluated on another, asked about rows of a third.
#include "tests/cli/support.h"

namespace hebb::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// y = 3 a - 2 b + 10, with columns far from 0 and of unequal spread.
constexpr char kLine[] = R"([model]
input = [2]
[[model.layer]]
type = "Linear"
out_features = 1
[loss]
type = "MSELoss"
[optimizer]
type = "SGD"
lr = 0.1
[data]
name = "line.csv"
target = "y"
regression = true
val_fraction = 0.2
[train]
epochs = 60
batch_size = 8
)";

class Csv : public test::CliTest {
 protected:
  void SetUp() override {
    CliTest::SetUp();
    if (folder_.empty()) return;
    file("line.toml", kLine);
    file("line.csv", rows("y,a,b", 0, 64, true));
  }
  // Rows i of a grid, with the target first or left out.
  static std::string rows(const std::string& header, int begin, int end, bool with_target) {
    std::string text = header + "\n";
    for (int i = begin; i < end; ++i) {
      const int a = 100 + i % 8, b = i / 8 * 10;
      if (with_target) text += std::to_string(3 * a - 2 * b + 10) + ",";
      text += std::to_string(a) + "," + std::to_string(b) + "\n";
    }
    return text;
  }
};

TEST_F(Csv, PredictsRowsAsTheyStandInTheFile) {
  ok("train line.toml --out run");
  file("rows.csv", rows("a,b", 10, 20, false));
  const auto found = ok("predict run rows.csv --json").json()["predictions"];
  ASSERT_EQ(found.size(), 10u);
  for (int i = 10; i < 20; ++i)
    EXPECT_NEAR(found[i - 10]["output"][0].get<double>(), 3 * (100 + i % 8) - 2 * (i / 8 * 10) + 10, 0.5);
  EXPECT_EQ(found[0]["input"], "rows.csv[0]");
  // The column of targets, wherever it stands, is passed over.
  EXPECT_EQ(ok("predict run line.csv --json").json()["predictions"][12]["output"], found[2]["output"]);
  file("narrow.csv", "a\n1\n");
  EXPECT_THAT(error("predict run narrow.csv"), HasSubstr("narrow.csv: expected rows of 2 numbers"));
}

TEST_F(Csv, EvaluatesAllOfAnotherFileAsTrained) {
  ok("train line.toml --out run");
  EXPECT_EQ(ok("eval run --json").json()["split"], "val") << "there is no test split";
  file("other.csv", rows("y,a,b", 0, 40, true));
  const auto j = ok("eval run --data other.csv --json").json();
  EXPECT_EQ(j["n"], 40);
  EXPECT_EQ(j["split"], "train");
  EXPECT_LT(j["loss"], 0.25) << "by the columns' means of the training file, not of this one";
  EXPECT_THAT(error("eval run --split test"), HasSubstr("expected one of the splits"));
}

TEST_F(Csv, ValuesThatWereNotNormalisedStayAsTheyAre) {
  // Trained on made points, which nothing normalises; the file's points are far on one side.
  ok("train perceptron --epochs 2 --out run");
  std::string text = "x,y,class\n";
  for (int i = 0; i < 20; ++i)
    text += std::to_string(5 + 0.1 * i) + "," + std::to_string(6 - 0.1 * i) + ",1\n";
  file("far.csv", text);
  EXPECT_EQ(ok("eval run --data far.csv --json").json()["accuracy"], 1);
}

TEST_F(Csv, ALossOfClassesDoesNotTrainNumbers) {
  std::string text = kLine;
  const size_t at = text.find("[loss]\ntype = \"MSELoss\"\n");
  file("default.toml", text.erase(at, std::string("[loss]\ntype = \"MSELoss\"\n").size()));
  EXPECT_THAT(error("train default.toml --out run"),
              AllOf(HasSubstr("loss.type: expected a loss of numbers, such as MSELoss"),
                    HasSubstr("CrossEntropyLoss")));
  EXPECT_FALSE(exists("run"));
}

TEST_F(Csv, WritingToAFullDiskIsAnError) {
  test::Program program({"data", "list"}, folder_, {.out = "/dev/full"});
  const test::Result r = program.wait();
  EXPECT_EQ(r.code, 1);
  EXPECT_THAT(r.err, StartsWith("hebb: expected to write to stdout, could not: "));
}

}  // namespace
}  // namespace hebb::cli
