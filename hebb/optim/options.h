// Options of optimizers and schedules: plain aggregates in C++ code, names and values in recipes, parameter
// groups and checkpoints. Each aggregate lists its fields once (HEBB_OPTIONS); everything else is read from
// it.
#pragma once
#include <array>
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "hebb/core/macros.h"

/// Inside an aggregate of options, names its fields once:
///   struct StepLROptions { int64_t step_size = 0; double gamma = 0.1; HEBB_OPTIONS(step_size, gamma) };
#define HEBB_OPTIONS(...)                                   \
  std::vector<::hebb::optim::OptionField> option_fields() { \
    return {HEBB_FOR_EACH(HEBB_OPTION_FIELD, __VA_ARGS__)}; \
  }
#define HEBB_OPTION_FIELD(field) {#field, &field},

namespace hebb::optim {

/// Numbers by name, in a fixed order: what a checkpoint keeps beside tensors. All are finite, so that JSON
/// can hold them.
using NamedValues = std::vector<std::pair<std::string, double>>;

/// A number for all parameter groups, or one for each.
class PerGroup {
 public:
  /// One number for all groups.
  template <class T>
  requires(std::integral<T> || std::floating_point<T>) PerGroup(T value)
      : values_{static_cast<double>(value)} {}
  PerGroup(std::initializer_list<double> values) : values_(values) {}
  explicit PerGroup(std::vector<double> values) : values_(std::move(values)) {}

  double operator[](size_t group) const { return values_.size() == 1 ? values_[0] : values_[group]; }
  const std::vector<double>& values() const { return values_; }

 private:
  std::vector<double> values_;
};

/// The value of an option as a recipe or a command line gives it: truth value, number, text or list.
class OptionValue {
 public:
  /// A truth value or a number.
  template <class T>
  requires(std::integral<T> || std::floating_point<T>) OptionValue(T v) {
    if constexpr (std::same_as<T, bool>) value_ = v;
    else value_ = static_cast<double>(v);
  }
  OptionValue(std::string v) : value_(std::move(v)) {}
  OptionValue(const char* v) : value_(std::string(v)) {}
  OptionValue(std::vector<double> v) : value_(std::move(v)) {}
  OptionValue(std::initializer_list<double> v) : value_(std::vector<double>(v)) {}

  /// The value if it is of this type (bool, double, std::string or std::vector<double>), else null.
  template <class T>
  const T* get() const {
    return std::get_if<T>(&value_);
  }
  /// As it is shown in messages: 0.1, true, "cos", [0.9, 0.999].
  std::string str() const;

 private:
  std::variant<bool, double, std::string, std::vector<double>> value_;
};

/// Options by name.
using OptionMap = std::map<std::string, OptionValue>;

/// One field of an aggregate of options: its name and where it is.
struct OptionField {
  const char* name;
  /// Where the field is; its type is one of these.
  std::variant<double*, bool*, int64_t*, std::array<double, 2>*, std::string*, std::vector<int64_t>*,
               PerGroup*>
      value;
};

/// Sets the fields that `values` names. Throws Error, naming `owner`, for an unknown name (with the nearest
/// one and the list) and for a value of another kind.
void read_options(std::string_view owner, const OptionMap& values, const std::vector<OptionField>& fields);

namespace detail {

/// The candidate with the fewest edits from `word`; null if none is near.
const std::string* nearest(std::string_view word, const std::vector<std::string>& candidates);

/// The texts with `separator` between them.
std::string joined(const std::vector<std::string>& texts, const char* separator = ", ");

/// Fields that are numbers, each with its name and a way to read and to write it: betas gives betas.0 and
/// betas.1.
struct NumberField {
  std::string name;
  std::variant<double*, bool*> value;
  double get() const;
  void set(double v) const;
};
std::vector<NumberField> number_fields(const std::vector<OptionField>& fields);
/// The values of these fields without their names, in the same order; and the way back.
std::vector<double> numbers_of(const std::vector<OptionField>& fields);
void set_numbers(const std::vector<OptionField>& fields, const double* numbers);

/// Throws Error "[owner] name: expected `expected`, got value" unless ok.
void check_option(bool ok, std::string_view owner, std::string_view name, const char* expected,
                  const OptionValue& got);

}  // namespace detail
}  // namespace hebb::optim
