// Losses with all their options, against PyTorch: values and gradients (tools/golden/functions.py).
#include <gtest/gtest.h>

#include "hebb/ops/creation.h"
#include "hebb/ops/loss.h"
#include "hebb/ops/view.h"
#include "tests/support/golden.h"

namespace hebb::test_support {
namespace {

GoldenFunctions losses() {
  GoldenFunctions f{
      {"hinge_loss/mean", [](In x) -> Out { return {hinge_loss(x[0], x[1])}; }},
      {"l1_loss/kink", [](In x) -> Out { return {l1_loss(x[0], zeros_like(x[0]))}; }},
      {"huber_loss/kink", [](In x) -> Out { return {huber_loss(x[0], zeros_like(x[0]))}; }},
      {"smooth_l1_loss/kink", [](In x) -> Out { return {smooth_l1_loss(x[0], zeros_like(x[0]))}; }},
      {"smooth_l1_loss/beta0", [](In x) -> Out { return {smooth_l1_loss(x[0], x[1], 0)}; }},
      {"bce/certain",
       [](In x) -> Out { return {binary_cross_entropy(x[0], x[1], {.reduction = Reduction::none})}; }},
      {"bce_logits/large",
       [](In x) -> Out {
         return {binary_cross_entropy_with_logits(x[0], x[1], {.reduction = Reduction::none})};
       }},
      {"kl_div/zeros", [](In x) -> Out { return {kl_div(x[0], x[1], {.reduction = Reduction::sum})}; }},
      {"triplet_margin_loss/1",
       [](In x) -> Out { return {triplet_margin_loss(x[0], x[1], x[2], {.margin = 0.5, .p = 1})}; }},
      {"triplet_margin_loss/swap",
       [](In x) -> Out {
         return {triplet_margin_loss(x[0], x[1], x[2], {.margin = 2, .p = 3, .swap = true})};
       }},
      {"cosine_embedding_loss/one",
       [](In x) -> Out { return {cosine_embedding_loss(x[0], x[1], select(x[2], 0, 0))}; }},
  };
  const std::pair<const char*, Reduction> reductions[] = {
      {"mean", Reduction::mean}, {"sum", Reduction::sum}, {"none", Reduction::none}};
  for (const auto& [text, reduction] : reductions) {
    const Reduction r = reduction;
    auto add = [&, name = std::string(text)](const std::string& loss, auto fn) {
      f[loss + "/" + name] = [fn](In x) -> Out { return {fn(x)}; };
    };
    add("mse_loss", [r](In x) { return mse_loss(x[0], x[1], r); });
    add("l1_loss", [r](In x) { return l1_loss(x[0], x[1], r); });
    add("huber_loss", [r](In x) { return huber_loss(x[0], x[1], 0.7, r); });
    add("smooth_l1_loss", [r](In x) { return smooth_l1_loss(x[0], x[1], 0.5, r); });
    add("kl_div", [r](In x) { return kl_div(x[0], x[1], {.reduction = r}); });
    add("kl_div/log", [r](In x) { return kl_div(x[0], x[1], {.log_target = true, .reduction = r}); });
    add("hinge_embedding_loss", [r](In x) { return hinge_embedding_loss(x[0], x[1], 1.3, r); });
    add("cosine_embedding_loss", [r](In x) { return cosine_embedding_loss(x[0], x[1], x[2], 0.2, r); });
    add("triplet_margin_loss", [r](In x) { return triplet_margin_loss(x[0], x[1], x[2], {.reduction = r}); });
    add("bce", [r](In x) { return binary_cross_entropy(x[0], x[1], {.weight = x[2], .reduction = r}); });
    add("bce_logits", [r](In x) {
      return binary_cross_entropy_with_logits(x[0], x[1],
                                              {.weight = x[2], .pos_weight = x[3], .reduction = r});
    });
    add("cross_entropy/soft", [r](In x) {
      return cross_entropy(x[0], x[1], {.weight = x[2], .label_smoothing = 0.1, .reduction = r});
    });
    add("cross_entropy/hard", [r](In x) {
      return cross_entropy(x[0], x[1],
                           {.weight = x[2], .ignore_index = 2, .label_smoothing = 0.1, .reduction = r});
    });
  }
  return f;
}

TEST(LossesGoldenTest, EqualPyTorchInF64) {
  expect_golden(golden_file("losses.safetensors"), losses(), f64, 1e-12);
}
TEST(LossesGoldenTest, EqualPyTorchInF32) {
  expect_golden(golden_file("losses.safetensors"), losses(), f32, 1e-5);
}

}  // namespace
}  // namespace hebb::test_support
