"""The networks of `hebb bench` in PyTorch, with the same names of weights, and the batches they are trained on."""
import torch
import torch.nn as nn
import torch.nn.functional as F


def chain(sizes, activation):
    layers = []
    for i, (before, after) in enumerate(zip(sizes, sizes[1:])):
        layers += ([activation()] if i else []) + [nn.Linear(before, after)]
    return nn.Sequential(*layers)


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
        self.f1, self.f2, self.f3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.c1(x)), 2)
        x = F.max_pool2d(F.relu(self.c2(x)), 2).flatten(1)
        return self.f3(F.relu(self.f2(F.relu(self.f1(x)))))


def conv(inside, outside, kernel, stride=1):
    return nn.Conv2d(inside, outside, kernel, stride, kernel // 2, bias=False)


def shortcut(inside, outside, stride):
    if stride == 1 and inside == outside:
        return None
    return nn.Sequential(conv(inside, outside, 1, stride), nn.BatchNorm2d(outside))


class BasicBlock(nn.Module):
    def __init__(self, inside, outside, stride):
        super().__init__()
        self.c1, self.b1 = conv(inside, outside, 3, stride), nn.BatchNorm2d(outside)
        self.c2, self.b2 = conv(outside, outside, 3), nn.BatchNorm2d(outside)
        self.d = shortcut(inside, outside, stride)

    def forward(self, x):
        y = self.b2(self.c2(F.relu(self.b1(self.c1(x)))))
        return F.relu(y + (self.d(x) if self.d else x))


class Bottleneck(nn.Module):
    def __init__(self, inside, middle, stride):
        super().__init__()
        self.c1, self.b1 = conv(inside, middle, 1), nn.BatchNorm2d(middle)
        self.c2, self.b2 = conv(middle, middle, 3, stride), nn.BatchNorm2d(middle)
        self.c3, self.b3 = conv(middle, 4 * middle, 1), nn.BatchNorm2d(4 * middle)
        self.d = shortcut(inside, 4 * middle, stride)

    def forward(self, x):
        y = F.relu(self.b2(self.c2(F.relu(self.b1(self.c1(x))))))
        return F.relu(self.b3(self.c3(y)) + (self.d(x) if self.d else x))


class ResNet18(nn.Module):
    """With the stem for images of 32x32."""

    def __init__(self):
        super().__init__()
        self.c, self.b = conv(3, 64, 3), nn.BatchNorm2d(64)
        blocks, inside = [], 64
        for outside in (64, 128, 256, 512):
            blocks += [BasicBlock(inside, outside, 1 if outside == 64 else 2), BasicBlock(outside, outside, 1)]
            inside = outside
        self.l, self.f = nn.Sequential(*blocks), nn.Linear(512, 10)

    def forward(self, x):
        return self.f(self.l(F.relu(self.b(self.c(x)))).mean((2, 3)))


class ResNet50(nn.Module):
    def __init__(self):
        super().__init__()
        self.c, self.b = conv(3, 64, 7, 2), nn.BatchNorm2d(64)
        blocks, inside = [], 64
        for middle, count in ((64, 3), (128, 4), (256, 6), (512, 3)):
            for k in range(count):
                blocks.append(Bottleneck(inside, middle, 2 if k == 0 and middle != 64 else 1))
                inside = 4 * middle
        self.l, self.f = nn.Sequential(*blocks), nn.Linear(2048, 1000)

    def forward(self, x):
        return self.f(self.l(F.max_pool2d(F.relu(self.b(self.c(x))), 3, 2, 1)).mean((2, 3)))


def two_convs(inside, outside):
    return nn.Sequential(nn.Conv2d(inside, outside, 3, padding=1), nn.ReLU(),
                         nn.Conv2d(outside, outside, 3, padding=1), nn.ReLU())


class UNet(nn.Module):
    def __init__(self, w=32):
        super().__init__()
        self.d1, self.d2 = two_convs(1, w), two_convs(w, 2 * w)
        self.d3, self.d4 = two_convs(2 * w, 4 * w), two_convs(4 * w, 8 * w)
        self.u3, self.u2, self.u1 = (nn.ConvTranspose2d(2 * k, k, 2, 2) for k in (4 * w, 2 * w, w))
        self.e3, self.e2, self.e1 = two_convs(8 * w, 4 * w), two_convs(4 * w, 2 * w), two_convs(2 * w, w)
        self.o = nn.Conv2d(w, 1, 1)

    def forward(self, x):
        a = self.d1(x)
        b = self.d2(F.max_pool2d(a, 2))
        c = self.d3(F.max_pool2d(b, 2))
        d = self.d4(F.max_pool2d(c, 2))
        y = self.e3(torch.cat([self.u3(d), c], 1))
        z = self.e2(torch.cat([self.u2(y), b], 1))
        return self.o(self.e1(torch.cat([self.u1(z), a], 1)))


class CharLSTM(nn.Module):
    """The next of 96 characters after each of a text."""

    def __init__(self, characters=96, hidden=256):
        super().__init__()
        self.e, self.o = nn.Embedding(characters, hidden), nn.Linear(hidden, characters)
        self.l = nn.LSTM(hidden, hidden, 2, batch_first=True)

    def forward(self, x):
        return self.o(self.l(self.e(x))[0]).flatten(0, 1)


class CharTransformer(nn.Module):
    """The same by a transformer that looks back only."""

    def __init__(self, characters=96, width=256, steps=128):
        super().__init__()
        self.e, self.p, self.o = nn.Embedding(characters, width), nn.Parameter(torch.zeros(steps, width)), nn.Linear(width, characters)
        self.b = nn.ModuleList(nn.TransformerEncoderLayer(width, 8, 4 * width, dropout=0.0, batch_first=True,
                                                          norm_first=True, activation="gelu") for _ in range(4))
        self.register_buffer("m", torch.triu(torch.full((steps, steps), -torch.inf), 1))

    def forward(self, x):
        y = self.e(x) + self.p
        for layer in self.b:
            y = layer(y, src_mask=self.m, is_causal=True)
        return self.o(y).flatten(0, 1)


def momentum(parameters):
    return torch.optim.SGD(parameters, lr=0.01, momentum=0.9)


def adam(parameters):
    return torch.optim.Adam(parameters, lr=1e-3)


def images(batch, *shape, classes):
    return lambda: (torch.randn(batch, *shape), torch.randint(classes, (batch,)))


# name: network, batch, loss, optimizer
WORKLOADS = {
    "playground-mlp": (lambda: chain([2, 8, 8, 1], nn.Tanh),
                       lambda: (torch.randn(30, 2), torch.randn(30, 1).sign()), F.mse_loss,
                       lambda p: torch.optim.SGD(p, lr=0.03)),
    "mlp-mnist-b128": (lambda: chain([784, 512, 512, 10], nn.ReLU), images(128, 784, classes=10), F.cross_entropy, adam),
    "lenet-b64": (LeNet, images(64, 1, 28, 28, classes=10), F.cross_entropy, momentum),
    "resnet18-cifar-b64": (ResNet18, images(64, 3, 32, 32, classes=10), F.cross_entropy, momentum),
    "resnet50-224-b8": (ResNet50, images(8, 3, 224, 224, classes=1000), F.cross_entropy, momentum),
    "unet32-128-b4": (UNet, lambda: (torch.randn(4, 1, 128, 128), torch.rand(4, 1, 128, 128).round()),
                      F.binary_cross_entropy_with_logits, adam),
    "charlstm-b32-t64": (CharLSTM, lambda: (torch.randint(96, (32, 64)), torch.randint(96, (32 * 64,))),
                         F.cross_entropy, adam),
    "transformer-b16-t128": (CharTransformer,
                             lambda: (torch.randint(96, (16, 128)), torch.randint(96, (16 * 128,))), F.cross_entropy,
                             adam),
}
