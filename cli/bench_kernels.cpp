// hebb bench kernels: matrix products and convolutions of the networks that `hebb bench` times, in three
// directions, and the ops that only move memory, each alone in a compiled function; and small products, a row
// of them in one.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "cli/bench.h"
#include "hebb/autograd/grad.h"
#include "hebb/core/parallel.h"
#include "hebb/graph/compile.h"
#include "hebb/op/autocast.h"
#include "hebb/op/dispatch.h"
#include "hebb/ops/channels_last.h"
#include "hebb/ops/conv_attrs.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/elementwise_attrs.h"
#include "hebb/ops/index_attrs.h"
#include "hebb/ops/loss_attrs.h"
#include "hebb/ops/matmul.h"
#include "hebb/ops/matmul_attrs.h"
#include "hebb/ops/norm.h"
#include "hebb/ops/norm_attrs.h"
#include "hebb/ops/pool_attrs.h"
#include "hebb/ops/random.h"
#include "hebb/ops/reduce.h"
#include "hebb/ops/table.h"
#include "hebb/optim/adam.h"
#include "hebb/optim/adaptive.h"
#include "hebb/optim/sgd.h"

namespace hebb::cli {
namespace {

// A compiled function and what it is called with.
struct Kernel {
  Compiled run;
  std::vector<Tensor> arguments;
  int64_t bytes;  // of inputs and outputs
};

int64_t bytes_of(std::span<const Tensor> tensors) {
  int64_t bytes = 0;
  for (const Tensor& t : tensors) bytes += t.numel() * size_of(t.dtype());
  return bytes;
}

Kernel kernel_of(std::function<std::vector<Tensor>(std::span<const Tensor>)> fn, std::vector<Tensor> inputs,
                 std::vector<CompiledState> state = {}) {
  const Compiled run = compile(std::move(fn), std::move(state));
  const int64_t bytes = bytes_of(inputs) + bytes_of(run(inputs));
  return {run, std::move(inputs), bytes};
}
Kernel kernel_of(const OpDef& op, const Attrs& attrs, std::vector<Tensor> inputs) {
  const auto fn = [&op, attrs](std::span<const Tensor> in) {
    Outputs out = apply(op, attrs, in);
    return std::vector<Tensor>(out.begin(), out.end());
  };
  return kernel_of(fn, std::move(inputs));
}

/// A product of inputs and weights. These stay from call to call, as in inference: kernels pack them once.
Kernel kernel_of(const OpDef& op, const Attrs& attrs, const Tensor& input, const Tensor& weight) {
  const auto fn = [&op, attrs, weight](std::span<const Tensor> in) {
    return std::vector{apply1(op, attrs, {in[0], weight})};
  };
  return kernel_of(fn, {input}, {weight});
}

// So many calls at once that reading the clock and binding arguments hardly count.
Times time_of(const Kernel& k, double seconds) {
  constexpr double kLeastMs = 0.2;
  const Times once = repeat_for(0, [&] { k.run(k.arguments); });
  if (seconds == 0) return once;
  const int64_t calls = std::max(1L, std::lround(kLeastMs / once.min_ms));
  const Times t = repeat_for(seconds, [&] { k.run.repeat(calls, k.arguments); });
  return {t.median_ms / static_cast<double>(calls), t.min_ms / static_cast<double>(calls)};
}

// ---- products and convolutions

constexpr const char* kDirections[] = {"forward", "input_grad", "weight_grad"};

// x [batch * rows, in] W^T, W [out, in].
struct Product {
  const char* name;
  int64_t batch, rows, in, out;
};
constexpr Product kProductShapes[] = {
    {"mlp", 128, 1, 784, 512},
    {"lenet", 64, 1, 400, 120},
    {"resnet50 1x1", 8, 3136, 64, 256},
    {"resnet50 1x1", 8, 784, 512, 128},
    {"resnet50 1x1", 8, 196, 1024, 256},
    {"resnet50 1x1", 8, 49, 512, 2048},
    {"charlstm gates", 32, 64, 256, 1024},
    {"charlstm step", 32, 1, 256, 1024},
    {"transformer", 16, 128, 256, 768},
    {"transformer", 16, 128, 1024, 256},
};

// Square images and kernels. `plain`: the network is too narrow for its images to be turned to channels last.
struct Convolution {
  const char* name;
  int64_t batch, in, out, side, kernel, stride, padding;
  bool plain = false;
  int64_t out_side() const { return (side + 2 * padding - kernel) / stride + 1; }
};
constexpr Convolution kConvolutionShapes[] = {
    {"resnet18", 64, 64, 64, 32, 3, 1, 1},  {"resnet18", 64, 128, 128, 16, 3, 1, 1},
    {"resnet18", 64, 256, 256, 8, 3, 1, 1}, {"resnet18", 64, 512, 512, 4, 3, 1, 1},
    {"resnet50", 8, 64, 64, 56, 3, 1, 1},   {"resnet50", 8, 128, 128, 28, 3, 1, 1},
    {"resnet50", 8, 256, 256, 14, 3, 1, 1}, {"resnet50", 8, 512, 512, 7, 3, 1, 1},
    {"unet", 4, 32, 32, 128, 3, 1, 1},      {"unet", 4, 256, 128, 32, 3, 1, 1},
    {"unet input", 4, 1, 32, 128, 3, 1, 1}, {"resnet18 stem", 64, 3, 64, 32, 3, 1, 1},
    {"resnet18", 64, 64, 128, 32, 3, 2, 1}, {"resnet50", 8, 128, 128, 56, 3, 2, 1},
    {"resnet50", 8, 512, 512, 14, 3, 2, 1}, {"resnet50 stem", 8, 3, 64, 224, 7, 2, 3},
    {"resnet50", 8, 256, 512, 56, 1, 2, 0}, {"unet up", 4, 32, 64, 128, 2, 2, 0},
    {"lenet", 64, 1, 6, 28, 5, 1, 2, true}, {"lenet", 64, 6, 16, 14, 5, 1, 0, true},
};

Kernel kernel_of(const Product& p, int64_t batch, int direction) {
  const int64_t rows = batch * p.rows;
  const Tensor w = randn({p.out, p.in});
  const bool low = detail::rounds(w);
  if (direction == 0) return kernel_of(ops::linear, detail::ProductAttrs{low}, randn({rows, p.in}), w);
  const Tensor g = randn({rows, p.out});
  if (direction == 1) return kernel_of(ops::matmul, MatmulAttrs{.bf16 = low}, g, w);
  return kernel_of(ops::matmul, MatmulAttrs{.trans_a = true, .bf16 = low}, {g, randn({rows, p.in})});
}

Kernel kernel_of(const Convolution& c, int64_t batch, int direction) {
  // As compiled networks choose: no image of few channels is made with its channels last.
  const bool last = !c.plain && !(direction == 1 && c.in < 16);
  const auto image = [&](int64_t channels, int64_t side) {
    const Shape s{batch, channels, side, side};
    return randn(last ? to_nhwc_shape(s) : s);
  };
  const Tensor w = randn({c.out, c.in, c.kernel, c.kernel});
  Conv2dAttrs a{.stride = {c.stride, c.stride},
                .padding = {c.padding, c.padding, c.padding, c.padding},
                .bf16 = detail::rounds(w)};
  if (direction == 0) return kernel_of(last ? ops::conv2d_nhwc : ops::conv2d, a, image(c.in, c.side), w);
  const Tensor g = image(c.out, c.out_side());
  a.size[0] = a.size[1] = direction == 1 ? c.side : c.kernel;
  if (direction == 1) return kernel_of(last ? ops::conv2d_input_grad_nhwc : ops::conv2d_input_grad, a, g, w);
  return kernel_of(last ? ops::conv2d_weight_grad_nhwc : ops::conv2d_weight_grad, a,
                   {g, image(c.in, c.side)});
}

double gflop(const Product& p, int64_t batch) {
  return 2e-9 * static_cast<double>(batch * p.rows * p.in * p.out);
}
double gflop(const Convolution& c, int64_t batch) {
  return 2e-9 * static_cast<double>(batch * c.out_side() * c.out_side() * c.in * c.out * c.kernel * c.kernel);
}

nlohmann::json sizes(const Product& p, int64_t batch) {
  return {{"rows", batch * p.rows}, {"in", p.in}, {"out", p.out}};
}
nlohmann::json sizes(const Convolution& c, int64_t batch) {
  return {{"batch", batch},     {"in", c.in},         {"out", c.out},        {"side", c.side},
          {"kernel", c.kernel}, {"stride", c.stride}, {"padding", c.padding}};
}

std::string text(const Product& p, int64_t batch) {
  return fmt::format("{} rows, {} to {}", batch * p.rows, p.in, p.out);
}
std::string text(const Convolution& c, int64_t batch) {
  return fmt::format("{}x{}x{}x{} to {}, {}x{}, stride {}", batch, c.in, c.side, c.side, c.out, c.kernel,
                     c.kernel, c.stride);
}

template <class S>
nlohmann::json run_shapes(const App& app, const KernelOptions& o, const char* group,
                          std::span<const S> shapes) {
  if (!app.json) fmt::print("{:>9} {:>9} {:>8}  {}\n", "median ms", "least ms", "GFLOP/s", group);
  nlohmann::json rows = nlohmann::json::array();
  for (const S& s : shapes) {
    const int64_t batch = o.batch ? o.batch : s.batch;
    for (int direction = 0; direction < 3; ++direction) {
      const Times t = time_of(kernel_of(s, batch, direction), o.seconds);
      nlohmann::json row = sizes(s, batch);
      row.update({{"name", s.name},
                  {"direction", kDirections[direction]},
                  {"gflop", gflop(s, batch)},
                  {"median_ms", t.median_ms},
                  {"min_ms", t.min_ms}});
      rows.push_back(row);
      if (!app.json)
        fmt::print("{:9.4g} {:9.4g} {:8.1f}  {:<14} {:<11} {}\n", t.median_ms, t.min_ms,
                   1e3 * gflop(s, batch) / t.min_ms, s.name, kDirections[direction], text(s, batch));
    }
  }
  return rows;
}

// ---- products of few numbers

// Of n x n matrices, a row of them in one function, so that a call hardly counts; beside them what their
// arithmetic takes at the speed of a large product on one thread.
nlohmann::json run_small(const App& app, const KernelOptions& o) {
  constexpr int64_t kInARow = 16, kLarge = 768;
  const auto time_of_row = [&](int64_t n, int64_t count) {
    std::vector<Tensor> weights;
    for (int64_t i = 0; i < count; ++i)
      weights.push_back(randn({n, n}) * (1 / std::sqrt(static_cast<double>(n))));
    const auto fn = [weights](std::span<const Tensor> in) {
      Tensor x = in[0];
      for (const Tensor& w : weights) x = matmul(x, w);
      return std::vector{x};
    };
    const Times t = time_of(kernel_of(fn, {randn({n, n})}, {weights}), o.seconds);
    return Times{1e6 * t.median_ms / static_cast<double>(count), 1e6 * t.min_ms / static_cast<double>(count)};
  };
  const int threads = num_threads();
  set_num_threads(1);
  const double large = time_of_row(kLarge, 1).min_ms;
  set_num_threads(threads);
  if (!app.json)
    fmt::print("{:>9} {:>9} {:>12}  products of matrices of a few numbers, {} in a row\n", "median ns",
               "least ns", "their sums", kInARow);
  nlohmann::json rows = nlohmann::json::array();
  for (const int64_t n : {8, 16, 32, 48, 64}) {
    const Times ns = time_of_row(n, kInARow);
    const double arithmetic = large * std::pow(static_cast<double>(n) / kLarge, 3);
    rows.push_back(
        {{"side", n}, {"median_ns", ns.median_ms}, {"min_ns", ns.min_ms}, {"arithmetic_ns", arithmetic}});
    if (!app.json) fmt::print("{:9.4g} {:9.4g} {:12.4g}  {}x{}\n", ns.median_ms, ns.min_ms, arithmetic, n, n);
  }
  return rows;
}

// ---- ops that move memory

// A sample has 65536 floats, 256 KB: one fits a second-level cache, 256 of them fit no cache.
constexpr int64_t kSampleFloats = 1 << 16, kManySamples = 256;
constexpr int64_t kWidth = 512, kRows = kSampleFloats / kWidth, kClasses = 1024;

Tensor images(int64_t n, int64_t side = 32) { return randn({n, 64, side, side}); }
Tensor images_last(int64_t n, int64_t side = 32) { return randn({n, side, side, 64}); }
Tensor rows(int64_t n) { return randn({n * kRows, kWidth}); }
Tensor places(int64_t n, int64_t extent) { return randint(0, extent, {n}); }
Tensor numbers(int64_t n) { return rand({n}); }

constexpr MaxPoolAttrs kMax2x2{.kernel = {2, 2}, .stride = {2, 2}};
constexpr MaxPoolAttrs kMax3x3{.kernel = {3, 3}, .stride = {2, 2}, .padding = {1, 1}};
constexpr AvgPoolAttrs kAvg2x2{.kernel = {2, 2}, .stride = {2, 2}, .input = {32, 32}};

Kernel batch_norm_grad(const Tensor& x, int64_t channels) {
  const auto v = [&] { return numbers(channels); };
  return kernel_of(ops::batch_norm_grad, BatchNormAttrs{}, {randn(x.shape()), v(), v(), x, v(), v(), v()});
}

// One update of a parameter of n samples. Gradient, value and `slots` tensors of state are read; value and
// state are written.
template <class Optimizer, class Options>
Kernel update(int64_t n, const Options& options, int64_t slots) {
  Tensor w = rows(n);
  w.requires_grad_();
  const auto optimizer = std::make_shared<Optimizer>(std::vector{w}, options);
  const Compiled run = compile(
      [w, optimizer](std::span<const Tensor> g) mutable {
        w.set_grad(g[0]);
        optimizer->step();
        optimizer->zero_grad();
        return std::vector<Tensor>();
      },
      {*optimizer});
  const Tensor g = rows(n);
  run({g});
  return {run, {g}, bytes_of({{g}}) * (1 + 2 * (1 + slots))};
}

struct MemoryOp {
  const char* name;
  Kernel (*make)(int64_t samples);
};
constexpr MemoryOp kMemoryOps[] = {
    {"relu", [](int64_t n) { return kernel_of(ops::relu, ElementwiseAttrs{}, {images(n)}); }},
    {"add",
     [](int64_t n) {
       return kernel_of(ops::add, ElementwiseAttrs{}, {images(n), images(n)});
     }},
    {"add of a bias",
     [](int64_t n) {
       return kernel_of(ops::add, ElementwiseAttrs{}, {rows(n), numbers(kWidth)});
     }},
    {"max_pool2d 2x2", [](int64_t n) { return kernel_of(ops::max_pool2d, kMax2x2, {images(n)}); }},
    {"max_pool2d_grad 2x2",
     [](int64_t n) {
       const Tensor at = apply(ops::max_pool2d, kMax2x2, {{images(n)}})[1];
       return kernel_of(ops::max_pool2d_grad, PlaneAttrs{{32, 32}}, {images(n, 16), at});
     }},
    {"max_pool2d_nhwc 3x3",
     [](int64_t n) { return kernel_of(ops::max_pool2d_nhwc, kMax3x3, {images_last(n)}); }},
    {"max_pool2d_grad_nhwc 3x3",
     [](int64_t n) {
       const Tensor at = apply(ops::max_pool2d_nhwc, kMax3x3, {{images_last(n)}})[1];
       return kernel_of(ops::max_pool2d_grad_nhwc, PlaneAttrs{{32, 32}}, {images_last(n, 16), at});
     }},
    {"avg_pool2d 2x2", [](int64_t n) { return kernel_of(ops::avg_pool2d, kAvg2x2, {images(n)}); }},
    {"avg_pool2d_grad 2x2",
     [](int64_t n) { return kernel_of(ops::avg_pool2d_grad, kAvg2x2, {images(n, 16)}); }},
    {"avg_pool2d_nhwc 2x2",
     [](int64_t n) { return kernel_of(ops::avg_pool2d_nhwc, kAvg2x2, {images_last(n)}); }},
    {"avg_pool2d_grad_nhwc 2x2",
     [](int64_t n) { return kernel_of(ops::avg_pool2d_grad_nhwc, kAvg2x2, {images_last(n, 16)}); }},
    {"batch_norm of images",
     [](int64_t n) {
       return kernel_of(ops::batch_norm, BatchNormAttrs{}, {images(n), numbers(64), numbers(64)});
     }},
    {"batch_norm of rows",
     [](int64_t n) {
       return kernel_of(ops::batch_norm, BatchNormAttrs{}, {rows(n), numbers(kWidth), numbers(kWidth)});
     }},
    {"batch_norm_grad of images", [](int64_t n) { return batch_norm_grad(images(n), 64); }},
    {"batch_norm_grad of rows", [](int64_t n) { return batch_norm_grad(rows(n), kWidth); }},
    {"layer_norm",
     [](int64_t n) {
       return kernel_of(ops::layer_norm, LayerNormAttrs{}, {rows(n), numbers(kWidth), numbers(kWidth)});
     }},
    {"layer_norm_grad",
     [](int64_t n) {
       return kernel_of(ops::layer_norm_grad, LayerNormAttrs{}, {rows(n), rows(n), numbers(kWidth)});
     }},
    {"softmax", [](int64_t n) { return kernel_of(ops::softmax, SoftmaxAttrs{1}, {rows(n)}); }},
    {"softmax_grad",
     [](int64_t n) {
       return kernel_of(ops::softmax_grad, SoftmaxAttrs{1}, {rows(n), softmax(rows(n), 1)});
     }},
    {"log_softmax", [](int64_t n) { return kernel_of(ops::log_softmax, SoftmaxAttrs{1}, {rows(n)}); }},
    {"sum of rows", [](int64_t n) { return kernel_of(ops::sum, ReduceAttrs{2}, {rows(n)}); }},
    {"sum of columns", [](int64_t n) { return kernel_of(ops::sum, ReduceAttrs{1}, {rows(n)}); }},
    {"mean of squares",
     [](int64_t n) {
       return kernel_of([](auto in) { return std::vector{mean(square(in[0]))}; }, {rows(n)});
     }},
    {"cross_entropy",
     [](int64_t n) {
       n *= kSampleFloats / kClasses;
       return kernel_of(ops::cross_entropy, ClassLossAttrs{}, {randn({n, kClasses}), places(n, kClasses)});
     }},
    {"cross_entropy_grad",
     [](int64_t n) {
       n *= kSampleFloats / kClasses;
       return kernel_of(ops::cross_entropy_grad, ClassLossAttrs{},
                        {rand({}), randn({n, kClasses}), places(n, kClasses)});
     }},
    {"embedding",
     [](int64_t n) {
       return kernel_of(ops::embedding, EmbeddingAttrs{}, {places(n * kRows, n * kRows), rows(n)});
     }},
    {"index_add",
     [](int64_t n) {
       return kernel_of(ops::index_add, IndexAttrs{}, {rows(n), places(n * kRows, n * kRows), rows(n)});
     }},
    {"dropout",
     [](int64_t n) { return kernel_of([](auto in) { return std::vector{dropout(in[0])}; }, {rows(n)}); }},
    {"SGD with momentum",
     [](int64_t n) { return update<optim::SGD>(n, optim::SGDOptions{.momentum = 0.9}, 1); }},
    {"Adam", [](int64_t n) { return update<optim::Adam>(n, optim::AdamOptions{}, 2); }},
    {"AdamW", [](int64_t n) { return update<optim::AdamW>(n, optim::AdamWOptions{}, 2); }},
    {"RMSprop", [](int64_t n) { return update<optim::RMSprop>(n, optim::RMSpropOptions{}, 1); }},
    {"Adagrad", [](int64_t n) { return update<optim::Adagrad>(n, optim::AdagradOptions{}, 1); }},
};

nlohmann::json run_memory(const App& app, const KernelOptions& o) {
  nlohmann::json rows = nlohmann::json::array();
  for (const int64_t n : o.batch ? std::vector{o.batch} : std::vector{kManySamples, int64_t{1}}) {
    const double copy = copy_gb_s(n * kSampleFloats, 5 * o.seconds);  // what the rest is measured by
    if (!app.json)
      fmt::print("{:>9} {:>9} {:>8} {:>8}  memory, of operands of {:.4g} MB (copies: {:.1f} GB/s)\n",
                 "median ms", "least ms", "GB/s", "/ copies", 4e-6 * static_cast<double>(n * kSampleFloats),
                 copy);
    for (const MemoryOp& op : kMemoryOps) {
      const Kernel kernel = op.make(n);
      const Times t = time_of(kernel, o.seconds);
      const double mb = 1e-6 * static_cast<double>(kernel.bytes);
      rows.push_back({{"name", op.name},
                      {"samples", n},
                      {"mb", mb},
                      {"median_ms", t.median_ms},
                      {"min_ms", t.min_ms},
                      {"copy_gb_s", copy}});
      if (!app.json)
        fmt::print("{:9.4g} {:9.4g} {:8.1f} {:8.2f}  {}\n", t.median_ms, t.min_ms, mb / t.min_ms,
                   mb / t.min_ms / copy, op.name);
    }
  }
  return rows;
}

}  // namespace

int run_kernels(const App& app, const KernelOptions& o) {
  const NoGrad no_grad;
  nlohmann::json j{{"threads", num_threads()}};
  const auto wanted = [&](const char* group) {
    return std::find(o.only.begin(), o.only.end(), group) != o.only.end();
  };
  if (wanted(kProducts)) j[kProducts] = run_shapes<Product>(app, o, kProducts, kProductShapes);
  if (wanted(kConvolutions))
    j[kConvolutions] = run_shapes<Convolution>(app, o, kConvolutions, kConvolutionShapes);
  if (wanted(kSmall)) j[kSmall] = run_small(app, o);
  if (wanted(kMemory)) j[kMemory] = run_memory(app, o);
  if (app.json) print_json(j);
  return 0;
}

}  // namespace hebb::cli
