// Data sets by name, folder or file, split for training, validation and test.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "hebb/data/dataset.h"

namespace hebb::data {

/// How a source is split, normalised and read.
struct SourceOptions {
  double val_fraction =
      -1;              ///< part of the training data held out; -1: 5,000 samples of IDX files, none of others
  uint64_t seed = 0;   ///< draws the samples held out
  std::string target;  ///< CSV: the column of targets (default: the last)
  /// None: for IDX images the training data's own mean and std, for CSV each column's. An empty one: values
  /// stay as they are.
  std::optional<Normalization> normalization = {};
  bool regression = false;  ///< CSV: targets are numbers (f32 [N, 1]), not classes
};

/// What training needs of a data set. `val` and `test` are null where there are none.
struct Splits {
  std::string name;
  std::shared_ptr<Dataset> train, val, test;
  Shape input;              ///< of one sample
  int64_t num_classes = 0;  ///< 0 for regression
  std::vector<std::string> class_names;
  Normalization normalization;
};

/// By name (mnist, blobs, circles, moons, spiral, xor), a folder of IDX files (train-images-idx3-ubyte,
/// train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte, raw or .gz), or a CSV file.
/// Throws Error that says which file is missing or wrong, more labels than images, or labels that are no
/// whole numbers from 0.
Splits load_source(const std::string& name, const SourceOptions& options = {});
/// From two .npy files: x f32 (or i64: indices), y i64 class indices or f32 targets.
Splits load_arrays(const std::string& x_path, const std::string& y_path, const SourceOptions& options = {});

/// What is known of a named data set without reading it.
struct SourceInfo {
  std::string name, description, path;  ///< path: where its files are; empty if made by a formula
  bool available = true;
};
/// All data sets that have a name.
std::vector<SourceInfo> list_sources();

}  // namespace hebb::data
