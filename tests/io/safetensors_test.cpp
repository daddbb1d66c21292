// safetensors: a file of the reference implementation, files written by hand, and all that the format
// forbids.
#include "hebb/io/safetensors.h"

#include "tests/io/files.h"

namespace hebb::io {
namespace {

using namespace test;

class SafeTensorsTest : public IoTest {
 protected:
  std::string safetensors(const std::string& header, const std::string& data = "") const {
    return file("m.safetensors", little_endian(header.size(), 8) + header + data);
  }
  std::string load_error(const std::string& header, const std::string& data = "") const {
    const std::string message = error_of([&] { load_safetensors(safetensors(header, data)); });
    EXPECT_THAT(message, HasSubstr("[load_safetensors] " + path("m.safetensors") + ": "));
    return message;
  }
};

TEST_F(SafeTensorsTest, ReadsWhatTheReferenceWrote) {
  const SafeTensors file = load_safetensors(fixture("all_types.safetensors"));
  EXPECT_EQ(file.tensors.size(), 11u);
  EXPECT_EQ(file.metadata.at("made by"), "safetensors");
  EXPECT_EQ(file.metadata.at("a"), "\u00e9\n");
  for (const DType dtype : {f64, f32, f16, bf16, i64, i32, i8, u8}) {
    const Tensor* t = file.find(std::string(name_of(dtype)));
    ASSERT_NE(t, nullptr) << name_of(dtype);
    expect_values(*t, dtype, {2, 3}, {0, 1, 2, 3, 100, 1});
  }
  expect_values(*file.find("bool"), boolean, {2, 3}, {0, 1, 1, 1, 1, 1});
  expect_values(*file.find("scalar"), f32, {}, {2.5});
  expect_values(*file.find("empty"), f32, {0, 4}, {});
  EXPECT_EQ(file.find("other"), nullptr);
}

TEST_F(SafeTensorsTest, WritesTheBytesThatTheReferenceWrites) {
  // The reference sorts: metadata, then tensors by dtype and name. Given that order, the files are equal.
  const SafeTensors file = load_safetensors(fixture("resized.safetensors"));
  save_safetensors(path("x"), file.tensors, file.metadata);
  EXPECT_EQ(bytes_of_file(path("x")), bytes_of_file(fixture("resized.safetensors")));
}

TEST_F(SafeTensorsTest, WritesTheseBytes) {
  const NamedTensors tensors = {{"b", Tensor::from(std::vector<uint8_t>{7, 8, 9})},
                                {"a\"", Tensor::from(std::vector<float>{1.5f}, {})}};
  const std::string header =
      "{\"__metadata__\":{\"k\":\"v\",\"l\":\"w\"},\"b\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,"
      "3]},"
      "\"a\\\"\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[3,7]}}";
  const std::string padded = header + std::string((8 - header.size() % 8) % 8, ' ');
  save_safetensors(path("x"), tensors, {{"l", "w"}, {"k", "v"}});
  EXPECT_EQ(bytes_of_file(path("x")),
            little_endian(padded.size(), 8) + padded + bytes("\x07\x08\x09\x00\x00\xc0\x3f"));
}

TEST_F(SafeTensorsTest, RoundTripsInTheGivenOrder) {
  const Tensor t = Tensor::from(counting(6), {2, 3});
  const Tensor transposed = Tensor::view(t.impl()->storage, TensorSpec({3, 2}, {1, 3}, f64, {}), 0);
  const NamedTensors tensors = {{"z.weight", t},
                                {"a", transposed},
                                {"none", Tensor::empty({0, 2}, i64)},
                                {"m.\u00fc", Tensor::from(std::vector<int8_t>{-1})},
                                {"", Tensor::from(std::vector<int32_t>{1 << 30})}};
  save_safetensors(path("x"), tensors);
  const SafeTensors back = load_safetensors(path("x"));
  ASSERT_EQ(back.tensors.size(), tensors.size());
  EXPECT_TRUE(back.metadata.empty());
  for (size_t i = 0; i < tensors.size(); ++i) {
    EXPECT_EQ(back.tensors[i].first, tensors[i].first);
    expect_equal(back.tensors[i].second, tensors[i].second);
  }
  save_safetensors(path("empty"), {});
  EXPECT_EQ(bytes_of_file(path("empty")), little_endian(8, 8) + "{}      ");
  EXPECT_TRUE(load_safetensors(path("empty")).tensors.empty());
}

TEST_F(SafeTensorsTest, KeepsTheOrderOfTheHeaderNotOfTheData) {
  const SafeTensors f =
      load_safetensors(safetensors("{\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]},"
                                   "\"a\":{\"dtype\":\"BOOL\",\"shape\":[1],\"data_offsets\":[0,1]}}",
                                   "\x05\x06"));
  ASSERT_EQ(f.tensors.size(), 2u);
  EXPECT_EQ(f.tensors[0].first, "b");
  expect_values(f.tensors[0].second, u8, {1}, {6});
  expect_values(f.tensors[1].second, boolean, {1}, {1});
}

TEST_F(SafeTensorsTest, SeesWrongLengthsOfTheHeader) {
  const auto error = [&](const std::string& bytes) {
    return error_of([&] { load_safetensors(file("x", bytes)); });
  };
  EXPECT_THAT(error("1234567"),
              HasSubstr("expected at least 8 bytes (the header's length), got a file of 7"));
  EXPECT_THAT(error(little_endian(3, 8) + "{}"),
              HasSubstr("expected a header of 3 bytes, got 2 bytes after its length"));
  EXPECT_THAT(error(little_endian(100'000'001, 8) + "{}"),
              HasSubstr("at most 100000000 bytes, got 100000001"));
  EXPECT_THAT(error(little_endian(~0ull, 8) + "{}"), HasSubstr("at most 100000000 bytes"));
  EXPECT_THAT(error(little_endian(0, 8)),
              HasSubstr("expected a header that starts with {, got an empty header"));
}

TEST_F(SafeTensorsTest, SeesHeadersThatAreNoJsonObject) {
  EXPECT_THAT(load_error(" {}"), HasSubstr("expected a header that starts with {, got byte 0x20"));
  EXPECT_THAT(load_error("[1]"), HasSubstr("expected a header that starts with {, got byte 0x5b"));
  EXPECT_THAT(load_error("{\"a\":"),
              HasSubstr("expected a JSON header, got an invalid one: parse error at line 1"));
  EXPECT_THAT(load_error("{} x"), HasSubstr("an invalid one: parse error"));
  EXPECT_THAT(load_error("{\"\xff\":{}}"), HasSubstr("ill-formed UTF-8 byte"));
  EXPECT_THAT(load_error("{\"a\":[[[[1]]]]}"), HasSubstr("at most 3 levels"));
  EXPECT_THAT(load_error("{\"a\":" + std::string(100'000, '[')), HasSubstr("at most 3 levels"));
}

TEST_F(SafeTensorsTest, SeesNamesThatOccurTwice) {
  const std::string one = "{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}";
  EXPECT_THAT(load_error("{\"a\":" + one + ",\"a\":" + one + "}", "x"),
              HasSubstr("expected each name in the header once, got \"a\" twice"));
  EXPECT_THAT(
      load_error("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"shape\":[1],\"data_offsets\":[0,1]}}", "x"),
      HasSubstr("got \"shape\" twice"));
}

TEST_F(SafeTensorsTest, SeesWrongMetadata) {
  EXPECT_THAT(load_error("{\"__metadata__\":3}"),
              HasSubstr("expected __metadata__ to be a JSON object, got 3"));
  EXPECT_THAT(load_error("{\"__metadata__\":{\"epoch\":3}}"),
              HasSubstr("__metadata__ \"epoch\": expected a string, got 3"));
}

TEST_F(SafeTensorsTest, SeesWrongDescriptions) {
  const auto error = [&](const std::string& info) { return load_error("{\"w\":" + info + "}", "12345678"); };
  const std::string offsets = ",\"data_offsets\":[0,8]}";
  EXPECT_THAT(error("[]"), HasSubstr("tensor \"w\": expected a JSON object, got []"));
  EXPECT_THAT(
      error("{\"shape\":[2]" + offsets),
      HasSubstr("tensor \"w\": expected dtype F64, F32, F16, BF16, I64, I32, I8, U8, BOOL, got none"));
  EXPECT_THAT(error("{\"dtype\":\"F8_E4M3\",\"shape\":[8]" + offsets), HasSubstr("got \"F8_E4M3\""));
  EXPECT_THAT(error("{\"dtype\":\"F32\"" + offsets), HasSubstr("tensor \"w\": expected shape (an array"));
  EXPECT_THAT(error("{\"dtype\":\"F32\",\"shape\":[-2]" + offsets), HasSubstr("got [-2]"));
  EXPECT_THAT(error("{\"dtype\":\"F32\",\"shape\":[2.0]" + offsets), HasSubstr("got [2.0]"));
  EXPECT_THAT(error("{\"dtype\":\"F32\",\"shape\":2" + offsets), HasSubstr("got 2"));
  EXPECT_THAT(error("{\"dtype\":\"F32\",\"shape\":[18446744073709551615]" + offsets),
              HasSubstr("got [18446744073709551615]"));
  EXPECT_THAT(error("{\"dtype\":\"U8\",\"shape\":[8,1,1,1,1,1,1,1,1]" + offsets),
              HasSubstr("expected a shape of at most 8 dimensions, got 9"));
  EXPECT_THAT(error("{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296]" + offsets),
              HasSubstr("expected a shape that fits into memory"));
}

TEST_F(SafeTensorsTest, SeesWrongOffsets) {
  const auto error = [&](const std::string& offsets) {
    return load_error("{\"w\":{\"dtype\":\"F32\",\"shape\":[2]" + offsets + "}}", "12345678");
  };
  const std::string expected = "two data_offsets in order within 8 bytes of data";
  EXPECT_THAT(error(""), AllOf(HasSubstr(expected), HasSubstr("got none")));
  EXPECT_THAT(error(",\"data_offsets\":[0]"), AllOf(HasSubstr(expected), HasSubstr("got [0]")));
  EXPECT_THAT(error(",\"data_offsets\":[8,0]"), AllOf(HasSubstr(expected), HasSubstr("got [8,0]")));
  EXPECT_THAT(error(",\"data_offsets\":[0,9]"), AllOf(HasSubstr(expected), HasSubstr("got [0,9]")));
  EXPECT_THAT(error(",\"data_offsets\":[-8,0]"), AllOf(HasSubstr(expected), HasSubstr("got [-8,0]")));
  EXPECT_THAT(error(",\"data_offsets\":[0,4]"),
              HasSubstr("tensor \"w\": expected 8 bytes for shape 2 of F32, got 4 (data_offsets [0,4])"));
}

TEST_F(SafeTensorsTest, SeesDataThatOverlapOrLeaveHoles) {
  const auto u8_at = [](int begin, int end) {
    return "{\"dtype\":\"U8\",\"shape\":[" + std::to_string(end - begin) + "],\"data_offsets\":[" +
           std::to_string(begin) + "," + std::to_string(end) + "]}";
  };
  EXPECT_THAT(
      load_error("{\"a\":" + u8_at(0, 5) + ",\"b\":" + u8_at(4, 8) + "}", "12345678"),
      HasSubstr(
          "tensor \"b\": expected data from offset 5, where tensor \"a\" ends, got an overlap: offset 4"));
  EXPECT_THAT(load_error("{\"a\":" + u8_at(0, 8) + ",\"b\":" + u8_at(0, 8) + "}", "12345678"),
              HasSubstr("an overlap"));
  EXPECT_THAT(load_error("{\"a\":" + u8_at(0, 3) + ",\"b\":" + u8_at(4, 8) + "}", "12345678"),
              HasSubstr("tensor \"b\": expected data from offset 3, got a hole before offset 4"));
  EXPECT_THAT(load_error("{\"a\":" + u8_at(1, 8) + "}", "12345678"), HasSubstr("got a hole before offset 1"));
  EXPECT_THAT(load_error("{\"a\":" + u8_at(0, 7) + "}", "12345678"),
              HasSubstr("expected 7 bytes of data after the header, got 8"));
  EXPECT_THAT(load_error("{}", "x"), HasSubstr("expected 0 bytes of data after the header, got 1"));
}

TEST_F(SafeTensorsTest, SeesAFileCutOffAnywhere) {
  const std::string whole = bytes_of_file(fixture("all_types.safetensors"));
  for (size_t n = 0; n < whole.size(); ++n)
    EXPECT_THAT(error_of([&] { load_safetensors(file("x", whole.substr(0, n))); }),
                HasSubstr(path("x") + ": "));
}

TEST_F(SafeTensorsTest, SurvivesAnyChangedByte) {
  survive_changed_bytes(bytes_of_file(fixture("all_types.safetensors")),
                        [&](const std::string& b) { load_safetensors(file("x", b)); });
}

TEST_F(SafeTensorsTest, RefusesNamesThatCannotBeRead) {
  const Tensor t = Tensor::from(counting(1));
  const auto error = [&](const NamedTensors& tensors) {
    return error_of([&] { save_safetensors(path("x"), tensors); });
  };
  EXPECT_THAT(error({{"a", t}, {"a", t}}), HasSubstr("x: expected each name once, got \"a\" twice"));
  EXPECT_THAT(error({{"__metadata__", t}}), HasSubstr("which the format keeps for itself"));
  EXPECT_THAT(error({{"\xff", t}}), HasSubstr("in UTF-8"));
  EXPECT_THAT(error({{"a", Tensor()}}),
              HasSubstr("tensor \"a\": expected a tensor with values, got an undefined"));
  EXPECT_THAT(listing(), IsEmpty());
}

TEST_F(SafeTensorsTest, AFullDiskLeavesTheOldCheckpoint) {
  save_safetensors(path("x"), {{"a", Tensor::from(counting(3))}});
  std::string message;
  {
    const FileSizeLimit full(200);
    message = error_of([&] { save_safetensors(path("x"), {{"a", Tensor::from(counting(300))}}); });
  }
  EXPECT_THAT(message, AllOf(HasSubstr("[save_safetensors] " + path("x")), HasSubstr("wrote 200")));
  expect_values(load_safetensors(path("x")).tensors[0].second, f64, {3}, {0, 1, 2});
  EXPECT_THAT(listing(), ElementsAre("x"));
}

}  // namespace
}  // namespace hebb::io
