#include "hebb/data/dataset.h"

#include <cstring>

#include "hebb/core/check.h"

namespace hebb::data {
namespace {

// rows of `t` in the given order.
Tensor take(const Tensor& t, std::span<const int64_t> indices) {
  Shape shape = t.shape();
  shape[0] = static_cast<int64_t>(indices.size());
  Tensor out = Tensor::empty(shape, t.dtype());
  const int64_t bytes = t.numel() / std::max<int64_t>(1, t.shape()[0]) * size_of(t.dtype());
  const char* from = static_cast<const char*>(t.raw_data());
  char* to = static_cast<char*>(out.raw_data());
  for (const int64_t i : indices) {
    HEBB_CHECK(i >= 0 && i < t.shape()[0], "[dataset] expected a sample in [0, {}), got {}", t.shape()[0], i);
    std::memcpy(to, from + i * bytes, static_cast<size_t>(bytes));
    to += bytes;
  }
  return out;
}

}  // namespace

Tensor normalize(const Tensor& x, const Normalization& n) {
  if (x.dtype() == i64 && n.empty()) return x;  // indices stay what they are
  Tensor out = Tensor::empty(x.shape(), f32);
  const int64_t channels = x.ndim() > 1 ? x.shape()[1] : 1;
  HEBB_CHECK(n.empty() || (n.mean.size() == n.std.size() &&
                           (n.mean.size() == 1 || static_cast<int64_t>(n.mean.size()) == channels)),
             "[normalize] expected one mean and std, or one for each of {} channels, got {} and {}", channels,
             n.mean.size(), n.std.size());
  const int64_t count = x.ndim() > 0 ? x.shape()[0] : 1,
                plane = x.numel() / std::max<int64_t>(1, count * channels);
  float* to = out.mutable_data<float>();
  Tensor dense = x;
  if (!x.is_contiguous()) {
    dense = Tensor::empty(x.shape(), x.dtype());
    detail::copy_values(x.spec(), x.raw_data(), dense.spec(), dense.raw_data());
  }
  visit_dtype(x.dtype(), [&]<class T>(T) {
    const T* from = static_cast<const T*>(dense.raw_data());
    for (int64_t c = 0; c < count * channels; ++c) {
      const size_t k = n.mean.size() > 1 ? static_cast<size_t>(c % channels) : 0;
      const double unit = std::is_same_v<T, uint8_t> ? 1.0 / 255 : 1, std = n.empty() ? 1 : n.std[k];
      const float scale = static_cast<float>(unit / std),
                  shift = static_cast<float>(n.empty() ? 0 : -n.mean[k] / std);
      for (int64_t i = 0; i < plane; ++i)
        to[c * plane + i] = convert_element<float>(from[c * plane + i]) * scale + shift;
    }
  });
  return out;
}

ArrayDataset::ArrayDataset(Tensor x, Tensor y, Normalization n) : x_(std::move(x)), y_(std::move(y)) {
  HEBB_CHECK(x_.ndim() >= 1 && y_.ndim() >= 1 && x_.shape()[0] == y_.shape()[0],
             "[ArrayDataset] expected as many targets as inputs, got x {} and y {}", x_.shape().str(),
             y_.shape().str());
  HEBB_CHECK(x_.is_contiguous() && y_.is_contiguous(), "[ArrayDataset] expected dense tensors");
  set_normalization(std::move(n));
}

void ArrayDataset::set_normalization(Normalization n) {
  for (const double s : n.std) HEBB_CHECK(s > 0, "[ArrayDataset] expected a std above 0, got {}", s);
  normalization_ = std::move(n);
}

Batch ArrayDataset::batch(std::span<const int64_t> indices) const {
  return {normalize(take(x_, indices), normalization_), take(y_, indices)};
}

Subset::Subset(std::shared_ptr<const Dataset> whole, std::vector<int64_t> indices)
    : whole_(std::move(whole)), indices_(std::move(indices)) {
  for (const int64_t i : indices_)
    HEBB_CHECK(i >= 0 && i < whole_->size(), "[Subset] expected samples in [0, {}), got {}", whole_->size(),
               i);
}

Batch Subset::batch(std::span<const int64_t> indices) const {
  std::vector<int64_t> mapped;
  mapped.reserve(indices.size());
  for (const int64_t i : indices) {
    HEBB_CHECK(i >= 0 && i < size(), "[Subset] expected a sample in [0, {}), got {}", size(), i);
    mapped.push_back(indices_[i]);
  }
  return whole_->batch(mapped);
}

}  // namespace hebb::data
