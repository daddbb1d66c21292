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
/// Set by nn: the path of the innermost module that runs on this thread.
inline std::string (*module_path)() = nullptr;
/// That path, "LeNet.conv1"; empty outside of any module. Errors end with it, and graphs tell it of each op.
std::string running_module();

[[noreturn]] void throw_error(std::string message);
}  // namespace detail

}  // namespace hebb
