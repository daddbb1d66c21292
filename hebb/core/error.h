// Errors are part of the product: each says what was expected, what was found, and where.
#pragma once
#include <stdexcept>
#include <string>

namespace hebb {

/// What every function of hebb throws for bad input. what() is one readable message.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

namespace detail {
/// Set by nn: appends where in the network the error arose (", in LeNet.conv1"), or nothing.
using ErrorContextFn = std::string (*)();
inline ErrorContextFn error_context = nullptr;

[[noreturn]] void throw_error(std::string message);
}  // namespace detail

}  // namespace hebb
