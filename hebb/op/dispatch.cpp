#include "hebb/op/dispatch.h"

#include <algorithm>
#include <array>

#include "hebb/core/check.h"
#include "hebb/core/parallel.h"
#include "hebb/op/autocast.h"

namespace hebb {
namespace {

// Prepared kernels, found by op, attributes, shapes, types and threads. A hash names a set of slots; in a
// full one a new kernel takes the place of another.
class KernelCache {
 public:
  static constexpr size_t kSets = 128, kWays = 8, kSlots = kSets * kWays;

  const Kernel& find(Backend& backend, const OpDef& op, const Attrs& attrs, SpecPtrs in, SpecPtrs out) {
    size_t h = detail::mix(reinterpret_cast<size_t>(&op), attrs.hash());
    h = detail::mix(h, reinterpret_cast<size_t>(&backend));
    const int threads = num_threads();
    h = detail::mix(h, static_cast<size_t>(threads));
    for (const TensorSpec* s : in)
      h = detail::mix(detail::mix(h, detail::field_hash(s->shape)), static_cast<size_t>(s->dtype));
    if (slots_.empty()) slots_.resize(kSlots);
    Slot* const set = &slots_[h % kSets * kWays];
    Slot* free = nullptr;
    for (Slot* s = set; s != set + kWays; ++s) {
      if (s->matches(backend, op, attrs, in, threads)) return s->kernel;
      if (!s->op && !free) free = s;
    }
    Kernel kernel = backend.prepare(op, attrs, in, out);
    if (free) ++size;
    Slot& slot = free ? *free : set[built % kWays];
    ++built;
    slot = {&op, &backend, threads, attrs, {}, std::move(kernel)};
    for (const TensorSpec* s : in) slot.inputs.push_back({s->shape, s->dtype});
    return slot.kernel;
  }

  int64_t size = 0, built = 0;

 private:
  struct Operand {
    Shape shape;
    DType dtype;
  };
  struct Slot {
    const OpDef* op = nullptr;
    Backend* backend = nullptr;
    int threads = 0;
    Attrs attrs;
    std::vector<Operand> inputs;
    Kernel kernel;

    bool matches(const Backend& b, const OpDef& o, const Attrs& a, SpecPtrs in, int t) const {
      if (op != &o || backend != &b || threads != t || inputs.size() != in.size() || !(attrs == a))
        return false;
      for (size_t i = 0; i < in.size(); ++i)
        if (inputs[i].dtype != in[i]->dtype || !(inputs[i].shape == in[i]->shape)) return false;
      return true;
    }
  };
  std::vector<Slot> slots_;
};

struct ThreadState {
  Interpreter* top = nullptr;   // null: the tape
  Interpreter* base = nullptr;  // null: eager
  Backend* backend = nullptr;   // null: the first of the list
  bool bf16 = false;            // see Autocast
  KernelCache kernels;
};
ThreadState& state() {
  thread_local ThreadState s;
  return s;
}

// Pointers to the specs of some tensors, inline for the common counts.
struct SpecList {
  explicit SpecList(std::span<const Tensor> tensors) : n(tensors.size()) {
    const TensorSpec** p = few.data();
    if (n > few.size()) {
      many.resize(n);
      p = many.data();
    }
    for (size_t i = 0; i < n; ++i) p[i] = &tensors[i].spec();
  }
  operator SpecPtrs() const { return {n > few.size() ? many.data() : few.data(), n}; }

  size_t n;
  std::array<const TensorSpec*, 8> few;
  std::vector<const TensorSpec*> many;
};

// A dense copy of any type, beneath the ops.
Tensor converted(const Tensor& t, DType type) {
  Tensor copy = Tensor::empty(t.shape(), type, t.device());
  detail::copy_values(t.spec(), t.raw_data(), copy.spec(), copy.raw_data());
  return copy;
}

void check_defined(const OpDef& op, std::span<const Tensor> inputs) {
  for (size_t i = 0; i < inputs.size(); ++i)
    HEBB_CHECK(inputs[i].defined(), "[{}] expected defined tensors, got an undefined one as input {}",
               op.name, i);
}

class Eager final : public Interpreter {
 public:
  Outputs apply(const OpDef& op, const Attrs& attrs, std::span<const Tensor> inputs) override {
    check_defined(op, inputs);
    for (const Tensor& t : inputs)
      HEBB_CHECK(t.has_data() && !t.is_traced(), "[{}] expected tensors with values, got {} ({})", op.name,
                 t.has_data() ? "one of a function that was being compiled" : "only a shape",
                 t.shape().str());
    const Specs specs = op.infer(SpecList(inputs), attrs);
    if (op.view) {
      if (auto v = op.view(inputs[0].spec(), attrs))
        return Tensor::view(inputs[0].impl()->storage, v->spec, inputs[0].impl()->offset + v->offset);
    }
    return compute(op, attrs, inputs, specs);
  }

 private:
  Outputs compute(const OpDef& op, const Attrs& attrs, std::span<const Tensor> inputs, const Specs& specs) {
    Backend& backend = current_backend();
    Outputs out;
    for (const TensorSpec& s : specs) out.push_back(Tensor::empty(s.shape, s.dtype, s.device));
    std::span<Tensor> results(out.begin(), out.end());
    if (backend.run(op, attrs, inputs, results)) return out;

    SmallTensors dense_inputs(inputs);
    if (const Kernel& kernel =
            state().kernels.find(backend, op, attrs, SpecList(dense_inputs.span()), SpecList(results))) {
      std::array<const void*, 8> few;
      std::vector<const void*> many(inputs.size() > few.size() ? inputs.size() : 0);
      const void** in = many.empty() ? few.data() : many.data();
      std::array<void*, 4> to;
      for (size_t i = 0; i < inputs.size(); ++i) in[i] = dense_inputs.span()[i].raw_data();
      for (size_t i = 0; i < results.size(); ++i) to[i] = results[i].raw_data();
      ExecContext context{num_threads()};
      kernel(context, in, to.data());
    } else if (std::any_of(inputs.begin(), inputs.end(), is_half)) {
      // No kernel for 16 bits: in f32, rounded once at the end.
      std::vector<Tensor> wide;
      for (const Tensor& t : inputs) wide.push_back(is_half(t) ? converted(t, f32) : t);
      const Outputs values = compute(op, attrs, wide, op.infer(SpecList(wide), attrs));
      for (int i = 0; i < out.size(); ++i) {
        const Tensor& v = values[i];
        detail::copy_values(v.spec(), v.raw_data(), out[i].spec(), out[i].raw_data());
      }
    } else if (op.decompose) {
      const BelowScope untaped(this);
      return op.decompose(attrs, inputs);
    } else {
      detail::run_reference(op, attrs, inputs, results);
    }
    return out;
  }

  static bool is_half(const Tensor& t) { return t.dtype() == bf16 || t.dtype() == f16; }

  // The inputs, dense. Copies handles only when one of them is not.
  struct SmallTensors {
    explicit SmallTensors(std::span<const Tensor> inputs) : view_(inputs) {
      for (const Tensor& t : inputs) {
        if (t.is_contiguous()) continue;
        for (const Tensor& u : inputs) copies_.push_back(detail::dense(u));
        view_ = copies_;
        break;
      }
    }
    std::span<const Tensor> span() const { return view_; }

   private:
    std::vector<Tensor> copies_;
    std::span<const Tensor> view_;
  };
};

Interpreter& eager() {
  static Eager e;
  return e;
}

}  // namespace

Backend& current_backend() { return state().backend ? *state().backend : *backends()[0]; }

bool is_eager() { return !state().base && !state().top; }
Interpreter& base_interpreter() { return state().base ? *state().base : eager(); }
Interpreter* top_interpreter() { return state().top; }

Outputs apply(const OpDef& op, const Attrs& attrs, std::span<const Tensor> inputs) {
  Interpreter* top = state().top;
  return (top ? *top : detail::default_interpreter()).apply(op, attrs, inputs);
}

Tensor apply1(const OpDef& op, const Attrs& attrs, std::initializer_list<Tensor> inputs) {
  return std::move(apply(op, attrs, {inputs.begin(), inputs.size()})[0]);
}

InterpreterScope::InterpreterScope(Interpreter& interpreter, Place place) : place_(place) {
  Interpreter*& slot = place == Place::base ? state().base : state().top;
  previous_ = std::exchange(slot, &interpreter);
}
InterpreterScope::~InterpreterScope() { (place_ == Place::base ? state().base : state().top) = previous_; }

BelowScope::BelowScope(Interpreter* below) : previous_(std::exchange(state().top, below)) {}
BelowScope::~BelowScope() { state().top = previous_; }

Outputs ShapeInterpreter::apply(const OpDef& op, const Attrs& attrs, std::span<const Tensor> inputs) {
  check_defined(op, inputs);
  const Specs specs = op.infer(SpecList(inputs), attrs);
  Outputs out;
  for (const TensorSpec& s : specs) out.push_back(Tensor::meta(s));
  return out;
}

BackendScope::BackendScope(std::string_view name) {
  for (Backend* b : backends()) {
    if (b->name() == name) {
      previous_ = std::exchange(state().backend, b);
      return;
    }
  }
  std::string known;
  for (Backend* b : backends()) known += (known.empty() ? "" : ", ") + std::string(b->name());
  detail::fail("[BackendScope] expected one of {}, got \"{}\"", known, name);
}
BackendScope::~BackendScope() { state().backend = previous_; }

Autocast::Autocast(DType type) {
  HEBB_CHECK(type == bf16 || type == f32, "[Autocast] expected bf16 or f32, got {}", name_of(type));
  previous_ = std::exchange(state().bf16, type == bf16);
}
Autocast::~Autocast() { state().bf16 = previous_; }
DType autocast_dtype() { return state().bf16 && current_backend().multiplies_bf16() ? bf16 : f32; }

const OpDef* find_op(std::string_view name) {
  for (const OpDef* op : op_table())
    if (op->name == name) return op;
  return nullptr;
}

namespace detail {

KernelCacheStats kernel_cache_stats() {
  const KernelCache& c = state().kernels;
  return {c.size, c.built, KernelCache::kSlots};
}

Tensor dense(const Tensor& t) { return dense(t, t.dtype()); }
Tensor dense(const Tensor& t, DType type) {
  return t.is_contiguous() && t.dtype() == type ? t : converted(t, type);
}

void run_reference(const OpDef& op, const Attrs& attrs, std::span<const Tensor> inputs,
                   std::span<Tensor> outputs) {
  HEBB_CHECK(op.reference, "[{}] has neither a kernel nor a plain one", op.name);
  op.reference({attrs, inputs, outputs});
}

std::string field_text(bool v) { return v ? "true" : "false"; }
std::string field_text(int64_t v) { return fmt::format("{}", v); }
std::string field_text(double v) { return fmt::format("{}", v); }
std::string field_text(const Shape& v) { return v.str(); }
std::string field_text(DType v) { return std::string(name_of(v)); }

}  // namespace detail
}  // namespace hebb
