#include "hebb/nn/registry.h"

#include "hebb/core/check.h"
#include "hebb/nn/activation.h"
#include "hebb/nn/conv.h"
#include "hebb/nn/dropout.h"
#include "hebb/nn/linear.h"
#include "hebb/nn/norm.h"
#include "hebb/nn/pooling.h"

namespace hebb::nn {
namespace {

using Args = CheckedLayerArgs;
using Spec = LayerArgSpec;
using enum LayerArgKind;

// ---- the table's vocabulary ----------------------------------------------------------------------

Spec need(std::string_view name, LayerArgKind kind, std::optional<int64_t> least = {}) {
  return {.name = name, .kind = kind, .least = least};
}
Spec may(std::string_view name, LayerArgKind kind, LayerArg fallback, std::optional<int64_t> least = {}) {
  return {name, kind, Spec::Presence::optional, std::move(fallback), least};
}
// Without a default of its own.
Spec may(std::string_view name, LayerArgKind kind) { return {name, kind, Spec::Presence::optional}; }
Spec words(std::string_view name, std::vector<std::string_view> choices) {
  Spec s{name, text, Spec::Presence::optional, std::string(choices[0])};
  s.choices = std::move(choices);
  return s;
}
Spec from_input(std::string_view name, int dim) {
  Spec s{name, integer, Spec::Presence::inferred};
  s.least = 1;
  s.input_dim = dim;
  return s;
}
// Accepted for the sake of recipes that have it: ops never write their inputs.
Spec inplace() { return may("inplace", boolean, false); }
Spec padding_mode() { return words("padding_mode", {"zeros", "reflect", "replicate", "circular"}); }

// ---- reading checked arguments --------------------------------------------------------------------

Size2 size2(const Args& a, std::string_view name) {
  if (!a.has(name)) return 0;
  const std::vector<int64_t> v = a.integers(name);
  return {v[0], v.back()};
}
int64_t or_zero(const Args& a, std::string_view name) { return a.has(name) ? a.integer(name) : 0; }
Shape shape(const Args& a, std::string_view name) {
  return Shape(std::span<const int64_t>(a.integers(name)));
}
PadMode pad_mode(const Args& a) {
  const std::string& word = a.text("padding_mode");
  if (word == "reflect") return PadMode::reflect;
  if (word == "replicate") return PadMode::replicate;
  return word == "circular" ? PadMode::circular : PadMode::constant;
}

// ---- builders that do not fit into a line -----------------------------------------------------------

Padding read_padding(const LayerArg& v) {
  if (const auto* word = std::get_if<std::string>(&v)) return Padding(*word);
  if (const auto* n = std::get_if<int64_t>(&v)) return *n;
  const auto& pair = std::get<std::vector<int64_t>>(v);
  return {pair[0], pair[1]};
}

AnyModule build_conv2d(const Args& a) {
  return Conv2d(a.integer("in_channels"), a.integer("out_channels"),
                {.kernel_size = size2(a, "kernel_size"),
                 .stride = size2(a, "stride"),
                 .padding = read_padding(a["padding"]),
                 .dilation = size2(a, "dilation"),
                 .groups = a.integer("groups"),
                 .bias = a.boolean("bias"),
                 .padding_mode = pad_mode(a)});
}
AnyModule build_conv1d(const Args& a) {
  return Conv1d(a.integer("in_channels"), a.integer("out_channels"),
                {.kernel_size = a.integer("kernel_size"),
                 .stride = a.integer("stride"),
                 .padding = read_padding(a["padding"]),
                 .dilation = a.integer("dilation"),
                 .groups = a.integer("groups"),
                 .bias = a.boolean("bias"),
                 .padding_mode = pad_mode(a)});
}
AnyModule build_conv_transpose2d(const Args& a) {
  return ConvTranspose2d(a.integer("in_channels"), a.integer("out_channels"),
                         {.kernel_size = size2(a, "kernel_size"),
                          .stride = size2(a, "stride"),
                          .padding = size2(a, "padding"),
                          .output_padding = size2(a, "output_padding"),
                          .groups = a.integer("groups"),
                          .bias = a.boolean("bias"),
                          .dilation = size2(a, "dilation")});
}
AnyModule build_conv_transpose1d(const Args& a) {
  return ConvTranspose1d(a.integer("in_channels"), a.integer("out_channels"),
                         {.kernel_size = a.integer("kernel_size"),
                          .stride = a.integer("stride"),
                          .padding = a.integer("padding"),
                          .output_padding = a.integer("output_padding"),
                          .groups = a.integer("groups"),
                          .bias = a.boolean("bias"),
                          .dilation = a.integer("dilation")});
}
template <class Norm>
AnyModule build_channel_norm(const Args& a) {
  return Norm(a.integer("num_features"), {.eps = a.number("eps"),
                                          .momentum = a.number("momentum"),
                                          .affine = a.boolean("affine"),
                                          .bias = a.boolean("bias"),
                                          .track_running_stats = a.boolean("track_running_stats")});
}
AnyModule build_embedding(const Args& a) {
  EmbeddingOptions o;
  if (a.has("padding_idx")) o.padding_idx = a.integer("padding_idx");
  return Embedding(a.integer("num_embeddings"), a.integer("embedding_dim"), o);
}
AnyModule build_upsample(const Args& a) {
  InterpolateOptions o;
  o.size = size2(a, "size");
  if (a.has("scale_factor")) o.scale_factor = a.number("scale_factor");
  o.mode = a.text("mode") == "bilinear" ? Interpolation::bilinear : Interpolation::nearest;
  o.align_corners = a.boolean("align_corners");
  return Upsample(o);
}
template <class Layer>
AnyModule build_plain(const Args&) {
  return Layer();
}

std::vector<Spec> conv_args(LayerArgKind extent, LayerArgKind pad) {
  return {from_input("in_channels", 1), need("out_channels", integer, 1), need("kernel_size", extent, 1),
          may("stride", extent, 1, 1),  may("padding", pad, 0, 0),        may("dilation", extent, 1, 1),
          may("groups", integer, 1, 1), may("bias", boolean, true),       padding_mode()};
}
std::vector<Spec> conv_transpose_args(LayerArgKind extent) {
  return {from_input("in_channels", 1), need("out_channels", integer, 1), need("kernel_size", extent, 1),
          may("stride", extent, 1, 1),  may("padding", extent, 0, 0),     may("output_padding", extent, 0, 0),
          may("groups", integer, 1, 1), may("bias", boolean, true),       may("dilation", extent, 1, 1)};
}
std::vector<Spec> max_pool_args(LayerArgKind extent) {
  return {need("kernel_size", extent, 1), Spec{"stride", extent, Spec::Presence::optional, {}, 1},
          may("padding", extent, 0, 0), may("dilation", extent, 1, 1), may("ceil_mode", boolean, false)};
}
std::vector<Spec> avg_pool_args(LayerArgKind extent) {
  return {need("kernel_size", extent, 1), Spec{"stride", extent, Spec::Presence::optional, {}, 1},
          may("padding", extent, 0, 0), may("ceil_mode", boolean, false),
          may("count_include_pad", boolean, true)};
}
std::vector<Spec> avg_pool2d_args() {
  std::vector<Spec> args = avg_pool_args(pair);
  args.push_back(Spec{"divisor_override", integer, Spec::Presence::optional, {}, 1});
  return args;
}
std::vector<Spec> channel_norm_args(bool batch) {
  return {from_input("num_features", 1), may("eps", number, 1e-5),
          may("momentum", number, 0.1),  may("affine", boolean, batch),
          may("bias", boolean, true),    may("track_running_stats", boolean, batch)};
}

const std::vector<LayerType>& table() {
  static const std::vector<LayerType> types{
      {"Linear",
       "x W^T + b",
       0,
       {from_input("in_features", -1), need("out_features", integer, 1), may("bias", boolean, true)},
       [](const Args& a) -> AnyModule {
         return Linear(a.integer("in_features"), a.integer("out_features"), {.bias = a.boolean("bias")});
       }},
      {"Maxout",
       "the largest of several linear maps",
       0,
       {from_input("in_features", -1), need("out_features", integer, 1), may("pieces", integer, 2, 1),
        may("bias", boolean, true)},
       [](const Args& a) -> AnyModule {
         return Maxout(a.integer("in_features"), a.integer("out_features"),
                       {.pieces = a.integer("pieces"), .bias = a.boolean("bias")});
       }},
      {"Embedding",
       "a row of a table for each index",
       0,
       {need("num_embeddings", integer, 1), need("embedding_dim", integer, 1), may("padding_idx", integer)},
       build_embedding},
      {"Identity", "its input", 0, {}, build_plain<Identity>},
      {"Flatten",
       "merges dimensions",
       0,
       {may("start_dim", integer, 1), may("end_dim", integer, -1)},
       [](const Args& a) -> AnyModule { return Flatten(a.integer("start_dim"), a.integer("end_dim")); }},
      {"Unflatten",
       "splits a dimension",
       0,
       {need("dim", integer), need("unflattened_size", integers, -1)},
       [](const Args& a) -> AnyModule { return Unflatten(a.integer("dim"), shape(a, "unflattened_size")); }},
      {"Add", "the sum of its inputs", 0, {}, build_plain<Add>},
      {"Concat",
       "its inputs, joined",
       0,
       {may("dim", integer, 1)},
       [](const Args& a) -> AnyModule { return Concat(a.integer("dim")); }},

      {"Conv1d", "convolution of lines", 3, conv_args(integer, line_padding), build_conv1d},
      {"Conv2d", "convolution of planes", 4, conv_args(pair, padding), build_conv2d},
      {"ConvTranspose1d", "transposed convolution of lines", 3, conv_transpose_args(integer),
       build_conv_transpose1d},
      {"ConvTranspose2d", "transposed convolution of planes", 4, conv_transpose_args(pair),
       build_conv_transpose2d},

      {"MaxPool1d", "the largest value of each window of a line", 3, max_pool_args(integer),
       [](const Args& a) -> AnyModule {
         return MaxPool1d({a.integer("kernel_size"), or_zero(a, "stride"), a.integer("padding"),
                           a.integer("dilation"), a.boolean("ceil_mode")});
       }},
      {"MaxPool2d", "the largest value of each window of a plane", 4, max_pool_args(pair),
       [](const Args& a) -> AnyModule {
         return MaxPool2d({size2(a, "kernel_size"), size2(a, "stride"), size2(a, "padding"),
                           size2(a, "dilation"), a.boolean("ceil_mode")});
       }},
      {"AvgPool1d", "the mean of each window of a line", 3, avg_pool_args(integer),
       [](const Args& a) -> AnyModule {
         return AvgPool1d({a.integer("kernel_size"), or_zero(a, "stride"), a.integer("padding"),
                           a.boolean("ceil_mode"), a.boolean("count_include_pad")});
       }},
      {"AvgPool2d", "the mean of each window of a plane", 4, avg_pool2d_args(),
       [](const Args& a) -> AnyModule {
         return AvgPool2d({size2(a, "kernel_size"), size2(a, "stride"), size2(a, "padding"),
                           a.boolean("ceil_mode"), a.boolean("count_include_pad"),
                           or_zero(a, "divisor_override")});
       }},
      {"AdaptiveAvgPool2d",
       "means of windows that cover a plane",
       4,
       {need("output_size", pair, 1)},
       [](const Args& a) -> AnyModule { return AdaptiveAvgPool2d(size2(a, "output_size")); }},
      {"AdaptiveMaxPool2d",
       "maxima of windows that cover a plane",
       4,
       {need("output_size", pair, 1)},
       [](const Args& a) -> AnyModule { return AdaptiveMaxPool2d(size2(a, "output_size")); }},
      {"GlobalAvgPool2d", "the mean of each plane", 4, {}, build_plain<GlobalAvgPool2d>},
      {"ZeroFillUnpool2d",
       "each value in the corner of a block of zeros",
       4,
       {may("stride", pair, 2, 1)},
       [](const Args& a) -> AnyModule { return ZeroFillUnpool2d(size2(a, "stride")); }},
      {"Upsample",
       "resizes planes",
       4,
       {Spec{"size", pair, Spec::Presence::optional, {}, 1}, may("scale_factor", number),
        words("mode", {"nearest", "bilinear"}), may("align_corners", boolean, false)},
       build_upsample},

      {"BatchNorm1d", "each channel normalised over the batch", 0, channel_norm_args(true),
       build_channel_norm<BatchNorm1d>},
      {"BatchNorm2d", "each channel normalised over the batch", 4, channel_norm_args(true),
       build_channel_norm<BatchNorm2d>},
      {"InstanceNorm2d", "each channel of each sample normalised", 4, channel_norm_args(false),
       build_channel_norm<InstanceNorm2d>},
      {"LayerNorm",
       "the last dimensions normalised",
       0,
       {need("normalized_shape", integers, 1), may("eps", number, 1e-5),
        may("elementwise_affine", boolean, true), may("bias", boolean, true)},
       [](const Args& a) -> AnyModule {
         return LayerNorm(shape(a, "normalized_shape"),
                          {.eps = a.number("eps"),
                           .elementwise_affine = a.boolean("elementwise_affine"),
                           .bias = a.boolean("bias")});
       }},
      {"GroupNorm",
       "groups of channels normalised",
       0,
       {need("num_groups", integer, 1), from_input("num_channels", 1), may("eps", number, 1e-5),
        may("affine", boolean, true), may("bias", boolean, true)},
       [](const Args& a) -> AnyModule {
         return GroupNorm(a.integer("num_groups"), a.integer("num_channels"),
                          {.eps = a.number("eps"), .affine = a.boolean("affine"), .bias = a.boolean("bias")});
       }},
      {"LocalResponseNorm",
       "divided by neighbouring channels",
       0,
       {need("size", integer, 1), may("alpha", number, 1e-4), may("beta", number, 0.75),
        may("k", number, 1.0)},
       [](const Args& a) -> AnyModule {
         return LocalResponseNorm(a.integer("size"),
                                  {.alpha = a.number("alpha"), .beta = a.number("beta"), .k = a.number("k")});
       }},
      {"Dropout",
       "drops elements in training",
       0,
       {may("p", number, 0.5), inplace()},
       [](const Args& a) -> AnyModule { return Dropout(a.number("p")); }},
      {"Dropout2d",
       "drops channels in training",
       4,
       {may("p", number, 0.5), inplace()},
       [](const Args& a) -> AnyModule { return Dropout2d(a.number("p")); }},

      {"Sigmoid", "1/(1 + e^-x)", 0, {}, build_plain<Sigmoid>},
      {"Tanh", "hyperbolic tangent", 0, {}, build_plain<Tanh>},
      {"ReLU", "max(x, 0)", 0, {inplace()}, build_plain<ReLU>},
      {"ReLU6", "min(max(x, 0), 6)", 0, {inplace()}, build_plain<ReLU6>},
      {"LeakyReLU",
       "x, or negative_slope x below 0",
       0,
       {may("negative_slope", number, 0.01), inplace()},
       [](const Args& a) -> AnyModule { return LeakyReLU(a.number("negative_slope")); }},
      {"PReLU",
       "LeakyReLU with a learned slope",
       0,
       {may("num_parameters", integer, 1, 1), may("init", number, 0.25)},
       [](const Args& a) -> AnyModule { return PReLU(a.integer("num_parameters"), a.number("init")); }},
      {"ELU",
       "x, or alpha (e^x - 1) below 0",
       0,
       {may("alpha", number, 1.0), inplace()},
       [](const Args& a) -> AnyModule { return ELU(a.number("alpha")); }},
      {"SELU", "self-normalising ELU", 0, {inplace()}, build_plain<SELU>},
      {"GELU",
       "x Phi(x)",
       0,
       {words("approximate", {"none", "tanh"})},
       [](const Args& a) -> AnyModule { return GELU(a.text("approximate")); }},
      {"SiLU", "x sigmoid(x)", 0, {inplace()}, build_plain<SiLU>},
      {"Softplus",
       "log(1 + e^(beta x))/beta",
       0,
       {may("beta", number, 1.0), may("threshold", number, 20.0)},
       [](const Args& a) -> AnyModule { return Softplus(a.number("beta"), a.number("threshold")); }},
      {"Softsign", "x/(1 + |x|)", 0, {}, build_plain<Softsign>},
      {"Sign", "-1, 0 or 1", 0, {}, build_plain<Sign>},
      {"Hardtanh",
       "x held within [min_val, max_val]",
       0,
       {may("min_val", number, -1.0), may("max_val", number, 1.0), inplace()},
       [](const Args& a) -> AnyModule { return Hardtanh(a.number("min_val"), a.number("max_val")); }},
      {"Hardsigmoid", "x/6 + 1/2 held within [0, 1]", 0, {inplace()}, build_plain<Hardsigmoid>},
      {"Hardswish", "x times Hardsigmoid", 0, {inplace()}, build_plain<Hardswish>},
      {"LogSigmoid", "log(sigmoid(x))", 0, {}, build_plain<LogSigmoid>},
      {"Threshold",
       "x above threshold, else value",
       0,
       {need("threshold", number), need("value", number), inplace()},
       [](const Args& a) -> AnyModule { return Threshold(a.number("threshold"), a.number("value")); }},
      {"Step",
       "1 from threshold on, else 0",
       0,
       {may("threshold", number, 0.0)},
       [](const Args& a) -> AnyModule { return Step(a.number("threshold")); }},
      {"Softmax",
       "e^x over its sum",
       0,
       {may("dim", integer, -1)},
       [](const Args& a) -> AnyModule { return Softmax(a.integer("dim")); }},
      {"LogSoftmax",
       "log(softmax(x))",
       0,
       {may("dim", integer, -1)},
       [](const Args& a) -> AnyModule { return LogSoftmax(a.integer("dim")); }},
  };
  return types;
}

}  // namespace

std::span<const LayerType> layer_types() { return table(); }

}  // namespace hebb::nn
