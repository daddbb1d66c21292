// Fused programs on floats: a machine whose registers are tiles of some thousand elements in the first-level
// cache, whose instructions are the vector loops of the elementwise table. Memory is read and written once.
#include <memory>
#include <vector>

#include "hebb/backend/cpu/blocks_ready.h"
#include "hebb/backend/cpu/elementwise.h"
#include "hebb/backend/cpu/fold.h"
#include "hebb/backend/cpu/gemm.h"
#include "hebb/backend/cpu/kernel_support.h"
#include "hebb/core/parallel.h"
#include "hebb/ops/fused.h"
#include "hebb/ops/table.h"

#ifndef HEBB_BACKEND_CPU_FUSED_TYPES_  // this file is compiled once for every instruction set
#define HEBB_BACKEND_CPU_FUSED_TYPES_
namespace hebb::cpu {
namespace {

struct FusedKernels {
  ElementwiseLoop multiply_add;
  void (*add_rows)(const float* a, const float* b, int64_t rows, int64_t columns, float* sums);
  void (*stream_tile)(const float* x, int64_t n, float* out);
  void (*copy_rows)(const float* x, int64_t step, int64_t rows, int64_t columns, float* out);
};

}  // namespace
}  // namespace hebb::cpu
#endif

#include "hebb/backend/cpu/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hebb/backend/cpu/fused.cpp"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "hebb/backend/cpu/line-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hebb::cpu {
namespace HWY_NAMESPACE {

/// out = a b + c, rounded once.
void multiply_add_loop(float* out, const float* a, const float* b, const float* c, const double*, size_t n) {
  const auto count = static_cast<int64_t>(n);
  for (int64_t i = 0; i < count; i += kLanes<float>) {
    const int64_t rest = count - i;
    store_first(hn::MulAdd(load_first(a + i, rest), load_first(b + i, rest), load_first(c + i, rest)),
                out + i, rest);
  }
}

/// sums[c] += a[r][c] (times b[r][c], unless b is null), row after row.
void add_rows(const float* a, const float* b, int64_t rows, int64_t columns, float* sums) {
  constexpr int64_t L = kLanes<float>;
  const auto some = [&](auto vectors, int64_t c, int64_t count) HWY_ATTR {
    constexpr int kVectors = decltype(vectors)::value;
    Vec<float> s[kVectors];
    HEBB_UNROLL for (int v = 0; v < kVectors; ++v) s[v] = load_first(sums + c + v * L, count);
    for (int64_t at = c; at < c + rows * columns; at += columns) {
      HEBB_UNROLL for (int v = 0; v < kVectors; ++v) {
        const auto x = load_first(a + at + v * L, count);
        s[v] = b ? hn::MulAdd(x, load_first(b + at + v * L, count), s[v]) : hn::Add(s[v], x);
      }
    }
    HEBB_UNROLL for (int v = 0; v < kVectors; ++v) store_first(s[v], sums + c + v * L, count);
  };
  int64_t c = 0;
  for (; c + 4 * L <= columns; c += 4 * L) some(std::integral_constant<int, 4>(), c, 4 * L);
  for (; c < columns; c += L) some(std::integral_constant<int, 1>(), c, std::min(L, columns - c));
}

/// Copies past the caches; out is aligned to a vector.
void stream_tile(const float* x, int64_t n, float* out) {
  const Tag<float> d;
  int64_t i = 0;
  for (; i + kLanes<float> <= n; i += kLanes<float>) hn::Stream(hn::LoadU(d, x + i), d, out + i);
  if (i < n) store_first(load_first(x + i, n - i), out + i, n - i);
}

/// Rows that lie `step` apart, one after the other.
void copy_rows(const float* x, int64_t step, int64_t rows, int64_t columns, float* out) {
  for (int64_t r = 0; r < rows; ++r, x += step, out += columns)
    for (int64_t c = 0; c < columns; c += kLanes<float>)
      store_first(load_first(x + c, columns - c), out + c, columns - c);
}

FusedKernels fused_loops() { return {multiply_add_loop, add_rows, stream_tile, copy_rows}; }

}  // namespace HWY_NAMESPACE
}  // namespace hebb::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hebb::cpu {
namespace {

HWY_EXPORT(fused_loops);

constexpr int64_t kTile = FusedProgram::kTile;    // elements of a register
constexpr int64_t kBlock = FusedProgram::kBlock;  // that one thread takes
constexpr int64_t kTilesAhead = 2;                // what passes by is fetched so early
constexpr int64_t kStreamed = 2 << 20;  // results of so many elements are in no cache when they are read

/// A program made ready for operands of certain sizes.
class Machine {
 public:
  /// Results may be written past the caches if nothing of them is there. Where rows do not matter to the
  /// program it walks rows of `columns` elements, if that is not 0.
  Machine(const FusedProgram& program, SpecPtrs in, bool may_stream, int64_t columns = 0)
      : program_(program), space_(program, in), inputs_(static_cast<int>(program.inputs.size())) {
    bool flat = true;  // only dense and scalar operands: rows do not matter
    for (size_t i = 0; i < in.size(); ++i) {
      const FusedOperand kind = program.inputs[i];
      const bool apart = kind == FusedOperand::dense && !in[i]->contiguous;
      apart_.push_back(apart ? in[i]->strides[in[i]->shape.ndim() - 2] : 0);
      flat = flat && !apart && (kind == FusedOperand::dense || kind == FusedOperand::scalar);
    }
    for (const FusedInstruction& i : program.instructions) {
      if (i.code == kTotal) columns = columns && totals_alike(columns) ? columns : 0;
      else flat = flat && !i.is_sum();
    }
    columns_ = !flat ? space_.columns : columns ? columns : kTile;
    streams_ = may_stream && space_.total >= kStreamed && columns_ % 16 == 0;
    const int64_t width = std::max<int64_t>(1, columns_);
    rows_ = (space_.total + width - 1) / width;
    each_ = std::max<int64_t>(1, kBlock / width);
    blocks_ = (rows_ + each_ - 1) / each_;
    assign_registers();
  }

  void run(const void* const* inputs, void* const* outputs) const {
    if (space_.total == 0) return clear_sums(outputs);
    const Loops loops;
    const Temporary<float> memory(ScratchUse::kFusedSums, blocks_ * sums_);
    float* const partial = memory.data();
    parallel_for(blocks_, grain(block_ns()), [&](int64_t begin, int64_t end) {
      Tiles tiles(*this, loops, inputs, outputs);
      for (int64_t b = begin; b < end; ++b) tiles.run_block(b, partial);
      hwy::FlushStream();
    });
    join_sums(partial, outputs);
  }

  /// The same while `write` writes an input.
  void run_behind(int64_t columns, const void* const* inputs, void* const* outputs,
                  const Write& write) const {
    // Blocks that are no whole rows are left to the end.
    const bool whole = columns > 0 && each_ * columns_ % columns == 0;
    if (space_.total == 0 || blocks_ == 1 || !whole) {
      write(nullptr);
      return run(inputs, outputs);
    }
    Behind behind(*this, columns, inputs, outputs);
    write(&behind);
    behind.finish();
  }

 private:
  struct Loops {
    const ElementwiseLoop* expressions = elementwise_loops();
    FusedKernels own = HWY_DYNAMIC_DISPATCH(fused_loops)();
  };
  /// Where a value is found: in an operand that passes by, or in a register. A result that has a register is
  /// written to memory from there.
  struct Value {
    int output = -1, reg = -1;
  };
  struct Sum {
    const FusedInstruction* instruction;
    int output;
    int64_t offset, width;  // of its part in what a block sums up; row sums are written at once

    float result(double sum) const {
      const auto rounded = static_cast<float>(sum);
      return instruction->p == 0 ? rounded : rounded / static_cast<float>(instruction->p);
    }
  };

  /// The tiles of one thread, one after the other.
  class Tiles {
   public:
    Tiles(const Machine& m, const Loops& loops, const void* const* inputs, void* const* outputs)
        : m_(m),
          loops_(loops),
          inputs_(inputs),
          outputs_(outputs),
          registers_(scratch<float>(ScratchUse::kFused, m.registers_ * kTile)) {
      for (int i = 0; i < m_.inputs_; ++i) fill_once(i);
    }
    void run_block(int64_t block, float* partial) {
      float* const sums = partial + block * m_.sums_;
      std::fill_n(sums, m_.sums_, 0.0f);
      std::fill_n(totals_, kMostTotals, 0.0);
      const int64_t columns = m_.columns_, step = std::max<int64_t>(1, kTile / columns),
                    end = std::min(m_.rows_, (block + 1) * m_.each_);
      for (int64_t r = block * m_.each_; r < end; r += step) {
        const int64_t stop = std::min(m_.space_.total, std::min(end, r + step) * columns);
        for (int64_t first = r * columns; first < stop; first += kTile)
          run_tile(first, std::min(kTile, stop - first), sums);
      }
      for (size_t k = 0; k < m_.all_sums_.size(); ++k)
        if (const Sum& s = m_.all_sums_[k]; s.instruction->code == kTotal)
          sums[s.offset] = static_cast<float>(totals_[k]);
    }

   private:
    float* reg(int value) { return registers_ + m_.values_[value].reg * kTile; }

    // Into the second-level cache: instructions behind the first one would leave memory idle.
    static void fetch(const float* tile, int64_t n = kTile) {
      for (int64_t i = 0; i < n; i += 16) __builtin_prefetch(tile + i, 0, 2);
    }
    // The part of an operand whose rows lie apart.
    float* gather(int value, float* data, int64_t first, int64_t n) {
      const int64_t columns = m_.columns_, step = m_.apart_[static_cast<size_t>(value)];
      float* const from = data + first / columns * step;
      if (columns > kTile) return from + first % columns;
      const int64_t rows = n / columns, ahead = kTilesAhead * (kTile / columns);
      for (int64_t r = ahead; r < ahead + rows; ++r) fetch(from + r * step, columns);
      loops_.own.copy_rows(from, step, rows, columns, reg(value));
      return reg(value);
    }
    void write(const float* tile, int64_t n, float* to) {
      if (reinterpret_cast<uintptr_t>(to) % 64 == 0) loops_.own.stream_tile(tile, n, to);
      else std::copy_n(tile, n, to);
    }
    // What is the same in all tiles.
    void fill_once(int i) {
      const FusedOperand kind = m_.program_.inputs[i];
      const auto* data = input<float>(inputs_, i);
      if (kind == FusedOperand::scalar) {
        std::fill_n(reg(i), kTile, *data);
      } else if (kind == FusedOperand::row && m_.columns_ <= kTile) {
        for (int64_t c = 0; c + m_.columns_ <= kTile; c += m_.columns_)
          std::copy_n(data, m_.columns_, reg(i) + c);
      }
    }
    // Where a value's part in the tile of n elements from `first` on is, or shall be.
    float* tile_of(int value, int64_t first, int64_t n) {
      const Value& v = m_.values_[value];
      if (value >= m_.inputs_) return v.reg >= 0 ? reg(value) : output<float>(outputs_, v.output) + first;
      auto* const data = const_cast<float*>(input<float>(inputs_, value));  // (inputs are not written to)
      const int64_t columns = m_.columns_;
      switch (m_.program_.inputs[value]) {
        case FusedOperand::dense:
          return m_.apart_[static_cast<size_t>(value)] ? gather(value, data, first, n) : data + first;
        case FusedOperand::scalar: break;
        case FusedOperand::row:
          if (columns > kTile) return data + first % columns;
          break;
        case FusedOperand::column:
          for (int64_t c = 0; c < n; c += columns)
            std::fill_n(reg(value) + c, std::min(columns, n - c), data[(first + c) / columns]);
      }
      return reg(value);
    }
    void run_tile(int64_t first, int64_t n, float* sums) {
      for (int v = 0; v < m_.inputs_; ++v) {
        at_[v] = tile_of(v, first, n);
        if (m_.program_.inputs[v] == FusedOperand::dense && m_.values_[v].reg < 0)
          fetch(at_[v] + kTilesAhead * kTile);
      }
      const auto operand = [&](int v) { return v < 0 ? nullptr : at_[v]; };
      int value = m_.inputs_;
      size_t sum = 0;
      for (const FusedInstruction& i : m_.program_.instructions) {
        const float *a = operand(i.operands[0]), *b = operand(i.operands[1]), *c = operand(i.operands[2]);
        if (i.is_sum()) {
          add_up(sum++, a, b, first, n, sums);
        } else {
          const double pq[] = {i.p, i.q};
          const ElementwiseLoop loop =
              i.code == kMultiplyAdd ? loops_.own.multiply_add : loops_.expressions[i.code];
          at_[value] = tile_of(value, first, n);
          loop(at_[value], a, b, c, pq, static_cast<size_t>(n));
          if (const Value& v = m_.values_[value]; v.output >= 0 && v.reg >= 0)
            write(at_[value], n, output<float>(outputs_, v.output) + first);
        }
        ++value;
      }
    }

    // The part of a tile in sum number k.
    void add_up(size_t k, const float* a, const float* b, int64_t first, int64_t n, float* sums) {
      const Sum& s = m_.all_sums_[k];
      const int64_t columns = m_.columns_;
      if (s.instruction->code == kTotal) {
        totals_[k] += folded(a, n);
      } else if (s.instruction->code != kRowSum) {
        const int64_t here = std::min(columns, n);
        loops_.own.add_rows(a, b, n / here, here, sums + s.offset + first % columns);
      } else if (float* const to = output<float>(outputs_, s.output) + first / columns; columns <= kTile) {
        fold_rows(Fold::Sum, a, columns, columns, n / columns, static_cast<const float*>(nullptr), to);
        for (int64_t r = 0; r < n / columns; ++r) to[r] = s.result(to[r]);
      } else {  // the tile is a part of a row
        totals_[k] = (first % columns == 0 ? 0 : totals_[k]) + folded(a, n);
        if ((first + n) % columns == 0) *to = s.result(totals_[k]);
      }
    }
    static float folded(const float* a, int64_t n) {
      float sum;
      fold_rows(Fold::Sum, a, n, n, 1, static_cast<const float*>(nullptr), &sum);
      return sum;
    }

    static constexpr size_t kMostValues = FusedProgram::kMostInputs + FusedProgram::kMostInstructions,
                            kMostTotals = FusedProgram::kMostInstructions;
    const Machine& m_;
    const Loops& loops_;
    const void* const* inputs_;
    void* const* outputs_;
    float* registers_;
    float* at_[kMostValues];      // by value: the tile
    double totals_[kMostTotals];  // by sum: of the block so far, or of the row
  };

  /// Blocks that are run once the input that is being written has them.
  class Behind final : public BlocksReady {
   public:
    Behind(const Machine& m, int64_t columns, const void* const* inputs, void* const* outputs)
        : BlocksReady(m.space_.total / columns, columns, m.each_ * m.columns_ / columns),
          m_(m),
          inputs_(inputs),
          outputs_(outputs),
          partial_(ScratchUse::kFusedSums, m.blocks_ * m.sums_) {}
    void finish() {
      finish_blocks(m_.block_ns());
      m_.join_sums(partial_.data(), outputs_);
    }

   private:
    void run(int64_t block) override {
      Tiles(m_, loops_, inputs_, outputs_).run_block(block, partial_.data());
    }

    const Machine& m_;
    const Loops loops_;
    const void* const* const inputs_;
    void* const* const outputs_;
    const Temporary<float> partial_;
  };

  double block_ns() const {
    return 0.15 * static_cast<double>(each_ * columns_) * static_cast<double>(program_.instructions.size());
  }

  // Registers for inputs that must be spread out and for values that do not leave; a register is free again
  // after its last reader.
  void assign_registers() {
    values_.resize(program_.inputs.size() + program_.instructions.size());
    for (size_t k = 0; k < program_.outputs.size(); ++k)
      values_[program_.outputs[k]].output = static_cast<int>(k);
    std::vector<int> last(values_.size(), -1), free;
    for (size_t i = 0; i < program_.instructions.size(); ++i)
      for (const int v : program_.instructions[i].operands)
        if (v >= 0) last[v] = static_cast<int>(i);
    for (int v = 0; v < inputs_; ++v)
      if (program_.inputs[v] != FusedOperand::dense || apart_[static_cast<size_t>(v)])
        values_[v].reg = registers_++;
    for (size_t i = 0; i < program_.instructions.size(); ++i) {
      const FusedInstruction& n = program_.instructions[i];
      for (const int v : n.operands) {  // (it may write where it reads)
        if (v < inputs_ || last[v] != static_cast<int>(i) || values_[v].reg < 0) continue;
        free.push_back(values_[v].reg);
        last[v] = -1;
      }
      Value& made = values_[static_cast<size_t>(inputs_) + i];
      if (n.is_sum()) {
        const int64_t width = n.code == kRowSum ? 0 : n.code == kTotal ? 1 : columns_;
        all_sums_.push_back({&n, made.output, sums_, width});
        sums_ += width;
      }
      if (n.is_sum() || (made.output >= 0 && !streams_)) continue;
      if (free.empty()) free.push_back(registers_++);
      made.reg = free.back();
      if (last[static_cast<size_t>(inputs_) + i] >= 0) free.pop_back();  // else it is written and done with
    }
  }

  void join_sums(const float* partial, void* const* outputs) const {
    for (const Sum& s : all_sums_) {
      float* const to = output<float>(outputs, s.output);
      constexpr int64_t kStrip = 64;
      for (int64_t c = 0; c < s.width; c += kStrip) {
        const int64_t n = std::min(kStrip, s.width - c);
        double all[kStrip] = {};
        for (int64_t b = 0; b < blocks_; ++b) {
          const float* const from = partial + b * sums_ + s.offset + c;
          for (int64_t i = 0; i < n; ++i) all[i] += static_cast<double>(from[i]);
        }
        for (int64_t i = 0; i < n; ++i) to[c + i] = s.result(all[i]);
      }
    }
  }
  void clear_sums(void* const* outputs) const {
    for (const Sum& s : all_sums_)
      std::fill_n(output<float>(outputs, s.output), s.instruction->code == kRowSum ? space_.rows : s.width,
                  s.result(0));
  }

  const FusedProgram& program_;
  FusedSpace space_;
  bool streams_;
  int inputs_, registers_ = 0;
  int64_t columns_, sums_ = 0;    // elements of a row; of all sums of a block
  int64_t rows_, each_, blocks_;  // in all; of a block; number of blocks
  std::vector<Sum> all_sums_;
  std::vector<int64_t> apart_;  // by input: elements from row to row where they lie apart, else 0
  std::vector<Value> values_;
};

Kernel prepare_fused(const Attrs& attrs, SpecPtrs in, SpecPtrs) {
  return in[0]->dtype == f32 ? prepare_program(*attrs.as<FusedAttrs>().program, in) : Kernel();
}

}  // namespace

Kernel prepare_program(const FusedProgram& program, SpecPtrs in) {
  const auto machine = std::make_shared<const Machine>(program, in, true);
  return [machine](ExecContext&, const void* const* inputs, void* const* outputs) {
    machine->run(inputs, outputs);
  };
}

RunBehind prepare_program_behind(const FusedProgram& program, SpecPtrs in, int64_t columns) {
  const auto machine = std::make_shared<const Machine>(program, in, false, columns);
  return [machine, columns](const void* const* inputs, void* const* outputs, const Write& write) {
    machine->run_behind(columns, inputs, outputs, write);
  };
}

std::vector<KernelEntry> fused_kernels() { return {{&ops::fused, prepare_fused}}; }

}  // namespace hebb::cpu
#endif  // HWY_ONCE
