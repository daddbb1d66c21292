"""What it takes to start: hebb, and PyTorch for the same work.

What wait4 says of a child's memory is at least what the process had before it became the program: a copy of its parent.
So measure() runs this file as a program of its own, which imports little and copies only what it has written (fork, not
vfork).
"""
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from turns import HERE, Failed, digits, last_object, reason

subprocess._USE_VFORK = False
ROOT = HERE.parent
EXAMPLE = ROOT / "examples" / "lenet.cpp"
# A figure's key, and what the table calls it.
FIGURES = {
    "start_ms": "a process that classifies one digit, ms",
    "cold_ms": "the same, its files not in memory, ms",
    "start_mb": "its memory, MB",
    "installed_mb": "the program, or PyTorch's folder, MB",
    "library_mb": "libhebb.a, MB",
    "compile_s": f"compiling {EXAMPLE.relative_to(ROOT)}, s",
}


def run(command, **more):
    """Runs a command. Returns its time in ms and its peak memory in MB."""
    with tempfile.TemporaryFile("w+") as errors:
        begin = time.perf_counter()
        try:
            process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=errors, **more)
        except OSError as e:
            raise Failed(f"{command[0]}: {e.strerror}") from None
        _, status, usage = os.wait4(process.pid, 0)
        spent = (time.perf_counter() - begin) * 1e3
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            raise Failed(reason(subprocess.CompletedProcess(command, process.returncode, stderr=errors.read())))
    return spent, usage.ru_maxrss / 1024


def forget(paths):
    """Takes files, and those in folders, out of the memory that the system keeps of them."""
    for path in paths:
        for file in path.rglob("*") if path.is_dir() else [path]:
            if file.is_file():
                with file.open("rb") as f:
                    os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def start_up(command, files, times):
    several = [run(command) for _ in range(times)]
    os.sync()  # what is not written yet stays in memory
    cold = []
    for _ in range(times):
        forget(files)
        cold.append(run(command)[0])
    return {"start_ms": statistics.median(spent for spent, _ in several), "cold_ms": statistics.median(cold),
            "start_mb": max(mb for _, mb in several)}


def of_hebb(program, folder, threads):
    run([program, "train", "lenet5", "--data", "mnist", "--epochs", "1", "--quiet", "--threads", threads,
         "--out", folder / "run"], env=os.environ | {"HEBB_SOURCE_DIR": str(ROOT)})
    return start_up([program, "predict", folder / "run", folder / "digit.npy", "--threads", threads],
                    [program.resolve(), folder], 11)


def package_folder(package):
    import importlib.util

    return pathlib.Path(importlib.util.find_spec(package).origin).parent


def of_torch(folder, threads):
    return start_up([sys.executable, HERE / "worker.py", "torch-eager", "lenet-b64", "--folder", folder, "--infer",
                     "--seconds", "1e-9", "--threads", threads], [package_folder("torch"), folder], 3)


def compile_time():
    compiler = os.environ.get("CXX") or "c++"
    if not shutil.which(compiler):
        raise Failed(f"no compiler {compiler}")
    command = [compiler, "-std=c++20", "-O2", "-I", ROOT, "-c", EXAMPLE, "-o", os.devnull]
    return {"compile_s": min(run(command)[0] for _ in range(3)) / 1e3}


def file_sizes(program):
    library = program.resolve().parent.parent / "lib" / "libhebb.a"
    figures = {"installed_mb": program.stat().st_size / 1e6}
    return figures | ({"library_mb": library.stat().st_size / 1e6} if library.exists() else {})


def folder_size(folder):
    return {"installed_mb": sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 1e6}


def main():
    program, folder, threads = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
    figures = {"hebb": {}, "torch": {}, "left_out": {}}
    for who, what, measured in (("hebb", "start-up", lambda: of_hebb(program, folder, threads)),
                                ("hebb", "size", lambda: file_sizes(program)),
                                ("hebb", "compiling", compile_time),
                                ("torch", "start-up", lambda: of_torch(folder, threads)),
                                ("torch", "size", lambda: folder_size(package_folder("torch")))):
        try:
            figures[who] |= measured()
        except Failed as e:
            figures["left_out"][f"{who}, {what}"] = f"failed: {e}"
    print(json.dumps(figures))


def measure(o):
    """The figures, as {"hebb": {...}, "torch": {...}, "left_out": {what: why}}."""
    import numpy
    from rows import write_start

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        write_start("lenet-b64", folder, batch=1)
        numpy.save(folder / "digit.npy", numpy.load(folder / "x.npy"))
        return last_object([sys.executable, __file__, o.program, folder, o.threads])


def show(figures):
    print(f"\nTo start\n{'':<42}{'hebb':>10}{'PyTorch':>10}")
    for key, name in FIGURES.items():
        cells = (figures[who].get(key) for who in ("hebb", "torch"))
        print(f"{name:<42}" + "".join(f"{'-' if cell is None else digits(cell):>10}" for cell in cells))
    for what, why in figures["left_out"].items():
        print(f"{what}: {why}")


if __name__ == "__main__":
    main()
