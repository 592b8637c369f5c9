"""Pictures of a replayed step as SVG: the whole of it, and one pass of its loops."""

import html
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from mmjax import scopes
from mmjax.estimate import parts
from mmjax.estimate.replay import Replay
from mmjax.estimate.timeline import CORE, Event, Repeat

WIDTH = 1000
BINS = 500  # of the whole step
ROW = 26  # height of an engine's row
LOOPS = 4  # that are drawn
COLOURS = {  # of the page
    "matmul": "var(--s1)", "attention": "var(--s4)", "elementwise": "var(--s2)",
    "copies": "var(--s5)", "collectives": "var(--warn)", "kernels": "var(--s3)",
    "vmem_wait": "var(--ink-soft)", "host_wait": "var(--ink-soft)",
    "sparsecore_wait": "var(--ink-soft)",
}  # fmt: skip
BESIDE = "var(--s6)"  # what goes on beside the core
ENGINES = {
    "core": "core", "ici": "links", "ici+": "links", "ici-": "links",
    "network": "network",
    "sparsecore": "SparseCore", "dma": "HBM copies", "to_host": "host",
    "from_host": "host",
}  # fmt: skip


class Loop(NamedTuple):
    """One pass of a loop, drawn."""

    title: str
    note: str
    engines: list[str]  # one a row
    svg: str


def whole(found: Replay) -> str:
    """What the core does from beginning to end, as shares of short intervals."""
    height = 120
    rects = []
    for place, shares in enumerate(shares_over_time(found, BINS)):
        top = float(height)
        for kind in parts.KINDS:
            tall = height * shares.get(kind, 0.0)
            top -= tall
            if tall > 0.05:
                rects.append(
                    _rect(place * WIDTH / BINS, top, WIDTH / BINS + 0.2, tall, kind)
                )
    return _svg(height, rects, "what the core does during the step")


def shares_over_time(found: Replay, bins: int) -> list[dict[str, float]]:
    """Of each of `bins` equal intervals of the step, the share of every kind.

    What a loop repeats is spread evenly over all of its passes.
    """
    width = found.seconds / bins
    sums: list[dict[str, float]] = [defaultdict(float) for _ in range(bins)]
    outer = _outermost(found.repeats)
    for event in found.events:
        if event.engine != CORE:
            continue
        around = next((r for r in outer if _inside(event, r)), None)
        start, end = (
            (around.start, around.end)
            if around
            else (event.start, event.start + event.seconds)
        )
        kind, spent = parts.kind_of(event), event.seconds * event.times
        first, last = int(start / width), min(int(end / width), bins - 1)
        for place in range(first, last + 1):
            overlap = min(end, (place + 1) * width) - max(start, place * width)
            if overlap > 0 and end > start:
                sums[place][kind] += spent * overlap / (end - start) / width
    return [dict(each) for each in sums]


def _inside(event: Event, around: Repeat) -> bool:
    """Whether an event lies in the pass that is repeated."""
    slack = 1e-9 * around.seconds
    ends = around.start + around.seconds
    return around.start - slack <= event.start and event.start < ends - slack


def _outermost(repeats: Sequence[Repeat]) -> list[Repeat]:
    """The loops that stand in no other; of a loop in another's pass, the other."""
    found: list[Repeat] = []
    for each in sorted(repeats, key=lambda r: (r.start, -r.end)):
        if not found or each.start >= found[-1].end - 1e-9 * found[-1].seconds:
            found.append(each)
    return found


def loops(found: Replay) -> list[Loop]:
    """One pass of each of the longest loops, its engines below each other."""
    longest = sorted(_outermost(found.repeats), key=lambda r: r.start - r.end)[:LOOPS]
    drawn = []
    for around in sorted(longest, key=lambda r: r.start):
        events = [event for event in found.events if _inside(event, around)]
        title, note = _title(events), _note(around, found.seconds)
        drawn.append(Loop(title, note, *_engines(events, around)))
    return drawn


def _title(events: Sequence[Event]) -> str:
    """The part of the model that the core works on longest, and in which pass."""
    spent: dict[str, float] = defaultdict(float)
    for event in events:
        part = parts.component(event.scope).part
        if event.engine == CORE and part != "other":
            direction = scopes.direction(event.scope).replace("again", "backward")
            spent[f"{part} {direction}"] += event.seconds * event.times
    return max(spent, key=lambda name: spent[name], default="a loop")


def _note(around: Repeat, step: float) -> str:
    passes = around.passes + 1
    share = (around.end - around.start + around.seconds) / step
    return f"one of {passes} passes, {1000 * around.seconds:.2f} ms; {share:.0%} in all"


def _engines(events: Sequence[Event], around: Repeat) -> tuple[list[str], str]:
    """The engines that are in use, and a drawing with a row for each."""
    rows = list(dict.fromkeys(ENGINES.values()))
    used = [r for r in rows if any(ENGINES.get(e.engine) == r for e in events)]
    scale, drawn = WIDTH / around.seconds, []
    for event in events:
        row = used.index(ENGINES.get(event.engine, CORE))
        left = (event.start - around.start) * scale
        wide = min(event.seconds * scale, WIDTH - left)
        if wide > 0.15:
            title = f"{event.kind}: {event.scope or event.name}"
            kind = parts.kind_of(event)
            drawn.append(_rect(left, row * ROW, wide, ROW - 6, kind, title))
    return used, _svg(len(used) * ROW, drawn, ", ".join(used))


def _rect(
    x: float, y: float, wide: float, tall: float, kind: str, title: str = ""
) -> str:
    colour = COLOURS.get(kind, BESIDE)
    inside = f"<title>{html.escape(title)}</title>" if title else ""
    return (
        f'<rect x="{x:.2f}" y="{y:.2f}" width="{wide:.2f}" height="{tall:.2f}" '
        f'fill="{colour}">{inside}</rect>'
    )


def _svg(height: float, drawn: Sequence[str], label: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:g}" height="{height:g}" '
        'preserveAspectRatio="none" role="img" '
        f'aria-label="{html.escape(label)}">{"".join(drawn)}</svg>'
    )
