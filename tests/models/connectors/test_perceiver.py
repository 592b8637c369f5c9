import connector_samples as samples
import jax
import jax.numpy as jnp
import numpy as np


def test_the_perceiver_doesn_t_see_the_order_of_patches():
    made = samples.model("perceiver")
    params = samples.noise(made)
    out = samples.connect(made, params)
    reordered = samples.connect(made, params, samples.FEATURES[:, :, ::-1])
    np.testing.assert_allclose(out, reordered, atol=1e-5)
    assert params["blocks"]["attention"]["query"]["kernel"].shape == (2, 16, 2, 8)


def test_queries_are_among_the_keys_where_the_config_says_so():
    """Against a loop over blocks and heads, as Flamingo's resampler is written."""
    made = samples.model("perceiver", queries_as_keys=True)
    params = samples.noise(made)
    norm = made.vit.norm_eps

    def normed(x, p):
        centred = x - x.mean(-1, keepdims=True)
        return (
            centred / jnp.sqrt((centred**2).mean(-1, keepdims=True) + norm) * p["scale"]
            + p["bias"]
        )

    features = samples.FEATURES @ params["project"]["kernel"]
    features = features + params["project"]["bias"]
    x = jnp.broadcast_to(params["queries"], (2, 3, 3, 16))
    for depth in range(2):
        p = jax.tree.map(lambda leaf, at=depth: leaf[at], params["blocks"])
        queries = normed(x, p["norm_attention"])
        keys = jnp.concatenate([normed(features, p["norm_features"]), queries], axis=2)
        for head in range(2):
            q, k, v = (
                y @ p["attention"][name]["kernel"][:, head]
                + p["attention"][name]["bias"][head]
                for y, name in ((queries, "query"), (keys, "key"), (keys, "value"))
            )
            share = jax.nn.softmax(q @ k.swapaxes(2, 3) / np.sqrt(8), axis=-1)
            x = x + share @ v @ p["attention"]["out"]["kernel"][head]
        x = x + p["attention"]["out"]["bias"]
        up, down = p["mlp"]["up"], p["mlp"]["down"]
        hidden = normed(x, p["norm_mlp"]) @ up["kernel"] + up["bias"]
        hidden = jax.nn.gelu(hidden, approximate=False)
        x = x + hidden @ down["kernel"] + down["bias"]
    np.testing.assert_allclose(samples.connect(made, params), x, rtol=1e-3, atol=1e-4)
