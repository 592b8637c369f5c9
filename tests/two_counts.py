"""One of several processes that sum what each has counted; prints the sums.

python two_counts.py PROCESS PROCESSES PORT
"""

import json
import sys

import jax
import numpy as np

from mmjax import config, processes, sharding

SHAPES = ((8, 1, 1), (2, 2, 2), (1, 1, 8), (1, 2, 4))


def main(process: str, count: str, port: str) -> None:
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"localhost:{port}", int(count), int(process))
    own = int(process)
    found = [
        [np.asarray(row).tolist() for row in processes.sums(table)]
        for table in (np.array([[1, 2], [own, 10 * own]], np.int32), np.ones((3, 1)))
    ]
    counts = [
        processes.counts(sharding.make_mesh(config.Mesh(*shape)), 8, 8)
        for shape in SHAPES
    ]
    print(json.dumps({"sums": found, "counts": counts}))


if __name__ == "__main__":
    main(*sys.argv[1:])
