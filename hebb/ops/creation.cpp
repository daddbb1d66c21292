#include "hebb/ops/creation.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "hebb/core/parallel.h"
#include "hebb/ops/op_support.h"
#include "hebb/ops/table.h"

namespace hebb {

using namespace detail;

namespace {

struct FullAttrs {
  Shape shape;
  double value = 0;
  DType dtype = f32;
  HEBB_FIELDS(shape, value, dtype)
};
struct RangeAttrs {  // values start + i * step
  double start = 0, step = 1;
  int64_t count = 0;
  DType dtype = i64;
  HEBB_FIELDS(start, step, count, dtype)
};
struct EyeAttrs {
  int64_t n = 0, m = 0;
  DType dtype = f32;
  HEBB_FIELDS(n, m, dtype)
};

Specs infer_range(SpecPtrs, const Attrs& a) {
  const auto& r = a.as<RangeAttrs>();
  return TensorSpec({r.count}, r.dtype);
}
void reference_range(const ReferenceArgs& s) {
  const auto& r = s.attrs.as<RangeAttrs>();
  with_plain_type(r.dtype, [&]<class T>() {
    std::vector<T> v(static_cast<size_t>(r.count));
    for (int64_t i = 0; i < r.count; ++i) v[i] = static_cast<T>(r.start + static_cast<double>(i) * r.step);
    store(s.outputs[0], v);
  });
}

// The numbers of a literal, whose lists must have the lengths of `shape`.
void append_values(const Literal& l, const Shape& shape, int depth, std::vector<double>& out) {
  const bool list_expected = depth < shape.ndim();
  HEBB_CHECK(l.is_list() == list_expected, "[tensor] expected {} beside the others, got {}",
             list_expected ? "a list" : "a number", l.is_list() ? "a list" : "a number");
  if (!list_expected) {
    out.push_back(l.value());
    return;
  }
  const auto count = static_cast<int64_t>(l.items().size());
  HEBB_CHECK(count == shape[depth], "[tensor] expected rows of {} values, got one of {}", shape[depth],
             count);
  for (const Literal& item : l.items()) append_values(item, shape, depth + 1, out);
}

}  // namespace

namespace ops {

const OpDef full{.name = "full",
                 .doc = "one value everywhere",
                 .infer =
                     [](SpecPtrs, const Attrs& a) {
                       const auto& f = a.as<FullAttrs>();
                       for (const int64_t n : f.shape)
                         HEBB_CHECK(n >= 0, "[full] expected extents of at least 0, got {}", f.shape.str());
                       return Specs(TensorSpec(f.shape, f.dtype));
                     },
                 .reference =
                     [](const ReferenceArgs& s) {
                       const double value = s.attrs.as<FullAttrs>().value;
                       visit_dtype(s.outputs[0].dtype(), [&]<class T>(T) {
                         T* const to = s.outputs[0].mutable_data<T>();
                         parallel_for(s.outputs[0].numel(), 1 << 15, [&](int64_t b, int64_t e) {
                           std::fill(to + b, to + e, convert_element<T>(value));
                         });
                       });
                     },
                 .samples = []() -> std::vector<Sample> {
                   return {{"f32", {}, FullAttrs{{2, 3}, 1.5, f32}},
                           {"i64", {}, FullAttrs{{4}, -3, i64}},
                           {"0d", {}, FullAttrs{{}, 2, f32}}};
                 },
                 .error_samples = []() -> std::vector<ErrorSample> {
                   return {{{}, FullAttrs{{2, -1}, 0, f32}, "expected extents of at least 0, got 2x-1"}};
                 },
                 .gradient = Gradient::None};

const OpDef arange{.name = "arange",
                   .doc = "start, start + step, …",
                   .infer = infer_range,
                   .reference = reference_range,
                   .samples = []() -> std::vector<Sample> {
                     return {{"i64", {}, RangeAttrs{2, 3, 5, i64}}, {"f32", {}, RangeAttrs{1, -0.5, 4, f32}}};
                   },
                   .gradient = Gradient::None};

const OpDef linspace{.name = "linspace",
                     .doc = "evenly spaced values, both ends included",
                     .infer = infer_range,
                     .reference = reference_range,
                     .samples = []() -> std::vector<Sample> {
                       return {{"f32", {}, RangeAttrs{-1, 0.25, 9, f32}}};
                     },
                     .gradient = Gradient::None};

const OpDef eye{.name = "eye",
                .doc = "the identity matrix",
                .infer =
                    [](SpecPtrs, const Attrs& a) {
                      const auto& e = a.as<EyeAttrs>();
                      HEBB_CHECK(e.n >= 0 && e.m >= 0, "[eye] expected extents of at least 0, got {}x{}", e.n,
                                 e.m);
                      return Specs(TensorSpec({e.n, e.m}, e.dtype));
                    },
                .reference =
                    [](const ReferenceArgs& s) {
                      const auto& e = s.attrs.as<EyeAttrs>();
                      std::vector<double> v(static_cast<size_t>(e.n * e.m));
                      for (int64_t i = 0; i < std::min(e.n, e.m); ++i) v[i * e.m + i] = 1;
                      store(s.outputs[0], v);
                    },
                .samples = []() -> std::vector<Sample> {
                  return {{"square", {}, EyeAttrs{3, 3, f32}}, {"wide", {}, EyeAttrs{2, 4, f64}}};
                },
                .error_samples = []() -> std::vector<ErrorSample> {
                  return {{{}, EyeAttrs{-1, 2, f32}, "expected extents of at least 0, got -1x2"}};
                },
                .gradient = Gradient::None};

}  // namespace ops

Tensor full(const Shape& shape, double value, DType dtype, Device) {
  return apply1(ops::full, FullAttrs{shape, value, dtype}, {});
}
Tensor zeros(const Shape& shape, DType dtype) { return full(shape, 0, dtype); }
Tensor ones(const Shape& shape, DType dtype) { return full(shape, 1, dtype); }
Tensor zeros_like(const Tensor& t) { return full(t.shape(), 0, t.dtype()); }
Tensor ones_like(const Tensor& t) { return full(t.shape(), 1, t.dtype()); }
Tensor full_like(const Tensor& t, double value) { return full(t.shape(), value, t.dtype()); }

Tensor arange(double start, double end, double step) {
  const bool whole = start == std::floor(start) && end == std::floor(end) && step == std::floor(step);
  return arange(start, end, step, whole ? i64 : f32);
}
Tensor arange(double start, double end, double step, DType dtype) {
  HEBB_CHECK(step != 0 && (end - start) / step >= 0,
             "[arange] expected a step that leads from {} to {}, got {}", start, end, step);
  return apply1(ops::arange,
                RangeAttrs{start, step, static_cast<int64_t>(std::ceil((end - start) / step)), dtype}, {});
}
Tensor linspace(double start, double end, int64_t count, DType dtype) {
  HEBB_CHECK(count >= 0, "[linspace] expected a count of at least 0, got {}", count);
  const double step = count > 1 ? (end - start) / static_cast<double>(count - 1) : 0;
  return apply1(ops::linspace, RangeAttrs{start, step, count, dtype}, {});
}
Tensor eye(int64_t n, int64_t m, DType dtype) {
  return apply1(ops::eye, EyeAttrs{n, m < 0 ? n : m, dtype}, {});
}

Tensor tensor(const Literal& values, DType dtype) {
  Shape shape;
  for (const Literal* l = &values; l && l->is_list(); l = l->items().empty() ? nullptr : l->items().data()) {
    HEBB_CHECK(shape.ndim() < Shape::kMaxDims, "[tensor] expected at most {} dimensions, got more braces",
               Shape::kMaxDims);
    shape.push_back(static_cast<int64_t>(l->items().size()));
  }
  std::vector<double> v;
  append_values(values, shape, 0, v);
  if (is_integer(dtype))
    visit_dtype(dtype, [&]<class T>(T) {
      if constexpr (std::is_integral_v<T>)
        for (const double x : v)
          HEBB_CHECK(x >= static_cast<double>(std::numeric_limits<T>::min()) &&
                         x <= static_cast<double>(std::numeric_limits<T>::max()),
                     "[tensor] expected values from {} to {} for {}, got {}", +std::numeric_limits<T>::min(),
                     +std::numeric_limits<T>::max(), name_of(dtype), x);
    });
  Tensor t = Tensor::empty(shape, dtype);
  store(t, v);
  return t;
}
Tensor scalar(double value, DType dtype) { return full({}, value, dtype); }

}  // namespace hebb
