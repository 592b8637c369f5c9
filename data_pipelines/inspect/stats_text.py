"""What was measured of prepared folders, as text for a terminal."""

from collections.abc import Sequence

from data_pipelines.inspect import folders, stats, tables
from data_pipelines.inspect.stats import Folder, Shared
from data_pipelines.tokenizer import Tokenizer

AMOUNTS = ("documents", "images", "characters", "tokens", "bytes")


def render(found: Sequence[Folder], tokenizer: Tokenizer) -> str:
    """The whole report for a terminal."""
    blocks = [_amounts(found), *map(_folder_text, found)]
    others = [
        f"{p.first} and {p.second} share {_both(p)}"
        for p in stats.shared(found)
        if not p.leak
    ]
    blocks.append("\n".join([*notes(found, tokenizer), *others]))
    blocks += ["\n".join(f"warning: {line}" for line in warnings(found))]
    return "\n\n".join(block for block in blocks if block)


def _amounts(found: Sequence[Folder]) -> str:
    rows = [(f.name, stats.totals([f])) for f in found] + [
        ("in all", stats.totals(found))
    ]
    cells = [
        (name, *(f"{amounts[what]:,}" for what in AMOUNTS)) for name, amounts in rows
    ]
    return tables.table(("folder", *AMOUNTS), cells)


def _folder_text(folder: Folder) -> str:
    rows = [
        (
            what,
            *(f"{v:.2f}" if "/" in what else f"{v:,.0f}" for v in h[3:]),
            f"{h.mean:,.2f}",
        )
        for what, h in stats.distributions(folder).items()
        if h.values
    ]
    columns = ("5 %", "median", "95 %", "most", "mean")
    header = (folder.name, *(columns if rows else ()))
    labels = "\n".join(f"  {name}: {value}" for name, value in facts(folder))
    return f"{tables.table(header, rows)}\n{labels}"


def facts(folder: Folder) -> list[tuple[str, str]]:
    """Labels and shares of a folder: (what, value)."""
    manifest, contents = folder.manifest, folder.contents
    reworded = tables.percent(contents.reworded, contents.texts)
    images, copies = contents.images.total(), stats.repeated(folder)
    found = [
        ("shards", f"{len(manifest['shards']):,}"),
        ("licences", tables.shares(manifest["licences"])),
        ("kinds", tables.shares(manifest["kinds"])),
        ("languages", tables.shares(contents.languages)),
        ("texts with a synthetic wording", reworded),
    ]  # fmt: skip
    if manifest["duplicates"]:
        found.append(
            ("left out when prepared, as equal", f"{manifest['duplicates']:,}")
        )
    if images:
        share = tables.percent(copies, images)
        mean = f"{tables.compact(contents.image_bytes / images)}B"
        found.append(("images that repeat another", f"{copies:,} ({share})"))
        found.append(("bytes of an image", mean))
    return [(name, value) for name, value in found if value not in ("none 100.0 %", "")]


def warnings(found: Sequence[Folder]) -> list[str]:
    """What should be looked into before training, a line each."""
    lines = []
    for pair in stats.shared(found):
        if not pair.leak:
            continue
        train, held = sorted(pair[:2], key=folders.is_training, reverse=True)
        lines.append(f"{held}: {_both(pair)} also in {train}")
    for folder in found:
        if not folder.manifest["records"]:
            lines.append(f"{folder.name}: empty")
        if "" in folder.manifest["licences"] and folder.manifest["records"]:
            count, total = folder.manifest["licences"][""], folder.manifest["records"]
            share = tables.percent(count, total)
            lines.append(f"{folder.name}: {share} of its documents name no licence")
    return lines


def _both(pair: Shared) -> str:
    """What two folders share, such as "1 image and 3 documents"."""
    counts = ((pair.images, "image"), (pair.documents, "document"))
    return " and ".join(
        f"{count:,} {what}{'' if count == 1 else 's'}"
        for count, what in counts
        if count
    )


def notes(found: Sequence[Folder], tokenizer: Tokenizer) -> list[str]:
    """How the figures came about, a line each."""
    lines = [f"tokens: of {tokenizer.path}, {tokenizer.vocab_size} ids"]
    lines += [
        f"{f.name}: languages, wordings, duplicates and leaks are counted over "
        f"{f.read:,} of {f.manifest['records']:,} documents, evenly spread (--limit=0: "
        "all)"
        for f in found
        if f.read < f.manifest["records"]
    ]
    return lines


def number(value: float, ratio: bool) -> str:
    """A value of a distribution; ratios have two digits."""
    return f"{value:.2f}" if ratio else f"{value:,.0f}"


def tick(value: float) -> str:
    """A value as an axis has it."""
    return tables.compact(value) if value >= 10_000 else f"{value:.0f}"
