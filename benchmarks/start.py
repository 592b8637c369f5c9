"""How long a large prepared corpus takes to open: the first time, and from the cache.

    python -m benchmarks.start                     # 5 million captions in 1,000 shards
    python -m benchmarks.start --documents=0.3 --shards=50

The corpus has a manifest, indexes and columns as preparation writes them, of lengths
drawn as in benchmarks.plan; of its shards only the size is true, as no record is read.
Opening ends when the rows of the first batch are known. Each start is another process,
and its time doesn't include its imports.
"""

import argparse
import hashlib
import itertools
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

from benchmarks import plan as plan_benchmark
from data_pipelines import column_cache, index, pipeline, shards, tokenizer
from data_pipelines.shard_reader import ShardReader
from data_pipelines.tokenizer import Tokenizer
from data_pipelines.wording import Choice
from mmjax import config as config_lib
from mmjax.config import Config, Mixture, Source

ROWS = 512  # of a batch, as MM1's
STEPS = 300  # that image slots are planned for: about an epoch
SIZE = 16  # bytes that stand for a shard


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--documents", type=float, default=5, help="millions")
    parser.add_argument("--shards", type=int, default=1000)
    parser.add_argument("--kind", choices=plan_benchmark.KINDS, default="captions")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--open", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.open:
        print(json.dumps(start(pathlib.Path(args.open))))
        return
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        write(root, args.kind, int(args.documents * 1e6), args.shards)
        print(f"{args.documents:g} million documents, {args.shards} shards")
        print("| start | data, s | plan and first rows, s | together |")
        print("|---|---|---|---|")
        _line("first", [_process(root)])
        _line("from the cache", [_process(root) for _ in range(args.rounds)])


def write(root: pathlib.Path, kind: str, count: int, parts: int) -> None:
    """A corpus in `root`, without its records."""
    words = tokenizer.train(["a few words of a caption"], root / "tokenizer.model", 280)
    folder = root / "captions" / "train"
    folder.mkdir(parents=True)
    bounds = np.linspace(0, count, parts + 1).astype(int).tolist()
    infos = [
        _shard(folder, words, plan_benchmark.KINDS[kind], number, parts, stop - start)
        for number, (start, stop) in enumerate(itertools.pairwise(bounds))
    ]
    shards.write_manifest(folder, infos)


def _shard(
    folder: pathlib.Path,
    words: Tokenizer,
    kind: plan_benchmark.Kind,
    number: int,
    parts: int,
    records: int,
) -> dict:
    """Writes the index of a shard and the file in its place; its manifest entry."""
    columns = plan_benchmark.draw(kind, records, number)
    name = shards.shard_name(number, parts)
    digest = hashlib.sha256(name.encode()).hexdigest()
    (folder / name).write_bytes(bytes(SIZE))
    image = columns["segment_image"]
    np.savez(
        folder / name.replace(".array_record", f".index-{words.digest[:12]}.npz"),
        version=np.array(index.VERSION),
        shard=np.array(digest),
        segments=columns["segments"],
        tokens=np.where(image, 0, columns["segment_tokens"]).astype(np.int32),
        image=image,
        loss=~image,
        width=np.where(image, 448, 0).astype(np.int32),
        height=np.where(image, 336, 0).astype(np.int32),
        kind=np.zeros(records, np.uint8),
        kinds=np.array([""]),
    )
    counts = {"images": int(image.sum()), "characters": 0, "duplicates": 0}
    labels = {"kinds": {"": records}, "licences": {"": records}}
    entry = {"file": name, "bytes": SIZE, "records": records, "sha256": digest}
    return {**entry, **counts, **labels}


def start(root: pathlib.Path) -> tuple[float, float]:
    """Seconds until the corpus is open, and from there to the first batch's rows."""
    config = Config(
        steps=STEPS,
        data=config_lib.Data(
            root=str(root), sources=(Source("captions"),), rows_per_batch=ROWS
        ),
        mixture=Mixture(weights=(1,)),
    )
    began = time.perf_counter()
    reader = ShardReader(root / "captions" / "train")
    column_cache.load(
        reader.directory, reader.manifest, pipeline.open_tokenizer(config),
        config.model, Choice(source="captions"), root / "cache",
    )  # fmt: skip
    opened = time.perf_counter()
    pipeline.open(config, root / "cache").plan.rows_of(0)
    return opened - began, time.perf_counter() - opened


def _process(root: pathlib.Path) -> tuple[float, float]:
    """`start` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.start", f"--open={root}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return tuple(json.loads(done.stdout.splitlines()[-1]))


def _line(name: str, found: list[tuple[float, float]]) -> None:
    data, plan, whole = (
        statistics.median(values)
        for values in zip(*((data, plan, data + plan) for data, plan in found))
    )
    print(f"| {name} | {data:.2f} | {plan:.2f} | {whole:.2f} |", flush=True)


if __name__ == "__main__":
    main()
