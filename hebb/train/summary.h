// What a network is made of, layer by layer: shapes, parameters, work, what each value sees of the input, and
// the memory that training takes. Nothing is computed: shapes alone go through the network.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "hebb/nn/container.h"

namespace hebb::train {

/// One call of a layer.
struct SummaryRow {
  std::string path;           ///< as in the state dict: "conv1", "block.0"
  std::string type;           ///< "Conv2d"
  std::string options;        ///< as the layer prints itself
  Shape output;               ///< with the batch
  int64_t parameters = 0;     ///< the layer's own; 0 when an earlier row has counted them
  int64_t multiply_adds = 0;  ///< of the whole batch
  Shape receptive_field;      ///< extents of what one output value sees of the input's spatial dimensions
};

/// Rows, totals and the memory that training takes, in bytes.
struct Summary {
  std::string name;  ///< the network's type, or what the caller calls it
  Shape input, output;
  std::vector<SummaryRow> rows;

  int64_t parameters = 0, trainable_parameters = 0;
  int64_t multiply_adds = 0;  ///< of the whole batch
  /// Of the whole network. Extents reach into the padding; behind a Linear layer or global pooling they are
  /// the input's.
  Shape receptive_field;

  int64_t batch_size = 1;       ///< that the memory is for
  int64_t parameter_bytes = 0;  ///< parameters and buffers
  int64_t gradient_bytes = 0;
  int64_t optimizer_bytes = 0;
  int64_t activation_bytes = 0;  ///< values that the forward pass saves for the backward pass
  /// The four together.
  int64_t training_bytes() const {
    return parameter_bytes + gradient_bytes + optimizer_bytes + activation_bytes;
  }
};

/// Options of summarize().
struct SummaryOptions {
  int64_t batch_size = 0;        ///< that memory is estimated for; 0: the input's
  double optimizer_moments = 1;  ///< values kept for each trained one: 0 plain SGD, 1 momentum, 2 Adam
  DType dtype = f32;             ///< of the input
};

/// Sends the shape of one batch through `call`, which runs `module`. The module is in eval mode meanwhile and
/// is left as it was. Multiply-adds count products with weights (convolutions, linear layers, matrix
/// products); saved activations leave out dropout's masks. Throws what the layers throw for an input that
/// does not fit, and for a forward that reads values.
Summary summarize(nn::Module& module, const std::function<Tensor(const Tensor&)>& call, const Shape& input,
                  const SummaryOptions& options = {});
/// The same for a network whose forward takes one tensor.
template <std::derived_from<nn::Module> M>
Summary summarize(M& module, const Shape& input, const SummaryOptions& options = {}) {
  return summarize(
      module, [&module](const Tensor& x) { return module(x); }, input, options);
}
/// The same for a network of a recipe.
Summary summarize(nn::AnyModule& module, const Shape& input, const SummaryOptions& options = {});

/// An aligned table and the totals, ending with a line break.
std::string to_text(const Summary& summary);
/// One JSON object, in one line.
std::string to_json(const Summary& summary);

}  // namespace hebb::train
