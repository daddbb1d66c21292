// The safetensors format: named tensors in one file, without code in it. It is how weights travel between
// hebb, PyTorch and everything else, and what checkpoints are made of.
#pragma once
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "hebb/core/tensor.h"

namespace hebb::io {

/// Named tensors in an order, which a state dict has and a map would lose.
using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

/// What a .safetensors file holds.
struct SafeTensors {
  NamedTensors tensors;                         ///< in the order of the file's header
  std::map<std::string, std::string> metadata;  ///< the header's `__metadata__`; empty if there is none

  /// The tensor of this name, or null.
  const Tensor* find(const std::string& name) const;
};

/// All tensors and metadata of a file. Element types: F64 F32 F16 BF16 I64 I32 I8 U8 BOOL; up to 8
/// dimensions. Throws Error, naming the file and the tensor, for a file that cannot be read and for all that
/// the format forbids: a header longer than the file or than 100 MB, one that is no JSON object, a name given
/// twice, sizes that do not match shape and dtype, data that overlaps, leaves holes or does not end with the
/// file. Source of the format: https://github.com/huggingface/safetensors#format
SafeTensors load_safetensors(const std::string& path);

/// Writes tensors in the given order. The same tensors and metadata give the same bytes, always. All or
/// nothing, see write_file_atomic. Throws Error if the file cannot be written, for a name that occurs twice,
/// is "__metadata__" or no UTF-8, and for a tensor without values.
void save_safetensors(const std::string& path, const NamedTensors& tensors,
                      const std::map<std::string, std::string>& metadata = {});

}  // namespace hebb::io
