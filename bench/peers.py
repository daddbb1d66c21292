#!/usr/bin/env python3
"""hebb beside its peers: PyTorch (eager, channels last, torch.compile), JAX (jit) and ONNX Runtime.

Three tables: training steps, inference, and what it takes to start. All begin with the same weights and inputs; the
losses of the first five steps, or the outputs, are compared, and whoever computes something else gets no time. hebb and
its peers take turns, each measurement in a process of its own; shown are medians. With --kernels there is one other
table: hebb's products and convolutions beside oneDNN's. `./x peers` makes the environment that this needs and calls it.
"""
import argparse
import importlib.metadata
import json
import math
import os
import pathlib
import shutil
import sys
import tempfile

import chart
import kernels
import sizes
from rows import inference_row, installed, many_steps_row, training_row
from turns import STEPS_PER_CALL, Failed, digits, hebb_bench, refusal

NETWORKS = ["playground-mlp", "mlp-mnist-b128", "lenet-b64", "resnet18-cifar-b64", "resnet50-224-b8", "unet32-128-b4",
            "charlstm-b32-t64", "transformer-b16-t128"]
BATCHES = {"lenet-b64": (1, 64), "resnet18-cifar-b64": (1, 64), "resnet50-224-b8": (1, 8)}  # of inference
TABLES = ["training", "inference", "sizes"]
PACKAGES = {"torch": "PyTorch", "jax": "JAX", "onnxruntime": "ONNX Runtime"}


def positive(kind):
    def parse(text):
        value = kind(text)
        if not value > 0:
            raise ValueError
        return value

    parse.__name__ = f"positive {kind.__name__}"  # argparse names it in its message
    return parse


def some_of(names):
    def parse(text):
        wanted = text.split(",")
        for name in wanted:
            if name not in names:
                raise argparse.ArgumentTypeError(f"expected names of {', '.join(names)}, with commas; got '{name}'")
        return wanted

    return parse


def options():
    parser = argparse.ArgumentParser(prog="peers", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("--program", default="hebb", help="the program hebb")
    parser.add_argument("--kernels", action="store_true",
                        help="single products and convolutions beside oneDNN, and nothing else")
    parser.add_argument("--onednn", metavar="PROGRAM", help="what times oneDNN's, for --kernels")
    parser.add_argument("--only", type=some_of(NETWORKS), metavar="NAMES", help=f"networks: {', '.join(NETWORKS)}")
    parser.add_argument("--tables", type=some_of(TABLES), metavar="NAMES",
                        help=f"tables: {', '.join(TABLES)} (default: all; in bf16 training; after --only no sizes)")
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32",
                        help="of training steps; PyTorch's bf16 is autocast (default: f32)")
    parser.add_argument("--quick", action="store_true",
                        help="one short round, without torch.compile and ONNX Runtime, which are slow to begin")
    parser.add_argument("--threads", type=positive(int), default=2, help="that each of them may use (default: 2)")
    parser.add_argument("--seconds", type=positive(float),
                        help="a turn of one of them (default: 3; of each kernel 0.03)")
    parser.add_argument("--json-out", type=pathlib.Path, metavar="FILE", help="write the figures to this file")
    parser.add_argument("--svg", type=pathlib.Path, metavar="FILE", help="draw the times as a bar chart")
    o = parser.parse_args()
    program = shutil.which(o.program)
    if not program:
        parser.error(f"--program: {o.program} is no program; ./x build makes build/release/cli/hebb")
    if o.kernels and not (o.onednn and os.access(o.onednn, os.X_OK)):
        parser.error("--kernels: expected --onednn with a program; ./x peers --kernels makes it")
    if o.kernels and (o.only or o.tables or o.svg or o.precision != "f32"):
        parser.error("--kernels: expected no --only, --tables, --svg and --precision, which are of networks")
    if o.onednn and not o.kernels:
        parser.error("--onednn: expected --kernels with it")
    if o.only and o.tables and not any(name in BATCHES for name in o.only) and set(o.tables) == {"inference"}:
        parser.error(f"--tables inference: expected one of {', '.join(BATCHES)} after --only")
    if not o.kernels and not installed("torch"):
        parser.error("PyTorch is not installed here; ./x peers installs it")
    for file in (o.json_out, o.svg):
        try:
            if file:
                file.open("a").close()
        except OSError as e:
            parser.error(f"{file}: {e.strerror}")
    o.program = os.path.abspath(program)
    o.tables = o.tables or TABLES[:1 if o.precision != "f32" else 2 if o.only else 3]
    o.rounds = 1 if o.quick else 15 if o.kernels else 3
    o.seconds = o.seconds or (0.03 if o.kernels else 3)
    if o.quick:
        o.seconds = min(o.seconds, 1)
    return o


def say(text):
    print(text, flush=True)


def show(row):
    """One contestant a line: the last columns are its time in hebb's, and how far its losses or outputs are off."""
    say(f"\n{row['name']}, {row['precision']}")
    hebb = row.get("hebb_ms")
    lines = {"hebb": [row[key] for key in ("hebb_ms", "hebb_min_ms", "hebb_first_ms", "peak_mb")]} if hebb else {}
    for who, time in row["peers"].items():
        lines[who] = [time] + [row[f"peers_{key}"][who] for key in ("min_ms", "first_ms", "peak_mb")]
    for who, (middle, least, first, memory) in lines.items():
        differs = row["differences"].get(who)
        say(f"  {who:<20}{digits(middle):>10}{digits(least):>10}{digits(first):>10}{memory:>8.0f}"
            + (f"{middle / hebb:>9.2f}" if hebb else f"{'-':>9}")
            + (f"{differs:>9.0e}" if differs is not None else f"{'-':>9}"))
    if hebb:
        floor = row["floor_ms"]
        say(f"  {'floor':<20}{digits(floor):>10}{'':>28}{floor / hebb:>9.2f}" if floor else f"  {'floor':<20}{'-':>10}")
    for who, why in row["left_out"].items():
        say(f"  {who:<20}no time: {why}")


def head(title, differ):
    say(f"\n{title}\n{'':<22}{'median':>10}{'min':>10}{'first':>10}{'MB':>8}{'/ hebb':>9}{differ:>9}")


def geomean(rows, key="ratio"):
    """Of the ratios: how many times as long as hebb the best peer takes, or with "pytorch_ratio" the best PyTorch."""
    ratios = [row[key] for row in rows if key in row]
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else None


def summary(title, rows):
    if not rows:
        return
    say(f"\n{title:<28}{'hebb':>10}{'best peer':>12}{'ratio':>8}{'floor':>10}")
    for row in rows:
        name = row["name"]
        if "ratio" in row:
            floor, best = row["floor_ms"], row["best_peer"]
            say(f"{name:<28}{digits(row['hebb_ms']):>10}{digits(row['peers'][best]):>12}{row['ratio']:>8.2f}"
                f"{digits(floor) if floor else '-':>10}  {best}")
        else:
            say(f"{name:<28}{'-':>10}")


def training(o, machine, keep):
    """The rows of training steps. keep(rows) is called after each."""
    if o.precision != "f32":
        try:
            found = hebb_bench(o, "playground-mlp", "--seconds", 0, "--precision", o.precision)["precision"]
        except Failed as e:
            sys.exit(f"peers: {e}")
        if found != o.precision:
            say(f"\nhebb trains in {found}: it has no products of {o.precision} for this processor")
    head(f"A training step, {o.precision}, ms", "losses")
    rows = []
    for name in o.only or NETWORKS:
        rows.append(training_row(o, name, machine))
        show(rows[-1])
        keep(rows)
        if name == "playground-mlp" and o.precision == "f32":
            if why := refusal(o, name, "--steps-per-call", STEPS_PER_CALL):
                say(f"\nNo row of {STEPS_PER_CALL} steps a call: {why}")
            else:
                rows.append(many_steps_row(o, machine))
                show(rows[-1])
    return rows


def inference(o, machine):
    with tempfile.TemporaryDirectory() as folder:
        o.writes_outputs = not refusal(o, "playground-mlp", "--infer", "--out", f"{folder}/y.npy")
    rows = []
    for name in o.only or NETWORKS:
        for batch in BATCHES.get(name, ()):
            if not rows:
                head("Inference, f32, ms", "outputs")
            rows.append(inference_row(o, name, batch, machine))
            show(rows[-1])
    if rows and not o.writes_outputs:
        say("\nhebb's outputs were not compared: the program has no option for them (--out)")
    return rows


def write(o, figures):
    """After each table: a run is long, and may be stopped."""
    if o.json_out:
        o.json_out.write_text(json.dumps(figures, indent=1) + "\n")
    if o.svg:
        o.svg.write_text(chart.draw(figures))


def main():
    o = options()
    if o.kernels:
        say(f"hebb's kernels beside oneDNN's: {o.threads} thread{'s' * (o.threads > 1)}")
        try:
            write(o, {"threads": o.threads, "kernels": kernels.measure(o)})
        except Failed as e:
            sys.exit(f"peers: {e}")
        return 0
    versions = {name: importlib.metadata.version(name) for name in PACKAGES if installed(name)}
    setting = (f"{o.threads} thread{'s' * (o.threads > 1)}; "
               + ", ".join(f"{PACKAGES[name]} {version}" for name, version in versions.items()))
    say(f"hebb beside its peers: {setting}")
    machine = None
    try:
        machine = hebb_bench(o, "machine")
        say(f"floors: arithmetic at {machine['peak_gflops']:.0f} GFLOP/s, copying at {machine['copy_gb_s']:.1f} GB/s")
    except Failed as e:
        say(f"No floors: {str(e)[:100]}")
    figures = {"setting": setting, "threads": o.threads, "versions": versions, "machine": machine}
    complete = True
    if "training" in o.tables:
        rows = training(o, machine, lambda rows: write(o, figures | {"rows": rows}))
        summary("training steps, ms", rows)
        plain = [row for row in rows if "steps_per_call" not in row]
        later = [row for row in plain if row["name"] != NETWORKS[0]]
        figures["rows"] = rows
        for name, key in (("geomean", "ratio"), ("geomean_pytorch", "pytorch_ratio")):
            figures |= {name: geomean(plain, key), f"{name}_without_first": geomean(later, key)}
        write(o, figures)
    if "inference" in o.tables:
        rows = inference(o, machine)
        figures |= {"inference": rows, "inference_geomean": geomean(rows)}
        summary("inference, ms", rows)
        write(o, figures)
    if "sizes" in o.tables:
        figures["sizes"] = sizes.measure(o)
        complete &= not figures["sizes"]["left_out"]
        sizes.show(figures["sizes"])
        write(o, figures)

    for name, whose in (("geomean", "to the best peer"), ("geomean_pytorch", "to the best PyTorch")):
        if mean := figures.get(name):
            without = figures[f"{name}_without_first"]
            say(f"geometric mean of the ratios {whose}: {mean:.2f}"
                + (f", without {NETWORKS[0]} {without:.2f}" if without not in (None, mean) else ""))
    rows = figures.get("rows", []) + figures.get("inference", [])
    return 0 if complete and not any(row["left_out"] for row in rows) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
