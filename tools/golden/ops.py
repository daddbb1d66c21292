#!/usr/bin/env python3
"""Writes tests/golden/ops.safetensors: what PyTorch computes for the samples of the op table, in f64.

Two steps: a C++ program writes the inputs of all samples, and this script the outputs and gradients.

    cmake --build --preset release --target dump_samples
    build/release/tests/dump_samples /tmp/samples.safetensors
    tools/golden/ops.py /tmp/samples.safetensors

Needs torch, numpy and safetensors. Inputs are not stored: tests/ops/golden_test.cpp makes them again. Tensors
are "conv2d/strided/out0", …, and "conv2d/strided/grad1", the gradient of input 1 for the upstream gradients
that the dump holds. Ops whose names end in _grad are covered by the gradients of their op, those of images
[N, H, W, C] by the op of images [N, C, H, W] that they are tested against.
"""
import json
import pathlib
import re
import sys

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "ops.safetensors"
RANDOM = {"rand", "randn", "randint", "bernoulli", "randperm", "dropout"}
DTYPES = {"f32": torch.float32, "f64": torch.float64, "i64": torch.int64, "i32": torch.int32,
          "bool": torch.bool, "u8": torch.uint8}
REDUCTIONS = ["none", "mean", "sum"]


class Shape(tuple):
    pass


def value_of(text: str):
    if text.startswith("("):
        return tuple(value_of(v) for v in text[1:-1].split(", "))
    if re.fullmatch(r"\d+(x\d+)+", text):
        return Shape(int(n) for n in text.split("x"))
    if text in ("true", "false"):
        return text == "true"
    if text == "scalar":
        return Shape()
    if text in DTYPES:
        return DTYPES[text]
    return int(text) if re.fullmatch(r"-?\d+", text) else float(text)


class Attrs:
    """The attributes of a call by name, from their text: "stride=(1, 2), shape=2x3, keepdim=true"."""

    def __init__(self, text: str):
        for name, value in re.findall(r"(\w+)=(\([^)]*\)|[^,]+)", text):
            setattr(self, name, value_of(value))


def shape(v) -> tuple[int, ...]:
    return v if isinstance(v, Shape) else (v,)  # one extent looks like a number


def bits(mask: int) -> tuple[int, ...]:
    return tuple(i for i in range(8) if mask >> i & 1)


def fold(fn):
    """A reduction of the dimensions in the mask a.dims; a 0-d tensor is folded over its only element."""
    return lambda a, x: fn(x, bits(a.dims) or 0, a.keepdim)


def prod(x, dims, keepdim):
    for d in sorted(dims, reverse=True) if isinstance(dims, tuple) else [dims]:
        x = x.prod(d, keepdim=keepdim)
    return x


def unary(fn):
    return lambda a, x: fn(x)


def binary(fn):
    return lambda a, x, y: fn(x, y)


def transposed(x, swap):
    return x.mT if swap else x


def conv2d(a, x, weight, bias=None):
    top, bottom, left, right = a.padding
    return F.conv2d(F.pad(x, (left, right, top, bottom)), weight, bias, a.stride, 0, a.dilation, a.groups)


def batch_norm(a, x, weight, bias):
    others = [d for d in range(x.ndim) if d != 1]
    y = F.batch_norm(x, None, None, weight, bias, training=True, eps=a.eps)
    return y, x.mean(others), x.var(others, correction=0)


def attention(a, q, k, v):
    if a.heads > 1:
        q, k, v = (x.unflatten(-1, (a.heads, -1)).transpose(-3, -2) for x in (q, k, v))
    scores = q @ k.mT * a.scale
    if a.causal:
        scores = scores.masked_fill(torch.ones(scores.shape[-2:]).tril() == 0, -torch.inf)
    y = scores.softmax(-1) @ v
    return y.transpose(-3, -2).flatten(-2) if a.heads > 1 else y, scores.logsumexp(-1)


def lstm(a, gates_of_x, w, h, c):
    hs, cs, gates = [], [], []
    for of_x in gates_of_x:
        i, f, g, o = (of_x + h @ w.T).chunk(4, 1)
        i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
        c = f * c + i * g
        h = o * c.tanh()
        hs.append(h), cs.append(c), gates.append(torch.cat([i, f, g, o], 1))
    return torch.stack(hs), torch.stack(cs), torch.stack(gates)


def layer_norm(a, x, weight=None, bias=None):
    return F.layer_norm(x, x.shape[x.ndim - a.dims:], weight, bias, a.eps)


def class_loss(fn, a, x, target, weight=None, **options):
    weight = None if weight is None else weight.detach()  # no gradient flows to it
    return fn(x, target.long(), weight, ignore_index=a.ignore_index, reduction=REDUCTIONS[a.reduction], **options)


def pad(a, x):
    sides = zip(reversed(shape(a.before)), reversed(shape(a.after)))
    return F.pad(x, [n for side in sides for n in side], value=a.value)


def max_pool2d(a, x):
    return F.max_pool2d(x, a.kernel, a.stride, a.padding, a.dilation, a.ceil_mode, return_indices=True)


def avg_pool2d(a, x):
    return F.avg_pool2d(x, a.kernel, a.stride, a.padding, a.ceil_mode, a.count_include_pad, a.divisor or None)


def zero_fill(a, x):
    out = x.new_zeros(x.shape[:-2] + (x.shape[-2] * a.stride[0], x.shape[-1] * a.stride[1]))
    out[..., ::a.stride[0], ::a.stride[1]] = x
    return out


def upsample2d(a, x):
    where = {"scale_factor": a.scale} if a.scale[0] else {"size": a.output}
    return F.interpolate(x, **where, mode="bilinear" if a.bilinear else "nearest",
                         align_corners=a.align_corners if a.bilinear else None)


def embedding(a, index, weight):
    return F.embedding(index.long(), weight, padding_idx=a.padding_idx if a.has_padding else None)


def scatter_add(a, x, index, src):
    part = tuple(slice(n) for n in index.shape)  # PyTorch takes a larger src, but cannot differentiate then
    return x.scatter_add(a.dim, index.long(), src[part])


def slice_(a, x):
    return x[(slice(None),) * a.dim + (slice(a.start, a.stop, a.step),)]


OPS = {
    # elementwise; p and q as elementwise.inc says
    **{name: unary(getattr(torch, name)) for name in (
        "neg abs square reciprocal exp expm1 log log1p sqrt rsqrt sin cos erf tanh sigmoid relu sign floor ceil "
        "round logical_not isnan isfinite").split()},
    **{name: unary(getattr(F, name)) for name in "softsign selu silu gelu".split()},
    "hardsigmoid": lambda a, x: F.relu6(x + 3) / 6,  # F.hardsigmoid's slope in f64 is 1/6 rounded to f32
    "log_sigmoid": unary(F.logsigmoid),
    "gelu_tanh": lambda a, x: F.gelu(x, approximate="tanh"),
    "leaky_relu": lambda a, x: F.leaky_relu(x, a.p),
    "elu": lambda a, x: F.elu(x, a.p),
    "softplus": lambda a, x: F.softplus(x, a.p, a.q),
    "clamp": lambda a, x: torch.clamp(x, a.p, a.q),
    "hardtanh": lambda a, x: F.hardtanh(x, a.p, a.q),
    "step": lambda a, x: torch.heaviside(x.detach() - a.p, torch.ones((), dtype=x.dtype)),
    **{name: binary(getattr(torch, name)) for name in (
        "add sub mul div pow maximum minimum remainder eq ne lt le gt ge logical_and logical_or "
        "logical_xor").split()},
    "floor_divide": lambda a, x, y: torch.div(x, y, rounding_mode="floor"),
    "where": lambda a, c, x, y: torch.where(c, x, y),
    "cast": lambda a, x: x.to(a.dtype),
    # creation
    "full": lambda a: torch.full(shape(a.shape), a.value, dtype=a.dtype),
    "arange": lambda a: torch.arange(a.start, a.start + a.step * a.count, a.step, dtype=a.dtype),
    "linspace": lambda a: torch.linspace(a.start, a.start + a.step * (a.count - 1), a.count, dtype=a.dtype),
    "eye": lambda a: torch.eye(a.n, a.m, dtype=a.dtype),
    # views
    "alias": lambda a, x: x.view_as(x),
    "clone": lambda a, x: x.clone(),
    "reshape": lambda a, x: x.reshape(shape(a.shape)),
    "permute": lambda a, x: x.permute(shape(a.dims)),
    "expand": lambda a, x: x.expand(shape(a.shape)),
    "slice": slice_,
    "flip": lambda a, x: x.flip(bits(a.dims)),
    # products
    "matmul": lambda a, x, y: transposed(x, a.trans_a) @ transposed(y, a.trans_b),
    "linear": lambda a, *inputs: F.linear(*inputs),
    "conv2d": conv2d,
    # reductions
    "sum": fold(torch.sum), "mean": fold(torch.mean), "prod": fold(prod), "any": fold(torch.any),
    "all": fold(torch.all), "logsumexp": fold(torch.logsumexp), "amax": fold(torch.amax), "amin": fold(torch.amin),
    "cumsum": lambda a, x: x.cumsum(a.dim),
    **{name: (lambda fn: lambda a, x: fn(x, a.dim, keepdim=a.keepdim))(getattr(torch, name))
       for name in ("max", "min", "argmax", "argmin")},
    # joining, picking, sorting
    "cat": lambda a, *inputs: torch.cat(inputs, a.dim),
    "pad": pad,
    "tril": lambda a, x: x.tril(a.diagonal),
    "triu": lambda a, x: x.triu(a.diagonal),
    "gather": lambda a, x, i: x.gather(a.dim, i.long()),
    "scatter_add": scatter_add,
    "index_select": lambda a, x, i: x.index_select(a.dim, i.long()),
    "index_add": lambda a, x, i, src: x.index_add(a.dim, i.long(), src),
    "embedding": embedding,
    "one_hot": lambda a, i: F.one_hot(i.long(), a.num_classes),
    "sort": lambda a, x: x.sort(dim=a.dim, descending=a.descending, stable=True),
    "topk": lambda a, x: x.topk(a.k, a.dim, a.largest),
    # pooling
    "max_pool2d": max_pool2d,
    "adaptive_max_pool2d": lambda a, x: F.adaptive_max_pool2d(x, a.output, return_indices=True),
    "max_pool2d_gather": lambda a, x, i: x.flatten(-2).gather(-1, i.flatten(-2)).view(i.shape),
    "max_unpool2d": lambda a, x, i: torch.ops.aten.max_unpool2d(x, i, a.plane),
    "unpool_zero_fill2d": zero_fill,
    "avg_pool2d": avg_pool2d,
    "adaptive_avg_pool2d": lambda a, x: F.adaptive_avg_pool2d(x, a.output),
    "upsample2d": upsample2d,
    # normalisation, losses
    "batch_norm": batch_norm,
    "layer_norm": layer_norm,
    "lstm": lstm,
    "attention": attention,
    "softmax": lambda a, x: F.softmax(x, a.dim),
    "log_softmax": lambda a, x: F.log_softmax(x, a.dim),
    "cross_entropy": lambda a, *inputs: class_loss(F.cross_entropy, a, *inputs, label_smoothing=a.label_smoothing),
    "nll_loss": lambda a, *inputs: class_loss(F.nll_loss, a, *inputs),
    "binary_cross_entropy": lambda a, x, y: F.binary_cross_entropy(x, y, reduction="none"),
}


def run(op: str, attrs: Attrs, inputs: list, upstream: dict) -> tuple[list, dict]:
    """Outputs, and the gradient of each floating input that PyTorch differentiates, by the input's number."""
    leaves = [x.clone().requires_grad_() if x.is_floating_point() else x for x in inputs]
    outputs = OPS[op](attrs, *leaves)
    outputs = list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]
    total = sum((outputs[i] * up).sum() for i, up in upstream.items() if outputs[i].requires_grad)
    wanted = [i for i, x in enumerate(leaves) if x.requires_grad] if torch.is_tensor(total) else []
    found = torch.autograd.grad(total, [leaves[i] for i in wanted], allow_unused=True) if wanted else []
    return [y.detach() for y in outputs], {i: g for i, g in zip(wanted, found) if g is not None}


def main(dump: str) -> None:
    tensors, missing = {}, set()
    with safe_open(dump, "pt") as file:
        metadata = file.metadata()
        for call in sorted(metadata):
            entry = json.loads(metadata[call])
            op = entry["op"]
            if op not in OPS:
                if op not in RANDOM and not op.endswith(("_grad", "_nhwc", "_to_nchw")):
                    missing.add(op)
                continue
            inputs = [file.get_tensor(f"{call}/in{i}") for i in range(entry["inputs"])]
            upstream = {i: file.get_tensor(f"{call}/up{i}") for i in entry["upstream"]}
            outputs, grads = run(op, Attrs(entry["attrs"]), inputs, upstream)
            for i, y in enumerate(outputs):
                tensors[f"{call}/out{i}"] = y.contiguous().clone()
            for i, g in grads.items():
                tensors[f"{call}/grad{i}"] = g.contiguous().clone()
    save_file(tensors, OUT, {"torch": torch.__version__.split("+")[0]})
    OUT.chmod(0o644)
    print(f"{OUT}: {len(tensors)} tensors, {OUT.stat().st_size / 1e6:.2f} MB")
    if missing:
        sys.exit(f"no rule for: {', '.join(sorted(missing))}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    torch.set_num_threads(1)
    main(sys.argv[1])
