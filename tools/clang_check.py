#!/usr/bin/env python3
"""Checks with clang-14 and libc++ that the library's sources compile: near the browser's compiler.

A syntax check of each file on its own, without the precompiled header, so that it also finds a file that leans
on an include it does not make. With --target the files of kernels are checked for another processor: neon (Arm,
64 bits) or wasm. With --build DIR a file is checked again only when it or one of its includes changed. Prints "skipped: ..." and exits 0 where the compiler or its library is missing.
"""
import argparse
import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
CLANG = "clang++-14"
FLAGS = [
    "-std=c++20", "-fsyntax-only", "-I.",
    "-Wall", "-Wextra", "-Wno-missing-field-initializers", "-Wno-unknown-pragmas", "-Werror=return-type",
]
LIBCXX = "/usr/lib/llvm-14/include"
TARGETS = {  # flags, and the package that holds the headers
    "host": (["-stdlib=libc++", "-DHEBB_THREADS_STD"], "libc++-14-dev"),
    "neon": (["--target=aarch64-linux-gnu", "-nostdinc++", "-isystem", f"{LIBCXX}/c++/v1", "-isystem",
              "/usr/aarch64-linux-gnu/include", "-DHEBB_THREADS_STD"], "libc6-dev-arm64-cross"),
    "wasm": (["--target=wasm32-wasi", "-msimd128", "-mthread-model", "single", "-nostdinc++", "-isystem",
              f"{LIBCXX}/wasm32-wasi/c++/v1", "-isystem", "/usr/include/wasm32-wasi", "-idirafter", "/usr/include",
              "-DHEBB_THREADS_SERIAL"], "libc++-14-dev-wasm32"),
}


def up_to_date(source: pathlib.Path, depfile: pathlib.Path) -> bool:
    """Whether the last check of `source` passed and nothing that it read is newer."""
    if not depfile.exists():
        return False
    checked = depfile.stat().st_mtime
    words = depfile.read_text().replace("\\\n", " ").split()[1:]
    try:
        return all((ROOT / word).stat().st_mtime < checked for word in [*words, __file__])
    except FileNotFoundError:
        return False


def check(source: pathlib.Path, flags: list[str], build: pathlib.Path | None) -> tuple[bool, str]:
    """Returns whether the file passed, and the compiler's messages."""
    command = [CLANG, *FLAGS, *flags, str(source)]
    if build is None:
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        return run.returncode == 0, run.stderr
    depfile = build / (str(source).replace("/", "__") + ".d")
    if up_to_date(source, depfile):
        return True, ""
    fresh = depfile.with_suffix(".new")
    run = subprocess.run([*command, "-MD", "-MF", str(fresh)], cwd=ROOT, capture_output=True, text=True)
    if run.returncode == 0 and not run.stderr:
        os.replace(fresh, depfile)
    else:
        fresh.unlink(missing_ok=True)
        depfile.unlink(missing_ok=True)
    return run.returncode == 0, run.stderr


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, help="folder that remembers what passed")
    parser.add_argument("--target", choices=TARGETS, default="host", help="the processor (default: this one's kind)")
    parser.add_argument("files", nargs="*", type=pathlib.Path,
                        help="sources to check (default: all of hebb/; of other targets all of hebb/backend/)")
    args = parser.parse_args()

    if not shutil.which(CLANG):
        print(f"skipped: {CLANG} is not installed")
        return 0
    flags, package = TARGETS[args.target]
    probe = subprocess.run([CLANG, *flags, "-fsyntax-only", "-xc++", "-"], input="#include <vector>\n",
                           capture_output=True, text=True)
    if probe.returncode:
        print(f"skipped: {CLANG} finds no libc++ for {args.target} (package {package})")
        return 0

    build = args.build.resolve() if args.build else None
    if build:
        build.mkdir(parents=True, exist_ok=True)
    sources = args.files or sorted(path.relative_to(ROOT) for path in
                                   ROOT.glob("hebb/**/*.cpp" if args.target == "host" else "hebb/backend/**/*.cpp"))
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, (source, (passed, messages)) in enumerate(
                zip(sources, pool.map(lambda source: check(source, flags, build), sources)), 1):
            failed += not passed
            print(f"[{done}/{len(sources)}] {'ok    ' if passed else 'FAILED'} {source}", flush=True)
            if messages:
                print(messages, end="", flush=True)
    print(f"{len(sources) - failed} of {len(sources)} files pass {CLANG} with libc++ for {args.target}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
