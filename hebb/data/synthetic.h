// Two-dimensional data made by formulas, for looking at what a small network can and cannot separate.
#pragma once
#include <array>
#include <string>
#include <vector>

#include "hebb/data/dataset.h"

namespace hebb::data {

struct SyntheticSource {
  std::string name, description;
  /// 1,000 points, x f32 [1000, 2], y i64 [1000] with classes 0 and 1.
  Batch (*make)(uint64_t seed);
};
const std::vector<SyntheticSource>& synthetic_sources();

}  // namespace hebb::data
