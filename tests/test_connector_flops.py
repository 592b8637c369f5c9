"""FLOPs of each connector, against those that its traced gradients have."""

import itertools

import jax
import jax.numpy as jnp
import jaxprs
import numpy as np
import pytest
from short_form import slow_unless

from mmjax import config, connector_flops, optim
from mmjax.models import connectors

SLOTS, WIDTH = 3, 12  # images, width of their features

VARIANTS = [
    {"kind": "average_pool", "tokens": 9},
    {"kind": "average_pool", "tokens": 4, "prenorm": True},
    {"kind": "c_abstractor", "tokens": 9},
    {"kind": "c_abstractor", "tokens": 4, "prenorm": True, "mlp_depth": 1},
    {"kind": "c_abstractor", "c_abstractor": config.CAbstractor(WIDTH, 1)},
    {"kind": "linear", "tokens": 16},
    {"kind": "mlp", "tokens": 16},
    {"kind": "mlp", "tokens": 16, "mlp_depth": 3, "mlp_expand": 4, "prenorm": True},
    {"kind": "perceiver", "tokens": 5},
    {"kind": "perceiver", "queries_as_keys": True},
    {"kind": "pixel_shuffle", "mlp_depth": 1, "prenorm": True},
    {"kind": "pixel_shuffle"},
    {"kind": "qformer", "tokens": 5},
    {"kind": "qformer", "qformer": config.QFormer(8, 3, 2, 20, cross_every=1)},
    {"kind": "qformer", "qformer": config.QFormer(8, 4, 2, 20, text=3)},
    {"kind": "token_concat", "tokens": 8},
]


def made(fields) -> config.Model:
    """A model of 4 x 4 patches; fields of its connector."""
    model = config.Model()
    model.vit = config.ViT(image_size=16, patch_size=4, width=WIDTH, remat="none")
    model.dtype, model.decoder.width = "float32", 16
    sizes = {
        "tokens": 4, "depth": 2, "heads": 2, "remat": "none",
        "c_abstractor": config.CAbstractor(width=8, depth=2),
        "qformer": config.QFormer(width=8, layers=4, heads=2, mlp_width=20),
    }  # fmt: skip
    model.connector = config.Connector(**{**sizes, **fields})
    return model


def test_every_kind_is_counted():
    assert sorted(connector_flops.KINDS) == sorted(config.CONNECTORS)
    assert {fields["kind"] for fields in VARIANTS} == set(config.CONNECTORS)


@pytest.mark.parametrize(
    "fields", slow_unless(VARIANTS, VARIANTS[3::5]), ids=lambda f: f["kind"]
)
def test_gradients_cost_exactly_the_matrix_products_that_are_counted(fields):
    model = made(fields)
    module = connectors.CONNECTORS[model.connector.kind](model)
    features = np.zeros((1, SLOTS, 16, WIDTH), np.float32)
    words = config.text_tokens(model)
    texts = [jnp.zeros((1, SLOTS, words), jnp.int32)] if words else []
    shapes = jax.eval_shape(module.init, jax.random.key(0), features, *texts)
    params = shapes["params"]

    def loss(trained, fixed):
        both = trained | fixed
        found = module.apply({"params": both["p"]}, both["x"], *texts)
        return jnp.square(found).sum()

    inputs = {"p": params, "x": features}
    for count in (1, 2):
        for names in itertools.combinations(inputs, count):
            trained = {name: inputs[name] for name in names}
            fixed = {name: inputs[name] for name in inputs if name not in names}
            step = jax.make_jaxpr(jax.value_and_grad(loss))(trained, fixed)
            assert jaxprs.flops(step.jaxpr) == counted(model, params, names), names


def counted(model, params, names) -> float:
    """FLOPs of a step in which the encoder ("x") or the connector ("p") trains."""
    paths = [f"connector/{path}" for path in optim.flatten(params)] * ("p" in names)
    paths += ["vit/norm/scale"] * ("x" in names)
    total = 0.0
    for part in connector_flops.parts(model):
        passes = 1.0 + (part.kernel in paths)
        if any(path.startswith(part.upstream) for path in paths):
            passes += 1 if part.kernel else 2
        total += SLOTS * passes * part.forward
    return total


def test_a_c_abstractor_of_mm1_costs_what_its_sizes_say():
    """378 px and 144 tokens: 3 blocks of 729 vectors, 3 of 144, and the MLP."""
    model = config.Model()
    model.connector.kind = "c_abstractor"
    wide = 2 * 729 * (1280 * 1024 * 2 + 1024 * 1024 * 5)
    narrow = 2 * 144 * (1024 * 1024 * 6 + 1024 * 2560 + 2560 * 2560)
    squeeze = 2 * 2 * 1024 * (320 + 5 * 256)
    pool = 2 * 1024 * 12 * 27 * (27 + 12)
    assert connector_flops.forward(model) == wide + narrow + squeeze + pool
