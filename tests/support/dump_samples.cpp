// dump_samples FILE.safetensors: every sample of the op table as the golden test runs it, for
// tools/golden/ops.py to compute the same with PyTorch. Floating inputs are f64. Tensors:
// "conv2d/strided/in0", …, and for each floating output its upstream gradient "conv2d/strided/up0", ….
// Metadata, by call ("conv2d/strided"): {"op", "attrs", "inputs": how many, "upstream": numbers of the
// floating outputs}.
#include <fmt/format.h>

#include <iostream>
#include <nlohmann/json.hpp>

#include "hebb/io/safetensors.h"
#include "tests/support/op_driver.h"

namespace hebb::test_support {
namespace {

void dump(const std::string& path) {
  io::NamedTensors tensors;
  std::map<std::string, std::string> metadata;
  for (const OpDef* op : op_table()) {
    for (const Sample& sample : op->samples ? op->samples() : std::vector<Sample>()) {
      Call call = with_type(call_of(*op, sample), f64);
      call.name = fmt::format("{}/{}", op->name, sample.name);
      const auto outputs = std::get<std::vector<Tensor>>(run_plainly(call));
      std::vector<size_t> upstream;
      for (size_t i = 0; i < call.inputs.size(); ++i)
        tensors.emplace_back(fmt::format("{}/in{}", call.name, i), call.inputs[i]);
      for (size_t i = 0; i < outputs.size(); ++i) {
        if (!is_float(outputs[i].dtype())) continue;
        tensors.emplace_back(fmt::format("{}/up{}", call.name, i), direction(outputs[i].shape(), 100 + i));
        upstream.push_back(i);
      }
      const nlohmann::json entry{{"op", op->name},
                                 {"attrs", call.attrs.str()},
                                 {"inputs", call.inputs.size()},
                                 {"upstream", upstream}};
      if (!metadata.emplace(call.name, entry.dump()).second)
        throw Error("two samples are called " + call.name);
    }
  }
  io::save_safetensors(path, tensors, metadata);
  std::cout << path << ": " << metadata.size() << " calls\n";
}

}  // namespace
}  // namespace hebb::test_support

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::cerr << "usage: dump_samples FILE.safetensors\n";
    return 2;
  }
  hebb::test_support::dump(argv[1]);
} catch (const std::exception& e) {
  std::cerr << "dump_samples: " << e.what() << '\n';
  return 1;
}
