"""METEOR 1.5 by its authors' program, which pycocoevalcap brings; it needs Java."""

import shutil
import threading
from collections.abc import Sequence

from mmjax.evals.scorers.ngrams import Tokens

START_SECONDS = 120.0  # for the program to begin
ITEM_SECONDS = 1.0


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
    # Its answers are read from a pipe without a limit of time.
    patience = START_SECONDS + ITEM_SECONDS * len(candidates)
    watch = threading.Timer(patience, program.meteor_p.kill)
    watch.daemon = True
    watch.start()
    try:
        return program.compute_score(
            {
                i: [" ".join(caption) for caption in refs]
                for i, refs in enumerate(references)
            },
            {i: [" ".join(caption)] for i, caption in enumerate(candidates)},
        )
    except (OSError, ValueError):
        program.meteor_p.kill()
        stderr = program.meteor_p.communicate()[1].decode(errors="replace")
        said = " ".join(stderr.split())[-200:] or "it said nothing"
        raise ValueError(
            f"METEOR's program ended, or was ended after {patience:.0f} s: {said}"
        ) from None
    finally:
        watch.cancel()
        if program.lock.locked():
            program.lock.release()  # which it keeps on an error, and waits for at last
