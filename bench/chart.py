"""Draws the figures of bench/peers.py as an SVG: how many times as long as hebb each peer takes, on a logarithmic
scale."""
import math
from xml.sax.saxutils import escape

from turns import digits

SUBTITLE = "time beside hebb's; logarithmic. Right of the line hebb is faster, left of it the peer."
WIDTH, MARGIN = 820, 28
BARS, RIGHT = 326, 722         # where the bars' axis begins and ends; values stand behind them
LINE, BAR, GAP = 19, 12, 15    # heights of a line and a bar, and what is between two networks
TICKS = [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000]

# Okabe and Ito's colors, which the color-blind can tell apart.
PEERS = {
    "torch-eager": ("PyTorch", "#e69f00"),
    "torch-channels-last": ("PyTorch, channels last", "#d55e00"),
    "torch-compile": ("torch.compile", "#cc79a7"),
    "jax": ("JAX, jit", "#0072b2"),
    "jax-scan": ("JAX, scan", "#56b4e9"),
    "onnxruntime": ("ONNX Runtime", "#009e73"),
}
# A card of its own, light or dark as its reader prefers, keeps the text readable on any page.
STYLE = """
text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, Helvetica, Arial, sans-serif }
text { fill: #1f2328 } .card { fill: #ffffff; stroke: #d1d9e0 } .grid { stroke: #e4e8ec } .one { stroke: #59636e }
.title { font-size: 16px; font-weight: 600 } .name { font-weight: 600 }
.small { font-size: 12px; fill: #59636e }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .card { fill: #151b23; stroke: #3d444d } .grid { stroke: #2a313c } .one { stroke: #9198a1 }
  .small { fill: #9198a1 }
}"""


def text(x, y, words, kind="", anchor="start"):
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'


def scale(values):
    """The ticks that span the values, and where a value stands."""
    low = max((k for k, tick in enumerate(TICKS) if tick <= min(values)), default=0)
    high = min((k for k, tick in enumerate(TICKS) if tick >= max(values)), default=len(TICKS) - 1)
    ticks = TICKS[min(low, TICKS.index(1)):max(high, TICKS.index(2)) + 1]
    step = (RIGHT - BARS) / math.log(ticks[-1] / ticks[0])
    return ticks, lambda value: BARS + step * math.log(value / ticks[0])


def section(title, rows, y):
    """The elements of one chart that begins at y, and where it ends."""
    out = [text(MARGIN, y + 16, title, "title"), text(MARGIN, y + 36, SUBTITLE, "small")]
    ticks, place = scale([time / row["hebb_ms"] for row in rows for time in row["peers"].values()])
    top = y + 66
    bars, y = [], top + 10
    for row in rows:
        bars += [text(MARGIN, y + 10, row["name"], "name"),
                 text(MARGIN, y + 27, f"hebb {digits(row['hebb_ms'])} ms", "small")]
        for k, (peer, time) in enumerate(row["peers"].items()):
            name, color = PEERS[peer]
            ratio = time / row["hebb_ms"]
            begin, end, line = *sorted((place(1), place(ratio))), y + k * LINE
            bars += [text(BARS - 12, line + 10, name, "small", "end"),
                     f'<rect x="{begin:.1f}" y="{line}" width="{max(1.5, end - begin):.1f}" height="{BAR}" rx="1.5" '
                     f'fill="{color}"><title>{escape(name)}: {digits(time)} ms</title></rect>',
                     text(end + 6, line + 10, digits(ratio))]
        y += max(2, len(row["peers"])) * LINE + GAP
    for tick in ticks:
        kind, name, weight = ("one", "hebb", "name") if tick == 1 else ("grid", f"{tick:g}", "small")
        out += [f'<line x1="{place(tick):.1f}" x2="{place(tick):.1f}" y1="{top}" y2="{y - GAP}" class="{kind}"/>',
                text(place(tick), top - 8, name, weight, "middle")]
    return out + bars, y


def draw(figures):
    """The whole picture, as the text of a file."""
    charts = [("A training step", figures.get("rows", [])), ("Inference", figures.get("inference", []))]
    parts, y = [], MARGIN - 6
    for title, rows in charts:
        rows = [row for row in rows if "ratio" in row]
        if rows:
            more, y = section(f"{title}, {rows[0]['precision']}", rows, y)
            parts, y = parts + more, y + 18
    y += 4
    parts.append(text(MARGIN, y, figures["setting"], "small"))
    height = y + MARGIN - 8
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" '
                      f'height="{height:.0f}" role="img" aria-label="Times of hebb and its peers">',
                      f"<style>{STYLE}\n</style>",
                      f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1:.0f}" rx="8" class="card"/>',
                      *parts, "</svg>\n"])
