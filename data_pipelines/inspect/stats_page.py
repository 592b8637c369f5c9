"""The page of prepared folders: figures, histograms, and documents as they are."""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from data_pipelines.inspect import folders, pages, stats, stats_text
from data_pipelines.inspect.histograms import Histogram
from data_pipelines.inspect.stats import Folder
from data_pipelines.records import Document, Image, Segment
from data_pipelines.shard_reader import ShardReader
from data_pipelines.tokenizer import Tokenizer

EXAMPLES = 4  # documents of a folder
SEGMENTS = 12  # of an example, at most
CHARACTERS = 700  # of a text of an example, at most
# Of a drawing, in units that are about pixels.
_WIDTH, _HEIGHT, _BELOW = 400.0, 100.0, 18.0
_FEW = 8  # bars; fewer leave a part of the drawing empty


class Part(NamedTuple):
    """A segment of an example: a text, or an image."""

    text: str = ""
    cut: int = 0  # characters left out
    loss: bool = True
    synthetic: str = ""
    uri: str = ""
    note: str = ""  # size of an image


class Example(NamedTuple):
    """A document to show."""

    title: str
    parts: list[Part]
    more: int  # segments left out


class Column(NamedTuple):
    """A bar of a histogram, drawn."""

    x: float
    y: float
    width: float
    height: float
    title: str


class Drawing(NamedTuple):
    """A histogram, drawn in a box of fixed size."""

    title: str
    histogram: Histogram
    columns: list[Column]
    ticks: list[tuple[float, str]]  # place, words
    figures: list[tuple[str, str]]


def render(root: str, found: Sequence[Folder], tokenizer: Tokenizer) -> str:
    """The page of the folders measured under `root`."""
    amounts = {folder.name: stats.totals([folder]) for folder in found}
    return pages.render(
        "stats.html.jinja",
        root=pathlib.Path(root).resolve().name,
        folders=found,
        totals=stats.totals(found),
        amounts=amounts,
        what=stats_text.AMOUNTS,
        facts={f.name: stats_text.facts(f) for f in found},
        drawings={f.name: _drawings(f) for f in found},
        examples={f.name: _examples(root, f.name) for f in found},
        pairs=stats.shared(found),
        warnings=stats_text.warnings(found),
        notes=stats_text.notes(found, tokenizer),
        width=_WIDTH,
        height=_HEIGHT,
        below=_BELOW,
    )


def _examples(root: str, name: str) -> list[Example]:
    reader = ShardReader(pathlib.Path(root) / name)
    # In the middle of equal parts: the first record of a shard isn't a special one.
    numbers = folders.sample(2 * len(reader), 2 * EXAMPLES)[1::2] // 2
    return [_example(reader.document(n), n) for n in dict.fromkeys(numbers.tolist())]


def _example(document: Document, number: int) -> Example:
    title = f"document {number:,}" + (f", {document.kind}" if document.kind else "")
    parts = [_part(segment) for segment in document.segments[:SEGMENTS]]
    return Example(title, parts, max(0, len(document.segments) - SEGMENTS))


def _part(segment: Segment) -> Part:
    if isinstance(segment, Image):
        size = f"{segment.width} x {segment.height}"
        return Part(uri=pages.encoded_uri(segment.data), note=size)
    cut = max(0, len(segment.text) - CHARACTERS)
    words = segment.synthetic[:CHARACTERS]
    return Part(segment.text[:CHARACTERS], cut, segment.loss, words)


def _drawings(folder: Folder) -> list[Drawing]:
    found = stats.distributions(folder).items()
    return [_drawing(title, h) for title, h in found if h.values]


def _drawing(title: str, histogram: Histogram) -> Drawing:
    bars, ratio = histogram.bars, "/" in title
    most, step = max(bar.values for bar in bars), _WIDTH / max(len(bars), _FEW)
    columns = []
    for place, bar in enumerate(bars):
        height = _HEIGHT * bar.values / most
        height = max(height, 1.0) if bar.values else 0.0
        words = f"{_range(bar.low, bar.high, ratio)}: {bar.values:,}"
        width = max(step - 2, step / 2)
        columns.append(Column(place * step + 1, _HEIGHT - height, width, height, words))
    words = stats_text.number
    figures = [
        ("median", words(histogram.median, ratio)),
        (
            "5 to 95 %",
            f"{words(histogram.low, ratio)} to {words(histogram.high, ratio)}",
        ),
        ("most", words(histogram.most, ratio)),
    ]
    return Drawing(title, histogram, columns, _ticks(histogram, step, ratio), figures)


def _range(low: float, high: float, ratio: bool) -> str:
    """The values of a bar, [low, high)."""
    if ratio:
        return f"{low:.2f} to {high:.2f}"
    return f"{low:,.0f}" if high - low <= 1 else f"{low:,.0f} to {high - 1:,.0f}"


def _ticks(histogram: Histogram, step: float, ratio: bool) -> list[tuple[float, str]]:
    """Words below the first and the last bar, and some between."""
    bars = histogram.bars
    last = len(bars) - 1
    places = sorted({round(i * last / 4) for i in range(5)})
    words = [
        f"{(b.low * b.high) ** 0.5:.2f}" if ratio else stats_text.tick(b.low)
        for b in bars
    ]
    ticks = []
    for place in places:
        half = 3.2 * len(words[place])  # of the words' width: they stay inside
        x = min(max((place + 0.5) * step, half), _WIDTH - half)
        ticks.append((x, words[place]))
    return ticks
