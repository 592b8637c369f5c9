import connector_samples as samples
import jax
import numpy as np
import pytest


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_each_patch_is_mapped_alone(kind):
    made = samples.model(kind)
    params = samples.noise(made)
    out = samples.connect(made, params)
    changed = samples.connect(made, params, samples.FEATURES.at[:, :, 5].add(1))
    assert set(np.argwhere((out != changed).any(-1))[:, 2]) == {5}


def test_two_layers_have_the_names_of_every_mlp():
    shapes = jax.tree.map(np.shape, samples.fresh(samples.model("mlp")))
    assert shapes == {
        "mlp": {
            "up": {"kernel": (8, 16), "bias": (16,)},
            "down": {"kernel": (16, 16), "bias": (16,)},
        }
    }


def test_an_expansion_makes_prismatic_s_projector_of_fused_encoders():
    """Linear to 4 E, GELU, Linear to D, GELU, Linear to D."""
    made = samples.model("mlp", mlp_expand=4)
    params = samples.noise(made)
    assert {name: layer["kernel"].shape for name, layer in params["mlp"].items()} == {
        "up": (8, 32),
        "middle_1": (32, 16),
        "down": (16, 16),
    }
    x = samples.FEATURES
    for name in ("up", "middle_1", "down"):
        layer = params["mlp"][name]
        x = x @ layer["kernel"] + layer["bias"]
        x = x if name == "down" else jax.nn.gelu(x, approximate=False)
    np.testing.assert_allclose(samples.connect(made, params), x, rtol=1e-4, atol=1e-4)


def test_deeper_mlps_keep_the_scale_of_their_features():
    made = samples.model("mlp", mlp_depth=6)
    made.decoder.width = 256
    features = jax.random.normal(jax.random.key(4), (1, 4, 16, 8))
    out = samples.connect(made, samples.fresh(made, features), features)
    assert 0.5 < np.std(out) < 2
