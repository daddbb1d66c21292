#!/usr/bin/env python3
"""Prepares a header for Doxygen (INPUT_FILTER in docs/Doxyfile): prints it with the same lines.

Types, functions and members that need words have them in the header. This adds what Doxygen wants and readers
of the code do not: a comment on members whose name and type say all (constructors, operators, fields, functions
that only return something); one comment for each of `double mean, std;`, of which Doxygen sees one; and the
functions that macros declare, with the doc lines of the elementwise table.
"""
import pathlib
import re
import sys

FIELD = re.compile(r" +(?P<type>(?!using |return |friend |typename )[\w:](?:[\w:<>,* &]*?[\w>*&])?) "
                   r"(?P<names>\w+(?: = [^;]+)?(?:, \w+(?: = [^;]+)?)*);(?: *//(?:/<)? (?P<doc>.*))?$")
GETTER = re.compile(r"  [\w:][\w:<>,*& ]* [*&]?(\w+)\(\)(?: const)?(?: = 0| override| \{.*\})?;?$")
STOCK = [
    (re.compile(r"  (?:bool |explicit |[\w:<>&* ]+ )?operator"), "As usual."),
    (re.compile(r"  Tensor forward\("),
     "The layer's output. Call the layer itself instead, as a function: its name then stands in errors."),
]
TABLE = pathlib.Path(__file__).resolve().parent.parent / "hebb" / "ops" / "elementwise.inc"


def expanded(line: str) -> str:
    """A line with a macro as what it stands for."""
    if line == '#include "hebb/ops/elementwise.inc"':
        entries = re.findall(r'^HEBB_(UNARY|BINARY)\w*\((\w+),.*?"(.*?)"', TABLE.read_text(encoding="utf-8"), re.M)
        operands = {"UNARY": "const Tensor& x", "BINARY": "const Tensor& a, const Tensor& b"}
        return " ".join(f"/** {doc}. */ Tensor {name}({operands[kind]});" for kind, name, doc in entries)
    if match := re.match(r"HEBB_OPERATOR\((\S+), (\w+)\)", line):
        return (f"/** {match[2]}(a, b). Either may be a number. */ "
                f"Tensor operator{match[1]}(const Tensor& a, const Tensor& b);")
    return "" if line.strip() in ("using enum DType;", "HEBB_DTYPES(X)") else line


def words(name: str) -> str:
    return f"The {name.strip('_').replace('_', ' ')}."


def split(names: str) -> list[str]:
    """ "mean = kNone, std = kNone" -> its declarators. Commas within braces and brackets are no ends."""
    parts, depth, begin = [], 0, 0
    for i, c in enumerate(names):
        depth += (c in "({<[") - (c in ")}>]")
        if c == "," and depth == 0:
            parts.append(names[begin:i].strip())
            begin = i + 1
    return [*parts, names[begin:].strip()]


def prepared(line: str, documented: str, owner: str) -> str:
    """The line with the comments that it lacks. `documented`: the text of the comment above it, if any."""
    if match := FIELD.match(line):
        declarators, doc, parts = split(match["names"]), match["doc"] or documented, []
        if documented and (len(declarators) == 1 or match["doc"]):
            return line
        for i, declarator in enumerate(declarators):  # the comment above serves the first
            text = "" if documented and i == 0 else f"/** {doc or words(declarator.split()[0])} */ "
            parts.append(f"{text}{match['type']} {declarator};")
        return line[:len(line) - len(line.lstrip())] + " ".join(parts)
    if documented:
        return line
    if owner and re.match(rf"  (?:explicit )?~?{owner}\(", line):
        return f"  /** {'Ends' if '~' in line else 'Makes'} one. */ {line.lstrip()}"
    for pattern, text in STOCK:
        if pattern.match(line):
            return f"  /** {text} */ {line.lstrip()}"
    if match := GETTER.match(line):
        return f"  /** {words(match[1])} */ {line.lstrip()}"
    return line


def main() -> None:
    owner, nested = "", False  # the class that the line stands in; whether within a struct of that class
    comment: list[str] = []    # the lines of the comment above
    for line in open(sys.argv[1], encoding="utf-8").read().split("\n"):
        if match := re.match(r"(?:class|struct) (\w+)[^;]*\{$", line):
            owner = match[1]
        elif line.startswith("}"):
            owner = ""
        nested = not line.startswith("  }") and (nested or bool(re.match(r"  struct \w+.*\{$", line)))
        indent = 4 if nested else 2
        if owner and line.startswith(" " * indent) and line[indent] not in " /":
            print(prepared(line, " ".join(comment), owner))
        else:
            print(expanded(line))
        stripped = line.strip()
        comment = comment + [stripped[4:]] if stripped.startswith("/// ") else [] if "template" not in line else comment


if __name__ == "__main__":
    main()
