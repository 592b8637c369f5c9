"""Multiple choice by log-likelihood, as lm-evaluation-harness counts it."""

from collections.abc import Sequence

import numpy as np

from mmjax.evals import metric
from mmjax.evals.metric import Metric


def score(
    logprobs: Sequence[Sequence[float]],
    choices: Sequence[Sequence[str]],
    answers: Sequence[int],
) -> dict[str, Metric]:
    """Accuracy of the likeliest choice: as it is, by character and by byte of it.

    `logprobs` are sums over the tokens of each choice, in nats. The blank between
    context and choice is no part of its length. Of equal ones the first is taken.
    """
    lengths = {
        "acc": lambda text: 1,
        "acc_norm": len,
        "acc_bytes": lambda text: len(text.encode()),
    }
    rows = list(zip(logprobs, choices, answers, strict=True))
    return {
        name: metric.mean([_likeliest(logs, of, length) == a for logs, of, a in rows])
        for name, length in lengths.items()
    }


def _likeliest(logprobs: Sequence[float], choices: Sequence[str], length) -> int:
    sizes = [max(1, length(choice)) for choice in choices]
    return int(np.argmax(np.asarray(logprobs) / sizes))


def greedy(
    exact: Sequence[Sequence[bool]], logprobs: Sequence[Sequence[float]]
) -> dict[str, Metric]:
    """LAMBADA and WebQS: whether greedy decoding gives one of the accepted texts.

    The perplexity is that of the first text, a word being one unit (LAMBADA).
    """
    logs = [logs[0] for logs in logprobs]
    first = metric.mean(logs)
    perplexity = Metric(first.sums, lambda sums: np.exp(-metric.ratio(sums)))
    return {
        "acc": metric.mean([any(hits) for hits in exact]),
        "perplexity": perplexity,
    }
