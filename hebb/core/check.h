// Checks with formatted messages, for hebb's own sources. Not included by public headers: fmt is costly to
// compile.
#pragma once
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <utility>

#include "hebb/core/error.h"

namespace hebb::detail {
template <class... A>
[[noreturn]] void fail(fmt::format_string<A...> text, A&&... args) {
  throw_error(fmt::format(text, std::forward<A>(args)...));
}
}  // namespace hebb::detail

/// Throws hebb::Error with a formatted message unless the condition holds.
#define HEBB_CHECK(condition, ...)       \
  do {                                   \
    if (!(condition)) [[unlikely]]       \
      ::hebb::detail::fail(__VA_ARGS__); \
  } while (false)
