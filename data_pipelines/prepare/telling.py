"""What a preparation tells of itself: rejects, manifests and a summary to print."""

import collections
import hashlib
import json
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

from data_pipelines import shards, tokenizer
from data_pipelines.prepare import parts
from data_pipelines.prepare import recipe as recipes
from data_pipelines.prepare.parts import Place
from data_pipelines.prepare.recipe import Recipe
from data_pipelines.prepare.workspace import Workspace

REJECTS = "rejects.jsonl"


def write_rejects(places: Sequence[Place], folder: pathlib.Path) -> None:
    part = folder / f"{REJECTS}.part"
    with part.open("w", encoding="utf-8") as file:
        for where in places:
            file.writelines(map(parts.line, parts.rejects(where)))
    part.replace(folder / REJECTS)


def extra(
    corpora: Iterable[str], recipe: Recipe, places: Sequence[Place]
) -> dict[str, dict[str, Any]]:
    """What manifests say of each corpus: the recipe, and what became of what was read.

    Of documents, read = the sum of lost + records and duplicates of both manifests.
    """
    found = {}
    for corpus in corpora:
        read, lost = collections.Counter(), collections.Counter()
        for where in places:
            if where.corpus == corpus:
                facts = parts.facts(where)
                read.update(facts.read)
                lost.update(facts.lost)
                lost.update(parts.dropped(where))
        counts = {
            "read": dict(sorted(read.items())),
            "lost": dict(sorted(lost.items())),
        }
        found[corpus] = {"recipe": recipes.described(recipe), **counts}
    return found


def of_tokenizer(path: pathlib.Path) -> dict[str, str]:
    """What a manifest says of the tokenizer."""
    return {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def write_manifests(
    beam: Any, wanted: Sequence[Any], space: Workspace, extra: dict[str, dict[str, Any]]
) -> None:
    by_folder: dict[tuple[str, str], list[dict]] = {}
    for one in wanted:
        info = json.loads(beam.info_path(space, one).read_text())
        by_folder.setdefault((one.corpus, one.split), []).append(info)
    for (corpus, split), infos in by_folder.items():
        shards.write_manifest(space.result / corpus / split, infos, extra[corpus])


def summary(folder: pathlib.Path, name: pathlib.Path) -> str:
    """What a finished folder holds, as a table, and its rejects by reason."""
    rows: list[tuple[str, ...]] = [
        ("", "documents", "images", "characters", "duplicates", "shards")
    ]
    for path in sorted(folder.glob(f"*/*/{shards.MANIFEST}")):
        manifest = shards.read_manifest(path.parent)
        totals = ("records", "images", "characters", "duplicates")
        row = [str(path.parent.relative_to(folder)), *(manifest[t] for t in totals)]
        rows.append((*map(str, row), str(len(manifest["shards"]))))
    widths = [max(map(len, column)) for column in zip(*rows)]
    table = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])])
        for row in rows
    ]
    words = tokenizer.open(tokenizer.in_folder(folder))
    ids = f"tokenizer: {name / words.FILE_NAME}, {words.vocab_size} ids"
    return "\n".join([*table, ids, reasons(folder, name)])


def reasons(folder: pathlib.Path, name: pathlib.Path) -> str:
    """How many were rejected, and why."""
    counts = collections.Counter()
    with (folder / REJECTS).open(encoding="utf-8") as lines:
        for line in lines:
            reject = json.loads(line)
            counts[reject["reason"], reject["lost"]] += 1
    reasons = [
        f"{count} x {reason} (the {lost} is left out)"
        for (reason, lost), count in sorted(counts.items())
    ]
    where = f", listed in {name / REJECTS}:" if reasons else ""
    return "\n  ".join([f"rejected: {counts.total()}{where}", *reasons])
