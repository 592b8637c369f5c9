"""POPE: accuracy, precision, recall, F1, yes-ratio, by the official parser and strict.

The official parser takes whatever lacks "no" for a yes, an empty answer too. So the
share of answers whose first word is neither stands beside the figures: F1 means little
where it is high.
"""

from collections.abc import Sequence

import numpy as np

from mmjax.evals import metric
from mmjax.evals.metric import Metric
from mmjax.evals.scorers import yes_no


def score(predictions: Sequence[str], labels: Sequence[str]) -> dict[str, Metric]:
    """Figures of answers against labels "yes" and "no", all shares of 1.

    Names ending in `_strict` are of the strict parser, whose neither is always wrong.
    """
    true = np.array([label != "no" for label in labels], bool)
    said = [yes_no.pope(text) for text in predictions]
    plainly = [yes_no.strict(text) for text in predictions]
    unparsed = [not yes_no.first_word(text) for text in predictions]
    return {
        **_figures(said, true, ""),
        **_figures(plainly, true, "_strict"),
        "unparsed": metric.mean(unparsed),
        "yes_ratio_of_labels": metric.mean(true),  # what lmms-eval prints as yes ratio
    }


def _figures(said: Sequence[str], true: np.ndarray, suffix: str) -> dict[str, Metric]:
    """Figures of parsed answers; `yes_ratio` is that of the answers."""
    yes = np.array([word == "yes" for word in said], bool)
    no = np.array([word == "no" for word in said], bool)
    hit = np.where(true, yes, no)
    true_yes = yes & true
    ones = np.ones(len(true))

    def share(*sums: np.ndarray) -> Metric:
        return Metric(np.stack(sums, -1).astype(np.float64), metric.ratio)

    return {
        f"accuracy{suffix}": share(hit, ones),
        f"precision{suffix}": share(true_yes, yes),
        f"recall{suffix}": share(true_yes, true),
        # 2PR / (P + R) in counts: twice the true yeses by all that was or should be
        # one.
        f"f1{suffix}": share(2 * true_yes, yes.astype(int) + true.astype(int)),
        f"yes_ratio{suffix}": share(yes, ones),
    }
