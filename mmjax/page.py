"""The report's page: what it shows, as one HTML file that needs nothing else."""

import base64
import io
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jinja2
import markupsafe
from PIL import Image

from mmjax import charts, metrics
from mmjax.charts import Line

THUMBNAIL = 448  # pixels of the longer side of a sample image, at most
Records = Sequence[Mapping[str, Any]]
Points = Mapping[str, Sequence[tuple[int, float]]]


class Chart(NamedTuple):
    """A titled drawing and its legend of (label, CSS colour, dotted)."""

    title: str
    note: str
    svg: markupsafe.Markup
    legend: list[tuple[str, str, bool]]


# What the loss is, by objective.
UNITS = {
    "aim": "squared error",
    "contrastive": "nats a pair",
    "next_token": "nats a token",
}
# What of the delivered counts a unit of the mixture is.
UNIT_COUNTS = {"row": "rows", "loss_token": "loss_tokens", "document": "documents"}


def environment(loader: jinja2.BaseLoader | None = None) -> jinja2.Environment:
    """How templates of pages are read: escaped, and nothing may be left undefined."""
    return jinja2.Environment(
        loader=loader,
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(
    name: str,
    summary: Mapping[str, Any],
    records: Records,
    excess: Points,
    samples: Sequence[Mapping[str, Any]],
    config: Mapping[str, Any],
    versions: Mapping[str, str],
) -> str:
    """The page of a run called `name`.

    `summary` has the keys of summary.json; `records` are metrics by step; `excess` the
    rows delivered beyond those configured, by source; `samples` have image (encoded
    bytes), caption and reference.
    """
    template = pathlib.Path(__file__).with_name("report.html.jinja")
    made = environment()
    made.filters |= {"compact": metrics.compact, "percent": percent}
    sources = list(summary["mixture"])
    return made.from_string(template.read_text(encoding="utf-8")).render(
        name=name,
        summary=summary,
        clock=metrics.clock,
        tiles=tiles(summary),
        charts=list(_charts(records, sources, excess, UNITS[summary["objective"]])),
        shots=sorted({n for one in summary["tasks"].values() for n in one}, key=int),
        sources=[(s, _css(charts.source_colour(i))) for i, s in enumerate(sources)],
        mixture=mixture_bars(summary),
        samples=[{**s, "uri": data_uri(s["image"])} for s in samples],
        config=list(flatten(config)),
        versions=versions,
    )


def percent(share: float | None, digits: int = 0) -> str:
    """A share in per cent, a dash where there is none."""
    return "\N{EN DASH}" if share is None else f"{100 * share:.{digits}f} %"


def tiles(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Headline figures: (label, figure, what stands below it)."""
    tokens, unit = summary["heldout_tokens"], UNITS[summary["objective"]]
    counted = {
        s: n for s, n in tokens.items() if summary["heldout_loss"][s] is not None
    }
    heldout = None
    if sum(counted.values()):
        heldout = sum(summary["heldout_loss"][s] * n for s, n in counted.items())
        heldout /= sum(counted.values())
    mfu = summary["mfu"]
    found = [
        ("Training loss", _number(summary["loss"]), f"last interval, {unit}"),
        ("Held-out loss", _number(heldout), f"all sources, {unit}"),
        ("Tokens", _rate(summary["tokens_per_second"]), "text and image"),
        ("Images", _rate(summary["images_per_second"]), "encoded and used"),
        (
            "Compute",
            _quantity(summary["flops_per_second"], "FLOP/s"),
            "of useful work" if mfu is None else f"MFU {percent(mfu, 1)}",
        ),
        ("Pool fill", percent(summary["pool_fill"], 1), "of encoded images are real"),
        ("Token fill", percent(summary["token_fill"], 1), "of positions are used"),
        ("Data wait", percent(summary["data_wait_share"], 1), "of the steps' time"),
        (
            "Peak memory",
            _quantity(summary["peak_memory_bytes"], "B"),
            summary["device"],
        ),
        ("Wall time", metrics.clock(summary["wall_seconds"]), "with evaluation"),
        ("Bad documents", *_faults(summary["faults"])),
    ]
    return [tile for tile in found if tile[1]]


def _faults(faults: Mapping[str, Mapping[str, int]]) -> tuple[str, str]:
    """How many documents were bad ("" for none), and of which sources and reasons."""
    total = sum(sum(counts.values()) for counts in faults.values())
    words = [
        f"{source}: {count:,} {reason.replace('_', ' ')}"
        for source, counts in faults.items()
        for reason, count in counts.items()
    ]
    return f"{total:,}" if total else "", ", ".join(words)


def mixture_bars(
    summary: Mapping[str, Any],
) -> list[tuple[str, list[tuple[str, float]]]]:
    """Bars of (label, share of each source): what was configured, then delivered."""
    delivered = summary["delivered"]
    labels = {
        "rows": "rows",
        "documents": "documents",
        "images": "images",
        "image_tokens": "image tokens",
        "text_tokens": "text tokens",
        "loss_tokens": "loss tokens",
    }
    unit = UNIT_COUNTS[summary["mixture_unit"]]
    first = labels.pop(unit)
    bars = [(f"{first} configured", list(summary["mixture"].items()))]
    for what, label in {unit: f"{first} delivered", **labels}.items():
        counts = [(s, delivered.get(s, {}).get(what, 0)) for s in summary["mixture"]]
        total = sum(count for _, count in counts)
        if total:
            bars.append((label, [(source, count / total) for source, count in counts]))
    return bars


def data_uri(image: bytes, side: int = THUMBNAIL) -> str:
    """The image for an `<img>`, made smaller where a side is longer than `side`."""
    with Image.open(io.BytesIO(image)) as opened:
        kind = "PNG" if max(opened.size) <= 128 else "JPEG"
        small = opened.convert("RGB")
    small.thumbnail((side, side))
    out = io.BytesIO()
    small.save(out, kind, quality=88)
    text = base64.b64encode(out.getvalue()).decode("ascii")
    return f"data:image/{kind.lower()};base64,{text}"


def flatten(node: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yields (path, value) of every leaf of a config, paths joined by dots."""
    if isinstance(node, Mapping) and node:
        for name, value in node.items():
            yield from flatten(value, f"{path}.{name}" if path else name)
    elif isinstance(node, (list, tuple)) and any(isinstance(x, Mapping) for x in node):
        for i, value in enumerate(node):
            yield from flatten(value, f"{path}[{i}]")
    else:
        yield path, str(node)


def _charts(
    records: Records, sources: list[str], excess: Points, loss_unit: str
) -> Iterator[Chart]:
    """The charts for which there is something to draw."""
    by_source = [
        _line(records, f"loss/{s}", s, charts.source_colour(i))
        for i, s in enumerate(sources)
    ]
    heldout = [
        _line(records, f"heldout_loss/{s}", "", charts.source_colour(i), True)
        for i, s in enumerate(sources)
    ]
    total = _line(records, "loss", "all")
    yield from _chart("Training loss", loss_unit, [*by_source, total])
    if any(line.steps for line in heldout):
        note = "dotted, over the training loss"
        yield from _chart("Held-out loss", note, [*by_source, *heldout])
    shares = [
        _line(records, "pool_fill", "pool fill", charts.source_colour(3)),
        _line(records, "token_fill", "token fill", charts.source_colour(4)),
        _line(records, "data_wait_share", "data wait", charts.source_colour(5)),
    ]
    yield from _chart("Fill and waiting", "shares", shares, percent, (-0.015, 1.02))
    lines = [
        _points(excess.get(s, ()), s, charts.source_colour(i))
        for i, s in enumerate(sources)
    ]
    if any(excess.values()):
        note = "rows delivered beyond those configured"
        yield from _chart("Mixture", note, lines, "{:+g}".format, (-1.05, 1.05))
    for key, title, note, unit in (
        ("tokens_per_second", "Tokens", "a second", charts.short),
        ("images_per_second", "Images", "a second", charts.short),
        ("learning_rate", "Learning rate", "", "{:g}".format),
        ("grad_norm", "Gradient norm", "before clipping, mean", "{:g}".format),
    ):
        floor = None if key == "grad_norm" else 0.0
        yield from _chart(title, note, [_line(records, key)], unit, (floor, None))


def _chart(
    title: str,
    note: str,
    lines: Sequence[Line],
    unit: Callable[[float], str] = "{:g}".format,
    bounds: tuple[float | None, float | None] = (None, None),
) -> Iterator[Chart]:
    """Yields the chart, unless no line has a point."""
    lines = [line for line in lines if line.steps]
    if lines:
        svg = markupsafe.Markup(charts.draw(f"{title}, {note}", lines, unit, bounds))
        legend = [
            (line.label, _css(line.colour), line.dotted) for line in lines if line.label
        ]
        yield Chart(title, note, svg, legend if len(lines) > 1 else [])


def _line(
    records: Records,
    key: str,
    label: str = "",
    colour: str = charts.TOTAL,
    dotted: bool = False,
) -> Line:
    """A figure over steps, where it was measured and finite."""
    points = [(r["step"], r[key]) for r in records if r.get(key) is not None]
    return _points(points, label, colour, dotted)


def _points(
    points: Sequence[tuple[int, float]], label: str, colour: str, dotted: bool = False
) -> Line:
    steps, values = zip(*points) if points else ((), ())
    return Line(label, steps, values, colour, dotted)


def _css(colour: str) -> str:
    return charts.COLOURS[colour]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _rate(value: float | None) -> str:
    return "" if value is None else f"{metrics.compact(value)} / s"


def _quantity(value: float | None, unit: str) -> str:
    """A figure such as 1.43 GB; empty where there is none."""
    if value is None:
        return ""
    number = metrics.compact(value)
    digits = number.rstrip("kMGTP")
    return f"{digits} {number[len(digits) :]}{unit}"
