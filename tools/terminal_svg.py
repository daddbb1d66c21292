#!/usr/bin/env python3
"""Draws what a program has written to a terminal as an SVG: the screen as it stands at the end.

Record a run with script(1), from util-linux, then draw it:

    script -qec "hebb train lenet5 --data mnist" /tmp/run.txt
    tools/terminal_svg.py /tmp/run.txt docs/images/run.svg --command "hebb train lenet5 --data mnist"

Knows line breaks, returns (with which a progress bar redraws its line), "clear to the end of the line", and the
colours of text, bold and dim.
"""
import argparse
import dataclasses
import html
import pathlib
import re

WIDTH, HEIGHT, SIZE = 8.4, 20, 14  # of a cell and of the font, in pixels
MARGIN, BAR = 18, 34               # around the text; the window's upper edge
BACKGROUND, EDGE, TEXT = "#16181d", "#2a2e37", "#d7dae0"
COLORS = ["#5c6370", "#e06c75", "#98c379", "#e5c07b", "#61afef", "#c678dd", "#56b6c2", "#d7dae0"]


@dataclasses.dataclass(frozen=True)
class Style:
    color: str = TEXT
    bold: bool = False
    dim: bool = False

    def apply(self, code: int) -> "Style":
        """The style after one code of "select graphic rendition" (ECMA-48, 8.3.117)."""
        if code == 0:
            return Style()
        if code in (1, 2):
            return dataclasses.replace(self, bold=self.bold or code == 1, dim=self.dim or code == 2)
        if code == 22:
            return dataclasses.replace(self, bold=False, dim=False)
        if code == 39:
            return dataclasses.replace(self, color=TEXT)
        if 30 <= code <= 37 or 90 <= code <= 97:
            return dataclasses.replace(self, color=COLORS[code % 10])
        return self

    def attributes(self) -> str:
        return (f' fill="{self.color}"' + ' font-weight="bold"' * self.bold + ' fill-opacity="0.4"' * self.dim)


Line = list[tuple[str, Style]]  # one character a cell


def screen(text: str) -> list[Line]:
    """The lines that stand on an endless screen after `text`."""
    lines: list[Line] = [[]]
    column, style = 0, Style()
    for token in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|.|\n", text):
        line = lines[-1]
        if token == "\n":
            lines.append([])
            column = 0
        elif token == "\r":
            column = 0
        elif token.startswith("\x1b["):
            if token[-1] == "K":
                del line[column:]
            elif token[-1] == "m":
                for code in token[2:-1].split(";"):
                    style = style.apply(int(code or 0))
        elif token.isprintable():
            line.extend([(" ", Style())] * (column - len(line)))
            line[column:column + 1] = [(token, style)]
            column += 1
    while lines and not lines[-1]:
        lines.pop()
    return lines


def draw(lines: list[Line]) -> str:
    width = 2 * MARGIN + WIDTH * max(len(line) for line in lines)
    height = BAR + HEIGHT * len(lines) + MARGIN
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}"'
           f' font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, \'DejaVu Sans Mono\', monospace"'
           f' font-size="{SIZE}">',
           f'<rect x="0.5" y="0.5" width="{width - 1:.0f}" height="{height - 1:.0f}" rx="8" fill="{BACKGROUND}"'
           f' stroke="{EDGE}"/>']
    out += [f'<circle cx="{MARGIN + 16 * i}" cy="17" r="5" fill="{color}"/>'
            for i, color in enumerate(("#e06c75", "#e5c07b", "#98c379"))]
    for row, line in enumerate(lines):
        y, column = BAR + HEIGHT * row + SIZE, 0
        while column < len(line):
            style, begin = line[column][1], column
            while column < len(line) and line[column][1] == style:
                column += 1
            run = "".join(c for c, _ in line[begin:column])
            if not run.strip():
                continue
            out.append(f'<text x="{MARGIN + WIDTH * begin:.1f}" y="{y}" xml:space="preserve"'
                       f' textLength="{WIDTH * len(run):.1f}"{style.attributes()}>{html.escape(run)}</text>')
    return "\n".join([*out, "</svg>", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("recording", type=pathlib.Path, help="what script(1) has written")
    parser.add_argument("svg", type=pathlib.Path)
    parser.add_argument("--command", help="shown as the line that was typed")
    args = parser.parse_args()
    text = args.recording.read_bytes().decode("utf-8")
    text = re.sub(r"\AScript started on .*\n|\n?\nScript done on .*\n\Z", "", text)  # script's own lines
    lines = screen(text)
    if args.command:
        prompt = [("$", Style(COLORS[2], bold=True)), (" ", Style())]
        lines.insert(0, prompt + [(c, Style(bold=True)) for c in args.command])
    args.svg.write_text(draw(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
