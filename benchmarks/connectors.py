"""Every connector at one budget of image tokens: its size, its cost, what it learns.

    python -m benchmarks.connectors --steps=800 --out=runs/connectors/table.md
    python -m benchmarks.connectors --kinds c_abstractor mlp --steps=40
    python -m benchmarks.connectors --config.model.vit.patch_size=8 --name=fine

Each kind is a run of --config in which only the connector differs, as
`python -m mmjax.train` makes it, in a folder of its own below --workdir: stopped and
started again, the same command goes on, and kinds that are done aren't run again. Other
flags go to every run (name them with --name, so that they have folders of their own).

Seconds are measured at the end, of all kinds in turn, round by round in one process, on
the first batch, so that other work on the machine meets all alike.

A kind that can't make so many tokens of the encoder's patches is left out and says why.
At a patch size of 8 the quickstart's encoder has 8 x 8 patches: kinds that make one
token of several patches have something to do then, and those with one token a patch are
left out.
"""

import argparse
import contextlib
import json
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax

from mmjax import config as config_lib
from mmjax import connector_flops, metrics, run_setup, step
from mmjax.config import Config

HEADER = ("connector", "parameters", "MFLOP an image", "step, s", "held-out loss")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--config", default="configs/quickstart.py")
    parser.add_argument("--kinds", nargs="+", default=config_lib.CONNECTORS)
    parser.add_argument("--tokens", type=int, default=16, help="of an image (Q)")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--workdir", default="runs/connectors")
    parser.add_argument("--name", default="", help="of a variant, for its folders")
    parser.add_argument("--rounds", type=int, default=20, help="of a step of each kind")
    parser.add_argument("--out", help="a markdown file for the table")
    args, overrides = parser.parse_known_args()
    unknown = sorted(set(args.kinds) - set(config_lib.CONNECTORS))
    if unknown:
        parser.error(f"--kinds: {unknown[0]!r} is none of {config_lib.CONNECTORS}")
    found: dict[str, Any] = {}
    for kind in args.kinds:
        folder = folder_of(args, kind)
        if done(folder) or train(args, kind, folder, overrides):
            found[kind] = measured(folder)
        write(args, overrides, found)
    for kind, taken in seconds(args, list(found)).items():
        found[kind]["seconds"] = taken
    write(args, overrides, found)
    print(table(found), flush=True)


def folder_of(args: argparse.Namespace, kind: str) -> pathlib.Path:
    """The run of a kind: runs that differ in what we know of have other folders."""
    return pathlib.Path(args.workdir) / f"{kind}-{label(args)}"


def label(args: argparse.Namespace) -> str:
    parts = [f"{args.tokens}tokens", f"{args.steps}steps", args.name]
    return "-".join(part for part in parts if part)


def done(folder: pathlib.Path) -> bool:
    """Whether a run is at its end: then it has written its figures."""
    return (folder / "summary.json").exists()


def train(
    args: argparse.Namespace, kind: str, folder: pathlib.Path, overrides: list[str]
) -> bool:
    """Runs or resumes the training of a kind; False where the kind can't be.

    Raises RuntimeError where the run fails in any other way.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable, "-m", "mmjax.train", f"--config={args.config}",
        f"--config.model.connector.kind={kind}",
        f"--config.model.connector.tokens={args.tokens}",
        f"--config.steps={args.steps}", f"--workdir={folder}", *overrides,
    ]  # fmt: skip
    print(" ".join(command), flush=True)
    log = folder / "log.txt"
    with log.open("w") as output:
        ended = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT)
    if ended.returncode == 0:
        return True
    problems = [x for x in log.read_text().splitlines() if "connector.tokens=" in x]
    if not problems:
        raise RuntimeError(f"{kind}: ended with {ended.returncode}, see {log}")
    print(f"left out: {problems[-1]}", flush=True)
    return False


def measured(folder: pathlib.Path) -> dict[str, Any]:
    """What a finished run says of its connector."""
    summary = json.loads((folder / "summary.json").read_text())
    model = config_of(folder).model
    return {
        "parameters": summary["parameters"]["connector"],
        "flops": connector_flops.forward(model),
        "loss": summary["heldout_loss"],
        "accuracy": summary["accuracy"],
        "baseline": summary["baseline"],
        "exchanged": summary["accuracy_images_exchanged"],
        "device": summary["device"],
    }


def seconds(args: argparse.Namespace, kinds: Sequence[str]) -> dict[str, float]:
    """Seconds of a step of each kind, the median of some rounds; kept in a file."""
    path = pathlib.Path(args.workdir) / f"seconds-{label(args)}.json"
    with contextlib.suppress(FileNotFoundError):
        held = json.loads(path.read_text())
        if set(kinds) <= held.keys():
            return {kind: held[kind] for kind in kinds}
    takes = {kind: stepper(folder_of(args, kind)) for kind in kinds}
    for _ in range(2):
        for take in takes.values():
            take()
    spent: dict[str, list[float]] = {kind: [] for kind in kinds}
    for turn in range(args.rounds):
        for kind in kinds if turn % 2 else kinds[::-1]:
            began = time.perf_counter()
            takes[kind]()
            spent[kind].append(time.perf_counter() - began)
    found = {kind: statistics.median(times) for kind, times in spent.items()}
    path.write_text(json.dumps(found, indent=1) + "\n")
    return found


def stepper(folder: pathlib.Path) -> Callable[[], None]:
    """What takes a step of a run's model, from the beginning, on its first batch."""
    config = config_of(folder)
    run = run_setup.set_up(config, folder)
    train_step = step.make_train_step(run.model, config, run.mesh)
    state = step.init_state(run.model, config, run.mesh, jax.random.key(config.seed))
    batches = run.train.pipeline.batches(0, 1)
    batch = run_setup.place(run.mesh, next(batches))
    batches.close()

    def take() -> None:
        nonlocal state
        state, _ = train_step(state, batch)
        jax.block_until_ready(state)

    return take


def config_of(folder: pathlib.Path) -> Config:
    """The config of a run."""
    resolved = json.loads((folder / "config.json").read_text())["config"]
    return config_lib.from_dict(resolved)


def table(found: dict[str, Any]) -> str:
    """The figures in markdown; questions are those that need their image."""
    if not found:
        return "no connector has been measured"
    first = next(iter(found.values()))
    asked = [name for name, share in first["exchanged"].items() if share is not None]
    head = [*HEADER, *asked, "mean"]
    lines = [head, ["---"] * len(head)]
    for kind, run in found.items():
        mean = statistics.mean(run["loss"].values())
        lines.append(
            [
                f"`{kind}`",
                metrics.compact(run["parameters"]),
                f"{run['flops'] / 1e6:.1f}",
                f"{run['seconds']:.3f}" if "seconds" in run else "",
                f"{mean:.3f}",
                *_shares(run["accuracy"], asked),
            ]
        )
    blank = [""] * (len(HEADER) - 1)
    lines.append(["most common answer", *blank, *_shares(first["baseline"], asked)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _shares(of: dict[str, float], asked: list[str]) -> list[str]:
    """Shares in per cent, and their mean."""
    shares = [of[name] for name in asked]
    return [f"{share:.1%}" for share in [*shares, statistics.mean(shares or [0.0])]]


def write(
    args: argparse.Namespace, overrides: list[str], found: dict[str, Any]
) -> None:
    """The table so far, with what it was made by, in one step."""
    if not args.out or not found:
        return
    path = pathlib.Path(args.out)
    path.parent.mkdir(parents=True, exist_ok=True)
    devices = ", ".join(sorted({run["device"] for run in found.values()}))
    flags = " ".join([f"--tokens={args.tokens} --steps={args.steps}", *overrides])
    part = path.with_name(path.name + ".part")
    part.write_text(
        f"{table(found)}\n\n`python -m benchmarks.connectors {flags}` with "
        f"`{args.config}`, on {devices}. Parameters and FLOPs (forward) are the "
        "connector's; seconds are medians of steps in turn; the held-out loss is the "
        "mean of the sources'.\n"
    )
    part.replace(path)


if __name__ == "__main__":
    main()
