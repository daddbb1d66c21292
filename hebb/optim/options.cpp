// Reading options by name, with messages that help: the nearest name, the list, the kind expected.
#include "hebb/optim/options.h"

#include <algorithm>
#include <cmath>

#include "hebb/core/check.h"

namespace hebb::optim {
namespace {

std::string text_of(double v) { return fmt::format("{}", v); }
std::string text_of(bool v) { return v ? "true" : "false"; }
std::string text_of(const std::string& v) { return fmt::format("\"{}\"", v); }
std::string text_of(const std::vector<double>& v) {
  std::vector<std::string> texts;
  for (const double x : v) texts.push_back(text_of(x));
  return fmt::format("[{}]", detail::joined(texts));
}

// Levenshtein's distance.
size_t edits(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t change = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({change, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

bool is_whole(double v) { return std::floor(v) == v && std::abs(v) < 9e15; }

// Each sets a field and returns an empty text, or says what it expected.
const char* set(double& field, const OptionValue& v) {
  if (const double* x = v.get<double>()) return field = *x, "";
  return "a number";
}
const char* set(bool& field, const OptionValue& v) {
  if (const bool* x = v.get<bool>()) return field = *x, "";
  return "true or false";
}
const char* set(int64_t& field, const OptionValue& v) {
  const double* x = v.get<double>();
  if (x && is_whole(*x)) return field = static_cast<int64_t>(*x), "";
  return "a whole number";
}
const char* set(std::array<double, 2>& field, const OptionValue& v) {
  const auto* x = v.get<std::vector<double>>();
  if (x && x->size() == 2) return field = {(*x)[0], (*x)[1]}, "";
  return "a list of two numbers";
}
const char* set(std::string& field, const OptionValue& v) {
  if (const auto* x = v.get<std::string>()) return field = *x, "";
  return "a text";
}
const char* set(std::vector<int64_t>& field, const OptionValue& v) {
  const auto* x = v.get<std::vector<double>>();
  if (!x || !std::all_of(x->begin(), x->end(), is_whole)) return "a list of whole numbers";
  field.assign(x->begin(), x->end());
  return "";
}
const char* set(PerGroup& field, const OptionValue& v) {
  if (const double* x = v.get<double>()) return field = PerGroup(*x), "";
  const auto* x = v.get<std::vector<double>>();
  if (x && !x->empty()) return field = PerGroup(*x), "";
  return "a number or a list of numbers, one for each parameter group";
}

}  // namespace

std::string OptionValue::str() const {
  return std::visit([](const auto& v) { return text_of(v); }, value_);
}

void read_options(std::string_view owner, const OptionMap& values, const std::vector<OptionField>& fields) {
  for (const auto& [name, value] : values) {
    const auto field =
        std::find_if(fields.begin(), fields.end(), [&n = name](auto& f) { return f.name == n; });
    if (field == fields.end()) {
      std::vector<std::string> names;
      for (const OptionField& f : fields) names.emplace_back(f.name);
      const std::string* near = detail::nearest(name, names);
      hebb::detail::fail("[{}] unknown option '{}'{} Expected one of: {}", owner, name,
                         near ? fmt::format(", did you mean '{}'?", *near) : ".", detail::joined(names));
    }
    const char* expected = std::visit([&v = value](auto* target) { return set(*target, v); }, field->value);
    detail::check_option(*expected == '\0', owner, name, expected, value);
  }
}

namespace detail {

const std::string* nearest(std::string_view word, const std::vector<std::string>& candidates) {
  const std::string* best = nullptr;
  size_t fewest = std::max<size_t>(2, word.size() / 3) + 1;
  for (const std::string& c : candidates) {
    const size_t n = edits(word, c);
    if (n < fewest) fewest = n, best = &c;
  }
  return best;
}

std::string joined(const std::vector<std::string>& texts, const char* separator) {
  std::string out;
  for (size_t i = 0; i < texts.size(); ++i) out += (i == 0 ? "" : separator) + texts[i];
  return out;
}

double NumberField::get() const {
  return std::visit([](const auto* p) { return static_cast<double>(*p); }, value);
}
void NumberField::set(double v) const {
  if (bool* const* flag = std::get_if<bool*>(&value)) **flag = v != 0;
  else *std::get<double*>(value) = v;
}

namespace {

// Calls fn(field, place, suffix of the name) for each number among the fields.
template <class F>
void each_number(const std::vector<OptionField>& fields, F fn) {
  for (const OptionField& f : fields) {
    if (double* const* p = std::get_if<double*>(&f.value)) fn(f, *p, "");
    if (bool* const* p = std::get_if<bool*>(&f.value)) fn(f, *p, "");
    if (std::array<double, 2>* const* p = std::get_if<std::array<double, 2>*>(&f.value)) {
      fn(f, &(**p)[0], ".0");
      fn(f, &(**p)[1], ".1");
    }
  }
}

}  // namespace

std::vector<NumberField> number_fields(const std::vector<OptionField>& fields) {
  std::vector<NumberField> out;
  each_number(fields, [&](const OptionField& f, auto* place, const char* suffix) {
    out.push_back({std::string(f.name) + suffix, place});
  });
  return out;
}

std::vector<double> numbers_of(const std::vector<OptionField>& fields) {
  std::vector<double> out;
  out.reserve(2 * fields.size());
  each_number(fields, [&](auto&, auto* place, auto) { out.push_back(static_cast<double>(*place)); });
  return out;
}

void set_numbers(const std::vector<OptionField>& fields, const double* numbers) {
  each_number(fields, [&](auto&, auto* place, auto) {
    *place = static_cast<std::remove_pointer_t<decltype(place)>>(*numbers++);
  });
}

void check_option(bool ok, std::string_view owner, std::string_view name, const char* expected,
                  const OptionValue& got) {
  HEBB_CHECK(ok, "[{}] {}: expected {}, got {}", owner, name, expected, got.str());
}

}  // namespace detail
}  // namespace hebb::optim
