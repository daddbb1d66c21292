// Golden values: files that PyTorch wrote, by the scripts in tools/golden.
#pragma once
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "hebb/io/safetensors.h"

namespace hebb::test_support {

/// A file of tests/golden.
io::SafeTensors golden_file(const std::string& name);

using In = std::span<const Tensor>;
using Out = std::vector<Tensor>;
/// Functions of the inputs in the file, by the names of tools/golden/functions.py.
using GoldenFunctions = std::map<std::string, std::function<Out(In)>>;

/// Runs every function in `type` on the inputs of its name; fails where a value or a gradient is not
/// PyTorch's, and for a name in only one of file and functions. Differences may be tolerance * (|value| +
/// scale); the scale is the tensor's largest value unless given.
void expect_golden(const io::SafeTensors& golden, const GoldenFunctions& functions, DType type,
                   double tolerance, std::optional<double> scale = {});

}  // namespace hebb::test_support
