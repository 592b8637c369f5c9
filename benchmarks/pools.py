"""How full image pools are, by the number of rows that share one, at 45/45/10.

    python -m benchmarks.pools                     # lengths of published statistics
    python -m benchmarks.pools --root=data/own     # and of a prepared corpus
    python -m benchmarks.pools --topology=v5p:4x4x4 --rows=256   # and how fast that is

The capacity is the fewest slots (a multiple of `data.pool_multiple`) that hold every
pool group of the run; the fill is real images over encoded ones, of all its steps.
Planning is all that is needed: no image is read.

With a topology, MM1-3B's step is compiled for it with each number of slots a row
(`mmjax.estimate`), and real images and tokens a second are those of the plan over the
predicted time. All rows lie in pools of 16 then, whose capacity is that of 16 rows of
smaller pools: what differs between two steps are the slots that the encoder works on.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import time
from typing import NamedTuple

from benchmarks import plan as lengths
from data_pipelines import index, plan, tokenizer
from data_pipelines.index_columns import Documents
from data_pipelines.plan import SourcePlan
from data_pipelines.pools import GlobalPlan
from mmjax import config as config_lib
from mmjax.config import Config

SOURCES = ("captions", "interleaved", "text")
GROUPS = (1, 2, 4, 8, 16, 32)
PREDICTED = (1, 4, 8, 16)
TOGETHER = 16  # rows of a pool of the steps that are compiled


class Pools(NamedTuple):
    """What pools of some rows hold, of all steps."""

    slots: float  # of a row
    images: float  # real ones of a row
    tokens: float  # positions of a row that aren't padding


def config(rows: int, steps: int, rows_per_pool: int, multiple: int) -> Config:
    """MM1's rows: 4096 tokens, 144 an image."""
    data = config_lib.Data(
        rows_per_batch=rows,
        rows_per_pool=rows_per_pool,
        # A pool of one row can hold no less than the multiple.
        pool_multiple=min(multiple, rows_per_pool),
    )
    return Config(steps=steps, data=data)


def published(made: Config, documents: int) -> list[SourcePlan]:
    """Plans of lengths drawn from published statistics."""
    limits = plan.layout(made)
    drawn = (lengths.sample(lengths.KINDS[name], documents) for name in SOURCES)
    return [SourcePlan(n, d, limits) for n, d in zip(SOURCES, drawn)]


def prepared(made: Config, root: pathlib.Path) -> list[SourcePlan]:
    """Plans of the prepared corpora in a folder."""
    words = tokenizer.open(tokenizer.in_folder(root))
    limits = plan.layout(made)

    def opened(name: str) -> Documents:
        return index.load(root / name / "train", words, made.model)

    return [SourcePlan(name, opened(name), limits) for name in SOURCES]


def show(
    name: str, plans: list[SourcePlan], args: argparse.Namespace
) -> dict[int, Pools]:
    """Prints a row for each size of a group; what they hold."""
    found = {}
    for rows_per_pool in GROUPS:
        made = config(args.rows, args.steps, rows_per_pool, args.multiple)
        start = time.process_time()
        dealt = GlobalPlan(made, plans)
        seconds = time.process_time() - start
        counts = dealt.counts(args.steps)
        images = int(counts["slots"].sum())
        slots = args.steps * dealt.groups_per_batch * dealt.capacity
        shown = f"{dealt.capacity:8} {dealt.capacity / rows_per_pool:9.2f}"
        mean = images / (args.steps * args.rows)
        print(
            f"{name:12} {rows_per_pool:14} {shown} {mean:11.2f} {images / slots:6.1%} "
            f"{seconds:6.1f}"
        )
        tokens = int(counts["positions"].sum()) / (args.steps * args.rows)
        found[rows_per_pool] = Pools(dealt.capacity / rows_per_pool, mean, tokens)
    return found


def predict(found: dict[int, Pools], args: argparse.Namespace) -> None:
    """Prints what a second of a topology yields, with pools of PREDICTED rows."""
    print(f"\npredicted for {args.topology}, never measured; MM1-3B, {args.rows} rows")
    print(f"{'rows of a pool':>14} {'step':>8} {'images/s':>9} {'tokens/s':>9} ratio")
    first = None
    for rows_per_pool in PREDICTED:
        pools = found[rows_per_pool]
        seconds = step_seconds(round(pools.slots * TOGETHER), args)
        images = pools.images * args.rows / seconds
        tokens = pools.tokens * args.rows / seconds
        first = first or images
        print(
            f"{rows_per_pool:14} {seconds:6.3f} s {images:9.0f} {tokens:9.0f} "
            f"{images / first:5.2f}",
            flush=True,
        )


def step_seconds(capacity: int, args: argparse.Namespace) -> float:
    """The predicted step whose pools of TOGETHER rows have so many slots."""
    command = [
        sys.executable, "-m", "mmjax.estimate", "--config=configs/mm1_3b.py",
        f"--topology={args.topology}", "--json",
        f"--config.data.rows_per_batch={args.rows}",
        f"--config.data.rows_per_pool={TOGETHER}",
        f"--config.data.pool_capacity={capacity}",
    ]  # fmt: skip
    if args.keep:
        command.append(f"--keep={args.keep / str(capacity)}")
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)["step_seconds"]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--root", type=pathlib.Path, help="folder of prepared corpora")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=128, help="of a batch")
    parser.add_argument("--multiple", type=int, default=16, help="of a capacity")
    parser.add_argument(
        "--documents", type=float, default=0.5, help="millions a source"
    )
    parser.add_argument("--topology", default="", help="of TPUs; takes minutes a row")
    parser.add_argument("--keep", type=pathlib.Path, help="folder of compiled steps")
    args = parser.parse_args()
    print(f"{args.steps} steps of {args.rows} rows, 45/45/10")
    print(
        f"{'lengths':12} rows of a pool {'capacity':>8} {'slots/row':>9} "
        f"{'images/row':>11} {'fill':>6} {'core s':>6}"
    )
    made = config(args.rows, args.steps, 16, args.multiple)
    found = show("published", published(made, int(args.documents * 1e6)), args)
    if args.root:
        found = show(str(args.root.name), prepared(made, args.root), args)
    if args.topology:
        predict(found, args)


if __name__ == "__main__":
    main()
