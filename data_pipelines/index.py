"""The index beside every shard: what planning needs to know of its documents.

It holds the tokens and loss flag of each text segment (the tokens of its synthetic
wording, too, where it has one), width and height of each image and the kind of each
document. What an image costs follows from its size and the model, so an index serves
every model with the same tokenizer.
"""

import collections
import concurrent.futures
import functools
import hashlib
import multiprocessing
import pathlib
import zipfile
from collections.abc import Iterator, Sequence

import numpy as np

from data_pipelines import bars, deadline, paths, shards, wording
from data_pipelines.index_columns import Documents
from data_pipelines.records import Document, Text
from data_pipelines.shard_reader import ShardReader
from data_pipelines.tokenizer import Tokenizer
from data_pipelines.wording import Choice
from mmjax import config as config_lib
from mmjax.config import Model

VERSION = 1
_NO_WORDING = -1  # in place of the tokens of a synthetic wording
_ORIGINAL = Choice()  # no document in another wording than its own
_BAR_AFTER = 5.0  # seconds


def build(
    directory: str | pathlib.Path, tokenizer: Tokenizer, workers: int = 1
) -> None:
    """Indexes every shard of a folder for the tokenizer, where that isn't done yet.

    With several workers, shards are shared out to as many processes.
    """
    directory = pathlib.Path(directory)
    infos = shards.read_manifest(directory)["shards"]
    todo = [i for i, info in enumerate(infos) if not _fits(directory, info, tokenizer)]
    work = functools.partial(build_shard, directory, tokenizer=tokenizer)
    bar = functools.partial(
        bars.bar, total=len(todo), desc=f"index {directory}", delay=_BAR_AFTER,
        unit="shard",
    )  # fmt: skip
    if workers <= 1 or len(todo) <= 1:
        for _ in bar(map(work, todo)):
            pass
        return
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, context) as pool:
        for _ in bar(pool.map(work, todo)):
            pass


def build_shard(
    directory: str | pathlib.Path, number: int, tokenizer: Tokenizer
) -> None:
    """Indexes one shard; the file appears when it is complete."""
    reader = ShardReader(directory)
    info = reader.manifest["shards"][number]
    first = sum(other["records"] for other in reader.manifest["shards"][:number])
    documents = map(reader.document, range(first, first + info["records"]))
    columns = _columns(documents, tokenizer)
    if (columns["synthetic"] == _NO_WORDING).all():
        del columns["synthetic"]  # as in most corpora
    path = _path(pathlib.Path(directory), info, tokenizer)
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        np.savez(
            file, version=np.array(VERSION), shard=np.array(info["sha256"]), **columns
        )
    part.replace(path)


def load(
    directory: str | pathlib.Path,
    tokenizer: Tokenizer,
    model: Model,
    choice: Choice = _ORIGINAL,
) -> Documents:
    """The columns of all documents of a folder, in record order, for a model.

    Tokens are those of the wording that each document is read in. Raises ValueError
    where the folder isn't indexed for this tokenizer, or an index is not of the shard
    that it lies beside.
    """
    folder = paths.of(directory)
    manifest = shards.read_manifest(folder)
    infos = manifest["shards"]
    parts = [load_shard(folder, info, tokenizer) for info in infos]
    empty = _columns(iter(()), tokenizer)
    whole = {
        name: np.concatenate([empty[name], *(part[name] for part in parts)])
        for name in (
            "segments", "tokens", "image", "loss", "width", "height", "synthetic"
        )
    }  # fmt: skip
    start = np.concatenate([[0], np.cumsum(whole["segments"])])
    tokens, reworded = _worded(whole, start, choice)
    kinds = tuple(manifest["kinds"])
    image = whole["image"]
    cost = config_lib.image_cost(model, whole["width"][image], whole["height"][image])
    slots = np.zeros(len(image), np.int16)
    tokens[image], slots[image] = cost.positions, cost.slots
    facts = (np.asarray(cost.positions, np.int64), np.asarray(cost.slots, np.int64))
    if reworded.any():
        facts = (*facts, np.packbits(reworded))
    return Documents(
        segment_start=start,
        segment_tokens=tokens,
        segment_image=image,
        segment_slots=slots,
        segment_loss=whole["loss"],
        digest=_digest(infos, tokenizer, facts),
        kind=_kinds(parts, kinds),
        kinds=kinds,
        synthetic=reworded,
    )


def _digest(
    infos: Sequence[dict], tokenizer: Tokenizer, facts: Sequence[np.ndarray]
) -> str:
    """The digest of shards and tokenizer, and of what a config makes of them."""
    known = [tokenizer.digest, *(info["sha256"] for info in infos), f"{VERSION}"]
    digest = hashlib.sha256(" ".join(known).encode())
    for column in facts:
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()


def _worded(
    columns: dict, start: np.ndarray, choice: Choice
) -> tuple[np.ndarray, np.ndarray]:
    """Tokens of each text as it is read, and which documents (bool) are reworded."""
    there = columns["synthetic"] != _NO_WORDING
    before = np.concatenate([[0], np.cumsum(there)])
    reworded = np.diff(before[start]) > 0
    reworded &= wording.chosen(choice, len(reworded))
    there &= np.repeat(reworded, columns["segments"])
    return np.where(there, columns["synthetic"], columns["tokens"]), reworded


def _path(directory: pathlib.Path, info: dict, tokenizer: Tokenizer) -> pathlib.Path:
    stem = info["file"].removesuffix(".array_record")
    return directory / f"{stem}.index-{tokenizer.digest[:12]}.npz"


def _columns(documents: Iterator[Document], tokenizer: Tokenizer) -> dict:
    """The arrays of one index file."""
    table = collections.defaultdict(list)
    kinds: dict[str, int] = {}
    for document in documents:
        for segment in document.segments:
            text = isinstance(segment, Text)
            count = len(tokenizer.encode(segment.text)) if text else 0
            table["tokens"].append(count)
            other = text and segment.synthetic
            table["synthetic"].append(
                len(tokenizer.encode(other)) if other else _NO_WORDING
            )
            table["image"].append(not text)
            table["loss"].append(text and segment.loss)
            table["width"].append(0 if text else segment.width)
            table["height"].append(0 if text else segment.height)
        table["segments"].append(len(document.segments))
        table["kind"].append(kinds.setdefault(document.kind, len(kinds)))
    types = {
        "segments": np.int64, "tokens": np.int32, "image": np.bool_, "loss": np.bool_,
        "width": np.int32, "height": np.int32, "kind": np.uint8, "synthetic": np.int32,
    }  # fmt: skip
    columns = {name: np.array(table[name], types[name]) for name in types}
    return {**columns, "kinds": np.array(list(kinds), np.str_)}


def _kinds(parts: Sequence[dict], kinds: tuple[str, ...]) -> np.ndarray:
    """The documents' kinds as places in `kinds`, uint8."""
    place = {kind: number for number, kind in enumerate(kinds)}
    columns = [np.zeros(0, np.uint8)]
    for part in parts:
        codes = np.array([place[kind] for kind in part["kinds"].tolist()], np.uint8)
        columns.append(codes[part["kind"]])
    return np.concatenate(columns)


def load_shard(directory: pathlib.Path, info: dict, tokenizer: Tokenizer) -> dict:
    """The columns of one shard's index, by name; ValueError as of `load`.

    Over segments: tokens, image, loss, width, height; over documents: segments (how
    many) and kind (place in kinds).
    """
    path = _path(directory, info, tokenizer)
    try:
        with deadline.opening(path):
            opened = paths.open_binary(path)
    except FileNotFoundError:
        raise _not_indexed(path, tokenizer) from None
    except OSError as error:
        raise ValueError(f"{path}: can't be read ({error})") from error
    try:
        with opened, np.load(opened) as file:
            columns = {name: file[name] for name in file.files}
            found = int(columns["version"]), str(columns["shard"])
            none = np.full(len(columns["tokens"]), _NO_WORDING, np.int32)
            columns.setdefault("synthetic", none)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: corrupt, delete it and index again") from error
    if found != (VERSION, info["sha256"]):
        raise ValueError(f"{path}: index of another shard, delete it and index again")
    return columns


def _not_indexed(path: pathlib.Path, tokenizer: Tokenizer) -> ValueError:
    """What is said of a shard without its index at `path`."""
    directory = path.parent
    others = list(directory.glob(path.name.split(".index-")[0] + ".index-*.npz"))
    again = "index them for it (python -m data_pipelines.prepare index)"
    if others:
        return ValueError(
            f"tokenizer {tokenizer.path} doesn't match the shards in {directory}: "
            f"they are indexed for {len(others)} other tokenizer(s); use the one "
            f"they were prepared with, or {again}"
        )
    return ValueError(f"{directory}: shards have no index; {again}")


def _fits(directory: pathlib.Path, info: dict, tokenizer: Tokenizer) -> bool:
    """Whether a shard already has its index."""
    try:
        load_shard(directory, info, tokenizer)
    except ValueError:
        return False
    return True
