"""How much of images the tokens of a chunk see, where they attend to them.

The same rule as in the model (`mmjax.ops.sight`), counted from the index alone.
"""

from collections.abc import Callable

import numpy as np

from data_pipelines.index_columns import Documents
from data_pipelines.windows import Chunk


def count(documents: Documents, chunk: Chunk, seen: str) -> int:
    """Pairs of a position of the chunk and a crop that it sees; `seen`: a key of SEEN.

    Every crop has one position, and is seen from it on.
    """
    here = slice(*documents.segment_start[chunk.document : chunk.document + 2].tolist())
    tokens = np.asarray(documents.segment_tokens[here], np.int64)
    position = 1 + np.cumsum(tokens) - tokens  # position 0 is BOS
    inside = (chunk.start <= position) & (position < chunk.stop)
    image = np.flatnonzero(documents.segment_image[here] & inside)
    crops = np.asarray(documents.segment_slots[here], np.int64)[image]
    return int(SEEN[seen](crops, chunk.stop - position[image]))


# From crops of images and positions from each image to the end of the chunk.
SEEN: dict[str, Callable[[np.ndarray, np.ndarray], int]] = {
    "last": lambda crops, rest: rest.max(initial=0),
    "all_before": lambda crops, rest: (crops * rest - crops * (crops - 1) // 2).sum(),
}
