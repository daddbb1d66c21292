// oneDNN's times for products and convolutions. Reads one kernel a line:
//   product DIRECTION ROWS IN OUT
//   convolution DIRECTION BATCH IN OUT SIDE KERNEL STRIDE PADDING
// with the direction forward, input_grad or weight_grad, and prints the milliseconds of each: the least of
// runs that are repeated for as many seconds as the argument says. Layouts are those that oneDNN prefers, and
// bringing operands there is not counted. `./x peers --kernels` compiles and runs it.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <dnnl.hpp>
#include <iostream>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <string>
#include <unordered_map>

namespace {

using dnnl::memory;
using Tag = memory::format_tag;
using Arguments = std::unordered_map<int, memory>;

const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
dnnl::stream stream(engine);

memory::desc desc(const memory::dims& dims, Tag tag = Tag::any) {
  return {dims, memory::data_type::f32, tag};
}

double now_ms() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// The least time of one run, each reading of the clock for so many that it hardly counts.
double least_ms(const dnnl::primitive& primitive, const Arguments& arguments, double seconds) {
  constexpr double kLeastMs = 0.2;
  const auto run = [&](int64_t times) {
    const double began = now_ms();
    for (int64_t i = 0; i < times; ++i) primitive.execute(stream, arguments);
    stream.wait();
    return (now_ms() - began) / static_cast<double>(times);
  };
  run(1);  // warms up
  const int64_t times = std::max<int64_t>(1, std::llround(kLeastMs / run(1)));
  double least = std::numeric_limits<double>::infinity();
  const double end = now_ms() + 1000 * seconds;
  do least = std::min(least, run(times));
  while (now_ms() < end);
  return least;
}

// Runs a primitive on operands of the layouts that its description chose, by their roles (DNNL_ARG_SRC, ...).
double timed(const dnnl::primitive& primitive, const dnnl::primitive_desc_base& chosen,
             std::initializer_list<int> roles, double seconds) {
  Arguments arguments;
  for (const int role : roles) {
    memory m(chosen.query_md(dnnl::query::exec_arg_md, role), engine);
    float* const values = static_cast<float*>(m.get_data_handle());
    const size_t count = m.get_desc().get_size() / sizeof(float);
    for (size_t i = 0; i < count; ++i) values[i] = 0.1F * static_cast<float>(static_cast<int>(i % 19) - 9);
    arguments.emplace(role, m);
  }
  return least_ms(primitive, arguments, seconds);
}

double forward(const auto& chosen, const dnnl::primitive& primitive, double seconds) {
  return timed(primitive, chosen, {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST}, seconds);
}
double input_grad(const auto& chosen, const dnnl::primitive& primitive, double seconds) {
  return timed(primitive, chosen, {DNNL_ARG_DIFF_DST, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_SRC}, seconds);
}
double weight_grad(const auto& chosen, const dnnl::primitive& primitive, double seconds) {
  return timed(primitive, chosen, {DNNL_ARG_DIFF_DST, DNNL_ARG_SRC, DNNL_ARG_DIFF_WEIGHTS}, seconds);
}

// The faster of two primitives: the inner product in its own layouts, and a product of matrices that lie as a
// framework has them, but for the weight, which may lie as oneDNN likes.
double product_ms(const std::string& direction, int64_t rows, int64_t in, int64_t out, double seconds) {
  using namespace dnnl;
  const memory::desc x = desc({rows, in}), w = desc({out, in}), y = desc({rows, out});
  const inner_product_forward::primitive_desc hint(engine, prop_kind::forward_training, x, w, y);
  const auto matrices = [&](const memory::desc& a, const memory::desc& b, const memory::desc& c) {
    const matmul::primitive_desc chosen(engine, a, b, c);
    return forward(chosen, matmul(chosen), seconds);
  };
  if (direction == "forward")
    return std::min(forward(hint, inner_product_forward(hint), seconds),
                    matrices(desc({rows, in}, Tag::ab), desc({in, out}), desc({rows, out}, Tag::ab)));
  if (direction == "input_grad") {
    const inner_product_backward_data::primitive_desc chosen(engine, x, w, y, hint);
    return std::min(input_grad(chosen, inner_product_backward_data(chosen), seconds),
                    matrices(desc({rows, out}, Tag::ab), desc({out, in}), desc({rows, in}, Tag::ab)));
  }
  const inner_product_backward_weights::primitive_desc chosen(engine, x, w, y, hint);
  return std::min(weight_grad(chosen, inner_product_backward_weights(chosen), seconds),
                  matrices(desc({out, rows}, Tag::ba), desc({rows, in}, Tag::ab), desc({out, in}, Tag::ab)));
}

struct Convolution {
  int64_t batch, in, out, side, kernel, stride, padding;
};

// The faster of the direct algorithm and the one that oneDNN picks, where that is another.
double convolution_ms(const std::string& direction, const Convolution& c, double seconds,
                      dnnl::algorithm algorithm = dnnl::algorithm::convolution_auto) {
  using namespace dnnl;
  const int64_t side = (c.side + 2 * c.padding - c.kernel) / c.stride + 1;
  const memory::desc x = desc({c.batch, c.in, c.side, c.side}), w = desc({c.out, c.in, c.kernel, c.kernel}),
                     y = desc({c.batch, c.out, side, side});
  const memory::dims stride{c.stride, c.stride}, padding{c.padding, c.padding};
  const convolution_forward::primitive_desc hint(engine, prop_kind::forward_training, algorithm, x, w, y,
                                                 stride, padding, padding);
  const auto time = [&]() -> double {
    if (direction == "forward") return forward(hint, convolution_forward(hint), seconds);
    if (direction == "input_grad") {
      const convolution_backward_data::primitive_desc chosen(engine, algorithm, x, w, y, stride, padding,
                                                             padding, hint);
      return input_grad(chosen, convolution_backward_data(chosen), seconds);
    }
    const convolution_backward_weights::primitive_desc chosen(engine, algorithm, x, w, y, stride, padding,
                                                              padding, hint);
    return weight_grad(chosen, convolution_backward_weights(chosen), seconds);
  };
  constexpr dnnl::algorithm kDirect = dnnl::algorithm::convolution_direct;
  if (hint.get_algorithm() == kDirect) return time();
  return std::min(time(), convolution_ms(direction, c, seconds, kDirect));
}

double ms_of(const std::string& line, double seconds) {
  std::istringstream words(line);
  std::string kind, direction;
  words >> kind >> direction;
  if (direction == "forward" || direction == "input_grad" || direction == "weight_grad") {
    int64_t rows, in, out;
    Convolution c;
    if (kind == "product" && words >> rows >> in >> out) return product_ms(direction, rows, in, out, seconds);
    if (kind == "convolution" &&
        words >> c.batch >> c.in >> c.out >> c.side >> c.kernel >> c.stride >> c.padding)
      return convolution_ms(direction, c, seconds);
  }
  throw std::invalid_argument("expected 'product DIRECTION ...' or 'convolution DIRECTION ...', got '" +
                              line + "'");
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc != 2) throw std::invalid_argument("expected one argument, the seconds for each kernel");
    const double seconds = std::atof(argv[1]);
    for (std::string line; std::getline(std::cin, line);) std::printf("%.6g\n", ms_of(line, seconds));
  } catch (const std::exception& e) {
    std::fprintf(stderr, "onednn_kernels: %s\n", e.what());
    return 1;
  }
}
