#!/usr/bin/env python3
"""Checks with clang-14 and libc++ that the library's sources compile: near the browser's compiler.

A syntax check of each file on its own, without the precompiled header, so that it also finds a file that leans
on an include it does not make. With --build DIR a file is checked again only when it or one of its includes
changed. Prints "skipped: ..." and exits 0 where the compiler or its library is missing.
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
    "-std=c++20", "-stdlib=libc++", "-fsyntax-only", "-I.", "-DHEBB_THREADS_STD",
    "-Wall", "-Wextra", "-Wno-missing-field-initializers", "-Wno-unknown-pragmas", "-Werror=return-type",
]


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


def check(source: pathlib.Path, build: pathlib.Path | None) -> tuple[bool, str]:
    """Returns whether the file passed, and the compiler's messages."""
    command = [CLANG, *FLAGS, str(source)]
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
    parser.add_argument("files", nargs="*", type=pathlib.Path, help="sources to check (default: all of hebb/)")
    args = parser.parse_args()

    if not shutil.which(CLANG):
        print(f"skipped: {CLANG} is not installed")
        return 0
    probe = subprocess.run([CLANG, "-stdlib=libc++", "-fsyntax-only", "-xc++", "-"], input="#include <vector>\n",
                           capture_output=True, text=True)
    if probe.returncode:
        print(f"skipped: {CLANG} finds no libc++ (package libc++-14-dev)")
        return 0

    build = args.build.resolve() if args.build else None
    if build:
        build.mkdir(parents=True, exist_ok=True)
    sources = args.files or sorted(path.relative_to(ROOT) for path in ROOT.glob("hebb/**/*.cpp"))
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, (source, (passed, messages)) in enumerate(
                zip(sources, pool.map(lambda source: check(source, build), sources)), 1):
            failed += not passed
            print(f"[{done}/{len(sources)}] {'ok    ' if passed else 'FAILED'} {source}", flush=True)
            if messages:
                print(messages, end="", flush=True)
    print(f"{len(sources) - failed} of {len(sources)} files pass {CLANG} with libc++")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
