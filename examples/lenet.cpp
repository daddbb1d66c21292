// LeNet-5 on MNIST: define, train, test. Run from the repository's root.
#include <hebb/hebb.h>

#include <cstdio>

using namespace hebb;

struct LeNet : nn::Module {
  nn::Conv2d conv1{1, 6, {.kernel_size = 5, .padding = 2}}, conv2{6, 16, {.kernel_size = 5}};
  nn::Linear fc1{400, 120}, fc2{120, 84}, fc3{84, 10};

  Tensor forward(const Tensor& x) {
    Tensor h = max_pool2d(relu(conv1(x)), 2);
    h = max_pool2d(relu(conv2(h)), 2);
    h = relu(fc1(flatten(h, 1)));
    return fc3(relu(fc2(h)));
  }
  HEBB_MEMBERS(conv1, conv2, fc1, fc2, fc3)
};

int main() {
  manual_seed(1);
  LeNet net;
  const data::Splits mnist = data::load_source("mnist");
  data::DataLoader train_set(mnist.train, {.batch_size = 64, .shuffle = true});
  data::DataLoader val_set(mnist.val, {.batch_size = 500}), test_set(mnist.test, {.batch_size = 500});
  optim::SGD sgd(net.parameters(), {.lr = 0.05, .momentum = 0.9});
  auto loss = [](const Tensor& output, const Tensor& target) { return cross_entropy(output, target); };
  train::Trainer trainer(net, loss, sgd, {.epochs = 1});
  trainer.add_callback(std::make_shared<train::ProgressBar>());
  trainer.fit(train_set, &val_set);
  std::printf("test accuracy %.2f %%\n", 100 * trainer.evaluate(test_set).accuracy);
}
