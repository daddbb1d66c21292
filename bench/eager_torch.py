#!/usr/bin/env python3
"""The measurements of eager.cpp in PyTorch: eager_torch.py [threads]."""
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

if len(sys.argv) > 1:
    torch.set_num_threads(int(sys.argv[1]))
torch.manual_seed(0)


def time_of(calls, fn):
    best = 1e9
    for _ in range(12):
        begin = time.perf_counter()
        for _ in range(calls):
            fn()
        best = min(best, (time.perf_counter() - begin) / calls)
    return best


def show(what, seconds):
    print(f"{what:<24} {seconds * 1e6:>10.2f} us")


print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
a, b = torch.randn(8), torch.randn(8)
leaf = torch.randn(8, requires_grad=True)
show("add_8", time_of(20000, lambda: torch.add(a, b)))
show("add_8_recorded", time_of(20000, lambda: torch.add(leaf, b)))

x, y = torch.randn(64, 1, 28, 28), torch.randint(0, 10, (64,))
net = nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(),
                    nn.MaxPool2d(2), nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(),
                    nn.Linear(84, 10))
sgd = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)


def forward():
    with torch.no_grad():
        net(x)


def step():
    sgd.zero_grad()
    F.cross_entropy(net(x), y).backward()
    sgd.step()


show("lenet_forward", time_of(50, forward))
show("lenet_step", time_of(50, step))

weights = [torch.randn(512, 512, requires_grad=True) for _ in range(20)]
for w in weights:
    w.grad = torch.randn(512, 512)
show("sgd_momentum", time_of(10, torch.optim.SGD(weights, lr=1e-4, momentum=0.9).step))
show("adam", time_of(10, torch.optim.Adam(weights, lr=1e-4).step))
