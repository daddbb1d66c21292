// What the optimizer tests share: files written by PyTorch (tools/golden/optim.py) and the toy problem in
// them.
#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "hebb/io/safetensors.h"
#include "hebb/optim/make.h"

namespace hebb::optim::test {

inline io::SafeTensors golden(const std::string& file) {
  const char* root = std::getenv("HEBB_SOURCE_DIR");
  return io::load_safetensors(std::string(root ? root : ".") + "/tests/golden/" + file);
}

inline OptionMap options_from(const nlohmann::json& json) {
  OptionMap out;
  for (const auto& [name, v] : json.items()) {
    if (v.is_boolean()) out.emplace(name, v.get<bool>());
    else if (v.is_number()) out.emplace(name, v.get<double>());
    else if (v.is_string()) out.emplace(name, v.get<std::string>());
    else out.emplace(name, v.get<std::vector<double>>());
  }
  return out;
}

inline const std::vector<Shape>& toy_shapes() {
  static const std::vector<Shape> shapes{{3, 4}, {5}};
  return shapes;
}

inline std::vector<Tensor> toy_params(DType type = f64) {
  std::vector<Tensor> out;
  for (size_t p = 0; p < toy_shapes().size(); ++p) {
    const Shape& shape = toy_shapes()[p];
    std::vector<double> v(static_cast<size_t>(shape.numel()));
    for (size_t i = 0; i < v.size(); ++i)
      v[i] = std::cos(1.7 * static_cast<double>(i) + static_cast<double>(p));
    Tensor w = Tensor::empty(shape, type);
    w.assign_(Tensor::from(v, shape));
    out.push_back(w.requires_grad_());
  }
  return out;
}

/// sin(i + 0.1 t) + 0.3 w + 0.05 w^3 for each parameter.
inline void set_toy_grads(std::vector<Tensor>& params, int t) {
  for (Tensor& w : params) {
    std::vector<double> v = w.to_vector<double>();
    for (size_t i = 0; i < v.size(); ++i)
      v[i] = std::sin(static_cast<double>(i) + 0.1 * t) + 0.3 * v[i] + 0.05 * v[i] * v[i] * v[i];
    Tensor g = Tensor::empty(w.shape(), w.dtype());
    g.assign_(Tensor::from(v, w.shape()));
    w.set_grad(g);
  }
}

inline void run_toy(Optimizer& optimizer, std::vector<Tensor>& params, int first, int last) {
  for (int t = first; t <= last; ++t) {
    set_toy_grads(params, t);
    optimizer.step();
  }
}

template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

}  // namespace hebb::optim::test
