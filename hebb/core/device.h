// Where a tensor's memory is.
#pragma once
#include <cstdint>

namespace hebb {

/// Where a tensor's memory is. Only the CPU has a backend so far.
struct Device {
  /// The kind of machine.
  enum class Kind : uint8_t { cpu, cuda };
  Kind kind = Kind::cpu;
  int8_t index = 0;
  bool operator==(const Device&) const = default;
};

}  // namespace hebb
