"""Loss by source on held-out documents: sums and counts until the last line."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import Array, Bool, Float, Int

from mmjax.batch import Batch


class TokenLoss(Protocol):
    """What an eval step says of every position, counted or not."""

    @property
    def nll_ZRT(self) -> jax.Array:
        """Negative log-likelihood of the target, float32 nats."""
        ...

    @property
    def hit_ZRT(self) -> jax.Array:
        """Whether the target is the most likely token."""
        ...


EvalStep = Callable[[Any, Batch], TokenLoss]  # of (parameters, batch)


class SourceLoss(NamedTuple):
    """The held-out loss of one source."""

    nll: float  # sum over the counted tokens, nats
    tokens: int  # targets that count

    @property
    def loss(self) -> float:
        """Nats a token; nan where no token counts."""
        return self.nll / self.tokens if self.tokens else math.nan

    @property
    def perplexity(self) -> float:
        return math.exp(min(self.loss, 700.0))


def evaluate(
    eval_step: EvalStep, params: Any, batches: Iterable[Batch], sources: Sequence[str]
) -> dict[str, SourceLoss]:
    """Loss of each of `sources` (names in the order of `Batch.sources_ZRT`).

    `batches` are global, as `eval_step` takes them; every process calls this with the
    same batches in the same order and gets the same answer.
    """
    nll = np.zeros(len(sources))
    tokens = np.zeros(len(sources), np.int64)
    for batch in batches:
        token_loss = eval_step(params, batch)
        nll_ZRT, mask_ZRT, sources_ZRT = fetch(
            (token_loss.nll_ZRT, batch.loss_mask_ZRT, batch.sources_ZRT)
        )
        batch_nll, batch_tokens = by_source(
            nll_ZRT, mask_ZRT, sources_ZRT, len(sources)
        )
        nll += batch_nll
        tokens += batch_tokens
    return {
        name: SourceLoss(float(nll[i]), int(tokens[i]))
        for i, name in enumerate(sources)
    }


def add_up(
    sums_step: Callable[[Any, Batch], Any],
    params: Any,
    batches: Iterable[Batch],
    sources: Sequence[str],
) -> dict[str, SourceLoss]:
    """`evaluate` with an encoder's `encoder_steps.make_sums_step`.

    The loss of pairs is among those of a batch, so it depends on the batch's size.
    """
    loss, count = np.zeros(len(sources)), np.zeros(len(sources), np.int64)
    for batch in batches:
        loss_S, count_S = fetch_replicated(sums_step(params, batch)[:2])
        loss += loss_S
        count += count_S
    return {
        name: SourceLoss(float(loss[i]), int(count[i]))
        for i, name in enumerate(sources)
    }


def by_source(
    nll_ZRT: Float[Array, "Z R T"],
    mask_ZRT: Bool[Array, "Z R T"],
    sources_ZRT: Int[Array, "Z R T"],
    sources: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Sums of the counted losses (float64) and their counts (int64), by source."""
    counted = np.asarray(mask_ZRT)
    place = np.asarray(sources_ZRT)[counted]
    nll = np.bincount(place, np.asarray(nll_ZRT)[counted].astype(np.float64), sources)
    return nll, np.bincount(place, minlength=sources)


def fetch(tree: Any) -> Any:
    """Host copies of global arrays, whole on every process."""
    return multihost_utils.process_allgather(tree, tiled=True)


def fetch_replicated(tree: Any) -> Any:
    """Host copies of arrays of which every process has all."""
    return jax.device_get(tree)
