"""A prediction as one HTML file that needs nothing else."""

import pathlib

import jinja2
import markupsafe

import data_pipelines.inspect
from data_pipelines.inspect import pages
from mmjax import metrics, page, scopes
from mmjax.estimate import drawing, parts, prediction, text
from mmjax.estimate.prediction import HEAVIEST, Prediction
from mmjax.estimate.topologies import GIB

SHOWN = 0.002  # share of the step; smaller components are left out


def check(path: str) -> None:
    """Raises ValueError for a --page that can't be written, before work is done."""
    pages.check(path, needed=False)


def write(path: str, found: Prediction, name: str) -> None:
    """Writes the page of a config called `name`; ValueError where that can't be."""
    pages.write(path, render(found, name))


def render(found: Prediction, name: str) -> str:
    """The page of a config called `name`."""
    folders = (pathlib.Path(__file__), pathlib.Path(data_pipelines.inspect.__file__))
    loader = jinja2.FileSystemLoader([folder.parent for folder in folders])
    environment = page.environment(loader)
    events = found.replay.events
    kinds = {k: s for k, s in parts.by_kind(events).items() if s}
    loops = [
        loop._replace(svg=markupsafe.Markup(loop.svg))
        for loop in drawing.loops(found.replay)
    ]
    return environment.get_template("page.html.jinja").render(
        name=name,
        found=found,
        tiles=_tiles(found),
        headline=list(text.headline(found)),
        trust=text.trust(found),
        whole=markupsafe.Markup(drawing.whole(found.replay)),
        loops=loops,
        kinds=kinds,
        labels=parts.KINDS,
        colours=drawing.COLOURS,
        beside=drawing.BESIDE,
        passes=text.PASSES,
        components=_components(found),
        heaviest=parts.heaviest(events, HEAVIEST),
        costs={name: cost for name, cost in found.costs.items() if cost.forward},
        in_all=sum(found.model_flops.values()),
        compact=metrics.compact,
        memory=found.memory._asdict(),
        short=scopes.short,
        duration=text.duration,
        gib=lambda size: f"{size / GIB:.2f} GiB",
        percent=lambda share: f"{100 * share:.1f} %",
        peak=found.topology.generation.peak,
    )


def _components(found: Prediction) -> list[tuple[str, dict[str, float], float]]:
    rows = [
        (name, passes, sum(passes.values()))
        for name, passes in prediction.components(found).items()
    ]
    return [row for row in rows if row[2] >= SHOWN * found.seconds]


def _tiles(found: Prediction) -> list[tuple[str, str, str]]:
    """Headline figures: (label, figure, what stands below it)."""
    work, generation = found.workload.work, found.topology.generation
    total = found.memory.total
    tiles = [
        ("Step", text.duration(found.seconds), f"{found.topology.chips} chips"),
        ("MFU", f"{100 * found.mfu:.1f} %", "predicted"),
        ("Tokens", f"{metrics.compact(work.positions / found.seconds)}/s", "positions"),
        ("Images", f"{metrics.compact(work.images / found.seconds)}/s", "real ones"),
        (
            "Memory",
            f"{total / GIB:.1f} GiB",
            f"of {generation.hbm_bytes / GIB:.0f} GiB a device",
        ),
        ("Run", metrics.clock(found.hours * 3600), f"{found.steps:,} steps"),
    ]
    if found.price is not None:
        below = f"at {found.price_per_chip_hour:g} a chip and hour"
        tiles.append(("Price", metrics.compact(found.price), below))
    return tiles
