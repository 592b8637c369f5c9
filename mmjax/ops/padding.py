"""What kernels get that want whole blocks of a row."""

import jax.numpy as jnp
from jaxtyping import Array, Int

ADDED = -1  # segment of what is added to a row, which no document has


def segments(
    segments_BT: Int[Array, "B T"] | None, rows: int, tokens: int, more: int
) -> Int[Array, "B padded"] | None:
    """Segments of rows with `more` positions behind them, which no other sees.

    Rows without segments get some only where they are padded.
    """
    if more and segments_BT is None:
        segments_BT = jnp.zeros((rows, tokens), jnp.int32)
    if segments_BT is None:
        return None
    return jnp.pad(segments_BT, ((0, 0), (0, more)), constant_values=ADDED)
