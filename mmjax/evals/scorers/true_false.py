"""VSR: whether a caption is true of its image, from yes/no or true/false."""

from collections.abc import Sequence

from mmjax.evals import metric
from mmjax.evals.metric import Metric

_TRUE, _FALSE = ("yes", "true"), ("no", "false")


def truth(text: str) -> bool | None:
    """What the first word of an answer says, or None."""
    words = text.strip().split()
    word = words[0].strip(".,!;:'\"()").lower() if words else ""
    return True if word in _TRUE else False if word in _FALSE else None


def score(
    predictions: Sequence[str], labels: Sequence[bool], relations: Sequence[str]
) -> dict[str, Metric]:
    """Accuracy, by relation too; an answer that says neither is wrong."""
    said = [truth(text) for text in predictions]
    hits = [s is label for s, label in zip(said, labels, strict=True)]
    return {
        "accuracy": metric.mean(hits),
        "unparsed": metric.mean([s is None for s in said]),
        **{
            f"accuracy/{name}": metric.mean(hits, [r == name for r in relations])
            for name in sorted(set(relations))
        },
    }
