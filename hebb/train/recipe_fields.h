// The keys of [data] and [train], once: reading, --set, checking and writing all go by this list. And the
// words that recipe errors share.
#pragma once
#include <variant>

#include "hebb/train/recipe.h"

namespace hebb::train::detail {

/// A key of [data] or [train] and where its value is kept.
struct Field {
  const char* key;
  std::variant<int64_t*, uint64_t*, bool*, double*, std::string*, std::vector<double>*> value;
  const char* expected;                ///< "a whole number of at least 1"
  bool (*is_valid)(double) = nullptr;  ///< for numbers; null: all are
};
std::vector<Field> fields_of(Recipe::Data& data);
std::vector<Field> fields_of(Recipe::Train& train);

/// "model.layer[3]"
std::string layer_key(size_t index);
/// The file as messages call it.
std::string file_of(const Recipe& recipe);
/// ", did you mean 'lr'?" if one is near, then the list.
std::string expected_one_of(const std::string& found, const std::vector<std::string>& candidates);
/// Throws RecipeError at a key, with the line where it or the table around it stands.
[[noreturn]] void fail_at(const Recipe& recipe, const std::string& key, const std::string& message);

/// A value as TOML: numbers always read back equal, of the same type.
std::string toml_text(const std::string& v);
std::string toml_text(bool v);
std::string toml_text(double v);
std::string toml_text(int64_t v);
std::string toml_text(uint64_t v);
template <class T>
std::string toml_text(const std::vector<T>& list) {
  std::string out = "[";
  for (const T& v : list) out += (out.size() > 1 ? ", " : "") + toml_text(v);
  return out + "]";
}
std::string toml_text(const nn::LayerArg& v);

std::string toml_text(const optim::OptionValue& v);
/// A key as TOML, in quotes where it needs them.
std::string toml_key(const std::string& key);

/// Whether the schedule is of that type, however it is spelt.
bool is_schedule(const Recipe& recipe, const std::string& type);
/// The options of the schedule, with the lengths that were left out.
optim::OptionMap schedule_options(const Recipe& recipe, int64_t steps_per_epoch);

/// Throws RecipeError for a type that there is not; `section` is "layer", "loss", "optimizer" or "schedule".
void check_type(const Recipe& recipe, const std::string& section, const std::string& type,
                const std::string& at_key);
/// Throws RecipeError for an argument that this type of layer does not have.
void check_layer_key(const Recipe& recipe, size_t layer, const std::string& argument);
/// Throws RecipeError unless [loss], [optimizer] or [schedule] can be made as it stands.
void check_section(const Recipe& recipe, const std::string& section);

}  // namespace hebb::train::detail
