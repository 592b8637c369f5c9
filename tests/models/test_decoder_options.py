"""What holds for every option of the decoder: masks, packing, and that it matters."""

import jax
import jax.numpy as jnp
import model_samples
import numpy as np
import pytest
import synthetic

from mmjax import config, sharding, step, validation
from mmjax.config import RopeScaling
from mmjax.models import decoder as decoder_lib
from mmjax.models import vlm
from mmjax.ops import cross_entropy, pointwise, rope

pytestmark = pytest.mark.usefixtures("quick_compilation")


YARN = RopeScaling("yarn", factor=4.0, original_length=8, slow=0.1, fast=1.0)
GEMMA = {
    "activation": "gelu_tanh",
    "post_norms": True,
    "norm_unit_offset": True,
    "scale_embeddings": True,
}
CAPS = {"attention_softcap": 1.0, "logit_softcap": 2.0, "query_scale": 0.5}
ALTERNATING = {"window": 3, "global_every": 2, "local_rope_theta": 50.0}
OPTIONS = {
    "qwen2": {"qkv_bias": True},
    "qwen3": {"qk_norm": True, "rope_scaling": YARN},
    "mistral": {"window": 3},
    "gemma2": {"window": 3, "global_every": 2, **GEMMA, **CAPS},
    "gemma3": {"layers": 3, "qk_norm": True, **ALTERNATING, **GEMMA},
}
# Three documents and padding; all but the last are longer than the window.
SEGMENTS = np.array([[[1, 1, 1, 1, 1, 2, 2, 2, 2, 3, 0, 0]]], np.int32)
POSITIONS = np.array([[[0, 1, 2, 3, 4, 0, 1, 2, 3, 0, 0, 0]]], np.int32)


def sample(options: dict, backend: str = "blocked") -> config.Model:
    model = model_samples.model(attention=backend)
    for name, value in options.items():
        setattr(model.decoder, name, value)
    return model


def reach(model: config.Model) -> np.ndarray:
    """[t, s]: how far the hidden state at t moves with the embedding at s."""
    params = parameters(model)
    x = jax.random.normal(jax.random.key(2), (1, 1, 12, 16))
    rows = jnp.asarray(SEGMENTS), jnp.asarray(POSITIONS)

    def each(x):
        hidden, _ = decoder_lib.Decoder(model).apply({"params": params}, x, *rows)
        return jnp.sum(jnp.sin(hidden), axis=-1)[0, 0]

    jacobian = jax.jit(jax.jacrev(each))(x)  # [T, 1, 1, S, D]
    return np.abs(jacobian).sum(-1)[:, 0, 0]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["blocked", "reference"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_no_token_sees_the_future_another_document_or_beyond_its_windows(
    options, backend
):
    model = sample(options, backend)
    decoder = model.decoder
    found = reach(model)
    # A layer sees window - 1 places back, two layers twice as many.
    local = [config.is_local(decoder, n) for n in range(decoder.layers)]
    farthest = len(local) * (decoder.window - 1) if all(local) else 12
    for t, s in np.ndindex(found.shape):
        allowed = 0 <= t - s <= farthest and SEGMENTS[0, 0, t] == SEGMENTS[0, 0, s]
        assert (found[t, s] > 0) == allowed


def test_local_layers_see_their_window_and_global_ones_everything():
    for layers, farthest in (1, 2), (2, 11):  # the first is local, the second isn't
        found = reach(sample(OPTIONS["gemma3"] | {"layers": layers}))
        assert max(t - s for t, s in np.argwhere(found)) == min(farthest, 4)


# Tokens of the row above; the first document again, alone in its row.
TOKENS = np.array([[[3, 4, 5, 6, 7, 1, 7, 8, 9, 2, 0, 0]]], np.int32)


def alone(start: int, stop: int) -> tuple[np.ndarray, ...]:
    """(tokens, segments, positions) of a document in a row of its own."""
    row = np.zeros((3, 1, 1, 12), np.int32)
    row[0, ..., : stop - start] = TOKENS[..., start:stop]
    row[1, ..., : stop - start] = 1
    row[2, ..., : stop - start] = np.arange(stop - start)
    return tuple(row)


def forward(model: config.Model):
    """(params, tokens, segments, positions) -> -log p of token 5 at every position."""
    module, cap = decoder_lib.Decoder(model), model.decoder.logit_softcap

    def losses(params, tokens, segments, positions):
        params = {"params": params}
        x = module.apply(params, tokens, method="embed")
        hidden, _ = module.apply(params, x, segments, positions)
        table = module.apply(params, method="unembed_table")
        targets = jnp.full(tokens.shape, 5)
        return cross_entropy.chunked(hidden, table, targets, 4, cap).nll_ZRT[0, 0]

    return jax.jit(losses)


def parameters(model: config.Model) -> dict:
    return model_samples.parameters(model)["decoder"]


@pytest.mark.parametrize(
    "name",
    [
        "gemma3",
        *(pytest.param(n, marks=pytest.mark.slow) for n in OPTIONS if n != "gemma3"),
    ],
)
def test_a_document_in_a_row_gives_the_losses_it_gives_alone(name):
    model = sample(OPTIONS[name])
    params, losses = parameters(model), forward(model)
    together = losses(params, TOKENS, SEGMENTS, POSITIONS)
    for start, stop in (0, 5), (5, 9), (9, 10):
        single = losses(params, *alone(start, stop))[: stop - start]
        np.testing.assert_allclose(together[start:stop], single, rtol=1e-4, atol=1e-4)


EACH = {
    "qkv_bias": True, "qk_norm": True, "post_norms": True, "norm_unit_offset": True,
    "scale_embeddings": True, "activation": "gelu_tanh", "query_scale": 0.1,
    "attention_softcap": 0.5, "logit_softcap": 0.5, "window": 2, "rope_scaling": YARN,
    "local_rope_theta": 2.0,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", EACH)
def test_each_option_changes_the_loss(name):
    base = {"window": 4} if name == "local_rope_theta" else {}
    before, after = sample(base), sample(base | {name: EACH[name]})
    params = parameters(before)
    row = TOKENS, SEGMENTS, POSITIONS
    more = _fill(parameters(after), params)
    change = forward(before)(params, *row) - forward(after)(more, *row)
    assert np.abs(change)[1:5].max() > 1e-3


def _fill(new: dict, old: dict) -> dict:
    """The tree `new` with the values of `old` wherever that has them."""
    return {
        name: old.get(name, value)
        if not isinstance(value, dict)
        else _fill(value, old.get(name, {}))
        for name, value in new.items()
    }


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_the_parameters_are_as_many_as_the_config_says(options):
    model = sample(options)
    validation.validate(config.Config(model=model, data=config.Data(row_tokens=16)))
    shapes = jax.eval_shape(vlm.build(model).init, jax.random.key(0))["decoder"]
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    assert count == sum(config.decoder_parameters(model.decoder))


@pytest.mark.slow
def test_a_fresh_gemma_guesses_evenly():
    model = sample(OPTIONS["gemma2"])
    empty = jnp.zeros((1, 1, 12, 16)), jnp.asarray(SEGMENTS), jnp.asarray(POSITIONS)
    params = decoder_lib.Decoder(model).init(jax.random.key(0), *empty)["params"]
    assert not np.any(params["norm"]["scale"])  # that is a factor of 1
    found = forward(model)(params, TOKENS, SEGMENTS, POSITIONS)
    assert abs(np.mean(found) - np.log(model_samples.VOCAB)) < 1.5


def test_embeddings_are_scaled_for_text_alone():
    plain, scaled = sample({}), sample({"scale_embeddings": True})
    params = {"params": parameters(plain)}
    tokens = jnp.array([[[3, 5]]])
    before, after = (
        decoder_lib.Decoder(model).apply(params, tokens, method="embed")
        for model in (plain, scaled)
    )
    np.testing.assert_allclose(after, 4 * before, rtol=1e-6)  # a width of 16


@pytest.mark.slow
@pytest.mark.parametrize("name", ["qwen2", "gemma3"])
def test_eight_devices_give_the_losses_of_one(name):
    run = synthetic.config()
    for field, value in OPTIONS[name].items():
        setattr(run.model.decoder, field, value)
    model, batch = vlm.build(run.model), synthetic.batch(run, seed=0)
    found = []
    for shape in synthetic.ONE, synthetic.EIGHT:
        mesh = synthetic.mesh(shape)
        params = jax.device_put(
            model_samples.parameters(run.model),
            sharding.state_shardings(model_samples.parameters(run.model), mesh),
        )
        placed = jax.device_put(batch, sharding.batch_shardings(mesh))
        found.append(step.make_eval_step(model, run, mesh)(params, placed).nll_ZRT)
    np.testing.assert_allclose(found[0], np.asarray(found[1]), rtol=1e-4, atol=1e-4)


def test_choices_of_the_config_are_what_exists():
    assert sorted(pointwise.GATES) == sorted(config.GATES)
    assert sorted(rope.SCALINGS) == sorted(config.ROPE_SCALINGS)
