// IDX: files written by hand from the format's description, MNIST itself, and broken files.
#include "hebb/io/idx.h"

#include "tests/io/files.h"

namespace hebb::io {
namespace {

using namespace test;

class IdxTest : public IoTest {
 protected:
  std::string load_error(const std::string& bytes) const {
    const std::string message = error_of([&] { load_idx(file("x", bytes)); });
    EXPECT_THAT(message, HasSubstr("[load_idx] " + path("x") + ": "));
    return message;
  }
};

TEST_F(IdxTest, ReadsEveryType) {
  expect_values(load_idx(file("x", bytes("\0\0\x08\x02\0\0\0\x02\0\0\0\x03\x00\x01\x02\xfd\xfe\xff"))), u8,
                {2, 3}, {0, 1, 2, 253, 254, 255});
  expect_values(load_idx(file("x", bytes("\0\0\x09\x01\0\0\0\x02\x80\x7f"))), i8, {2}, {-128, 127});
  expect_values(load_idx(file("x", bytes("\0\0\x0c\x01\0\0\0\x02\x00\x00\x01\x02\xff\xff\xff\xfe"))), i32,
                {2}, {258, -2});
  expect_values(load_idx(file("x", bytes("\0\0\x0d\x01\0\0\0\x02\x3f\xc0\x00\x00\xc0\x00\x00\x00"))), f32,
                {2}, {1.5, -2});
  expect_values(load_idx(file("x", bytes("\0\0\x0e\x01\0\0\0\x01\x3f\xf8\x00\x00\x00\x00\x00\x00"))), f64,
                {1}, {1.5});
  expect_values(load_idx(file("x", bytes("\0\0\x08\x03\0\0\0\x00\0\0\0\x1c\0\0\0\x1c"))), u8, {0, 28, 28},
                {});
}

TEST_F(IdxTest, ReadsPackedFiles) {
  expect_values(load_idx(fixture("idx_f32.gz")), f32, {2, 3}, counting(6));
  expect_values(load_idx(file("x", gzip_stored(bytes("\0\0\x08\x01\0\0\0\x01\x07")))), u8, {1}, {7});
}

TEST_F(IdxTest, ReadsMnist) {
  const std::string folder = fixture("../../../data/mnist/");
  const Tensor images = load_idx(folder + "t10k-images-idx3-ubyte.gz");
  const Tensor labels = load_idx(folder + "t10k-labels-idx1-ubyte.gz");
  EXPECT_EQ(images.shape().str(), "10000x28x28");
  ASSERT_EQ(labels.shape().str(), "10000");
  const uint8_t* p = labels.data<uint8_t>();
  EXPECT_THAT(std::vector<int>(p, p + 10), ElementsAre(7, 2, 1, 0, 4, 1, 4, 9, 5, 9));
}

TEST_F(IdxTest, SeesWrongMagicNumbers) {
  for (const std::string& magic : {bytes("\x89PNG"), bytes("\0\0\x0a\x01"), bytes("\0\0\x08\0"),
                                   bytes("\0\0\x08\x09"), bytes("\x01\0\x08\x01")})
    EXPECT_THAT(load_error(magic + bytes("\0\0\0\x01\x07")),
                HasSubstr("expected the magic number of an IDX file"));
  EXPECT_THAT(load_error(bytes("\x89PNG....")), HasSubstr("got 0x89504e47"));
  EXPECT_THAT(load_error(bytes("\0\0\x0b\x01\0\0\0\x01\x00\x07")),
              HasSubstr("got 16-bit integers (type 0x0b)"));
}

TEST_F(IdxTest, SeesFilesOfTheWrongLength) {
  const std::string whole = bytes("\0\0\x08\x02\0\0\0\x02\0\0\0\x03\x00\x01\x02\xfd\xfe\xff");
  for (size_t n = 0; n < whole.size(); ++n)
    EXPECT_THAT(load_error(whole.substr(0, n)), HasSubstr("expected"));
  EXPECT_THAT(load_error(""), HasSubstr("expected an IDX file of at least 4 bytes, got 0"));
  EXPECT_THAT(load_error(whole.substr(0, 10)),
              HasSubstr("expected a header of 12 bytes for 2 dimensions, got 10"));
  EXPECT_THAT(load_error(whole.substr(0, 17)),
              HasSubstr("expected 6 bytes of values for 2x3 of u8, got 5: the file is cut off"));
  EXPECT_THAT(load_error(whole + "z"), HasSubstr("got 7: the file has extra bytes"));
  EXPECT_THAT(load_error(gzip_stored(whole).substr(0, 30)), HasSubstr("the gzip data is cut off"));
}

TEST_F(IdxTest, SurvivesAnyChangedByte) {
  survive_changed_bytes(bytes_of_file(fixture("idx_f32.gz")),
                        [&](const std::string& b) { load_idx(file("x", b)); });
}

TEST_F(IdxTest, DoesNotBelieveHugeDimensions) {
  EXPECT_THAT(load_error(bytes("\0\0\x0e\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff....")),
              HasSubstr("expected dimensions that fit into memory, got 4294967295x4294967295x4294967295"));
  EXPECT_THAT(load_error(bytes("\0\0\x08\x02\xff\xff\xff\xff\x00\xff\xff\xff....")),
              HasSubstr("the file is cut off"));
}

}  // namespace
}  // namespace hebb::io
