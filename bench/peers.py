#!/usr/bin/env python3
"""hebb beside its peers: training steps of the same networks, from the same weights, on the same batch.

For each network the losses of the first five steps are compared; a row that differs prints no time. (Training enlarges
differences of rounding: PyTorch in channels-last differs from PyTorch on ResNets by more than 1e-4, and hebb may differ
by twice as much as that.) hebb and PyTorch (eager, channels last, torch.compile) take turns, each in a process of its
own, and the median of each is shown with the ratio of the best peer's to hebb's. `./x peers` makes the environment that
this needs and calls it.
"""
import argparse
import json
import math
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

TOLERANCE = 1e-4  # of losses, relative, in f32
CHECKED_STEPS = 5
MODES = ("eager", "channels-last", "compile")


def torch_step(name, mode, folder):
    """A training step from the weights and the batch in the folder."""
    import numpy
    import torch
    from safetensors.torch import load_file
    from torch_networks import WORKLOADS

    network, _, loss_of, optimizer_of = WORKLOADS[name]
    net = network()
    net.load_state_dict(load_file(folder / "weights.safetensors"))
    x, y = (torch.from_numpy(numpy.load(folder / f"{k}.npy")) for k in "xy")
    if mode == "channels-last":
        net, x = net.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    optimizer = optimizer_of(net.parameters())
    called = torch.compile(net) if mode == "compile" else net

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(called(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step


def peak_mb():
    """Of this process's memory. (getrusage counts the process that this one was forked from, too.)"""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def work(arguments):
    """One measurement of PyTorch, in a process of its own."""
    import torch

    torch.set_num_threads(arguments.threads)
    step = torch_step(arguments.work, arguments.mode, pathlib.Path(arguments.folder))
    begin = time.perf_counter()
    losses = [step().item()]
    first = time.perf_counter() - begin
    losses += [step().item() for _ in range(CHECKED_STEPS - 1)]
    times, end = [], time.perf_counter() + arguments.seconds
    while time.perf_counter() < end or len(times) < 5:
        begin = time.perf_counter()
        step()
        times.append(time.perf_counter() - begin)
    print(json.dumps({"median_ms": statistics.median(times) * 1e3, "min_ms": min(times) * 1e3,
                      "first_ms": first * 1e3, "peak_mb": peak_mb(), "losses": losses}))


def last_object(command):
    done = subprocess.run(command, capture_output=True, text=True, cwd=pathlib.Path(__file__).parent)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def run_torch(name, mode, folder, seconds, threads):
    return last_object([sys.executable, __file__, "--work", name, "--mode", mode, "--folder", str(folder),
                        "--seconds", str(seconds), "--threads", str(threads)])


def run_hebb(program, name, folder, seconds, threads):
    return last_object([program, "bench", name, "--json", "--seconds", str(seconds), "--threads", str(threads),
                        "--init", f"{folder}/weights.safetensors", "--x", f"{folder}/x.npy",
                        "--y", f"{folder}/y.npy", "--losses", str(CHECKED_STEPS)])


def write_start(name, folder):
    """The weights and the batch that everyone begins with. True if they are images."""
    import numpy
    import torch
    from safetensors.torch import save_file
    from torch_networks import WORKLOADS

    torch.manual_seed(0)
    network, batch, _, _ = WORKLOADS[name]
    save_file(network().state_dict(), folder / "weights.safetensors")
    x, y = batch()
    numpy.save(folder / "x.npy", x.numpy())
    numpy.save(folder / "y.npy", y.numpy())
    return x.dim() == 4


def difference(got, want):
    """The largest relative difference of two lists of losses."""
    return max(abs(a - b) / max(1e-12, abs(b)) if math.isfinite(a) else math.inf for a, b in zip(got, want))


def measure(name, program, modes, rounds, seconds, threads):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        images = write_start(name, folder)
        modes = [mode for mode in modes if images or mode != "channels-last"]
        runs = {"hebb": []} | {mode: [] for mode in modes}
        for _ in range(rounds):
            for who, results in runs.items():
                if who == "hebb":
                    results.append(run_hebb(program, name, folder, seconds, threads))
                else:
                    results.append(run_torch(name, who, folder, seconds, threads))
        losses = {who: results[0]["losses"] for who, results in runs.items()}
        among_peers = max(difference(losses[mode], losses[modes[0]]) for mode in modes)
        row = {"name": name, "precision": "f32", "loss_difference": difference(losses["hebb"], losses[modes[0]]),
               "loss_tolerance": max(TOLERANCE, 2 * among_peers)}
        if row["loss_difference"] > row["loss_tolerance"] or difference(losses["hebb"][:1], losses[modes[0]]) > TOLERANCE:
            return row

        def middle(who, key):
            return statistics.median(r[key] for r in runs[who])

        row["hebb_ms"] = middle("hebb", "median_ms")
        row["hebb_min_ms"] = min(r["min_ms"] for r in runs["hebb"])
        row["hebb_first_ms"] = middle("hebb", "first_ms")
        row["peers"] = {f"torch-{mode}": middle(mode, "median_ms") for mode in modes}
        row["ratio"] = min(row["peers"].values()) / row["hebb_ms"]
        row["peak_mb"] = middle("hebb", "peak_mb")
        row["peer_peak_mb"] = middle(modes[0], "peak_mb")
        return row


def show(row, modes):
    if "ratio" not in row:
        print(f"{row['name']:<20} losses differ by {row['loss_difference']:.1e} (at most "
              f"{row['loss_tolerance']:.1e}): no times", flush=True)
        return
    times = "".join(f"{row['peers'].get(f'torch-{mode}', math.nan):>15.4g}" for mode in modes)
    print(f"{row['name']:<20}{row['hebb_ms']:>10.4g}{times}{row['ratio']:>8.2f}{row['peak_mb']:>9.0f}"
          f"{row['peer_peak_mb']:>9.0f}{row['loss_difference']:>12.1e}", flush=True)


def main():
    names = ["playground-mlp", "mlp-mnist-b128", "lenet-b64", "resnet18-cifar-b64", "resnet50-224-b8", "unet32-128-b4",
             "charlstm-b32-t64", "transformer-b16-t128"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="hebb", help="the program hebb")
    parser.add_argument("--only", default="", help=f"networks, with commas between them: {', '.join(names)}")
    parser.add_argument("--quick", action="store_true", help="one short round, without torch.compile")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json-out", help="write the rows to this file")
    for hidden in ("--work", "--mode", "--folder"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=3, help="a turn of one of them")
    arguments = parser.parse_args()
    if arguments.work:
        return work(arguments)

    wanted = arguments.only.split(",") if arguments.only else names
    for name in wanted:
        if name not in names:
            sys.exit(f"peers: expected --only of {', '.join(names)}, got {name}")
    modes = MODES[:2] if arguments.quick else MODES
    seconds = min(1, arguments.seconds) if arguments.quick else arguments.seconds
    print(f"Medians in ms of a training step, f32, {arguments.threads} threads; ratio: the best peer / hebb\n")
    titles = "".join(f"{'torch ' + mode.removeprefix('channels-'):>15}" for mode in modes)
    print(f"{'network':<20}{'hebb':>10}{titles}{'ratio':>8}{'hebb MB':>9}{'torch MB':>9}{'losses differ':>14}")
    rows = []
    for name in wanted:
        rows.append(measure(name, arguments.program, modes, 1 if arguments.quick else 3, seconds, arguments.threads))
        show(rows[-1], modes)
    ratios = [row["ratio"] for row in rows if "ratio" in row]
    geomean = math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else None
    if geomean:
        print(f"\ngeometric mean of the ratios: {geomean:.2f}")
    if arguments.json_out:
        pathlib.Path(arguments.json_out).write_text(json.dumps({"rows": rows, "geomean": geomean}, indent=1) + "\n")
    return 0 if len(ratios) == len(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
