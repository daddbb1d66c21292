#include "hebb/ops/random.h"

#include <cmath>
#include <mutex>
#include <utility>

#include "hebb/core/parallel.h"
#include "hebb/core/rng.h"
#include "hebb/ops/creation.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/op_support.h"
#include "hebb/ops/random_attrs.h"
#include "hebb/ops/table.h"

namespace hebb {

using namespace detail;

namespace {

struct RandomAttrs {
  Shape shape;
  DType dtype = f32;
  int64_t low = 0, high = 1;  // randint, randperm (high)
  HEBB_FIELDS(shape, dtype, low, high)
};

RandomStream stream_of(const Tensor& key) {
  const auto k = key.to_vector<int64_t>();
  return {static_cast<uint64_t>(k[0]), static_cast<uint64_t>(k[1])};
}
void expect_key(const TensorSpec& key, const char* op) {
  HEBB_CHECK(key.dtype == i64 && key.shape == Shape({2}), "[{}] expected a key of i64 2, got {} {}", op,
             name_of(key.dtype), key.shape.str());
}

Specs infer_random(const char* op, SpecPtrs in, const Attrs& attrs) {
  const auto& a = attrs.as<RandomAttrs>();
  expect_key(*in[0], op);
  return TensorSpec(a.shape, a.dtype, in[0]->device);
}
Specs infer_random_float(const char* op, SpecPtrs in, const Attrs& attrs) {
  HEBB_CHECK(is_float(attrs.as<RandomAttrs>().dtype), "[{}] expected a floating type, got {}", op,
             name_of(attrs.as<RandomAttrs>().dtype));
  return infer_random(op, in, attrs);
}

// Fills `out` block by block of four words; value(words, j) is element 4 * block + j.
template <class F>
void fill_blocks(Tensor& out, const RandomStream& random, F value) {
  visit_dtype(out.dtype(), [&]<class T>(T) {
    T* p = out.mutable_data<T>();
    const int64_t n = out.numel();
    parallel_for((n + 3) / 4, 2000, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        const auto words = random.words(static_cast<uint64_t>(b));
        const auto v = value(words);
        for (int64_t j = 0; j < std::min<int64_t>(4, n - 4 * b); ++j) p[4 * b + j] = convert_element<T>(v[j]);
      }
    });
  });
}
std::array<double, 4> uniform4(const std::array<uint32_t, 4>& w) {
  return {uniform_from_bits(w[0]), uniform_from_bits(w[1]), uniform_from_bits(w[2]), uniform_from_bits(w[3])};
}

SampleInput key_sample() { return {{2}, 1, 100, i64, SampleInput::Fill::integers}; }
std::vector<ErrorSample> key_errors() {
  return {{{{{2}}}, RandomAttrs{{3}, f32}, "expected a key of i64 2, got f32 2"}};
}

}  // namespace

namespace ops {

const OpDef rand{
    .name = "rand",
    .kind = Kind::Random,
    .doc = "uniform in [0, 1), 24 bits",
    .infer = [](SpecPtrs in, const Attrs& a) { return infer_random_float("rand", in, a); },
    .reference = [](const ReferenceArgs& s) { fill_blocks(s.outputs[0], stream_of(s.inputs[0]), uniform4); },
    .samples = []() -> std::vector<Sample> {
      return {{"f32", {key_sample()}, RandomAttrs{{3, 7}, f32}}};
    },
    .error_samples = key_errors,
    .gradient = Gradient::None};

const OpDef randn{.name = "randn",
                  .kind = Kind::Random,
                  .doc = "standard normal",
                  .infer = [](SpecPtrs in, const Attrs& a) { return infer_random_float("randn", in, a); },
                  .reference =
                      [](const ReferenceArgs& s) {
                        fill_blocks(
                            s.outputs[0], stream_of(s.inputs[0]), [](const std::array<uint32_t, 4>& w) {
                              const auto a = normal_from_bits(w[0], w[1]), b = normal_from_bits(w[2], w[3]);
                              return std::array{a[0], a[1], b[0], b[1]};
                            });
                      },
                  .samples = []() -> std::vector<Sample> {
                    return {{"f64", {key_sample()}, RandomAttrs{{11}, f64}}};
                  },
                  .error_samples = key_errors,
                  .gradient = Gradient::None};

const OpDef randint{
    .name = "randint",
    .kind = Kind::Random,
    .doc = "whole numbers, uniform in [low, high)",
    .infer =
        [](SpecPtrs in, const Attrs& attrs) {
          const auto& a = attrs.as<RandomAttrs>();
          HEBB_CHECK(a.low < a.high, "[randint] expected low < high, got {} and {}", a.low, a.high);
          return infer_random("randint", in, attrs);
        },
    .reference =
        [](const ReferenceArgs& s) {
          const auto& a = s.attrs.as<RandomAttrs>();
          const RandomStream random = stream_of(s.inputs[0]);
          std::vector<int64_t> v(static_cast<size_t>(a.shape.numel()));
          for (size_t i = 0; i < v.size(); ++i)
            v[i] = a.low + static_cast<int64_t>(random.below(i, static_cast<uint64_t>(a.high - a.low)));
          store(s.outputs[0], v);
        },
    .samples = []() -> std::vector<Sample> {
      return {{"i64", {key_sample()}, RandomAttrs{{20}, i64, -3, 4}}};
    },
    .error_samples = []() -> std::vector<ErrorSample> {
      return {{{key_sample()}, RandomAttrs{{3}, i64, 4, 4}, "expected low < high, got 4 and 4"}};
    },
    .gradient = Gradient::None};

const OpDef randperm{.name = "randperm",
                     .kind = Kind::Random,
                     .doc = "a random order of 0 .. n-1",
                     .infer = [](SpecPtrs in, const Attrs& a) { return infer_random("randperm", in, a); },
                     .reference =
                         [](const ReferenceArgs& s) {
                           store(s.outputs[0], stream_of(s.inputs[0]).permutation(s.outputs[0].numel()));
                         },
                     .samples = []() -> std::vector<Sample> {
                       return {{"i64", {key_sample()}, RandomAttrs{{9}, i64}}};
                     },
                     .error_samples = key_errors,
                     .gradient = Gradient::None};

const OpDef bernoulli{.name = "bernoulli",
                      .kind = Kind::Random,
                      .doc = "1 with probability p, else 0",
                      .infer =
                          [](SpecPtrs in, const Attrs&) {
                            expect_float(*in[0], "bernoulli", "probabilities");
                            expect_key(*in[1], "bernoulli");
                            return Specs(TensorSpec(in[0]->shape, in[0]->dtype, in[0]->device));
                          },
                      .reference =
                          [](const ReferenceArgs& s) {
                            const auto p = values<double>(s.inputs[0]);
                            const RandomStream random = stream_of(s.inputs[1]);
                            std::vector<double> v(p.size());
                            for (const double x : p)
                              HEBB_CHECK(x >= 0 && x <= 1,
                                         "[bernoulli] expected probabilities from 0 to 1, got {}", x);
                            for (size_t i = 0; i < v.size(); ++i)
                              v[i] = uniform_from_bits(random.words(i / 4)[i % 4]) < p[i];
                            store(s.outputs[0], v);
                          },
                      .samples = []() -> std::vector<Sample> {
                        return {{"f32", {{{30}, 0, 1}, key_sample()}, NoAttrs{}}};
                      },
                      .error_samples = []() -> std::vector<ErrorSample> {
                        return {{{{{3}, 0, 2, i64}, key_sample()},
                                 NoAttrs{},
                                 "expected probabilities of a floating type, got i64"}};
                      },
                      .gradient = Gradient::Zeros,
                      .saves_inputs = 0};

// dropout is linear in x for a given key, so its gradient is itself.
const OpDef dropout{
    .name = "dropout",
    .kind = Kind::Random,
    .doc = "elements zeroed with probability p, the others scaled by 1/(1 - p)",
    .infer =
        [](SpecPtrs in, const Attrs& attrs) {
          const double p = attrs.as<DropoutAttrs>().p;
          HEBB_CHECK(p >= 0 && p <= 1, "[dropout] expected a probability in [0, 1], got {}", p);
          expect_float(*in[0], "dropout", "an input");
          expect_key(*in[1], "dropout");
          return Specs(TensorSpec(in[0]->shape, in[0]->dtype, in[0]->device));
        },
    .vjp = [](const VjpArgs& s) -> std::vector<Tensor> {
      return {apply1(dropout, s.attrs, {s.grads[0], s.inputs[1]}), Tensor()};
    },
    .jvp = [](const JvpArgs& s) -> Outputs {
      return apply1(dropout, s.attrs, {s.tangents[0], s.inputs[1]});
    },
    .reference =
        [](const ReferenceArgs& s) {
          const double p = s.attrs.as<DropoutAttrs>().p, scale = p < 1 ? 1 / (1 - p) : 0;
          const Tensor x = dense(s.inputs[0]);
          const RandomStream random = stream_of(s.inputs[1]);
          visit_dtype(x.dtype(), [&]<class T>(T) {
            const T* in = x.data<T>();
            T* out = s.outputs[0].mutable_data<T>();
            const int64_t n = x.numel();
            parallel_for((n + 3) / 4, 2000, [&](int64_t begin, int64_t end) {
              for (int64_t b = begin; b < end; ++b) {
                const auto words = random.words(static_cast<uint64_t>(b));
                for (int64_t j = 0; j < std::min<int64_t>(4, n - 4 * b); ++j)
                  out[4 * b + j] = uniform_from_bits(words[j]) < p
                                       ? T{}
                                       : convert_element<T>(convert_element<double>(in[4 * b + j]) * scale);
              }
            });
          });
        },
    .samples = []() -> std::vector<Sample> {
      return {{"half", {{{5, 9}}, key_sample()}, DropoutAttrs{0.5}}};
    },
    .error_samples = []() -> std::vector<ErrorSample> {
      return {{{{{3}}, key_sample()}, DropoutAttrs{1.5}, "expected a probability in [0, 1], got 1.5"}};
    },
    .saves_inputs = 2};

}  // namespace ops

Generator::Generator(uint64_t seed) : state_(Tensor::empty({2}, i64)) { manual_seed(seed); }
void Generator::manual_seed(uint64_t seed) {
  state_.assign_(Tensor::from(std::vector<int64_t>{static_cast<int64_t>(seed), 0}));
}
Tensor Generator::next_key() {
  static std::mutex mutex;  // threads may share a generator: no two get one key
  const std::lock_guard lock(mutex);
  const Tensor key = add(state_, 0);  // a copy: the state moves on
  // Where only shapes are inferred no number is drawn.
  if (key.has_data()) state_.assign_(add(key, arange(2)));
  return key;
}
namespace {
thread_local Generator* generator_here = nullptr;
}
Generator& default_generator() {
  static Generator g;
  return generator_here ? *generator_here : g;
}
GeneratorScope::GeneratorScope(Generator& generator) : previous_(std::exchange(generator_here, &generator)) {}
GeneratorScope::~GeneratorScope() { generator_here = previous_; }

Tensor rand(const Shape& shape, DType dtype, Generator& g) {
  return apply1(ops::rand, RandomAttrs{shape, dtype}, {g.next_key()});
}
Tensor randn(const Shape& shape, DType dtype, Generator& g) {
  return apply1(ops::randn, RandomAttrs{shape, dtype}, {g.next_key()});
}
Tensor randint(int64_t low, int64_t high, const Shape& shape, DType dtype, Generator& g) {
  return apply1(ops::randint, RandomAttrs{shape, dtype, low, high}, {g.next_key()});
}
Tensor bernoulli(const Tensor& p, Generator& g) {
  return apply1(ops::bernoulli, NoAttrs{}, {p, g.next_key()});
}
Tensor randperm(int64_t n, Generator& g) {
  return apply1(ops::randperm, RandomAttrs{{n}, i64}, {g.next_key()});
}
Tensor dropout(const Tensor& x, double p, bool training, Generator& g) {
  if (!training || p == 0) return x;
  return apply1(ops::dropout, DropoutAttrs{p}, {x, g.next_key()});
}

}  // namespace hebb
