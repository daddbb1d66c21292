#!/usr/bin/env python3
"""Checks what the compiler does not: format, include directions between the folders, lengths of files.

Looks at every file that git tracks or would track. Prints path:line: messages; exits 1 if one is an error.
"""
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# The library's folders: each may include itself and those before it.
FOLDERS = ["core", "op", "ops", "backend", "autograd", "graph", "nn", "optim", "io", "data", "train", "models"]
# What may be broken, file by file: (file, included header): reason.
EXCEPTIONS: dict[tuple[str, str], str] = {}

MAX_LINES, WISHED_LINES = 800, 400
SOURCE_NAMES = {"CMakeLists.txt", "x", "run"}
SOURCE_SUFFIXES = {".h", ".cpp", ".py", ".cmake", ".sh"}
TEXT_SUFFIXES = SOURCE_SUFFIXES | {".md", ".toml", ".json", ".in", ".txt"}

INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]')
OMP = re.compile(r'#\s*pragma\s+omp|_Pragma\s*\(\s*"omp|#\s*include\s*<omp\.h>')

Finding = tuple[str, int, str, str]  # file, line, "error" or "warning", message


def listed_files() -> list[str]:
    """Tracked and untracked files that git does not ignore, as paths from the root."""
    run = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                         cwd=ROOT, capture_output=True, text=True)
    if run.returncode:
        sys.exit(f"lint: cannot list the files: {run.stderr.strip()}")
    return sorted({name for name in run.stdout.split("\0") if name and (ROOT / name).is_file()})


def folder_of(path: str) -> str | None:
    """The folder of the library that hebb/<folder>/... lies in; None for other files."""
    parts = path.split("/")
    return parts[1] if parts[0] == "hebb" and len(parts) > 2 else None


def check_include(name: str, bracket: str, included: str) -> str | None:
    """What is wrong with one #include line, if anything."""
    if bracket == '"' and not (ROOT / included).is_file():
        return f'"{included}" is no file: write includes by their path from the root'
    if not name.startswith("hebb/") or (name, included) in EXCEPTIONS:
        return None
    if included.split("/")[0] in ("cli", "tests", "examples", "bench"):
        return f"the library may not include {included}"
    if not included.startswith("hebb/"):
        return None
    if bracket == "<":
        return f'write "{included}": inside the library <> is for what comes from outside'
    mine, theirs = folder_of(name), folder_of(included)
    if mine is None:  # hebb/hebb.h itself
        return None
    if theirs is None:
        return f"the library may not include {included}: it brings every folder"
    if theirs not in FOLDERS:
        return f"folder {theirs} is unknown to tools/lint.py: add it to FOLDERS"
    if mine in FOLDERS and FOLDERS.index(theirs) > FOLDERS.index(mine):
        return f"{mine} may not include {theirs}, which stands above it ({included})"
    return None


def check_text(name: str, text: str) -> list[Finding]:
    """Rules that need only the file itself."""
    path = pathlib.PurePosixPath(name)
    cpp = path.suffix in {".h", ".cpp"}
    lines = text.split("\n")
    found: list[Finding] = []

    def error(line: int, message: str) -> None:
        found.append((name, line, "error", message))

    if text and not text.endswith("\n"):
        error(len(lines), "no newline at the end of the file")
    count = text.count("\n")
    if path.suffix in SOURCE_SUFFIXES or path.name in SOURCE_NAMES:
        if count > MAX_LINES:
            error(count, f"{count} lines: at most {MAX_LINES}")
        elif count > WISHED_LINES:
            found.append((name, count, "warning", f"{count} lines: the aim is {WISHED_LINES}"))
    for number, line in enumerate(lines, 1):
        if line != line.rstrip():
            error(number, "spaces at the end of the line")
        if "\t" in line:
            error(number, "a tab: indent with spaces")
        if not cpp:
            continue
        if match := INCLUDE.match(line):
            if message := check_include(name, *match.groups()):
                error(number, message)
        if name != "hebb/core/parallel.cpp" and OMP.search(line):
            error(number, "OpenMP belongs in hebb/core/parallel.cpp alone: use parallel_for")
    # Highway compiles its *-inl.h once a target: these toggle a guard instead.
    if path.suffix == ".h" and "#pragma once" not in lines and "HWY_TARGET_TOGGLE" not in text:
        error(1, "a header without #pragma once")
    if (folder := folder_of(name)) and cpp and folder not in FOLDERS:
        error(1, f"folder {folder} is unknown to tools/lint.py: add it to FOLDERS")
    return found


def check_readme() -> list[Finding]:
    """The README shows examples/lenet.cpp as it is: its first cpp block is that file."""
    readme, example = "README.md", "examples/lenet.cpp"
    text = (ROOT / readme).read_text(encoding="utf-8")
    block = re.search(r"^```cpp\n(.*?)^```$", text, re.M | re.S)
    if block and block[1] == (ROOT / example).read_text(encoding="utf-8"):
        return []
    line = text[:block.start()].count("\n") + 1 if block else 1
    return [(readme, line, "error", f"the first cpp block must be {example}, letter by letter")]


def clang_format() -> str | None:
    """The program clang-format, version 14 (others format differently)."""
    for program in ("clang-format-14", "clang-format"):
        if shutil.which(program):
            version = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
            if re.search(r"version 14\.", version):
                return program
    return None


def check_format(program: str, names: list[str]) -> list[Finding]:
    """What clang-format would change: the first place of each file."""
    run = subprocess.run([program, "--dry-run", "--ferror-limit=1", "--style=file", *names],
                         cwd=ROOT, capture_output=True, text=True)
    found: list[Finding] = []
    for match in re.finditer(r"^(.+?):(\d+):\d+: (?:warning|error): (.*)$", run.stderr, re.M):
        name, line, message = match.groups()
        if "clang-format-violations" in message:
            message = f"format differs: {program} -i {name}"
        found.append((name, int(line), "error", message))
    if run.returncode and not found:
        found.append((names[0], 1, "error", f"{program} failed: {run.stderr.strip()}"))
    return found


def main() -> int:
    files = listed_files()
    found: list[Finding] = []
    for name in files:
        path = pathlib.PurePosixPath(name)
        if path.suffix in TEXT_SUFFIXES or path.name in SOURCE_NAMES:
            try:
                found += check_text(name, (ROOT / name).read_text(encoding="utf-8"))
            except UnicodeDecodeError as bad:
                found.append((name, 1, "error", f"not UTF-8: {bad.reason} at byte {bad.start}"))
    found += check_readme()
    found += [(name, 1, "error", f"EXCEPTIONS names a file that is gone (for {header})")
              for name, header in EXCEPTIONS if name not in files]

    sources = [name for name in files if name.endswith((".h", ".cpp"))]
    if program := clang_format():
        batches = [sources[i:i + 16] for i in range(0, len(sources), 16)]
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for part in pool.map(lambda batch: check_format(program, batch), batches):
                found += part
    else:
        found.append(("tools/lint.py", 1, "error", "clang-format 14 is not installed: ./x setup"))

    for name, line, kind, message in sorted(found):
        print(f"{name}:{line}: {kind}: {message}")
    errors = sum(kind == "error" for _, _, kind, _ in found)
    print(f"lint: {len(files)} files, {errors} errors, {len(found) - errors} warnings")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
