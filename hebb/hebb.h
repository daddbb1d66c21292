// All of hebb's public API.
#pragma once
#include "hebb/autograd/grad.h"
#include "hebb/core/parallel.h"
#include "hebb/core/rng.h"
#include "hebb/core/tensor.h"
#include "hebb/core/version.h"
#include "hebb/data/dataset.h"
#include "hebb/data/loader.h"
#include "hebb/data/sources.h"
#include "hebb/graph/compile.h"
#include "hebb/io/csv.h"
#include "hebb/io/digits.h"
#include "hebb/io/idx.h"
#include "hebb/io/image.h"
#include "hebb/io/npy.h"
#include "hebb/io/safetensors.h"
#include "hebb/nn/activation.h"
#include "hebb/nn/container.h"
#include "hebb/nn/conv.h"
#include "hebb/nn/dropout.h"
#include "hebb/nn/init.h"
#include "hebb/nn/linear.h"
#include "hebb/nn/loss.h"
#include "hebb/nn/module.h"
#include "hebb/nn/norm.h"
#include "hebb/nn/pooling.h"
#include "hebb/nn/recurrent.h"
#include "hebb/nn/transformer.h"
#include "hebb/op/autocast.h"
#include "hebb/op/dispatch.h"
#include "hebb/ops/attention.h"
#include "hebb/ops/conv.h"
#include "hebb/ops/creation.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/index.h"
#include "hebb/ops/join.h"
#include "hebb/ops/loss.h"
#include "hebb/ops/matmul.h"
#include "hebb/ops/minmax.h"
#include "hebb/ops/norm.h"
#include "hebb/ops/pool.h"
#include "hebb/ops/random.h"
#include "hebb/ops/recurrent.h"
#include "hebb/ops/reduce.h"
#include "hebb/ops/sort.h"
#include "hebb/ops/view.h"
#include "hebb/optim/adam.h"
#include "hebb/optim/adaptive.h"
#include "hebb/optim/clip.h"
#include "hebb/optim/lr_scheduler.h"
#include "hebb/optim/make.h"
#include "hebb/optim/sgd.h"
#include "hebb/train/callbacks.h"
#include "hebb/train/checkpoint.h"
#include "hebb/train/recipe.h"
#include "hebb/train/run.h"
#include "hebb/train/summary.h"
#include "hebb/train/trainer.h"

/// @namespace hebb
/// Tensors, ops, gradients.
/// @namespace hebb::nn
/// Modules: layers, containers, losses.
/// @namespace hebb::nn::init
/// Initialisers of parameters.
/// @namespace hebb::optim
/// Optimizers, learning-rate schedules, clipping.
/// @namespace hebb::io
/// Files in and out.
/// @namespace hebb::data
/// Data sets and their loader.
/// @namespace hebb::train
/// Recipes, the trainer, callbacks, runs, summaries.
