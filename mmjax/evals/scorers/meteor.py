"""METEOR 1.5 by its authors' program, which pycocoevalcap brings; it needs Java."""

import shutil
from collections.abc import Sequence

from mmjax.evals.scorers.ngrams import Tokens


def missing() -> str:
    """What METEOR lacks on this machine, in one line; empty where it can run."""
    if shutil.which("java") is None:
        return "METEOR needs Java, and there is no `java` here: install a JRE"
    try:
        import pycocoevalcap.meteor.meteor  # noqa: F401
    except ImportError:
        return "METEOR needs pycocoevalcap: pip install pycocoevalcap"
    return ""


def meteor(
    candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]
) -> tuple[float, list[float]]:
    """The corpus score and that of each image; ValueError says what is missing."""
    if lacking := missing():
        raise ValueError(lacking)
    from pycocoevalcap.meteor.meteor import Meteor

    program = Meteor()
    return program.compute_score(
        {
            i: [" ".join(caption) for caption in refs]
            for i, refs in enumerate(references)
        },
        {i: [" ".join(caption)] for i, caption in enumerate(candidates)},
    )
