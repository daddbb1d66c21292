#include "cli/bench_networks.h"

#include <cmath>
#include <optional>

#include "hebb/nn/activation.h"
#include "hebb/nn/conv.h"
#include "hebb/nn/linear.h"
#include "hebb/nn/norm.h"
#include "hebb/nn/recurrent.h"
#include "hebb/nn/transformer.h"
#include "hebb/ops/creation.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/join.h"
#include "hebb/ops/loss.h"
#include "hebb/ops/pool.h"
#include "hebb/ops/random.h"
#include "hebb/ops/reduce.h"
#include "hebb/ops/view.h"
#include "hebb/optim/adam.h"
#include "hebb/optim/sgd.h"

namespace hebb::cli {
namespace {

struct LeNet : nn::Module {
  nn::Conv2d c1{1, 6, {.kernel_size = 5, .padding = 2}}, c2{6, 16, {.kernel_size = 5}};
  nn::Linear f1{400, 120}, f2{120, 84}, f3{84, 10};
  Tensor forward(const Tensor& x) {
    const Tensor h = max_pool2d(relu(c2(max_pool2d(relu(c1(x)), 2))), 2);
    return f3(relu(f2(relu(f1(flatten(h, 1))))));
  }
  HEBB_MEMBERS(c1, c2, f1, f2, f3)
};

nn::Conv2d conv(int64_t in, int64_t out, int64_t kernel, int64_t stride = 1) {
  return {in, out, {.kernel_size = kernel, .stride = stride, .padding = kernel / 2, .bias = false}};
}

// ResNet's shortcut where the shape changes.
std::optional<nn::Sequential> shortcut(int64_t in, int64_t out, int64_t stride) {
  if (stride == 1 && in == out) return std::nullopt;
  return nn::Sequential(conv(in, out, 1, stride), nn::BatchNorm2d(out));
}

struct BasicBlock : nn::Module {
  nn::Conv2d c1, c2;
  nn::BatchNorm2d b1, b2;
  std::optional<nn::Sequential> d;
  BasicBlock(int64_t in, int64_t out, int64_t stride)
      : c1(conv(in, out, 3, stride)), c2(conv(out, out, 3)), b1(out), b2(out), d(shortcut(in, out, stride)) {}
  Tensor forward(const Tensor& x) {
    const Tensor y = b2(c2(relu(b1(c1(x)))));
    return relu(y + (d ? (*d)(x) : x));
  }
  HEBB_MEMBERS(c1, b1, c2, b2, d)
};

struct Bottleneck : nn::Module {
  nn::Conv2d c1, c2, c3;
  nn::BatchNorm2d b1, b2, b3;
  std::optional<nn::Sequential> d;
  Bottleneck(int64_t in, int64_t middle, int64_t stride)
      : c1(conv(in, middle, 1)),
        c2(conv(middle, middle, 3, stride)),
        c3(conv(middle, 4 * middle, 1)),
        b1(middle),
        b2(middle),
        b3(4 * middle),
        d(shortcut(in, 4 * middle, stride)) {}
  Tensor forward(const Tensor& x) {
    const Tensor y = b3(c3(relu(b2(c2(relu(b1(c1(x))))))));
    return relu(y + (d ? (*d)(x) : x));
  }
  HEBB_MEMBERS(c1, b1, c2, b2, c3, b3, d)
};

// ResNet-18 with the stem for images of 32x32.
struct ResNet18 : nn::Module {
  nn::Conv2d c = conv(3, 64, 3);
  nn::BatchNorm2d b{64};
  nn::Sequential l;
  nn::Linear f{512, 10};
  ResNet18() {
    int64_t in = 64;
    for (const int64_t out : {64, 128, 256, 512}) {
      l.push_back(BasicBlock(in, out, out == 64 ? 1 : 2));
      l.push_back(BasicBlock(out, out, 1));
      in = out;
    }
  }
  Tensor forward(const Tensor& x) { return f(mean(l(relu(b(c(x)))), {2, 3})); }
  HEBB_MEMBERS(c, b, l, f)
};

struct ResNet50 : nn::Module {
  nn::Conv2d c = conv(3, 64, 7, 2);
  nn::BatchNorm2d b{64};
  nn::Sequential l;
  nn::Linear f{2048, 1000};
  ResNet50() {
    struct Stage {
      int64_t middle, blocks;
    };
    int64_t in = 64;
    for (const auto [middle, blocks] : {Stage{64, 3}, {128, 4}, {256, 6}, {512, 3}}) {
      for (int64_t k = 0; k < blocks; ++k) {
        l.push_back(Bottleneck(in, middle, k == 0 && middle != 64 ? 2 : 1));
        in = 4 * middle;
      }
    }
  }
  Tensor forward(const Tensor& x) {
    return f(mean(l(max_pool2d(relu(b(c(x))), 3, {.stride = 2, .padding = 1})), {2, 3}));
  }
  HEBB_MEMBERS(c, b, l, f)
};

nn::Sequential two_convs(int64_t in, int64_t out) {
  const nn::Conv2dOptions same{.kernel_size = 3, .padding = 1};
  return nn::Sequential(nn::Conv2d(in, out, same), nn::ReLU(), nn::Conv2d(out, out, same), nn::ReLU());
}

struct UNet : nn::Module {
  static constexpr int64_t kWidth = 32;
  nn::Sequential d1 = two_convs(1, kWidth), d2 = two_convs(kWidth, 2 * kWidth),
                 d3 = two_convs(2 * kWidth, 4 * kWidth), d4 = two_convs(4 * kWidth, 8 * kWidth);
  nn::ConvTranspose2d u3 = up(4 * kWidth), u2 = up(2 * kWidth), u1 = up(kWidth);
  nn::Sequential e3 = two_convs(8 * kWidth, 4 * kWidth), e2 = two_convs(4 * kWidth, 2 * kWidth),
                 e1 = two_convs(2 * kWidth, kWidth);
  nn::Conv2d o{kWidth, 1, {.kernel_size = 1}};
  static nn::ConvTranspose2d up(int64_t out) { return {2 * out, out, {.kernel_size = 2, .stride = 2}}; }
  Tensor forward(const Tensor& x) {
    const Tensor a = d1(x), b = d2(max_pool2d(a, 2)), c = d3(max_pool2d(b, 2)), d = d4(max_pool2d(c, 2));
    const Tensor y = e3(cat({u3(d), c}, 1)), z = e2(cat({u2(y), b}, 1));
    return o(e1(cat({u1(z), a}, 1)));
  }
  HEBB_MEMBERS(d1, d2, d3, d4, u3, u2, u1, e3, e2, e1, o)
};

// The next of 96 characters after each of a text.
struct CharLSTM : nn::Module {
  static constexpr int64_t kCharacters = 96, kHidden = 256, kSteps = 64;
  nn::Embedding e{kCharacters, kHidden};
  nn::LSTM l{kHidden, kHidden, {.num_layers = 2, .batch_first = true}};
  nn::Linear o{kHidden, kCharacters};
  Tensor forward(const Tensor& x) { return flatten(o(l(e(x)).output), 0, 1); }
  HEBB_MEMBERS(e, l, o)
};

// The next character after each of a text, by a transformer that looks back only.
struct CharTransformer : nn::Module {
  static constexpr int64_t kCharacters = 96, kWidth = 256, kSteps = 128;
  nn::Embedding e{kCharacters, kWidth};
  nn::Parameter p{zeros({kSteps, kWidth})};
  nn::Buffer m{triu(full({kSteps, kSteps}, -INFINITY), 1)};  // PyTorch's mask: kept for its weights' names
  std::vector<nn::TransformerEncoderLayer> b;
  nn::Linear o{kWidth, kCharacters};
  CharTransformer() {
    for (int i = 0; i < 4; ++i) {
      b.push_back({kWidth,
                   8,
                   {.dim_feedforward = 4 * kWidth,
                    .dropout = 0,
                    .activation = "gelu",
                    .batch_first = true,
                    .norm_first = true}});
    }
  }
  Tensor forward(const Tensor& x) {
    Tensor y = e(x) + p;
    for (nn::TransformerEncoderLayer& layer : b) y = layer(y, nn::AttentionCall{.is_causal = true});
    return flatten(o(y), 0, 1);
  }
  HEBB_MEMBERS(e, p, m, b, o)
};

Tensor class_loss(const Tensor& output, const Tensor& target) { return cross_entropy(output, target); }

// A classifier of images trained by SGD with momentum.
template <class Net>
Workload classifier(int64_t batch, const Shape& image, int64_t classes) {
  Shape x = image;
  x.insert(0, batch);
  nn::AnyModule net{Net()};
  auto sgd = std::make_unique<optim::SGD>(net->parameters(), optim::SGDOptions{.lr = 0.01, .momentum = 0.9});
  return {std::move(net), class_loss, std::move(sgd), randn(x), randint(0, classes, {batch})};
}

Workload playground(int64_t batch) {
  nn::AnyModule net{
      nn::Sequential(nn::Linear(2, 8), nn::Tanh(), nn::Linear(8, 8), nn::Tanh(), nn::Linear(8, 1))};
  auto sgd = std::make_unique<optim::SGD>(net->parameters(), optim::SGDOptions{.lr = 0.03});
  return {std::move(net), [](const Tensor& out, const Tensor& y) { return mse_loss(out, y); }, std::move(sgd),
          randn({batch, 2}), sign(randn({batch, 1}))};
}

Workload mnist_mlp(int64_t batch) {
  nn::AnyModule net{nn::Sequential(nn::Linear(784, 512), nn::ReLU(), nn::Linear(512, 512), nn::ReLU(),
                                   nn::Linear(512, 10))};
  auto adam = std::make_unique<optim::Adam>(net->parameters(), optim::AdamOptions{.lr = 1e-3});
  return {std::move(net), class_loss, std::move(adam), randn({batch, 784}), randint(0, 10, {batch})};
}

Workload unet(int64_t batch) {
  nn::AnyModule net{UNet()};
  auto adam = std::make_unique<optim::Adam>(net->parameters(), optim::AdamOptions{.lr = 1e-3});
  return {std::move(net),
          [](const Tensor& out, const Tensor& y) { return binary_cross_entropy_with_logits(out, y); },
          std::move(adam), randn({batch, 1, 128, 128}), round(rand({batch, 1, 128, 128}))};
}

// A network that reads texts and tells the next characters.
template <class Net>
Workload text_model(int64_t batch) {
  nn::AnyModule net{Net()};
  auto adam = std::make_unique<optim::Adam>(net->parameters(), optim::AdamOptions{.lr = 1e-3});
  return {std::move(net), class_loss, std::move(adam), randint(0, Net::kCharacters, {batch, Net::kSteps}),
          randint(0, Net::kCharacters, {batch * Net::kSteps})};
}

}  // namespace

std::span<const WorkloadType> workload_types() {
  static constexpr WorkloadType types[] = {
      {"playground-mlp", "2-8-8-1, tanh, SGD", 30, playground},
      {"mlp-mnist-b128", "784-512-512-10, ReLU, Adam", 128, mnist_mlp},
      {"lenet-b64", "LeNet-5, SGD with momentum", 64,
       [](int64_t batch) {
         return classifier<LeNet>(batch, {1, 28, 28}, 10);
       }},
      {"resnet18-cifar-b64", "ResNet-18 for 32x32, SGD with momentum", 64,
       [](int64_t batch) {
         return classifier<ResNet18>(batch, {3, 32, 32}, 10);
       }},
      {"resnet50-224-b8", "ResNet-50, 224x224, SGD with momentum", 8,
       [](int64_t batch) {
         return classifier<ResNet50>(batch, {3, 224, 224}, 1000);
       }},
      {"unet32-128-b4", "U-Net of width 32, 128x128, Adam", 4, unet},
      {"charlstm-b32-t64", "embedding, 2 LSTM layers of 256, 64 steps, Adam", 32, text_model<CharLSTM>},
      {"transformer-b16-t128", "4 encoder layers of 256, 8 heads, 128 steps, Adam", 16,
       text_model<CharTransformer>},
  };
  return types;
}

}  // namespace hebb::cli
