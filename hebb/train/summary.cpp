#include "hebb/train/summary.h"

#include <nlohmann/json.hpp>
#include <unordered_map>
#include <unordered_set>

#include "hebb/autograd/grad.h"
#include "hebb/core/check.h"
#include "hebb/op/dispatch.h"
#include "hebb/train/receptive_field.h"

namespace hebb::train {
namespace {

// Every module beneath a root, with its path, in the order of the member lists; and each one's parameters.
class Census final : public nn::MemberVisitor {
 public:
  struct Entry {
    std::string path;
    bool has_children = false;
    std::vector<Tensor> parameters;
  };

  explicit Census(nn::Module& root) { visit("", root); }

  const Entry* find(const nn::Module& m) const {
    const auto it = entries_.find(&m);
    return it == entries_.end() ? nullptr : &it->second;
  }

  void parameter(std::string_view, nn::Parameter& p) override {
    if (p.defined()) entries_[owner_].parameters.push_back(p);
  }
  void buffer(std::string_view, nn::Buffer&) override {}
  void module(std::string_view name, nn::Module& m) override {
    entries_[owner_].has_children = true;
    const std::string& outer = entries_[owner_].path;
    visit(outer.empty() ? std::string(name) : outer + "." + std::string(name), m);
  }

 private:
  void visit(std::string path, nn::Module& m) {
    if (entries_.contains(&m)) return;  // shared: the first path stands
    entries_[&m] = {std::move(path), false, {}};
    nn::Module* outer = std::exchange(owner_, &m);
    m.visit_members(*this);
    owner_ = outer;
  }

  nn::Module* owner_ = nullptr;
  std::unordered_map<const nn::Module*, Entry> entries_;
};

// Runs shapes, and writes down which module is running, what it costs and what backward would need.
class Recorder final : public Interpreter, public nn::detail::CallObserver {
 public:
  Recorder(const Census& census, const Tensor& input) : census_(census), fields_(input), last_(input) {}

  Outputs apply(const OpDef& op, const Attrs& attrs, std::span<const Tensor> inputs) override {
    const Outputs out = shapes_.apply(op, attrs, inputs);
    if (op.multiply_adds && !running_.empty()) {
      std::vector<const TensorSpec*> in;
      Specs specs;
      for (const Tensor& t : inputs) in.push_back(&t.spec());
      for (const Tensor& t : out) specs.push_back(t.spec());
      const int64_t n = op.multiply_adds(in, specs, attrs);
      rows_[running_.back()].row.multiply_adds += n;
    }
    fields_.follow(op, attrs, inputs, out);
    note_saved(op, attrs, inputs, out);
    if (out.size() > 0) last_ = out[0];
    return out;
  }

  void enter(nn::Module& m) override {
    const Census::Entry* entry = census_.find(m);
    running_.push_back(rows_.size());
    Row& r = rows_.emplace_back();
    r.row.path = entry ? entry->path : m.type_name();
    r.row.type = m.type_name();
    r.row.options = m.extra_repr();
    r.leaf = !entry || !entry->has_children;
    if (!entry) return;
    for (const Tensor& p : entry->parameters)
      if (counted_.insert(p.impl()).second) r.row.parameters += p.numel();
  }
  void leave(nn::Module&) override {
    Row& r = rows_[running_.back()];
    running_.pop_back();
    r.row.output = last_.shape();
    r.row.receptive_field = fields_.of(last_);
  }

  // The layers, and those containers that do more than call layers.
  std::vector<SummaryRow> rows() const {
    std::vector<SummaryRow> out;
    for (const Row& r : rows_)
      if (r.leaf || r.row.parameters > 0 || r.row.multiply_adds > 0) out.push_back(r.row);
    return out;
  }
  int64_t saved_bytes() const { return saved_bytes_; }
  Shape field_of(const Tensor& t) const { return fields_.of(t); }

 private:
  struct Row {
    SummaryRow row;
    bool leaf = true;
  };
  struct Result {
    Tensor self;    // kept, so that its address is not used again
    Tensor holder;  // what holds its values: another tensor for views
    bool needs_grad;
  };

  // As the tape: an op is recorded if gradients flow through it, and holds what its vjp reads.
  void note_saved(const OpDef& op, const Attrs& attrs, std::span<const Tensor> inputs, const Outputs& out) {
    bool needs = false;
    for (const Tensor& t : inputs) {
      const auto it = results_.find(t.impl());
      needs = needs || (it == results_.end() ? t.requires_grad() : it->second.needs_grad);
    }
    needs = needs && op.gradient != Gradient::None;
    if (needs) {
      const uint32_t inputs_read = op.vjp ? op.saves_inputs : ~0u;
      for (size_t i = 0; i < inputs.size(); ++i)
        if (inputs_read >> std::min<size_t>(i, 31) & 1u) save(inputs[i]);
    }
    const bool is_view =
        op.view && op.view(TensorSpec(inputs[0].shape(), inputs[0].dtype()), attrs).has_value();
    for (int i = 0; i < out.size(); ++i) {
      const Tensor holder = is_view ? holder_of(inputs[0]) : out[i];
      results_[out[i].impl()] = {out[i], holder, needs && is_float(out[i].dtype())};
      if (needs && (op.saves_outputs >> i & 1u)) save(out[i]);
    }
  }
  Tensor holder_of(const Tensor& t) const {
    const auto it = results_.find(t.impl());
    return it == results_.end() ? t : it->second.holder;
  }
  // Parameters and buffers have values already; each activation counts once.
  void save(const Tensor& t) {
    const Tensor holder = holder_of(t);
    if (!holder.has_data() && saved_.insert(holder.impl()).second)
      saved_bytes_ += holder.numel() * size_of(holder.dtype());
  }

  const Census& census_;
  ShapeInterpreter shapes_;
  detail::ReceptiveFields fields_;
  Tensor last_;
  std::vector<size_t> running_;
  std::vector<Row> rows_;
  std::unordered_set<const void*> counted_, saved_;
  std::unordered_map<const void*, Result> results_;
  int64_t saved_bytes_ = 0;
};

// 61706 as "61,706".
std::string grouped(int64_t n) {
  const std::string digits = std::to_string(n);
  std::string s;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) s += ',';
    s += digits[i];
  }
  return s;
}
std::string bytes_text(int64_t n) {
  const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto v = static_cast<double>(n);
  int unit = 0;
  for (; v >= 1024 && unit < 4; ++unit) v /= 1024;
  return unit == 0 ? fmt::format("{} B", n) : fmt::format("{:.1f} {}", v, units[unit]);
}
std::string or_dash(int64_t n) { return n == 0 ? "-" : grouped(n); }

nlohmann::ordered_json json_of(const Shape& s) { return std::vector<int64_t>(s.begin(), s.end()); }

}  // namespace

Summary summarize(nn::Module& module, const std::function<Tensor(const Tensor&)>& call, const Shape& input,
                  const SummaryOptions& options) {
  HEBB_CHECK(input.ndim() > 0 && input[0] > 0, "[summary] expected an input shape with its batch, got {}",
             input.str());
  const Census census(module);
  const Tensor x = Tensor::meta(TensorSpec(input, options.dtype));
  Recorder recorder(census, x);
  Summary s;
  {
    const NoGrad no_grad;
    const nn::EvalScope eval(module);
    const InterpreterScope shapes(recorder, InterpreterScope::Place::base);
    const nn::detail::ObserverScope observe(recorder);
    const Tensor y = call(x);
    s.output = y.shape();
    s.receptive_field = recorder.field_of(y);
  }
  s.name = module.type_name();
  s.input = input;
  s.rows = recorder.rows();
  s.batch_size = options.batch_size > 0 ? options.batch_size : input[0];
  for (const SummaryRow& r : s.rows) s.multiply_adds += r.multiply_adds;
  for (const Tensor& p : module.parameters()) {
    const int64_t bytes = p.numel() * size_of(p.dtype());
    s.parameters += p.numel();
    s.parameter_bytes += bytes;
    if (!p.requires_grad()) continue;
    s.trainable_parameters += p.numel();
    s.gradient_bytes += bytes;
  }
  s.optimizer_bytes = static_cast<int64_t>(static_cast<double>(s.gradient_bytes) * options.optimizer_moments);
  for (const auto& [name, b] : module.named_buffers()) s.parameter_bytes += b.numel() * size_of(b.dtype());
  s.activation_bytes = recorder.saved_bytes() / input[0] * s.batch_size;
  return s;
}

Summary summarize(nn::AnyModule& module, const Shape& input, const SummaryOptions& options) {
  return summarize(
      *module,
      [&module](const Tensor& x) {
        return module({&x, 1});
      },
      input, options);
}

std::string to_text(const Summary& s) {
  std::vector<std::array<std::string, 6>> cells;
  cells.push_back({"layer", "type", "output", "parameters", "multiply-adds", "sees"});
  for (const SummaryRow& r : s.rows)
    cells.push_back({r.path, r.type, r.output.str(), or_dash(r.parameters), or_dash(r.multiply_adds),
                     r.receptive_field.str()});
  cells.push_back({"total", "", s.output.str(), grouped(s.parameters), grouped(s.multiply_adds),
                   s.receptive_field.str()});
  std::array<size_t, 6> widths{};
  for (const auto& row : cells)
    for (size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], row[c].size());

  auto line = [&](const std::array<std::string, 6>& row) {
    std::string out;
    for (size_t c = 0; c < row.size(); ++c)
      out += fmt::format(fmt::runtime(c < 3 ? "{:<{}}  " : "{:>{}}  "), row[c], widths[c]);
    return out.substr(0, out.find_last_not_of(' ') + 1) + "\n";
  };
  size_t total_width = 2 * (widths.size() - 1);
  for (const size_t w : widths) total_width += w;
  const std::string rule(total_width, '-');

  std::string out = fmt::format("{}, input {}\n", s.name, s.input.str()) + line(cells[0]) + rule + "\n";
  for (size_t i = 1; i + 1 < cells.size(); ++i) out += line(cells[i]);
  out += rule + "\n" + line(cells.back());
  if (s.trainable_parameters != s.parameters)
    out += fmt::format("{} of the parameters are trained\n", grouped(s.trainable_parameters));
  out += fmt::format(
      "memory to train, batch of {}: {} = parameters {} + gradients {} + optimizer {} + activations {}\n",
      grouped(s.batch_size), bytes_text(s.training_bytes()), bytes_text(s.parameter_bytes),
      bytes_text(s.gradient_bytes), bytes_text(s.optimizer_bytes), bytes_text(s.activation_bytes));
  return out;
}

std::string to_json(const Summary& s) {
  nlohmann::ordered_json layers = nlohmann::ordered_json::array();
  for (const SummaryRow& r : s.rows)
    layers.push_back({{"path", r.path},
                      {"type", r.type},
                      {"options", r.options},
                      {"output", json_of(r.output)},
                      {"parameters", r.parameters},
                      {"multiply_adds", r.multiply_adds},
                      {"receptive_field", json_of(r.receptive_field)}});
  const nlohmann::ordered_json out{{"name", s.name},
                                   {"input", json_of(s.input)},
                                   {"output", json_of(s.output)},
                                   {"layers", layers},
                                   {"parameters", s.parameters},
                                   {"trainable_parameters", s.trainable_parameters},
                                   {"multiply_adds", s.multiply_adds},
                                   {"receptive_field", json_of(s.receptive_field)},
                                   {"batch_size", s.batch_size},
                                   {"memory",
                                    {{"parameters", s.parameter_bytes},
                                     {"gradients", s.gradient_bytes},
                                     {"optimizer", s.optimizer_bytes},
                                     {"activations", s.activation_bytes},
                                     {"training", s.training_bytes()}}}};
  return out.dump();
}

}  // namespace hebb::train
