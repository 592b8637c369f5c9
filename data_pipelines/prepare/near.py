"""Groups of near duplicates: which documents go, so that one of each group stays.

1. every document is put under its keys (`minhash.bands`, `picture_hash.keys`);
2. of each key's group, `text_edges` or `picture_edges` joins those that are truly near;
3. from all edges, `components` says what to drop.

Documents that are near by way of others are one group. The one with the smallest id
stays, whatever the order of groups and edges. Ids are bytes, or anything with an order.
"""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import numpy as np

from data_pipelines.prepare import minhash, picture_hash

Id = TypeVar("Id", bound=Any)

LEAST_SIMILAR = 0.75  # FineWeb's aim (Penedo et al., 2024)


def text_edges(
    group: Iterable[tuple[Id, np.ndarray]], least: float = LEAST_SIMILAR
) -> list[tuple[Id, Id]]:
    """Edges among the texts of one band, given as (id, signature).

    Texts are near if their estimated Jaccard similarity is at least `least`.
    """
    ids, signatures = _sorted(group)
    if len(ids) < 2:
        return []
    table = np.stack(signatures)
    return _forest(
        ids, lambda i, others: minhash.similarities(table[i], table[others]) >= least
    )


def picture_edges(
    group: Iterable[tuple[Id, int]], most: int = picture_hash.DISTANCE
) -> list[tuple[Id, Id]]:
    """Edges among the pictures of one key, given as (id, perceptual hash).

    Pictures are near if at most `most` bits of their hashes differ.
    """
    ids, found = _sorted(group)
    table = np.array(found, np.uint64)
    return _forest(
        ids, lambda i, others: picture_hash.distances(found[i], table[others]) <= most
    )


def components(edges: Iterable[tuple[Id, Id]]) -> set[Id]:
    """Ids to drop: in each connected group all but the smallest.

    Holds every id that has an edge, about 200 bytes each.
    """
    above: dict[Id, Id] = {}
    for one, other in edges:
        low, high = sorted((_root(above, one), _root(above, other)))
        if low != high:
            above[high] = low
    return {one for one in above if _root(above, one) != one}


def _root(above: dict[Id, Id], one: Id) -> Id:
    """The smallest id known to be connected; halves the way there for the next time."""
    above.setdefault(one, one)
    while above[one] != one:
        above[one] = above[above[one]]
        one = above[one]
    return one


def _sorted(group: Iterable[tuple[Id, Any]]) -> tuple[list[Id], list[Any]]:
    """Ids in order, without repeats, and what belongs to them."""
    by_id = dict(group)
    ids = sorted(by_id)
    return ids, [by_id[one] for one in ids]


def _forest(
    ids: list[Id], near: Callable[[int, np.ndarray], np.ndarray]
) -> list[tuple[Id, Id]]:
    """Edges that connect whatever all near pairs connect, fewer than there are ids.

    Each id is compared with those that are not connected yet, so a group of n copies
    costs n comparisons; only a group of n different things costs n**2 / 2.
    """
    edges = []
    waiting = np.arange(len(ids))
    while waiting.size:
        reached, waiting = [int(waiting[0])], waiting[1:]
        while reached and waiting.size:
            at = reached.pop()
            joins = near(at, waiting)
            edges += [tuple(sorted((ids[at], ids[i]))) for i in waiting[joins]]
            reached += waiting[joins].tolist()
            waiting = waiting[~joins]
    return edges
