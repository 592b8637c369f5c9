"""Small models of each connector, for the tests of the connectors."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import model_samples
import numpy as np

from mmjax import config, optim
from mmjax.models import connectors

GRID, WIDTH, OUT = 4, 8, 16  # patches a side, width of their features, the decoder's
# Z C P E: two groups of three images.
FEATURES = jax.random.normal(jax.random.key(0), (2, 3, GRID**2, WIDTH))

# Tokens of 4 x 4 patches, other than one a patch where the kind has the choice.
TOKENS = {
    "average_pool": 9,
    "c_abstractor": 9,
    "linear": 16,
    "mlp": 16,
    "perceiver": 3,
    "pixel_shuffle": 4,
    "qformer": 3,
    "token_concat": 8,
}


def model(kind: str, **fields: Any) -> config.Model:
    """A model of 4 x 4 patches with this connector; `fields` are set on it."""
    made = model_samples.model()
    made.vit.image_size = 16
    small = config.Connector(
        kind=kind,
        tokens=TOKENS[kind],
        depth=2,
        heads=2,
        c_abstractor=config.CAbstractor(width=12, depth=2),
        qformer=config.QFormer(width=12, layers=4, heads=2, mlp_width=20),
    )
    made.connector = dataclasses.replace(small, **fields)
    return made


def module(made: config.Model) -> Any:
    return connectors.CONNECTORS[made.connector.kind](made)


def fresh(made: config.Model, features: Any = FEATURES) -> Any:
    """Parameters as they are made."""
    return jax.jit(module(made).init)(jax.random.key(1), features)["params"]


def noise(made: config.Model, features: Any = FEATURES) -> Any:
    """Parameters in which nothing is zero or one by chance."""
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(module(made).init, jax.random.key(0), features)["params"]
    leaves = {
        path: jnp.asarray(path.endswith("scale") + 0.3 * rng.normal(size=leaf.shape))
        for path, leaf in optim.flatten(shapes).items()
    }
    return optim.unflatten(leaves)


def connect(made: config.Model, params: Any, features: Any = FEATURES) -> jax.Array:
    return jax.jit(module(made).apply)({"params": params}, features)
