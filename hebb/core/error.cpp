#include "hebb/core/error.h"

namespace hebb::detail {

void throw_error(std::string message) {
  if (error_context) message += error_context();
  throw Error(message);
}

}  // namespace hebb::detail
