#!/usr/bin/env python3
"""Writes tests/golden/optim.safetensors and schedules.safetensors: what PyTorch's optimizers and schedules do.

Needs torch, numpy and safetensors. Each file's metadata holds, by name, the options that made its tensors, as
JSON: the C++ tests read them from there, so that no list of cases is kept twice.
"""
import json
import math
import pathlib

import torch
from torch.optim import lr_scheduler
from safetensors.torch import save_file

GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden"
STEPS = 100
SHAPES = [(3, 4), (5,)]

OPTIMIZERS = {"sgd": torch.optim.SGD, "rmsprop": torch.optim.RMSprop, "adagrad": torch.optim.Adagrad,
              "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}

OPTIMIZER_CASES = {
    "sgd": ("sgd", {"lr": 0.05}),
    "sgd_decay_maximize": ("sgd", {"lr": 0.01, "weight_decay": 0.1, "maximize": True}),
    "sgd_momentum": ("sgd", {"lr": 0.05, "momentum": 0.9}),
    "sgd_dampening": ("sgd", {"lr": 0.05, "momentum": 0.8, "dampening": 0.3, "weight_decay": 0.01}),
    "sgd_nesterov": ("sgd", {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01, "nesterov": True}),
    "sgd_momentum_maximize": ("sgd", {"lr": 0.002, "momentum": 0.9, "maximize": True}),
    "rmsprop": ("rmsprop", {}),
    "rmsprop_decay": ("rmsprop", {"lr": 0.02, "alpha": 0.9, "eps": 1e-6, "weight_decay": 0.05}),
    "rmsprop_momentum": ("rmsprop", {"momentum": 0.9}),
    "rmsprop_centered": ("rmsprop", {"centered": True}),
    "rmsprop_all": ("rmsprop", {"momentum": 0.5, "centered": True, "weight_decay": 0.01, "maximize": True}),
    "adagrad": ("adagrad", {}),
    "adagrad_all": ("adagrad", {"lr": 0.1, "lr_decay": 0.02, "weight_decay": 0.1,
                                "initial_accumulator_value": 0.1, "eps": 1e-7, "maximize": True}),
    "adam": ("adam", {"lr": 0.01}),
    "adam_decay": ("adam", {"lr": 0.02, "betas": [0.8, 0.95], "eps": 1e-6, "weight_decay": 0.1}),
    "adam_amsgrad": ("adam", {"lr": 0.02, "betas": [0.9, 0.9], "amsgrad": True, "maximize": True}),
    "adamw": ("adamw", {"lr": 0.01}),
    "adamw_amsgrad": ("adamw", {"lr": 0.02, "betas": [0.85, 0.9], "weight_decay": 0.3, "amsgrad": True}),
}

# scheduler, its options, optimizer, its options
SCHEDULE_CASES = {
    "step": ("StepLR", {"step_size": 7, "gamma": 0.8}, "sgd", {"lr": 0.3}),
    "multi_step": ("MultiStepLR", {"milestones": [10, 40, 40, 80], "gamma": 0.5}, "sgd", {"lr": 0.3}),
    "exponential": ("ExponentialLR", {"gamma": 0.97}, "sgd", {"lr": 0.3}),
    "cosine": ("CosineAnnealingLR", {"T_max": 30, "eta_min": 0.001}, "sgd", {"lr": 0.3}),
    "cosine_once": ("CosineAnnealingLR", {"T_max": 100}, "sgd", {"lr": 0.3}),
    "linear": ("LinearLR", {"start_factor": 0.1, "total_iters": 20}, "adam", {"lr": 0.3}),
    "linear_default": ("LinearLR", {}, "sgd", {"lr": 0.3}),
    "linear_down": ("LinearLR", {"start_factor": 1.0, "end_factor": 0.05, "total_iters": 60}, "sgd", {"lr": 0.3}),
    "one_cycle": ("OneCycleLR", {"max_lr": 0.5, "total_steps": 101}, "sgd", {"lr": 0.3, "momentum": 0.9}),
    "one_cycle_linear": ("OneCycleLR", {"max_lr": 0.5, "epochs": 10, "steps_per_epoch": 11,
                                        "anneal_strategy": "linear", "div_factor": 10.0,
                                        "final_div_factor": 100.0}, "adam", {"lr": 0.3}),
    "one_cycle_three": ("OneCycleLR", {"max_lr": [0.5, 0.05], "total_steps": 105, "three_phase": True,
                                       "pct_start": 0.4, "base_momentum": 0.7, "max_momentum": 0.99},
                        "rmsprop", {"lr": 0.3}),
    "one_cycle_plain": ("OneCycleLR", {"max_lr": 0.5, "total_steps": 100, "cycle_momentum": False},
                        "adagrad", {"lr": 0.3}),
    "plateau": ("ReduceLROnPlateau", {"patience": 3, "factor": 0.5}, "sgd", {"lr": 0.3}),
    "plateau_abs": ("ReduceLROnPlateau", {"patience": 2, "factor": 0.5, "threshold": 0.05,
                                          "threshold_mode": "abs", "cooldown": 4, "min_lr": [0.01, 0.001]},
                    "sgd", {"lr": 0.3}),
    "plateau_max": ("ReduceLROnPlateau", {"mode": "max", "patience": 1, "factor": 0.7, "eps": 0.02},
                    "sgd", {"lr": 0.3}),
    "plateau_max_abs": ("ReduceLROnPlateau", {"mode": "max", "patience": 5, "threshold": 0.1,
                                              "threshold_mode": "abs"}, "sgd", {"lr": 0.3}),
}


def start(shape: tuple[int, ...], p: int) -> torch.Tensor:
    n = math.prod(shape)
    return torch.tensor([math.cos(1.7 * i + p) for i in range(n)], dtype=torch.float64).reshape(shape)


def gradient(w: torch.Tensor, t: int) -> torch.Tensor:
    """A quadratic's gradient, moved about by time and bent: sin(i + 0.1 t) + 0.3 w + 0.05 w^3."""
    wave = torch.tensor([math.sin(i + 0.1 * t) for i in range(w.numel())], dtype=torch.float64)
    return wave.reshape(w.shape) + 0.3 * w + 0.05 * w * w * w


def make(name: str, options: dict, params: list) -> torch.optim.Optimizer:
    options = {k: tuple(v) if k == "betas" else v for k, v in options.items()}
    return OPTIMIZERS[name](params, foreach=False, **options)


def run_optimizers() -> None:
    tensors, metadata = {}, {}
    for key, (name, options) in OPTIMIZER_CASES.items():
        params = [torch.nn.Parameter(start(s, p)) for p, s in enumerate(SHAPES)]
        optimizer = make(name, options, params)
        for t in range(1, STEPS + 1):
            for w in params:
                w.grad = gradient(w.detach(), t)
            optimizer.step()
            if t in (1, 10, STEPS):
                for p, w in enumerate(params):
                    tensors[f"{key}.{p}.step{t}"] = w.detach().clone()
        metadata[key] = json.dumps({"optimizer": name, "options": options})
    save_file(tensors, GOLDEN / "optim.safetensors", metadata)


def metric(t: int) -> float:
    """Falls, stalls and falls again, with ripples."""
    return math.exp(-0.05 * min(t, 40) - 0.05 * max(0, t - 70)) + 0.1 * math.sin(1.3 * t)


def momentum_of(group: dict) -> float:
    return group["betas"][0] if "betas" in group else group.get("momentum", 0.0)


def record(optimizer: torch.optim.Optimizer, advance) -> tuple[torch.Tensor, torch.Tensor]:
    """Rates and momenta of both groups at steps 0 to STEPS."""
    lrs, momenta = [], []
    for t in range(STEPS + 1):
        if t:
            optimizer.step()
            advance(t)
        lrs.append([float(g["lr"]) for g in optimizer.param_groups])
        momenta.append([float(momentum_of(g)) for g in optimizer.param_groups])
    return torch.tensor(lrs, dtype=torch.float64), torch.tensor(momenta, dtype=torch.float64)


def two_groups(name: str, options: dict) -> torch.optim.Optimizer:
    groups = [{"params": [torch.nn.Parameter(torch.ones(2))]},
              {"params": [torch.nn.Parameter(torch.ones(3))], "lr": options["lr"] / 10}]
    return make(name, options, groups)


def composites() -> dict:
    """Schedules of schedules; the C++ tests build the same."""
    sgd = [two_groups("sgd", {"lr": 0.3}) for _ in range(3)]
    warm = lr_scheduler.SequentialLR(
        sgd[0], [lr_scheduler.LinearLR(sgd[0], 0.1, total_iters=10), lr_scheduler.CosineAnnealingLR(sgd[0], 60),
                 lr_scheduler.ExponentialLR(sgd[0], 0.9)], [10, 70])
    steps = lr_scheduler.SequentialLR(
        sgd[1], [lr_scheduler.MultiStepLR(sgd[1], [5, 9], 0.5), lr_scheduler.StepLR(sgd[1], 8, 0.7),
                 lr_scheduler.LinearLR(sgd[1], 0.2)], [20, 61])
    chained = lr_scheduler.ChainedScheduler(
        [lr_scheduler.LinearLR(sgd[2], 0.1, total_iters=10), lr_scheduler.ExponentialLR(sgd[2], 0.98),
         lr_scheduler.MultiStepLR(sgd[2], [30, 60], 0.3)])
    return {"sequential": (sgd[0], warm), "sequential_steps": (sgd[1], steps), "chained": (sgd[2], chained)}


def run_schedules() -> None:
    tensors, metadata = {"metric": torch.tensor([metric(t) for t in range(STEPS + 1)], dtype=torch.float64)}, {}
    for key, (name, options, optimizer_name, optimizer_options) in SCHEDULE_CASES.items():
        optimizer = two_groups(optimizer_name, optimizer_options)
        scheduler = getattr(lr_scheduler, name)(optimizer, **options)
        plateau = name == "ReduceLROnPlateau"
        tensors[f"{key}.lr"], tensors[f"{key}.momentum"] = record(
            optimizer, lambda t: scheduler.step(metric(t)) if plateau else scheduler.step())
        metadata[key] = json.dumps({"scheduler": name, "options": options, "optimizer": optimizer_name,
                                    "optimizer_options": optimizer_options})
    for key, (optimizer, scheduler) in composites().items():
        tensors[f"{key}.lr"], _ = record(optimizer, lambda t: scheduler.step())
    save_file(tensors, GOLDEN / "schedules.safetensors", metadata)


if __name__ == "__main__":
    run_optimizers()
    run_schedules()
