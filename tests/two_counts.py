"""One of several processes that sum what each has counted, and agree; prints it.

python two_counts.py PROCESS PROCESSES PORT
"""

import json
import signal
import sys

import jax
import numpy as np

from mmjax import config, processes, sharding, stopping

SHAPES = ((8, 1, 1), (2, 2, 2), (1, 1, 8), (1, 2, 4))


def main(process: str, count: str, port: str) -> None:
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"localhost:{port}", int(count), int(process))
    own = int(process)
    tables = np.array([[1, 2], [own, 10 * own]], np.int32), np.ones((3, 1))
    with jax.transfer_guard("disallow"):  # as in the loop of a run
        found = [
            [jax.device_get(row).tolist() for row in processes.sums(table)]
            for table in tables
        ]
        told = {"answers": answers(own), "stopped": stopped(own)}
    counts = [
        processes.counts(sharding.make_mesh(config.Mesh(*shape)), 8, 8)
        for shape in SHAPES
    ]
    told["first"] = processes.first()
    told["as_first"] = [
        processes.as_first(np.array(own_values)).tolist()
        for own_values in ([own == 0, own == 1, True], [own + 7], [])
    ]
    print(json.dumps({"sums": found, "counts": counts, **told}))


def answers(own: int) -> list[bool]:
    """To steps 1 to 6: asked after even ones, process 1 has the wish from step 3 on."""
    poll, found = processes.Poll(), []
    for step in range(1, 7):
        found.append(poll.answer())
        if step % 2 == 0:
            poll.ask(own == 1 and step >= 3)
    return found


def stopped(own: int) -> tuple[int, str]:
    """The step after which a run ends that agrees every 3, and why; or (10, "")."""
    stop = stopping.Stop(0.0, 3)
    with stop.listening():
        for step in range(1, 10):
            if (own, step) == (1, 4):
                signal.raise_signal(signal.SIGTERM)
            reason = stop.reason(step)
            if reason:
                return step, reason
    return 10, ""


if __name__ == "__main__":
    main(*sys.argv[1:])
