"""The prediction of a run: its step's time and parts, memory, speed, days and price."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from mmjax import flops
from mmjax.config import Config
from mmjax.estimate import memory, parts
from mmjax.estimate.memory import Memory
from mmjax.estimate.replay import Replay
from mmjax.estimate.topologies import Topology
from mmjax.estimate.workload import Workload
from mmjax.shortage import Piece

HEAVIEST = 12  # operations that are named


class Prediction(NamedTuple):
    """What a run would be; nothing here was measured on the hardware it speaks of."""

    topology: Topology
    mesh: dict[str, int]
    workload: Workload
    attention: str  # the backends that the model's parts take
    costs: dict[str, flops.Cost]  # of a step, by component of mmjax.flops
    memory: Memory  # of one device
    largest: list[Piece]
    replay: Replay
    steps: int
    price_per_chip_hour: float  # 0: not known
    compile_seconds: float

    @property
    def seconds(self) -> float:
        return self.replay.seconds

    @property
    def model_flops(self) -> dict[str, float]:
        """Of a step, by component."""
        return {name: cost.total for name, cost in self.costs.items()}

    @property
    def peak(self) -> float:
        """FLOP/s of all devices."""
        return self.topology.generation.peak * self.topology.devices

    @property
    def mfu(self) -> float:
        return sum(self.model_flops.values()) / (self.seconds * self.peak)

    @property
    def hours(self) -> float:
        """Of the whole run, if nothing ever interrupts it."""
        return self.steps * self.seconds / 3600

    @property
    def price(self) -> float | None:
        if not self.price_per_chip_hour:
            return None
        return self.hours * self.topology.chips * self.price_per_chip_hour


def predict(
    config: Config,
    topology: Topology,
    workload: Workload,
    result: Mapping[str, Any],
    report: str,
    replay: Replay,
    price_per_chip_hour: float,
) -> Prediction:
    """All that follows from a compiled step, its report of memory and its replay.

    `result` is the worker's.
    """
    return Prediction(
        topology=topology,
        mesh=dict(vars(config.mesh)),
        workload=workload,
        attention=result["attention"],
        costs=flops.costs(config.model, workload.work, result["trainable"]),
        memory=memory.of_step(result),
        largest=memory.largest(report, 5),
        replay=replay,
        steps=config.steps,
        price_per_chip_hour=price_per_chip_hour,
        compile_seconds=result["seconds"],
    )


def to_json(found: Prediction) -> str:
    """The prediction for programs: seconds are those of one step."""
    per_chip = found.topology.generation.devices_per_chip
    events, work = found.replay.events, found.workload.work
    executed = parts.executed(events) * found.topology.devices
    return json.dumps(
        {
            "topology": found.topology.name,
            "chips": found.topology.chips,
            "devices": found.topology.devices,
            "mesh": found.mesh,
            "predicted_mfu": found.mfu,
            "predicted_error": found.topology.generation.error,
            "predicted_hfu": executed / (found.seconds * found.peak),
            "step_seconds": found.seconds,
            "tokens_per_second": work.positions / found.seconds,
            "images_per_second": work.images / found.seconds,
            "days": found.hours / 24,
            "price": found.price,
            "bytes_per_chip": found.memory.total * per_chip,
            "memory": {k: v * per_chip for k, v in found.memory._asdict().items()},
            "parts": parts.by_kind(events),
            "components": components(found),
            "collectives": parts.of_collectives(events),
            "heaviest": [x._asdict() for x in parts.heaviest(events, HEAVIEST)],
            "model_flops": found.model_flops,
            "model_flops_by_pass": {
                name: {
                    "forward": cost.forward,
                    "backward": cost.backward,
                    "parameters": cost.trains or None,
                }
                for name, cost in found.costs.items()
            },
            "pool_capacity": found.workload.capacity,
            "work": work._asdict(),
            "work_from": found.workload.note,
            "attention": found.attention,
            "compile_seconds": found.compile_seconds,
            "notes": found.replay.notes,
        },
        indent=1,
    )


def components(found: Prediction) -> dict[str, dict[str, float]]:
    """Seconds by part of the model, such as `decoder mlp`, and pass."""
    return {
        " ".join(where).strip(): passes
        for where, passes in parts.by_component(found.replay.events).items()
    }
