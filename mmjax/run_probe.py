"""Linear probes of a run's encoder, on labelled images of its data."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from data_pipelines import materialize
from data_pipelines.pipeline import Pipeline
from data_pipelines.prepare import scenes
from data_pipelines.records import Document, Image
from mmjax import encoder_steps, image_features
from mmjax.config import Config
from mmjax.evals import probe
from mmjax.evals.probe import Labelled, Probe
from mmjax.run_setup import Run

LOOK = 10  # documents looked at for each image that is wanted


class _Images(NamedTuple):
    """Images, and labels of each: {what is told: value}."""

    images: list[Image]
    labels: list[dict[str, str]]


def probes(
    run: Run, held_out: Pipeline | None, params: Any, say: Callable[[str], None]
) -> dict[str, Probe]:
    """A probe of each label of the first source whose documents have any.

    Fitted on `evaluation.probe` training images, measured on the held-out ones of all
    sources in use; nothing where one of them has no labelled images.
    """
    count = run.config.evaluation.probe
    if not count or held_out is None:
        return {}
    fitted_on = _labelled(run.config, run.train.pipeline, count)
    measured_on = _labelled(run.config, held_out, count)
    if not fitted_on.images or not measured_on.images:
        say("no probe: no labels with the images (`labels` in meta of a record)")
        return {}
    key = jax.random.key(run.config.seed)
    fresh = encoder_steps.init_encoder(run.model, run.config, run.mesh, key)
    placed = jax.tree.map(lambda x: x.sharding, fresh)
    features_step = encoder_steps.make_features_step(run.config, run.mesh, placed)
    trained, untrained = (
        [
            image_features.of(
                run.config,
                run.mesh,
                run.train.pipeline.tokenizer,
                functools.partial(features_step, vit),
                part.images,
            )
            for part in (fitted_on, measured_on)
        ]
        for vit in (params["vit"], fresh)
    )
    found = {}
    for name in sorted({n for labels in measured_on.labels for n in labels}):
        sides = (fitted_on.labels, measured_on.labels)
        if all(any(name in labels for labels in side) for side in sides):
            found[name] = _probe(name, trained, untrained, sides)
    return found


def labels_of(document: Document) -> dict[str, str]:
    """Labels of a document: `labels` of its meta, or of the sample world's scene."""
    told = document.meta.get("scenes", ())
    if "labels" in document.meta:
        return {str(k): str(v) for k, v in document.meta["labels"].items()}
    return scenes.looks(told[0]) if len(told) == 1 else {}


def lines(found: dict[str, Probe]) -> list[str]:
    """Probes in words."""
    return [
        f"probe of {name}: {p.accuracy:.1%} of {p.images} held-out images (untrained "
        f"{p.untrained:.1%}, most common {p.most_common:.1%})"
        for name, p in found.items()
    ]


def _probe(name: str, trained, untrained, sides) -> Probe:
    def accuracy(features: Sequence[np.ndarray]) -> float:
        parts = []
        for x, labels in zip(features, sides):
            there = [i for i, label in enumerate(labels) if name in label]
            parts.append(Labelled(x[there], [labels[i][name] for i in there]))
        return probe.accuracy(*parts)

    told = [labels[name] for labels in sides[1] if name in labels]
    common = probe.most_common(told)
    return Probe(len(told), accuracy(trained), accuracy(untrained), common)


def _labelled(config: Config, pipeline: Pipeline, count: int) -> _Images:
    """The first so many labelled images of documents of one image, in record order.

    Bad records and images are passed over, as in training; of a source without labels
    not all is read.
    """
    found = _Images([], [])
    for number, plan in enumerate(pipeline.plan.sources):
        if plan is None or found.images:
            continue
        totals = plan.documents.totals
        assert totals is not None
        of_one_image = np.flatnonzero(totals["images"] == 1)
        for document in of_one_image[: LOOK * count].tolist():
            if len(found.images) == count:
                break
            read = _read(config, pipeline, number, document)
            labels = labels_of(read) if read else {}
            if read and labels:
                image = next(s for s in read.segments if isinstance(s, Image))
                found.images.append(image)
                found.labels.append(labels)
    return found


def _read(
    config: Config, pipeline: Pipeline, source: int, document: int
) -> Document | None:
    """A document of one image; None where it or its image is bad."""
    try:
        read = pipeline.document(source, document)
        images = [s for s in read.segments if isinstance(s, Image)]
        materialize.documents_batch(config, pipeline.tokenizer, [images], False)
    except ValueError:
        return None
    return read
