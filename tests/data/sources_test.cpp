// Data sets by name, folder and file: what they hold, what is held out, and what is said of broken ones.
#include "hebb/data/sources.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "hebb/data/synthetic.h"
#include "hebb/io/npy.h"
#include "tests/io/files.h"
#include "tests/support/idx_files.h"

namespace hebb::data {
namespace {

using io::test::error_of;
using test_support::idx_bytes;
using test_support::Pictures;
using test_support::write_bytes;
using test_support::write_idx_folder;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Pointwise;
using ::testing::StartsWith;

Batch all_of(const Dataset& set) {
  std::vector<int64_t> order(static_cast<size_t>(set.size()));
  std::iota(order.begin(), order.end(), int64_t{0});
  return set.batch(order);
}
std::vector<int64_t> first_labels(const Dataset& set, int64_t n) {
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), int64_t{0});
  return set.batch(order).y.to_vector<int64_t>();
}

TEST(Mnist, IsWhatLeCunPublished) {
  const Splits s = load_source("mnist", {.val_fraction = 0});
  EXPECT_EQ(s.train->size(), 60000);
  EXPECT_EQ(s.val, nullptr);
  EXPECT_EQ(s.test->size(), 10000);
  EXPECT_EQ(s.input, (Shape{1, 28, 28}));
  EXPECT_EQ(s.num_classes, 10);
  EXPECT_THAT(s.class_names, ElementsAre("0", "1", "2", "3", "4", "5", "6", "7", "8", "9"));
  EXPECT_NEAR(s.normalization.mean.at(0), 0.1307, 5e-5);
  EXPECT_NEAR(s.normalization.std.at(0), 0.3081, 5e-5);
  EXPECT_THAT(first_labels(*s.train, 10), ElementsAre(5, 0, 4, 1, 9, 2, 1, 3, 1, 4));
  EXPECT_THAT(first_labels(*s.test, 10), ElementsAre(7, 2, 1, 0, 4, 1, 4, 9, 5, 9));
  const int64_t first[] = {0};
  EXPECT_NEAR(s.test->batch(first).x.to_vector<float>()[0], -0.1307 / 0.3081, 1e-3) << "black";
}

TEST(Mnist, HoldsOut5000) {
  const Splits s = load_source("mnist");
  EXPECT_EQ(s.train->size(), 55000);
  EXPECT_EQ(s.val->size(), 5000);
  EXPECT_NEAR(s.normalization.mean.at(0), 0.1307, 5e-5);
}

class SourcesTest : public io::test::IoTest {
 protected:
  // 100 pictures to train, 20 to test; the first pixel of a training picture is its number.
  std::string idx_folder() const {
    Pictures train{.count = 100}, test{.count = 20, .seed = 1};
    write_idx_folder(path("digits"), train, test);
    std::string pixels = train.pixels();
    for (size_t i = 0; i < 100; ++i) pixels[i * 64] = static_cast<char>(i);
    write_bytes(path("digits/train-images-idx3-ubyte"), idx_bytes({100, 8, 8}, pixels));
    return path("digits");
  }
  // The numbers of a split's samples.
  static std::vector<int64_t> ids(const Dataset& set) {
    std::vector<int64_t> out;
    const auto x = all_of(set).x.to_vector<float>();
    for (size_t i = 0; i < x.size(); i += 64) out.push_back(std::lround(x[i] * 255));
    return out;
  }
  std::string idx_error(const std::string& name, const std::string& bytes) const {
    idx_folder();
    write_bytes(path("digits/" + name), bytes);
    return error_of([&] { load_source(path("digits")); });
  }
  std::string csv_error(const std::string& text, const SourceOptions& o = {}) const {
    return error_of([&] { load_source(file("t.csv", text), o); });
  }
  void write_arrays(const Tensor& x, const Tensor& y) const {
    io::save_npy(path("x.npy"), x);
    io::save_npy(path("y.npy"), y);
  }
  std::string arrays_error(const Tensor& x, const Tensor& y) const {
    write_arrays(x, y);
    return error_of([&] { load_arrays(path("x.npy"), path("y.npy")); });
  }
};

TEST_F(SourcesTest, HoldOutIsAPartOfTheTrainingSamplesDrawnBySeed) {
  const SourceOptions raw{.val_fraction = 0.25, .seed = 1, .normalization = Normalization{{0}, {1}}};
  const Splits s = load_source(idx_folder(), raw);
  EXPECT_EQ(s.name, "digits");
  const auto held = ids(*s.val), kept = ids(*s.train);
  EXPECT_EQ(held.size(), 25u);
  EXPECT_EQ(kept.size(), 75u);
  std::vector<int64_t> all(held), expected(100);
  all.insert(all.end(), kept.begin(), kept.end());
  std::sort(all.begin(), all.end());
  std::iota(expected.begin(), expected.end(), int64_t{0});
  EXPECT_EQ(all, expected) << "each sample in one of them";
  EXPECT_NE(held, std::vector<int64_t>(expected.begin(), expected.begin() + 25)) << "drawn, not the first";
  EXPECT_EQ(ids(*load_source(path("digits"), raw).val), held);
  SourceOptions other = raw;
  other.seed = 2;
  EXPECT_NE(ids(*load_source(path("digits"), other).val), held);
  const auto y = all_of(*s.val).y.to_vector<int64_t>();
  for (size_t i = 0; i < held.size(); ++i) EXPECT_EQ(y[i], held[i] % 4) << "labels go with their pictures";
}

TEST_F(SourcesTest, SmallIdxSetsHoldOutATenth) {
  const Splits s = load_source(idx_folder() + "/");
  EXPECT_EQ(s.name, "digits");
  EXPECT_EQ(s.val->size(), 10);
  EXPECT_EQ(s.train->size(), 90);
  EXPECT_EQ(s.test->size(), 20);
  EXPECT_EQ(s.num_classes, 4);
}

TEST_F(SourcesTest, IdxStatisticsAreThoseOfAllTrainingPixels) {
  const Splits s = load_source(idx_folder(), {.val_fraction = 0});
  double sum = 0, squares = 0;
  const auto x = all_of(*s.train).x.to_vector<float>();
  for (const float v : x) sum += v, squares += v * v;
  EXPECT_NEAR(sum / 6400, 0, 1e-5);
  EXPECT_NEAR(squares / 6400, 1, 1e-5);
}

TEST_F(SourcesTest, PackedIdxEqualsRaw) {
  const Splits raw = load_source(idx_folder());
  for (const char* name : {"train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte",
                           "t10k-labels-idx1-ubyte"}) {
    const std::string plain = path("digits/") + name;
    write_bytes(plain + ".gz", io::test::gzip_stored(io::test::bytes_of_file(plain)));
    std::filesystem::remove(plain);
  }
  const Splits packed = load_source(path("digits"));
  EXPECT_EQ(all_of(*packed.train).x.to_vector<float>(), all_of(*raw.train).x.to_vector<float>());
  EXPECT_EQ(all_of(*packed.test).y.to_vector<int64_t>(), all_of(*raw.test).y.to_vector<int64_t>());
}

TEST_F(SourcesTest, BrokenIdxFoldersAreErrors) {
  const Pictures p;
  std::filesystem::remove(idx_folder() + "/t10k-labels-idx1-ubyte");
  EXPECT_EQ(error_of([&] { load_source(path("digits")); }),
            "[data] " + path("digits") +
                ": expected the file t10k-labels-idx1-ubyte or t10k-labels-idx1-ubyte.gz, found neither");
  EXPECT_THAT(idx_error("train-images-idx3-ubyte", p.image_file().substr(0, 1000)), HasSubstr("is cut off"));
  EXPECT_THAT(idx_error("train-images-idx3-ubyte", "not an IDX file"), HasSubstr("magic number"));
  EXPECT_THAT(idx_error("train-images-idx3-ubyte", p.label_file()),
              HasSubstr("expected images of 3 dimensions [count, rows, columns], got 100"));
  EXPECT_THAT(idx_error("train-labels-idx1-ubyte", p.image_file()),
              HasSubstr("expected labels of 1 dimension, got 100x8x8"));
  EXPECT_THAT(idx_error("train-labels-idx1-ubyte", Pictures{.count = 101}.label_file()),
              AllOf(HasSubstr("train-labels-idx1-ubyte: expected 100 labels, one for each image of "),
                    EndsWith(", got 101")));
  EXPECT_THAT(idx_error("t10k-labels-idx1-ubyte", idx_bytes({20}, std::string(20, 9))),
              HasSubstr("expected test labels below 4, as in the training labels, got 9"));
  EXPECT_THAT(idx_error("t10k-images-idx3-ubyte", Pictures{.count = 20, .size = 9}.image_file()),
              HasSubstr("expected test images of 8x8, as the training images, got 9x9"));
  const std::string packed = io::test::gzip_stored(p.image_file());
  EXPECT_THAT(idx_error("train-images-idx3-ubyte", packed.substr(0, 3000)), HasSubstr("is cut off"));
}

constexpr char kTable[] = "a,b,kind\n1,10,0\n2,20,1\n3,30,2\n4,40,1\n";

TEST_F(SourcesTest, CsvColumnsBecomeFeaturesAndClasses) {
  const Splits s = load_source(file("t.csv", kTable));
  EXPECT_EQ(s.input, Shape{2});
  EXPECT_EQ(s.num_classes, 3);
  EXPECT_EQ(s.val, nullptr) << "nothing is held out unless it is asked for";
  EXPECT_EQ(s.test, nullptr);
  const Batch b = all_of(*s.train);
  EXPECT_THAT(b.y.to_vector<int64_t>(), ElementsAre(0, 1, 2, 1));
  const double d = std::sqrt(1.25);  // of 1, 2, 3, 4
  const std::vector<double> expected{-1.5 / d, -1.5 / d, -.5 / d, -.5 / d, .5 / d, .5 / d, 1.5 / d, 1.5 / d};
  EXPECT_THAT(b.x.to_vector<double>(), Pointwise(::testing::DoubleNear(1e-6), expected));
}

TEST_F(SourcesTest, CsvTakesATargetAFractionAndNumbers) {
  const Splits s = load_source(
      file("t.csv", kTable),
      {.val_fraction = 0.5, .target = "a", .normalization = Normalization{{0}, {1}}, .regression = true});
  EXPECT_EQ(s.num_classes, 0);
  EXPECT_EQ(s.train->size(), 2);
  EXPECT_EQ(s.val->size(), 2);
  const Batch b = all_of(*s.train);
  EXPECT_EQ(b.y.shape(), (Shape{2, 1}));
  EXPECT_EQ(b.y.dtype(), f32);
  const auto x = b.x.to_vector<double>(), y = b.y.to_vector<double>();
  EXPECT_EQ(x[0], 10 * y[0]) << "columns b and kind, target a";
  EXPECT_EQ(x[2], 10 * y[1]);
}

TEST_F(SourcesTest, BrokenCsvIsAnError) {
  EXPECT_THAT(csv_error("a,b\n1,2\n3,four\n"),
              AllOf(HasSubstr("t.csv: line 3, column \"b\""), HasSubstr("four")));
  EXPECT_THAT(csv_error("a,b\n1,2\n3\n"), HasSubstr("t.csv: line 3: expected 2 cells"));
  EXPECT_THAT(csv_error(kTable, {.target = "colour"}),
              HasSubstr("expected a column \"colour\", got a, b, kind"));
  EXPECT_THAT(csv_error("a\n1\n2\n"), HasSubstr("expected at least 2 columns"));
  EXPECT_THAT(csv_error("a,b\n1,2\n3,0.5\n"),
              HasSubstr("expected labels that are whole numbers from 0, got 0.5 for sample 1"));
  EXPECT_THAT(csv_error("a,b\n1,-2\n"), HasSubstr("got -2 for sample 0"));
  EXPECT_THAT(csv_error(kTable, {.val_fraction = 1}), HasSubstr("expected a val_fraction in [0, 1), got 1"));
}

TEST_F(SourcesTest, ArraysAreTakenAsTheyAre) {
  write_arrays(Tensor::from(std::vector<float>{1, 2, 3, 4, 5, 6}, {3, 1, 2}),
               Tensor::from(std::vector<int64_t>{0, 4, 1}));
  const Splits s = load_arrays(path("x.npy"), path("y.npy"));
  EXPECT_EQ(s.input, (Shape{1, 2}));
  EXPECT_EQ(s.num_classes, 5);
  EXPECT_EQ(s.val, nullptr);
  EXPECT_THAT(all_of(*s.train).x.to_vector<float>(), ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_EQ(load_arrays(path("x.npy"), path("y.npy"), {.val_fraction = 0.34}).val->size(), 1);
  write_arrays(Tensor::from(std::vector<float>(4), {2, 2}), Tensor::from(std::vector<float>(6), {2, 3}));
  EXPECT_EQ(load_arrays(path("x.npy"), path("y.npy")).num_classes, 0) << "numbers are no classes";
}

TEST_F(SourcesTest, BrokenArraysAreErrors) {
  const Tensor x = Tensor::from(std::vector<float>(4), {2, 2}), y = Tensor::from(std::vector<int64_t>{0, 1});
  EXPECT_EQ(arrays_error(Tensor::from(std::vector<double>(4), {2, 2}), y),
            "[data] " + path("x.npy") + ": expected inputs of f32, got f64 (i64 is taken too, for indices)");
  EXPECT_EQ(arrays_error(x, Tensor::from(std::vector<int32_t>{0, 1})),
            "[data] " + path("y.npy") + ": expected labels of i64 or targets of f32, got i32");
  EXPECT_THAT(arrays_error(Tensor::from(std::vector<float>{1, 2}), y), HasSubstr("at least 2 dimensions"));
  EXPECT_THAT(arrays_error(x, Tensor::from(std::vector<int64_t>{0, 1, 2})),
              AllOf(StartsWith("[data] " + path("y.npy") + ": expected 2 targets"), EndsWith("got 3")));
  EXPECT_THAT(arrays_error(x, Tensor::from(std::vector<int64_t>{0, -1})), HasSubstr("got -1 for sample 1"));
}

TEST(Sources, SyntheticSetsAreDrawnBySeed) {
  for (const auto& source : synthetic_sources()) {
    const Splits s = load_source(source.name), again = load_source(source.name);
    EXPECT_EQ(s.train->size(), 1000);
    EXPECT_EQ(s.test->size(), 1000);
    EXPECT_EQ(s.input, Shape{2});
    EXPECT_EQ(s.num_classes, 2);
    const Batch train = all_of(*s.train), test = all_of(*s.test);
    EXPECT_EQ(all_of(*again.train).x.to_vector<float>(), train.x.to_vector<float>());
    EXPECT_NE(test.x.to_vector<float>(), train.x.to_vector<float>());
    const auto y = train.y.to_vector<int64_t>();
    EXPECT_EQ(std::accumulate(y.begin(), y.end(), int64_t{0}), 500) << source.name;
  }
}

TEST(Sources, UnknownNamesListTheKnownOnes) {
  EXPECT_EQ(
      error_of([] { load_source("minst"); }),
      "[data] expected a data set (mnist, blobs, circles, moons, spiral, xor), a folder of IDX files or a "
      "CSV file, got \"minst\"");
}

}  // namespace
}  // namespace hebb::data
