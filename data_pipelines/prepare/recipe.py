"""What a preparation does with the documents that it reads."""

import functools
import hashlib
import math
import pathlib
import pickle
from typing import Any, NamedTuple

from data_pipelines.prepare.decontaminate import Index
from data_pipelines.prepare.filters import captions as caption_rules
from data_pipelines.prepare.filters import pages as page_rules
from data_pipelines.prepare.filters import pictures as picture_rules
from data_pipelines.prepare.filters import quality
from data_pipelines.prepare.filters.scores import Condition
from data_pipelines.prepare.formats.base import Settings

SPLITS = ("train", "heldout")
# Corpora in which a document that loses an image has lost its sense.
NEEDS_IMAGES = ("captions", "instructions")


class Recipe(NamedTuple):
    """Readers' settings, sizes, splits and filters; a filter that is None is off."""

    settings: Settings = Settings()
    max_side: int = 448  # of an image in pixels; larger ones are shrunk
    heldout: float = 0.02  # share of documents (of images for captions) held out
    pictures: picture_rules.Rules | None = None
    captions: caption_rules.Rules | None = None
    pages: page_rules.Rules | None = None  # of interleaved documents
    texts: quality.Rules | None = None  # of interleaved documents and texts
    bad_words: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()  # that are kept; empty: all
    scores: tuple[Condition, ...] = ()
    missing_scores: str = "keep"  # what becomes of records without one: or drop
    near_duplicates: bool = False  # whether they are removed
    evaluations: str = ""  # file of a `decontaminate.Index`; empty: none
    evaluations_digest: str = ""  # of its content


def digest(recipe: Recipe) -> str:
    """What only equal recipes share."""
    known = recipe._replace(evaluations="")
    return hashlib.sha256(repr(known).encode()).hexdigest()[:32]


def described(recipe: Recipe) -> dict[str, Any]:
    """The recipe as JSON, for a manifest; a limit of null is none."""
    values: dict[str, Any] = recipe._asdict()
    values["scores"] = list(map(str, recipe.scores))
    del values["evaluations"]
    for name in ("settings", "pictures", "captions", "pages", "texts"):
        rules = values[name]
        values[name] = rules if rules is None else rules._asdict()
    return _as_json(values)


def _as_json(value: Any) -> Any:
    """JSON has lists for tuples, and no infinity."""
    if isinstance(value, dict):
        return {name: _as_json(one) for name, one in value.items()}
    if isinstance(value, tuple | list):
        return [_as_json(one) for one in value]
    return None if value == math.inf else value


@functools.lru_cache(maxsize=1)
def evaluations(path: str, digest: str) -> Index:
    """The index of evaluation sets that the preparation itself has written.

    The digest tells an index from an earlier one of the same path.
    """
    del digest
    return pickle.loads(pathlib.Path(path).read_bytes())
