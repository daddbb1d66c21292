#include "tests/support/op_driver.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <set>

#include "hebb/core/rng.h"

namespace hebb::test_support {
namespace {

Tensor dense_copy(const Tensor& t, DType type) {
  Tensor out = Tensor::empty(t.shape(), type);
  detail::copy_values(t.spec(), t.raw_data(), out.spec(), out.raw_data());
  return out;
}

Tensor store(const Shape& shape, DType type, const std::vector<double>& values) {
  return dense_copy(Tensor::from(values, shape), type);
}

// Whole numbers made of a sample's fractions. Never 0 but for bool: divisors stay divisors.
Tensor as_integers(const Tensor& t, DType type) {
  std::vector<double> v = t.to_vector<double>();
  for (double& x : v) {
    x = std::nearbyint(3 * x);
    if (type == u8) x = std::abs(x);
    if (type == boolean) x = std::abs(x) > 2;
    else if (x == 0) x = 1;
  }
  return store(t.shape(), type, v);
}

Tensor with_shape(const Tensor& t, const Shape& shape) {
  // Values repeat: whatever domain the sample draws from is kept.
  const std::vector<double> v = t.to_vector<double>();
  std::vector<double> out(static_cast<size_t>(shape.numel()));
  for (size_t i = 0; i < out.size(); ++i) out[i] = v.empty() ? 0 : v[i % v.size()];
  return store(shape, t.dtype(), out);
}

Specs specs_of(const Call& call) {
  std::vector<const TensorSpec*> specs;
  for (const Tensor& t : call.inputs) specs.push_back(&t.spec());
  return call.op->infer(specs, call.attrs);
}

std::string index_text(const Shape& shape, int64_t flat) {
  std::string text;
  for (int d = shape.ndim() - 1; d >= 0; --d) {
    text = std::to_string(flat % shape[d]) + (text.empty() ? "" : ", ") + text;
    flat /= shape[d];
  }
  return "[" + text + "]";
}

std::string line(const Call& call, const std::string& what) {
  std::string shapes;
  for (const Tensor& t : call.inputs)
    shapes += (shapes.empty() ? "" : ", ") + std::string(hebb::name_of(t.dtype())) + " " + t.shape().str();
  return fmt::format("{} ({}; {}): {}", call.name, shapes, call.attrs.str(), what);
}

// Relative to the largest magnitude: the rounding of operands and of sums.
double tolerance_of(const Call& call, DType output) {
  double t = 0;
  auto widen = [&](DType d) {
    if (!is_float(d)) return;
    t = std::max(t, d == f64 ? 1e-12 : d == f32 ? 2e-6 : d == f16 ? 2e-3 : 1e-2);
  };
  for (const Tensor& in : call.inputs) widen(in.dtype());
  if (is_float(output)) {
    widen(output);
    t = std::max(t, 2e-6 * (output != f64));
  }
  return t;
}

}  // namespace

const char* name_of(Form form) {
  switch (form) {
    case Form::contiguous: return "contiguous";
    case Form::strided: return "strided";
    case Form::reversed: return "reversed";
    case Form::expanded_first: return "expanded first";
    case Form::expanded_last: return "expanded last";
  }
  return "";
}

Tensor laid_out(const Tensor& dense, Form form) {
  const Shape& shape = dense.shape();
  const int n = shape.ndim();
  if (form == Form::contiguous || n == 0) return dense;
  if (form == Form::expanded_first || form == Form::expanded_last) {
    const int d = form == Form::expanded_first ? 0 : n - 1;
    if (shape[d] == 0) return dense;
    Strides strides = dense.strides();
    strides[d] = 0;
    return Tensor::view(dense.impl()->storage, TensorSpec(shape, strides, dense.dtype(), {}), 0);
  }
  Shape around;
  for (int d = n - 1; d >= 0; --d) around.push_back(form == Form::strided ? 2 * shape[d] + 1 : shape[d]);
  const Tensor store = Tensor::empty(around, dense.dtype());
  std::memset(store.raw_data(), 1, static_cast<size_t>(around.numel() * size_of(dense.dtype())));
  const Strides steps = form == Form::strided ? contiguous_strides(around) : contiguous_strides(shape);
  Strides strides = steps;
  int64_t offset = 0;
  for (int d = 0; d < n; ++d) {
    strides[d] = form == Form::strided ? 2 * steps[n - 1 - d] : -steps[d];
    offset += form == Form::strided ? steps[n - 1 - d] : std::max<int64_t>(0, shape[d] - 1) * steps[d];
  }
  const Tensor out =
      Tensor::view(store.impl()->storage, TensorSpec(shape, strides, dense.dtype(), {}), offset);
  detail::copy_values(dense.spec(), dense.raw_data(), out.spec(), out.raw_data());
  return out;
}

Call laid_out(const Call& call, Form form) {
  Call out = call;
  out.name += std::string(", ") + name_of(form);
  for (Tensor& t : out.inputs) t = laid_out(t, form);
  return out;
}

Call call_of(const OpDef& op, const Sample& sample) {
  return {&op, std::string(op.name) + "/" + sample.name, make_sample_inputs(sample.inputs), sample.attrs};
}

bool takes_gradient(const Call& call, size_t input) {
  return is_float(call.inputs[input].dtype()) && !(call.op->constant_inputs >> input & 1u);
}

Call with_type(const Call& call, DType type) {
  Call out = call;
  out.name += ", " + std::string(hebb::name_of(type));
  for (Tensor& t : out.inputs)
    if (is_float(t.dtype())) t = is_float(type) ? dense_copy(t, type) : as_integers(t, type);
  return out;
}

std::vector<Call> in_all_types(const Call& call) {
  std::vector<Call> calls;
  int floats = 0;
  for (const Tensor& t : call.inputs) floats += is_float(t.dtype());
  for (const DType t : {f32, f64, bf16, f16, i64, i32, u8, i8, boolean})
    if (floats > 0 || t == f32) calls.push_back(with_type(call, t));
  if (floats > 1) {
    for (const DType t : {f64, bf16, i64, boolean}) {
      Call mixed = call;
      mixed.name += ", " + std::string(hebb::name_of(t)) + " and f32";
      for (Tensor& in : mixed.inputs) {
        if (!is_float(in.dtype())) continue;
        in = is_float(t) ? dense_copy(in, t) : as_integers(in, t);
        break;
      }
      calls.push_back(mixed);
    }
  }
  Call narrow = call;
  bool indices = false;
  for (Tensor& t : narrow.inputs) {
    indices |= t.dtype() == i64;
    if (t.dtype() == i64) t = dense_copy(t, i32);
  }
  narrow.name += ", i32 indices";
  if (indices) calls.push_back(narrow);
  std::erase_if(calls, [](const Call& c) { return !accepted(c); });
  return calls;
}

std::vector<Call> with_extent(const Call& call, int64_t (*change)(int64_t), const char* what) {
  std::vector<Call> calls;
  std::set<int64_t> extents;
  for (const Tensor& t : call.inputs) extents.insert(t.shape().begin(), t.shape().end());
  for (const int64_t e : extents) {
    Call c = call;
    c.name += fmt::format(", extent {} {}", e, what);
    for (Tensor& t : c.inputs) {
      Shape shape = t.shape();
      for (int64_t& n : shape) n = n == e ? change(e) : n;
      t = with_shape(t, shape);
    }
    if (accepted(c)) calls.push_back(c);
  }
  return calls;
}

std::vector<Call> degenerate(const Call& call) {
  std::vector<Call> calls = with_extent(
      call, [](int64_t) { return int64_t{0}; }, "empty");
  for (Call& c : with_extent(
           call, [](int64_t) { return int64_t{1}; }, "1"))
    calls.push_back(c);
  if (call.op->kind == Kind::Elementwise || call.op->kind == Kind::Reduce) {
    Call c = call;
    c.name += ", 0-d";
    for (Tensor& t : c.inputs) t = with_shape(t, t.numel() ? Shape{} : t.shape());
    if (accepted(c)) calls.push_back(c);
  }
  return calls;
}

std::vector<Call> enlarged(const Call& call, int64_t elements) {
  std::vector<Call> calls;
  std::set<int64_t> extents;
  int64_t largest = 1;
  for (const Tensor& t : call.inputs) {
    extents.insert(t.shape().begin(), t.shape().end());
    largest = std::max(largest, t.numel());
  }
  for (const int64_t e : extents) {
    if (e == 0) continue;
    // Where the extent occurs several times in one operand it counts as often.
    for (int64_t factor = (elements + largest - 1) / largest; factor > 1; factor /= 2) {
      Call c = call;
      c.name += fmt::format(", extent {} times {}", e, factor);
      std::vector<Shape> shapes;
      int64_t most = 0;
      for (const Tensor& t : c.inputs) {
        shapes.push_back(t.shape());
        for (int64_t& n : shapes.back()) n = n == e ? e * factor : n;
        most = std::max(most, shapes.back().numel());
      }
      if (most > elements * 2) continue;
      std::vector<TensorSpec> specs;
      std::vector<const TensorSpec*> pointers;
      for (size_t i = 0; i < shapes.size(); ++i) specs.emplace_back(shapes[i], c.inputs[i].dtype());
      for (const TensorSpec& s : specs) pointers.push_back(&s);
      try {
        const Specs out = c.op->infer(pointers, c.attrs);
        if (c.op->multiply_adds && c.op->multiply_adds(pointers, out, c.attrs) > 64 * elements) continue;
        for (const TensorSpec& s : out) most = std::max(most, s.shape.numel());
        if (most > elements * 8) continue;
      } catch (const Error&) {
        break;
      }
      for (size_t i = 0; i < shapes.size(); ++i) c.inputs[i] = with_shape(c.inputs[i], shapes[i]);
      calls.push_back(c);
      break;
    }
  }
  return calls;
}

bool accepted(const Call& call) {
  try {
    specs_of(call);
    return true;
  } catch (const Error&) {
    return false;
  }
}

Result run(const Call& call) {
  try {
    const Outputs out = apply(*call.op, call.attrs, call.inputs);
    return std::vector<Tensor>(out.begin(), out.end());
  } catch (const Error& e) {
    return std::string(e.what());
  }
}

Result run_plainly(const Call& call) {
  std::vector<Tensor> inputs;
  for (const Tensor& t : call.inputs) inputs.push_back(detail::dense(t));
  try {
    if (!call.op->reference) {
      const BackendScope reference("reference");
      const Outputs out = call.op->decompose(call.attrs, inputs);
      return std::vector<Tensor>(out.begin(), out.end());
    }
    std::vector<Tensor> out;
    for (const TensorSpec& s : specs_of(call)) out.push_back(Tensor::empty(s.shape, s.dtype));
    detail::run_reference(*call.op, call.attrs, inputs, out);
    return out;
  } catch (const Error& e) {
    return std::string(e.what());
  }
}

std::string values_differ(const Tensor& got, const Tensor& want, double tolerance, double operands) {
  if (!(got.shape() == want.shape()))
    return fmt::format("expected shape {}, got {}", want.shape().str(), got.shape().str());
  const std::vector<double> g = got.to_vector<double>(), w = want.to_vector<double>();
  double largest = 0;
  for (const double x : w)
    if (std::isfinite(x)) largest = std::max(largest, std::abs(x));
  for (size_t i = 0; i < g.size(); ++i) {
    if (g[i] == w[i] || (std::isnan(g[i]) && std::isnan(w[i]))) continue;
    if (std::isfinite(w[i]) && std::abs(g[i] - w[i]) <= tolerance * (std::abs(w[i]) + largest + operands))
      continue;
    return fmt::format("at {} expected {:.9g}, got {:.9g}", index_text(got.shape(), static_cast<int64_t>(i)),
                       w[i], g[i]);
  }
  return {};
}

namespace {

template <class Compare>
std::string compare(const Call& call, const Result& got, const Result& expected, Compare values) {
  if (const auto* message = std::get_if<std::string>(&expected)) {
    const auto* found = std::get_if<std::string>(&got);
    if (found && *found == *message) return {};
    return line(call, fmt::format("expected the error \"{}\", got {}", *message,
                                  found ? '"' + *found + '"' : std::string("a result")));
  }
  if (const auto* found = std::get_if<std::string>(&got))
    return line(call, "expected a result, got " + *found);
  const auto &g = std::get<0>(got), &w = std::get<0>(expected);
  if (g.size() != w.size()) return line(call, fmt::format("expected {} outputs, got {}", w.size(), g.size()));
  for (size_t i = 0; i < g.size(); ++i) {
    std::string text;
    if (g[i].dtype() != w[i].dtype())
      text = fmt::format("expected {}, got {}", hebb::name_of(w[i].dtype()), hebb::name_of(g[i].dtype()));
    else text = values(g[i], w[i]);
    if (!text.empty()) return line(call, fmt::format("output {}: {}", i, text));
  }
  return {};
}

}  // namespace

std::string difference(const Call& call, const Result& got, const Result& expected, double slack) {
  return compare(call, got, expected, [&](const Tensor& g, const Tensor& w) {
    const double t =
        is_float(w.dtype()) && call.op->kind != Kind::Random ? slack * tolerance_of(call, w.dtype()) : 0;
    return values_differ(g, w, t, 20);  // where the operands' terms cancel, their rounding is left
  });
}

std::string bit_difference(const Call& call, const Result& got, const Result& expected) {
  return compare(call, got, expected, [](const Tensor& g, const Tensor& w) {
    const Tensor a = detail::dense(g), b = detail::dense(w);
    if (!(a.shape() == b.shape())) return "expected shape " + b.shape().str() + ", got " + a.shape().str();
    const auto bytes = static_cast<size_t>(a.numel() * size_of(a.dtype()));
    if (std::memcmp(a.raw_data(), b.raw_data(), bytes) == 0) return std::string();
    const std::string text = values_differ(a, b, 0);
    return text.empty() ? "the bits differ (signs of zero or NaN)" : text;
  });
}

std::string check_forward(const Call& call, double slack) {
  const Result got = run(call);
  if (const auto* out = std::get_if<0>(&got)) {
    const Specs specs = specs_of(call);
    if (specs.size() != static_cast<int>(out->size()))
      return line(call, fmt::format("infer gives {} outputs, the kernel {}", specs.size(), out->size()));
    for (int i = 0; i < specs.size(); ++i)
      if (!(specs[i].shape == (*out)[i].shape()) || specs[i].dtype != (*out)[i].dtype())
        return line(call, fmt::format("output {}: infer gives {} {}, the kernel {} {}", i,
                                      hebb::name_of(specs[i].dtype), specs[i].shape.str(),
                                      hebb::name_of((*out)[i].dtype()), (*out)[i].shape().str()));
  }
  return difference(call, got, run_plainly(call), slack);
}

Tensor direction(const Shape& shape, uint64_t number, DType type) {
  const RandomStream random{7, number};
  std::vector<double> v(static_cast<size_t>(shape.numel()));
  for (size_t i = 0; i < v.size(); ++i) v[i] = 2 * random.uniform(i) - 1;
  return store(shape, type, v);
}

}  // namespace hebb::test_support
