"""One of several processes that train the tiny run and are asked for another mixture.

    python two_processes_mixture.py PROCESS PROCESSES PORT WORLD WORKDIR

Prints the digests of the batches that it made, and the schedule that it ended with.
"""

import json
import pathlib
import sys

import jax
import live_run

from mmjax import schedule, train

WEIGHTS = (1, 2, 7)


def main(process: str, processes: str, port: str, world: str, folder: str) -> None:
    """Joins the others; process 0 alone writes the request, and a wrong one."""
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"localhost:{port}", int(processes), int(process))
    workdir = pathlib.Path(folder)
    asked = [live_run.asks(workdir, weights) for weights in ((1, 1), WEIGHTS)]
    # Several processes know of a request a step after one of them has found it.
    actions = {0: lambda: [ask() for ask in asked]}
    ended = []
    original = train.loop

    def loop(*arguments):
        found = original(*arguments)
        ended.append(schedule.parts(found[0].run.config.mixture))
        return found

    train.loop = loop
    with live_run.watched(actions) as batches:
        train.train(live_run.make_config(world), workdir)
    print(json.dumps({"batches": batches, "schedule": ended[0]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
