#include "hebb/core/error.h"

namespace hebb::detail {

std::string running_module() { return module_path ? module_path() : std::string(); }

void throw_error(std::string message) {
  if (const std::string place = running_module(); !place.empty()) message += ", in " + place;
  throw Error(message);
}

}  // namespace hebb::detail
