// How much of a network's input one value of a tensor depends on, followed op by op through shapes alone.
#pragma once
#include <unordered_map>
#include <vector>

#include "hebb/op/op.h"

namespace hebb::train::detail {

/// What one value of a tensor sees along one axis of the network's input: the value at index i of the
/// dimension that walks the axis sees [begin + i step, end + i step). Positions may lie in the padding.
struct AxisView {
  double begin = 0, end = 1, step = 1;
  uint32_t dims = 0;  ///< bit d: dimension d of the tensor walks this axis; none once all values see the same
  bool regular = true;  ///< one dimension walks it evenly, so that windows over it can be followed
  bool whole = false;   ///< sees the axis from end to end
};

/// Follows receptive fields through calls of ops. The spatial axes are the dimensions after [N, C], or the
/// last one of an input with fewer than 3. Same-shaped ops that are not elementwise (softmax, normalisation)
/// count as if each value depended on its own place alone, as is usual.
class ReceptiveFields {
 public:
  /// Starts from the network's input.
  explicit ReceptiveFields(const Tensor& input);

  /// Notes what the results of a call see.
  void follow(const OpDef& op, const Attrs& attrs, std::span<const Tensor> inputs,
              std::span<const Tensor> outputs);
  /// Extents along the spatial axes of what one value of `t` sees; ones for a tensor that does not depend on
  /// the input.
  Shape of(const Tensor& t) const;

 private:
  using Field = std::vector<AxisView>;
  const Field* find(const Tensor& t) const;
  Field through(const OpDef& op, const Attrs& attrs, std::span<const Tensor> inputs, const Shape& out) const;
  void see_all(Field& f, size_t axis) const;
  void see_all_of(Field& f, int dim) const;
  void window(Field& f, int dim, double first, double last, double stride) const;
  Field through_planes(const OpDef& op, const Attrs& attrs, const Tensor& x, const Tensor* weight,
                       const Shape& out) const;
  Field through_view(const ViewSpec& view, const Tensor& x) const;
  Field through_reduction(Field f, uint64_t dims, bool keepdim) const;
  void merge(Field& into, Field f, const Shape& from, const Shape& out, bool align_right) const;

  struct Entry {
    Tensor keep;  // so that its address is not used again
    Field field;
  };
  std::vector<int64_t> extents_;  // of the input's spatial axes
  std::unordered_map<const void*, Entry> fields_;
};

}  // namespace hebb::train::detail
