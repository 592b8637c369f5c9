"""One of several processes that train the tiny model together; prints its losses.

    python two_processes.py PROCESS PROCESSES PORT FOLDER DATA,FSDP,TENSOR

Saves a checkpoint after two steps, restores it, and goes on to four.
"""

import json
import sys

import jax
import synthetic

from mmjax import checkpoint, sharding, step
from mmjax import config as config_lib
from mmjax.models import vlm

STEPS, RESTART = 4, 2


def main(process: str, processes: str, port: str, folder: str, shape: str) -> None:
    """Joins the others and trains; each process makes its own share of each batch."""
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"localhost:{port}", int(processes), int(process))
    config = synthetic.config()
    mesh = sharding.make_mesh(config_lib.Mesh(*map(int, shape.split(","))))
    model = vlm.build(config.model)
    shapes = sharding.batch_shapes(config, config.data.pool_capacity)
    groups, rows, slots = (*shapes.tokens_ZRT.shape[:2], shapes.real_ZC.shape[1])
    held = sharding.share(mesh, groups, rows, slots)
    train_step = step.make_train_step(model, config, mesh)
    state = step.init_state(model, config, mesh, jax.random.key(0))
    saver = checkpoint.Checkpointer(folder, config_lib.Checkpoint())
    losses, norms = [], []
    for number in range(STEPS):
        if number == RESTART:
            saver.save(number, state, {"step": number})
            found = saver.restore(step.abstract_state(model, config, mesh))
            assert found is not None
            state, _ = found
        mine = synthetic.part_of(synthetic.batch(config, seed=number), held)
        state, metrics = train_step(state, sharding.to_device(mine, held, mesh, shapes))
        losses += synthetic.losses([jax.device_get(metrics)])
        norms.append(float(metrics["grad_norm"]))
    saver.close()
    print(json.dumps({"share": held, "losses": losses, "norms": norms}))


if __name__ == "__main__":
    main(*sys.argv[1:])
