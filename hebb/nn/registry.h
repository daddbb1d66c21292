// Layers by name, for recipes: one table of types with their arguments, from which layers are built and
// documentation is written. Names and defaults are PyTorch's.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "hebb/core/error.h"
#include "hebb/core/shape.h"
#include "hebb/nn/container.h"

namespace hebb::nn {

/// The value of an argument as a recipe gives it.
using LayerArg = std::variant<bool, int64_t, double, std::string, std::vector<int64_t>>;
/// Arguments by name.
using LayerArgs = std::map<std::string, LayerArg, std::less<>>;

/// What kind of value an argument takes.
enum class LayerArgKind : uint8_t {
  boolean,
  integer,
  pair,          ///< a whole number, or a list of two: vertical, horizontal
  padding,       ///< a pair, "same" or "valid"
  line_padding,  ///< a whole number, "same" or "valid"
  number,        ///< whole or not
  text,          ///< one of `choices`
  integers,      ///< a list of whole numbers, or one
};
/// As in messages: "a whole number or a list of two".
std::string_view describe(LayerArgKind kind);

/// One argument of a layer type.
struct LayerArgSpec {
  /// Whether a recipe must give the argument.
  enum class Presence : uint8_t {
    required,
    optional,
    inferred,  ///< taken from the input's shape when left out
  };
  std::string_view name;
  LayerArgKind kind;
  Presence presence = Presence::required;
  std::optional<LayerArg> fallback;            ///< the value when left out; none: the layer decides
  std::optional<int64_t> least;                ///< smallest whole number that is allowed
  int input_dim = 0;                           ///< inferred: the dimension of the input that it equals
  std::vector<std::string_view> choices = {};  ///< of a text
};

/// Arguments after all checks, defaults filled in. Read by builders.
class CheckedLayerArgs {
 public:
  explicit CheckedLayerArgs(LayerArgs values) : values_(std::move(values)) {}
  /// The value. Throws Error if there is none.
  const LayerArg& operator[](std::string_view name) const;
  /// Whether there is a value: one was given, or there is a default.
  bool has(std::string_view name) const { return values_.contains(name); }
  /// A truth value. Throws Error if there is no such value; so do the next three.
  bool boolean(std::string_view name) const;
  /// A whole number.
  int64_t integer(std::string_view name) const;
  /// A number, whole or not.
  double number(std::string_view name) const;
  /// A text.
  const std::string& text(std::string_view name) const;
  /// One number for an integer, all of a list. For pairs: {vertical, horizontal}.
  std::vector<int64_t> integers(std::string_view name) const;

 private:
  LayerArgs values_;
};

/// One line of the table.
struct LayerType {
  std::string_view name;
  std::string_view doc;
  int input_ndim;  ///< dimensions of the input with the batch's; 0: any
  std::vector<LayerArgSpec> args;
  AnyModule (*build)(const CheckedLayerArgs& args);  ///< makes the layer
};

/// What is wrong with a layer's arguments. Readers of recipes add file and line.
class LayerArgError : public Error {
 public:
  LayerArgError(std::string_view layer, std::string key, std::string expected, std::string found);
  std::string key;       ///< the argument; "type" when the layer does not exist or does not fit its input
  std::string expected;  ///< such as "a whole number of at least 1"
  std::string found;     ///< such as "2.5"
};

/// All layer types, in groups that belong together.
std::span<const LayerType> layer_types();
/// The type of that name, or null.
const LayerType* find_layer_type(std::string_view name);

/// Builds a layer. `input_shape` is that of its (first) input, batch included, from which in_channels,
/// in_features and num_features are filled in when left out, and checked when given; an empty shape means
/// that it is not known. Throws LayerArgError for an unknown type or argument (with the nearest name), a
/// value of a wrong kind or out of range, a missing argument, and an input that does not fit; Error, from the
/// layer itself, for values that do not fit together.
AnyModule build_layer(const std::string& type, const LayerArgs& args, const Shape& input_shape);

}  // namespace hebb::nn
