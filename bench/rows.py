"""The rows of the tables: hebb and its peers on one network, from the same weights, on the same batch. Whoever computes
something else, or fails, gets no time; the row says so under "left_out"."""
import importlib.util
import math
import pathlib
import tempfile

from turns import CHECKED_STEPS, STEPS_PER_CALL, Failed, hebb_bench, take_turns, worker

TOLERANCE = {"f32": 1e-4, "bf16": 2e-2}  # of losses, relative
MOST_ALLOWED = 0.2                       # where PyTorch is as far from the losses in f64
OUTPUT_TOLERANCE = 1e-4                  # of outputs, relative to the largest
REFERENCE = "torch-eager"
IN_JAX = ("playground-mlp", "mlp-mnist-b128", "lenet-b64", "charlstm-b32-t64", "transformer-b16-t128")


def installed(package):
    return importlib.util.find_spec(package) is not None


def write_start(name, folder, batch=None):
    """The weights and the inputs that everyone begins with: for training, or for inference if a batch is named.
    Returns the network and the inputs."""
    import numpy
    import torch
    from safetensors.torch import save_file
    from torch_networks import WORKLOADS

    torch.manual_seed(0)
    network, batch_of, _, _ = WORKLOADS[name]
    net, (x, y) = network(), batch_of()
    if batch:  # an untrained network's outputs depend on its inputs only if its activations are normalised
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = None  # the mean over all batches, of which there is one
        with torch.no_grad():
            net(x)
        x = x[:batch].contiguous()
    save_file(net.state_dict(), folder / "weights.safetensors")
    numpy.save(folder / "x.npy", x.numpy())
    numpy.save(folder / "y.npy", y.numpy())
    return net, x


def write_onnx(net, x, folder):
    import logging
    import warnings
    import torch

    logging.disable(logging.WARNING)  # of packages that the exporter could use, were they there
    try:
        with warnings.catch_warnings(action="ignore"):
            torch.onnx.export(net.eval(), (x,), folder / "net.onnx", dynamo=True, verbose=False)
    except Exception as e:  # whatever an exporter may throw: the other peers go on
        raise Failed(f"export: {type(e).__name__}: {e}".splitlines()[0]) from None
    finally:
        logging.disable(logging.NOTSET)


def torch_peers(o, images):
    return ["torch-eager"] + ["torch-channels-last"] * images + ["torch-compile"] * (not o.quick)


def training_row(o, name, machine):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        _, x = write_start(name, folder)
        peers = torch_peers(o, x.dim() == 4)
        if name in IN_JAX and o.precision == "f32" and installed("jax"):
            peers.append("jax")
        return trained(o, name, peers, folder, machine)


def many_steps_row(o, machine):
    """Many steps in one call, so that what a call costs hardly counts."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        write_start("playground-mlp", folder)
        peers = ["torch-eager"] + ["jax-scan"] * installed("jax")
        row = trained(o, "playground-mlp", peers, folder, machine, "--steps-per-call", STEPS_PER_CALL)
        return row | {"name": f"{row['name']}-x{STEPS_PER_CALL}", "steps_per_call": STEPS_PER_CALL}


def trained(o, name, peers, folder, machine, *words):
    def hebb():
        return hebb_bench(o, name, "--seconds", o.seconds, "--precision", o.precision, "--losses", CHECKED_STEPS,
                          "--init", folder / "weights.safetensors", "--x", folder / "x.npy", "--y", folder / "y.npy",
                          *words)

    contestants = {"hebb": hebb} | {peer: lambda peer=peer: worker(o, peer, name, folder) for peer in peers}
    results, left_out = take_turns(contestants, o.rounds)
    tolerance = allowed = TOLERANCE[o.precision]
    differences = {}
    if REFERENCE in results:
        want = results[REFERENCE]["losses"]
        differences = losses_differ_from(want, results)
        if max(differences.values()) > tolerance:
            # Training enlarges differences of rounding, on some networks to percents within five steps. Then the
            # losses in f64 are what all are compared with, and nobody may be twice as far from them as PyTorch.
            try:
                exact = worker(o, "torch-f64", name, folder, "--seconds", 0, "--precision", "f32")["losses"]
                differences = losses_differ_from(exact, results)
                theirs = [d for who, d in differences.items() if who.startswith("torch-") and math.isfinite(d)]
                allowed = min(MOST_ALLOWED, max([tolerance] + [2 * d for d in theirs]))
            except Failed as e:
                left_out["torch-f64"] = f"failed: {e}"
    for who, difference in differences.items():
        first = losses_differ(results[who].get("losses", [])[:1], want[:1])
        if first > tolerance:
            left_out[who] = f"its first loss differs by {first:.1e} (at most {tolerance:.1e})"
        elif difference > allowed:
            left_out[who] = f"its losses differ by {difference:.1e} (at most {allowed:.1e})"
    return row_of(name, o.precision, results, left_out, differences, machine) | {"loss_tolerance": allowed}


def inference_row(o, name, batch, machine):
    import numpy

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        net, x = write_start(name, folder, batch)
        peers, failed = torch_peers(o, True), {}
        if installed("onnxruntime") and not o.quick:
            try:
                write_onnx(net, x, folder)
                peers.append("onnxruntime")
            except Failed as e:
                failed["onnxruntime"] = f"failed: {e}"
        words = ["--infer", "--batch", batch, "--init", folder / "weights.safetensors", "--x", folder / "x.npy"]
        if o.writes_outputs:
            words += ["--out", folder / "hebb.npy"]

        def hebb():
            return hebb_bench(o, name, "--seconds", o.seconds, *words)

        contestants = {"hebb": hebb}
        contestants |= {peer: lambda peer=peer: worker(o, peer, name, folder, "--infer") for peer in peers}
        results, left_out = take_turns(contestants, o.rounds)
        outputs = {who: numpy.load(folder / f"{who}.npy") for who in results if (folder / f"{who}.npy").exists()}
        differences = {who: outputs_differ(got, outputs[REFERENCE]) for who, got in outputs.items()
                       if REFERENCE in outputs}
    left_out |= failed | {who: f"its outputs differ by {difference:.1e} (at most {OUTPUT_TOLERANCE:.1e})"
                          for who, difference in differences.items() if difference > OUTPUT_TOLERANCE}
    name = f"{name.rsplit('-b', 1)[0]}-b{batch}"
    return row_of(name, "f32", results, left_out, differences, machine) | {"batch": batch}


def losses_differ_from(want, results):
    return {who: losses_differ(result.get("losses", []), want) for who, result in results.items()}


def losses_differ(got, want):
    """The largest relative difference; infinity if losses are missing or not finite (None in hebb's JSON)."""
    if len(got) != len(want) or any(loss is None or not math.isfinite(loss) for loss in (*got, *want)):
        return math.inf
    return max(abs(a - b) / max(1e-12, abs(b)) for a, b in zip(got, want))


def outputs_differ(got, want):
    if got.shape != want.shape:
        return math.inf
    difference = float(abs(got - want).max() / abs(want).max())
    return difference if math.isfinite(difference) else math.inf


def row_of(name, precision, results, left_out, differences, machine):
    """A row from the results of those that are not left out."""
    row = {"name": name, "precision": precision, "left_out": left_out}
    if REFERENCE not in results:
        row["left_out"] |= {"hebb": f"nothing to compare with, without {REFERENCE}"}
    results = {who: result for who, result in results.items() if who not in left_out}
    peers = {who: result for who, result in results.items() if who != "hebb"}
    row["differences"] = {who: differences[who] for who in results if who in differences}
    for key in ("median_ms", "min_ms", "first_ms", "peak_mb"):
        row["peers" if key == "median_ms" else f"peers_{key}"] = {who: result[key] for who, result in peers.items()}
    if "hebb" not in results or not peers:
        return row
    hebb = results["hebb"]
    best = min(peers, key=lambda who: peers[who]["median_ms"])
    pytorch = [result for who, result in peers.items() if who.startswith("torch-")]
    if pytorch:
        row["pytorch_ratio"] = min(result["median_ms"] for result in pytorch) / hebb["median_ms"]
        row["pytorch_peak_mb"] = min(result["peak_mb"] for result in pytorch)
    return row | {
        "hebb_ms": hebb["median_ms"], "hebb_min_ms": hebb["min_ms"], "hebb_first_ms": hebb["first_ms"],
        "peak_mb": hebb["peak_mb"], "peer_peak_mb": peers[best]["peak_mb"], "best_peer": best,
        "ratio": peers[best]["median_ms"] / hebb["median_ms"], "floor_ms": floor_ms(hebb, precision, machine)}


def floor_ms(result, precision, machine):
    """What a step takes at least, if its arithmetic runs at the measured peak and its bytes at the measured rate of
    copying. None where that is not known: the peak is that of f32."""
    if not machine or precision != "f32" or result.get("gflop") is None or result.get("floor_mb") is None:
        return None
    return result["gflop"] / machine["peak_gflops"] * 1e3 + result["floor_mb"] / machine["copy_gb_s"]
