// Data sets: anything that gives batches by index. Those held in memory are tensors; others may read files.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "hebb/core/tensor.h"

namespace hebb::data {

/// Inputs and targets of some samples; the first dimension counts them.
struct Batch {
  Tensor x, y;
  int64_t size() const { return x.shape()[0]; }
};

/// Samples that can be had in any order. batch() is called from several threads at once.
class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual int64_t size() const = 0;
  /// The samples at these positions, in this order. Throws Error for a position out of range.
  virtual Batch batch(std::span<const int64_t> indices) const = 0;
};

/// (x - mean) / std for each channel (dimension 1), after integers are scaled to [0, 1] by 1/255 (u8 only).
struct Normalization {
  std::vector<double> mean, std;  ///< one value, or one for each channel; empty: scaling alone
  bool empty() const { return mean.empty(); }
};

/// A data set in memory: x [N, …] (u8 as read, or f32), y [N] (i64 class indices) or [N, …] (f32 targets).
/// Batches of x are f32, normalised.
class ArrayDataset : public Dataset {
 public:
  /// Throws Error unless x and y hold equally many samples.
  ArrayDataset(Tensor x, Tensor y, Normalization normalization = {});
  int64_t size() const override { return x_.shape()[0]; }
  Batch batch(std::span<const int64_t> indices) const override;
  const Tensor& x() const { return x_; }
  const Tensor& y() const { return y_; }
  const Normalization& normalization() const { return normalization_; }
  /// Changes how batches are normalised from now on.
  void set_normalization(Normalization n);

 private:
  Tensor x_, y_;
  Normalization normalization_;
};

/// Some samples of another data set.
class Subset : public Dataset {
 public:
  Subset(std::shared_ptr<const Dataset> whole, std::vector<int64_t> indices);
  int64_t size() const override { return static_cast<int64_t>(indices_.size()); }
  Batch batch(std::span<const int64_t> indices) const override;

 private:
  std::shared_ptr<const Dataset> whole_;
  std::vector<int64_t> indices_;
};

/// x as a network wants it: u8 becomes f32 in [0, 1], then each channel is normalised. Other types become
/// f32.
Tensor normalize(const Tensor& x, const Normalization& n);

}  // namespace hebb::data
