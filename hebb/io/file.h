// Whole files: read at once, written so that a crash or a full disk never leaves half a file. Every reader
// and writer of this folder stands on these functions, so that all of them report trouble in the same words.
#pragma once
#include <span>
#include <string>
#include <string_view>

namespace hebb::io {

/// The bytes of a file. `caller` is the function that messages name.
/// Throws Error if the file is missing, a folder, or cannot be read.
std::string read_file(const std::string& path, const char* caller = "read_file");

/// As read_file, but a file that starts as gzip does is unpacked; the file's name does not matter.
/// Throws Error also if the gzip data is cut off, damaged (checksum) or followed by other bytes.
std::string read_maybe_gzip(const std::string& path, const char* caller = "read_maybe_gzip");

/// Replaces the file `path` by `bytes`, all or nothing: the bytes go to a temporary file in the same folder
/// (`path` + ".PID-N.tmp"), are flushed to the disk, and take the place of the old file by a rename, which is
/// flushed too. On any failure (no such folder, disk full) the temporary is removed, the old file survives,
/// and Error says what was expected and what the system answered. A symbolic link is followed and stays; what
/// is not a regular file (a pipe, /dev/stdout) is written directly.
void write_file_atomic(const std::string& path, std::string_view bytes,
                       const char* caller = "write_file_atomic");

/// As above for a file in several parts, which spares joining them.
void write_file_atomic(const std::string& path, std::span<const std::string_view> parts,
                       const char* caller = "write_file_atomic");

}  // namespace hebb::io
