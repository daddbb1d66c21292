// .npy: files that NumPy wrote, files written by hand, and every way in which a file can be wrong.
#include "hebb/io/npy.h"

#include <limits>

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
  std::string load_error(const std::string& header, const std::string& data = "") const {
    return error_of([&] { load_npy(npy(header, data)); });
  }
};

TEST_F(NpyTest, ReadsWhatNumPyWrote) {
  expect_values(load_npy(fixture("f4_2x3.npy")), f32, {2, 3}, {0, .25, .5, .75, 1, 1.25});
  expect_values(load_npy(fixture("f8_fortran_3x4.npy")), f64, {3, 4}, counting(12));
  expect_values(load_npy(fixture("i4_fortran_2x3x4.npy")), i32, {2, 3, 4}, counting(24));
  expect_values(load_npy(fixture("f2_4.npy")), f16, {4},
                {.5, -2, 65504, std::numeric_limits<double>::infinity()});
  expect_values(load_npy(fixture("i1_3.npy")), i8, {3}, {-128, 0, 127});
  expect_values(load_npy(fixture("u1_0x3.npy")), u8, {0, 3}, {});
  expect_values(load_npy(fixture("i8_scalar.npy")), i64, {}, {-0x1p40});
  expect_values(load_npy(fixture("b1_3.npy")), boolean, {3}, {1, 0, 1});
  expect_values(load_npy(fixture("version_2.npy")), i64, {5}, counting(5));
  expect_values(load_npy(fixture("version_3.npy")), i64, {5}, counting(5));
}

TEST_F(NpyTest, WritesTheBytesThatNumPyWrites) {
  for (const std::string name :
       {"f4_2x3.npy", "f2_4.npy", "i1_3.npy", "u1_0x3.npy", "i8_scalar.npy", "b1_3.npy"}) {
    save_npy(path(name), load_npy(fixture(name)));
    EXPECT_EQ(bytes_of_file(path(name)), bytes_of_file(fixture(name))) << name;
  }
}

TEST_F(NpyTest, ReadsHeadersThatOthersWrite) {
  const std::string two = bytes("\x01\x00\x00\x00\x02\x00\x00\x00");
  expect_values(load_npy(npy("{'shape':(2,),'fortran_order':False,'descr':'<i4'}", two)), i32, {2}, {1, 2});
  expect_values(load_npy(npy("{\"descr\": \"<i4\", \"fortran_order\": True, \"shape\": (1, 2L)}  \n", two)),
                i32, {1, 2}, {1, 2});
  expect_values(
      load_npy(npy("{'descr': '|b1', 'fortran_order': False, 'shape': (3,), }", bytes("\x00\x02\x01"))),
      boolean, {3}, {0, 1, 1});
}

TEST_F(NpyTest, RoundTripsEveryDtypeShapeAndStride) {
  for (const DType dtype : {f32, f64, f16, u8, i8, i32, i64, boolean})
    for (const Shape& shape :
         {Shape{}, Shape{0}, Shape{5}, Shape{2, 0, 3}, Shape{2, 3, 1, 2}, Shape{1, 1, 1, 1, 1, 1, 1, 2}}) {
      const Tensor numbers = Tensor::from(counting(static_cast<int>(shape.numel())), shape);
      Tensor t = Tensor::empty(shape, dtype);
      t.assign_(numbers);
      save_npy(path("x.npy"), t);
      expect_equal(load_npy(path("x.npy")), t);
    }
  const Tensor t = Tensor::from(counting(6), {2, 3});
  const Tensor transposed = Tensor::view(t.impl()->storage, TensorSpec({3, 2}, {1, 3}, f64, {}), 0);
  save_npy(path("x.npy"), transposed);
  expect_values(load_npy(path("x.npy")), f64, {3, 2}, {0, 3, 1, 4, 2, 5});
}

TEST_F(NpyTest, NamesTheDtypesThatItReads) {
  EXPECT_EQ(error_of([&] { load_npy(fixture("big_endian.npy")); }),
            "[load_npy] " + fixture("big_endian.npy") +
                ": expected dtype <f4, <f8, <f2, |u1, |i1, <i4, <i8, |b1, got >f4");
  EXPECT_THAT(error_of([&] { load_npy(fixture("complex.npy")); }), HasSubstr("got <c8"));
  EXPECT_THAT(error_of([&] { load_npy(fixture("structured.npy")); }), HasSubstr("got a structured dtype"));
}

TEST_F(NpyTest, SeesAFileCutOffAnywhere) {
  const std::string whole = bytes_of_file(fixture("f4_2x3.npy"));
  for (size_t n = 0; n < whole.size(); ++n)
    EXPECT_THAT(error_of([&] { load_npy(file("x.npy", whole.substr(0, n))); }), HasSubstr("x.npy: expected"));
  EXPECT_THAT(error_of([&] { load_npy(file("x.npy", whole.substr(0, whole.size() - 1))); }),
              HasSubstr("expected 24 bytes of data for shape 2x3 of f32, got 23"));
}

TEST_F(NpyTest, SeesBytesTooMany) {
  EXPECT_THAT(error_of([&] { load_npy(file("x.npy", bytes_of_file(fixture("f4_2x3.npy")) + "z")); }),
              HasSubstr("expected 24 bytes of data for shape 2x3 of f32, got 25"));
}

TEST_F(NpyTest, SeesWhatIsNoNpyFile) {
  EXPECT_THAT(error_of([&] { load_npy(path("none.npy")); }), HasSubstr("none.npy: cannot read it"));
  EXPECT_THAT(error_of([&] { load_npy(file("x.npy", "")); }), HasSubstr("got an empty file"));
  EXPECT_THAT(error_of([&] { load_npy(file("x.npy", "PK\3\4 an archive")); }),
              HasSubstr("expected a .npy file"));
  EXPECT_THAT(error_of([&] { load_npy(file("x.npy", "\x93NUMPY" + bytes("\x04\x00\x00\x00"))); }),
              HasSubstr("expected format version 1.0, 2.0 or 3.0, got 4.0"));
  EXPECT_THAT(error_of([&] { load_npy(file("x.npy", "\x93NUMPY" + bytes("\x02\x00\xff\xff\xff\xff{"))); }),
              HasSubstr("expected a header of 4294967295 bytes, got 1 bytes"));
}

TEST_F(NpyTest, SeesWrongHeaders) {
  EXPECT_THAT(load_error("(1, 2)"), HasSubstr("expected '{' in the header, got '(1, 2)' at header byte 0"));
  EXPECT_THAT(load_error("{'descr': '<f4', 'shape': ()}", "abcd"),
              HasSubstr("with the key 'fortran_order', got none"));
  EXPECT_THAT(load_error("{'descr': '<f4', 'descr': '<f4'}"), HasSubstr("got 'descr' twice"));
  EXPECT_THAT(load_error("{'colour': 1}"), HasSubstr("got 'colour'"));
  EXPECT_THAT(load_error("{'descr': '<f4', 'fortran_order': 0, 'shape': ()}"),
              HasSubstr("expected fortran_order True or False"));
  EXPECT_THAT(load_error("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}"),
              HasSubstr("expected extents of at least 0 in the shape, got '-1,)}'"));
  EXPECT_THAT(load_error("{'descr': '<f4', 'fortran_order': False, 'shape': (2 3)}"),
              HasSubstr("expected ')'"));
  EXPECT_THAT(load_error("{'descr': '<f4"), HasSubstr("got no closing quote"));
  EXPECT_THAT(load_error("{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1)}", "abcd"),
              HasSubstr("expected at most 8 dimensions, got 9"));
  EXPECT_THAT(load_error("{'descr': '<f4', 'fortran_order': False, 'shape': ()} x", "abcd"),
              HasSubstr("expected nothing after the header's closing brace, got 'x'"));
}

TEST_F(NpyTest, SurvivesAnyChangedByte) {
  for (const std::string name : {"i4_fortran_2x3x4.npy", "version_2.npy"})
    survive_changed_bytes(bytes_of_file(fixture(name)),
                          [&](const std::string& b) { load_npy(file("x", b)); });
}

TEST_F(NpyTest, DoesNotBelieveHugeShapes) {
  EXPECT_THAT(load_error("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999,)}", "abcd"),
              HasSubstr("expected 399999999996 bytes of data"));
  for (const std::string shape : {"(4611686018427387904, 4)", "(4611686018427387904, 4, 0)"})
    EXPECT_THAT(load_error("{'descr': '<f4', 'fortran_order': False, 'shape': " + shape + "}"),
                HasSubstr("expected a shape that fits into memory"));
  EXPECT_THAT(load_error("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}"),
              HasSubstr("expected extents of at least 0 in the shape"));
}

TEST_F(NpyTest, RefusesWhatNumPyDoesNotHave) {
  EXPECT_THAT(error_of([&] { save_npy(path("x.npy"), Tensor::empty({2}, bf16)); }),
              HasSubstr("x.npy: expected a dtype that NumPy has, got bf16"));
  EXPECT_THAT(error_of([&] { save_npy(path("x.npy"), Tensor()); }), HasSubstr("got an undefined tensor"));
  EXPECT_THAT(error_of([&] { save_npy(path("x.npy"), Tensor::meta(TensorSpec({2}, f32))); }),
              HasSubstr("got only a shape (f32 2)"));
  EXPECT_THAT(listing(), IsEmpty());
}

TEST_F(NpyTest, AFullDiskLeavesTheOldFile) {
  const Tensor old = Tensor::from(counting(3));
  save_npy(path("x.npy"), old);
  std::string message;
  {
    const FileSizeLimit full(300);
    message = error_of([&] { save_npy(path("x.npy"), Tensor::from(counting(100))); });
  }
  EXPECT_THAT(message, HasSubstr("[save_npy] " + path("x.npy") + ": expected to write 928 bytes, wrote 300"));
  expect_equal(load_npy(path("x.npy")), old);
  EXPECT_THAT(listing(), ElementsAre("x.npy"));
}

}  // namespace
}  // namespace hebb::io
