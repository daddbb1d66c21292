// Functions and layers made of several ops, against PyTorch: values and gradients
// (tools/golden/functions.py).
#include <gtest/gtest.h>

#include <limits>

#include "hebb/nn/conv.h"
#include "hebb/nn/linear.h"
#include "hebb/nn/norm.h"
#include "hebb/nn/pooling.h"
#include "hebb/nn/recurrent.h"
#include "hebb/nn/transformer.h"
#include "hebb/ops/attention.h"
#include "hebb/ops/conv.h"
#include "hebb/ops/creation.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/join.h"
#include "hebb/ops/matmul.h"
#include "hebb/ops/norm.h"
#include "hebb/ops/pool.h"
#include "hebb/ops/reduce.h"
#include "hebb/ops/sort.h"
#include "hebb/ops/view.h"
#include "tests/support/golden.h"

namespace hebb::test_support {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

/// A layer with its weight and bias made the given leaves.
template <class Layer>
Layer with_weights(Layer layer, const Tensor& weight, const Tensor& bias) {
  layer.weight = nn::Parameter(weight);
  layer.bias = nn::Parameter(bias);
  return layer;
}

GoldenFunctions convolutions() {
  GoldenFunctions f{
      {"conv1d/plain", [](In x) -> Out { return {conv1d(x[0], x[1], x[2])}; }},
      {"conv1d/unbatched", [](In x) -> Out { return {conv1d(x[0], x[1])}; }},
      {"conv1d/all",
       [](In x) -> Out {
         return {conv1d(x[0], x[1], x[2], {.stride = 2, .padding = 3, .dilation = 2, .groups = 2})};
       }},
      {"conv1d/same",
       [](In x) -> Out { return {conv1d(x[0], x[1], {}, {.padding = "same", .dilation = 3})}; }},
      {"conv2d/same",
       [](In x) -> Out {
         return {conv2d(x[0], x[1], {}, {.padding = "same", .dilation = {1, 2}})};
       }},
      {"conv2d/depthwise",
       [](In x) -> Out {
         return {conv2d(x[0], x[1], x[2], {.stride = {1, 2}, .padding = 1, .groups = 4})};
       }},
      {"conv2d/unbatched",
       [](In x) -> Out {
         return {conv2d(x[0], x[1], x[2], {.padding = {2, 1}})};
       }},
      {"conv_transpose1d/plain", [](In x) -> Out { return {conv_transpose1d(x[0], x[1], x[2])}; }},
      {"conv_transpose1d/all",
       [](In x) -> Out {
         return {conv_transpose1d(
             x[0], x[1], x[2], {.stride = 3, .padding = 2, .output_padding = 1, .groups = 2, .dilation = 2})};
       }},
      {"conv_transpose2d/plain", [](In x) -> Out { return {conv_transpose2d(x[0], x[1])}; }},
      {"conv_transpose2d/unbatched",
       [](In x) -> Out { return {conv_transpose2d(x[0], x[1], {}, {.stride = 2})}; }},
      {"conv_transpose2d/double",
       [](In x) -> Out {
         return {conv_transpose2d(x[0], x[1], x[2], {.stride = 2, .padding = 1, .output_padding = 1})};
       }},
      {"conv_transpose2d/all",
       [](In x) -> Out {
         return {conv_transpose2d(x[0], x[1], x[2],
                                  {.stride = {3, 1},
                                   .padding = {1, 2},
                                   .output_padding = {2, 1},
                                   .groups = 2,
                                   .dilation = {1, 2}})};
       }},
  };
  const std::pair<const char*, PadMode> modes[] = {
      {"reflect", PadMode::reflect}, {"replicate", PadMode::replicate}, {"circular", PadMode::circular}};
  for (const auto& [name, mode] : modes) {
    f[std::string("Conv2d/") + name] = [mode = mode](In x) -> Out {
      nn::Conv2d layer(2, 3, {.kernel_size = 3, .stride = 2, .padding = {1, 2}, .padding_mode = mode});
      return {with_weights(std::move(layer), x[1], x[2])(x[0])};
    };
    f[std::string("pad/") + name] = [mode = mode](In x) -> Out { return {pad(x[0], {1, 3, 2, 0}, mode)}; };
  }
  return f;
}

/// fn(mean, var) on running statistics that start as in the script; its result and what became of them.
template <class F>
Out running(const Tensor& x, F&& fn) {
  Tensor mean = linspace(-0.5, 0.5, x.size(1), x.dtype()), var = linspace(0.5, 2, x.size(1), x.dtype());
  const Tensor y = fn(mean, var);
  return {y, mean, var};
}

/// Three batches in training, the third again in evaluation; then the buffers.
template <class Layer>
Out over_batches(Layer layer, In x) {
  layer = with_weights(std::move(layer), x[1], x[2]);
  for (nn::Buffer* b : {&layer.running_mean, &layer.running_var}) *b = nn::Buffer(to(*b, x[0].dtype()));
  Out out;
  for (const int64_t i : {0, 1, 2}) out.push_back(layer(select(x[0], 0, i)));
  layer.eval();
  out.push_back(layer(select(x[0], 0, 2)));
  for (const nn::Buffer* b : {&layer.running_mean, &layer.running_var, &layer.num_batches_tracked})
    out.push_back(*b);
  return out;
}

GoldenFunctions normalisations() {
  return {
      {"local_response_norm/odd", [](In x) -> Out { return {local_response_norm(x[0], 3, 0.5, 0.75, 2)}; }},
      {"local_response_norm/even", [](In x) -> Out { return {local_response_norm(x[0], 4, 1.5, 0.6, 1)}; }},
      {"local_response_norm/wide", [](In x) -> Out { return {local_response_norm(x[0], 9)}; }},
      {"group_norm/affine", [](In x) -> Out { return {group_norm(x[0], 3, x[1], x[2], 1e-3)}; }},
      {"group_norm/2d", [](In x) -> Out { return {group_norm(x[0], 2)}; }},
      {"instance_norm/affine", [](In x) -> Out { return {instance_norm(x[0], x[1], x[2])}; }},
      {"instance_norm/train",
       [](In x) {
         return running(x[0],
                        [&](Tensor& m, Tensor& v) { return instance_norm(x[0], m, v, {}, {}, true, 0.3); });
       }},
      {"instance_norm/eval",
       [](In x) {
         return running(x[0], [&](Tensor& m, Tensor& v) { return instance_norm(x[0], m, v, {}, {}, false); });
       }},
      {"batch_norm/train",
       [](In x) {
         return running(
             x[0], [&](Tensor& m, Tensor& v) { return batch_norm(x[0], m, v, x[1], x[2], true, 0.2, 1e-3); });
       }},
      {"batch_norm/train_plain",
       [](In x) {
         return running(x[0], [&](Tensor& m, Tensor& v) { return batch_norm(x[0], m, v, {}, {}, true); });
       }},
      {"batch_norm/eval",
       [](In x) {
         return running(x[0], [&](Tensor& m, Tensor& v) {
           return batch_norm(x[0], m, v, x[1], x[2], false, 0.2, 1e-3);
         });
       }},
      {"BatchNorm2d/batches", [](In x) { return over_batches(nn::BatchNorm2d(2), x); }},
      {"BatchNorm1d/batches", [](In x) { return over_batches(nn::BatchNorm1d(3, {.momentum = 0.5}), x); }},
      {"InstanceNorm2d/batches",
       [](In x) {
         return over_batches(nn::InstanceNorm2d(2, {.affine = true, .track_running_stats = true}), x);
       }},
  };
}

GoldenFunctions folds() {
  GoldenFunctions f{
      {"logsumexp/infinite", [](In x) -> Out { return {logsumexp(x[0], {0})}; }},
      {"prod/zeros", [](In x) -> Out { return {prod(x[0], {1})}; }},
      {"amax/ties", [](In x) -> Out { return {amax(x[0])}; }},
      {"max/ties",
       [](In x) -> Out {
         const auto [values, indices] = max(x[0], 0);
         return {values, indices};
       }},
      {"empty/sum",
       [](In x) -> Out {
         return {sum(x[0]), mean(x[0]), prod(x[0]), sum(x[0], {0}), mean(x[0], {1})};
       }},
      {"lerp/tensor", [](In x) -> Out { return {lerp(x[0], x[1], x[2])}; }},
  };
  for (const std::string name : {"var", "std"}) {
    const auto fn = name == "var" ? var : hebb::std;
    f[name + "/all"] = [fn](In x) -> Out { return {fn(x[0], {}, 1, false)}; };
    f[name + "/biased"] = [fn](In x) -> Out { return {fn(x[0], {0, 2}, 0, true)}; };
    f[name + "/correction2"] = [fn](In x) -> Out { return {fn(x[0], {-1}, 2, false)}; };
    f[name + "/one"] = [fn](In x) -> Out { return {fn(x[0], {1}, 0, false)}; };
    f[name + "/equal"] = [fn](In x) -> Out { return {fn(x[0], {0}, 1, false)}; };
  }
  const std::pair<const char*, double> degrees[] = {{"2", 2}, {"1", 1},      {"3", 3},       {"0.5", 0.5},
                                                    {"0", 0}, {"inf", kInf}, {"-inf", -kInf}};
  for (const auto& [p_name, degree] : degrees) {
    const std::string name = std::string("norm/") + p_name;
    f[name] = [p = degree](In x) -> Out { return {norm(x[0], p, {0, 2}, true)}; };
    f[name + "/all"] = [p = degree](In x) -> Out { return {norm(x[0], p)}; };
    if (degree >= 1) f[name + "/zeros"] = [p = degree](In x) -> Out { return {norm(x[0], p, {1})}; };
  }
  return f;
}

GoldenFunctions shapes() {
  return {
      {"roll/dims",
       [](In x) -> Out {
         return {roll(x[0], {2, -1}, {0, 1})};
       }},
      {"roll/flat", [](In x) -> Out { return {roll(x[0], 3)}; }},
      {"stack/middle",
       [](In x) -> Out {
         return {stack({x[0], x[1]}, 1)};
       }},
      {"split/size", [](In x) { return split(x[0], 2, 1); }},
      {"split/sizes",
       [](In x) {
         return split(x[0], {1, 3}, -1);
       }},
      {"select/last", [](In x) -> Out { return {select(x[0], -1, -2)}; }},
      {"unflatten/middle",
       [](In x) -> Out {
         return {transpose(unflatten(x[0], 1, {2, -1}), 0, 2)};
       }},
      {"matmul/vectors", [](In x) -> Out { return {matmul(x[0], x[1])}; }},
      {"matmul/vector_batch", [](In x) -> Out { return {matmul(x[0], x[1])}; }},
      {"matmul/batch_vector", [](In x) -> Out { return {matmul(x[0], x[1])}; }},
      {"Bilinear/plain",
       [](In x) -> Out { return {with_weights(nn::Bilinear(2, 4, 5), x[2], x[3])(x[0], x[1])}; }},
      {"Maxout/three",
       [](In x) -> Out { return {with_weights(nn::Maxout(2, 4, {.pieces = 3}), x[1], x[2])(x[0])}; }},
      {"argsort/descending", [](In x) -> Out { return {argsort(x[0], 1, true)}; }},
  };
}

Out with_indices(const std::pair<Tensor, Tensor>& pooled) { return {pooled.first, pooled.second}; }

GoldenFunctions pools() {
  auto unpooled = [](nn::MaxPool2dOptions options, bool sized) {
    return [=](In x) -> Out {
      nn::MaxPool2d pool(options);
      nn::MaxUnpool2d unpool(nn::MaxUnpool2dOptions{options.kernel_size, options.stride, options.padding});
      const auto [y, indices] = pool.forward_with_indices(x[0]);
      return {sized ? unpool(y, indices, Size2(x[0].size(-2), x[0].size(-1))) : unpool(y, indices)};
    };
  };
  auto resized = [](InterpolateOptions options) {
    return [=](In x) -> Out { return {interpolate(x[0], options)}; };
  };
  constexpr auto bilinear = Interpolation::bilinear;
  return {
      {"max_pool1d/all",
       [](In x) {
         return with_indices(
             max_pool1d_with_indices(x[0], 3, {.stride = 2, .padding = 1, .dilation = 2, .ceil_mode = true}));
       }},
      {"avg_pool1d/all",
       [](In x) -> Out {
         return {
             avg_pool1d(x[0], 3, {.stride = 2, .padding = 1, .ceil_mode = true, .count_include_pad = false})};
       }},
      {"avg_pool1d/plain", [](In x) -> Out { return {avg_pool1d(x[0], 4)}; }},
      {"max_pool2d/ties", [](In x) -> Out { return {max_pool2d(x[0], 2, {.stride = 1})}; }},
      {"global_avg_pool2d/plain", [](In x) -> Out { return {global_avg_pool2d(x[0])}; }},
      {"global_max_pool2d/plain", [](In x) -> Out { return {global_max_pool2d(x[0])}; }},
      {"MaxUnpool2d/plain", unpooled({.kernel_size = 2}, false)},
      {"MaxUnpool2d/padded", unpooled({.kernel_size = 3, .stride = 3, .padding = 1}, false)},
      {"MaxUnpool2d/size", unpooled({.kernel_size = 2}, true)},
      {"interpolate/nearest/2", resized({.scale_factor = 2})},
      {"interpolate/nearest/1.7", resized({.scale_factor = 1.7})},
      {"interpolate/bilinear/2", resized({.scale_factor = 2, .mode = bilinear})},
      {"interpolate/bilinear/1.7", resized({.scale_factor = 1.7, .mode = bilinear})},
      {"interpolate/bilinear/0.6", resized({.scale_factor = 0.6, .mode = bilinear})},
      {"interpolate/bilinear/corners", resized({.size = {9, 4}, .mode = bilinear, .align_corners = true})},
  };
}

/// An LSTM with the weights that follow x and, if it takes one, the state.
std::function<Out(In)> recurrent(nn::LSTMOptions options, bool with_state = true) {
  return [=](In x) -> Out {
    const size_t first = with_state ? 3 : 1;
    nn::LSTM net(x[0].size(-1), x[first + 1].size(1), options);
    size_t i = first;
    for (nn::LSTM::Layer& l : net.layers) {
      l.weight_ih = nn::Parameter(x[i++]);
      l.weight_hh = nn::Parameter(x[i++]);
      if (!options.bias) continue;
      l.bias_ih = nn::Parameter(x[i++]);
      l.bias_hh = nn::Parameter(x[i++]);
    }
    const nn::LSTMOutput y = with_state ? net(x[0], nn::LSTMState{x[1], x[2]}) : net(x[0]);
    return {y.output, y.state.h, y.state.c};
  };
}
Out recurrent_cell(In x) {
  nn::LSTMCell net(x[0].size(-1), x[1].size(-1));
  net.weight_ih = nn::Parameter(x[3]);
  net.weight_hh = nn::Parameter(x[4]);
  net.bias_ih = nn::Parameter(x[5]);
  net.bias_hh = nn::Parameter(x[6]);
  const nn::LSTMState y = net(x[0], nn::LSTMState{x[1], x[2]});
  return {y.h, y.c};
}

GoldenFunctions recurrent_layers() {
  return {{"LSTM/one", recurrent({})},
          {"LSTM/zeros", recurrent({}, false)},
          {"LSTM/two", recurrent({.num_layers = 2})},
          {"LSTM/batch_first", recurrent({.num_layers = 2, .batch_first = true})},
          {"LSTM/no_bias", recurrent({.bias = false})},
          {"LSTM/unbatched", recurrent({.num_layers = 2})},
          {"LSTMCell/batch", recurrent_cell},
          {"LSTMCell/unbatched", recurrent_cell}};
}

/// Gives the module the leaves from `first` on, in the order of its parameters.
void take_parameters(nn::Module& m, In x, size_t first) {
  struct Taker : nn::MemberVisitor {
    In x;
    size_t next;
    Taker(In inputs, size_t start) : x(inputs), next(start) {}
    void parameter(std::string_view, nn::Parameter& p) override {
      if (p.defined()) p = nn::Parameter(x[next++]);
    }
    void buffer(std::string_view, nn::Buffer&) override {}
    void module(std::string_view, nn::Module& inside) override { inside.visit_members(*this); }
  } taker(x, first);
  m.visit_members(taker);
  EXPECT_EQ(taker.next, x.size());
}

std::function<Out(In)> attended(int64_t heads, bool same, nn::MultiheadAttentionOptions options,
                                nn::AttentionCall call) {
  return [=](In x) -> Out {
    nn::MultiheadAttention net(x[0].size(-1), heads, options);
    take_parameters(net, x, same ? 1 : 3);
    const nn::AttentionOutput y = net(x[0], x[same ? 0 : 1], x[same ? 0 : 2], call);
    return call.need_weights ? Out{y.output, y.weights} : Out{y.output};
  };
}
std::function<Out(In)> encoder(nn::TransformerEncoderLayerOptions options) {
  options.dim_feedforward = 8;
  options.dropout = 0;
  return [=](In x) -> Out {
    nn::TransformerEncoderLayer net(x[0].size(-1), 2, options);
    take_parameters(net, x, 1);
    return {net(x[0])};
  };
}
std::function<Out(In)> attention_with(bool causal, std::optional<double> scale) {
  return [=](In x) -> Out {
    return {scaled_dot_product_attention(x[0], x[1], x[2], {.causal = causal, .scale = scale})};
  };
}

GoldenFunctions transformers() {
  const nn::AttentionCall weights{.need_weights = true};
  return {
      {"attention/plain", attention_with(false, {})},
      {"attention/causal", attention_with(true, 0.3)},
      {"attention/mask",
       [](In x) -> Out { return {scaled_dot_product_attention(x[0], x[1], x[2], {.mask = x[3] > -1.0})}; }},
      {"attention/bias",
       [](In x) -> Out { return {scaled_dot_product_attention(x[0], x[1], x[2], {.mask = x[3]})}; }},
      {"MultiheadAttention/self", attended(2, true, {}, {})},
      {"MultiheadAttention/causal", attended(3, true, {}, {.is_causal = true})},
      {"MultiheadAttention/cross", attended(2, false, {}, weights)},
      {"MultiheadAttention/batch_first", attended(2, false, {.batch_first = true}, weights)},
      {"MultiheadAttention/unbatched", attended(2, true, {.bias = false}, weights)},
      {"TransformerEncoderLayer/post", encoder({})},
      {"TransformerEncoderLayer/pre",
       encoder({.activation = "gelu", .batch_first = true, .norm_first = true})}};
}

GoldenFunctions functions() {
  GoldenFunctions f;
  for (GoldenFunctions group :
       {convolutions(), normalisations(), folds(), shapes(), pools(), recurrent_layers(), transformers()})
    f.merge(group);
  return f;
}

TEST(FunctionsGoldenTest, EqualPyTorchInF64) {
  expect_golden(golden_file("functions.safetensors"), functions(), f64, 1e-12);
}
TEST(FunctionsGoldenTest, EqualPyTorchInF32) {
  expect_golden(golden_file("functions.safetensors"), functions(), f32, 1e-5);
}

}  // namespace
}  // namespace hebb::test_support
