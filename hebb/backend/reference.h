// The reference backend: every op by the plain kernel in its own file.
#pragma once
#include "hebb/op/dispatch.h"

namespace hebb {
Backend& reference_backend();
}
