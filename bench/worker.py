#!/usr/bin/env python3
"""One measurement of one peer, in a process of its own; prints a JSON object. bench/peers.py calls it.

The folder holds the weights and the batch to begin with (weights.safetensors, x.npy, y.npy; net.onnx for ONNX Runtime).
Of a training step the losses of the first steps are printed; the outputs of inference are written to PEER.npy there.
"""
import argparse
import contextlib
import functools
import json
import os
import pathlib
import statistics
import time

from turns import CHECKED_STEPS, STEPS_PER_CALL


def torch_step(o):
    """A training step of PyTorch, or its outputs."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(o.folder / "compiled")  # of these measurements alone
    import numpy
    import torch
    from safetensors.torch import load_file
    from torch_networks import WORKLOADS

    torch.set_num_threads(o.threads)
    network, _, loss_of, optimizer_of = WORKLOADS[o.name]
    net = network()
    net.load_state_dict(load_file(o.folder / "weights.safetensors"))
    x = torch.from_numpy(numpy.load(o.folder / "x.npy"))
    if o.peer == "torch-f64":
        net, x = net.double(), x.double() if x.is_floating_point() else x
    if o.peer == "torch-channels-last":
        net, x = net.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    called = torch.compile(net) if o.peer == "torch-compile" else net
    if o.infer:
        net.eval()
        if o.peer == "torch-compile":
            import torch._inductor.config
            torch._inductor.config.freezing = True  # weights as constants, laid out beforehand

        def outputs():
            with torch.inference_mode():
                return called(x)

        return outputs

    y = torch.from_numpy(numpy.load(o.folder / "y.npy"))
    if o.peer == "torch-f64" and y.is_floating_point():
        y = y.double()
    optimizer = optimizer_of(net.parameters())
    bf16 = functools.partial(torch.autocast, "cpu", dtype=torch.bfloat16)
    precision = bf16 if o.precision == "bf16" else contextlib.nullcontext

    def step():
        optimizer.zero_grad(set_to_none=True)
        with precision():
            loss = loss_of(called(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def jax_step(o):
    """A training step of JAX; of jax-scan, many in one call."""
    # XLA has no option for the number of its threads: it counts the cores that it may run on.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:o.threads])
    os.environ["JAX_PLATFORMS"] = "cpu"
    import jax
    from jax_networks import start

    body, state, x, y = start(o.name, o.folder)
    if o.peer == "jax-scan":
        def call(state, x, y):
            return jax.lax.scan(lambda s, _: body(s, x, y), state, length=STEPS_PER_CALL)
    else:
        call = body
    compiled = jax.jit(call, donate_argnums=0)

    def step():
        nonlocal state
        state, loss = jax.block_until_ready(compiled(state, x, y))
        return loss

    return step


def onnx_outputs(o):
    import numpy
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = o.threads, 1
    options.log_severity_level = 3
    x = numpy.load(o.folder / "x.npy")

    @functools.cache
    def session():  # made by the first call, whose time it belongs to
        return onnxruntime.InferenceSession(str(o.folder / "net.onnx"), options, providers=["CPUExecutionProvider"])

    return lambda: session().run(None, {session().get_inputs()[0].name: x})[0]


def peak_mb():
    """Of this process's memory. (getrusage counts the process that this one was forked from, too.)"""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def main():
    makers = {"torch-eager": torch_step, "torch-channels-last": torch_step, "torch-compile": torch_step,
              "torch-f64": torch_step, "jax": jax_step, "jax-scan": jax_step, "onnxruntime": onnx_outputs}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=makers)
    parser.add_argument("name", help="a network of torch_networks.py")
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", default="f32")
    parser.add_argument("--infer", action="store_true")
    o = parser.parse_args()

    step = makers[o.peer](o)
    begin = time.perf_counter()
    values = [step()]
    first = time.perf_counter() - begin
    values += [step() for _ in range(CHECKED_STEPS - 1)]
    times, end = [], time.perf_counter() + o.seconds
    least = 1 if o.peer == "torch-f64" else 5  # only its losses are wanted
    while time.perf_counter() < end or len(times) < least:
        begin = time.perf_counter()
        step()
        times.append(time.perf_counter() - begin)

    import numpy
    steps = STEPS_PER_CALL if o.peer == "jax-scan" else 1
    result = {"median_ms": statistics.median(times) * 1e3 / steps, "min_ms": min(times) * 1e3 / steps,
              "first_ms": first * 1e3, "peak_mb": peak_mb()}
    if o.infer:
        numpy.save(o.folder / f"{o.peer}.npy", numpy.asarray(values[0]))
    else:
        result["losses"] = [float(loss) for value in values for loss in numpy.ravel(value)][:CHECKED_STEPS]
    print(json.dumps(result))


if __name__ == "__main__":
    main()
