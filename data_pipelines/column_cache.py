"""The columns of large sources in a cache folder, so that a start opens no index file.

They lie under a key of all that they follow from: what the manifest says of the shards,
tokenizer, the cost of images and the choice of wordings. None of it needs the columns.
"""

import hashlib
import logging
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

from data_pipelines import columns, index
from data_pipelines.index_columns import Documents
from data_pipelines.tokenizer import Tokenizer
from data_pipelines.wording import Choice
from mmjax import config as config_lib
from mmjax.config import Model

VERSION = 1  # of what is kept
STORED_FROM = 200_000  # documents; the indexes of fewer are read in no time

log = logging.getLogger(__name__)


def load(
    directory: pathlib.Path,
    manifest: Mapping[str, Any],
    tokenizer: Tokenizer,
    model: Model,
    choice: Choice,
    cache: str | pathlib.Path | None,
) -> Documents:
    """What `index.load` gives for a folder, which has this manifest.

    A large source is mapped from `cache`, and put there the first time. What is damaged
    there is made again; where the folder can't be written, columns stay in memory.
    Raises ValueError as `index.load` does.
    """
    if cache is None or manifest["records"] < STORED_FROM:
        return index.load(directory, tokenizer, model, choice)
    key = _key(manifest, tokenizer, model, choice)
    folder = pathlib.Path(cache) / f"columns-{key[:24]}"
    if folder.exists():
        try:
            return columns.load(folder, key)
        except ValueError as error:
            log.warning("made again: %s", error)
            shutil.rmtree(folder, ignore_errors=True)
    documents = index.load(directory, tokenizer, model, choice)
    try:
        return columns.store(folder, documents, key)
    except OSError as error:
        log.warning("columns of %s not cached at %s: %s", directory, folder, error)
    except ValueError:
        pass  # a document that can't be counted: the plan says so, with its source
    return documents


def _key(
    manifest: Mapping[str, Any], tokenizer: Tokenizer, model: Model, choice: Choice
) -> str:
    """The name of columns, as 64 hexadecimal digits."""
    facts = (
        VERSION,
        index.VERSION,
        [(info["sha256"], info["records"]) for info in manifest["shards"]],
        list(manifest["kinds"]),
        tokenizer.digest,
        config_lib.image_cost_facts(model),
        tuple(choice) if choice.share > 0 else (),
    )
    return hashlib.sha256(repr(facts).encode()).hexdigest()
