"""What a run says of itself: sums of steps, records, writers, and the progress line.

A record is a flat dict of numbers under stable keys; every writer gets the same ones.
"""

import json
import math
import os
import pathlib
import shutil
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TextIO

import numpy as np
import tensorboardX

from mmjax.config import Log

Sums = dict[str, Any]  # numbers and lists of numbers (by source), fit for JSON
Record = dict[str, float]

FAULTS = "faults/"  # begins the names of counts of bad documents, by reason
LOAD = "expert_load/"  # begins the names of the loads of experts, by layer
LAST = ("learning_rate", "param_norm")  # not summed: the last step's value counts


def add(sums: Mapping[str, Any], values: Mapping[str, Any]) -> Sums:
    """Sums over steps, in float64; the order of steps alone decides the result.

    `values` are numbers or arrays by source; a name that is new starts at 0.
    """
    out = dict(sums)
    for name, value in values.items():
        value = np.asarray(value, np.float64)
        if name in sums and name not in LAST:
            value = np.asarray(sums[name], np.float64) + value
        out[name] = value.tolist()
    return out


def summary(sums: Sums, sources: Sequence[str]) -> Record:
    """The record of the steps in `sums`: means where they say more than sums.

    Of the train step's sums, and of the loop's: `seconds`, `waited` (seconds without a
    batch), `flops`, and `steps`. A source without a counted token has no loss.
    """
    nll = np.asarray(sums["loss_sum_by_source"])
    counted = np.asarray(sums["loss_tokens_by_source"])
    seconds, tokens = max(sums["seconds"], 1e-9), max(float(counted.sum()), 1.0)
    record = {"loss": float(nll.sum()) / tokens}
    for name, total, count in zip(sources, nll.tolist(), counted.tolist()):
        if count:
            record[f"loss/{name}"] = total / count
    record |= {
        "z_loss": sums["z_loss_sum"] / tokens,
        "grad_norm": sums["grad_norm"] / sums["steps"],
        "learning_rate": sums["learning_rate"],
        "param_norm": sums["param_norm"],
        "loss_tokens": float(counted.sum()),
        "pool_fill": sums["images"] / max(sums["slots"], 1),
        "token_fill": sums["tokens"] / max(sums["positions"], 1),
        "seconds_per_step": seconds / sums["steps"],
        "tokens_per_second": sums["tokens"] / seconds,
        "images_per_second": sums["images"] / seconds,
        "flops_per_second": sums["flops"] / seconds,
        "data_wait_share": sums["waited"] / seconds,
    }
    return record | _of_routers(sums)


def _of_routers(sums: Sums) -> Record:
    """Of the layers with experts, if any: `layer1` is the lowest of them.

    `balance_loss` (1 is even) and `router_z_loss` are means over tokens and layers;
    `expert_load` is the least and the most that an expert of a layer was chosen, as a
    multiple of an even share.
    """
    if "router_load_by_layer" not in sums:
        return {}
    tokens, load_LX = max(sums["tokens"], 1), np.asarray(sums["router_load_by_layer"])
    load_LX = load_LX / np.maximum(load_LX.mean(axis=1, keepdims=True), 1e-9)
    dropped, chosen = (
        np.sum(sums[f"router_{what}_by_layer"]) for what in ("dropped", "load")
    )
    record = {
        "balance_loss": float(np.mean(sums["router_balance_by_layer"]) / tokens),
        "router_z_loss": float(np.mean(sums["router_z_by_layer"]) / tokens),
        "dropped_share": float(dropped / max(chosen, 1)),
    }
    for layer, load_X in enumerate(load_LX, 1):
        record[f"{LOAD}layer{layer}/min"] = float(load_X.min())
        record[f"{LOAD}layer{layer}/max"] = float(load_X.max())
    return record


def delivered(counts: Mapping[str, Mapping[str, float]]) -> Record:
    """What each source has given so far, `{source: {what: count}}`, as a record."""
    return {
        f"delivered/{source}/{what}": float(count)
        for source, of_source in counts.items()
        for what, count in of_source.items()
    }


def faults(sums: Sums, sources: Sequence[str]) -> dict[str, dict[str, int]]:
    """Bad documents in `sums`, {source: {reason: how many}}, without zeros."""
    found: dict[str, dict[str, int]] = {}
    for name, counts in sums.items():
        if name.startswith(FAULTS):
            for source, count in zip(sources, counts):
                if count:
                    reason = name.removeprefix(FAULTS)
                    found.setdefault(source, {})[reason] = int(count)
    return found


def fault_record(counts: Mapping[str, Mapping[str, int]]) -> Record:
    """Bad documents since step 0 as a record: all of them, and each sort there is."""
    record = {
        f"{FAULTS}{source}/{reason}": float(count)
        for source, of_source in counts.items()
        for reason, count in of_source.items()
    }
    return {"faults": float(sum(record.values())), **record}


class Writer(Protocol):
    """Where records go."""

    def write(self, step: int, record: Record) -> None:
        """Takes the record of `step` (steps done so far), in ascending order."""

    def close(self) -> None: ...


class JsonLines:
    """One JSON object a step, `step` first; a resumed run continues the file."""

    def __init__(self, path: pathlib.Path, after: int):
        """Opens `path` and forgets records beyond step `after`, which come again."""
        kept = [line for line in read_lines(path) if line["step"] <= after]
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text("".join(json.dumps(line) + "\n" for line in kept))
        os.replace(part, path)
        self._file = path.open("a", buffering=1)
        self._last = kept[-1] if kept else {}

    def write(self, step: int, record: Record) -> None:
        """Writes a record; a second one of the same step joins the first."""
        finite = {k: v if math.isfinite(v) else None for k, v in record.items()}
        if self._last.get("step") == step:
            size = len(json.dumps(self._last)) + 1
            self._file.truncate(self._file.seek(0, os.SEEK_END) - size)
            finite = self._last | finite
        self._last = {"step": step} | finite
        self._file.write(json.dumps(self._last) + "\n")

    def close(self) -> None:
        self._file.close()


def read_lines(path: pathlib.Path) -> list[dict[str, Any]]:
    """The records of a JsonLines file; a last line that was cut off is left out."""
    if not path.exists():
        return []
    lines = path.read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


class TensorBoard:
    """Event files; a resumed run hides what came after its checkpoint."""

    def __init__(self, folder: pathlib.Path, after: int):
        self._writer = tensorboardX.SummaryWriter(str(folder), purge_step=after + 1)

    def write(self, step: int, record: Record) -> None:
        for name, value in record.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class WeightsAndBiases:
    """A run at wandb.ai, continued when the run resumes."""

    def __init__(self, project: str, workdir: pathlib.Path, config: dict):
        try:
            import wandb  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise ValueError(
                f"log.wandb_project={project!r}: needs wandb, `pip install "
                "mmjax[wandb]`"
            ) from error
        self._run = wandb.init(
            project=project,
            dir=str(workdir),
            id=workdir.name,
            resume="allow",
            config=config,
        )

    def write(self, step: int, record: Record) -> None:
        self._run.log(record, step=step)

    def close(self) -> None:
        self._run.finish()


def writers(log: Log, workdir: pathlib.Path, after: int, config: dict) -> list[Writer]:
    """The writers that `log` asks for, in a run that continues after step `after`."""
    if after == 0:  # what an earlier attempt left before its first checkpoint
        shutil.rmtree(workdir / "tensorboard", ignore_errors=True)
    made: list[Writer] = [JsonLines(workdir / "metrics.jsonl", after)]
    if log.tensorboard:
        made.append(TensorBoard(workdir / "tensorboard", after))
    if log.wandb_project:
        made.append(WeightsAndBiases(log.wandb_project, workdir, config))
    return made


class Screen:
    """A terminal where one line tells the progress, or a file that gets every line."""

    def __init__(self, stream: TextIO):
        self._stream = stream
        self._live = stream.isatty()

    def progress(self, line: str) -> None:
        """Shows a line of progress, in place of the last one where that is possible."""
        if self._live:
            width = shutil.get_terminal_size().columns
            self._stream.write("\r\x1b[K" + line[: width - 1])
        else:
            self._stream.write(line + "\n")
        self._stream.flush()

    def say(self, line: str) -> None:
        """Prints a line that stays."""
        self._stream.write(("\r\x1b[K" if self._live else "") + line + "\n")
        self._stream.flush()


def progress_line(step: int, steps: int, record: Record, sources: Iterable[str]) -> str:
    """How the run goes, in one line; `steps` is where it will end."""
    losses = [
        f"{name} {record[f'loss/{name}']:.3f}"
        for name in sources
        if f"loss/{name}" in record
    ]
    speed = f"{compact(record['flops_per_second'])}FLOP/s"
    if not math.isnan(record.get("mfu", math.nan)):
        speed += f" MFU {record['mfu']:.1%}"
    parts = [
        f"step {step}/{steps}",
        f"ETA {clock((steps - step) * record['seconds_per_step'])}",
        f"loss {record['loss']:.3f} ({', '.join(losses)})",
        f"{compact(record['tokens_per_second'])} tokens/s",
        f"{compact(record['images_per_second'])} images/s",
        speed,
        f"data wait {record['data_wait_share']:.0%}",
        f"pool {record['pool_fill']:.0%}",
    ]
    if "balance_loss" in record:
        parts.append(_routers(record))
    if record.get("faults"):
        parts.append(f"bad documents {record['faults']:.0f}")
    return " | ".join(parts)


def _routers(record: Record) -> str:
    """Balance, drops, and the extremes of load over all layers with experts."""
    least, most = (
        of(v for k, v in record.items() if k.startswith(LOAD) and k.endswith(end))
        for of, end in ((min, "/min"), (max, "/max"))
    )
    return (
        f"balance {record['balance_loss']:.2f}, dropped {record['dropped_share']:.1%}, "
        f"experts {least:.2f} to {most:.2f} of even"
    )


def compact(value: float) -> str:
    """A number in three digits: 999, 1.23k, 12.3M, 123G, 1.23T, 12.3P."""
    units = ["", "k", "M", "G", "T", "P"]
    while abs(value) >= 999.5 and len(units) > 1:
        value /= 1000
        units.pop(0)
    size = abs(value)
    digits = 0 if size >= 99.95 else 1 if size >= 9.995 else 2
    return f"{value:.{digits}f}{units[0]}"


def memory(size: float) -> str:
    """Bytes as 12.3 MiB, 4.56 GiB or 7.89 TiB."""
    for unit, name in ((2**40, "TiB"), (2**30, "GiB")):
        if size >= unit:
            return f"{size / unit:.2f} {name}"
    return f"{size / 2**20:.1f} MiB"


def clock(seconds: float) -> str:
    """A duration as 1d02h, 3h04m, 5m06s or 7s."""
    whole = int(seconds + 0.5)
    days, hours = divmod(whole // 3600, 24)
    minutes, rest = whole // 60 % 60, whole % 60
    if days:
        return f"{days}d{hours:02d}h"
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"
