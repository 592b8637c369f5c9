"""Mean features of images, by an encoder: for probes, and to find similar ones."""

import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float

from data_pipelines import materialize
from data_pipelines.records import Image
from data_pipelines.tokenizer import Tokenizer
from mmjax import batch as batch_lib
from mmjax import run_setup
from mmjax.batch import NO_IMAGE
from mmjax.config import Config
from mmjax.evals import heldout
from mmjax.models import layers

CHUNK = 64  # images encoded at a time


def of(
    config: Config,
    mesh: Mesh,
    tokenizer: Tokenizer,
    features_step: Callable[[Any], Any],
    images: Iterable[Image],
) -> Float[np.ndarray, "n E"]:
    """The mean feature of each image (of its first crop); float32.

    `features_step` is that of `encoder_steps`, with its parameters. All processes call
    this in step.
    """
    found, left = [], iter(images)
    while part := list(itertools.islice(left, CHUNK)):
        # The last chunk is filled up: one shape, one compilation.
        rows = [[image] for image in (*part, *[part[-1]] * (CHUNK - len(part)))]
        batch = materialize.documents_batch(config, tokenizer, rows, complete=False)
        axes = (layers.GROUPS, ("fsdp",), layers.SLOTS)
        sizes = (1, CHUNK, batch.real_ZC.shape[1])
        shards = [math.prod(mesh.shape[axis] for axis in each) for each in axes]
        batch = batch_lib.padded(batch, *(n + -n % s for n, s in zip(sizes, shards)))
        placed_batch = run_setup.place(mesh, batch)
        features_ZCE = heldout.fetch(features_step(placed_batch.pixels_ZChwc))
        slots_RT = batch.images_ZRT[0] // config.model.connector.tokens
        shown_RT = batch.images_ZRT[0] != NO_IMAGE
        slots = [int(slots_RT[r][shown_RT[r]].min()) for r in range(len(part))]
        found.append(features_ZCE[0, slots])
    return np.concatenate(found)
