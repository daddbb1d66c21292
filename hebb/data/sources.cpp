#include "hebb/data/sources.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <limits>

#include "hebb/core/check.h"
#include "hebb/core/rng.h"
#include "hebb/data/synthetic.h"
#include "hebb/io/csv.h"
#include "hebb/io/idx.h"
#include "hebb/io/npy.h"

namespace hebb::data {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kIdxHeldOut = 5000;
constexpr uint64_t kSplitStream = (uint64_t{1} << 62) - 1;

// ---- Files with names

// Where MNIST's files are: HEBB_HOME, the source tree, beside the working folder, the user's cache.
std::string find_mnist() {
  std::vector<fs::path> places;
  auto add = [&](const char* variable, const char* below) {
    if (const char* v = std::getenv(variable); v && *v) places.push_back(fs::path(v) / below);
  };
  add("HEBB_HOME", "data/mnist");
  add("HEBB_SOURCE_DIR", "data/mnist");
  places.push_back("data/mnist");
  add("XDG_CACHE_HOME", "hebb/mnist");
  add("HOME", ".cache/hebb/mnist");
  for (const auto& p : places)
    if (fs::exists(p / "train-images-idx3-ubyte.gz") || fs::exists(p / "train-images-idx3-ubyte"))
      return p.string();
  return "";
}

std::string idx_file(const fs::path& folder, const char* name) {
  for (const char* ending : {"", ".gz"})
    if (const fs::path p = folder / (std::string(name) + ending); fs::exists(p)) return p.string();
  hebb::detail::fail("[data] {}: expected the file {} or {}.gz, found neither", folder.string(), name, name);
}

// ---- Checks

Tensor class_indices(const Tensor& labels, const std::string& where) {
  const auto v = labels.to_vector<double>();
  std::vector<int64_t> classes;
  classes.reserve(v.size());
  for (size_t i = 0; i < v.size(); ++i) {
    HEBB_CHECK(v[i] >= 0 && v[i] == std::floor(v[i]) && v[i] < 1e6,
               "[data] {}: expected labels that are whole numbers from 0, got {} for sample {} (below "
               "1,000,000; where targets are numbers, say data.regression = true)",
               where, v[i], i);
    classes.push_back(static_cast<int64_t>(v[i]));
  }
  return Tensor::from(classes);
}

struct Labelled {
  Tensor images, labels;
};
Labelled load_idx_pair(const fs::path& folder, const char* images, const char* labels) {
  const std::string image_path = idx_file(folder, images), label_path = idx_file(folder, labels);
  Tensor x = io::load_idx(image_path), y = io::load_idx(label_path);
  HEBB_CHECK(x.ndim() == 3, "[data] {}: expected images of 3 dimensions [count, rows, columns], got {}",
             image_path, x.shape().str());
  HEBB_CHECK(y.ndim() == 1, "[data] {}: expected labels of 1 dimension, got {}", label_path, y.shape().str());
  HEBB_CHECK(x.shape()[0] == y.shape()[0], "[data] {}: expected {} labels, one for each image of {}, got {}",
             label_path, x.shape()[0], image_path, y.shape()[0]);
  const Shape& s = x.shape();
  return {Tensor::view(Ref<Storage>(x.impl()->storage), TensorSpec({s[0], 1, s[1], s[2]}, x.dtype()), 0),
          class_indices(y, label_path)};
}

int64_t largest(const Tensor& classes) {
  const auto v = classes.to_vector<int64_t>();
  return v.empty() ? -1 : *std::max_element(v.begin(), v.end());
}

// ---- Splitting and statistics

void hold_out(Splits& s, std::shared_ptr<Dataset> all, int64_t count, uint64_t seed) {
  const int64_t n = all->size();
  HEBB_CHECK(count >= 0 && count < n,
             "[data] {}: expected to hold out fewer than {} samples for validation, got {}", s.name, n,
             count);
  if (count == 0) {
    s.train = std::move(all);
    return;
  }
  std::vector<int64_t> order = RandomStream{seed, kSplitStream}.permutation(n);
  std::vector<int64_t> held(order.begin(), order.begin() + count), rest(order.begin() + count, order.end());
  std::sort(held.begin(), held.end());
  std::sort(rest.begin(), rest.end());
  s.val = std::make_shared<Subset>(all, std::move(held));
  s.train = std::make_shared<Subset>(std::move(all), std::move(rest));
}

int64_t held_out_count(const SourceOptions& o, int64_t n, int64_t otherwise) {
  if (o.val_fraction < 0) return std::min(otherwise, n / 10);
  HEBB_CHECK(o.val_fraction < 1, "[data] expected a val_fraction in [0, 1), got {}", o.val_fraction);
  return static_cast<int64_t>(std::floor(o.val_fraction * static_cast<double>(n)));
}

// Mean and standard deviation of each channel, of values scaled as normalize() scales them.
Normalization statistics(const Tensor& x) {
  const int64_t n = x.shape()[0], channels = x.ndim() > 1 ? x.shape()[1] : 1,
                plane = x.numel() / std::max<int64_t>(1, n * channels);
  std::vector<double> sum(static_cast<size_t>(channels)), squares(sum.size());
  visit_dtype(x.dtype(), [&]<class T>(T) {
    const T* p = static_cast<const T*>(x.raw_data());
    for (int64_t c = 0; c < n * channels; ++c)
      for (int64_t i = 0; i < plane; ++i) {
        const double v =
            convert_element<double>(p[c * plane + i]) * (std::is_same_v<T, uint8_t> ? 1.0 / 255 : 1);
        sum[c % channels] += v;
        squares[c % channels] += v * v;
      }
  });
  Normalization out;
  const double count = static_cast<double>(n * plane);
  for (size_t c = 0; c < sum.size(); ++c) {
    const double mean = sum[c] / count, variance = squares[c] / count - mean * mean;
    out.mean.push_back(mean);
    out.std.push_back(variance > 1e-12 ? std::sqrt(variance) : 1);
  }
  return out;
}

std::vector<std::string> numbers(int64_t n) {
  std::vector<std::string> names;
  for (int64_t i = 0; i < n; ++i) names.push_back(std::to_string(i));
  return names;
}

// ---- Kinds of sources

Splits from_idx(const std::string& name, const fs::path& folder, const SourceOptions& o) {
  const Labelled train = load_idx_pair(folder, "train-images-idx3-ubyte", "train-labels-idx1-ubyte");
  const Labelled test = load_idx_pair(folder, "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte");
  const Shape& s = train.images.shape();
  HEBB_CHECK(test.images.shape()[2] == s[2] && test.images.shape()[3] == s[3],
             "[data] {}: expected test images of {}x{}, as the training images, got {}x{}", folder.string(),
             s[2], s[3], test.images.shape()[2], test.images.shape()[3]);
  Splits out;
  out.name = name;
  out.input = {1, s[2], s[3]};
  out.num_classes = largest(train.labels) + 1;
  HEBB_CHECK(largest(test.labels) < out.num_classes,
             "[data] {}: expected test labels below {}, as in the training labels, got {}", folder.string(),
             out.num_classes, largest(test.labels));
  out.class_names = numbers(out.num_classes);
  out.normalization = o.normalization ? *o.normalization : statistics(train.images);
  hold_out(out, std::make_shared<ArrayDataset>(train.images, train.labels, out.normalization),
           held_out_count(o, s[0], kIdxHeldOut), o.seed);
  out.test = std::make_shared<ArrayDataset>(test.images, test.labels, out.normalization);
  return out;
}

Splits from_arrays(const std::string& name, const Tensor& x, const Tensor& y, const SourceOptions& o) {
  Splits out;
  out.name = name;
  out.input = Shape(std::span<const int64_t>(x.shape().begin() + 1, x.shape().end()));
  if (!is_float(y.dtype())) {
    out.num_classes = largest(y) + 1;
    out.class_names = numbers(out.num_classes);
  }
  out.normalization = o.normalization.value_or(Normalization());
  hold_out(out, std::make_shared<ArrayDataset>(x, y, out.normalization), held_out_count(o, x.shape()[0], 0),
           o.seed);
  return out;
}

Splits from_csv(const std::string& path, const SourceOptions& o) {
  const io::CsvTable table = io::load_csv(path);
  const int64_t rows = table.values.shape()[0], columns = table.values.shape()[1];
  int64_t target = columns - 1;
  if (!o.target.empty()) {
    const auto found = std::find(table.columns.begin(), table.columns.end(), o.target);
    HEBB_CHECK(found != table.columns.end(), "[data] {}: expected a column \"{}\", got {}", path, o.target,
               fmt::join(table.columns, ", "));
    target = found - table.columns.begin();
  }
  HEBB_CHECK(rows > 0, "[data] {}: expected at least one row of numbers, got a header alone", path);
  HEBB_CHECK(columns >= 2, "[data] {}: expected at least 2 columns (features and a target), got {}", path,
             columns);
  const auto v = table.values.to_vector<double>();
  std::vector<float> x, y;
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c)
      (c == target ? y : x).push_back(static_cast<float>(v[r * columns + c]));
  const Tensor inputs = Tensor::from(x, {rows, columns - 1});
  SourceOptions with = o;
  if (!with.normalization) with.normalization = statistics(inputs);
  return from_arrays(path, inputs,
                     o.regression ? Tensor::from(y, {rows, 1}) : class_indices(Tensor::from(y), path), with);
}

}  // namespace

std::vector<SourceInfo> list_sources() {
  const std::string mnist = find_mnist();
  std::vector<SourceInfo> out{
      {"mnist", "handwritten digits, 28x28: 60,000 to train, 10,000 to test (LeCun et al., 1998)", mnist,
       !mnist.empty()}};
  for (const auto& s : synthetic_sources()) out.push_back({s.name, s.description, "", true});
  return out;
}

Splits load_source(const std::string& name, const SourceOptions& o) {
  if (name == "mnist") {
    const std::string folder = find_mnist();
    HEBB_CHECK(!folder.empty(),
               "[data] expected MNIST's files in data/mnist, $HEBB_HOME/data/mnist or ~/.cache/hebb/mnist, "
               "found none");
    return from_idx(name, folder, o);
  }
  for (const auto& s : synthetic_sources()) {
    if (s.name != name) continue;
    const Batch all = s.make(o.seed);
    Splits out = from_arrays(name, all.x, all.y, o);
    const Batch test = s.make(o.seed + 1);
    out.test = std::make_shared<ArrayDataset>(test.x, test.y, out.normalization);
    return out;
  }
  if (fs::is_directory(name))
    return from_idx(fs::path(name).filename().empty() ? fs::path(name).parent_path().filename().string()
                                                      : fs::path(name).filename().string(),
                    name, o);
  if (fs::exists(name)) return from_csv(name, o);
  std::vector<std::string> known;
  for (const SourceInfo& s : list_sources()) known.push_back(s.name);
  hebb::detail::fail("[data] expected a data set ({}), a folder of IDX files or a CSV file, got \"{}\"",
                     fmt::join(known, ", "), name);
}

Splits load_arrays(const std::string& x_path, const std::string& y_path, const SourceOptions& o) {
  const Tensor x = io::load_npy(x_path), y = io::load_npy(y_path);
  HEBB_CHECK(x.dtype() == f32 || x.dtype() == i64,
             "[data] {}: expected inputs of f32, got {} (i64 is taken too, for indices)", x_path,
             name_of(x.dtype()));
  HEBB_CHECK(y.dtype() == i64 || y.dtype() == f32,
             "[data] {}: expected labels of i64 or targets of f32, got {}", y_path, name_of(y.dtype()));
  HEBB_CHECK(x.ndim() >= 2, "[data] {}: expected inputs of at least 2 dimensions [samples, …], got {}",
             x_path, x.shape().str());
  HEBB_CHECK(y.ndim() >= 1 && y.shape()[0] == x.shape()[0],
             "[data] {}: expected {} targets, one for each input of {}, got {}", y_path, x.shape()[0], x_path,
             y.shape().str());
  return from_arrays(x_path, x, y.dtype() == i64 && y.ndim() == 1 ? class_indices(y, y_path) : y, o);
}

}  // namespace hebb::data
