"""The text beside an image: the instruction that a connector may read with it.

InstructBLIP (arXiv 2305.06500) shows it the question. Here that is text without loss:
what follows the image, up to the first text that is trained; where nothing does, what
comes before it, back to the last one. So no connector reads a token that is predicted,
nor one that stands after a predicted token that may depend on the image.

    text     Q: what? | image | Is it red? | yes | image | And now? | image | green
    trained                                  yes                              yes
    beside              Is it red?                 And now?            And now?
"""

from collections.abc import Sequence

import numpy as np

from data_pipelines.records import Image, Segment, Text
from data_pipelines.stream import Stream


def beside(
    segments: Sequence[Segment], stream: Stream, most: int
) -> dict[int, np.ndarray]:
    """Ids of the text beside each image, by number of its segment; at most `most`."""
    found: dict[int, np.ndarray] = {}
    run: list[tuple[int, np.ndarray]] = []  # since the last trained text
    start = 1  # after BOS
    for number, (segment, length) in enumerate(zip(segments, stream.lengths)):
        ids = stream.x[start : start + length]
        start += length
        if isinstance(segment, Text) and segment.loss:
            found |= _of_run(run, segments, most)
            run = []
        else:
            run.append((number, ids))
    return found | _of_run(run, segments, most)


def _of_run(
    run: Sequence[tuple[int, np.ndarray]], segments: Sequence[Segment], most: int
) -> dict[int, np.ndarray]:
    """The text beside each image of segments among which none is trained."""
    found = {}
    for place, (number, _) in enumerate(run):
        if isinstance(segments[number], Image):
            before, after = (
                _joined(part, segments) for part in (run[:place], run[place:])
            )
            found[number] = after[:most] if len(after) else before[-most:]
    return found


def _joined(
    part: Sequence[tuple[int, np.ndarray]], segments: Sequence[Segment]
) -> np.ndarray:
    texts = [ids for number, ids in part if isinstance(segments[number], Text)]
    return np.concatenate([np.zeros(0, np.int32), *texts])
