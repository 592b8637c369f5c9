"""A tiny run that others look into and ask for another mixture while it goes on."""

import contextlib
import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping

import jax
import tiny_run

from mmjax import config, mixture_files
from mmjax.config import Config
from mmjax.mixture_files import Request

STEPS = 9
FIRST = 4  # step that a request made during step 1 holds from


class KilledError(Exception):
    """What ends a run in the middle."""


def make_config(root, **changes) -> Config:
    """9 steps, a record and a look at the requests after each, checkpoints every 3."""
    made = tiny_run.make_config(
        root,
        steps=STEPS,
        checkpoint=config.Checkpoint(every=3, asynchronous=False),
        log=config.Log(every=1, tensorboard=False),
        evaluation=config.Evaluation(every=0, rows=4, samples=0),
    )
    data = dataclasses.replace(made.data, block_batches=2, pool_capacity=64)
    return dataclasses.replace(made, data=data, **changes)


@contextlib.contextmanager
def watched(actions: Mapping[int, Callable[[], None]]) -> Iterator[dict[int, str]]:
    """Within it, actions happen before steps; gives digests of the batches by step."""
    digests: dict[int, str] = {}

    def made(compiled):
        def run_step(state, batch):
            number = int(jax.device_get(state.step))
            digest = hashlib.sha256()
            for leaf in batch:
                shards = sorted(leaf.addressable_shards, key=lambda s: s.device.id)
                for shard in shards:
                    digest.update(jax.device_get(shard.data).tobytes())
            digests[number] = digest.hexdigest()
            actions.get(number, lambda: None)()
            return compiled(state, batch)

        return run_step

    with tiny_run.with_step(made):
        yield digests


def asks(workdir, weights, step=0) -> Callable[[], None]:
    """Asks for other weights, once, on the first process."""

    def ask():
        if jax.process_index() == 0:
            mixture_files.ask(workdir, Request(weights, step))

    return ask


def kill() -> None:
    raise KilledError
