// Checking the arguments of a layer against its line in the table, with messages that help.
#include <algorithm>
#include <numeric>

#include "hebb/core/check.h"
#include "hebb/nn/registry.h"

namespace hebb::nn {
namespace {

using enum LayerArgKind;
using Presence = LayerArgSpec::Presence;
using List = std::vector<int64_t>;

std::string shown(bool v) { return v ? "true" : "false"; }
std::string shown(int64_t v) { return fmt::format("{}", v); }
std::string shown(double v) {
  const std::string text = fmt::format("{}", v);
  return text.find_first_not_of("-0123456789") == std::string::npos ? text + ".0" : text;
}
std::string shown(const std::string& v) { return fmt::format("\"{}\"", v); }
std::string shown(const List& v) { return fmt::format("[{}]", fmt::join(v, ", ")); }
std::string shown(const LayerArg& v) {
  return std::visit([](const auto& x) { return shown(x); }, v);
}

// Levenshtein's distance.
size_t edits(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
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
std::string lower(std::string_view word) {
  std::string out;
  for (const char c : word)
    if (c != '_') out += static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  return out;
}
// " (did you mean X?)" for the candidate nearest to `word`, by letters alone; empty if none is near.
std::string suggestion(std::string_view word, const std::vector<std::string_view>& candidates) {
  std::string_view best;
  size_t fewest = std::max<size_t>(2, word.size() / 3) + 1;
  for (const std::string_view c : candidates) {
    const size_t n = edits(lower(word), lower(c));
    if (n < fewest) fewest = n, best = c;
  }
  return best.empty() ? "" : fmt::format(" (did you mean {}?)", best);
}

std::string with_least(const LayerArgSpec& spec) {
  std::string text(describe(spec.kind));
  if (!spec.choices.empty()) text = fmt::format("\"{}\"", fmt::join(spec.choices, "\" or \""));
  if (spec.least) text += fmt::format(", at least {}", *spec.least);
  return text;
}

bool is_list_of(const LayerArg& v, size_t count) {
  const List* list = std::get_if<List>(&v);
  return list && list->size() == count;
}
bool kind_fits(const LayerArgSpec& spec, const LayerArg& v) {
  const bool whole = std::holds_alternative<int64_t>(v);
  const std::string* word = std::get_if<std::string>(&v);
  const bool padding_word = word && (*word == "same" || *word == "valid");
  switch (spec.kind) {
    case boolean: return std::holds_alternative<bool>(v);
    case integer: return whole;
    case pair: return whole || is_list_of(v, 2);
    case padding: return whole || is_list_of(v, 2) || padding_word;
    case line_padding: return whole || padding_word;
    case number: return whole || std::holds_alternative<double>(v);
    case text:
      return word && std::find(spec.choices.begin(), spec.choices.end(), *word) != spec.choices.end();
    case integers: {
      const List* list = std::get_if<List>(&v);
      return whole || (list && !list->empty() && list->size() <= Shape::kMaxDims);
    }
  }
  return false;
}
bool large_enough(const LayerArgSpec& spec, const LayerArg& v) {
  if (!spec.least) return true;
  if (const int64_t* n = std::get_if<int64_t>(&v)) return *n >= *spec.least;
  const List* list = std::get_if<List>(&v);
  return !list || std::all_of(list->begin(), list->end(), [&](int64_t n) { return n >= *spec.least; });
}

// The extent of the input that an inferred argument equals. Throws LayerArgError if there is none.
int64_t extent_of_input(const LayerType& type, const LayerArgSpec& spec, const Shape& input) {
  const int dim = spec.input_dim < 0 ? input.ndim() + spec.input_dim : spec.input_dim;
  if (dim < 1 || dim >= input.ndim())
    throw LayerArgError(type.name, "type",
                        fmt::format("an input of at least {} dimensions, the batch's included",
                                    std::max(2, spec.input_dim + 1)),
                        input.str());
  return input[dim];
}

LayerArgs checked(const LayerType& type, const LayerArgs& given, const Shape& input) {
  for (const auto& [key, value] : given) {
    if (std::any_of(type.args.begin(), type.args.end(),
                    [&k = key](const auto& spec) { return spec.name == k; }))
      continue;
    std::vector<std::string_view> names;
    for (const LayerArgSpec& spec : type.args) names.push_back(spec.name);
    throw LayerArgError(type.name, key,
                        names.empty() ? "no arguments" : fmt::format("one of {}", fmt::join(names, ", ")),
                        key + suggestion(key, names));
  }
  if (type.input_ndim > 0 && !input.empty() && input.ndim() != type.input_ndim)
    throw LayerArgError(type.name, "type",
                        fmt::format("an input of {} dimensions, the batch's included", type.input_ndim),
                        input.str());
  LayerArgs out;
  for (const LayerArgSpec& spec : type.args) {
    const std::string key(spec.name);
    const auto it = given.find(key);
    const bool inferred = spec.presence == Presence::inferred && !input.empty();
    if (it == given.end()) {
      if (inferred) out[key] = extent_of_input(type, spec, input);
      else if (spec.fallback) out[key] = *spec.fallback;
      else if (spec.presence != Presence::optional)
        throw LayerArgError(type.name, key, with_least(spec), "nothing");
      continue;
    }
    const LayerArg& value = it->second;
    if (!kind_fits(spec, value) || !large_enough(spec, value))
      throw LayerArgError(type.name, key, with_least(spec), shown(value));
    if (inferred) {
      const int64_t extent = extent_of_input(type, spec, input);
      if (std::get<int64_t>(value) != extent)
        throw LayerArgError(type.name, key, fmt::format("{}, as in the input {}", extent, input.str()),
                            shown(value));
    }
    out[key] = value;
  }
  return out;
}

}  // namespace

std::string_view describe(LayerArgKind kind) {
  switch (kind) {
    case boolean: return "true or false";
    case integer: return "a whole number";
    case pair: return "a whole number or a list of two";
    case padding: return "a whole number, a list of two, \"same\" or \"valid\"";
    case line_padding: return "a whole number, \"same\" or \"valid\"";
    case number: return "a number";
    case text: return "a text";
    case integers: return "a list of whole numbers";
  }
  return "";
}

LayerArgError::LayerArgError(std::string_view layer, std::string key_, std::string expected_,
                             std::string found_)
    : Error(key_ == "type" ? fmt::format("[{}] expected {}, got {}", layer, expected_, found_)
                           : fmt::format("[{}] {}: expected {}, got {}", layer, key_, expected_, found_)),
      key(std::move(key_)),
      expected(std::move(expected_)),
      found(std::move(found_)) {}

bool CheckedLayerArgs::boolean(std::string_view name) const { return std::get<bool>((*this)[name]); }
int64_t CheckedLayerArgs::integer(std::string_view name) const { return std::get<int64_t>((*this)[name]); }
double CheckedLayerArgs::number(std::string_view name) const {
  const LayerArg& v = (*this)[name];
  if (const int64_t* n = std::get_if<int64_t>(&v)) return static_cast<double>(*n);
  return std::get<double>(v);
}
const std::string& CheckedLayerArgs::text(std::string_view name) const {
  return std::get<std::string>((*this)[name]);
}
std::vector<int64_t> CheckedLayerArgs::integers(std::string_view name) const {
  const LayerArg& v = (*this)[name];
  if (const int64_t* n = std::get_if<int64_t>(&v)) return {*n};
  return std::get<List>(v);
}
const LayerArg& CheckedLayerArgs::operator[](std::string_view name) const {
  const auto it = values_.find(name);
  HEBB_CHECK(it != values_.end(), "[layer_types] expected an argument \"{}\" in the layer's line", name);
  return it->second;
}

const LayerType* find_layer_type(std::string_view name) {
  for (const LayerType& type : layer_types())
    if (type.name == name) return &type;
  return nullptr;
}

AnyModule build_layer(const std::string& name, const LayerArgs& args, const Shape& input_shape) {
  const LayerType* type = find_layer_type(name);
  if (!type) {
    std::vector<std::string_view> names;
    for (const LayerType& t : layer_types()) names.push_back(t.name);
    throw LayerArgError("build_layer", "type", "a layer type", shown(name) + suggestion(name, names));
  }
  return type->build(CheckedLayerArgs(checked(*type, args, input_shape)));
}

}  // namespace hebb::nn
