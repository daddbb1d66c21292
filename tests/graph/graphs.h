// What tests of graphs share.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hebb/graph/passes.h"
#include "hebb/graph/trace.h"
#include "tests/support/threads.h"

namespace hebb::graph::test {

using test_support::Threads;
using Tensors = std::vector<Tensor>;
using Args = std::span<const Tensor>;

/// The graph of a function without state.
inline Graph traced(const Function& fn, const Tensors& arguments) { return trace(fn, arguments, {}); }
/// How many nodes call the op of that name.
inline size_t count(const Graph& g, std::string_view op) {
  return static_cast<size_t>(
      std::count_if(g.nodes.begin(), g.nodes.end(), [&](const Node& n) { return n.op->name == op; }));
}

/// Whether both hold the same f32 values; what is not a number is as any other.
inline bool same_values(const Tensor& a, const Tensor& b) {
  const auto x = a.to_vector<float>(), y = b.to_vector<float>();
  return std::equal(x.begin(), x.end(), y.begin(), y.end(),
                    [](float p, float q) { return p == q || (std::isnan(p) && std::isnan(q)); });
}
/// The names of all passes, with commas.
inline std::string all_passes() {
  std::string names;
  for (const Pass& p : passes()) names += (names.empty() ? "" : ",") + std::string(p.name);
  return names;
}
/// Switches passes off, and others on, for as long as it lives.
class PassesOff {
 public:
  explicit PassesOff(const std::string& names) {
    if (const char* text = std::getenv(kName)) before_ = text;
    ::setenv(kName, names.c_str(), 1);
  }
  ~PassesOff() { before_ ? ::setenv(kName, before_->c_str(), 1) : ::unsetenv(kName); }
  PassesOff(const PassesOff&) = delete;
  PassesOff& operator=(const PassesOff&) = delete;

 private:
  static constexpr const char* kName = "HEBB_DISABLE_PASS";
  std::optional<std::string> before_;
};

}  // namespace hebb::graph::test
