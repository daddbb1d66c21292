#!/usr/bin/env python3
"""Writes functions, activations and losses.safetensors: PyTorch's values of functions made of many ops.

    tools/golden/functions.py

Needs torch, numpy and safetensors. tests/ops/functions_golden_test.cpp and its neighbours have a function of
each name. Tensors: inputs "conv1d/plain/in0" (or const0, of which no gradient is asked) with values that f32
holds exactly, results out0, …, and gradients grad0, … of the inputs for the upstream gradient sin(1 + i) of
element i.
"""
import functools
import pathlib
import zlib

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden"
INF, NAN = float("inf"), float("nan")
TENSORS: dict[str, torch.Tensor] = {}


def u(*shape: int, low: float = -2, high: float = 2):
    return lambda: (torch.rand(shape, dtype=torch.float64) * (high - low) + low).float().double()


def whole(low: int, high: int, *shape: int):
    return lambda: torch.randint(low, high, shape)


def values(*v: float):
    return lambda: torch.tensor(v).float().double()


def const(make):
    make_const = lambda: make()
    make_const.const = True
    return make_const


def signs(n: int):
    return const(lambda: torch.randint(0, 2, (n,)).double() * 2 - 1)


def upstream(y: torch.Tensor) -> torch.Tensor:
    return torch.sin(1 + torch.arange(y.numel(), dtype=torch.float64)).reshape(y.shape).to(y.dtype)


def case(name: str, fn, *inputs, f32: bool = False) -> None:
    """Runs fn in f64, and also in f32 (results f32/out0, …) where overflow depends on the type."""
    torch.manual_seed(zlib.crc32(name.encode()))
    made = [make() for make in inputs]
    is_const = [hasattr(make, "const") for make in inputs]
    for i, x in enumerate(made):
        TENSORS[f"{name}/{'const' if is_const[i] else 'in'}{i}"] = x.float() if x.is_floating_point() else x
    run(name, fn, made, is_const)
    if f32:
        run(f"{name}/f32", fn, [x.float() if x.is_floating_point() else x for x in made], is_const)


def run(name: str, fn, made: list, is_const: list) -> None:
    leaves = {i: x.clone().requires_grad_() for i, x in enumerate(made) if x.is_floating_point() and not is_const[i]}
    out = fn(*[leaves.get(i, x) for i, x in enumerate(made)])
    out = list(out) if isinstance(out, (tuple, list)) else [out]
    for i, y in enumerate(out):
        TENSORS[f"{name}/out{i}"] = y.detach().clone().contiguous()
    total = sum((y * upstream(y)).sum() for y in out if y.requires_grad)
    if not torch.is_tensor(total):
        return
    for i, g in zip(leaves, torch.autograd.grad(total, list(leaves.values()), allow_unused=True)):
        if g is not None:
            TENSORS[f"{name}/grad{i}"] = g.clone().contiguous()


def save(name: str) -> None:
    path = GOLDEN / f"{name}.safetensors"
    save_file(TENSORS, path, {"torch": torch.__version__.split("+")[0]})
    path.chmod(0o644)
    print(f"{path}: {len(TENSORS)} tensors, {path.stat().st_size / 1e6:.2f} MB")
    TENSORS.clear()


def convolutions() -> None:
    c1, c2, t1, t2 = F.conv1d, F.conv2d, F.conv_transpose1d, F.conv_transpose2d
    case("conv1d/plain", c1, u(2, 3, 9), u(4, 3, 3), u(4))
    case("conv1d/unbatched", c1, u(3, 9), u(4, 3, 2))
    case("conv1d/all", lambda x, w, b: c1(x, w, b, stride=2, padding=3, dilation=2, groups=2),
         u(2, 4, 11), u(6, 2, 3), u(6))
    case("conv1d/same", lambda x, w: c1(x, w, padding="same", dilation=3), u(1, 2, 10), u(3, 2, 4))
    case("conv2d/same", lambda x, w: c2(x, w, padding="same", dilation=(1, 2)), u(2, 2, 5, 8), u(3, 2, 4, 3))
    case("conv2d/depthwise", lambda x, w, b: c2(x, w, b, padding=1, stride=(1, 2), groups=4),
         u(2, 4, 5, 6), u(8, 1, 3, 3), u(8))
    case("conv2d/unbatched", lambda x, w, b: c2(x, w, b, padding=(2, 1)), u(3, 5, 6), u(2, 3, 3, 2), u(2))
    for mode in ("reflect", "replicate", "circular"):
        case(f"Conv2d/{mode}", lambda x, w, b: c2(F.pad(x, (2, 2, 1, 1), mode=mode), w, b, stride=2),
             u(1, 2, 6, 5), u(3, 2, 3, 3), u(3))
    case("conv_transpose1d/plain", t1, u(2, 3, 5), u(3, 4, 3), u(4))
    case("conv_transpose1d/all", lambda x, w, b: t1(x, w, b, stride=3, padding=2, output_padding=1, groups=2,
                                                    dilation=2), u(2, 4, 5), u(4, 3, 3), u(6))
    case("conv_transpose2d/plain", t2, u(2, 3, 4, 5), u(3, 2, 3, 2))
    case("conv_transpose2d/unbatched", lambda x, w: t2(x, w, stride=2), u(3, 2, 3), u(3, 2, 2, 2))
    case("conv_transpose2d/double", lambda x, w, b: t2(x, w, b, stride=2, padding=1, output_padding=1),
         u(1, 2, 3, 4), u(2, 3, 3, 3), u(3))
    case("conv_transpose2d/all", lambda x, w, b: t2(x, w, b, stride=(3, 1), padding=(1, 2), output_padding=(2, 1),
                                                    groups=2, dilation=(1, 2)), u(2, 4, 3, 5), u(4, 1, 2, 3), u(2))


def normalisations() -> None:
    case("local_response_norm/odd", lambda x: F.local_response_norm(x, 3, 0.5, 0.75, 2), u(2, 7, 3, 2))
    case("local_response_norm/even", lambda x: F.local_response_norm(x, 4, 1.5, 0.6, 1), u(2, 5, 4))
    case("local_response_norm/wide", lambda x: F.local_response_norm(x, 9), u(1, 4, 2, 2))
    case("group_norm/affine", lambda x, w, b: F.group_norm(x, 3, w, b, 1e-3), u(2, 6, 3, 4), u(6), u(6))
    case("group_norm/2d", lambda x: F.group_norm(x, 2), u(3, 8))
    case("instance_norm/affine", lambda x, w, b: F.instance_norm(x, weight=w, bias=b), u(2, 3, 4, 5), u(3), u(3))

    def stats(c):
        return torch.linspace(-0.5, 0.5, c, dtype=torch.float64), torch.linspace(0.5, 2, c, dtype=torch.float64)

    def running(fn):
        def run(x, *affine):
            mean, var = stats(x.shape[1])
            return fn(x, mean, var, *affine), mean, var
        return run

    case("instance_norm/train", running(lambda x, m, v: F.instance_norm(x, m, v, momentum=0.3)), u(2, 3, 5))
    case("instance_norm/eval", running(lambda x, m, v: F.instance_norm(x, m, v, use_input_stats=False)), u(2, 3, 5))
    case("batch_norm/train", running(lambda x, m, v, w, b: F.batch_norm(x, m, v, w, b, True, 0.2, 1e-3)),
         u(3, 2, 4, 5), u(2), u(2))
    case("batch_norm/train_plain", running(lambda x, m, v: F.batch_norm(x, m, v, training=True)), u(5, 3))
    case("batch_norm/eval", running(lambda x, m, v, w, b: F.batch_norm(x, m, v, w, b, False, 0.2, 1e-3)),
         u(3, 2, 4), u(2), u(2))

    def layer_over_batches(layer, x, w, b):
        """Three batches in training, the third again in evaluation; then the buffers."""
        layer.to(x.dtype)
        outs = []
        params = {"weight": w, "bias": b}
        for part in (x[0], x[1], x[2]):
            outs.append(torch.func.functional_call(layer, params, (part,)))
        layer.eval()
        outs.append(torch.func.functional_call(layer, params, (x[2],)))
        return outs + [layer.running_mean, layer.running_var, layer.num_batches_tracked]

    case("BatchNorm2d/batches", lambda x, w, b: layer_over_batches(torch.nn.BatchNorm2d(2), x, w, b),
         u(3, 4, 2, 3, 2), u(2), u(2))
    case("BatchNorm1d/batches", lambda x, w, b: layer_over_batches(torch.nn.BatchNorm1d(3, momentum=0.5), x, w, b),
         u(3, 5, 3), u(3), u(3))
    case("InstanceNorm2d/batches",
         lambda x, w, b: layer_over_batches(torch.nn.InstanceNorm2d(2, affine=True, track_running_stats=True), x, w, b),
         u(3, 4, 2, 3, 2), u(2), u(2))


def folds() -> None:
    for name in ("var", "std"):
        fn = getattr(torch, name)
        case(f"{name}/all", fn, u(3, 4))
        case(f"{name}/biased", lambda x: fn(x, (0, 2), correction=0, keepdim=True), u(2, 3, 4))
        case(f"{name}/correction2", lambda x: fn(x, -1, correction=2), u(3, 5))
        case(f"{name}/one", lambda x: fn(x, 1, correction=0), u(3, 1))
        case(f"{name}/equal", lambda x: fn(x, 0), values(0.75, 0.75, 0.75))
    for p in (2, 1, 3, 0.5, 0, INF, -INF):
        case(f"norm/{p}", lambda x: torch.linalg.vector_norm(x, p, (0, 2), keepdim=True), u(2, 3, 4))
        case(f"norm/{p}/all", lambda x: torch.linalg.vector_norm(x, p), u(2, 3))
    for p in (2, 1, 3, INF):
        case(f"norm/{p}/zeros", lambda x: torch.linalg.vector_norm(x, p, 1), lambda: torch.zeros(2, 3).double())
    case("logsumexp/infinite", lambda x: x.logsumexp(0), values(-INF, 0, 2))
    case("prod/zeros", lambda x: x.prod(1), lambda: torch.tensor([[0., 2, 3], [0, 0, 3], [1, 2, 3]]).double())
    case("amax/ties", lambda x: x.amax(), values(1, 3, 3, 2, 3))
    case("max/ties", lambda x: x.max(0), values(1, 3, 3, 2, 3))
    case("empty/sum", lambda x: (x.sum(), x.mean(), x.prod(), x.sum(0), x.mean(1)), u(0, 3))
    case("lerp/tensor", torch.lerp, u(2, 3), u(3), u(2, 1))


def shapes() -> None:
    for mode in ("reflect", "replicate", "circular"):
        case(f"pad/{mode}", lambda x: F.pad(x, (1, 3, 2, 0), mode=mode), u(2, 3, 4, 5))
    case("roll/dims", lambda x: x.roll((2, -1), (0, 1)), u(3, 4))
    case("roll/flat", lambda x: x.roll(3), u(3, 4))
    case("stack/middle", lambda x, y: torch.stack([x, y], 1), u(2, 3), u(2, 3))
    case("split/size", lambda x: x.split(2, 1), u(2, 5))
    case("split/sizes", lambda x: x.split([1, 3], -1), u(2, 4))
    case("select/last", lambda x: x.select(-1, -2), u(2, 3, 4))
    case("unflatten/middle", lambda x: x.unflatten(1, (2, -1)).transpose(0, 2), u(2, 6, 3))
    case("matmul/vectors", torch.matmul, u(4), u(4))
    case("matmul/vector_batch", torch.matmul, u(4), u(3, 4, 2))
    case("matmul/batch_vector", torch.matmul, u(2, 1, 3, 4), u(4))
    case("Bilinear/plain", F.bilinear, u(3, 2), u(3, 4), u(5, 2, 4), u(5))
    case("Maxout/three", lambda x, w, b: F.linear(x, w, b).unflatten(-1, (4, 3)).amax(-1), u(5, 2), u(12, 2), u(12))
    case("argsort/descending", lambda x: torch.argsort(x, dim=1, descending=True, stable=True), u(3, 6))


def pools() -> None:
    case("max_pool1d/all", lambda x: F.max_pool1d(x, 3, 2, 1, 2, True, return_indices=True), u(2, 3, 12))
    case("avg_pool1d/all", lambda x: F.avg_pool1d(x, 3, 2, 1, True, False), u(2, 3, 12))
    case("avg_pool1d/plain", lambda x: F.avg_pool1d(x, 4), u(3, 10))
    case("max_pool2d/ties", lambda x: F.max_pool2d(x, 2, 1), lambda: torch.ones(1, 1, 3, 4).double())
    case("global_avg_pool2d/plain", lambda x: F.adaptive_avg_pool2d(x, 1), u(2, 3, 4, 5))
    case("global_max_pool2d/plain", lambda x: F.adaptive_max_pool2d(x, 1), u(2, 3, 4, 5))

    def unpooled(x, size=None, **options):
        y, at = F.max_pool2d(x, return_indices=True, **options)
        return F.max_unpool2d(y, at, output_size=size, **options)

    case("MaxUnpool2d/plain", lambda x: unpooled(x, kernel_size=2), u(1, 2, 4, 6))
    case("MaxUnpool2d/padded", lambda x: unpooled(x, kernel_size=3, stride=3, padding=1), u(2, 1, 7, 7))
    case("MaxUnpool2d/size", lambda x: unpooled(x, (7, 5), kernel_size=2), u(1, 2, 7, 5))
    for mode, scale in (("nearest", 2.0), ("nearest", 1.7), ("bilinear", 2.0), ("bilinear", 1.7), ("bilinear", 0.6)):
        case(f"interpolate/{mode}/{scale:g}", lambda x: F.interpolate(x, scale_factor=scale, mode=mode), u(1, 2, 5, 7))
    case("interpolate/bilinear/corners", lambda x: F.interpolate(x, size=(9, 4), mode="bilinear", align_corners=True),
         u(1, 2, 5, 7))


def activations() -> None:
    case32 = functools.partial(case, f32=True)
    kinks = values(-6, -3, -1.5, -1, -0.5, -0.0, 0, 0.5, 1, 1.5, 3, 6)  # where slopes change
    extremes = values(-1e30, -1e4, -800, -100, -40, 40, 100, 800, 1e4, 1e30)  # where functions saturate
    special = const(values(-INF, INF, NAN))
    rules = {
        "abs": torch.abs, "relu": F.relu, "relu6": F.relu6, "selu": F.selu, "silu": F.silu, "softsign": F.softsign,
        "hardsigmoid": lambda x: F.relu6(x + 3) / 6,  # the slope of F.hardsigmoid in f64 is 1/6 rounded to f32
        "log_sigmoid": F.logsigmoid, "sigmoid": torch.sigmoid, "tanh": torch.tanh,
        "gelu": F.gelu, "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"), "erf": torch.erf, "exp": torch.exp,
        "expm1": torch.expm1, "leaky_relu": lambda x: F.leaky_relu(x, 0.2), "elu": lambda x: F.elu(x, 1.5),
        "softplus": lambda x: F.softplus(x, 2, 3), "hardtanh": lambda x: F.hardtanh(x, -0.5, 1.5),
        "clamp": lambda x: x.clamp(-0.5, 1.5), "threshold": lambda x: F.threshold(x, 0.5, -7),
        "round": torch.round, "floor": torch.floor, "ceil": torch.ceil, "sign": torch.sign}
    for name, fn in rules.items():
        case32(f"{name}/kinks", fn, kinks)
        case32(f"{name}/extremes", fn, extremes)
        case32(f"{name}/special", fn, special)
    for name in ("isnan", "isfinite", "logical_not"):
        case32(f"{name}/special", getattr(torch, name), const(values(-INF, INF, NAN, 0, 1, -1e30)))
    for name in ("sqrt", "rsqrt", "log", "log1p", "reciprocal"):
        case32(f"{name}/edges", getattr(torch, name), values(-INF, -2, -1, -0.0, 0, 1e-30, 1, 1e30, INF, NAN))
    case32("Hardswish/kinks", F.hardswish, values(-6, -4, -2, -0.5, 0, 0.5, 2, 4, 6))
    case32("prelu/one", F.prelu, u(2, 3, 4), u(1))
    case32("prelu/channels", F.prelu, u(2, 3, 4), u(3))
    case32("prelu/kink", F.prelu, values(-1, -0.0, 0, 1), values(0.25))

    def column(*v):
        return lambda: torch.tensor(v).double()[:, None]

    def row(*v):
        return lambda: torch.tensor(v)

    quotient = functools.partial(torch.div, rounding_mode="floor")
    numbers = (-INF, -2, -1, -0.5, 0, 0.5, 1, 2, INF, NAN)
    for name in ("add", "mul", "div", "maximum", "minimum"):
        case32(f"{name}/edges", getattr(torch, name), column(-3, -1, -0.5, 0, 0.5, 1, 3), values(*numbers[1:8]))
    case32("pow/edges", torch.pow, column(0, 0.5, 1, 3), values(-2, -1, -0.5, 0, 0.5, 1, 2))
    case32("pow/negative", torch.pow, column(-3, -1, -0.5), const(values(-2, -1, 0, 1, 2, 0.5)))
    for name, fn in {"floor_divide": quotient, **{name: getattr(torch, name) for name in (
            "add mul div pow maximum minimum remainder eq ne lt le gt ge logical_and logical_or "
            "logical_xor").split()}}.items():
        case32(f"{name}/special", fn, const(column(*numbers)), const(values(*numbers)))
    for name, fn in {"remainder": torch.remainder, "floor_divide": quotient}.items():
        case32(f"{name}/integers", fn, lambda: torch.arange(-7, 8)[:, None], row(-3, -2, 2, 3, 7))
        case32(f"{name}/rounded", fn, const(column(-1, -0.6, 0.3, 0.6, 1, 2, 5)),
               const(values(-0.3, -0.1, 0.1, 0.2, 0.3)))


def recurrent() -> None:
    def lstm(layers: int, with_state: bool = True, **options):
        def run(x, *rest):
            state, weights = (rest[:2], rest[2:]) if with_state else (None, rest)
            net = torch.nn.LSTM(x.shape[-1], weights[1].shape[1], layers, **options).to(x.dtype)
            names = [name for name, _ in net.named_parameters()]
            y, (h, c) = torch.func.functional_call(net, dict(zip(names, weights)), (x, state) if state else (x,))
            return y, h, c
        return run

    def cell(x, h, c, *weights):
        net = torch.nn.LSTMCell(x.shape[-1], h.shape[-1]).to(x.dtype)
        names = [name for name, _ in net.named_parameters()]
        return torch.func.functional_call(net, dict(zip(names, weights)), (x, (h, c)))

    def layer(inputs: int, hidden: int):
        return u(4 * hidden, inputs), u(4 * hidden, hidden), u(4 * hidden), u(4 * hidden)

    case("LSTM/one", lstm(1), u(5, 3, 4), u(1, 3, 6), u(1, 3, 6), *layer(4, 6))
    case("LSTM/zeros", lstm(1, with_state=False), u(5, 3, 4), *layer(4, 6))
    case("LSTM/two", lstm(2), u(4, 3, 5), u(2, 3, 6), u(2, 3, 6), *layer(5, 6), *layer(6, 6))
    case("LSTM/batch_first", lstm(2, batch_first=True), u(3, 4, 5), u(2, 3, 6), u(2, 3, 6), *layer(5, 6), *layer(6, 6))
    case("LSTM/no_bias", lstm(1, bias=False), u(4, 3, 5), u(1, 3, 2), u(1, 3, 2), u(8, 5), u(8, 2))
    case("LSTM/unbatched", lstm(2), u(4, 5), u(2, 3), u(2, 3), *layer(5, 3), *layer(3, 3))
    case("LSTMCell/batch", cell, u(3, 5), u(3, 4), u(3, 4), *layer(5, 4))
    case("LSTMCell/unbatched", cell, u(5), u(4), u(4), *layer(5, 4))


def transformers() -> None:
    def sdpa(**options):
        return lambda q, k, v, *mask: F.scaled_dot_product_attention(q, k, v, *mask, **options)

    def attended(heads: int, same: bool = False, **options):
        call = {key: options.pop(key) for key in ("is_causal", "need_weights") if key in options}

        def run(*inputs):
            (q, k, v), weights = (inputs[:1] * 3, inputs[1:]) if same else (inputs[:3], inputs[3:])
            net = torch.nn.MultiheadAttention(q.shape[-1], heads, **options).to(q.dtype)
            names = [name for name, _ in net.named_parameters()]
            masks = {}
            if call.get("is_causal"):
                masks["attn_mask"] = torch.ones(q.shape[0], k.shape[0]).tril() == 0
            y, w = torch.func.functional_call(net, dict(zip(names, weights)), (q, k, v), {"need_weights": True, **masks})
            return (y, w) if call.get("need_weights") else y
        return run

    def encoder(**options):
        def run(x, *weights):
            net = torch.nn.TransformerEncoderLayer(x.shape[-1], 2, 8, dropout=0, **options).to(x.dtype)
            names = [name for name, _ in net.named_parameters()]
            return torch.func.functional_call(net, dict(zip(names, weights)), (x,))
        return run

    attention = u(18, 6), u(18), u(6, 6), u(6)
    layer = *attention, u(8, 6), u(8), u(6, 8), u(6), u(6), u(6), u(6), u(6)
    heads = u(2, 3, 5, 4), u(2, 3, 7, 4), u(2, 3, 7, 6)
    case("attention/plain", sdpa(), *heads)
    case("attention/causal", sdpa(is_causal=True, scale=0.3), *heads)
    case("attention/mask", lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v, m > -1), *heads, const(u(5, 7)))
    case("attention/bias", sdpa(), *heads, u(3, 5, 7))
    case("MultiheadAttention/self", attended(2, same=True), u(5, 3, 6), *attention)
    case("MultiheadAttention/causal", attended(3, same=True, is_causal=True), u(5, 3, 6), *attention)
    case("MultiheadAttention/cross", attended(2, need_weights=True), u(5, 3, 6), u(4, 3, 6), u(4, 3, 6), *attention)
    case("MultiheadAttention/batch_first", attended(2, batch_first=True, need_weights=True), u(3, 5, 6), u(3, 4, 6),
         u(3, 4, 6), *attention)
    case("MultiheadAttention/unbatched", attended(2, same=True, bias=False, need_weights=True), u(5, 6), u(18, 6),
         u(6, 6))
    case("TransformerEncoderLayer/post", encoder(), u(5, 3, 6), *layer)
    case("TransformerEncoderLayer/pre", encoder(norm_first=True, activation="gelu", batch_first=True), u(3, 5, 6), *layer)


def losses() -> None:
    pair, many = (u(3, 4), u(3, 4)), ("mean", "sum", "none")
    for r in many:
        case(f"mse_loss/{r}", lambda x, y: F.mse_loss(x, y, reduction=r), *pair)
        case(f"l1_loss/{r}", lambda x, y: F.l1_loss(x, y, reduction=r), *pair)
        case(f"huber_loss/{r}", lambda x, y: F.huber_loss(x, y, reduction=r, delta=0.7), *pair)
        case(f"smooth_l1_loss/{r}", lambda x, y: F.smooth_l1_loss(x, y, reduction=r, beta=0.5), *pair)
        case(f"kl_div/{r}", lambda x, y: F.kl_div(x, y, reduction=r), u(3, 4, high=-0.1), u(3, 4, low=0.1, high=1))
        case(f"kl_div/log/{r}", lambda x, y: F.kl_div(x, y, reduction=r, log_target=True),
             u(3, 4, high=-0.1), u(3, 4, high=-0.1))
        case(f"hinge_embedding_loss/{r}", lambda x, y: F.hinge_embedding_loss(x, y, 1.3, reduction=r), u(9), signs(9))
        case(f"cosine_embedding_loss/{r}", lambda x, z, y: F.cosine_embedding_loss(x, z, y, 0.2, reduction=r),
             u(7, 4), u(7, 4), signs(7))
        case(f"triplet_margin_loss/{r}", lambda a, p, n: F.triplet_margin_loss(a, p, n, reduction=r),
             u(5, 4), u(5, 4), u(5, 4))
        case(f"bce/{r}", lambda x, y, w: F.binary_cross_entropy(x, y, w, reduction=r),
             u(3, 4, low=0.05, high=0.95), u(3, 4, low=0, high=1), const(u(4, low=0.2)))
        case(f"bce_logits/{r}",
             lambda x, y, w, p: F.binary_cross_entropy_with_logits(x, y, w, reduction=r, pos_weight=p),
             u(3, 4), u(3, 4, low=0, high=1), const(u(3, 1, low=0.2)), const(u(4, low=0.2)))
        case(f"cross_entropy/soft/{r}", lambda x, y, w: F.cross_entropy(x, y, w, reduction=r, label_smoothing=0.1),
             u(3, 4, 2), u(3, 4, 2, low=0, high=1), const(u(4, low=0.2)))
        case(f"cross_entropy/hard/{r}",
             lambda x, y, w: F.cross_entropy(x, y, w, reduction=r, label_smoothing=0.1, ignore_index=2),
             u(5, 4, 3), whole(0, 4, 5, 3), const(u(4, low=0.2)))
    # hinge loss is not in PyTorch; its kink belongs to the flat side, as that of relu
    case("hinge_loss/mean", lambda x, y: F.relu(1 - x * y).mean(), u(9), signs(9))
    case("l1_loss/kink", lambda x: F.l1_loss(x, torch.zeros(3).double()), values(-1, 0, 1))
    case("huber_loss/kink", lambda x: F.huber_loss(x, torch.zeros(5).double()), values(-1, 1, 0, 2, -2))
    case("smooth_l1_loss/kink", lambda x: F.smooth_l1_loss(x, torch.zeros(5).double()), values(-1, 1, 0, 2, -2))
    case("smooth_l1_loss/beta0", lambda x, y: F.smooth_l1_loss(x, y, beta=0), *pair)
    case("bce/certain", lambda x, y: F.binary_cross_entropy(x, y, reduction="none"),  # its slope in f64 is rough
         const(values(0, 0, 1, 1, 1e-30)), const(values(0, 1, 0, 1, 1)))
    case("bce_logits/large", lambda x, y: F.binary_cross_entropy_with_logits(x, y, reduction="none"),
         values(-800, -800, 800, 800, 0), const(values(0, 1, 0, 1, 1)))
    case("kl_div/zeros", lambda x, y: F.kl_div(x, y, reduction="sum"), values(-1, -2, -3), const(values(0, 0.4, 0.6)))
    case("triplet_margin_loss/1", lambda a, p, n: F.triplet_margin_loss(a, p, n, margin=0.5, p=1),
         u(5, 4), u(5, 4), u(5, 4))
    case("triplet_margin_loss/swap", lambda a, p, n: F.triplet_margin_loss(a, p, n, margin=2, p=3, swap=True),
         u(5, 4), u(5, 4), u(5, 4))
    case("cosine_embedding_loss/one", lambda x, z, y: F.cosine_embedding_loss(x, z, y[0]), u(4), u(4), signs(1))


if __name__ == "__main__":
    torch.set_num_threads(1)
    for group in (convolutions, normalisations, folds, shapes, pools, recurrent, transformers):
        group()
    save("functions")
    activations()
    save("activations")
    losses()
    save("losses")
