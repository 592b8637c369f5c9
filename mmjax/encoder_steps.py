"""What measures an encoder: jitted functions of its parameters and a batch."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float32, PRNGKeyArray

from mmjax import objectives, sharding, step
from mmjax.batch import Batch
from mmjax.config import Config
from mmjax.models import vlm
from mmjax.models.towers import Vectors
from mmjax.models.vlm import Model
from mmjax.objectives import Sums


def make_sums_step(model: Model, config: Config, mesh: Mesh, sources: int) -> Any:
    """The jitted eval step of an encoder's objective: (params, batch) -> Sums.

    What it draws by chance is the same at every call. Replicated on the devices.
    """
    objective = objectives.of(model, config, sources)

    def sums_step(params: Any, batch: Batch) -> Sums:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return objective.sums(params, batch, objective.draw(batch, 0))

    return step.of_params(sums_step, model, config, mesh, PartitionSpec())


def make_vectors_step(model: Model, config: Config, mesh: Mesh) -> Any:
    """The jitted step of two towers: (params, batch) -> Vectors' first four fields."""

    def vectors_step(params: Any, batch: Batch) -> tuple:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            made: Vectors = model.apply(params, batch)
            return made[:4]

    return step.of_params(vectors_step, model, config, mesh, sharding.SLOTS)


def make_features_step(config: Config, mesh: Mesh, placed: Any) -> Any:
    """The jitted (params of `vit`, pixels) -> mean features of each image, float32.

    `placed`: shardings of the parameters.
    """
    encode = vlm.build_encoder(config.model)

    def features_step(params: Any, pixels_ZChwc: Array) -> Float32[Array, "Z C E"]:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return encode(params, pixels_ZChwc).astype(jnp.float32).mean(axis=2)

    slots = NamedSharding(mesh, sharding.SLOTS)
    return jax.jit(features_step, in_shardings=(placed, slots), out_shardings=slots)


def init_encoder(model: Model, config: Config, mesh: Mesh, key: PRNGKeyArray) -> Any:
    """The parameters of `vit` as `step.init_state` makes them; no others are made."""
    placed = step.abstract_state(model, config, mesh).params["vit"]
    placed = jax.tree.map(lambda x: x.sharding, placed)
    init = jax.jit(lambda key: model.init(key)["vit"], out_shardings=placed)
    return init(key)
