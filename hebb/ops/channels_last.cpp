#include "hebb/ops/channels_last.h"

#include "hebb/ops/op_support.h"
#include "hebb/ops/table.h"
#include "hebb/ops/view.h"

namespace hebb {

using namespace detail;

namespace {

// The op `first` with the images of these inputs and outputs turned.
template <const OpDef& first, uint32_t kInputs, uint32_t kOutputs>
struct Turned {
  static Shape turned_input(size_t i, const Shape& s) {
    return (kInputs >> i & 1) && s.ndim() == 4 ? to_nchw_shape(s) : s;
  }
  // Calls fn with what `first` is given.
  template <class F>
  static auto with_specs(SpecPtrs in, F fn) {
    std::vector<TensorSpec> specs;
    std::vector<const TensorSpec*> pointers;
    for (size_t i = 0; i < in.size(); ++i) {
      HEBB_CHECK(!(kInputs >> i & 1) || in[i]->shape.ndim() == 4,
                 "[{}_nhwc] expected an input of 4 dimensions [N, H, W, C], got {}", first.name,
                 in[i]->shape.str());
      specs.emplace_back(turned_input(i, in[i]->shape), in[i]->dtype, in[i]->device);
    }
    for (const TensorSpec& s : specs) pointers.push_back(&s);
    return fn(SpecPtrs(pointers));
  }
  static Specs infer(SpecPtrs in, const Attrs& attrs) {
    return with_specs(in, [&](SpecPtrs nchw) {
      Specs out;
      int i = 0;
      for (const TensorSpec& s : first.infer(nchw, attrs))
        out.push_back(kOutputs >> i++ & 1 ? TensorSpec(to_nhwc_shape(s.shape), s.dtype, s.device) : s);
      return out;
    });
  }
  static int64_t multiply_adds(SpecPtrs in, const Specs&, const Attrs& attrs) {
    return with_specs(
        in, [&](SpecPtrs nchw) { return first.multiply_adds(nchw, first.infer(nchw, attrs), attrs); });
  }
  static Outputs decompose(const Attrs& attrs, std::span<const Tensor> inputs) {
    std::vector<Tensor> nchw;
    for (size_t i = 0; i < inputs.size(); ++i)
      nchw.push_back(kInputs >> i & 1 ? permute(inputs[i], {0, 3, 1, 2}) : inputs[i]);
    Outputs out;
    int i = 0;
    for (const Tensor& t : apply(first, attrs, nchw))
      out.push_back(kOutputs >> i++ & 1 ? permute(t, {0, 2, 3, 1}) : t);
    return out;
  }
  // Those of `first` whose images have four dimensions, turned.
  static std::vector<Sample> samples() {
    std::vector<Sample> all = first.samples();
    std::erase_if(all, [](const Sample& s) {
      for (size_t i = 0; i < s.inputs.size(); ++i)
        if ((kInputs >> i & 1) && s.inputs[i].shape.ndim() != 4) return true;
      return false;
    });
    for (Sample& s : all)
      for (size_t i = 0; i < s.inputs.size(); ++i)
        if (kInputs >> i & 1) s.inputs[i].shape = to_nhwc_shape(s.inputs[i].shape);
    return all;
  }
  static OpDef def(std::string_view name, std::string_view doc) {
    return {.name = name,
            .kind = first.kind,
            .doc = doc,
            .infer = infer,
            .decompose = decompose,
            .samples = samples,
            .never_throws = first.never_throws,
            .multiply_adds = first.multiply_adds ? multiply_adds : nullptr};
  }
};

constexpr const char* kDoc = "the op without _nhwc, of images [N, H, W, C]";

template <bool to_nhwc>
OpDef turning(std::string_view name, std::string_view doc) {
  return {.name = name,
          .kind = Kind::Opaque,
          .doc = doc,
          .infer = [](SpecPtrs in, const Attrs&) -> Specs {
            const Shape& s = in[0]->shape;
            HEBB_CHECK(s.ndim() == 4, "[{}] expected an input of 4 dimensions, got {}",
                       to_nhwc ? "nchw_to_nhwc" : "nhwc_to_nchw", s.str());
            return TensorSpec(to_nhwc ? to_nhwc_shape(s) : to_nchw_shape(s), in[0]->dtype, in[0]->device);
          },
          .decompose = [](const Attrs&, std::span<const Tensor> in) -> Outputs {
            return clone(permute(in[0], to_nhwc ? Shape{0, 2, 3, 1} : Shape{0, 3, 1, 2}));
          },
          .samples = []() -> std::vector<Sample> {
            return {{"rgb", {{{2, 3, 5, 4}}}, NoAttrs{}}, {"empty", {{{2, 0, 5, 4}}}, NoAttrs{}}};
          },
          .error_samples = []() -> std::vector<ErrorSample> {
            return {{{{{2, 3, 5}}}, NoAttrs{}, "expected an input of 4 dimensions, got 2x3x5"}};
          },
          .never_throws = true};
}

}  // namespace

namespace ops {

const OpDef nchw_to_nhwc = turning<true>("nchw_to_nhwc", "a copy of x [N, C, H, W] as [N, H, W, C]");
const OpDef nhwc_to_nchw = turning<false>("nhwc_to_nchw", "a copy of x [N, H, W, C] as [N, C, H, W]");

// Op, images among its inputs and outputs.
#define HEBB_CHANNELS_LAST(X) \
  X(conv2d, 1, 1)             \
  X(conv2d_input_grad, 1, 1)  \
  X(conv2d_weight_grad, 3, 0) \
  X(max_pool2d, 1, 3)         \
  X(max_pool2d_grad, 3, 1)    \
  X(avg_pool2d, 1, 1)         \
  X(avg_pool2d_grad, 1, 1)

#define HEBB_DEFINE(name, in, out) const OpDef name##_nhwc = Turned<name, in, out>::def(#name "_nhwc", kDoc);
HEBB_CHANNELS_LAST(HEBB_DEFINE)

std::span<const ChannelsLast> channels_last() {
#define HEBB_ENTRY(name, in, out) {&name, &name##_nhwc, in, out},
  static constexpr ChannelsLast kAll[] = {HEBB_CHANNELS_LAST(HEBB_ENTRY)};
  return kAll;
}

}  // namespace ops
}  // namespace hebb
