"""Attention by blocks of queries, on any device, without a kernel.

Queries come a block at a time, against only the keys that causality and the window
leave them, and the backward pass computes each block's scores again: of a row of T
tokens in n blocks, (n + 1) / 2n of the scores are ever computed (with a window of w
blocks, at most (w + 1) / n), and none are kept. (Dao et al., arXiv 2205.14135.)
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array

from mmjax.ops import visibility
from mmjax.ops.visibility import Rows, Rule


class Run(NamedTuple):
    """Queries from `start` to before `stop` that stand in the row from `place` on."""

    start: int
    stop: int
    place: int


class Block(NamedTuple):
    """Some queries, and the keys that they may see, as (start, stop)."""

    queries: tuple[int, int]
    place: int  # of the first query, in its row
    keys: tuple[int, int]


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def attend(q_BTKGH, k_BSKH, v_BSKH, own: Rows, rule: Rule, block: int):
    """A backend of `attention.attend`: memory grows with block * S."""
    return _forward(q_BTKGH, k_BSKH, v_BSKH, own, rule, block)[0]


def _forward(q_BTKGH, k_BSKH, v_BSKH, own, rule, block):
    q_BKGTH = q_BTKGH.transpose(0, 2, 3, 1, 4)
    k_BKSH, v_BKSH = k_BSKH.transpose(0, 2, 1, 3), v_BSKH.transpose(0, 2, 1, 3)

    def compute(blocks: list[Block]) -> tuple[Array, Array]:
        outs, logs = [], []
        for each in blocks:
            q = q_BKGTH[:, :, :, slice(*each.queries)]
            k, v = (x[:, :, slice(*each.keys)] for x in (k_BKSH, v_BKSH))
            score = visibility.masked(
                visibility.scores(q, k, rule), _seen(each, own, rule)
            )
            top = jnp.max(score, axis=-1, keepdims=True)
            weight = jnp.exp(score - top)
            total = jnp.sum(weight, axis=-1, keepdims=True)
            out = jnp.einsum("BKGTS,BKSH->BKGTH", weight.astype(v.dtype), v)
            outs.append((out / total).astype(q.dtype))
            logs.append(top + jnp.log(total))
        out_BTKGH = jnp.concatenate(outs, axis=3).transpose(0, 3, 1, 2, 4)
        return out_BTKGH, jnp.concatenate(logs, axis=3)

    tokens, keys = q_BTKGH.shape[1], k_BSKH.shape[1]
    made = _of_part(compute, tokens, keys, own, rule, block)
    out_BTKGH, log_BKGT1 = (checkpoint_name(x, "attention") for x in made)
    return out_BTKGH, (q_BTKGH, k_BSKH, v_BSKH, own, out_BTKGH, log_BKGT1)


def _backward(rule, block, residuals, d_out_BTKGH):
    q_BTKGH, k_BSKH, v_BSKH, own, out_BTKGH, log_BKGT1 = residuals
    # Not a sum of products: for that, XLA's library for CPUs takes 50 times as long.
    inner_BTKG = visibility.float32("BTKGH,BTKGH->BTKG", d_out_BTKGH, out_BTKGH)
    inner_BKGT1 = inner_BTKG.transpose(0, 2, 3, 1)[..., None]
    q_BKGTH = q_BTKGH.transpose(0, 2, 3, 1, 4)
    d_out_BKGTH = d_out_BTKGH.transpose(0, 2, 3, 1, 4)
    k_BKSH, v_BKSH = k_BSKH.transpose(0, 2, 1, 3), v_BSKH.transpose(0, 2, 1, 3)

    def compute(blocks: list[Block]) -> tuple[Array, Array, Array]:
        d_qs = []
        d_k_BKHS = d_v_BKHS = jnp.zeros_like(k_BKSH, jnp.float32).swapaxes(2, 3)
        # From the last block on: without a window none sees more keys.
        for each in reversed(blocks):
            q, d_out, log, inner = (
                x[:, :, :, slice(*each.queries)]
                for x in (q_BKGTH, d_out_BKGTH, log_BKGT1, inner_BKGT1)
            )
            k, v = (x[:, :, slice(*each.keys)] for x in (k_BKSH, v_BKSH))
            score = visibility.scores(q, k, rule)
            seen = _seen(each, own, rule)
            share = jnp.exp(visibility.masked(score, seen) - log)
            d_share = visibility.float32("BKGTH,BKSH->BKGTS", d_out, v)
            d_score = share * (d_share - inner) * rule.scale
            if rule.softcap:  # the slope of the cap, finite where masked as well
                d_score *= 1 - jnp.square(score / rule.softcap)
            d_score = d_score.astype(q.dtype)
            d_qs.append(jnp.einsum("BKGTS,BKSH->BKGTH", d_score, k))
            # H before S: the other order makes XLA transpose the scores on a CPU.
            d_k = visibility.float32("BKGTH,BKGTS->BKHS", q, d_score)
            d_v = visibility.float32("BKGTH,BKGTS->BKHS", d_out, share.astype(v.dtype))
            d_k_BKHS = _add_range(d_k_BKHS, d_k, each.keys)
            d_v_BKHS = _add_range(d_v_BKHS, d_v, each.keys)
        d_q_BTKGH = jnp.concatenate(d_qs[::-1], axis=3).transpose(0, 3, 1, 2, 4)
        d_k_BSKH, d_v_BSKH = (
            x.transpose(0, 3, 1, 2).astype(q_BTKGH.dtype) for x in (d_k_BKHS, d_v_BKHS)
        )
        return d_q_BTKGH, d_k_BSKH, d_v_BSKH

    tokens, keys = q_BTKGH.shape[1], k_BSKH.shape[1]
    return *_of_part(compute, tokens, keys, own, rule, block), None


attend.defvjp(_forward, _backward)


def _of_part(
    compute: Callable[[list[Block]], Any],
    tokens: int,
    keys: int,
    own: Rows,
    rule: Rule,
    block: int,
) -> Any:
    """What is computed of the queries' blocks: by each part of a row those it has."""
    cut = functools.partial(_blocks, keys=keys, own=own, rule=rule, block=block)
    if own.part is None:
        return compute(list(cut([Run(0, tokens, 0)])))
    size = tokens // 2
    of_parts = [
        [
            Run(place * size, (place + 1) * size, piece * size)
            for place, piece in enumerate(visibility.pieces(part, rule.parts))
        ]
        for part in range(rule.parts)
    ]
    programs = [functools.partial(compute, list(cut(runs))) for runs in of_parts]
    return jax.lax.switch(own.part, programs)


def _blocks(
    runs: list[Run], keys: int, own: Rows, rule: Rule, block: int
) -> Iterator[Block]:
    """The blocks of queries of each run, with the keys they may see."""
    cut = rule.causal and own.prefix_B is None  # a prefix may reach beyond any block
    for run in runs:
        for start in range(run.start, run.stop, block):
            stop = min(start + block, run.stop)
            place = run.place + start - run.start
            # Keys begin at a whole block too: what accelerators slice is then aligned.
            first = place - rule.window + 1 if rule.window else 0
            first = max(first, 0) // block * block
            end = place + stop - start if cut else keys
            yield Block((start, stop), place, (first, end))


def _seen(each: Block, own: Rows, rule: Rule) -> Any:
    """`visibility.visible` of a block."""
    start, stop = each.queries
    place_t = jnp.arange(each.place, each.place + stop - start)
    return visibility.visible(own, rule, each.queries, place_t, each.keys)


def _add_range(total_BKHS, part_BKHS, places: tuple[int, int]):
    """Adds to a range of the last axis."""
    here = slice(*places)
    return total_BKHS.at[..., here].set(total_BKHS[..., here] + part_BKHS)
