# Writes OUTPUT, a C++ source that holds every RECIPES/*.toml as a string, in the order of their names.
# Run as a script: cmake -DRECIPES=<folder> -DOUTPUT=<file> -P embed.cmake
cmake_minimum_required(VERSION 3.25)
file(GLOB recipes "${RECIPES}/*.toml")
list(SORT recipes)
list(LENGTH recipes count)

set(entries "")
foreach(recipe IN LISTS recipes)
  get_filename_component(name "${recipe}" NAME_WE)
  file(READ "${recipe}" text)
  string(FIND "${text}" ")recipe\"" clash)
  if(NOT clash EQUAL -1)
    message(FATAL_ERROR "${recipe}: cannot embed a recipe that contains )recipe\"")
  endif()
  string(APPEND entries "    {\"${name}\", R\"recipe(${text})recipe\"},\n")
endforeach()

file(WRITE "${OUTPUT}" "// Generated from hebb/train/recipes by cmake/embed.cmake.
namespace hebb::detail {

struct EmbeddedRecipe {
  const char* name;
  const char* text;
};

extern const EmbeddedRecipe embedded_recipes[];
extern const int embedded_recipe_count;

// The last entry is a sentinel: an array may not be empty.
const EmbeddedRecipe embedded_recipes[] = {
${entries}    {nullptr, nullptr},
};
const int embedded_recipe_count = ${count};

}  // namespace hebb::detail
")
