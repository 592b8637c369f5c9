"""Solved examples whose images are most like the query's: RICES, by the own encoder."""

import functools
from collections.abc import Callable, Sequence

import jax
import numpy as np
from jaxtyping import Float

from mmjax import answering, encoder_steps, image_features
from mmjax.answering import Answerer
from mmjax.evals import shots
from mmjax.evals.example import Example
from mmjax.evals.shots import Pool

Find = Callable[[Example, int], list[Example]]  # of a query, so many


def finder(answerer: Answerer, pool: Pool, asked: Sequence[Example]) -> Find:
    """What finds them: the vectors of pool and queries are made here, once.

    An example's vector is the encoder's mean feature of its first image. ValueError for
    an example without image, or one that can't be read.
    """
    pooled, queries = _vectors(answerer, pool.examples), _vectors(answerer, asked)
    of_query = dict(zip((example.id for example in asked), queries))

    def find(query: Example, count: int) -> list[Example]:
        return shots.nearest(pool, query, count, pooled, of_query[query.id])

    return find


def _vectors(
    answerer: Answerer, examples: Sequence[Example]
) -> Float[np.ndarray, "n E"]:
    for example in examples:
        if not example.images:
            raise ValueError(
                f"example {example.id} has no image: similar ones can't be found"
            )
    vit = answerer.weights["images"]["vit"]
    placed = jax.tree.map(lambda x: x.sharding, vit)
    step = encoder_steps.make_features_step(answerer.config, answerer.mesh, placed)
    images = (answering.image(example.images[0]) for example in examples)
    return image_features.of(
        answerer.config, answerer.mesh, answerer.tokenizer,
        functools.partial(step, vit), images,
    )  # fmt: skip
