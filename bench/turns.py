"""Programs that take turns. Each measurement is a process of its own, whose last line of output is a JSON object."""
import json
import math
import pathlib
import re
import signal
import statistics
import subprocess
import sys

CHECKED_STEPS = 5      # whose losses are compared
STEPS_PER_CALL = 1000  # in rows of many steps a call
HERE = pathlib.Path(__file__).resolve().parent


class Failed(Exception):
    """A measurement that came to nothing. Its text says why, in one line."""


def digits(value):
    """Three of a positive number's digits, or all before its point: 0.00481, 48.1, 4810."""
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}"


def reason(done):
    """What a program that failed said last: `hebb: ...`, or the last line of a traceback."""
    if done.returncode < 0:
        return f"killed by {signal.Signals(-done.returncode).name}"
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"[A-Za-z_][\w.]*: ", line)]
    return (named or lines or [f"exit status {done.returncode}"])[-1][:200]


def last_object(command):
    try:
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    except OSError as e:
        raise Failed(f"{command[0]}: {e.strerror}") from None
    if done.returncode:
        raise Failed(reason(done))
    try:
        return json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        raise Failed(f"{pathlib.Path(command[0]).name} printed no JSON object") from None


def hebb_bench(o, name, *words):
    """What `hebb bench NAME words...` prints."""
    return last_object([o.program, "bench", name, "--json", "--threads", o.threads, *words])


def refusal(o, name, *words):
    """Why the program does not take these words of `hebb bench`; None if it does."""
    try:
        hebb_bench(o, name, "--seconds", 0, *words)
    except Failed as e:
        return str(e)


def worker(o, peer, name, folder, *words):
    """What worker.py measures of a peer."""
    return last_object([sys.executable, HERE / "worker.py", peer, name, "--folder", folder, "--seconds", o.seconds,
                        "--threads", o.threads, "--precision", o.precision, *words])


def take_turns(contestants, rounds):
    """Calls each of {who: function} once a round. Returns {who: result}, and {who: why} of those that failed: their
    turns are over."""
    results, failed = {who: [] for who in contestants}, {}
    for _ in range(rounds):
        for who, run in contestants.items():
            if who in failed:
                continue
            try:
                results[who].append(run())
            except Failed as e:
                failed[who] = f"failed: {e}"
    return {who: summary(several) for who, several in results.items() if who not in failed}, failed


def summary(several):
    """The middle of several results of one contestant. Only the first has to compile all: later ones find a cache."""
    return several[0] | {"median_ms": statistics.median(one["median_ms"] for one in several),
                         "min_ms": min(one["min_ms"] for one in several),
                         "peak_mb": max(one["peak_mb"] for one in several)}
