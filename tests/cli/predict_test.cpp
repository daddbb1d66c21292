// hebb predict and hebb eval, on a network that has seen MNIST once.
#include <cmath>

#include "hebb/io/idx.h"
#include "hebb/io/image.h"
#include "hebb/io/npy.h"
#include "hebb/io/safetensors.h"
#include "hebb/ops/creation.h"
#include "hebb/ops/view.h"
#include "tests/cli/support.h"

namespace hebb::cli {
namespace {

using test::Result;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;

std::string mnist(const std::string& name) {
  const char* root = std::getenv("HEBB_SOURCE_DIR");
  return std::string(root ? root : ".") + "/data/mnist/" + name;
}

/// Trains once for all tests of the file; the run's folder is called "run" in each test's own.
class Predict : public test::CliTest {
 protected:
  static void TearDownTestSuite() {
    if (!shared_.empty()) std::filesystem::remove_all(shared_);
    shared_.clear();
  }
  void SetUp() override {
    CliTest::SetUp();
    if (folder_.empty()) return;
    if (shared_.empty()) {
      shared_ = testing::TempDir() + "hebb_predict_XXXXXX";
      ASSERT_NE(::mkdtemp(shared_.data()), nullptr);
      trained_ = ok("train mlp --data mnist --epochs 1 --set model.layer.1.out_features=64 "
                    "model.layer.3.out_features=64 "
                    "--quiet --json --out " +
                    shared_ + "/run")
                     .json();
    }
    std::filesystem::create_directory_symlink(shared_ + "/run", path("run"));
  }

  /// The first test pictures, u8 [n, 1, 28, 28], and their digits.
  static Tensor pictures(int64_t n) {
    return unsqueeze(slice(io::load_idx(mnist("t10k-images-idx3-ubyte.gz")), 0, 0, n), 1);
  }
  static std::vector<int64_t> digits(size_t n) {
    auto all = io::load_idx(mnist("t10k-labels-idx1-ubyte.gz")).to_vector<int64_t>();
    all.resize(n);
    return all;
  }
  /// Saves the first 20 test pictures, each changed by `change`, and counts those that are recognised.
  int recognised(const std::function<Tensor(std::vector<uint8_t>)>& change) const {
    const auto pixels = pictures(20).to_vector<uint8_t>();
    std::string words = "predict " + run_ + " --json --top 1";
    for (int i = 0; i < 20; ++i) {
      const std::string name = std::to_string(i) + ".png";
      io::save_png(path(name), change({pixels.begin() + i * 784, pixels.begin() + (i + 1) * 784}));
      words += " " + name;
    }
    const auto found = ok(words).json()["predictions"];
    const auto wanted = digits(20);
    int right = 0;
    for (size_t i = 0; i < 20; ++i) {
      EXPECT_EQ(found[i]["input"], std::to_string(i) + ".png");
      right += found[i]["top"][0]["class"] == std::to_string(wanted[i]);
    }
    return right;
  }

  std::string run_ = "run";
  static inline std::string shared_;
  static inline nlohmann::json trained_;
};

Tensor gray(const std::vector<uint8_t>& v, int64_t h, int64_t w) { return Tensor::from(v, {1, h, w}); }

/// A sheet of one colour with a square picture on it.
Tensor on_sheet(const Tensor& picture, int64_t h, int64_t w, int64_t top, int64_t left, uint8_t colour) {
  const auto p = picture.to_vector<uint8_t>();
  const int64_t size = picture.size(1);
  std::vector<uint8_t> sheet(static_cast<size_t>(h * w), colour);
  for (int64_t y = 0; y < size; ++y)
    for (int64_t x = 0; x < size; ++x) sheet[(top + y) * w + left + x] = p[y * size + x];
  return gray(sheet, h, w);
}

TEST_F(Predict, DigitsLearntFromAFolderAreCentredToo) {
  std::filesystem::copy(shared_ + "/run", path("from_folder"), std::filesystem::copy_options::recursive);
  std::string recipe = read("from_folder/recipe.toml");
  const size_t at = recipe.find("name = \"mnist\"");
  ASSERT_NE(at, std::string::npos);
  file("from_folder/recipe.toml", recipe.replace(at, 14, "name = \"some/folder\""));
  run_ = "from_folder";
  EXPECT_GE(recognised([](auto v) { return on_sheet(gray(v, 28, 28), 64, 90, 2, 55, 0); }), 19);
}

TEST_F(Predict, DigitsAreRecognisedHoweverTheyAreDrawn) {
  auto inverted = [](std::vector<uint8_t> v) {
    for (uint8_t& p : v) p = static_cast<uint8_t>(255 - p);
    return v;
  };
  EXPECT_GE(recognised([](auto v) { return gray(v, 28, 28); }), 19) << "as in MNIST";
  EXPECT_GE(recognised([&](auto v) { return gray(inverted(v), 28, 28); }), 19) << "black on white";
  EXPECT_GE(recognised([](auto v) { return on_sheet(gray(v, 28, 28), 64, 90, 2, 55, 0); }), 19)
      << "off centre";
  EXPECT_GE(recognised([&](auto v) {
              return on_sheet(io::resize_bilinear(gray(inverted(v), 28, 28), 140, 140), 200, 300, 50, 10,
                              255);
            }),
            19)
      << "large, black on white, off centre";
  EXPECT_GE(recognised([&](auto v) {
              // Blue ink on yellow paper.
              std::vector<uint8_t> rgb;
              for (const int strongest : {255, 220, 90})
                for (const uint8_t p : inverted(v)) rgb.push_back(static_cast<uint8_t>(strongest * p / 255));
              return Tensor::from(rgb, {3, 28, 28});
            }),
            19)
      << "in colour";
}

TEST_F(Predict, PrintsTheMostProbableClasses) {
  io::save_png(path("d.png"), gray(slice(pictures(1), 0, 0, 1).to_vector<uint8_t>(), 28, 28));
  EXPECT_THAT(ok("predict run d.png").out,
              MatchesRegex("d.png:  7 [0-9.]+ %  [0-9] [0-9.]+ %  [0-9] [0-9.]+ %\n"));
  const auto top = ok("predict run d.png --top 10 --json").json()["predictions"][0]["top"];
  ASSERT_EQ(top.size(), 10u);
  double sum = 0, last = 1;
  for (const auto& guess : top) {
    sum += guess["probability"].get<double>();
    EXPECT_LE(guess["probability"], last) << "best first";
    last = guess["probability"];
  }
  EXPECT_NEAR(sum, 1, 1e-9);
  EXPECT_EQ(ok("predict run d.png d.png --top 2 --json").json()["predictions"][1]["top"].size(), 2u);
}

TEST_F(Predict, OutHoldsTheLogitsOfABatch) {
  io::save_npy(path("x.npy"), pictures(1000));
  const Result r = ok("predict run x.npy --out y.npy --json --top 10");
  const Tensor y = io::load_npy(path("y.npy"));
  EXPECT_EQ(y.dtype(), f32);
  ASSERT_EQ(y.shape(), (Shape{1000, 10}));
  const auto logits = y.to_vector<double>();
  const auto wanted = digits(1000);
  int right = 0;
  for (size_t i = 0; i < 1000; ++i) {
    const double* row = &logits[10 * i];
    right += std::max_element(row, row + 10) - row == wanted[i];
  }
  EXPECT_GE(right, 930) << "of 1,000";

  // Probabilities are the softmax of the logits.
  const auto first = r.json()["predictions"][0];
  EXPECT_EQ(first["input"], "x.npy[0]");
  double sum = 0;
  for (int c = 0; c < 10; ++c) sum += std::exp(logits[c]);
  for (const auto& guess : first["top"])
    EXPECT_NEAR(guess["probability"], std::exp(logits[std::stoi(guess["class"].get<std::string>())]) / sum,
                1e-6);

  // Floats are taken as the network takes them: normalised by hand, they give the same.
  const auto norm = json_file("run/run.json")["normalization"];
  std::vector<float> x;
  for (const auto p : pictures(1000).to_vector<double>())
    x.push_back(static_cast<float>((p / 255 - norm["mean"][0].get<double>()) / norm["std"][0].get<double>()));
  io::save_npy(path("f.npy"), Tensor::from(x, {1000, 1, 28, 28}));
  ok("predict run f.npy --out z.npy --quiet");
  const auto again = io::load_npy(path("z.npy")).to_vector<double>();
  for (size_t i = 0; i < logits.size(); ++i) ASSERT_NEAR(again[i], logits[i], 1e-4);

  // And so does the recipe with its weights.
  ok("predict --recipe run/recipe.toml --weights run/best.safetensors f.npy --out w.npy");
  EXPECT_EQ(read("w.npy"), read("z.npy"));
}

TEST_F(Predict, EqualsThePlainFormula) {
  // One linear layer with weights from a file.
  file("one.toml", "[model]\ninput = [3]\n[[model.layer]]\ntype = \"Linear\"\nout_features = 2\n");
  io::save_safetensors(path("w.safetensors"),
                       {{"0.weight", Tensor::from(std::vector<float>{1, 2, 3, 4, 5, 6}, {2, 3})},
                        {"0.bias", Tensor::from(std::vector<float>{0.5, -1})}});
  io::save_npy(path("x.npy"), Tensor::from(std::vector<float>{1, 0, 0, 1, 1, 1}, {2, 3}));
  ok("predict --recipe one.toml --weights w.safetensors x.npy --out y.npy");
  EXPECT_THAT(io::load_npy(path("y.npy")).to_vector<float>(), ElementsAre(1.5, 3, 6.5, 14));
}

TEST_F(Predict, BadInputIsNamed) {
  EXPECT_THAT(error("predict nowhere d.png"), HasSubstr("expected a run's folder, found none at nowhere"));
  EXPECT_THAT(error("predict digits d.png"), HasSubstr("digits: expected recipe.toml"));
  EXPECT_THAT(error("predict run d.png"), AllOf(HasSubstr("d.png"), HasSubstr("No such file")));
  file("d.png", "no picture");
  EXPECT_THAT(error("predict run d.png"), HasSubstr("d.png"));
  io::save_png(path("d.png"), gray(std::vector<uint8_t>(784, 200), 28, 28));
  EXPECT_THAT(error("predict run d.png"), HasSubstr("expected a digit that stands out from its background"));
  io::save_npy(path("x.npy"), zeros({2, 28, 28}));
  EXPECT_THAT(error("predict run x.npy"),
              HasSubstr("x.npy: expected an array of shape Nx1x28x28, got 2x28x28"));
  io::save_npy(path("x.npy"), zeros({2, 1, 28, 28}, i32));
  EXPECT_THAT(error("predict run x.npy"), AllOf(HasSubstr("x.npy: expected f32"), HasSubstr("got i32")));
  io::save_npy(path("x.npy"), zeros({0, 1, 28, 28}));
  EXPECT_THAT(error("predict run x.npy"), HasSubstr("x.npy: expected at least one sample"));
  io::save_npy(path("x.npy"), zeros({1, 1, 28, 28}));
  EXPECT_THAT(error("predict --recipe lenet5 --weights run/best.safetensors x.npy"),
              AllOf(HasSubstr("run/best.safetensors"), HasSubstr("missing: 0.weight"),
                    HasSubstr("unexpected: "), HasSubstr("1.weight")));
  EXPECT_THAT(error("predict run x.npy --out no/such/y.npy"), HasSubstr("No such file or directory"));
}

// ---- hebb eval

TEST_F(Predict, EvalAgreesWithItsConfusionMatrix) {
  const auto j = ok("eval run --json").json();
  EXPECT_EQ(j["n"], 10000);
  EXPECT_EQ(j["split"], "test");
  EXPECT_EQ(j["data"], "mnist");
  int64_t all = 0, right = 0;
  ASSERT_EQ(j["confusion"].size(), 10u);
  // Digits 0 to 9 among the test images.
  const std::vector<int64_t> counts{980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009};
  for (size_t c = 0; c < 10; ++c) {
    int64_t n = 0;
    for (const int64_t k : j["confusion"][c]) n += k;
    EXPECT_EQ(n, counts[c]) << "rows are true classes";
    const int64_t diagonal = j["confusion"][c][c];
    EXPECT_NEAR(j["class_accuracy"][c], static_cast<double>(diagonal) / static_cast<double>(n), 1e-12);
    all += n, right += diagonal;
  }
  EXPECT_EQ(all, 10000);
  EXPECT_NEAR(j["accuracy"], static_cast<double>(right) / 10000, 1e-12);
  EXPECT_EQ(j["accuracy"], trained_["test_accuracy"]) << "as at the end of training";
  EXPECT_NEAR(j["loss"], trained_["test_loss"], 1e-9);
}

TEST_F(Predict, EvalTakesSplitsAndOtherData) {
  const auto val = ok("eval run --split val --json").json();
  EXPECT_EQ(val["n"], 5000);
  EXPECT_EQ(val["accuracy"], trained_["val_accuracy"]) << "the same samples were held out";
  EXPECT_NEAR(val["loss"], trained_["val_loss"], 1e-9);
  test::write_idx_folder(path("bands"), test::Pictures{.count = 50, .size = 28},
                         test::Pictures{.count = 30, .size = 28});
  EXPECT_EQ(ok("eval run --data bands --json").json()["n"], 30);
  EXPECT_EQ(ok("eval run --data bands --split train --json").json()["n"], 45);
  EXPECT_THAT(error("eval run --data digits"),
              HasSubstr("expected samples of shape 1x28x28 (the input of run), got 1x8x8"));
  file("t.csv", "a,b\n1,0\n2,1\n");
  ok("train perceptron --data t.csv --set model.input=[1] --set data.val_fraction=0 --epochs 1 --out p");
  EXPECT_THAT(error("eval p --split test"), HasSubstr("(train), got test; choose with --split"));
}

TEST_F(Predict, EvalPrintsATable) {
  const std::string text = ok("eval run").out;
  EXPECT_THAT(text, AllOf(HasSubstr("mnist test\n"), HasSubstr("  n         10000\n"),
                          HasSubstr("  loss      "), HasSubstr("  accuracy  ")));
  EXPECT_EQ(test::split(text, '\n').size(), 17u) << "numbers, two lines of head, ten classes";
}

}  // namespace
}  // namespace hebb::cli
