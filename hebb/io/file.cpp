// POSIX calls rather than streams: only they tell a full disk from a short write, and can flush to the disk.
#include "hebb/io/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <system_error>
#include <utility>

#include "hebb/core/check.h"

namespace hebb::io {
namespace {

std::string reason(int error) { return std::generic_category().message(error); }

/// An open file that closes itself.
class File {
 public:
  File(const std::string& path, int flags, mode_t mode = 0) : fd_(::open(path.c_str(), flags, mode)) {}
  ~File() { close(); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  int fd() const { return fd_; }
  bool is_open() const { return fd_ >= 0; }
  bool close() {
    const int fd = std::exchange(fd_, -1);
    return fd < 0 || ::close(fd) == 0;
  }

 private:
  int fd_;
};

/// Removes a file at the end of its scope, unless it was renamed before.
struct RemoveUnlessKept {
  const std::string& path;
  bool kept = false;
  ~RemoveUnlessKept() {
    if (!kept) ::unlink(path.c_str());
  }
};

void write_all(const File& file, std::span<const std::string_view> parts, const std::string& path,
               const char* caller) {
  size_t total = 0, written = 0;
  for (const auto& part : parts) total += part.size();
  for (const auto& part : parts) {
    for (size_t at = 0; at < part.size();) {
      const ssize_t n = ::write(file.fd(), part.data() + at, part.size() - at);
      if (n < 0 && errno == EINTR) continue;
      // A write of nothing that is no error would repeat for ever.
      HEBB_CHECK(n > 0, "[{}] {}: expected to write {} bytes, wrote {}: {}; nothing was changed", caller,
                 path, total, written, reason(n < 0 ? errno : EIO));
      at += static_cast<size_t>(n);
      written += static_cast<size_t>(n);
    }
  }
}

/// The file that a symbolic link leads to, else the path itself.
std::string resolve_link(const std::string& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0 || !S_ISLNK(info.st_mode)) return path;
  const std::unique_ptr<char, void (*)(void*)> real(::realpath(path.c_str(), nullptr), std::free);
  return real ? real.get() : path;
}

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

/// A name beside `path` that no process uses. A killed process may have left one with our process number.
std::string temporary_name(const std::string& path) {
  static std::atomic<int> counter{0};
  return fmt::format("{}.{}-{}.tmp", path, ::getpid(), counter++);
}

/// After a rename only the flush of the folder makes the new name survive a power cut.
void flush_folder(const std::string& folder, const std::string& path, const char* caller) {
  const File file(folder, O_RDONLY | O_CLOEXEC);
  // Folders that may be written but not read, and file systems without this call, are left to the system.
  if (!file.is_open() || ::fsync(file.fd()) == 0 || errno == EINVAL || errno == ENOTSUP) return;
  detail::fail("[{}] {}: written, but its folder could not be flushed to the disk: {}", caller, path,
               reason(errno));
}

void replace_file(const std::string& path, mode_t old_mode, std::span<const std::string_view> parts,
                  const char* caller) {
  std::string temporary = temporary_name(path);
  const auto flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC;
  auto file = std::make_unique<File>(temporary, flags, 0666);
  while (!file->is_open() && errno == EEXIST) {
    temporary = temporary_name(path);
    file = std::make_unique<File>(temporary, flags, 0666);
  }
  HEBB_CHECK(file->is_open(), "[{}] {}: cannot create a file in the folder {}: {}", caller, path,
             folder_of(path), reason(errno));
  RemoveUnlessKept temporary_file{temporary};
  write_all(*file, parts, path, caller);
  if (old_mode != 0) (void)::fchmod(file->fd(), old_mode);  // not ours to change: the file still gets written
  HEBB_CHECK(::fsync(file->fd()) == 0, "[{}] {}: cannot flush it to the disk: {}; nothing was changed",
             caller, path, reason(errno));
  HEBB_CHECK(file->close(), "[{}] {}: cannot close it: {}; nothing was changed", caller, path, reason(errno));
  HEBB_CHECK(::rename(temporary.c_str(), path.c_str()) == 0,
             "[{}] {}: cannot rename {} to it: {}; nothing was changed", caller, path, temporary,
             reason(errno));
  temporary_file.kept = true;
  flush_folder(folder_of(path), path, caller);
}

/// zlib's inflate, set to the gzip format.
class Inflater {
 public:
  Inflater() { ok_ = inflateInit2(&stream_, MAX_WBITS + 16) == Z_OK; }
  ~Inflater() {
    if (ok_) inflateEnd(&stream_);
  }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  bool ok() const { return ok_; }
  z_stream& stream() { return stream_; }

 private:
  z_stream stream_{};
  bool ok_ = false;
};

bool is_gzip(std::string_view bytes) { return bytes.starts_with("\x1f\x8b"); }

std::string gunzip(std::string_view in, const std::string& path, const char* caller) {
  Inflater inflater;
  HEBB_CHECK(inflater.ok(), "[{}] {}: zlib cannot start", caller, path);
  z_stream& z = inflater.stream();
  constexpr size_t kMost = size_t{1} << 30;  // zlib counts in 32 bits
  std::string out;
  size_t at = 0, size = 0;
  for (;;) {
    if (out.size() - size < 4096) out.resize(std::max(2 * out.size(), 4 * in.size() + 65536));
    z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in.data() + at));  // zlib never writes there
    z.next_out = reinterpret_cast<Bytef*>(out.data() + size);
    const auto given = static_cast<uInt>(std::min(in.size() - at, kMost));
    const auto room = static_cast<uInt>(std::min(out.size() - size, kMost));
    z.avail_in = given, z.avail_out = room;
    const int status = inflate(&z, Z_NO_FLUSH);
    at += given - z.avail_in;
    size += room - z.avail_out;
    if (status == Z_STREAM_END) {
      if (at == in.size()) break;
      // gzip files joined one after another are one gzip file.
      HEBB_CHECK(is_gzip(in.substr(at)),
                 "[{}] {}: expected the end of the file after the gzip data, got {} more bytes", caller, path,
                 in.size() - at);
      inflateReset(&z);
      continue;
    }
    HEBB_CHECK(status != Z_MEM_ERROR, "[{}] {}: out of memory while unpacking", caller, path);
    const std::string_view message = z.msg ? z.msg : "";
    HEBB_CHECK(message != "incorrect data check",
               "[{}] {}: the gzip data is damaged: its checksum (CRC-32) does not match", caller, path);
    HEBB_CHECK(status == Z_OK || status == Z_BUF_ERROR, "[{}] {}: the gzip data is damaged at byte {}: {}",
               caller, path, at, message);
    HEBB_CHECK(at < in.size(),
               "[{}] {}: the gzip data is cut off: expected more after byte {}, got the end of the file ({} "
               "bytes unpacked)",
               caller, path, at, size);
  }
  out.resize(size);
  return out;
}

}  // namespace

std::string read_file(const std::string& path, const char* caller) {
  const File file(path, O_RDONLY | O_CLOEXEC);
  HEBB_CHECK(file.is_open(), "[{}] {}: cannot read it: {}", caller, path, reason(errno));
  struct stat info {};
  HEBB_CHECK(::fstat(file.fd(), &info) == 0, "[{}] {}: cannot read it: {}", caller, path, reason(errno));
  HEBB_CHECK(!S_ISDIR(info.st_mode), "[{}] {}: expected a file, got a folder", caller, path);
  // One byte more than the file has, so that the end is seen without growing. Pipes say 0 and grow.
  std::string bytes(static_cast<size_t>(info.st_size) + 1, '\0');
  size_t size = 0;
  for (;;) {
    if (size == bytes.size()) bytes.resize(2 * size + 65536);
    const ssize_t n = ::read(file.fd(), bytes.data() + size, bytes.size() - size);
    if (n < 0 && errno == EINTR) continue;
    HEBB_CHECK(n >= 0, "[{}] {}: cannot read it: {}", caller, path, reason(errno));
    if (n == 0) break;
    size += static_cast<size_t>(n);
  }
  bytes.resize(size);
  return bytes;
}

std::string read_maybe_gzip(const std::string& path, const char* caller) {
  std::string bytes = read_file(path, caller);
  return is_gzip(bytes) ? gunzip(bytes, path, caller) : bytes;
}

void write_file_atomic(const std::string& path, std::span<const std::string_view> parts, const char* caller) {
  const std::string target = resolve_link(path);
  struct stat info {};
  const bool exists = ::stat(target.c_str(), &info) == 0;
  HEBB_CHECK(!exists || !S_ISDIR(info.st_mode), "[{}] {}: expected a file, got a folder", caller, path);
  if (!exists || S_ISREG(info.st_mode)) {
    replace_file(target, exists ? info.st_mode & 07777 : 0, parts, caller);
    return;
  }
  File file(target, O_WRONLY | O_CLOEXEC);
  HEBB_CHECK(file.is_open(), "[{}] {}: cannot write to it: {}", caller, path, reason(errno));
  write_all(file, parts, path, caller);
  HEBB_CHECK(file.close(), "[{}] {}: cannot close it: {}", caller, path, reason(errno));
}

void write_file_atomic(const std::string& path, std::string_view bytes, const char* caller) {
  write_file_atomic(path, std::span<const std::string_view>(&bytes, 1), caller);
}

}  // namespace hebb::io
