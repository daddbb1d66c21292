// Tensor as text, in the manner of NumPy: aligned columns, long dimensions summarised.
#include <array>
#include <cmath>
#include <ostream>

#include "hebb/core/check.h"
#include "hebb/core/tensor.h"

namespace hebb {
namespace {

constexpr int64_t kSummarise = 1000;  // elements from which only the edges are printed
constexpr int64_t kEdge = 3;
constexpr int kDecimals = 4;  // at most, as few as the values need
constexpr size_t kLineWidth = 75;

// Decimals of a number's mantissa that are left when trailing zeros go: 2 of "1.2500".
int decimals_of(const std::string& text) {
  const size_t point = text.find('.'), last = text.find_last_not_of('0', point + kDecimals);
  return static_cast<int>(last - point);
}

struct Printer {
  // What is shown: of a dimension that is cut, the first and the last kEdge.
  std::vector<double> values;
  std::vector<int64_t> integers;
  Shape shape;
  std::array<bool, Shape::kMaxDims> cut = {};
  bool floating, boolean, scientific = false;
  int decimals = 0;
  size_t width = 0;

  std::string longest(double v) const {
    return scientific ? fmt::format("{:.{}e}", v, kDecimals) : fmt::format("{:.{}f}", v, kDecimals);
  }
  std::string element(int64_t i) const {
    if (boolean) return integers[i] ? "True" : "False";
    if (!floating) return fmt::format("{}", integers[i]);
    const double v = values[i];
    if (!std::isfinite(v)) return std::isnan(v) ? "nan" : v < 0 ? "-inf" : "inf";
    if (scientific) return fmt::format("{:#.{}e}", v, decimals);
    // Zeros at the end are left blank, so that the points stand in one column.
    const int own = decimals_of(longest(v));
    return fmt::format("{:#.{}f}", v, own) + std::string(decimals - own, ' ');
  }

  explicit Printer(const Tensor& t)
      : shape(t.shape()), floating(is_float(t.dtype())), boolean(t.dtype() == DType::boolean) {
    for (int d = 0; t.numel() > kSummarise && d < shape.ndim(); ++d)
      if (shape[d] > 2 * kEdge) cut[d] = true, shape[d] = 2 * kEdge;
    visit_dtype(t.dtype(), [&]<class T>(T) { take(t, static_cast<const T*>(t.raw_data()), 0); });
  }
  template <class T>
  void take(const Tensor& t, const T* first, int dim) {
    if (dim == shape.ndim()) {
      if (floating) values.push_back(convert_element<double>(*first));
      else integers.push_back(convert_element<int64_t>(*first));
      return;
    }
    for (int64_t i = 0; i < shape[dim]; ++i)
      take(t, first + (cut[dim] && i >= kEdge ? t.shape()[dim] - 2 * kEdge + i : i) * t.strides()[dim],
           dim + 1);
  }

  // Calls fn(index, skipped) along a dimension; `skipped` where the middle is left out.
  template <class F>
  void along(int dim, F&& fn) const {
    for (int64_t i = 0; i < shape[dim]; ++i) {
      if (cut[dim] && i == kEdge) fn(i, true);
      fn(i, false);
    }
  }

  template <class F>
  void visit(int dim, int64_t base, F&& fn) const {
    if (dim == shape.ndim()) return fn(base);
    along(dim, [&](int64_t i, bool skipped) {
      if (!skipped) visit(dim + 1, base * shape[dim] + i, fn);
    });
  }

  void choose_format() {
    if (floating) {
      double largest = 0, smallest = INFINITY;
      visit(0, 0, [&](int64_t i) {
        const double v = std::abs(values[i]);
        if (!std::isfinite(v) || v == 0) return;
        largest = std::max(largest, v), smallest = std::min(smallest, v);
      });
      scientific = largest >= 1e8 || (largest > 0 && (smallest < 1e-4 || largest / smallest > 1e3));
      visit(0, 0, [&](int64_t i) {
        if (std::isfinite(values[i])) decimals = std::max(decimals, decimals_of(longest(values[i])));
      });
    }
    if (boolean && shape.ndim() > 0) width = 5;  // of "False", needed or not
    visit(0, 0, [&](int64_t i) { width = std::max(width, element(i).size()); });
  }

  void write(std::string& out, int dim, int64_t base, size_t indent) const {
    if (dim == shape.ndim()) {
      out += fmt::format("{:>{}}", element(base), width);
      return;
    }
    out += '[';
    const bool innermost = dim + 1 == shape.ndim();
    bool first = true;
    along(dim, [&](int64_t i, bool skipped) {
      const std::string margin(indent + 1, ' ');
      if (!first && !innermost) out.append(",").append(shape.ndim() - dim - 1, '\n').append(margin);
      if (!first && innermost) {
        const size_t line = out.size() - (out.rfind('\n') + 1);  // rfind gives npos, and 0, in the first line
        const bool full = line + 2 + (skipped ? 3 : width) > kLineWidth - shape.ndim();
        out += full ? ",\n" + margin : ", ";
      }
      first = false;
      if (skipped) out += "...";
      else write(out, dim + 1, base * shape[dim] + i, indent + 1);
    });
    out += ']';
  }
};

}  // namespace

std::string Tensor::str() const {
  if (!defined()) return "tensor(undefined)";
  if (!has_data())
    return fmt::format("tensor(no values, shape={}, dtype={})", shape().str(), name_of(dtype()));
  if (is_traced())
    return fmt::format("tensor(being compiled, shape={}, dtype={})", shape().str(), name_of(dtype()));
  Printer p(*this);
  p.choose_format();
  std::string out = "tensor(";
  if (numel() > 0) p.write(out, 0, 0, out.size());
  else out += fmt::format("[], shape={}", shape().str());
  if (dtype() != f32 && dtype() != i64 && dtype() != boolean)
    out += fmt::format(", dtype={}", name_of(dtype()));
  if (requires_grad()) out += ", requires_grad=true";
  return out + ")";
}

std::ostream& operator<<(std::ostream& out, const Tensor& t) { return out << t.str(); }

}  // namespace hebb
