// Images: PNG files of every kind put together by hand, JPEG against Pillow, and broken files, which must
// never do more than throw.
#include "hebb/io/image.h"

#include <cmath>

#include "hebb/io/safetensors.h"
#include "tests/io/files.h"

namespace hebb::io {
namespace {

using namespace test;

class ImageTest : public IoTest {
 protected:
  std::string load_error(const std::string& bytes) const {
    const std::string message = error_of([&] { load_image(file("x", bytes)); });
    EXPECT_THAT(message, HasSubstr("[load_image] " + path("x") + ": "));
    return message;
  }
};

std::string chunk(const std::string& kind, const std::string& data) {
  return big_endian(data.size(), 4) + kind + data + big_endian(crc32_of(kind + data), 4);
}

/// A PNG of 8-bit gray or other samples, rows given without their filter bytes.
std::string png(uint64_t width, uint64_t height, int color_type, const std::vector<std::string>& rows) {
  std::string data;
  for (const auto& row : rows) data += '\0' + row;
  return bytes("\x89PNG\r\n\x1a\n") +
         chunk("IHDR", big_endian(width, 4) + big_endian(height, 4) + '\x08' + static_cast<char>(color_type) +
                           bytes("\0\0\0")) +
         chunk("IDAT", zlib_stored(data)) + chunk("IEND", "");
}

int largest_difference(const Tensor& a, const Tensor& b) {
  EXPECT_EQ(a.shape().str(), b.shape().str());
  const auto x = a.to_vector<double>(), y = b.to_vector<double>();
  double most = 0;
  for (size_t i = 0; i < x.size() && i < y.size(); ++i) most = std::max(most, std::abs(x[i] - y[i]));
  return static_cast<int>(std::ceil(most));
}

Tensor u8_image(const Shape& shape, const std::vector<uint8_t>& values) {
  return Tensor::from(values, shape);
}

TEST_F(ImageTest, ReadsPngByHand) {
  expect_values(load_image(file("x.jpg", png(3, 2, 0, {"\x01\x02\x03", "\x04\x05\xff"}))), u8, {1, 2, 3},
                {1, 2, 3, 4, 5, 255});
  expect_values(load_image(file("x", png(2, 1, 2, {"\x01\x02\x03\x04\x05\x06"}))), u8, {3, 1, 2},
                {1, 4, 2, 5, 3, 6});
}

TEST_F(ImageTest, ReadsEveryKindOfPng) {
  const SafeTensors expected = load_safetensors(fixture("images.safetensors"));
  int found = 0;
  for (const auto& [name, pixels] : expected.tensors) {
    if (name.starts_with("photo")) continue;
    SCOPED_TRACE(name);
    expect_equal(load_image(fixture(name + ".png"), {.alpha = Alpha::keep}), pixels);
    ++found;
  }
  EXPECT_EQ(found, 11);
}

TEST_F(ImageTest, ReadsJpegAsPillowDoes) {
  const SafeTensors expected = load_safetensors(fixture("images.safetensors"));
  for (const std::string name : {"photo", "photo_progressive", "photo_gray", "photo_cmyk"}) {
    SCOPED_TRACE(name);
    const Tensor image = load_image(fixture(name + ".jpg"));
    EXPECT_EQ(image.size(0), name == "photo_gray" ? 1 : 3);
    EXPECT_LE(largest_difference(image, *expected.find(name)), 1);
  }
}

TEST_F(ImageTest, LaysTransparencyOverAGround) {
  const std::string gray = file("x", png(3, 1, 4, {bytes("\x64\x00\x64\xff\x64\x80")}));
  expect_values(load_image(gray), u8, {1, 1, 3}, {255, 100, 177});
  expect_values(load_image(gray, {.alpha = Alpha::on_black}), u8, {1, 1, 3}, {0, 100, 50});
  expect_values(load_image(gray, {.alpha = Alpha::keep}), u8, {2, 1, 3}, {100, 100, 100, 0, 255, 128});
  EXPECT_EQ(load_image(fixture("rgba8.png")).shape().str(), "3x5x6");
}

TEST_F(ImageTest, SavesPngThatReadsBack) {
  for (const int64_t channels : {1, 2, 3, 4}) {
    std::vector<uint8_t> values;
    for (int64_t i = 0; i < channels * 5 * 7; ++i) values.push_back(static_cast<uint8_t>(i * 37));
    const Tensor image = u8_image({channels, 5, 7}, values);
    save_png(path("x.png"), image);
    expect_equal(load_image(path("x.png"), {.alpha = Alpha::keep}), image);
  }
  save_png(path("x.png"), u8_image({1, 2}, {3, 4}));
  expect_values(load_image(path("x.png")), u8, {1, 1, 2}, {3, 4});
  EXPECT_THAT(listing(), ElementsAre("x.png"));
}

TEST_F(ImageTest, RefusesToSaveWhatIsNoImage) {
  const auto error = [&](const Tensor& t) { return error_of([&] { save_png(path("x.png"), t); }); };
  EXPECT_THAT(error(Tensor::empty({1, 2, 2}, f32)), HasSubstr("x.png: expected an image of u8, got f32"));
  EXPECT_THAT(error(Tensor::empty({5, 2, 2}, u8)),
              HasSubstr("1 to 4 channels and at least one pixel, got 5x2x2"));
  EXPECT_THAT(error(Tensor::empty({0, 2}, u8)), HasSubstr("got 0x2"));
  EXPECT_THAT(error(Tensor()), HasSubstr("got an undefined tensor"));
  EXPECT_THAT(listing(), IsEmpty());
}

TEST_F(ImageTest, AFullDiskLeavesTheOldImage) {
  save_png(path("x.png"), u8_image({1, 1}, {9}));
  std::string message;
  {
    const FileSizeLimit full(100);
    std::vector<uint8_t> noise;
    for (uint32_t i = 0; i < 900; ++i) noise.push_back(static_cast<uint8_t>((i * 2654435761u) >> 24));
    message = error_of([&] { save_png(path("x.png"), u8_image({30, 30}, noise)); });
  }
  EXPECT_THAT(message, AllOf(HasSubstr("[save_png] " + path("x.png")), HasSubstr("wrote 100")));
  expect_values(load_image(path("x.png")), u8, {1, 1, 1}, {9});
}

TEST_F(ImageTest, SeesWhatIsNoImage) {
  EXPECT_THAT(load_error(""), HasSubstr("expected a PNG or JPEG image, got an empty file"));
  EXPECT_THAT(load_error("GIF89a"), HasSubstr("got a file that starts as neither does"));
  EXPECT_THAT(error_of([&] { load_image(path("none.png")); }), HasSubstr("none.png: cannot read it"));
}

TEST_F(ImageTest, SeesAPngCutOffAnywhere) {
  const std::string whole = bytes_of_file(fixture("rgb8_interlaced.png"));
  for (size_t n = 8; n < whole.size(); ++n)
    EXPECT_THAT(load_error(whole.substr(0, n)), HasSubstr("damaged PNG"));
}

TEST_F(ImageTest, SeesDamagedPng) {
  const std::string whole = png(3, 2, 0, {"\x01\x02\x03", "\x04\x05\xff"});
  std::string wrong = whole;
  wrong[wrong.size() - 20] ^= 1;  // in the pixels, whose chunk has a checksum
  EXPECT_THAT(load_error(wrong), HasSubstr("damaged PNG: IDAT: "));
  EXPECT_THAT(load_error(png(3, 2, 0, {"\x01\x02\x03"})), HasSubstr("damaged PNG: "));
  EXPECT_THAT(load_error(png(3, 2, 5, {"\x01\x02\x03"})), HasSubstr("damaged PNG: "));
  EXPECT_THAT(load_error(png(0, 2, 0, {"", ""})), HasSubstr("damaged PNG: "));
}

TEST_F(ImageTest, DoesNotBelieveHugeSizes) {
  EXPECT_THAT(load_error(png(100'000, 100'000, 0, {"\x01"})),
              HasSubstr("expected at most 134217728 pixels, got 100000x100000"));
  EXPECT_THAT(load_error(png(10'000, 10'000, 0, {"\x01"})),
              HasSubstr("expected the data of 10000x10000 pixels, got a file of"));
  std::string jpeg = bytes_of_file(fixture("photo.jpg"));
  const size_t size = jpeg.find("\xff\xc0") + 5;
  jpeg.replace(size, 4, "\xff\xff\xff\xff");
  EXPECT_THAT(load_error(jpeg), HasSubstr("x: "));
}

TEST_F(ImageTest, SeesAJpegCutOffAnywhere) {
  for (const std::string name : {"photo.jpg", "photo_progressive.jpg"}) {
    const std::string whole = bytes_of_file(fixture(name));
    for (size_t n = 3; n + 2 < whole.size(); ++n)
      EXPECT_THAT(load_error(whole.substr(0, n)), HasSubstr("damaged JPEG"));
  }
}

TEST_F(ImageTest, SurvivesAnyChangedByte) {
  for (const std::string name :
       {"photo.jpg", "photo_progressive.jpg", "photo_cmyk.jpg", "rgb8_interlaced.png", "palette_alpha.png"})
    survive_changed_bytes(bytes_of_file(fixture(name)),
                          [&](const std::string& b) { load_image(file("x", b)); });
}

TEST(ResizeTest, EqualsPyTorchsAntialiasedBilinear) {
  const SafeTensors golden = load_safetensors(fixture("resized.safetensors"));
  const Tensor image = *golden.find("input");
  for (const auto& [h, w] : {std::pair(13, 9), {5, 4}, {1, 1}, {26, 27}, {6, 20}, {20, 3}}) {
    const std::string name = std::to_string(h) + "x" + std::to_string(w);
    SCOPED_TRACE(name);
    const Tensor out = resize_bilinear(image, h, w);
    ASSERT_EQ(out.shape().str(), "3x" + name);
    const auto got = out.to_vector<double>(), expected = golden.find(name)->to_vector<double>();
    for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], expected[i], 1e-6);
  }
  EXPECT_LE(largest_difference(resize_bilinear(*golden.find("input_u8"), 6, 20), *golden.find("pillow_6x20")),
            1);
}

TEST(ResizeTest, KeepsTheValuesOfAnEvenImage) {
  const Tensor out = resize_bilinear(u8_image({1, 1, 1}, {77}), 3, 4);
  EXPECT_EQ(out.to_vector<double>(), std::vector<double>(12, 77));
}

TEST(ResizeTest, RefusesWhatItCannotResize) {
  EXPECT_THAT(error_of([] {
                resize_bilinear(Tensor::empty({2, 2}, u8), 1, 1);
              }),
              HasSubstr("[resize_bilinear] expected an image [C, H, W], got shape 2x2"));
  EXPECT_THAT(error_of([] {
                resize_bilinear(Tensor::empty({1, 2, 2}, i32), 1, 1);
              }),
              HasSubstr("of u8 or f32, got i32"));
  EXPECT_THAT(error_of([] {
                resize_bilinear(Tensor::empty({1, 2, 2}, u8), 0, 1);
              }),
              HasSubstr("at least 1x1, got 0x1"));
  EXPECT_THAT(error_of([] {
                resize_bilinear(Tensor::empty({1, 0, 2}, u8), 1, 1);
              }),
              HasSubstr("at least one pixel, got 1x0x2"));
}

TEST(GrayTest, EqualsPillows) {
  const SafeTensors golden = load_safetensors(fixture("resized.safetensors"));
  expect_equal(to_gray(*golden.find("input_u8")), *golden.find("pillow_gray"));
  expect_values(to_gray(u8_image({3, 1, 1}, {255, 255, 255})), u8, {1, 1, 1}, {255});
  const Tensor f = to_gray(Tensor::from(std::vector<float>{1, 0, 0.5f}, {3, 1, 1}));
  EXPECT_NEAR(f.item<double>(), 0.299 + 0.057, 1e-6);
  expect_values(to_gray(u8_image({1, 1, 2}, {3, 4})), u8, {1, 1, 2}, {3, 4});
  EXPECT_THAT(error_of([] {
                to_gray(Tensor::empty({2, 1, 1}, u8));
              }),
              HasSubstr("[to_gray] expected an image of 3 channels, got shape 2x1x1"));
}

}  // namespace
}  // namespace hebb::io
