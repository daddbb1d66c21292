// Golden values: files that PyTorch wrote, by the scripts in tools/golden.
#pragma once
#include <cstdlib>
#include <string>

#include "hebb/io/safetensors.h"

namespace hebb::testing {

inline io::SafeTensors golden_file(const std::string& name) {
  const char* root = std::getenv("HEBB_SOURCE_DIR");
  return io::load_safetensors(std::string(root ? root : ".") + "/tests/golden/" + name);
}

}  // namespace hebb::testing
