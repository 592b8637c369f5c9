"""What a run leaves for its reader: `summary.json` and one page, `report.html`.

Keys of `summary.json`, stable; a figure that was not measured is null or absent:

    steps, wall_seconds, peak_memory_bytes, device
    final_seconds              of wall_seconds, what is measured at the end took
    parameters                 {part: numbers}, with "total"
    loss, loss_by_source       of the last log interval; of objective "next_token" nats
                               a token, "contrastive" nats a pair, "aim" squared errors
    tokens_per_second, images_per_second, flops_per_second, mfu     over all steps
    data_wait_share            share of the steps' time without a batch
    pool_fill, token_fill      real / encoded images; positions used / all
    heldout_loss, heldout_tokens                        {source: ...}
    questions                  {type: how many}
    accuracy, baseline         {type: share}; of exact answers, of the commonest answer
    accuracy_low, accuracy_high                         {type: 95 % interval}
    accuracy_images_exchanged  {type: share or null}; null: there is no image
    objective                  what was learned, one of config.OBJECTIVES
    retrieval                  null, or {pairs, baseline, image_to_text, text_to_image}
                               of held-out pairs with different texts: {k: share with
                               theirs among the k nearest}; baseline: 1 / pairs
    tasks                      {task: {shots: {figure, value, low, high, examples,
                               dropped}}}; shots: solved examples before each query;
                               low, high: 95 % interval; dropped: shots without room
    probe                      {label: {images, accuracy, untrained, most_common}}, by a
                               linear probe of the encoder's mean features; untrained:
                               of a fresh encoder's
    mixture                    {source: configured share of the unit}, of all parts
    mixture_unit               what a share is of: row, loss_token or document
    schedule                   [[first step, weights of the sources]], as it was run
    delivered                  {source: {rows, row_share, documents, images, slots,
                               positions, text_tokens, image_tokens, loss_tokens,
                               epochs}}; what the plan does not count is absent;
                               loss_tokens: pairs or patches, with other objectives
    faults                     {source: {reason: documents}} that had no loss: bad ones
    peak_memory_bytes is process 0's: of one device, or of the host where it computes
"""

import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mmjax import files, metrics, page, schedule
from mmjax.config import Config
from mmjax.evals.heldout import SourceLoss
from mmjax.evals.probe import Probe
from mmjax.evals.questions import Score
from mmjax.evals.retrieval import Recall
from mmjax.evaluation.results import Result
from mmjax.metrics import Record


class Sample(NamedTuple):
    """An image that was held out, and what the model says about it."""

    image: bytes  # encoded, as in its record
    caption: str  # the model's own
    reference: str  # the document's


class Results(NamedTuple):
    """What a run knows when it ends."""

    config: Config
    resolved: Mapping[str, Any]  # the config as it came out, fit for JSON
    versions: Mapping[str, str]
    device: str  # such as "8 x TPU v5p"
    steps: int  # done
    parameters: Mapping[str, int]  # of each part: vit, connector, decoder
    total: Record  # `metrics.summary` of all steps
    delivered: Mapping[str, Mapping[str, float]]  # by source, since step 0
    faults: Mapping[str, Mapping[str, int]]  # bad documents, by source and reason
    heldout: Mapping[str, SourceLoss]
    questions: Mapping[str, Score]
    samples: Sequence[Sample]
    wall_seconds: float
    final_seconds: float  # of these, for what is measured at the end
    peak_memory_bytes: int
    retrieval: Recall | None = None
    probes: Mapping[str, Probe] = {}
    tasks: Mapping[str, Mapping[int, Result]] = {}  # by name and solved examples


def write(workdir: pathlib.Path, results: Results) -> None:
    """Writes `summary.json` and `report.html` to the workdir.

    The curves are those of its `metrics.jsonl`.
    """
    records = metrics.read_lines(workdir / "metrics.jsonl")
    figures = summary(results, records)
    files.replace(workdir / "summary.json", json.dumps(figures, indent=2) + "\n")
    html = page.render(
        name=workdir.resolve().name,
        summary=figures,
        records=records,
        excess=_excess(results.config, records),
        samples=[sample._asdict() for sample in results.samples],
        config=dict(results.resolved),
        versions=dict(results.versions),
    )
    files.replace(workdir / "report.html", html)


def summary(results: Results, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The figures of `summary.json`, fit for JSON."""
    last = next((r for r in reversed(records) if "loss" in r), {})
    rates = (
        "tokens_per_second", "images_per_second", "flops_per_second", "mfu",
        "data_wait_share", "pool_fill", "token_fill",
    )  # fmt: skip
    total = sum(results.parameters.values())
    scores = results.questions
    sources = [source.name for source in results.config.data.sources]
    return {
        "steps": results.steps,
        "wall_seconds": results.wall_seconds,
        "final_seconds": results.final_seconds,
        "peak_memory_bytes": results.peak_memory_bytes,
        "device": results.device,
        "parameters": {**results.parameters, "total": total},
        "loss": last.get("loss"),
        "loss_by_source": {s: last.get(f"loss/{s}") for s in sources},
        **{name: _finite(results.total.get(name)) for name in rates},
        "heldout_loss": {s: _finite(x.loss) for s, x in results.heldout.items()},
        "heldout_tokens": {s: x.tokens for s, x in results.heldout.items()},
        "questions": {kind: s.questions for kind, s in scores.items()},
        "accuracy": {kind: s.accuracy for kind, s in scores.items()},
        "accuracy_low": {kind: s.low for kind, s in scores.items()},
        "accuracy_high": {kind: s.high for kind, s in scores.items()},
        "baseline": {kind: s.baseline for kind, s in scores.items()},
        "accuracy_images_exchanged": {
            kind: s.exchanged_accuracy for kind, s in scores.items()
        },
        "objective": results.config.model.objective.kind,
        "retrieval": _retrieval(results.retrieval),
        "tasks": {name: _shots(found) for name, found in results.tasks.items()},
        "probe": {label: probe._asdict() for label, probe in results.probes.items()},
        "mixture": configured_shares(results.config, results.steps),
        "mixture_unit": results.config.mixture.unit,
        "schedule": _schedule(results.config, results.steps),
        "delivered": _delivered(results.delivered),
        "faults": {source: dict(found) for source, found in results.faults.items()},
    }


def _shots(found: Mapping[int, Result]) -> dict[str, dict[str, Any]]:
    """A task's main figure, by how many solved examples stood before a query."""
    told = {}
    for shots, result in found.items():
        figure = result.figures.get(result.main)
        if figure is not None and math.isfinite(figure.value):
            held = {key: _finite(value) for key, value in figure._asdict().items()}
            counts = {"examples": result.examples, "dropped": result.dropped}
            told[str(shots)] = {"figure": result.main, **held, **counts}
    return told


def _retrieval(found: Recall | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {**found._asdict(), "baseline": found.baseline}


def _schedule(config: Config, steps: int) -> list[list[Any]]:
    """First step and weights of each part of the run that steps were taken in."""
    return [
        [start, list(weights)]
        for start, weights in schedule.parts(config.mixture)
        if start < max(1, steps)
    ]


def _excess(
    config: Config, records: Sequence[Mapping[str, Any]]
) -> dict[str, list[tuple[int, float]]]:
    """Rows delivered beyond those configured, by source: (step, rows) of each record.

    Below 1 in size at every step, since rows come whole. Nothing where weights are
    shares of something else.
    """
    points: dict[str, list[tuple[int, float]]] = {}
    if config.mixture.unit != "row":
        return points
    for record in records:
        for source, rows in schedule.expected_rows(config, record["step"]).items():
            given = record.get(f"delivered/{source}/rows")
            if given is not None:
                points.setdefault(source, []).append((record["step"], given - rows))
    return points


def configured_shares(config: Config, steps: int) -> dict[str, float]:
    """Share of the mixture's unit that the config asks for, over the steps done.

    Parts of a schedule count by their steps, whatever the unit.
    """
    rows = schedule.expected_rows(config, max(1, steps))
    total = sum(rows.values())
    return {name: count / total for name, count in rows.items()}


def _delivered(
    counts: Mapping[str, Mapping[str, float]],
) -> dict[str, dict[str, float]]:
    """The counts of each source, with its share of the rows beside."""
    rows = sum(of_source.get("rows", 0) for of_source in counts.values())
    return {
        source: {**of_source, "row_share": of_source.get("rows", 0) / max(rows, 1)}
        for source, of_source in counts.items()
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
