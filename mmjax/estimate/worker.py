"""Compiles a train step for devices that aren't there: the process that does it.

`mmjax.estimate.compiling` starts it as `python -m mmjax.estimate.worker FOLDER` with
the environment that the compiler needs; it reads FOLDER/request.json and leaves
FOLDER/result.json.
"""

import json
import math
import pathlib
import sys
import time
from typing import Any

import jax
from jax.sharding import Mesh

from mmjax import config as config_lib
from mmjax import inventory, sharding, step
from mmjax.estimate import topologies
from mmjax.models import backends, vlm

REQUEST, RESULT = "request.json", "result.json"
SIZES = (
    "argument_size_in_bytes",
    "output_size_in_bytes",
    "alias_size_in_bytes",
    "temp_size_in_bytes",
    "generated_code_size_in_bytes",
)


def main(folder: pathlib.Path) -> None:
    """Compiles what the request asks for; errors of compiler and config are results."""
    request = json.loads((folder / REQUEST).read_text())
    try:
        result = answer(request)
    except (ValueError, jax.errors.JaxRuntimeError) as error:
        result = {"error": str(error), "kind": type(error).__name__}
    part = folder / f"{RESULT}.part"
    part.write_text(json.dumps(result))
    part.replace(folder / RESULT)


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """What the model holds, and the sizes of the compiled step where it is compiled."""
    config = config_lib.from_dict(request["config"])
    mesh = sharding.make_mesh(config.mesh, _devices(request))
    on_tpus = bool(request["topology"])
    if on_tpus:  # else the devices only count
        backends.require(config.model, config.data.row_tokens, mesh)
    model, capacity = vlm.build(config.model), request["capacity"]
    rows = inventory.describe(model, config, mesh)
    found = {
        "parameters": sum(row.numbers for row in rows),
        "trainable": [row.path for row in rows if row.trainable],
        "held": inventory.memory(model, config, mesh, capacity),
        "attention": backends.told(config.model, mesh),
    }
    if not on_tpus:
        found["held"]["activations"] = _activations(config, mesh, model, capacity)
    if request["compiles"]:
        found |= _compiled(config, mesh, model, capacity, request["options"])
    return found


def _activations(
    config: config_lib.Config, mesh: Mesh, model: vlm.Model, capacity: int
) -> int:
    """Bytes that a device keeps of its part of a microbatch for the backward pass."""
    data, parts = config.data, config.optim.accumulate
    over_rows = mesh.size // mesh.shape["tensor"] * parts
    slots = data.rows_per_batch // data.rows_per_pool * capacity
    rows = math.ceil(data.rows_per_batch / over_rows)
    return inventory.kept(model, config, rows, math.ceil(slots / (mesh.size * parts)))


def _devices(request: dict[str, Any]) -> list[Any]:
    """The devices of the topology; without one, the virtual ones of this process."""
    if not request["topology"]:
        return jax.devices()
    from jax.experimental import topologies as compile_only

    topology = topologies.parse(request["topology"])
    name = f"{topology.generation.name}:{'x'.join(map(str, topology.dims))}"
    more = {"num_slices": topology.slices} if topology.slices > 1 else {}
    return compile_only.get_topology_desc(
        platform="tpu", topology_name=name, wrap=topologies.wrap(topology), **more
    ).devices


def _compiled(
    config: config_lib.Config,
    mesh: Mesh,
    model: vlm.Model,
    capacity: int,
    options: dict[str, str],
) -> dict[str, Any]:
    began = time.monotonic()
    lowered = step.make_train_step(model, config, mesh).lower(
        step.abstract_state(model, config, mesh),
        sharding.batch_shapes(config, capacity),
    )
    compiled = lowered.compile(compiler_options=options)
    analysis = compiled.memory_analysis()
    return {
        "seconds": time.monotonic() - began,
        "sizes": {name: getattr(analysis, name) for name in SIZES},
    }


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
