"""Every connector at one budget of image tokens: its size, its cost, what it learns.

    python -m benchmarks.connectors --steps=800 --out=runs/connectors/table.md
    python -m benchmarks.connectors --kinds c_abstractor mlp --steps=40
    python -m benchmarks.connectors --config.model.vit.patch_size=8 --name=fine

Each kind is a run of --config in which only the connector differs, as
`python -m mmjax.train` makes it, in a folder of its own below --workdir: stopped and
started again, the same command goes on, and kinds that are done aren't run again. Other
flags go to every run (name them with --name, so that they have folders of their own).

A kind that can't make so many tokens of the encoder's patches is left out and says why.
At a patch size of 8 the quickstart's encoder has 8 x 8 patches: kinds that make one
token of several patches have something to do then, and those with one token a patch are
left out.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
from typing import Any

from mmjax import config as config_lib
from mmjax import connector_flops, metrics

HEADER = ("connector", "parameters", "MFLOP an image", "step, s", "held-out loss")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--config", default="configs/quickstart.py")
    parser.add_argument("--kinds", nargs="+", default=config_lib.CONNECTORS)
    parser.add_argument("--tokens", type=int, default=16, help="of an image (Q)")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--workdir", default="runs/connectors")
    parser.add_argument("--name", default="", help="of a variant, for its folders")
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
    print(table(found), flush=True)


def folder_of(args: argparse.Namespace, kind: str) -> pathlib.Path:
    """The run of a kind: runs that differ in what we know of have other folders."""
    parts = [kind, f"{args.tokens}tokens", f"{args.steps}steps", args.name]
    return pathlib.Path(args.workdir) / "-".join(part for part in parts if part)


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
    resolved = json.loads((folder / "config.json").read_text())["config"]
    model = config_lib.from_dict(resolved).model
    records = metrics.read_lines(folder / "metrics.jsonl")
    seconds = [r["seconds_per_step"] for r in records if "seconds_per_step" in r]
    return {
        "parameters": summary["parameters"]["connector"],
        "flops": connector_flops.forward(model),
        # The first interval has what starts slowly in it.
        "seconds": statistics.median(seconds[1:] or seconds),
        "loss": summary["heldout_loss"],
        "accuracy": summary["accuracy"],
        "baseline": summary["baseline"],
        "exchanged": summary["accuracy_images_exchanged"],
        "device": summary["device"],
    }


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
                f"{run['seconds']:.2f}",
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
        "connector's; seconds are medians of log intervals; the held-out loss is the "
        "mean of the sources'.\n"
    )
    part.replace(path)


if __name__ == "__main__":
    main()
