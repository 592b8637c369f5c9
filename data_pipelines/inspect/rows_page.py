"""The page of packed rows: each a flow of tokens, with images in place."""

from collections.abc import Sequence

from data_pipelines.inspect import pages
from data_pipelines.inspect.rows import Group, Picture
from mmjax.config import Config


def render(name: str, config: Config, groups: Sequence[Group]) -> str:
    """The page of some groups of the config called `name`."""
    rows = [row for group in groups for row in group.rows]
    positions = sum(row.positions for row in rows)
    slots = sum(len(group.pixels_Chwc) for group in groups)
    sources = [source.name for source in config.data.sources]
    return pages.render(
        "rows.html.jinja",
        name=name,
        groups=groups,
        uris=[_uris(group) for group in groups],
        colours={s: f"--s{i % pages.COLOURS + 1}" for i, s in enumerate(sources)},
        used={row.source for row in rows},
        row_tokens=config.data.row_tokens,
        totals={
            "rows": len(rows),
            "documents": sum(len(row.chunks) for row in rows),
            "images": sum(row.images for row in rows),
            "positions": positions,
            "padding": sum(row.padding for row in rows),
            "trained": sum(row.trained for row in rows),
            "slots_used": sum(group.used for group in groups),
            "slots": slots,
        },
    )


def _uris(group: Group) -> dict[int, str]:
    """The images of the slots that the group's shown rows refer to."""
    slots = {
        entry.slot
        for row in group.rows
        for chunk in row.chunks
        for entry in chunk.entries
        if isinstance(entry, Picture)
    }
    return {slot: pages.pixels_uri(group.pixels_Chwc[slot]) for slot in sorted(slots)}
