// The networks that `hebb bench` times: the same sizes, names of weights and optimizers as bench/peers.py.
#pragma once
#include <memory>
#include <span>
#include <string>

#include "hebb/nn/container.h"
#include "hebb/optim/optimizer.h"
#include "hebb/train/trainer.h"

namespace hebb::cli {

/// A network with a loss, an optimizer and a batch to be trained on.
struct Workload {
  nn::AnyModule net;
  train::LossFn loss;
  std::unique_ptr<optim::Optimizer> optimizer;
  Tensor x, y;
};

/// How to make one.
struct WorkloadType {
  const char* name;
  const char* description;
  int64_t batch;
  Workload (*make)(int64_t batch);
};
std::span<const WorkloadType> workload_types();

}  // namespace hebb::cli
