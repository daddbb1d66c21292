#include "hebb/data/synthetic.h"

#include <cmath>

#include "hebb/core/rng.h"

namespace hebb::data {
namespace {

constexpr int64_t kPoints = 1000;
constexpr double kPi = 3.141592653589793;

// A point of class `label` from a uniform number in [0, 1) and two standard normal ones.
using PointFn = std::array<double, 2> (*)(int64_t label, double u, double n0, double n1);

template <PointFn point>
Batch make(uint64_t seed) {
  const RandomStream random{seed, (uint64_t{1} << 61) + 7};
  std::vector<float> x;
  std::vector<int64_t> y;
  for (int64_t i = 0; i < kPoints; ++i) {
    const auto w = random.words(static_cast<uint64_t>(2 * i));
    const auto n = normal_from_bits(w[0], w[1]);
    const int64_t label = i % 2;
    const auto p = point(label, w[2] * 0x1p-32, n[0], n[1]);
    x.push_back(static_cast<float>(p[0]));
    x.push_back(static_cast<float>(p[1]));
    y.push_back(label);
  }
  return {Tensor::from(x, {kPoints, 2}), Tensor::from(y)};
}

std::array<double, 2> blob(int64_t label, double, double n0, double n1) {
  const double centre = label ? 1.5 : -1.5;
  return {centre + 0.4 * n0, centre + 0.4 * n1};
}
std::array<double, 2> circle(int64_t label, double u, double n0, double n1) {
  const double radius = label ? 0.5 : 1.5;
  return {radius * std::cos(2 * kPi * u) + 0.1 * n0, radius * std::sin(2 * kPi * u) + 0.1 * n1};
}
std::array<double, 2> moon(int64_t label, double u, double n0, double n1) {
  const double x = std::cos(kPi * u), y = std::sin(kPi * u);
  return {(label ? 1 - x : x) - 0.5 + 0.1 * n0, (label ? 0.5 - y : y) - 0.25 + 0.1 * n1};
}
std::array<double, 2> spiral(int64_t label, double u, double n0, double n1) {
  const double radius = 0.1 + 1.4 * u, angle = 1.75 * 2 * kPi * u + (label ? kPi : 0);
  return {radius * std::sin(angle) + 0.03 * n0, radius * std::cos(angle) + 0.03 * n1};
}
std::array<double, 2> exclusive_or(int64_t label, double u, double n0, double n1) {
  const double x = u < 0.5 ? 1 : -1, y = label ? -x : x;
  return {x + 0.2 * n0, y + 0.2 * n1};
}

}  // namespace

const std::vector<SyntheticSource>& synthetic_sources() {
  static const std::vector<SyntheticSource> list = {
      {"blobs", "two round clouds that a line separates", make<blob>},
      {"circles", "a ring around a ring", make<circle>},
      {"moons", "two interleaved half circles", make<moon>},
      {"spiral", "two arms of a spiral", make<spiral>},
      {"xor", "four clouds, opposite ones of a class: no line separates them", make<exclusive_or>},
  };
  return list;
}

}  // namespace hebb::data
