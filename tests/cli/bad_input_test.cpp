// Files that are broken or do not fit: each is named with what was expected, exit code 1, nothing on stdout,
// and no run's folder is left behind.
#include "hebb/io/npy.h"
#include "hebb/io/safetensors.h"
#include "hebb/ops/creation.h"
#include "tests/cli/support.h"

namespace hebb::cli {
namespace {

using test::idx_bytes;
using test::Pictures;
using ::testing::AllOf;
using ::testing::HasSubstr;

class BadInput : public test::CliTest {
 protected:
  static constexpr const char* kImages = "digits/train-images-idx3-ubyte";
  static constexpr const char* kLabels = "digits/train-labels-idx1-ubyte";

  /// What is said of training with these words; it must leave no folder.
  std::string train_error(const std::string& words) const {
    const std::string message = error("train " + words + " --out a");
    EXPECT_FALSE(exists("a")) << words;
    return message;
  }
  /// The same with one of the data's files replaced.
  std::string with(const std::string& name, const std::string& bytes) const {
    const std::string good = read(name);
    file(name, bytes);
    const std::string message = train_error("net.toml");
    file(name, good);
    return message;
  }
};

TEST_F(BadInput, IdxThatIsMissing) {
  std::filesystem::remove(path(kLabels));
  EXPECT_THAT(train_error("net.toml"),
              AllOf(HasSubstr(path("digits")), HasSubstr("train-labels-idx1-ubyte or "
                                                         "train-labels-idx1-ubyte.gz, "
                                                         "found neither")));
  EXPECT_THAT(train_error("net.toml --data no/such/folder"), HasSubstr("no/such/folder"));
}

TEST_F(BadInput, IdxThatIsBroken) {
  const std::string images = read(kImages);
  EXPECT_THAT(with(kImages, images.substr(0, 5000)),
              AllOf(HasSubstr(path(kImages)), HasSubstr("expected 12800 bytes"), HasSubstr("is cut off")));
  EXPECT_THAT(with(kImages, images + "!"), HasSubstr("has extra bytes"));
  EXPECT_THAT(with(kImages, ""), HasSubstr("at least 4 bytes, got 0"));
  std::string wrong = images;
  wrong[0] = 'P';
  EXPECT_THAT(with(kImages, wrong), AllOf(HasSubstr("magic number"), HasSubstr("got 0x50000803")));
  const std::string packed = io::test::gzip_stored(images);
  EXPECT_THAT(with(kImages, packed.substr(0, 6000)),
              AllOf(HasSubstr(path(kImages)), HasSubstr("gzip data is cut off")));
  std::string damaged = packed;
  damaged[3000] = static_cast<char>(damaged[3000] ^ 1);
  EXPECT_THAT(with(kImages, damaged), HasSubstr("checksum"));
}

TEST_F(BadInput, LabelsThatDoNotFit) {
  EXPECT_THAT(with(kLabels, Pictures{.count = 201}.label_file()),
              AllOf(HasSubstr("expected 200 labels, one for each image"), HasSubstr("got 201")));
  EXPECT_THAT(with(kLabels, Pictures{.count = 200, .classes = 5}.label_file()),
              AllOf(HasSubstr("expected at least 5 outputs for the classes of digits"), HasSubstr("2x4")));
  EXPECT_THAT(with("digits/t10k-labels-idx1-ubyte", Pictures{.count = 60, .classes = 7}.label_file()),
              HasSubstr("expected test labels below 4, as in the training labels, got 6"));
  EXPECT_THAT(with(kLabels, read(kImages)), HasSubstr("expected labels of 1 dimension"));
}

TEST_F(BadInput, ImagesOfAnotherSize) {
  EXPECT_THAT(with("digits/t10k-images-idx3-ubyte", Pictures{.count = 60, .size = 9}.image_file()),
              HasSubstr("expected test images of 8x8, as the training images, got 9x9"));
  EXPECT_THAT(train_error("lenet5 --data digits"),
              HasSubstr("expected samples of shape 1x28x28 (model.input of lenet5), got 1x8x8 from digits"));
}

TEST_F(BadInput, CsvThatIsBroken) {
  const std::string words = "perceptron --data t.csv --set model.input=[1]";
  file("t.csv", "a,b\n1,0\ntwo,1\n");
  EXPECT_THAT(train_error(words),
              AllOf(HasSubstr("t.csv: line 3, column \"a\": expected a number"), HasSubstr("\"two\"")));
  file("t.csv", "a,b\n1,0\n2\n");
  EXPECT_THAT(train_error(words), HasSubstr("t.csv: line 3: expected 2 cells as in the first row, got 1"));
  file("t.csv", "a,b\n1,0\n2,1\n");
  EXPECT_THAT(train_error(words + " --set data.target=kind"),
              HasSubstr("expected a column \"kind\", got a, b"));
  file("t.csv", "a,b\n1,0\n2,0.5\n");
  EXPECT_THAT(train_error(words), HasSubstr("expected labels that are whole numbers from 0, got 0.5"));
  file("t.csv", "a,b\n");
  EXPECT_THAT(train_error(words + " --set data.val_fraction=0"), HasSubstr("t.csv"));
}

TEST_F(BadInput, ArraysOfAWrongType) {
  file("arrays.toml",
       "[model]\ninput = [2]\n[[model.layer]]\ntype = \"Linear\"\nout_features = 2\n[data]\nx = \"x.npy\"\ny "
       "= "
       "\"y.npy\"\n");
  io::save_npy(path("x.npy"), zeros({4, 2}, f64));
  io::save_npy(path("y.npy"), zeros({4}, i64));
  EXPECT_THAT(train_error("arrays.toml"), HasSubstr("x.npy: expected inputs of f32, got f64"));
  io::save_npy(path("x.npy"), zeros({4, 2}));
  io::save_npy(path("y.npy"), zeros({4}, u8));
  EXPECT_THAT(train_error("arrays.toml"),
              HasSubstr("y.npy: expected labels of i64 or targets of f32, got u8"));
  io::save_npy(path("y.npy"), zeros({3}, i64));
  EXPECT_THAT(train_error("arrays.toml"), HasSubstr("expected 4 targets, one for each input"));
  file("y.npy", read("x.npy").substr(0, 90));
  EXPECT_THAT(train_error("arrays.toml"), HasSubstr("y.npy"));
  std::filesystem::remove(path("y.npy"));
  EXPECT_THAT(train_error("arrays.toml"), AllOf(HasSubstr("y.npy"), HasSubstr("No such file")));
}

TEST_F(BadInput, WeightsThatAreBroken) {
  auto init_error = [&](const std::string& header, const std::string& data, int64_t extra = 0) {
    file("w.safetensors",
         io::test::little_endian(static_cast<uint64_t>(static_cast<int64_t>(header.size()) + extra), 8) +
             header + data);
    return train_error("net.toml --init w.safetensors");
  };
  const std::string one = R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", four(4, '\0');
  EXPECT_THAT(init_error(one, four, 1000),
              AllOf(HasSubstr("w.safetensors: expected a header of 1054 bytes, got "
                              "58 bytes after its length")));
  EXPECT_THAT(init_error(one, four, int64_t{1} << 40), HasSubstr("expected a header of at most"));
  EXPECT_THAT(init_error(one, four, -3), HasSubstr("w.safetensors: expected a JSON header"));
  EXPECT_THAT(
      init_error(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                 R"("b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}})",
                 "123456"),
      AllOf(HasSubstr("tensor \"b\""), HasSubstr("where tensor \"a\" ends, got an overlap: offset 2")));
  EXPECT_THAT(init_error(one, "12"), HasSubstr("tensor \"a\""));
  file("w.safetensors", "1234");
  EXPECT_THAT(train_error("net.toml --init w.safetensors"), HasSubstr("at least 8 bytes"));
  EXPECT_THAT(train_error("net.toml --init missing.safetensors"), HasSubstr("No such file"));
}

TEST_F(BadInput, WeightsOfAnotherNetwork) {
  io::save_safetensors(
      path("w.safetensors"),
      {{"0.weight", zeros({4, 1, 5, 5})}, {"0.bias", zeros({4})}, {"head.bias", zeros({2})}});
  EXPECT_THAT(train_error("net.toml --init w.safetensors"),
              AllOf(HasSubstr("w.safetensors"), HasSubstr("missing: 5.weight, 5.bias"),
                    HasSubstr("unexpected: head.bias"),
                    HasSubstr("wrong shape: 0.weight (expected 4x1x3x3, got 4x1x5x5)")));
}

TEST_F(BadInput, FoldersThatExistOrCannotBeMade) {
  ok("train net.toml --epochs 1 --out a");
  const auto before = snapshot("a");
  EXPECT_THAT(error("train net.toml --out a"), HasSubstr("expected a new folder for the run, a exists"));
  EXPECT_EQ(snapshot("a"), before);
  EXPECT_THAT(error("train net.toml --out net.toml/run"), HasSubstr("expected to make the folder"));
  std::filesystem::remove(path("a/best.safetensors"));
  EXPECT_THAT(error("eval a"), HasSubstr("expected best.safetensors in the run's folder, found none"));
}

TEST_F(BadInput, AFullDiskEndsARunWithAMessage) {
  EXPECT_THAT(error("train net.toml --out a --quiet", 1, {.file_size = 1500}),
              AllOf(HasSubstr("expected to write "), HasSubstr("File too large")));
  for (const auto& [name, bytes] : snapshot("a")) EXPECT_THAT(name, ::testing::Not(HasSubstr(".tmp")));
}

TEST_F(BadInput, ALossThatIsNoNumberEndsTheRun) {
  const std::string message = error("train net.toml --lr 1e30 --out a --quiet");
  EXPECT_THAT(message, AllOf(HasSubstr("expected a finite loss, got "), HasSubstr("in epoch 1 at step "),
                             HasSubstr("a lower learning rate")));
}

}  // namespace
}  // namespace hebb::cli
