"""BLEU 1 to 4 as coco-caption counts it: closest reference length, barely smoothed."""

import functools

import numpy as np

from mmjax.evals.metric import Metric
from mmjax.evals.scorers import ngrams

_TINY, _SMALL = 1e-15, 1e-9  # of the official scorer; without them 0 / 0


def bleu(table: ngrams.Table) -> dict[str, Metric]:
    """BLEU_1 to BLEU_4 of the corpus: from summed counts, not a mean of images."""
    sums = np.concatenate([_lengths(table), _guessed(table), _correct(table)], 1)
    return {
        f"BLEU_{order}": Metric(sums, functools.partial(_formula, order))
        for order in range(1, ngrams.ORDERS + 1)
    }


def _lengths(table: ngrams.Table) -> np.ndarray:
    """Words of the candidate and of the reference closest in length, [images, 2].

    Of two that are equally close, the shorter.
    """
    mine, theirs = table.words[: table.images], table.words[table.images :]
    of = table.image[table.images :]
    order = np.lexsort((theirs, np.abs(theirs - mine[of]), of))
    _, first = np.unique(of[order], return_index=True)
    return np.stack([mine, theirs[order][first]], 1)


def _guessed(table: ngrams.Table) -> np.ndarray:
    """N-grams of the candidates, [images, orders]."""
    mine = table.words[: table.images, None]
    return np.maximum(0, mine - np.arange(ngrams.ORDERS))


def _correct(table: ngrams.Table) -> np.ndarray:
    """Those of them that a reference has, as often as that has it, [images, orders]."""
    theirs, mine = ngrams.shared(table)
    most = np.zeros_like(table.times)
    np.maximum.at(most, mine, table.times[theirs])
    rows = np.arange(len(most))
    return table.by_order(rows, np.minimum(most, table.times))[: table.images]


def _formula(order: int, sums: np.ndarray) -> np.ndarray:
    """BLEU of counts [..., 2 + 2 x orders]."""
    guessed = sums[..., 2 : 2 + order]
    correct = sums[..., 2 + ngrams.ORDERS : 2 + ngrams.ORDERS + order]
    precision = ((correct + _TINY) / (guessed + _SMALL)).prod(-1) ** (1 / order)
    length = (sums[..., 0] + _TINY) / (sums[..., 1] + _SMALL)
    return precision * np.exp(np.minimum(0.0, 1 - 1 / length))
