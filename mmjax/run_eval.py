"""What a run measures besides its training loss: on held-out data, and at its end."""

import json
import pathlib
import resource
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from data_pipelines import paths
from data_pipelines import pipeline as pipelines
from data_pipelines.records import Text
from mmjax import (
    answering,
    encoder_steps,
    metrics,
    processes,
    report,
    run_probe,
    run_setup,
    run_tasks,
    step,
)
from mmjax import config as config_lib
from mmjax.answering import Answerer, Request
from mmjax.config import Source
from mmjax.evals import heldout, questions, retrieval
from mmjax.evals.retrieval import Recall
from mmjax.evaluation.jobs import Job
from mmjax.generation import speaker
from mmjax.generation.speaker import Speaker
from mmjax.journal import Journal
from mmjax.report import Sample
from mmjax.run_setup import Run, Stream

CAPTION_TOKENS = 64  # of the model's own captions, at most


class Evaluation(NamedTuple):
    """The held-out data of a run, and the step that reads it."""

    run: Run
    eval_step: Any  # `step.make_eval_step`; of encoders, `encoder_steps.make_sums_step`
    names: list[str]  # sources that have held-out documents
    held_out: Stream | None
    questions: Stream | None
    tasks: Sequence[Job] = ()
    speaker: Speaker | None = None  # of a model that makes text


def open(run: Run, say: Callable[[str], None]) -> Evaluation:
    """Opens the held-out data of sources in use; ValueError where some is missing.

    A source without a held-out folder is left out, unless the config names one.
    """
    config = run.config
    plans = run.train.pipeline.plan.sources
    used = [s for s, plan in zip(config.data.sources, plans) if plan is not None]
    there = [s for s in used if s.heldout or _folder(run, s).is_dir()]
    for source in used:
        if source not in there:
            say(f"source {source.name}: no held-out documents, {_folder(run, source)}")

    def opened(folders: list[str], rows: int) -> Stream:
        found = pipelines.open_heldout(config, folders, rows)
        return run_setup.stream(config, run.mesh, found)

    folders = [source.heldout or f"{source.name}/heldout" for source in there]
    asked = config.evaluation.questions
    parts = run.model, config, run.mesh
    return Evaluation(
        run,
        step.make_eval_step(*parts)
        if _answers(run)
        else encoder_steps.make_sums_step(*parts, len(there)),
        [source.name for source in there],
        opened(folders, config.evaluation.rows) if folders else None,
        opened([asked], 0) if asked else None,
        run_tasks.open(run),
        speaker.make(config.model, run.mesh) if _answers(run) else None,
    )


def _answers(run: Run) -> bool:
    """Whether the run's model makes text; otherwise it is an encoder's."""
    return run.config.model.objective.kind == "next_token"


def _folder(run: Run, source: Source) -> pathlib.Path:
    return paths.of(run.config.data.root) / source.name / "heldout"


def losses(evaluation: Evaluation, params: Any) -> dict[str, heldout.SourceLoss]:
    """The held-out loss of each source that has held-out documents."""
    if evaluation.held_out is None:
        return {}
    measure = heldout.evaluate if _answers(evaluation.run) else heldout.add_up
    batches = evaluation.held_out.batches()
    return measure(evaluation.eval_step, params, batches, evaluation.names)


def recall(evaluation: Evaluation, params: Any) -> Recall | None:
    """Retrieval among the held-out pairs, where the run learns to tell them."""
    run, stream = evaluation.run, evaluation.held_out
    if run.config.model.objective.kind != "contrastive" or stream is None:
        return None
    vectors_step = encoder_steps.make_vectors_step(run.model, run.config, run.mesh)
    return retrieval.evaluate(vectors_step, params, stream.batches())


def record(found: dict[str, heldout.SourceLoss]) -> metrics.Record:
    """Held-out losses as a record."""
    return {f"heldout_loss/{name}": loss.loss for name, loss in found.items()}


def line(found: dict[str, heldout.SourceLoss]) -> str:
    """Held-out losses in words."""
    return ", ".join(f"{name} {loss.loss:.3f}" for name, loss in found.items())


def answers(evaluation: Evaluation, params: Any) -> dict[str, questions.Score]:
    """The score of each type of question."""
    stream = evaluation.questions
    if stream is None:
        return {}
    documents = map(stream.pipeline.documents_of, range(stream.pipeline.steps))
    return questions.evaluate(
        evaluation.eval_step,
        params,
        zip(stream.batches(), documents),
        stream.pipeline.kind,
        config_lib.crop_positions(evaluation.run.config.model),
        config_lib.most_crops(evaluation.run.config.model),
    )


def answering_with(evaluation: Evaluation, params: Any) -> Answerer | None:
    """What answers with the parameters, where the run's model makes text."""
    run, speaks = evaluation.run, evaluation.speaker
    if speaks is None:
        return None
    tokenizer, weights = run.train.pipeline.tokenizer, speaks.prepare(params)
    return Answerer(run.config, run.mesh, tokenizer, speaks, weights)


def tasks(
    evaluation: Evaluation, answerer: Answerer | None, done: int, journal: Journal
) -> run_tasks.Results:
    """Asks the few-shot tasks after `done` steps; says and records what comes out."""
    wanted = evaluation.tasks
    found = run_tasks.evaluate(evaluation.run, wanted, answerer, done, journal.say)
    if found:
        journal.write(done, run_tasks.record(found))
    return found


def captions(
    evaluation: Evaluation, answerer: Answerer | None, count: int
) -> list[Sample]:
    """The model's own words for the first images of held-out documents."""
    run, stream = evaluation.run, evaluation.held_out
    documents = _illustrated(stream, count) if stream and answerer else []
    if not documents or answerer is None:
        return []
    config, tokenizer = run.config, run.train.pipeline.tokenizer
    prompts = [(document[0],) for document in documents]
    used = max(answering.positions(config, tokenizer, prompt) for prompt in prompts)
    new = min(CAPTION_TOKENS, config.data.row_tokens - used)
    if new < 1:
        return []
    requests = [Request(prompt, new) for prompt in prompts]
    return [
        Sample(
            document[0].data,
            answer.text,
            " ".join(s.text for s in document if isinstance(s, Text)),
        )
        for document, answer in zip(documents, answering.answer(answerer, requests))
    ]


def _illustrated(stream: Stream, count: int) -> list[Sequence[Any]]:
    """Segments of the first held-out documents that are one image and text after it."""
    found: list[Sequence[Any]] = []
    for number, plan in enumerate(stream.pipeline.plan.sources):
        if plan is None:
            continue
        columns = plan.documents
        first, sizes = columns.segment_start[:-1], np.diff(columns.segment_start)
        pairs = np.flatnonzero(sizes == 2)
        pairs = pairs[columns.segment_image[first[pairs]]]
        for document in pairs.tolist():
            segments = stream.pipeline.document(number, document).segments
            if len(found) < count and isinstance(segments[1], Text):
                found.append(segments)
            if len(found) >= count:
                return found
    return found


def finish(
    evaluation: Evaluation, params: Any, journal: Journal, clock: Callable[[], float]
) -> None:
    """The last measurements, and what the run leaves: `report.html`, `summary.json`.

    Does nothing where an earlier start has left them already.
    """
    run = evaluation.run
    steps = run.config.steps
    if _finished(run):
        journal.say(f"all {steps} steps are done: {run.workdir / 'report.html'}")
        return
    begun = clock()
    journal.flush()
    found = losses(evaluation, params)
    journal.write(steps, record(found))
    scores = answers(evaluation, params)
    answerer = answering_with(evaluation, params)
    samples = captions(evaluation, answerer, run.config.evaluation.samples)
    asked = tasks(evaluation, answerer, steps, journal)
    pairs = recall(evaluation, params)
    held_out = evaluation.held_out and evaluation.held_out.pipeline
    probes = run_probe.probes(run, held_out, params, journal.say)
    for text in (
        f"held-out loss: {line(found)}",
        *_score_lines(scores),
        *_recall_lines(pairs),
        *run_probe.lines(probes),
    ):
        journal.say(text)
    if processes.first():
        results = report.Results(
            config=run.config,
            resolved=run_setup.resolved(run),
            versions=_versions(),
            device=run_setup.device_name(run),
            steps=steps,
            parameters=run_setup.parameters(run),
            total=journal.total(),
            delivered=journal.state()["delivered"],
            faults=journal.faults(),
            heldout=found,
            questions=scores,
            samples=samples,
            wall_seconds=clock(),
            final_seconds=clock() - begun,
            peak_memory_bytes=peak_memory(),
            retrieval=pairs,
            probes=probes,
            tasks=asked,
        )
        report.write(run.workdir, results)
    journal.say(f"report: {run.workdir / 'report.html'}")


def _finished(run: Run) -> bool:
    """Whether the run's summary is there and of its last step, as process 0 sees it."""
    path, done = run.workdir / "summary.json", False
    there = path.exists() and (run.workdir / "report.html").exists()
    if processes.first() and there:
        done = json.loads(path.read_text()).get("steps") == run.config.steps
    return bool(processes.as_first(np.array(done)))


def _score_lines(scores: dict[str, questions.Score]) -> list[str]:
    """A line for each type of question."""
    lines = []
    for kind, score in scores.items():
        exchanged = score.exchanged_accuracy
        other = "" if exchanged is None else f", images exchanged {exchanged:.1%}"
        lines.append(
            f"{kind}: {score.accuracy:.1%} of {score.questions} questions answered "
            f"(most common answer {score.baseline:.1%}{other})"
        )
    return lines


def _recall_lines(found: Recall | None) -> list[str]:
    """A line for each direction."""
    if found is None:
        return []
    return [
        f"{name}: "
        + ", ".join(f"recall@{k} {share:.1%}" for k, share in shares.items())
        + f" among {found.pairs} held-out pairs (chance {found.baseline:.1%})"
        for name, shares in (
            ("image to text", found.image_to_text),
            ("text to image", found.text_to_image),
        )
    ]


def _versions() -> dict[str, str]:
    """Versions of the packages, and the code's revision where it is known."""
    known = run_setup.provenance()
    revision = known["git_revision"]
    return known["versions"] | ({"revision": revision} if revision else {})


def peak_memory() -> int:
    """Bytes that this process held at most: of one device, or of the host for CPUs."""
    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    peaks = [s["peak_bytes_in_use"] for s in stats if "peak_bytes_in_use" in s]
    if peaks:
        return max(peaks)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
