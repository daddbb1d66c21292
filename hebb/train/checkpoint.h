// A run's whole state in one file, from which it goes on bit for bit.
#pragma once
#include <cstdint>
#include <string>

#include "hebb/train/trainer.h"

namespace hebb::train {

/// Writes weights, optimizer, schedule, the default generator and progress to `path` (safetensors, with the
/// numbers as JSON in its metadata): a temporary file, flushed, then renamed. Throws Error on failure; an
/// older file survives.
void save_checkpoint(const std::string& path, Trainer& trainer);
/// The inverse. Throws Error for a file that is damaged or of another network, optimizer or schedule; the
/// trainer is then as it was.
void load_checkpoint(const std::string& path, Trainer& trainer);

/// Writes the network's weights alone, as PyTorch names them. Equal weights give equal bytes.
void save_weights(const std::string& path, nn::Module& net);
/// Loads weights, strictly. Throws Error naming the file and every name that is missing, unexpected or
/// misshapen.
void load_weights(const std::string& path, nn::Module& net);

}  // namespace hebb::train
