// Whole files: what is read, what a failed write leaves behind, and what the messages say.
#include "hebb/io/file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "tests/io/files.h"

namespace hebb::io {
namespace {

using namespace test;

class FileTest : public IoTest {};

TEST_F(FileTest, ReadsAllBytes) {
  const std::string text = bytes("a\0b\r\n\xff");
  EXPECT_EQ(read_file(file("x", text)), text);
  EXPECT_EQ(read_file(file("empty", "")), "");
  std::string large(300'000, 'x');
  large[200'000] = 'y';
  EXPECT_EQ(read_file(file("large", large)), large);
}

TEST_F(FileTest, ReadsFilesWhoseSizeTheSystemDoesNotSay) {
  EXPECT_THAT(read_file("/proc/self/status"), HasSubstr("Name:"));
}

TEST_F(FileTest, SaysWhyAFileCannotBeRead) {
  EXPECT_EQ(error_of([&] { read_file(path("none"), "load_x"); }),
            "[load_x] " + path("none") + ": cannot read it: No such file or directory");
  EXPECT_THAT(error_of([&] { read_file(folder_); }), HasSubstr("expected a file, got a folder"));
}

TEST_F(FileTest, SaysThatPermissionIsMissing) {
  const std::string secret = file("secret", "x");
  ::chmod(secret.c_str(), 0);
  const bool root = ::geteuid() == 0;  // who may read everything
  if (root) {
    ::chmod(folder_.c_str(), 0755);
    ASSERT_EQ(::seteuid(65534), 0);
  }
  const std::string message = error_of([&] { read_file(secret); });
  if (root) {
    ASSERT_EQ(::seteuid(0), 0);
  }
  EXPECT_THAT(message, HasSubstr("secret: cannot read it: Permission denied"));
}

TEST_F(FileTest, UnpacksGzipByItsFirstBytes) {
  EXPECT_EQ(read_maybe_gzip(file("a.txt", gzip_stored("hello"))), "hello");
  EXPECT_EQ(read_maybe_gzip(file("b.gz", "hello")), "hello");
  EXPECT_EQ(read_maybe_gzip(file("c.gz", gzip_stored(""))), "");
  // Compressed by gzip -9n, not by hand: "hebb" 40 times.
  const std::string packed = bytes(
      "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xcb\x48\x4d\x4a\xca\x18\xc4\x18\x00\x0c\x30\x6a\x3b\xa0\x00"
      "\x00\x00");
  std::string expected;
  for (int i = 0; i < 40; ++i) expected += "hebb";
  EXPECT_EQ(read_maybe_gzip(file("d.gz", packed)), expected);
}

TEST_F(FileTest, UnpacksJoinedGzipFiles) {
  EXPECT_EQ(read_maybe_gzip(file("x", gzip_stored("one ") + gzip_stored("two"))), "one two");
}

TEST_F(FileTest, SeesGzipThatIsCutOffAnywhere) {
  const std::string whole = gzip_stored("some text to cut");
  for (size_t n = 2; n < whole.size(); ++n)
    EXPECT_THAT(error_of([&] { read_maybe_gzip(file("x.gz", whole.substr(0, n)), "load_idx"); }),
                AllOf(HasSubstr("[load_idx]"), HasSubstr("x.gz: the gzip data is cut off"),
                      HasSubstr("after byte " + std::to_string(n))));
}

TEST_F(FileTest, SeesDamagedGzip) {
  std::string wrong_sum = gzip_stored("hello");
  wrong_sum[wrong_sum.size() - 6] ^= 1;
  EXPECT_THAT(error_of([&] { read_maybe_gzip(file("x", wrong_sum)); }),
              HasSubstr("its checksum (CRC-32) does not match"));
  std::string wrong_block = gzip_stored("hello");
  wrong_block[10] = 7;  // a block type that does not exist
  EXPECT_THAT(error_of([&] { read_maybe_gzip(file("x", wrong_block)); }), HasSubstr("damaged at byte"));
  EXPECT_THAT(error_of([&] { read_maybe_gzip(file("x", gzip_stored("hello") + "tail")); }),
              HasSubstr("expected the end of the file after the gzip data, got 4 more bytes"));
}

TEST_F(FileTest, WritesAndReplacesWithoutLeavingAnythingElse) {
  write_file_atomic(path("x"), "first");
  EXPECT_EQ(bytes_of_file(path("x")), "first");
  const std::string_view parts[] = {"sec", "", "ond"};
  write_file_atomic(path("x"), parts);
  EXPECT_EQ(bytes_of_file(path("x")), "second");
  EXPECT_THAT(listing(), ElementsAre("x"));
}

TEST_F(FileTest, KeepsTheModeOfAReplacedFile) {
  write_file_atomic(path("x"), "first");
  ::chmod(path("x").c_str(), 0640);
  write_file_atomic(path("x"), "second");
  struct stat info {};
  ASSERT_EQ(::stat(path("x").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777u, 0640u);
}

TEST_F(FileTest, FollowsASymbolicLink) {
  write_file_atomic(path("real"), "first");
  std::filesystem::create_symlink("real", path("link"));
  write_file_atomic(path("link"), "second");
  EXPECT_TRUE(std::filesystem::is_symlink(path("link")));
  EXPECT_EQ(bytes_of_file(path("real")), "second");
}

TEST_F(FileTest, AFullDiskLeavesTheOldFile) {
  write_file_atomic(path("x"), "old");
  const std::string large(8192, 'n');
  std::string message;
  {
    const FileSizeLimit full(1000);
    message = error_of([&] { write_file_atomic(path("x"), large, "save_y"); });
  }
  EXPECT_EQ(message, "[save_y] " + path("x") +
                         ": expected to write 8192 bytes, wrote 1000: File too large; nothing was changed");
  EXPECT_EQ(bytes_of_file(path("x")), "old");
  EXPECT_THAT(listing(), ElementsAre("x"));
}

TEST_F(FileTest, DevicesAreWrittenDirectlyAndTheirErrorsSeen) {
  EXPECT_THAT(error_of([&] { write_file_atomic("/dev/full", "abc"); }),
              HasSubstr("/dev/full: expected to write 3 bytes, wrote 0: No space left on device"));
  write_file_atomic("/dev/null", "abc");
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/null"));
}

TEST_F(FileTest, SaysWhereNoFileCanBeMade) {
  EXPECT_THAT(error_of([&] { write_file_atomic(path("no/x"), "a"); }),
              AllOf(HasSubstr("cannot create a file in the folder " + folder_ + "no"),
                    HasSubstr("No such file or directory")));
  EXPECT_THAT(error_of([&] { write_file_atomic(folder_, "a"); }), HasSubstr("expected a file, got a folder"));
  EXPECT_THAT(listing(), IsEmpty());
}

TEST_F(FileTest, ATemporaryOfAKilledProcessIsNotInTheWay) {
  // The next names that this process would take.
  for (int i = 0; i < 200; ++i)
    file("x." + std::to_string(::getpid()) + "-" + std::to_string(i) + ".tmp", "left");
  write_file_atomic(path("x"), "new");
  EXPECT_EQ(bytes_of_file(path("x")), "new");
}

}  // namespace
}  // namespace hebb::io
