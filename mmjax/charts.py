"""Line charts as SVG text for an HTML page, which gives them their colours and fonts.

matplotlib draws with placeholder colours; they are then replaced by the page's CSS
variables, so one drawing suits a light and a dark page.
"""

import html
import io
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

ROUND = (1, 2, 5, 10)  # figures that an axis counts in
POINTS = 400  # of a line, at most; more are averaged
SOURCECOLOURS = 6  # --s1 ... --s6 of the page; further lines begin again

TEXT, LINE, TOTAL = "#010101", "#020202", "#030303"
COLOURS = {TEXT: "var(--ink-soft)", LINE: "var(--line)", TOTAL: "var(--ink)"} | {
    f"#0a0a0{i}": f"var(--s{i})" for i in range(1, SOURCECOLOURS + 1)
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.edgecolor": LINE,
    "axes.labelcolor": TEXT,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "xtick.color": TEXT,
    "ytick.color": TEXT,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "text.color": TEXT,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "lines.linewidth": 1.5,
    "lines.solid_capstyle": "round",
    "lines.solid_joinstyle": "round",
}


class Line(NamedTuple):
    """One line of a chart."""

    label: str
    steps: Sequence[float]
    values: Sequence[float]
    colour: str = TOTAL
    dotted: bool = False  # points joined by dots: measured now and then


def source_colour(place: int) -> str:
    """The colour of the source at this place; the same in every chart."""
    return f"#0a0a0{place % SOURCECOLOURS + 1}"


def draw(
    title: str,
    lines: Sequence[Line],
    unit: Callable[[float], str] = "{:g}".format,
    bounds: tuple[float | None, float | None] = (None, None),
) -> str:
    """An `<svg>` of lines over steps; `unit` writes the values of the vertical axis.

    `title` is for screen readers; `bounds` fixes ends of the vertical axis.
    """
    # Ids of clip paths and markers come from the salt: alike in every run, and
    # different in every chart of a page.
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": title}):
        figure = Figure(figsize=(4.6, 2.5), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        for line in lines:
            _plot(axes, line)
        axes.set_xlabel("step")
        axes.set_ylim(*bounds)
        axes.margins(x=0.015)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=ROUND))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: short(x)))
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=ROUND))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: unit(y)))
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return _for_page(out.getvalue(), title)


def _plot(axes: Axes, line: Line) -> None:
    steps, values = thin(line.steps, line.values)
    single = len(steps) == 1
    axes.plot(
        steps,
        values,
        color=line.colour,
        linestyle=(0, (0.1, 2.0)) if line.dotted else "-",
        dash_capstyle="round",
        marker="o" if line.dotted or single else None,
        markersize=3.2,
        linewidth=1.9 if line.colour == TOTAL and not line.dotted else 1.4,
    )


def thin(
    steps: Sequence[float], values: Sequence[float], points: int = POINTS
) -> tuple[np.ndarray, np.ndarray]:
    """At most `points` points: means over neighbours; the last step stays the last."""
    parts = min(points, len(steps))
    if parts == 0:
        return np.zeros(0), np.zeros(0)
    pieces = np.array_split(np.asarray(values, np.float64), parts)
    ends = np.cumsum([len(piece) for piece in pieces]) - 1
    means = np.array([piece.mean() for piece in pieces])
    return np.asarray(steps, np.float64)[ends], means


def short(value: float) -> str:
    """A round number as an axis has it: 0.5, 400, 2k, 1.5M."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _for_page(svg: str, title: str) -> str:
    """The drawing without its own fonts, colours and fixed size."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<(metadata|style)\b.*?</\1>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font-family: [^;]*; ", "", svg).replace("xlink:href", "href")
    svg = re.sub(r'<g id="[^"]*"/>\s*', "", svg)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    viewbox = re.search(r'viewBox="[^"]*"', svg)
    head = f'{viewbox[0] if viewbox else ""} role="img"'
    label = html.escape(title)
    svg = re.sub(r"<svg[^>]*>", lambda _: f'<svg {head} aria-label="{label}">', svg)
    for placeholder, variable in COLOURS.items():
        svg = svg.replace(placeholder, variable)
    return svg
