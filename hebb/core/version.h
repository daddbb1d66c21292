// The version of hebb. CMake reads HEBB_VERSION from this file: it is written nowhere else.
#pragma once

#define HEBB_VERSION "0.1.0"

namespace hebb {

/// The version of the library, "major.minor.patch".
inline const char* version() { return HEBB_VERSION; }

}  // namespace hebb
