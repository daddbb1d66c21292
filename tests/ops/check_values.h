// Short forms for tests with literal numbers.
#pragma once
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "hebb/core/tensor.h"
#include "hebb/op/dispatch.h"

namespace hebb {

/// sin(1.7 i), i counting the elements: the input of the numbers that were looked up in PyTorch.
inline Tensor wave(const Shape& shape, DType dtype = f64, double phase = 0) {
  std::vector<double> v(static_cast<size_t>(shape.numel()));
  for (size_t i = 0; i < v.size(); ++i) v[i] = std::sin(1.7 * static_cast<double>(i) + phase);
  if (dtype == f64) return Tensor::from(v, shape);
  return Tensor::from(std::vector<float>(v.begin(), v.end()), shape);
}
inline Tensor doubles(const std::vector<double>& v) { return Tensor::from(v); }
inline Tensor doubles(const std::vector<double>& v, const Shape& shape) { return Tensor::from(v, shape); }
inline Tensor integers(const std::vector<int64_t>& v) { return Tensor::from(v); }
inline Tensor integers(const std::vector<int64_t>& v, const Shape& shape) { return Tensor::from(v, shape); }

inline void expect_values(const Tensor& t, const std::vector<double>& expected, double tolerance = 2e-8) {
  const std::vector<double> got = t.to_vector<double>();
  ASSERT_EQ(got.size(), expected.size()) << t.shape().str();
  for (size_t i = 0; i < got.size(); ++i) {
    if (std::isnan(expected[i])) EXPECT_TRUE(std::isnan(got[i])) << "element " << i << ": " << got[i];
    else if (std::isinf(expected[i])) EXPECT_EQ(got[i], expected[i]) << "element " << i;
    else EXPECT_NEAR(got[i], expected[i], tolerance * (1 + std::abs(expected[i]))) << "element " << i;
  }
}
inline void expect_indices(const Tensor& t, const std::vector<int64_t>& expected) {
  EXPECT_EQ(t.to_vector<int64_t>(), expected);
}

/// Runs the checks on the kernels of each backend.
inline void on_backends(const std::function<void()>& checks) {
  for (const char* name : {"cpu", "reference"}) {
    SCOPED_TRACE(name);
    const BackendScope scope(name);
    checks();
  }
}

/// fn throws an Error whose message contains `part`.
inline void expect_error(const std::function<void()>& fn, const std::string& part) {
  try {
    fn();
    ADD_FAILURE() << "expected an error: " << part;
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
  }
}

}  // namespace hebb
