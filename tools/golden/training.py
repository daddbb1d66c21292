#!/usr/bin/env python3
"""Writes tests/golden/training.safetensors: the losses of 50 training steps of three networks in PyTorch, f64.

    tools/golden/training.py

Needs torch, numpy and safetensors. tests/train/pytorch_test.cpp trains the same networks with the same numbers:
weights and batches come from uniform() below, whose integer arithmetic and float rounding are exact everywhere.
Tensors: "lenet5.adam" [51], the loss before each step and, last, that of batch 0 in evaluation mode. Metadata:
the options of each optimizer as JSON.
"""
import json
import math
import pathlib

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "training.safetensors"
STEPS, BATCHES = 50, 5

# Rates at which PyTorch's own f32 losses stay within 1e-5 of those in f64: nothing is chaotic.
OPTIMIZERS = {
    "sgd": (torch.optim.SGD, {"lr": 0.02, "momentum": 0.9, "weight_decay": 0.001, "nesterov": True}),
    "rmsprop": (torch.optim.RMSprop, {"lr": 0.0005, "alpha": 0.95, "momentum": 0.5}),
    "adagrad": (torch.optim.Adagrad, {"lr": 0.005, "lr_decay": 0.001}),
    "adam": (torch.optim.Adam, {"lr": 0.002, "betas": [0.9, 0.99], "weight_decay": 0.001}),
    "adamw": (torch.optim.AdamW, {"lr": 0.002, "weight_decay": 0.05}),
}


class MLP(nn.Module):
    shape, classes = (4, 12), 5  # of a batch

    def __init__(self):
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(12, 16), nn.Linear(16, 16), nn.Linear(16, 5)

    def forward(self, x):
        return self.fc3(F.relu(self.fc2(torch.tanh(self.fc1(x)))))


class LeNet5(nn.Module):
    shape, classes = (4, 1, 28, 28), 10

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x.flatten(1))))))


class Block(nn.Module):
    """Source: He et al., 2015."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.down = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.bn3(self.down(x)))


class ResNet(nn.Module):
    shape, classes = (8, 3, 8, 8), 4

    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.block = Block(6, 8, 2)
        self.fc = nn.Linear(8, 4)

    def forward(self, x):
        x = self.block(F.relu(self.bn(self.conv(x))))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


def hashed(count: int, seed: int) -> np.ndarray:
    """32 random bits for each i (lowbias32, https://nullprogram.com/blog/2018/07/31/)."""
    x = np.arange(count, dtype=np.uint32) + np.uint32(seed * 0x9E3779B9 & 0xFFFFFFFF)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = (x ^ (x >> np.uint32(shift))) * np.uint32(factor)
    return x ^ (x >> np.uint32(16))


def uniform(shape: tuple[int, ...], seed: int, bound: float) -> torch.Tensor:
    """Values in [-bound, bound) that f32 holds exactly."""
    v = (hashed(math.prod(shape), seed) / 2.0**31 - 1) * bound
    return torch.from_numpy(v.astype(np.float32)).double().reshape(shape)


def batch(model: nn.Module, number: int) -> tuple[torch.Tensor, torch.Tensor]:
    labels = hashed(model.shape[0], 200 + number) % model.classes
    return uniform(model.shape, 100 + number, 1), torch.from_numpy(labels.astype(np.int64))


def losses(model: nn.Module, optimizer: torch.optim.Optimizer) -> torch.Tensor:
    found = []
    for step in range(STEPS):
        x, y = batch(model, step % BATCHES)
        loss = F.cross_entropy(model(x), y)
        found.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    x, y = batch(model, 0)
    found.append(F.cross_entropy(model(x), y).item())
    return torch.tensor(found, dtype=torch.float64)


def main() -> None:
    tensors = {}
    for name, make in {"mlp": MLP, "lenet5": LeNet5, "resnet": ResNet}.items():
        for key, (optimizer, options) in OPTIMIZERS.items():
            model = make().double()
            with torch.no_grad():
                for number, (path, p) in enumerate(model.named_parameters()):
                    if p.ndim > 1:  # the others: scales of 1, biases of 0
                        p.copy_(uniform(tuple(p.shape), number, math.sqrt(3 * len(p) / p.numel())))
                    else:
                        p.fill_(1.0 if path.endswith("weight") else 0.0)
            tensors[f"{name}.{key}"] = losses(model, optimizer(model.parameters(), foreach=False, **options))
    save_file(tensors, OUT, {key: json.dumps(options) for key, (_, options) in OPTIMIZERS.items()})
    OUT.chmod(0o644)
    print(f"{OUT}: {OUT.stat().st_size / 1e3:.0f} kB")
    for name, values in tensors.items():
        print(f"{name:16s}", *(f"{v:.4g}" for v in values[[0, 1, 5, 10, 20, 30, 49, 50]]))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
