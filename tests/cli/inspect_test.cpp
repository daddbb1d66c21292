// hebb summary, data and doctor: what there is to see without training.
#include "hebb/io/image.h"
#include "tests/cli/support.h"

namespace hebb::cli {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class Inspect : public test::CliTest {};

TEST_F(Inspect, SummaryCountsLeNet) {
  const auto j = ok("summary lenet5 --json").json();
  EXPECT_EQ(j["parameters"], 61706);
  EXPECT_EQ(j["output"], (std::vector<int>{1, 10}));
  // Conv 1x25+1 by 6, 6x25+1 by 16; linear 400+1 by 120, 120+1 by 84, 84+1 by 10.
  std::vector<int> parameters;
  int multiply_adds = 0;
  for (const auto& layer : j["layers"]) {
    if (layer["parameters"] > 0) parameters.push_back(layer["parameters"]);
    multiply_adds += layer["multiply_adds"].get<int>();
  }
  EXPECT_THAT(parameters, ElementsAre(156, 2416, 48120, 10164, 850));
  EXPECT_EQ(multiply_adds, 28 * 28 * 6 * 25 + 10 * 10 * 16 * 150 + 400 * 120 + 120 * 84 + 84 * 10);
  EXPECT_EQ(j["multiply_adds"], multiply_adds);
  EXPECT_EQ(j["layers"][5]["receptive_field"], (std::vector<int>{16, 16})) << "5x5, pooled, 5x5, pooled";
  EXPECT_EQ(j["memory"]["parameters"], 61706 * 4);

  const std::string text = ok("summary lenet5").out;
  EXPECT_THAT(text, AllOf(StartsWith("lenet5, input 1x1x28x28\n"), HasSubstr("61,706"),
                          HasSubstr("1x16x10x10"), HasSubstr("memory to train")));
}

TEST_F(Inspect, SummaryTakesFilesRunsAndShapes) {
  EXPECT_EQ(ok("summary net.toml --json").json()["parameters"], 4 * 10 + 4 * (36 + 1));
  ok("train net.toml --epochs 1 --out a --set model.layer.0.out_channels=2");
  EXPECT_EQ(ok("summary a --json").json()["parameters"], 2 * 10 + 4 * (18 + 1));
  const auto j = ok("summary lenet5 --input 4x1x28x28 --json").json();
  EXPECT_EQ(j["input"], (std::vector<int>{4, 1, 28, 28}));
  EXPECT_EQ(j["output"], (std::vector<int>{4, 10}));
  EXPECT_THAT(error("summary lenet5 --input 1x1x"), HasSubstr("as in 1x1x28x28, got 1x1x"));
  EXPECT_THAT(error("summary lenet5 --input 1x0x28x28"), HasSubstr("--input"));
  EXPECT_THAT(error("summary lenet5 --input 1x1x8x8"), HasSubstr("[conv2d]"));
  EXPECT_THAT(error("summary missing.toml"), HasSubstr("missing.toml"));
}

TEST_F(Inspect, DataListNamesTheSets) {
  const auto j = ok("data list --json").json()["data"];
  std::vector<std::string> names;
  for (const auto& set : j) names.push_back(set["name"]);
  EXPECT_THAT(names, ElementsAre("mnist", "blobs", "circles", "moons", "spiral", "xor"));
  EXPECT_EQ(j[0]["available"], true);
  EXPECT_THAT(ok("data list").out, AllOf(HasSubstr("mnist"), HasSubstr("spiral")));
}

TEST_F(Inspect, DataInfoCounts) {
  const auto j = ok("data info mnist --json").json();
  EXPECT_EQ(j["train"], 55000);
  EXPECT_EQ(j["val"], 5000);
  EXPECT_EQ(j["test"], 10000);
  EXPECT_EQ(j["input"], (std::vector<int>{1, 28, 28}));
  EXPECT_NEAR(j["mean"][0], 0.1307, 5e-5);
  EXPECT_NEAR(j["std"][0], 0.3081, 5e-5);
  EXPECT_THAT(ok("data info digits").out, AllOf(HasSubstr("classes  4"), HasSubstr("train    180")));
  EXPECT_THAT(error("data info nowhere"), HasSubstr("got \"nowhere\""));
}

TEST_F(Inspect, DataShowWritesAContactSheet) {
  const auto j = ok("data show digits --out s.png --count 5 --json").json();
  EXPECT_EQ(j["samples"], 5);
  const Tensor sheet = io::load_image(path("s.png"));
  EXPECT_EQ(sheet.shape(), (Shape{1, 2 * 9 + 1, 3 * 9 + 1})) << "3 columns, 2 rows, a pixel between";
  // The pixels are those of the files: normalising and back loses nothing.
  const std::string pixels = test::Pictures{.count = 200}.pixels();
  const auto v = sheet.to_vector<int64_t>();
  for (int64_t i = 0; i < 5; ++i)
    for (int64_t y = 0; y < 8; ++y)
      for (int64_t x = 0; x < 8; ++x)
        ASSERT_EQ(v[(i / 3 * 9 + 1 + y) * 28 + i % 3 * 9 + 1 + x],
                  static_cast<uint8_t>(pixels[i * 64 + y * 8 + x]));
  EXPECT_THAT(error("data show blobs"), HasSubstr("expected images"));
  EXPECT_THAT(error("data show digits --out no/such/folder.png"), HasSubstr("No such file or directory"));
}

TEST_F(Inspect, DoctorTestsItself) {
  const auto j = ok("doctor --json --threads 2").json();
  EXPECT_EQ(j["self_test"]["ok"], true);
  EXPECT_LT(j["self_test"]["error"], 1e-5);
  EXPECT_GT(j["self_test"]["product_gflops"], 0);
  for (const char* key : {"version", "compiler", "cpu", "cores", "threads", "threading", "targets", "program",
                          "library", "libraries", "data"})
    EXPECT_TRUE(j.contains(key)) << key;
  EXPECT_FALSE(j["targets"].empty());
  const std::string program = std::filesystem::canonical(std::getenv("HEBB_CLI"));
  EXPECT_EQ(j["program"], program);
  EXPECT_THAT(ok("doctor").out,
              AllOf(HasSubstr("self test   passed"), HasSubstr("mnist"), HasSubstr(program)));
}

}  // namespace
}  // namespace hebb::cli
