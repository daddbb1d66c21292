"""hebb's products and convolutions beside oneDNN's, each alone, in three directions. The shapes are those that
`hebb bench kernels` prints; onednn_kernels.cpp times the same ones, with all operands in the layouts that oneDNN
prefers."""
import math
import os
import statistics
import subprocess

from turns import Failed, digits, hebb_bench, reason

SIZES = {"product": ("rows", "in", "out"),
         "convolution": ("batch", "in", "out", "side", "kernel", "stride", "padding")}
GROUPS = ["products", "direct convolutions", "3x3 convolutions of stride 1"]
WINOGRAD_CHANNELS = 16  # from which on hebb computes 3x3 convolutions of stride 1 by Winograd's algorithm


def measure(o):
    """Times both in turns and prints a table. Returns {"rows": [...], "groups": [...]}."""
    turns = [one_round(o) for _ in range(o.rounds)]
    rows = []
    for several in zip(*turns):
        hebb, onednn = (min(row[key] for row in several) for key in ("min_ms", "onednn_ms"))
        row = {key: value for key, value in several[0].items() if key not in ("median_ms", "min_ms")}
        rows.append(row | {"hebb_ms": hebb, "onednn_ms": onednn, "ratio": onednn / hebb})
    groups = [summary(name, [row for row in rows if row["group"] == name]) for name in GROUPS]
    show(rows, groups)
    return {"rows": rows, "groups": groups}


def one_round(o):
    timed = hebb_bench(o, "kernels", "--only", "products,convolutions", "--seconds", o.seconds)
    rows = [row | {"kind": kind} for kind in SIZES for row in timed[f"{kind}s"]]
    return [row | {"group": group(row), "onednn_ms": ms} for row, ms in zip(rows, onednn(o, rows), strict=True)]


def onednn(o, rows):
    lines = [" ".join(str(word) for word in (row["kind"], row["direction"], *sizes(row))) for row in rows]
    done = subprocess.run([o.onednn, str(o.seconds)], input="\n".join(lines), capture_output=True, text=True,
                          env=os.environ | {"OMP_NUM_THREADS": str(o.threads)})
    if done.returncode:
        raise Failed(reason(done))
    return [float(line) for line in done.stdout.split()]


def sizes(row):
    return [row[key] for key in SIZES[row["kind"]]]


def group(row):
    if row["kind"] == "product":
        return GROUPS[0]
    small = row["kernel"] == 3 and row["stride"] == 1 and min(row["in"], row["out"]) >= WINOGRAD_CHANNELS
    return GROUPS[2 if small else 1]


def summary(name, rows):
    lowest = min(rows, key=lambda row: row["ratio"])
    return {"name": name, "geomean": math.exp(statistics.fmean(math.log(row["ratio"]) for row in rows)),
            "lowest": lowest["ratio"], "lowest_kernel": text(lowest)}


def text(row):
    if row["kind"] == "product":
        shape = "{} rows, {} to {}".format(*sizes(row))
    else:
        shape = "{0}x{1}x{3}x{3} to {2}, {4}x{4}, stride {5}".format(*sizes(row))
    return f"{row['name']} {row['direction']}, {shape}"


def show(rows, groups):
    head = f"{'':<9}{'hebb':>9}{'oneDNN':>9}{'hebb':>10}{'oneDNN':>8}\n{'ratio':>8}{'ms':>10}{'ms':>9}{'GFLOP/s':>10}"
    for name in GROUPS:
        print(f"\n{name}\n{head}{'GFLOP/s':>8}", flush=True)
        for row in rows:
            if row["group"] == name:
                rates = [1e3 * row["gflop"] / row[key] for key in ("hebb_ms", "onednn_ms")]
                print(f"{row['ratio']:8.2f}{digits(row['hebb_ms']):>10}{digits(row['onednn_ms']):>9}{rates[0]:10.0f}"
                      f"{rates[1]:8.0f}  {text(row)}")
    print(f"\n{'oneDNN time / hebb time':<32}{'geomean':>8}{'lowest':>8}")
    for g in groups:
        print(f"{g['name']:<32}{g['geomean']:8.2f}{g['lowest']:8.2f}  {g['lowest_kernel']}")
