// Recurrent layers: they read a sequence step by step and carry a state along.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "hebb/nn/module.h"

namespace hebb::nn {

/// What an LSTM carries from step to step: h, which is also its output, and the cell c.
struct LSTMState {
  Tensor h, c;
};
/// What an LSTM gives: h of the last layer at every step, and the states of all layers after the last step.
struct LSTMOutput {
  Tensor output;
  LSTMState state;
};

/// Options of LSTM.
struct LSTMOptions {
  int64_t num_layers = 1;
  bool bias = true;
  bool batch_first = false;  ///< input and output are [B, T, ...] in place of [T, B, ...]; states are as ever
  double dropout = 0;        ///< in training, drops outputs of all layers but the last with this probability
};
/// Long short-term memory over a sequence: x [T, B, input_size] (or [T, input_size], one sequence) -> output
/// [T, B, hidden_size] and states h, c [num_layers, B, hidden_size], in which B lacks if x has none. Starts
/// from `state`, or from zeros. Parameters, named as PyTorch's (weight_ih_l0, weight_hh_l0, bias_ih_l0,
/// bias_hh_l0, ...), hold the gates in the order i, f, g, o and start uniform within 1/sqrt(hidden_size).
/// (Keras' order is i, f, g, o too; its kernels are transposed and it has one bias.) Throws Error for sizes
/// below 1 and for inputs and states of other shapes. See hebb::lstm for the formulas.
struct LSTM : Module {
  /// One layer's parameters; the biases may be undefined.
  struct Layer {
    Parameter weight_ih;         ///< [4 hidden_size, input_size or hidden_size]
    Parameter weight_hh;         ///< [4 hidden_size, hidden_size]
    Parameter bias_ih, bias_hh;  ///< [4 hidden_size]
  };
  int64_t input_size, hidden_size;
  LSTMOptions options;
  std::vector<Layer> layers;

  LSTM(int64_t input, int64_t hidden, LSTMOptions options = {});
  /// Draws all parameters anew.
  void reset_parameters();
  /// All steps, from `state` or from zeros.
  LSTMOutput forward(const Tensor& x, const std::optional<LSTMState>& state = std::nullopt);
  std::string extra_repr() const override;
  void visit_members(MemberVisitor& visitor) override;
  HEBB_MODULE_CALLS
};

/// Options of LSTMCell.
struct LSTMCellOptions {
  bool bias = true;
};
/// One step of an LSTM: x [B, input_size] (or [input_size]) and a state of h, c [B, hidden_size] (or
/// [hidden_size]; zeros if none is given) -> the next state. Parameters as LSTM's, without the layer's
/// number.
struct LSTMCell : Module {
  int64_t input_size, hidden_size;
  Parameter weight_ih, weight_hh, bias_ih, bias_hh;

  LSTMCell(int64_t input, int64_t hidden, LSTMCellOptions options = {});
  void reset_parameters();
  /// One step, from `state` or from zeros.
  LSTMState forward(const Tensor& x, const std::optional<LSTMState>& state = std::nullopt);
  std::string extra_repr() const override;
  HEBB_MEMBERS(weight_ih, weight_hh, bias_ih, bias_hh)
};

}  // namespace hebb::nn
